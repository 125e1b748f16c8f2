"""Frozen random query-key weights: spectra of the features, error of the best readout, separable labellings.

One shared context of n tokens; queries, tokens and weights are Gaussian, logits are scaled to standard deviation ``gain``
whatever the head width. Mahdavi et al. (arXiv 2306.02010); dichotomies as in Cover 1965.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from attnlab.simulators.ensemble.setting import checked, require_positive
from attnlab.simulators.ensemble.simulation import simulation

KINDS = ("gaussian", "published")


@dataclass(frozen=True)
class FrozenSetting:
    """``head_dims``: cells of the spectra, at ``n_spectrum`` examples. ``examples``: cells T of the residuals.

    ``counted``: cells (n, H, T) in which every labelling is tried; ``sampled``: cells T with ``n_sampled`` random labellings at
    n = ``small_context`` tokens and ``small_heads`` heads. ``n_labels``: label vectors of a residual.
    """

    n_context: int = 8
    dim: int = 16
    n_heads: int = 4
    head_dim: int = 8
    gain: float = 3.0
    head_dims: tuple[int, ...] = (1, 2, 4, 6, 8, 12, 16)
    n_spectrum: int = 120
    examples: tuple[int, ...] = (20, 29, 40, 60, 90, 140)
    n_labels: int = 4_096
    counted: tuple[tuple[int, int, int], ...] = ((2, 2, 6), (2, 3, 7), (3, 2, 8))
    small_context: int = 4
    small_heads: int = 3
    sampled: tuple[int, ...] = (16, 20, 24)
    n_sampled: int = 200
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_positive(
            self,
            "n_context",
            "dim",
            "n_heads",
            "head_dim",
            "gain",
            "head_dims",
            "n_spectrum",
            "examples",
            "n_labels",
            "counted",
            "small_context",
            "small_heads",
            "sampled",
            "n_sampled",
            "n_replicas",
        )


@simulation(
    name="memorization_frozen.spectra",
    block=8,
    reads=("n_context", "dim", "n_heads", "gain", "head_dims", "n_spectrum"),
)
def spectra(setting: FrozenSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Singular values of the features over the largest, ``(replica, width, index)``: ``gaussian`` and ``published``.

    ``published``: queries and tokens uniform on [0, 1), Xavier-uniform weights, logits over the root of d, as in the published
    experiment at its start.
    """
    found: dict[str, list[list[np.ndarray]]] = {kind: [] for kind in KINDS}
    for seed in seeds:
        rng, sizes = np.random.default_rng(seed), (setting.n_spectrum, setting.n_context, setting.dim, setting.n_heads)
        for kind in KINDS:
            found[kind].append(
                [_values(features(rng, *sizes, width, setting.gain, kind)) for width in setting.head_dims]
            )
    return {kind: np.array(values) for kind, values in found.items()}


