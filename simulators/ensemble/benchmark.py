"""One row per trained simulator: its generated step beside autograd, torch.compile and JAX, draws apart, in paired rounds.

The step by autograd is the trainer's own: in chunks that fit the cache. ``torch.compile`` takes loss and gradient of all
replicas as one graph (:mod:`attnlab.simulators.ensemble.in_inductor`). JAX scans the same loss
(:mod:`attnlab.simulators.ensemble.in_jax`) where it is installed (extra ``bench``). Hand-written steps are not in this table.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from attnlab.kernels.benchmarks.rivals import failure
from attnlab.kernels.benchmarks.timing import paired
from attnlab.kernels.generated.graph import Refused
from attnlab.simulators.ensemble import random_streams
from attnlab.simulators.ensemble.generated import GeneratedSteps
from attnlab.simulators.ensemble.in_inductor import compiled_step
from attnlab.simulators.ensemble.in_jax import JaxSteps, steps_in, wait_for
from attnlab.simulators.ensemble.layout import Layout
from attnlab.simulators.ensemble.trainer import Step, autograd_step, chunk_size, part, train
from attnlab.simulators.ensemble.trainings import Training, trained_simulations, training_of

_SECONDS = 0.03  # least time of a generated candidate in a round


def records(
    rounds: int, say: Callable[[str], None], n_replicas: int = 16, names: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """One record per trained simulator (or of those named) at its default setting: microseconds per replica-step, and the
    ratios of a round."""
    found = []
    for name, simulation in trained_simulations(train).items():
        if not names or name in names:
            say(name)
            found.append({"simulation": name} | record(training_of(simulation, n_replicas=n_replicas), rounds))
    return found


def record(training: Training, rounds: int) -> dict[str, Any]:
    """The record of one training without the name of its simulation."""
    model, task, optimiser, seeds, plan = (
        getattr(training, name) for name in ("model", "task", "optimiser", "seeds", "plan")
    )
    initial = model.initialise(random_streams.generators(seeds, "parameters"), plan.dtype)
    layout = Layout({name: tuple(value.shape[1:]) for name, value in initial.items()})
    values = layout.join(initial)
    sizes = {"parameters": values.shape[1], "numbers": task.numbers_per_step, "dtype": str(plan.dtype)[6:]}
    begun = time.process_time()
    try:
        made = GeneratedSteps(model, task, optimiser, layout, values)
    except Refused as reason:
        return sizes | {"path": f"autograd ({reason})"}
    seconds = time.process_time() - begun
    numbers = _numbers(training, 2)
    states = {
        "generated": (values.clone(), optimiser.start(values)),
        "autograd": (values.clone(), optimiser.start(values)),
    }
    count = _count(made, states["generated"], numbers)
    repeated = None if numbers is None else numbers[:, torch.arange(count) % 2].contiguous()
    step = _chunked(training, layout)

    def generated() -> None:
        made.run(*states["generated"], repeated, 0, count)

    def eager() -> None:
        for index in range(2):
            step(*states["autograd"], None if numbers is None else numbers[:, index].clone(), index)

    candidates, counts = {"generated": generated, "autograd": eager}, {"generated": count, "autograd": 2}
    inductor, compile_seconds = _by_compile(training, layout, values, numbers)
    if not isinstance(inductor, str):
        candidates["compile"], counts["compile"] = inductor, 2
    jax = _in_jax(training, layout, values, numbers)
    if not isinstance(jax, str):
        candidates["jax"], counts["jax"] = jax
    times = paired(candidates, rounds)
    each = {name: times[name] / counts[name] / len(seeds) for name in candidates}
    ratio = np.quantile(each["autograd"] / each["generated"], (0.25, 0.5, 0.75))
    beside: dict[str, Any] = {"compile": inductor} if isinstance(inductor, str) else {}
    if "compile" in each:
        beside = {
            "compile_us": 1e6 * float(np.median(each["compile"])),
            "speed_of_compile": float(np.median(each["compile"] / each["generated"])),
            "compile_s": compile_seconds,
        }
    beside |= {"jax": jax} if isinstance(jax, str) else {"jax_us": 1e6 * float(np.median(each["jax"]))}
    if "jax" in each:
        beside["speed_of_jax"] = float(np.median(each["jax"] / each["generated"]))
    return (
        sizes
        | beside
        | {
            "path": made.path,
            "generated_us": 1e6 * float(np.median(each["generated"])),
            "autograd_us": 1e6 * float(np.median(each["autograd"])),
            "speed": float(ratio[1]),
            "speed_low": float(ratio[0]),
            "speed_high": float(ratio[2]),
            "make_s": seconds,
        }
    )


def _by_compile(
    training: Training, layout: Layout, values: torch.Tensor, numbers: torch.Tensor | None
) -> tuple[Callable[[], None] | str, float]:
    """A call that makes two steps by ``torch.compile``, or why there is none; and the seconds that recording and compiling took
    by the clock, since Inductor compiles in processes of its own."""
    drawn = [None, None] if numbers is None else [numbers[:, k].contiguous() for k in range(2)]
    own, state = values.clone(), training.optimiser.start(values)
    steps: list[Step] = []

    def two() -> None:
        for index, given in enumerate(drawn):
            steps[0](own, state, given, index)

    def first() -> None:
        steps.append(compiled_step(training.model, training.task, training.optimiser, layout, values, drawn[0]))
        two()

    begun, level = time.monotonic(), logging.root.manager.disable
    logging.disable(logging.ERROR)  # torch logs at length what it raises
    try:
        reason = failure(first)
    finally:
        logging.disable(level)
    return reason or two, time.monotonic() - begun


def _in_jax(
    training: Training, layout: Layout, values: torch.Tensor, numbers: torch.Tensor | None
) -> tuple[Callable[[], None], int] | str:
    """A call that makes so many steps in JAX, compiled before; or why there is none."""
    try:
        steps = JaxSteps(training.model, training.task, training.optimiser, layout, values)
    except ImportError:
        return "not installed (extra bench)"
    except Refused as reason:
        return str(reason)
    start = steps.start(layout, values)

    def many(count: int) -> Any:
        given = None if numbers is None else numbers[:, torch.arange(count) % 2].contiguous()
        return steps.prepared(start, given, count)

    count = steps_in(_SECONDS, lambda n: wait_for(many(n)()))
    call = many(count)
    wait_for(call())  # compiled now
    return lambda: wait_for(call()), count


def _numbers(training: Training, count: int) -> torch.Tensor | None:
    task, seeds = training.task, training.seeds
    if not task.numbers_per_step:
        return None
    numbers = torch.empty(len(seeds), count, task.numbers_per_step, dtype=training.plan.dtype)
    for own, stream in zip(numbers, random_streams.generators(seeds, "data"), strict=True):
        task.fill(own, stream)
    return numbers


def _count(made: GeneratedSteps, state: tuple[torch.Tensor, dict], numbers: torch.Tensor | None) -> int:
    """How many steps take the least time of a round, between 8 and 256."""
    values, states = state[0].clone(), {name: each.clone() for name, each in state[1].items()}
    given = None if numbers is None else numbers[:, torch.arange(8) % 2].contiguous()
    made.run(values, states, given, 0, 8)
    begun = time.perf_counter()
    made.run(values, states, given, 8, 16)
    return int(np.clip(8 * _SECONDS / max(time.perf_counter() - begun, 1e-6), 8, 256))


def _chunked(training: Training, layout: Layout) -> Callable[..., None]:
    """The trainer's step by autograd, chunk by chunk."""
    model, task, optimiser, plan = training.model, training.task, training.optimiser, training.plan
    size = chunk_size(plan, model, task)
    rows = [slice(low, min(low + size, len(training.seeds))) for low in range(0, len(training.seeds), size)]
    steps = [autograd_step(part(model, own), part(task, own), optimiser.part(own), layout) for own in rows]

    def step(values: torch.Tensor, state: dict[str, torch.Tensor], numbers: torch.Tensor | None, count: int) -> None:
        for own, each in zip(rows, steps, strict=True):
            each(
                values[own],
                {name: s[own] for name, s in state.items()},
                None if numbers is None else numbers[own],
                count,
            )

    return step
