"""The induction step in compiled code (``induction_step.c``): one call for many steps of all replicas."""

from __future__ import annotations

import ctypes
import functools
from pathlib import Path

import numpy as np
import torch

from attnlab.kernels.compiled import compiler
from attnlab.kernels.compiled.threads import carried_out, run_parts
from attnlab.kernels.induction_step.records import NAMES, WORD, Batches, Optimiser, Shape, State, Stream

SOURCE = Path(__file__).with_name("induction_step.c")
_CHUNK_BYTES = 64 << 20


class _Run(ctypes.Structure):
    _fields_ = (
        [
            (name, ctypes.c_int64)
            for name in (
                "n_replicas",
                "n_steps",
                "first_step",
                "batch",
                "dim",
                "pairs",
                "positions",
                "labels",
                "classes",
                "novel",
                "burst",
                "row",
                "distinct_labels",
                "label_shift",
                "novel_below",
                "bursty_below",
            )
        ]
        + [("noise", ctypes.c_double)]
        + [
            (name, ctypes.c_void_p)
            for name in (
                "learning_rate",
                "decay",
                "seed",
                "rank_below",
                "class_means",
                "label_vectors",
                "items",
                "label",
                "target",
                "start",
                "params",
                "gradient",
                "loss",
                "diverged_at",
            )
        ]
    )


@functools.lru_cache(maxsize=2)
def _library(single: bool):
    built = compiler.load(SOURCE, REAL32=int(single))
    if built is None:
        return None
    built.train.argtypes, built.train.restype = [ctypes.POINTER(_Run), ctypes.c_int64, ctypes.c_int64], ctypes.c_int
    if single:
        built.batches.argtypes, built.batches.restype = [ctypes.POINTER(_Run), *[ctypes.c_void_p] * 5], ctypes.c_int
    return built


def available(dtype: str) -> bool:
    """Whether the compiled step works on this machine."""
    return _library(dtype == "float32") is not None


def train(
    shape: Shape, state: State, n_steps: int, data: Stream | Batches, optimiser: Optimiser
) -> tuple[State, np.ndarray]:
    """As ``induction_step.train``."""
    values, diverged_at, losses = _joined(shape, state), state.diverged_at.copy(), []
    for first, count, part in _parts(shape, state, n_steps, data):
        losses.append(advance(shape, values, first, count, part, optimiser, diverged_at))
    return State(_split(shape, values), state.step + n_steps, diverged_at), np.concatenate(losses, 1)


def loss_and_gradient(shape: Shape, state: State, data: Stream | Batches) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """As ``induction_step.loss_and_gradient``: one step of size zero."""
    values = _joined(shape, state)
    gradient, diverged_at = np.full_like(values, np.nan), np.full(len(values), -1, np.int64)
    ((first, count, part),) = _parts(shape, state, 1, data)
    losses = advance(shape, values, first, count, part, Optimiser(0.0), diverged_at, gradient)
    return losses[:, 0], _split(shape, gradient)