@simulation(
    name="memorization_frozen.residuals",
    block=8,
    reads=("n_context", "dim", "n_heads", "head_dim", "gain", "examples", "n_labels"),
)
def residuals(setting: FrozenSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``mse (replica, T)``: training error of the best readout, mean over label vectors, uniform labels on [0, 1).

    ``equal_queries (replica,)``: the same sum of squares if the first two of ``n_context`` examples have one query, over
    half of the squared difference of their labels.
    """
    rows, twins = [], []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        sizes = setting.n_context, setting.dim, setting.n_heads, setting.head_dim, setting.gain
        rows.append(
            [
                _error(features(rng, T, *sizes), rng.uniform(size=(T, setting.n_labels))).mean() / T
                for T in setting.examples
            ]
        )
        Z, y = features(rng, setting.n_context, *sizes), rng.uniform(size=(setting.n_context, 1))
        Z[1] = Z[0]
        twins.append(_error(Z, y)[0] / ((y[0, 0] - y[1, 0]) ** 2 / 2))
    return {"mse": np.array(rows), "equal_queries": np.array(twins)}


@simulation(
    name="memorization_frozen.dichotomies",
    block=4,
    reads=("dim", "head_dim", "gain", "counted", "small_context", "small_heads", "sampled", "n_sampled"),
)
def dichotomies(setting: FrozenSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Labellings with +-1 that a linear readout of the features separates.

    ``count (replica, cell)``: all of them in the cells ``counted``; ``separable (replica, T, labelling)``: whether each random
    labelling of the cells ``sampled`` is. ``unclear (replica,)``: labellings without a certificate either way.
    """
    counts, samples, unclear = [], [], []
    for seed in seeds:
        rng, doubts = np.random.default_rng(seed), 0
        row = []
        for n, n_heads, T in setting.counted:
            rows = _rows(features(rng, T, n, setting.dim, n_heads, setting.head_dim, setting.gain))
            answers = [separable(rows, np.array([1, *signs])) for signs in itertools.product((-1, 1), repeat=T - 1)]
            row.append(2 * sum(answer is True for answer in answers))
            doubts += sum(answer is None for answer in answers)
        counts.append(row)
        cells, sizes = [], (setting.small_context, setting.dim, setting.small_heads, setting.head_dim, setting.gain)
        for T in setting.sampled:
            rows = _rows(features(rng, T, *sizes))
            answers = [separable(rows, rng.choice([-1, 1], T)) for _ in range(setting.n_sampled)]
            doubts += sum(answer is None for answer in answers)
            cells.append([answer is True for answer in answers])
        samples.append(cells)
        unclear.append(doubts)
    return {"count": np.array(counts), "separable": np.array(samples), "unclear": np.array(unclear)}


def features(
    rng: np.random.Generator,
    n_examples: int,
    n_context: int,
    dim: int,
    n_heads: int,
    head_dim: int,
    gain: float,
    kind: str = "gaussian",
) -> np.ndarray:
    """Features ``(T, H d)`` of fresh random queries, context and weights."""
    if kind == "gaussian":
        queries, E = rng.normal(size=(n_examples, dim)), rng.normal(size=(n_context, dim))
        W_Q, W_K = rng.normal(size=(2, n_heads, dim, head_dim)) / dim**0.5
        scale = gain / head_dim**0.5
    else:
        queries, E = rng.uniform(size=(n_examples, dim)), rng.uniform(size=(n_context, dim))
        W_Q, W_K = rng.uniform(-1, 1, size=(2, n_heads, dim, head_dim)) * (6 / (dim + head_dim)) ** 0.5
        scale = dim**-0.5
    logits = scale * np.einsum("td,hdk,hek,ne->htn", queries, W_Q, W_K, E, optimize=True)
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    return np.moveaxis(weights @ E, 0, 1).reshape(n_examples, -1)


def separable(rows: np.ndarray, signs: np.ndarray) -> bool | None:
    """Whether some w has ``signs * (rows @ w) > 0``, with a certificate: such a w, or weights of a sum that is zero.

    Non-negative least squares finds the convex combination of ``signs * rows`` that is nearest to zero: it is zero, or its
    direction separates by more than the rounding of a scalar product. None if neither is clear.
    """
    signed = rows * (signs / np.linalg.norm(rows, axis=1))[:, None]
    weights, gap = nnls(np.vstack([signed.T, np.ones(len(rows))]), np.r_[np.zeros(rows.shape[1]), 1.0])
    direction = signed.T @ weights
    if (signed @ direction > 8 * len(direction) * np.finfo(float).eps * np.linalg.norm(direction)).all():
        return True
    return False if gap < 1e-12 else None


def _rows(Z: np.ndarray) -> np.ndarray:
    """An orthonormal basis of the columns' span, one row of it per example: the same labellings are separable."""
    left, values, _ = np.linalg.svd(Z, full_matrices=False)
    return left[:, values > 1e-10 * values[0]]


def _values(Z: np.ndarray) -> np.ndarray:
    values = np.linalg.svd(Z, compute_uv=False)
    return values / values[0]


def _error(Z: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Least sums of squares of ``labels (T, n)`` on the columns of Z, one per column."""
    basis = _rows(Z)
    return ((labels - basis @ (basis.T @ labels)) ** 2).sum(0)
