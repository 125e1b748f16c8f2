"""What a second thread brings to the compiled kernels: one and two threads in turn, by the wall clock.

Idle cores are needed: on a busy machine the second thread waits and the ratio says nothing. ``attnlab bench`` prints these.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable

import numpy as np
import torch

from attnlab.kernels.benchmarks import induction_step as bench_induction
from attnlab.kernels.benchmarks.attention import SHAPES, step, tensors
from attnlab.kernels.benchmarks.icl_step import STEPS, start
from attnlab.kernels.icl_step import Optimiser, Shape, Stream, train


def attention_records(
    shapes: Iterable[tuple[int, int, int]] = SHAPES[2:6], rounds: int = 41
) -> list[dict[str, object]]:
    """Forward and backward of the compiled path, (problems, tokens, width)."""
    return [
        {
            "problems": problems,
            "tokens": n,
            "width": d,
            "mask": mask,
            **in_turn(step(*tensors(problems, n, d), mask, "c"), rounds),
        }
        for (problems, n, d), mask in itertools.product(shapes, ("none", "causal"))
    ]


def training_records(
    steps: Iterable[tuple[bool, int, int]] = STEPS, n_replicas: int = 64, rounds: int = 25
) -> list[dict[str, object]]:
    """Calls of the fused regression step, data and Adam included: 8 steps of batch 256, else 64."""
    records = []
    for causal, batch, context in steps:
        shape, n_steps = (
            Shape(dim=5, n_context=context, n_heads=4, batch=batch, causal=causal),
            8 if batch >= 256 else 64,
        )
        state, stream = start(shape, n_replicas), Stream(np.arange(n_replicas, dtype=np.uint64), 0.3)

        def run(shape=shape, state=state, stream=stream, n_steps=n_steps) -> None:
            train(shape, state, n_steps, data=stream, optimiser=Optimiser(1e-3), path="c")

        records.append(
            {
                "rows": "causal" if causal else "one query",
                "replicas": n_replicas,
                "batch": batch,
                "context": context,
                "steps": n_steps,
                **in_turn(run, rounds),
            }
        )
    return records


def induction_records(
    shapes: Iterable[bench_induction.Shape] = bench_induction.SHAPES,
    n_replicas: int = 2,
    n_steps: int = 64,
    rounds: int = 25,
) -> list[dict[str, object]]:
    """Calls of the fused induction step."""
    return [
        {
            "dim": shape.dim,
            "pairs": shape.n_context,
            "batch": shape.batch,
            "replicas": n_replicas,
            "steps": n_steps,
            **in_turn(bench_induction.candidates(shape, n_replicas, n_steps)["fused"], rounds),
        }
        for shape in shapes
    ]


def in_turn(run: Callable[[], object], rounds: int) -> dict[str, float]:
    """Median milliseconds on one and on two threads, and median and quartiles of their ratio within a round."""
    seconds, before = np.empty((rounds, 2)), torch.get_num_threads()
    try:
        run()
        for i in range(rounds):
            for threads in (1, 2) if i % 2 else (2, 1):
                torch.set_num_threads(threads)
                began = time.perf_counter()
                run()
                seconds[i, threads - 1] = time.perf_counter() - began
    finally:
        torch.set_num_threads(before)
    low, middle, high = (float(x) for x in np.quantile(seconds[:, 0] / seconds[:, 1], (0.25, 0.5, 0.75)))
    one, two = (float(x) for x in 1e3 * np.median(seconds, 0))
    return {"one_thread_ms": one, "two_threads_ms": two, "speed": middle, "speed_low": low, "speed_high": high}
