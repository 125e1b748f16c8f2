"""The trainer of all tasks: many models in one call, the replica axis first, processed in chunks that fit the cache.

Every replica draws from its own random streams, so that what it sees depends on its seed only, not on the replicas
beside it. A run that is killed goes on from its last checkpoint with the same bits. A replica that
diverges is recorded and frozen; the others go on.

A *step* makes one update of a chunk of replicas by differentiating ``task.loss``: in C generated from the loss
(:mod:`attnlab.simulators.ensemble.generated`), or with autograd. For a hot model, ``Plan.compiled`` puts hand-written code in its
place, which makes its own batches and many updates in one call.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from attnlab.simulators.ensemble import random_streams
from attnlab.simulators.ensemble.generated import generated_steps, note
from attnlab.simulators.ensemble.layout import Layout
from attnlab.simulators.ensemble.monitor import current
from attnlab.simulators.ensemble.optimisers import Optimiser, State
from attnlab.simulators.ensemble.plan import Model, Plan, Record, Run, check_parts, checked_plan
from attnlab.simulators.ensemble.trainings import offer
from attnlab.simulators.tasks.task import Task

SEGMENT = 32  # steps between looks at divergence, progress and checkpoints; a multiple of _BLOCK
_BLOCK = 32  # most steps drawn at once, a power of two
_DRAW = 2**14  # numbers per replica worth one call of the generator
_CHUNK_BYTES = 2**19  # largest array of a chunk; about ten of these live at once in forward and backward

Step = Callable[[Tensor, State, Tensor | None, int], Tensor]


def train(
    model: Model,
    task: Task,
    optimiser: Optimiser,
    seeds: Sequence[np.random.SeedSequence],
    plan: Plan,
    record: Sequence[Record] = (),
) -> Run:
    """Train one model per seed, all in one call.

    Progress and checkpoints go to the monitor in place (:mod:`attnlab.simulators.ensemble.monitor`). The same seeds and plan
    give the same bits, also after an interruption. Chunks of another size give the same random numbers, and the same
    results within rounding.

    Errors: ``ValueError`` for a plan that contradicts itself, seeds that are none, rates for another number of replicas, a
    model or task that lacks a part, or a checkpoint of another run.
    """
    _check_replicas(optimiser, seeds)
    plan = checked_plan(plan, record)
    check_parts(model, task, plan)
    offer(model, task, optimiser, seeds, plan)
    ensemble = _Ensemble(model, task, optimiser, seeds, plan, record)
    monitor = current()
    first = ensemble.restore(monitor.restore())
    kept_at = shown_at = time.monotonic()
    for start in range(first, plan.n_steps, SEGMENT):
        stop = min(start + SEGMENT, plan.n_steps)
        ensemble.advance(start, stop)
        now = time.monotonic()
        due = now - kept_at >= plan.checkpoint_seconds
        if plan.checkpoint_steps:
            due = stop % plan.checkpoint_steps < SEGMENT
        if due and stop < plan.n_steps:
            monitor.save(ensemble.checkpoint(stop))
            kept_at = time.monotonic()
        if now - shown_at >= 0.2 or stop == plan.n_steps:
            monitor.progress(stop, plan.n_steps, ensemble.recent_loss)
            shown_at = now
    return ensemble.finish()


def _check_replicas(optimiser: Any, seeds: Any) -> None:
    """Refuse what gives no seed per replica, and rates for another number of replicas."""
    if isinstance(seeds, str) or not hasattr(seeds, "__len__") or not len(seeds):
        raise ValueError(
            f"seeds={seeds!r} is no sequence of numpy SeedSequences, one per replica; for 16 replicas "
            "np.random.SeedSequence(0).spawn(16)"
        )
    while hasattr(optimiser, "optimiser"):
        optimiser = optimiser.optimiser
    rate = np.asarray(getattr(optimiser, "learning_rate", 0.0))
    if rate.ndim == 1 and len(rate) != len(seeds):
        raise ValueError(
            f"{type(optimiser).__name__}(learning_rate=...) holds {len(rate)} rates for {len(seeds)} replicas; "
            "give one rate, or one per replica"
        )


def autograd_step(model: Any, task: Task, optimiser: Optimiser, layout: Layout) -> Step:
    """The step that differentiates ``task.loss`` by autograd.

    A step takes the parameters of a chunk as a matrix ``(replica, parameter)`` and the optimiser's state, changes both
    in place, and returns the losses ``(replica,)`` before the update. ``layout`` says which columns are which parameter.
    """

    def step(values: Tensor, state: State, numbers: Tensor | None, count: int) -> Tensor:
        with torch.enable_grad():
            leaves = {name: view.detach().requires_grad_() for name, view in layout.split(values).items()}
            try:
                losses = task.loss(model, leaves, numbers)
            except RuntimeError as error:
                if type(error) is not RuntimeError:  # out of memory and the like keep their names
                    raise
                given = ", ".join(f"{name} {tuple(leaf.shape)}" for name, leaf in leaves.items())
                drawn = "none" if numbers is None else str(tuple(numbers.shape))
                raise ValueError(
                    f"{type(task).__name__}.loss with {type(model).__name__} does not fit what it was given: parameters "
                    f"{given}; numbers {drawn}; the first axis is the replica. torch said: {error}"
                ) from error
            if losses.shape != values.shape[:1]:
                raise ValueError(
                    f"{type(task).__name__}.loss returned shape {tuple(losses.shape)}; return one loss per replica, "
                    f"shape ({len(values)},)"
                )
            gradients = torch.autograd.grad(losses.sum(), list(leaves.values()))
        gradient = layout.join(dict(zip(leaves, gradients, strict=True)))
        optimiser.update(values, gradient, state, count)
        return losses.detach()

    return step


def chunk_size(plan: Plan, model: Model, task: Task) -> int:
    """How many replicas autograd takes at once, so that their arrays fit the cache."""
    return plan.chunk or max(1, _CHUNK_BYTES // (plan.dtype.itemsize * max(task.largest_array(model), 1)))


class _Ensemble:
    """The state of a run: parameters and optimiser state of all replicas, their streams, and what was recorded."""

    def __init__(
        self,
        model: Model,
        task: Task,
        optimiser: Optimiser,
        seeds: Sequence[np.random.SeedSequence],
        plan: Plan,
        record: Sequence[Record],
    ) -> None:
        self.plan, self.record = plan, record
        initial = model.initialise(random_streams.generators(seeds, "parameters"), plan.dtype)
        for name, value in initial.items():
            if value.shape[:1] != (len(seeds),):
                raise ValueError(
                    f"{type(model).__name__}.initialise returned {name!r} of shape {tuple(value.shape)}; its first axis "
                    f"is the replica, here {len(seeds)}"
                )
        self.layout = Layout({name: tuple(value.shape[1:]) for name, value in initial.items()})
        self.values = self.layout.join(initial).to(plan.device)
        self.state = optimiser.start(self.values)
        self.streams = random_streams.generators(seeds, "data")
        self.diverged_at = np.full(len(seeds), -1, dtype=np.int64)
        self.loss_sum = np.zeros((len(seeds), len(plan.loss_steps)))
        observed = [each.observe(model, self.layout.split(self.values)) for each in record]
        self.records = {
            name: np.full((len(seeds), len(each.steps), *value.shape[1:]), np.nan)
            for each, found in zip(record, observed, strict=True)
            for name, value in found.items()
        }
        self.record_steps = {
            name: np.asarray(each.steps) for each, found in zip(record, observed, strict=True) for name in found
        }
        self.record_index = [{step: index for index, step in enumerate(each.steps)} for each in record]
        if len(self.records) != sum(map(len, observed)):
            raise ValueError("two records observe the same name; give every observed array its own name")
        self.recent_loss: float | None = None
        size = chunk_size(plan, model, task)
        self.generated, reason = generated_steps(model, task, optimiser, self.layout, self.values, seeds, plan)
        self.path = f"autograd ({reason})"
        if self.generated is not None:
            size, self.path = len(seeds), self.generated.path
        self.chunks = [
            _Chunk(self, slice(low, min(low + size, len(seeds))), model, task, optimiser, seeds)
            for low in range(0, len(seeds), size)
        ]
        if all(chunk.compiled is not None for chunk in self.chunks):
            self.path = "compiled"
        note(model, task, plan.label, self.path)

    def advance(self, start: int, stop: int) -> None:
        """Make the updates ``start`` to ``stop - 1`` of all replicas and see which of them diverged."""
        losses = np.full((len(self.values), stop - start), np.nan)
        for chunk in self.chunks:
            if (self.diverged_at[chunk.rows] < 0).any():
                losses[chunk.rows] = chunk.advance(start, stop)
        intervals = np.searchsorted(self.plan.loss_steps, np.arange(start, stop), side="right")
        for column, interval in enumerate(intervals):
            if interval < len(self.plan.loss_steps):
                self.loss_sum[:, interval] += losses[:, column]
        if start == 0 and self.plan.loss_steps[0] == 0:
            self.loss_sum[:, 0] = losses[:, 0]
        self._freeze_diverged(losses, start, stop)
        alive = self.diverged_at < 0
        self.recent_loss = float(losses[alive].mean()) if alive.any() else None

    def _freeze_diverged(self, losses: np.ndarray, start: int, stop: int) -> None:
        finite = self.values.isfinite().all(dim=1)
        for state in self.state.values():
            finite &= state.isfinite().all(dim=1)
        bad = ~(np.abs(losses) <= self.plan.diverged_above)
        for row in np.flatnonzero((bad.any(axis=1) | ~finite.cpu().numpy()) & (self.diverged_at < 0)):
            self.diverged_at[row] = start + int(bad[row].argmax()) if bad[row].any() else stop
            self.values[row] = torch.nan
            for state in self.state.values():
                state[row] = 0

    def checkpoint(self, step: int) -> dict[str, np.ndarray]:
        """Everything needed to go on from ``step`` with the same bits."""
        kept = {
            "step": np.array(step),
            "label": np.array(self.plan.label),
            "values": self.values.cpu().numpy().copy(),
            "streams": random_streams.states(self.streams),
            "diverged_at": self.diverged_at.copy(),
            "loss_sum": self.loss_sum.copy(),
        }
        kept |= {f"state.{name}": state.cpu().numpy().copy() for name, state in self.state.items()}
        return kept | {f"record.{name}": array.copy() for name, array in self.records.items()}

    def restore(self, kept: dict[str, np.ndarray] | None) -> int:
        """Take over a checkpoint of this training, if there is one; returns the step to go on from."""
        if kept is None or str(kept.get("label")) != self.plan.label:
            return 0
        mine = self.checkpoint(0)
        if {name: array.shape for name, array in kept.items()} != {name: array.shape for name, array in mine.items()}:
            raise ValueError(
                f"the checkpoint of {self.plan.label!r} is of another run: its arrays have other names or "
                "shapes; remove it and start again"
            )
        self.values.copy_(torch.from_numpy(np.array(kept["values"])))
        for name, state in self.state.items():
            state.copy_(torch.from_numpy(np.array(kept[f"state.{name}"])))
        random_streams.set_states(self.streams, kept["streams"])
        self.diverged_at[:] = kept["diverged_at"]
        self.loss_sum[:] = kept["loss_sum"]
        for name, array in self.records.items():
            array[:] = kept[f"record.{name}"]
        return int(kept["step"])

    def finish(self) -> Run:
        """The final observations, and everything recorded, NaN from where a replica diverged."""
        for chunk in self.chunks:
            chunk.observe(self.plan.n_steps)
        ends = np.asarray(self.plan.loss_steps)
        counts = np.diff(ends, prepend=0)
        loss = self.loss_sum / np.maximum(counts, 1)
        gone = self.diverged_at >= 0
        for name, steps in self.record_steps.items():
            self.records[name][gone[:, None] & (steps >= self.diverged_at[:, None])] = np.nan
        loss[gone[:, None] & (ends > self.diverged_at[:, None]) | ~np.isfinite(loss)] = np.nan
        return Run(self.layout.split(self.values), ends, loss, self.records, self.diverged_at, self.path)


class _Chunk:
    """Some replicas of the ensemble: views of their state, and the buffer of their random numbers."""

    def __init__(
        self,
        ensemble: _Ensemble,
        rows: slice,
        model: Model,
        task: Task,
        optimiser: Optimiser,
        seeds: Sequence[np.random.SeedSequence],
    ) -> None:
        plan, self.ensemble, self.rows = ensemble.plan, ensemble, rows
        self.model, self.task = part(model, rows), part(task, rows)
        self.values = ensemble.values[rows]
        self.state = {name: state[rows] for name, state in ensemble.state.items()}
        self.streams = ensemble.streams[rows]
        own = optimiser.part(rows)
        self.compiled = None
        self.generated = ensemble.generated
        if plan.compiled is not None and plan.device == "cpu":
            self.compiled = plan.compiled(self.model, self.task, own, seeds[rows], plan.dtype)
        self.step = autograd_step(self.model, self.task, own, ensemble.layout)
        self.block = 1
        while self.block < _BLOCK and 2 * self.block * task.numbers_per_step <= _DRAW:
            self.block *= 2
        self.numbers = torch.empty(len(self.streams), self.block, task.numbers_per_step, dtype=plan.dtype)

    def advance(self, start: int, stop: int) -> np.ndarray:
        """Make the updates ``start`` to ``stop - 1``; returns the losses ``(replica, step)`` before each."""
        if self.compiled is not None:
            return self._advance_compiled(start, stop)
        if self.generated is not None:
            return self._advance_generated(start, stop)
        losses = []
        for count in range(start, stop):
            self.observe(count)
            losses.append(self.step(self.values, self.state, self._numbers(count), count))
        return torch.stack(losses, dim=1).double().cpu().numpy()

    def _advance_compiled(self, start: int, stop: int) -> np.ndarray:
        """The same in calls that end where something is to be observed."""
        seen = {count for index in self.ensemble.record_index for count in index if start <= count < stop}
        ends = [*sorted(seen | {start}), stop]
        losses = []
        for low, high in itertools.pairwise(ends):
            self.observe(low)
            losses.append(self.compiled.run(self.values, self.state, low, high))
        return np.concatenate(losses, axis=1).astype(np.float64)

    def _advance_generated(self, start: int, stop: int) -> np.ndarray:
        """The same in calls that also end where numbers are to be drawn."""
        seen = {count for index in self.ensemble.record_index for count in index if start <= count < stop}
        given = self.task.numbers_per_step and not self.generated.draws
        drawn = set(range(start, stop, self.block)) if given else set()
        losses = []
        for low, high in itertools.pairwise([*sorted(seen | drawn | {start}), stop]):
            self.observe(low)
            numbers = None
            if given:
                self._numbers(low)
                at = low % self.block
                numbers = self.numbers[:, at : at + high - low]
            losses.append(self.generated.run(self.values, self.state, numbers, low, high))
        return np.concatenate(losses, axis=1).astype(np.float64)

    def _numbers(self, count: int) -> Tensor | None:
        """The random numbers of one step; several steps are drawn at once, always from a multiple of the block."""
        if not self.task.numbers_per_step:
            return None
        if count % self.block == 0:
            for numbers, stream in zip(self.numbers, self.streams, strict=True):
                self.task.fill(numbers, stream)
        return self.numbers[:, count % self.block].to(self.values.device)

    def observe(self, count: int) -> None:
        """Record what is to be observed after ``count`` updates."""
        for each, index in zip(self.ensemble.record, self.ensemble.record_index, strict=True):
            if count in index:
                with torch.no_grad():
                    found = each.observe(self.model, self.ensemble.layout.split(self.values))
                for name, value in found.items():
                    self.ensemble.records[name][self.rows, index[count]] = value.cpu().numpy()


def part(thing: Any, rows: slice) -> Any:
    """The model or task of some replicas; one without numbers per replica serves all."""
    return thing.part(rows) if hasattr(thing, "part") else thing
