"""The in-context regression step in compiled code (``icl_step.c``): sequences in the lanes, one call for many steps."""

from __future__ import annotations

import ctypes
import functools
import time
from pathlib import Path

import numpy as np
import torch

from attnlab.kernels.compiled import compiler, counters
from attnlab.kernels.compiled.threads import carried_out, run_parts
from attnlab.kernels.icl_step.records import NAMES, Batches, Optimiser, Shape, State, Stream

SOURCE = Path(__file__).with_name("icl_step.c")
MAX_DIM, MAX_HEADS, MAX_LABELS = 64, 64, 16
_CHUNK_BYTES = 64 << 20


class _Run(ctypes.Structure):
    _fields_ = (
        [
            (name, ctypes.c_int64)
            for name in ("n_replicas", "batch", "n_context", "width", "n_steps", "first_step", "causal", "adam")
        ]
        + [(name, ctypes.c_double) for name in ("beta1", "beta2", "eps")]
        + [("clean_query", ctypes.c_int64)]
        + [("coefficient_std", ctypes.c_double)]
        + [
            (name, ctypes.c_void_p)
            for name in (
                "learning_rate",
                "noise_std",
                "root",
                "mask",
                "noise_scale",
                "seed",
                "x",
                "y",
                "params",
                "moment1",
                "moment2",
                "loss",
                "diverged_at",
                "gradient",
            )
        ]
    )


@functools.lru_cache(maxsize=64)
def _library(dim: int, n_heads: int, n_labels: int, single: bool, count: bool = False):
    built = compiler.load(SOURCE, D=dim, H=n_heads, M=n_labels, REAL32=int(single), **({"COUNT": 1} if count else {}))
    if built is None:
        return None
    built.train.argtypes, built.train.restype = [ctypes.POINTER(_Run), ctypes.c_int64, ctypes.c_int64], ctypes.c_int
    if single:
        built.batches.argtypes, built.batches.restype = (
            [ctypes.POINTER(_Run), ctypes.c_void_p, ctypes.c_void_p],
            ctypes.c_int,
        )
        built.normals.argtypes = [ctypes.c_uint64, ctypes.c_uint64, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p]
        built.normals.restype = None
    return built


def available(shape: Shape, dtype: str) -> bool:
    """Whether the compiled step can do these sizes on this machine."""
    return (
        shape.dim <= MAX_DIM
        and shape.n_heads <= MAX_HEADS
        and shape.n_labels <= MAX_LABELS
        and _library(shape.dim, shape.n_heads, shape.n_labels, dtype == "float32") is not None
    )


def train(
    shape: Shape, state: State, n_steps: int, data: Stream | Batches, optimiser: Optimiser
) -> tuple[State, np.ndarray]:
    """As ``icl_step.train``."""
    if isinstance(data, Stream) and state.dtype != "float32":  # the stream is single precision: feed it
        return _train_in_chunks(shape, state, n_steps, data, optimiser)
    return _call(shape, state, n_steps, data, optimiser)[:2]


def loss_and_gradient(shape: Shape, state: State, data: Stream | Batches) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """As ``icl_step.loss_and_gradient``: one step of size zero."""
    if isinstance(data, Stream) and state.dtype != "float32":
        data = draw(shape, data, state.step, 1)
    alive = State(state.params, state.moment1, state.moment2, state.step, np.full(state.n_replicas, -1, np.int64))
    _, losses, gradient = _call(shape, alive, 1, data, Optimiser(0.0, kind="sgd"))
    return losses[:, 0], gradient


def draw(shape: Shape, stream: Stream, first_step: int, n_steps: int) -> Batches:
    """As ``icl_step.draw``."""
    built = _need(shape, single=True)
    x = np.empty((len(stream.seeds), n_steps, shape.batch, shape.n_context + 1, shape.dim), np.float32)
    y = np.empty((*x.shape[:-1], *shape.label_axis), np.float32)
    run = _Run(
        n_replicas=len(stream.seeds),
        batch=shape.batch,
        n_context=shape.n_context,
        n_steps=n_steps,
        first_step=first_step,
    )
    keep = _stream(run, shape, stream)
    carried_out(built.batches, run, x.ctypes.data, y.ctypes.data)
    del keep
    return Batches(x, y)


