"""Exact ranks of what attention heads make of random integer examples: no rounding, no tolerance.

Softmax weights are ``2 ** logit / sum``, softmax at inverse temperature ln 2 with whole-number logits. Every example's row of
features is multiplied by the product of its heads' normalisers, which leaves ranks as they are and makes it integer. Ranks are
computed over the integers by python-flint. Mahdavi et al. (arXiv 2306.02010).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from flint import fmpz, fmpz_mat

from attnlab.simulators.ensemble.setting import checked, require_positive
from attnlab.simulators.ensemble.simulation import simulation

_TRIES = 100_000


@dataclass(frozen=True)
class ExactSetting:
    """Cells of sizes. ``sizes``: (n, d, H, d_h, T) with one shared context and with a context for each example.

    ``deficient``: (n, d, H, rho, ones, T), a shared context of rank rho with the vector of ones in its column space or not.
    ``subspace``: (n, d, H, d_h, T), tokens and queries in n of d dimensions, queries on the moment curve.
    """

    sizes: tuple[tuple[int, int, int, int, int], ...] = (
        (4, 6, 3, 1, 16),
        (4, 6, 3, 2, 16),
        (4, 6, 3, 6, 16),
        (4, 6, 3, 4, 9),
        (3, 5, 4, 1, 20),
        (3, 5, 4, 3, 20),
        (6, 4, 2, 3, 14),
        (1, 4, 3, 2, 8),
    )
    distinct: tuple[tuple[int, int, int, int, int], ...] = (
        (4, 5, 3, 4, 19),
        (2, 5, 3, 1, 19),
        (3, 4, 2, 2, 6),
        (1, 4, 3, 2, 9),
    )
    deficient: tuple[tuple[int, int, int, int, int, int], ...] = (
        (4, 6, 3, 2, 0, 12),
        (4, 6, 3, 2, 1, 12),
        (5, 6, 3, 3, 0, 14),
        (5, 6, 3, 3, 1, 14),
    )
    subspace: tuple[tuple[int, int, int, int, int], ...] = ((3, 8, 4, 3, 13), (3, 8, 4, 2, 13), (4, 8, 3, 4, 13))
    n_replicas: int = 8

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "sizes", "distinct", "subspace", "n_replicas")
        for _, dim, *_, n_examples in (*self.sizes, *self.distinct, *self.deficient):
            if 2 * n_examples > 7**dim:
                raise ValueError(
                    f"T={n_examples} different queries with entries from -3 to 3 need more than d={dim} dimensions"
                )
        for n, dim, _, rho, ones, _ in self.deficient:
            if not (1 + ones <= rho < n and rho <= dim and ones in (0, 1)):
                raise ValueError(
                    f"deficient holds n, d, rho, ones = {n}, {dim}, {rho}, {ones}; use 1 + ones <= rho < n and "
                    "rho <= d (of rank one with the ones, all tokens are equal)"
                )


@simulation(name="memorization_exact.exact_ranks", block=2, reads=("sizes", "distinct", "deficient", "subspace"))
def exact_ranks(setting: ExactSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Exact ranks of features along the cells, ``(replica, cell)``, whole numbers.

    Along ``sizes``, all with the same queries, context and weights: ``shared`` (softmax), ``collinear`` (softmax, all queries
    multiples of one vector), ``repeated`` (softmax, every query twice), ``linear`` (no softmax), ``normalised`` (positive
    linear weights over their sum). Then ``distinct``, ``deficient`` and ``subspace``, softmax.

    ``solvable (replica, cell)``: whether random integer labels are a linear function of the features, for the first R examples
    of the cell, R the rank of ``shared``; ``solvable_beyond``: for one example more, -1 where the cell has no more.
    """
    rows = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        cells = [_shared_cell(rng, *size) for size in setting.sizes]
        row = {name: [cell[name] for cell in cells] for name in cells[0]}
        row["distinct"] = [_distinct_cell(rng, *size) for size in setting.distinct]
        row["deficient"] = [_deficient_cell(rng, *size) for size in setting.deficient]
        row["subspace"] = [_subspace_cell(rng, *size) for size in setting.subspace]
        rows.append(row)
    return {name: np.array([row[name] for row in rows], dtype=np.int64) for name in rows[0]}


