"""Steps generated from a task's own loss, for every model and task whose operations are known.

The loss of one replica is traced, torch differentiates it, and C is emitted with replicas in the lanes of vectors; see
:mod:`attnlab.kernels.generated`. Nothing is asked of the author: what cannot be generated trains by autograd, and the reason
is kept. What is generated is a function of model, task, optimiser and number of replicas, never of a timing.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from attnlab.kernels.compiled.provenance import Told, teller
from attnlab.kernels.generated import optimisers as texts
from attnlab.kernels.generated.emit import VERSION
from attnlab.kernels.generated.graph import Refused
from attnlab.kernels.generated.laws import parts_of
from attnlab.kernels.generated.step import Step, text_of
from attnlab.simulators.ensemble.layout import Layout
from attnlab.simulators.ensemble.optimisers import Adam, Clipped, GradientDescent, NormalisedGradientDescent, State
from attnlab.simulators.ensemble.plan import Plan
from attnlab.simulators.ensemble.random_streams import stream

Tensors = dict[str, Tensor]
Loss = Callable[[Tensors, Tensors], Tensor]
Held = tuple[int, tuple[Any, ...], Tensor]
NUMBERS = "numbers"
_paths: dict[str, str] = {}  # what was trained in this process, and how
WORTH = 3_000
"""Steps times replicas from which the second of tracing and building pays."""


@teller("training steps")
def _told() -> Told:
    """How each training of this process made its updates; a step that cannot be generated is no build that is missing."""
    return {"loaded": dict(_paths)}


def note(model: Any, task: Any, label: str, path: str) -> None:
    """Remember how a training makes its updates, for whoever asks what ran."""
    _paths[f"training {type(model).__name__} on {type(task).__name__} ({label})"] = path


class GeneratedSteps:
    """The generated steps of some replicas.

    ``draws``: whether they draw their own numbers, from the law that is read off ``task.fill``, with ``seeds``; otherwise numbers
    are given.
    """

    def __init__(
        self,
        model: Any,
        task: Any,
        optimiser: Any,
        layout: Layout,
        values: Tensor,
        seeds: Sequence[np.random.SeedSequence] = (),
    ) -> None:
        self.optimiser = optimiser
        update, self.state_names, self.factors = _update(optimiser)
        loss, parameters, others, held = one_replica(model, task, layout, values)
        law = parts_of(task.fill, task.numbers_per_step) if seeds and task.numbers_per_step else None
        self.text = text_of(loss, parameters, others, update, len(self.state_names), law)
        self.draws = bool(self.text.n_drawn)
        tensors: dict[str, Tensor | None] = {name: tensor for name, (_, _, tensor) in held.items()}
        self.step = Step(self.text, tensors | {NUMBERS: None}, len(values), words_of(seeds) if self.draws else None)
        rate = np.asarray(optimiser.learning_rate, dtype=np.float64)
        self.rates = np.broadcast_to(rate, (len(values),))

    @property
    def path(self) -> str:
        """The name of what makes the updates: the emitter's version and the hash of the C text."""
        return f"generated (emitter {VERSION}, {self.text.digest[:16]})"

    def run(self, values: Tensor, state: State, numbers: Tensor | None, start: int, stop: int) -> np.ndarray:
        """Make updates ``start`` to ``stop - 1`` in place with ``numbers (replica, step, number)``; the losses before them."""
        factors = np.array([self.factors(step) for step in range(start, stop)], dtype=np.float64)
        states = [state[name] for name in self.state_names]
        return self.step.run(values, states, None if self.draws else numbers, self.rates, factors, start)


def one_replica(
    model: Any, task: Any, layout: Layout, values: Tensor
) -> tuple[Loss, Tensors, Tensors, dict[str, Held]]:
    """The loss of one replica as a function of its parameters and of the other tensors that it reads, and both at the first.

    The others are the tensors per replica that model and task hold, and ``numbers``; the last dictionary says where each is held.
    """
    held = _held(model, task)
    parameters = {name: value[:1].clone() for name, value in layout.split(values).items()}
    others: Tensors = {name: tensor[:1].clone() for name, (_, _, tensor) in held.items()}
    if task.numbers_per_step:
        # a copy, so that no stream moves; any numbers do, as no step may depend on them in its operations
        others[NUMBERS] = torch.linspace(0.05, 0.95, task.numbers_per_step, dtype=values.dtype)[None]

    def loss(parameters: Tensors, others: Tensors) -> Tensor:
        own_model, own_task = (_with(thing, which, held, others) for which, thing in enumerate((model, task)))
        found = own_task.loss(own_model, parameters, others.get(NUMBERS))
        if found.shape != (1,):
            raise Refused(f"a loss of shape {tuple(found.shape)} for one replica; return one number per replica")
        return found

    return loss, parameters, others, held