def normals(seed: int, step: int, n_sequences: int, n_numbers: int) -> np.ndarray:
    """Standard normals (sequence, number) of the stream in float32; ``n_sequences`` a multiple of 8."""
    if n_sequences % 8:
        raise ValueError(f"n_sequences={n_sequences} must be a multiple of 8, the lanes of a vector")
    out = np.empty((n_sequences // 8, n_numbers, 8), np.float32)
    _need(Shape(1, 1, 1, 1), single=True).normals(seed, step, n_sequences, n_numbers, out.ctypes.data)
    return out.transpose(0, 2, 1).reshape(n_sequences, n_numbers)


def time_normals(n_sequences: int, n_numbers: int, rounds: int) -> float:
    """Best seconds to make that many normals in the lanes, as ``train`` uses them (not reordered)."""
    out, built = np.empty(n_sequences * n_numbers, np.float32), _need(Shape(1, 1, 1, 1), single=True)
    best = np.inf
    for _ in range(rounds):
        start = time.perf_counter()
        built.normals(1, 0, n_sequences, n_numbers, out.ctypes.data)
        best = min(best, time.perf_counter() - start)
    return best


def _need(shape: Shape, single: bool, count: bool = False):
    built = _library(shape.dim, shape.n_heads, shape.n_labels, single, count)
    if built is None:
        raise RuntimeError(
            "path='c' needs a working C compiler; see attnlab.kernels.compiled.compiler.compiler_report()"
        )
    return built


def _train_in_chunks(shape: Shape, state: State, n_steps: int, stream: Stream, optimiser: Optimiser):
    each = 8 * state.n_replicas * shape.batch * (shape.n_context + 1) * (shape.dim + shape.n_labels)
    chunk, losses, done = max(1, _CHUNK_BYTES // each), [], 0
    while done < n_steps:
        count = min(chunk, n_steps - done)
        state, part, _ = _call(shape, state, count, draw(shape, stream, state.step, count), optimiser)
        losses.append(part)
        done += count
    return state, np.concatenate(losses, 1)


def _stream(run: _Run, shape: Shape, stream: Stream) -> list[np.ndarray]:
    """Fill in where a stream lies; returns the arrays that must live as long."""
    law, arrays = stream.law, {"seed": np.ascontiguousarray(stream.seeds, np.uint64), "noise_std": stream.noise()}
    run.clean_query, run.coefficient_std = law.clean_query, law.coefficient_std or 0.0
    for name, array in (("root", law.covariance_root), ("mask", law.mask(shape)), ("noise_scale", law.noise_scale)):
        if array is not None:
            arrays[name] = np.ascontiguousarray(array, np.float64)
    for name, array in arrays.items():
        setattr(run, name, array.ctypes.data)
    return list(arrays.values())


def _pack(part: dict[str, np.ndarray]) -> np.ndarray:
    n_replicas = part["wq"].shape[0]
    joined = np.concatenate([part[name].reshape(n_replicas, -1) for name in NAMES], 1)
    return np.ascontiguousarray(joined)  # parts whose replicas share memory make numpy choose the other order


def _unpack(shape: Shape, flat: np.ndarray) -> dict[str, np.ndarray]:
    out, at = {}, 0
    for name, size in shape.parameter_shapes().items():
        count = int(np.prod(size))
        out[name] = flat[:, at : at + count].reshape(-1, *size).copy()
        at += count
    return out


def _call(shape: Shape, state: State, n_steps: int, data: Stream | Batches, optimiser: Optimiser):
    dtype = np.dtype(state.dtype)
    counter = counters.active()
    built = _need(shape, dtype == np.float32, counter is not None)
    flat = [_pack(part) for part in (state.params, state.moment1, state.moment2)]
    gradient, losses = np.zeros_like(flat[0]), np.empty((state.n_replicas, n_steps))
    diverged_at, rates = state.diverged_at.copy(), optimiser.rates(state.n_replicas)
    keep = [rates]
    run = _Run(
        n_replicas=state.n_replicas,
        batch=shape.batch,
        n_context=shape.n_context,
        width=shape.head_width,
        n_steps=n_steps,
        first_step=state.step,
        causal=shape.causal,
        adam=optimiser.kind == "adam",
        beta1=optimiser.betas[0],
        beta2=optimiser.betas[1],
        eps=optimiser.eps,
        learning_rate=rates.ctypes.data,
        params=flat[0].ctypes.data,
        moment1=flat[1].ctypes.data,
        moment2=flat[2].ctypes.data,
        loss=losses.ctypes.data,
        diverged_at=diverged_at.ctypes.data,
        gradient=gradient.ctypes.data,
    )
    if isinstance(data, Stream):
        keep += _stream(run, shape, data)
    else:
        keep += [np.ascontiguousarray(data.x, dtype), np.ascontiguousarray(data.y, dtype)]
        run.x, run.y = keep[1].ctypes.data, keep[2].ctypes.data
    threads = min(torch.get_num_threads(), state.n_replicas) if counter is None else 1
    if threads <= 1:
        carried_out(built.train, run, 0, state.n_replicas)
        if counter is not None:
            counters.collect(built, counter)
    else:
        cuts = [state.n_replicas * i // threads for i in range(threads + 1)]
        run_parts(functools.partial(carried_out, built.train, run), cuts)
    after = State(*(_unpack(shape, a) for a in flat), state.step + n_steps, diverged_at)
    return after, losses, _unpack(shape, gradient)
