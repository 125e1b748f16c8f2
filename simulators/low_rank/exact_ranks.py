"""Exact ranks of attention, buffers, outputs and gated outputs on random integer matrices (no rounding, no tolerance).

Positive features, weights and values are random integers; the softmax matrix has entries ``2 ** (q_i . k_j)``, which is
softmax at inverse temperature ln 2 up to a positive factor per row, and such factors do not change a rank. Ranks are
computed over the integers by python-flint.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from flint import fmpz, fmpz_mat

from attnlab.simulators.ensemble.setting import checked, require_positive
from attnlab.simulators.ensemble.simulation import simulation

_LARGEST = 1_000


@dataclass(frozen=True)
class ExactSetting:
    """``sizes``: cells (N, d_k, d_v) of attention; ``products``: cells (N, D, rank, gate rank) of Hadamard products.

    ``head_sizes``: key and value width of each head of the multi-head cell, at length ``n_tokens``.
    """

    sizes: tuple[tuple[int, int, int], ...] = (
        (24, 1, 8),
        (24, 4, 8),
        (24, 8, 4),
        (24, 16, 16),
        (12, 16, 16),
        (40, 8, 8),
    )
    products: tuple[tuple[int, int, int, int], ...] = (
        (50, 40, 3, 4),
        (50, 40, 6, 8),
        (50, 10, 3, 4),
        (64, 64, 1, 5),
        (20, 30, 4, 4),
        (30, 12, 2, 12),
    )
    n_tokens: int = 30
    head_sizes: tuple[tuple[int, int], ...] = ((2, 6), (4, 4), (6, 3))
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "sizes", "products", "n_tokens", "head_sizes", "n_replicas")


@simulation(name="low_rank_exact.exact_ranks", block=4, reads=("sizes", "products", "n_tokens", "head_sizes"))
def exact_ranks(setting: ExactSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Exact ranks, whole numbers, of fresh random matrices per replica.

    Along the cells of ``sizes``, ``(replica, cell)``: ``linear_matrix``, ``softmax_matrix``, ``buffer``,
    ``weighted_buffer``, ``linear_output``, ``weighted_output``, ``softmax_output``. Along ``products``: ``product``, the
    ``square`` of the first factor, ``gated_output``: a gate of the gate rank times a linear output whose buffer has the
    cell's rank. And ``heads (replica,)``, the concatenated linear heads.
    """
    rows = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        attention = [_attention(rng, *size) for size in setting.sizes]
        products = [_products(rng, *size) for size in setting.products]
        found = {name: [cell[name] for cell in attention] for name in attention[0]}
        found |= {name: [cell[name] for cell in products] for name in products[0]}
        heads = [
            _matrix(_features(rng, setting.n_tokens, k))
            * _matrix(_features(rng, setting.n_tokens, k)).transpose()
            * _matrix(_integers(rng, setting.n_tokens, v))
            for k, v in setting.head_sizes
        ]
        found["heads"] = _matrix(np.concatenate([_array(head) for head in heads], axis=1)).rank()
        rows.append(found)
    return {name: np.array([row[name] for row in rows], dtype=np.int64) for name in rows[0]}


def _attention(rng: np.random.Generator, n: int, key_dim: int, value_dim: int) -> dict[str, int]:
    queries, keys, values = _features(rng, n, key_dim), _features(rng, n, key_dim), _integers(rng, n, value_dim)
    weights = rng.integers(1, _LARGEST, n)
    Q, K, V, weighted = _matrix(queries), _matrix(keys), _matrix(values), _matrix(keys * weights[:, None])
    scores = _small(rng, n, key_dim) @ _small(rng, n, key_dim).T
    scores -= scores.min()
    softmax = fmpz_mat(n, n, [fmpz(2) ** int(score) for score in scores.ravel()])
    buffer, weighted_buffer = K.transpose() * V, weighted.transpose() * V
    return {
        "linear_matrix": (Q * K.transpose()).rank(),
        "softmax_matrix": softmax.rank(),
        "buffer": buffer.rank(),
        "weighted_buffer": weighted_buffer.rank(),
        "linear_output": (Q * buffer).rank(),
        "weighted_output": (Q * weighted_buffer).rank(),
        "softmax_output": (softmax * V).rank(),
    }


def _products(rng: np.random.Generator, n: int, dim: int, rank: int, gate_rank: int) -> dict[str, int]:
    first, gate = _of_rank(rng, n, dim, rank), _of_rank(rng, n, dim, gate_rank)
    buffer = _features(rng, n, rank).T.astype(object) @ _integers(rng, n, dim).astype(object)
    output = _features(rng, n, rank).astype(object) @ buffer
    return {
        "product": _matrix(first * gate).rank(),
        "square": _matrix(first * first).rank(),
        "gated_output": _matrix(output * gate).rank(),
    }


def _of_rank(rng: np.random.Generator, n: int, dim: int, rank: int) -> np.ndarray:
    return _integers(rng, n, rank).astype(object) @ _integers(rng, rank, dim).astype(object)


def _small(rng: np.random.Generator, n: int, dim: int) -> np.ndarray:
    """Rows of small integers, all different, so that equal queries (and a lower rank) do not occur by chance."""
    size = int(np.ceil(n ** (1 / dim))) + 1
    while True:
        rows = rng.integers(-size, size + 1, (n, dim))
        if len(np.unique(rows, axis=0)) == n:
            return rows


def _features(rng: np.random.Generator, n: int, dim: int) -> np.ndarray:
    return rng.integers(1, _LARGEST, (n, dim))


def _integers(rng: np.random.Generator, n: int, dim: int) -> np.ndarray:
    return rng.integers(-_LARGEST, _LARGEST, (n, dim))


def _matrix(entries: np.ndarray) -> fmpz_mat:
    return fmpz_mat(*entries.shape, [int(entry) for entry in entries.ravel()])


def _array(matrix: fmpz_mat) -> np.ndarray:
    return np.array([int(entry) for entry in matrix.entries()], dtype=object).reshape(matrix.nrows(), matrix.ncols())