def feature_matrix(weights: Sequence[np.ndarray], contexts: np.ndarray) -> np.ndarray:
    """Integer rows ``(T, H d)``: heads' unnormalised ``weights`` (each (T, n)), over their sums, rows scaled to be integer.

    ``contexts`` is (n, d), shared, or (T, n, d).
    """
    sums = np.stack([weight.sum(-1) for weight in weights], axis=1)  # (T, H)
    blocks = []
    for head, weight in enumerate(weights):
        others = np.delete(sums, head, axis=1).prod(axis=1) if len(weights) > 1 else np.ones(len(sums), dtype=object)
        pooled = (
            weight @ contexts
            if contexts.ndim == 2
            else np.stack([a @ E for a, E in zip(weight, contexts, strict=True)])
        )
        blocks.append(others[:, None] * pooled)
    return np.concatenate(blocks, axis=1)


def rank(entries: np.ndarray) -> int:
    """The exact rank of an integer matrix."""
    return fmpz_mat(*entries.shape, [fmpz(int(entry)) for entry in entries.ravel()]).rank()


def integers(rng: np.random.Generator, size: int, *shape: int) -> np.ndarray:
    """Python integers from -size to size."""
    return rng.integers(-size, size + 1, shape).astype(object)


def softmax_weights(logits: np.ndarray) -> np.ndarray:
    """Unnormalised weights ``2 ** (logit - least logit of the row)``."""
    shifted = logits - logits.min(axis=-1, keepdims=True)
    return np.vectorize(lambda exponent: 1 << int(exponent), otypes=[object])(shifted)


def _heads(
    rng: np.random.Generator, n_heads: int, head_dim: int, tokens: np.ndarray, queries: np.ndarray
) -> list[np.ndarray]:
    """Matrices ``M_h = W_K W_Q^T`` (d, d) of heads of the given width that tell all tokens and all queries apart.

    Small integers are not generic by themselves: weights are drawn anew until keys and queries are different and of full rank.
    """
    dim, heads = tokens.shape[-1], []
    full = min(rank(tokens), head_dim), min(rank(queries), head_dim)
    for _ in range(_TRIES):
        if len(heads) == n_heads:
            return heads
        W_K, W_Q = integers(rng, 2, dim, head_dim), integers(rng, 9 if head_dim == 1 else 3, dim, head_dim)
        keys, asked = tokens @ W_K, queries @ W_Q
        if _all_different(keys) and _all_different(asked) and (rank(keys), rank(asked)) == full:
            heads.append(W_K @ W_Q.T)
    raise ValueError(
        f"no weights of width {head_dim} with small whole entries tell all {len(tokens)} tokens and {len(queries)} "
        "queries apart; use fewer examples or a larger head width"
    )


def _all_different(rows: np.ndarray) -> bool:
    return len({tuple(row) for row in rows.tolist()}) == len(rows)


def _different(rng: np.random.Generator, n_rows: int, dim: int) -> np.ndarray:
    """Queries with entries from -3 to 3, all different."""
    while True:
        rows = integers(rng, 3, n_rows, dim)
        if _all_different(rows):
            return rows


def _context(rng: np.random.Generator, n: int, dim: int) -> np.ndarray:
    """Different tokens with entries from -3 to 3, of the largest possible rank."""
    while True:
        E = integers(rng, 3, n, dim)
        if rank(E) == min(n, dim) and _all_different(E):
            return E


def _softmax_features(queries: np.ndarray, context: np.ndarray, heads: Sequence[np.ndarray]) -> np.ndarray:
    return feature_matrix([softmax_weights(queries @ (context @ M).T) for M in heads], context)