def generated_steps(
    model: Any,
    task: Any,
    optimiser: Any,
    layout: Layout,
    values: Tensor,
    seeds: Sequence[np.random.SeedSequence],
    plan: Plan,
) -> tuple[GeneratedSteps | None, str]:
    """The generated steps of the replicas in ``values (replica, parameter)``, or None and the reason.

    Errors: ``ValueError`` with the reason if the plan insists.
    """
    insists = plan.path == "generated"
    if plan.path == "autograd":
        return None, "as the plan says"
    if plan.device != "cpu":
        reason = f"device {plan.device}"
    elif not insists and plan.n_steps * len(values) < WORTH:
        size = f"{plan.n_steps} steps of {len(values)} replicas"
        reason = f"{size} are less than {WORTH} updates, too few for making the step to pay"
    else:
        try:
            return GeneratedSteps(model, task, optimiser, layout, values, seeds), ""
        except Refused as refused:
            reason = str(refused)
    if insists:
        raise ValueError(f"path='generated' cannot be had: {reason}; use path='auto'")
    return None, reason


def words_of(seeds: Sequence[np.random.SeedSequence]) -> np.ndarray:
    """The 64-bit seed of each replica's numbers."""
    return np.array([stream(seed, "data").generate_state(1, np.uint64)[0] for seed in seeds], dtype=np.uint64)


def _update(optimiser: Any) -> tuple[str, list[str], Callable[[int], tuple[float, float]]]:
    """The optimiser's text, the names of its states, and its two factors at a step."""
    if type(optimiser) is Clipped:
        update, names, factors = _update(optimiser.optimiser)
        return texts.clipped(update, optimiser.largest), names, factors
    if type(optimiser) is Adam:
        beta1, beta2 = optimiser.betas
        return (
            texts.adam(beta1, beta2, optimiser.eps, optimiser.weight_decay),
            ["mean", "square"],
            lambda t: (optimiser.schedule(t) / (1 - beta1 ** (t + 1)), (1 - beta2 ** (t + 1)) ** -0.5),
        )
    if type(optimiser) is GradientDescent:
        names = ["momentum"] if optimiser.momentum else []
        return texts.descent(optimiser.momentum, optimiser.weight_decay), names, lambda t: (optimiser.schedule(t), 1.0)
    if type(optimiser) is NormalisedGradientDescent:
        return texts.normalised(1, optimiser.floor), [], lambda t: (optimiser.schedule(t), 1.0)
    if hasattr(optimiser, "normalised_parts"):
        return texts.normalised(optimiser.normalised_parts, optimiser.floor), [], lambda t: (1.0, 1.0)
    raise Refused(f"optimiser {type(optimiser).__name__}")


def _held(model: Any, task: Any) -> dict[str, Held]:
    """The tensors per replica that model (0) and task (1) hold: those that ``part`` cuts, with the way to each."""
    found = {}
    for which, thing in enumerate((model, task)):
        if not hasattr(thing, "part"):
            continue
        none = dict(_numbers_in(thing.part(slice(0, 0))))
        for way, value in _numbers_in(thing):
            other = none.get(way)
            if other is not None and len(other) == 0 and len(value):
                found[f"{('model', 'task')[which]}.{'.'.join(map(str, way))}"] = (which, way, torch.as_tensor(value))
    return found


def _numbers_in(thing: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Tensors, arrays and lists of numbers inside an object, with the way to each."""
    if isinstance(thing, (Tensor, np.ndarray)):
        if thing.ndim:
            yield way, thing
    elif isinstance(thing, dict):
        for key, value in thing.items():
            yield from _numbers_in(value, (*way, key))
    elif isinstance(thing, (list, tuple)):
        if all(isinstance(value, (int, float)) for value in thing):
            yield way, thing
        else:
            for key, value in enumerate(thing):
                yield from _numbers_in(value, (*way, key))
    elif hasattr(thing, "__dict__"):
        for key, value in vars(thing).items():
            yield from _numbers_in(value, (*way, key))


def _with(
    thing: Any, which: int, held: dict[str, tuple[int, tuple[Any, ...], Tensor]], others: dict[str, Tensor]
) -> Any:
    """A copy of an object with the tensors per replica replaced."""
    for name, (whose, way, _) in held.items():
        if whose == which:
            thing = _replaced(thing, way, others[name])
    return thing


def _replaced(thing: Any, way: tuple[Any, ...], value: Any) -> Any:
    if not way:
        return value
    key, rest = way[0], way[1:]
    made = copy.copy(thing) if not isinstance(thing, tuple) else list(thing)
    if isinstance(thing, (dict, list, tuple)):
        made[key] = _replaced(thing[key], rest, value)
        return type(thing)(made) if isinstance(thing, tuple) else made
    object.__setattr__(made, key, _replaced(getattr(thing, key), rest, value))
    return made