def advance(
    shape: Shape,
    values: np.ndarray,
    first_step: int,
    n_steps: int,
    data: Stream | Batches,
    optimiser: Optimiser,
    diverged_at: np.ndarray,
    gradient: np.ndarray | None = None,
) -> np.ndarray:
    """Make steps in place; returns the losses (replica, step) before each.

    ``values (replica, parameter)``: rows in the order of ``Shape.parameter_shapes``, contiguous; ``diverged_at`` is changed
    too, and ``gradient``, if given, becomes that of the last step.
    """
    n_replicas, dtype = len(values), values.dtype
    if values.shape != (n_replicas, shape.n_parameters) or not values.flags.c_contiguous:
        raise ValueError(
            f"values has shape {values.shape}; expected a contiguous array {(n_replicas, shape.n_parameters)}"
        )
    rates, decays = optimiser.each(n_replicas)
    losses = np.empty((n_replicas, n_steps))
    run, keep = _run(shape, data, dtype, n_replicas, first_step, n_steps)
    run.learning_rate, run.decay = rates.ctypes.data, decays.ctypes.data
    run.params, run.loss, run.diverged_at = values.ctypes.data, losses.ctypes.data, diverged_at.ctypes.data
    run.gradient = None if gradient is None else gradient.ctypes.data
    built, threads = _need(dtype == np.float32), min(torch.get_num_threads(), n_replicas)
    if threads <= 1:
        carried_out(built.train, run, 0, n_replicas)
    else:
        cuts = [n_replicas * i // threads for i in range(threads + 1)]
        run_parts(functools.partial(carried_out, built.train, run), cuts)
    del keep
    return losses


def draw(shape: Shape, stream: Stream, first_step: int, n_steps: int) -> tuple[Batches, np.ndarray]:
    """As ``reference.draw``."""
    built, n, N = _need(single=True), len(stream.seeds), shape.n_context
    run, keep = _run(shape, stream, np.dtype(np.float32), n, first_step, n_steps)
    first = (n, n_steps, shape.batch)
    items, chosen = np.empty((*first, N + 1, shape.dim), np.float32), np.empty((*first, N + 1), np.int64)
    label, target, start = (np.empty(size, np.int32) for size in ((*first, N), first, first))
    carried_out(built.batches, run, *(a.ctypes.data for a in (items, label, target, start, chosen)))
    del keep
    return Batches(items, label, target, start, stream.labels), chosen


def _run(
    shape: Shape, data: Stream | Batches, dtype: np.dtype, n_replicas: int, first_step: int, n_steps: int
) -> tuple[_Run, list[np.ndarray]]:
    """The record of a call, and the arrays that must live as long."""
    run = _Run(
        n_replicas=n_replicas,
        n_steps=n_steps,
        first_step=first_step,
        batch=shape.batch,
        dim=shape.dim,
        pairs=shape.n_context,
        positions=shape.n_positions,
        labels=shape.n_labels,
        row=shape.n_parameters,
        burst=1,
    )
    arrays = {"label_vectors": np.ascontiguousarray(data.labels, dtype)}
    if isinstance(data, Stream):
        law, run.classes = data.law, data.classes.shape[1]
        run.novel, run.burst, run.noise = law.n_novel, law.burstiness, law.within_class_noise
        run.distinct_labels, run.label_shift = law.distinct_labels, law.label_shift
        run.novel_below, run.bursty_below = int(law.p_novel * WORD), int(law.p_bursty * WORD)
        arrays |= {
            "seed": np.ascontiguousarray(data.seeds, np.uint64),
            "rank_below": law.rank_below(run.classes),
            "class_means": np.ascontiguousarray(data.classes, dtype),
        }
    else:
        arrays["items"] = np.ascontiguousarray(data.items, dtype)
        arrays |= {name: np.ascontiguousarray(getattr(data, name), np.int32) for name in ("label", "target", "start")}
    for name, array in arrays.items():
        setattr(run, name, array.ctypes.data)
    return run, list(arrays.values())


def _parts(shape: Shape, state: State, n_steps: int, data: Stream | Batches):
    """(first step, steps, data) of each call: the stream is single precision, so that double precision is fed it."""
    if not isinstance(data, Stream) or state.dtype == "float32":
        yield state.step, n_steps, data
        return
    each = 8 * state.n_replicas * shape.batch * (shape.n_context + 1) * shape.dim
    chunk = max(1, _CHUNK_BYTES // each)
    for low in range(0, n_steps, chunk):
        count = min(chunk, n_steps - low)
        yield state.step + low, count, draw(shape, data, state.step + low, count)[0]


def _need(single: bool):
    built = _library(single)
    if built is None:
        raise RuntimeError(
            "path='c' needs a working C compiler; see attnlab.kernels.compiled.compiler.compiler_report()"
        )
    return built


def _joined(shape: Shape, state: State) -> np.ndarray:
    joined = np.concatenate([state.params[name].reshape(state.n_replicas, -1) for name in NAMES], 1)
    return np.ascontiguousarray(joined)  # parts whose replicas share memory make numpy choose the other order


def _split(shape: Shape, values: np.ndarray) -> dict[str, np.ndarray]:
    sizes = shape.parameter_shapes()
    cuts = np.cumsum([int(np.prod(size)) for size in sizes.values()])[:-1]
    parts = np.split(values, cuts, 1)
    return {name: part.reshape(-1, *size).copy() for (name, size), part in zip(sizes.items(), parts, strict=True)}
