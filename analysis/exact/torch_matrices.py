"""The exact form of torch's linear algebra, and of operations that only move entries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from attnlab.analysis.exact import arrays as ar
from attnlab.analysis.exact.arrays import OPAQUE, each, lifted
from attnlab.analysis.exact.tape import NotTraceable, Tape
from attnlab.analysis.exact.torch_entries import choose, sign
from attnlab.analysis.exact.torch_internals import unwatched


def determinant(tape: Tape, A: Any) -> Any:
    found = ar.batched(lambda m: ar.determinant(tape, m), lifted(tape, A))
    return found, np.full(np.shape(A), tape.constant(0)), np.zeros(np.shape(A)[:-1])


def log_determinant(tape: Tape, A: Any) -> Any:
    det = ar.batched(lambda m: ar.determinant(tape, m), lifted(tape, A))
    logs = each(tape, lambda d: abs(d).log(), det)
    return sign(tape, det), logs, np.full(np.shape(A), tape.constant(0)), np.zeros(np.shape(A)[:-1])


def inverse(tape: Tape, A: Any) -> Any:
    return ar.batched(lambda m: ar.inverse(tape, m), lifted(tape, A)), np.zeros(np.shape(A)[:-2])


def solve(tape: Tape, A: Any, B: Any, left: bool = True) -> Any:
    if not left:
        raise NotTraceable("no exact form of solve from the right")
    inv = ar.batched(lambda m: ar.inverse(tape, m), lifted(tape, A))
    b = lifted(tape, B)
    vector = b.ndim == 1 or (b.ndim == inv.ndim - 1 and b.shape == inv.shape[:-1])
    out = ar.matmul(tape, inv, b[..., None])[..., 0] if vector else ar.matmul(tape, inv, b)
    unused = np.full(inv.shape, tape.constant(0))
    return out, unused, np.zeros(inv.shape[:-1]), np.zeros(inv.shape[:-2])


def cholesky(tape: Tape, self: Any, upper: bool = False) -> Any:
    def one(m: Any) -> Any:
        n = len(m)
        low = np.full((n, n), tape.constant(0))
        for i in range(n):
            for j in range(i + 1):
                rest = m[i, j] - ar.total([low[i, k] * low[j, k] for k in range(j)], tape)
                low[i, j] = rest.sqrt() if i == j else rest / low[j, j]
        return low.T if upper else low

    return ar.batched(one, lifted(tape, self)), np.zeros(np.shape(self)[:-2])


def eigh(tape: Tape, A: Any, UPLO: str = "L", compute_v: bool = True) -> Any:
    m = lifted(tape, A)
    found = ar.batched(lambda e: ar.eigenvalues(tape, e if UPLO == "L" else e.T), m)
    return found, unknown(np.shape(A))


def svd(tape: Tape, A: Any, full_matrices: bool = False, compute_uv: bool = True, driver: Any = None) -> Any:
    m = lifted(tape, A)
    found = ar.batched(lambda e: ar.singular_values(tape, e), m)
    rows, columns = m.shape[-2:]
    k = min(rows, columns)
    if not compute_uv:
        return unknown((0,)), found, unknown((0,))
    return (
        unknown((*m.shape[:-2], rows, rows if full_matrices else k)),
        found,
        unknown((*m.shape[:-2], columns if full_matrices else k, columns)),
    )


def unknown(shape: tuple[int, ...]) -> np.ndarray:
    """Entries without an exact form; any use of them is refused."""
    out = np.empty(shape, dtype=object)
    out[...] = OPAQUE
    return out


def trace(tape: Tape, self: Any) -> Any:
    return ar.total(list(np.diagonal(lifted(tape, self))), tape)


def cross(tape: Tape, self: Any, other: Any, dim: int = -1) -> Any:
    a, b = lifted(tape, self), lifted(tape, other)
    a, b = np.broadcast_arrays(a, b)
    a, b = np.moveaxis(a, dim, -1), np.moveaxis(b, dim, -1)
    out = np.empty(a.shape, dtype=object)
    for k in range(3):
        i, j = (k + 1) % 3, (k + 2) % 3
        out[..., k] = a[..., i] * b[..., j] - a[..., j] * b[..., i]
    return np.moveaxis(out, -1, dim)


def cast(tape: Tape, self: Any, dtype: Any = None, **rest: Any) -> Any:
    return self


def fill(tape: Tape, self: Any, value: Any) -> Any:
    out = np.empty(np.shape(self), dtype=object)
    out[...] = value.item() if isinstance(value, np.ndarray) else value
    return out


def copy(tape: Tape, self: Any, src: Any) -> Any:
    return np.broadcast_to(ar.as_objects(src), np.shape(self))


def bernoulli_free_dropout(tape: Tape, input: Any, p: Any, train: Any) -> Any:
    if train and p:
        raise NotTraceable("dropout draws random numbers")
    return input, np.zeros(np.shape(input))


POSITIONS = ("index", "indices")  # arguments of torch's schemas that say where; all other arrays are what is moved


def moved(name: str) -> Callable[..., Any]:
    """An operation that only moves entries: torch moves the positions, the entries follow; new places hold 0."""

    def on_array(tape: Tape, **given: Any) -> Any:
        pool: list[Any] = []

        def positions(value: Any) -> Any:
            if isinstance(value, np.ndarray) and value.dtype == object:
                flat = list(value.ravel())
                index = np.arange(len(pool), len(pool) + len(flat), dtype=np.float64).reshape(value.shape) + 1
                pool.extend(flat)
                return torch.as_tensor(index)
            if isinstance(value, np.ndarray):
                return torch.as_tensor(value)
            return [positions(v) for v in value] if isinstance(value, list) else value

        function = getattr(torch.ops.aten, name)
        with unwatched():
            moving = {k: v if k in POSITIONS else _entries(v) for k, v in given.items()}
            found = function(**{k: positions(v) for k, v in moving.items()}).numpy().astype(np.int64)
        pool_array = np.empty(len(pool) + 1, dtype=object)
        pool_array[0] = tape.constant(0)
        pool_array[1:] = pool
        return pool_array[found] if found.ndim else pool_array[int(found)]

    return on_array


def _entries(value: Any) -> Any:
    """Arrays of whole numbers or masks among what is moved, as entries."""
    if isinstance(value, list):
        return [_entries(v) for v in value]
    return ar.as_objects(value) if isinstance(value, np.ndarray) else value


def scatter(tape: Tape, self: Any, dim: int, index: Any, src: Any = None, value: Any = None) -> Any:
    given = ar.as_objects(np.full(np.shape(index), value)) if src is None else src
    return moved("scatter")(tape, self=self, dim=dim, index=index, src=given)


def pad(tape: Tape, self: Any, pad: Any, value: Any = 0) -> Any:
    if value == 0:
        return moved("constant_pad_nd")(tape, self=self, pad=pad)
    zero = moved("constant_pad_nd")(tape, self=ar.as_objects(np.full(np.shape(self), True)), pad=pad)
    inside = np.vectorize(lambda x: x is True or isinstance(x, np.bool_), otypes=[bool])(zero)
    return choose(tape, inside, moved("constant_pad_nd")(tape, self=self, pad=pad), value)


def put(tape: Tape, self: Any, indices: Any, values: Any, accumulate: bool = False) -> Any:
    out = lifted(tape, self).copy()
    key = tuple(slice(None) if i is None else np.asarray(i) for i in indices)
    if accumulate or any(np.asarray(k).dtype == object for k in key if not isinstance(k, slice)):
        raise NotTraceable("no exact form of writing at computed positions, or of adding at positions")
    out[key] = lifted(tape, values)
    return out


def pick(tape: Tape, self: Any, indices: Any) -> Any:
    if any(isinstance(i, np.ndarray) and i.dtype == object for i in indices):
        raise NotTraceable("a boolean mask of computed values selects entries")
    return moved("index")(tape, self=self, indices=indices)
