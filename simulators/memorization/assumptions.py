"""The two assumptions on examples, tested: Kruskal ranks over the integers, and how narrow a head can be made.

Mahdavi et al. (arXiv 2306.02010): every n queries are independent (Kruskal rank at least n), every context has rank n. The
Kruskal rank of a set is the largest k such that any k of its vectors are independent.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from attnlab.simulators.ensemble.setting import checked, require_positive
from attnlab.simulators.ensemble.simulation import simulation
from attnlab.simulators.memorization.exact_ranks import integers, rank

SETS = ("generic", "in a subspace", "collinear pair", "dependent triple", "repeated")


@dataclass(frozen=True)
class AssumptionSetting:
    """Sets of ``n_vectors`` in ``dim`` dimensions; ``subspace``: dimension of the subspace of one of them.

    ``n_queries`` vectors with one collinear pair are tested ``n_trials`` times by ``n_subsets`` random subsets of ``subset``.
    ``narrow``: cells (n, d, H) of layers of width d that are rewritten with narrower heads, on ``n_queries`` queries.
    """

    n_vectors: int = 8
    dim: int = 4
    subspace: int = 3
    n_queries: int = 40
    subset: int = 4
    n_subsets: int = 50
    n_trials: int = 100
    narrow: tuple[tuple[int, int, int], ...] = ((3, 6, 2), (4, 8, 3), (8, 12, 2))
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_positive(
            self, "n_vectors", "dim", "subspace", "n_queries", "subset", "n_subsets", "n_trials", "narrow", "n_replicas"
        )
        if not (3 <= self.subspace < self.dim < self.n_vectors):
            raise ValueError(
                f"subspace={self.subspace!r}, dim={self.dim!r}, n_vectors={self.n_vectors!r}: use 3 <= "
                "subspace < dim < n_vectors"
            )


@simulation(name="memorization_assumptions.kruskal", block=8, reads=("n_vectors", "dim", "subspace"))
def kruskal(setting: AssumptionSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Exact Kruskal ranks ``(replica, set)`` of random integer sets, in the order of SETS, by trying all subsets."""
    return {
        "kruskal_rank": np.array(
            [[kruskal_rank(vectors) for vectors in _sets(setting, np.random.default_rng(seed))] for seed in seeds]
        )
    }


@simulation(
    name="memorization_assumptions.subset_test", block=8, reads=("dim", "n_queries", "subset", "n_subsets", "n_trials")
)
def subset_test(
    setting: AssumptionSetting, seeds: Sequence[np.random.SeedSequence], device: str
) -> dict[str, np.ndarray]:
    """Whether sampled subsets, and whether the test of all pairs, find one collinear pair, ``(replica, trial)``."""
    found, by_pairs = [], []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        vectors = rng.normal(size=(setting.n_trials, setting.n_queries, setting.dim))
        vectors[:, 1] = -2.5 * vectors[:, 0]
        chosen = rng.random((setting.n_trials, setting.n_subsets, setting.n_queries)).argsort(-1)[..., : setting.subset]
        subsets = vectors[np.arange(setting.n_trials)[:, None, None], chosen]  # (trial, subset, vector, dim)
        values = np.linalg.svd(subsets, compute_uv=False)
        found.append((values[..., -1] < 1e-8 * values[..., 0]).any(-1))
        unit = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
        upper = np.triu_indices(setting.n_queries, 1)
        by_pairs.append((np.abs(unit @ unit.swapaxes(-1, -2))[:, upper[0], upper[1]] > 1 - 1e-12).any(-1))
    return {"found": np.array(found), "found_by_pairs": np.array(by_pairs)}


@simulation(name="memorization_assumptions.narrow_heads", block=8, reads=("narrow", "n_queries"))
def narrow_heads(
    setting: AssumptionSetting, seeds: Sequence[np.random.SeedSequence], device: str
) -> dict[str, np.ndarray]:
    """Largest change of a wide layer's weights if its heads are rewritten at width n - 1 and n - 2, ``(replica, cell)``.

    Gaussian shared context and queries. ``exact``: width n - 1; ``too_narrow``: width n - 2, by the largest singular directions.
    """
    found = {"exact": [], "too_narrow": []}
    for seed in seeds:
        rng = np.random.default_rng(seed)
        row = {name: [] for name in found}
        for n, dim, n_heads in setting.narrow:
            E, queries = rng.normal(size=(n, dim)), rng.normal(size=(setting.n_queries, dim))
            W_Q, W_K = rng.normal(size=(2, n_heads, dim, dim)) / dim**0.5
            wide = _weights(queries, E, W_Q, W_K)
            for name, width in (("exact", n - 1), ("too_narrow", n - 2)):
                row[name].append(np.abs(_weights(queries, E, *narrowed(W_Q, W_K, E, width)) - wide).max())
        for name, values in row.items():
            found[name].append(values)
    return {name: np.array(values) for name, values in found.items()}


def narrowed(W_Q: np.ndarray, W_K: np.ndarray, E: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Key-query weights ``(H, d, width)`` with nearly the same differences of logits on the context E (n, d) of rank n."""
    logits = E @ W_K @ W_Q.swapaxes(-1, -2)  # (H, n, d), linear in the query
    left, values, right = np.linalg.svd(logits - logits.mean(-2, keepdims=True), full_matrices=False)
    root = np.sqrt(values[:, None, :width])
    return (right[:, :width].swapaxes(-1, -2) * root), np.linalg.pinv(E) @ (left[..., :width] * root)


def kruskal_rank(vectors: np.ndarray) -> int:
    """The exact Kruskal rank of the rows of an integer matrix, by trying all subsets of each size."""
    for size in range(1, min(vectors.shape) + 1):
        if any(rank(vectors[list(chosen)]) < size for chosen in itertools.combinations(range(len(vectors)), size)):
            return size - 1
    return min(vectors.shape)


def _sets(setting: AssumptionSetting, rng: np.random.Generator) -> list[np.ndarray]:
    """The sets in the order of SETS; the base set has large entries and lies in general position."""
    size, dim = setting.n_vectors, setting.dim
    base = integers(rng, 1_000, size, dim)
    places = np.arange(1, size + 1, dtype=object)
    curve = np.stack([places**power for power in range(setting.subspace)], axis=1) @ integers(
        rng, 100, setting.subspace, dim
    )
    pair, triple, repeated = base.copy(), base.copy(), base.copy()
    pair[1] = -3 * pair[0]
    triple[2] = 2 * triple[0] - 5 * triple[1]
    repeated[1] = repeated[0]
    return [base, curve, pair, triple, repeated]


def _weights(queries: np.ndarray, E: np.ndarray, W_Q: np.ndarray, W_K: np.ndarray) -> np.ndarray:
    logits = (queries @ W_Q) @ (E @ W_K).swapaxes(-1, -2)  # (H, T, n)
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)
