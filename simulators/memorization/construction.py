r"""Key-query weights that memorise by saturation: each head is one-hot on all examples but the few that are its own.

Mahdavi et al. (arXiv 2306.02010), the idea of their Proposition 2. Example 0 belongs to no head; head h owns the next r - 1
examples, r = d_h. With u orthogonal to the own queries and to no other, and q_i dual to the own queries,

    E M e = beta (u . e) E v + sum_i (q_i . e) E w_i,        M of rank r,

so on own examples the logits are those of ``E w_i``, free for every i, and elsewhere beta picks one token. Each head adds r - 1
to the rank. In the limit of infinite beta the weights are rational, and ranks are computed exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from flint import fmpz, fmpz_mat

from attnlab.simulators.ensemble.setting import checked, require_positive
from attnlab.simulators.ensemble.simulation import simulation
from attnlab.simulators.memorization.exact_ranks import integers, rank, softmax_weights


@dataclass(frozen=True)
class ConstructionSetting:
    """``cells``: (n, d, H, d_h, shared) with 2 <= d_h <= n <= d; there are ``H (d_h - 1) + 1`` examples in each.

    ``sharpness``: least distance of the picked token's logit to the others' on examples that are not a head's own.
    """

    cells: tuple[tuple[int, int, int, int, int], ...] = (
        (3, 4, 4, 3, 1),
        (3, 4, 4, 2, 1),
        (4, 6, 3, 4, 1),
        (4, 6, 5, 3, 1),
        (3, 4, 4, 3, 0),
        (4, 6, 3, 2, 0),
    )
    sharpness: float = 40.0
    n_replicas: int = 8

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "sharpness", "n_replicas")
        for n, dim, n_heads, head_dim, shared in self.cells:
            if not (2 <= head_dim <= n <= dim and n_heads >= 1 and shared in (0, 1)):
                raise ValueError(
                    f"cells holds (n, d, H, d_h, shared)={(n, dim, n_heads, head_dim, shared)!r}; use 2 <= d_h <= n "
                    "<= d, H >= 1 and shared 0 or 1"
                )


@simulation(name="memorization_construction.construct", block=2, reads=("cells", "sharpness"))
def construct(
    setting: ConstructionSetting, seeds: Sequence[np.random.SeedSequence], device: str
) -> dict[str, np.ndarray]:
    """Build the weights for random integer examples and look at what the attention layer makes of them, ``(replica, cell)``.

    ``rank``: exact rank of the features in the limit of infinite sharpness. ``unsaturated``: largest number of heads whose
    largest weight is below 0.99 on one example, ``owned``: share of examples that are unsaturated in their own head or in none,
    both of the layer in float64. ``residual``: largest relative error of the least-squares readout of random real labels, and
    ``condition`` the ratio of largest to least singular value of its features. ``width``: largest rank of a head's W_K W_Q^T.
    """
    rows = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        rows.append([_cell(rng, *cell, setting.sharpness) for cell in setting.cells])
    return {name: np.array([[cell[name] for cell in row] for row in rows]) for name in rows[0][0]}


def _cell(
    rng: np.random.Generator, n: int, dim: int, n_heads: int, head_dim: int, shared: int, sharpness: float
) -> dict[str, float]:
    n_examples = n_heads * (head_dim - 1) + 1
    queries = _independent_queries(rng, n_examples, dim, head_dim)
    contexts = np.stack([_full_rank(rng, n, dim) for _ in range(1 if shared else n_examples)])
    contexts = np.broadcast_to(contexts, (n_examples, n, dim))
    heads, Z = _heads(rng, queries, contexts, n_heads, head_dim)
    matrices = [_matrix(queries, contexts, *head, sharpness) for head in heads]
    blocks = [np.einsum("tnd,de,te->tn", contexts.astype(float), M, queries.astype(float)) for M in matrices]
    weights = np.stack([_softmax(logits) for logits in blocks], axis=1)  # (T, H, n)
    features = np.einsum("thn,tnd->thd", weights, contexts.astype(float)).reshape(n_examples, -1)
    labels = rng.uniform(size=n_examples)
    readout = np.linalg.lstsq(features, labels, rcond=None)[0]
    values = np.linalg.svd(features, compute_uv=False)
    soft = weights.max(-1) < 0.99
    mine = np.zeros_like(soft)
    mine[np.arange(1, n_examples), np.arange(n_examples - 1) // (head_dim - 1)] = True
    return {
        "rank": rank(Z),
        "unsaturated": soft.sum(-1).max(),
        "owned": float((~(soft & ~mine)).all(-1).mean()),
        "residual": np.abs(features @ readout - labels).max() / np.abs(labels).max(),
        "condition": values[0] / values[n_examples - 1],
        "width": max(np.linalg.matrix_rank(M, tol=1e-9 * np.linalg.norm(M, 2)) for M in matrices),
    }


def _heads(
    rng: np.random.Generator, queries: np.ndarray, contexts: np.ndarray, n_heads: int, head_dim: int
) -> tuple[list, np.ndarray]:
    """Own examples and directions of all heads, one after the other, and the integer features ``(T, H d)`` in the limit.

    Small integers are not generic by themselves: a head is drawn anew, at most 50 times, until it adds d_h - 1 to the rank.
    """
    heads, Z = [], np.zeros((len(queries), 0), dtype=object)
    for head in range(n_heads):
        own = 1 + head * (head_dim - 1) + np.arange(head_dim - 1)
        for _ in range(50):
            directions = _directions(rng, queries, contexts, own)
            weights = _limit(queries, contexts, own, *directions)
            scale = weights.sum(-1, keepdims=True)
            longer = np.concatenate([Z * scale, np.einsum("tn,tnd->td", weights, contexts)], axis=1)
            if rank(longer[: own[-1] + 1]) == own[-1] + 1:
                break
        heads.append((own, *directions))
        Z = longer
    return heads, Z


def _directions(
    rng: np.random.Generator, queries: np.ndarray, contexts: np.ndarray, own: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """u orthogonal to the own queries only, v that tells all tokens apart, and w_i (own, d) that fix the own logits."""
    basis, nullity = fmpz_mat(*queries[own].shape, [fmpz(int(entry)) for entry in queries[own].ravel()]).nullspace()
    basis = np.array([int(entry) for entry in basis.entries()], dtype=object).reshape(queries.shape[1], -1)[:, :nullity]
    others = np.delete(np.arange(len(queries)), own)
    while True:
        u = basis @ integers(rng, 3, nullity)
        if (queries[others] @ u != 0).all():
            break
    while True:
        v = integers(rng, 3, queries.shape[1])
        if all(len(set((E @ v).tolist())) == len(E) for E in contexts):
            break
    while True:
        w = integers(rng, 1, len(own), queries.shape[1])
        if rank(w) == len(w):
            return u, v, w


def _limit(
    queries: np.ndarray, contexts: np.ndarray, own: np.ndarray, u: np.ndarray, v: np.ndarray, w: np.ndarray
) -> np.ndarray:
    """Unnormalised weights ``(T, n)`` for infinite beta: powers of two on own examples, one-hot elsewhere."""
    signs = np.where(queries @ u > 0, 1, -1)
    weights = np.zeros(contexts.shape[:2], dtype=object)
    for t, E in enumerate(contexts):
        weights[t, int(np.argmax((signs[t] * (E @ v)).astype(float)))] = 1
    for t, direction in zip(own, w, strict=True):
        weights[t] = softmax_weights(contexts[t] @ direction)
    return weights


def _matrix(
    queries: np.ndarray,
    contexts: np.ndarray,
    own: np.ndarray,
    u: np.ndarray,
    v: np.ndarray,
    w: np.ndarray,
    sharpness: float,
) -> np.ndarray:
    """M ``(d, d)`` in floating point, beta so large that the picked token leads by ``sharpness`` everywhere."""
    e, E = queries.astype(float), contexts.astype(float)
    u, v, w = (each.astype(float) for each in (u, v, w * np.log(2)))
    D = w.T @ np.linalg.pinv(e[own]).T
    others = np.delete(np.arange(len(e)), own)
    picking, rest = np.einsum("t,tnd,d->tn", e @ u, E, v)[others], np.einsum("tnd,de,te->tn", E, D, e)[others]
    top = np.sort(picking, axis=1)
    beta = (sharpness + np.ptp(rest, axis=1)) / (top[:, -1] - top[:, -2])
    return beta.max() * np.outer(v, u) + D


def _independent_queries(rng: np.random.Generator, n_examples: int, dim: int, head_dim: int) -> np.ndarray:
    """Queries such that the own ones of each head and any one other are independent, as a Kruskal rank of d_h implies."""
    while True:
        queries = integers(rng, 4, n_examples, dim)
        groups = [range(1 + low, low + head_dim) for low in range(0, n_examples - 1, head_dim - 1)]
        if all(
            rank(queries[[*group, other]]) == head_dim
            for group in groups
            for other in range(n_examples)
            if other not in group
        ):
            return queries


def _full_rank(rng: np.random.Generator, n: int, dim: int) -> np.ndarray:
    while True:
        E = integers(rng, 3, n, dim)
        if rank(E) == n:
            return E


def _softmax(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)
