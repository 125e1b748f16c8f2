"""What one attention call asks for, apart from its tensors: the record that every path receives."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from attnlab.kernels import torch_internals
from attnlab.kernels.attention.masks import Causal, Mask, matrix_of
from attnlab.kernels.attention.scores.f_over_g import ScoreMap
from attnlab.kernels.attention.statistics import Mass


@dataclass(frozen=True, eq=False)
class Rows:
    """The visible keys of each query when all problems share them.

    Query i sees the keys ``cols[first[i]:last[i]]``, or simply first[i] .. last[i]-1 where every row is one run
    (``cols`` is None). ``causal`` marks the square lower triangle, ``full`` no mask at all, ``some_empty`` a row
    without a key.
    """

    visible: Tensor | None
    first: np.ndarray
    last: np.ndarray
    cols: np.ndarray | None
    causal: bool
    full: bool
    some_empty: bool

    @functools.cached_property
    def n_pairs(self) -> int:
        """Number of visible (query, key) pairs."""
        return int((self.last.astype(np.int64) - self.first).sum())


@dataclass(frozen=True, eq=False)
class Problem:
    """Scale, score map, visible keys and statistics of a call; ``rows`` is None if problems differ in what they see.

    What each of them sees is then a tensor of the call, and on fast paths a term of its bias.
    """

    scale: float
    score: ScoreMap
    rows: Rows | None
    names: tuple[str, ...]
    mass: Mass
    kept: dict = field(default_factory=dict)  # what a path works out once for all calls of the problem


@functools.lru_cache(maxsize=64)
def rows_of_mask(mask: Mask | None, n_queries: int, n_keys: int) -> Rows:
    """``Rows`` of a mask object (they are hashable), kept for the next call."""
    if mask is None:
        full = np.full(n_queries, n_keys, dtype=np.int32)
        return Rows(None, np.zeros(n_queries, dtype=np.int32), full, None, False, True, n_keys == 0)
    with torch_internals.kept_tensors():
        return rows_of_visible(matrix_of(mask, n_queries, n_keys), causal=mask == Causal())


def rows_of_visible(visible: Tensor, causal: bool = False) -> Rows:
    """``Rows`` of a boolean (query, key) matrix; one on a GPU stays there, and only the matrix is known of it."""
    if visible.is_cuda:
        nothing = np.zeros(0, dtype=np.int32)
        return Rows(visible, nothing, nothing, None, False, False, True)
    with torch_internals.plain_tensors():
        seen = visible.cpu().numpy()
    n_queries, n_keys = seen.shape
    counts = seen.sum(1).astype(np.int32)
    start = np.where(counts > 0, seen.argmax(1) if n_keys else 0, 0).astype(np.int32)
    stop = np.where(counts > 0, n_keys - seen[:, ::-1].argmax(1) if n_keys else 0, 0).astype(np.int32)
    empty = bool((counts == 0).any())
    square = causal and n_queries == n_keys
    if np.array_equal(stop - start, counts):
        return Rows(visible, start, stop, None, square, bool(seen.all()), empty)
    last = np.cumsum(counts, dtype=np.int32)
    return Rows(visible, last - counts, last, np.nonzero(seen)[1].astype(np.int32), square, False, empty)


@functools.lru_cache(maxsize=64)
def rows_with_sink(rows: Rows) -> Rows:
    """The same rows with one more key at the end that every query sees."""
    if rows.full:
        return rows_of_mask(None, len(rows.first), int(rows.last.max(initial=0)) + 1)
    with torch_internals.kept_tensors():
        return rows_of_visible(torch.cat([rows.visible, torch.ones_like(rows.visible[:, :1])], -1))


def on_device(rows: Rows | None, device: torch.device) -> Tensor | None:
    """The shared boolean matrix on a device, or None without a mask."""
    return None if rows is None or rows.visible is None or rows.full else rows.visible.to(device)