def _collinear(rng: np.random.Generator, n_rows: int, E: np.ndarray, n_heads: int) -> list[np.ndarray]:
    """Weights of queries that are the multiples 1, 2, ... of one vector: logits ``s v_h``, a vector v_h for each head."""
    n = len(E)
    slopes = [rng.permutation(16 * n)[:n].astype(object) for _ in range(n_heads)]
    return [softmax_weights(np.arange(1, n_rows + 1, dtype=object)[:, None] * slope) for slope in slopes]


def _shared_cell(
    rng: np.random.Generator, n: int, dim: int, n_heads: int, head_dim: int, n_examples: int
) -> dict[str, int]:
    E, queries = _context(rng, n, dim), _different(rng, n_examples, dim)
    heads = _heads(rng, n_heads, head_dim, E, queries)
    logits = [queries @ (E @ M).T for M in heads]
    weights = [softmax_weights(each) for each in logits]
    Z = feature_matrix(weights, E)
    found = rank(Z)
    scale = np.stack([weight.sum(-1) for weight in weights], axis=1).prod(axis=1)
    both = np.concatenate([Z, (scale * integers(rng, 1_000, n_examples))[:, None]], axis=1)
    half = Z[: (n_examples + 1) // 2]
    positive = [_positive(rng, dim, n, head_dim) for _ in heads]
    common = rng.integers(1, 30, (n_examples, dim)).astype(object)
    normalised = [common @ weight for weight in positive]
    return {
        "shared": found,
        "collinear": rank(feature_matrix(_collinear(rng, n_examples, E, n_heads), E)),
        "repeated": rank(np.concatenate([half, half])[:n_examples]),
        "linear": rank(np.concatenate([each @ E for each in logits], axis=1)),
        "normalised": rank(feature_matrix(normalised, E)),
        "solvable": int(rank(both[:found]) == rank(Z[:found])),
        "solvable_beyond": int(rank(both[: found + 1]) == rank(Z[: found + 1])) if n_examples > found else -1,
    }


def _positive(rng: np.random.Generator, dim: int, n: int, head_dim: int) -> np.ndarray:
    """A positive map (d, n) from queries to weights, of rank ``min(d, n, d_h)``."""
    return rng.integers(1, 1_000, (dim, head_dim)).astype(object) @ rng.integers(1, 1_000, (head_dim, n)).astype(object)


def _distinct_cell(rng: np.random.Generator, n: int, dim: int, n_heads: int, head_dim: int, n_examples: int) -> int:
    contexts = np.stack([_context(rng, n, dim) for _ in range(n_examples)])
    queries = _different(rng, n_examples, dim)
    heads = _heads(rng, n_heads, head_dim, contexts[0], queries)
    weights = [softmax_weights(np.stack([E @ M @ e for E, e in zip(contexts, queries, strict=True)])) for M in heads]
    return rank(feature_matrix(weights, contexts))


def _deficient_cell(
    rng: np.random.Generator, n: int, dim: int, n_heads: int, rho: int, ones: int, n_examples: int
) -> int:
    while True:
        left = integers(rng, 3, n, rho)
        if ones:
            left[:, 0] = 1
        E = left @ integers(rng, 1, rho, dim)
        with_ones = np.concatenate([E, np.ones((n, 1), dtype=object)], axis=1)
        if rank(E) == rho and rank(with_ones) == rho + (not ones) and _all_different(E):
            break
    queries = _different(rng, n_examples, dim)
    return rank(_softmax_features(queries, E, _heads(rng, n_heads, dim, E, queries)))


def _subspace_cell(rng: np.random.Generator, n: int, dim: int, n_heads: int, head_dim: int, n_examples: int) -> int:
    """Any n of the queries are independent, any n + 1 dependent; the tokens span the same n dimensions."""
    places = np.arange(n_examples, dtype=object) - n_examples // 2
    queries = np.zeros((n_examples, dim), dtype=object)
    queries[:, :n] = np.stack([places**power for power in range(n)], axis=1)
    E = np.zeros((n, dim), dtype=object)
    E[:, :n] = _context(rng, n, n)
    return rank(_softmax_features(queries, E, _heads(rng, n_heads, head_dim, E, queries)))
