"""Softmax matrices times values through random projections of the tokens: errors, spectra, the limit of small logits, cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from attnlab.kernels.operators.operator import Sizes
from attnlab.kernels.operators.sketching.linformer import Linformer
from attnlab.simulators.ensemble.setting import checked, require_at_least, require_positive
from attnlab.simulators.ensemble.simulation import simulation


@dataclass(frozen=True)
class SketchSetting:
    """``n_tokens`` n, ``n_projected`` k; Gaussian scores of ``spread``; ``n_values`` columns of values with mean ``value_mean``
    and unit variance; ``n_draws`` of the projection per replica; ``data``: seed of scores and values, common to all."""

    n_tokens: int = 128
    n_projected: int = 32
    spread: float = 1.0
    n_values: int = 4
    value_mean: float = 0.0
    n_draws: int = 2000
    data: int = 0
    n_replicas: int = 32

    def __post_init__(self) -> None:
        checked(self)
        require_at_least(self, 2, "n_tokens")
        require_positive(self, "n_projected", "n_values", "n_draws", "n_replicas", "spread")


@dataclass(frozen=True)
class StepSetting:
    """A row of ``n_tokens`` Gaussian logits of ``spread``, values with mean ``value_mean``; ``n_projected`` k; ``step`` delta."""

    n_tokens: int = 64
    n_projected: int = 32
    spread: float = 1.0
    value_mean: float = 1.0
    step: float = 0.01
    n_draws: int = 8000
    data: int = 0
    n_replicas: int = 32

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "n_tokens", "n_projected", "n_draws", "n_replicas", "spread", "step")


@dataclass(frozen=True)
class SpectrumSetting:
    """``n_tokens`` n; ``spreads`` of Gaussian scores."""

    n_tokens: int = 512
    spreads: tuple[float, ...] = (0.5, 1.0)
    n_replicas: int = 32

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "n_tokens", "spreads", "n_replicas")


@dataclass(frozen=True)
class CountSetting:
    """``cells``: (length n, width d, width d_v, projected k)."""

    cells: tuple[tuple[int, int, int, int], ...] = ((64, 8, 4, 8), (256, 8, 4, 8), (256, 16, 8, 8), (256, 16, 8, 32))
    n_replicas: int = 1

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "cells", "n_replicas")


def given(setting: SketchSetting) -> tuple[np.ndarray, np.ndarray]:
    """Softmax matrix P (n, n) and values V (n, columns) of a setting."""
    rng = np.random.default_rng(setting.data)
    P = _softmax(setting.spread * rng.standard_normal((setting.n_tokens, setting.n_tokens)))
    return P, setting.value_mean + rng.standard_normal((setting.n_tokens, setting.n_values))


def given_row(setting: StepSetting) -> tuple[np.ndarray, np.ndarray]:
    """Logits x (n,) and values y (n,) of a setting."""
    rng = np.random.default_rng(setting.data)
    x = setting.spread * rng.standard_normal(setting.n_tokens)
    return x, setting.value_mean + rng.standard_normal(setting.n_tokens)


READS = ("n_tokens", "n_projected", "spread", "n_values", "value_mean", "n_draws", "data")


@simulation(name="sketching_projections.sketches", block=4, reads=READS)
def sketches(setting: SketchSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Errors of P R^T R V, means over the draws of each replica.

    ``square (replica,)``: squared error of all outputs over their squared size; ``column (replica, column)``: length of a
    column's error over that of its output; ``violated (replica,)``: share of draws in which some row of the first column errs by
    more than half of \\|p\\| \\|w\\|.
    """
    P, V = given(setting)
    exact, rows = P @ V, np.linalg.norm(P, axis=1)
    length = np.linalg.norm(V[:, 0])
    square, column, violated = [], [], []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        found: tuple[list, list, list] = ([], [], [])
        for _ in range(setting.n_draws):
            R = rng.standard_normal((setting.n_projected, setting.n_tokens)) / np.sqrt(setting.n_projected)
            away = P @ (R.T @ (R @ V)) - exact
            found[0].append((away**2).sum() / (exact**2).sum())
            found[1].append(np.linalg.norm(away, axis=0) / np.linalg.norm(exact, axis=0))
            found[2].append((np.abs(away[:, 0]) > 0.5 * rows * length).any())
        square.append(np.mean(found[0]))
        column.append(np.mean(found[1], 0))
        violated.append(np.mean(found[2]))
    return {"square": np.array(square), "column": np.array(column), "violated": np.array(violated)}


@simulation(
    name="sketching_projections.small_steps",
    block=4,
    reads=("n_tokens", "n_projected", "spread", "value_mean", "step", "n_draws", "data"),
)
def small_steps(setting: StepSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """exp(x E^T) F y for E = delta R, F = e^-delta R: ``mean`` and ``variance (replica,)`` over draws; ``error``: mean of its
    distance from exp(x) . y over \\|exp(x) . y\\|."""
    x, y = given_row(setting)
    exact = np.exp(x) @ y
    mean, variance, error = [], [], []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        R = rng.standard_normal((setting.n_draws, setting.n_projected, setting.n_tokens)) / np.sqrt(setting.n_projected)
        out = np.exp(-setting.step) * (np.exp(setting.step * (R @ x)) * (R @ y)).sum(1)
        mean.append(out.mean())
        variance.append(out.var(ddof=1))
        error.append(np.abs(out - exact).mean() / abs(exact))
    return {"mean": np.array(mean), "variance": np.array(variance), "error": np.array(error)}


@simulation(name="sketching_projections.spectra", block=4, reads=("n_tokens", "spreads"))
def spectra(setting: SpectrumSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``stable_rank (replica, spread)`` of softmax matrices over Gaussian scores; the top singular value by power iteration."""
    stable = []
    for seed in seeds:
        z = np.random.default_rng(seed).standard_normal((setting.n_tokens, setting.n_tokens))
        stable.append([(P**2).sum() / _top(P) for P in (_softmax(s * z) for s in setting.spreads)])
    return {"stable_rank": np.array(stable)}


@simulation(name="sketching_projections.tails", block=4, reads=("n_tokens", "spreads"))
def tails(setting: SpectrumSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``tail (replica, spread, k)``: share of the squared singular values after the k-th, for k = 1, 2, 4, ... up to n."""
    found = []
    for seed in seeds:
        z = np.random.default_rng(seed).standard_normal((setting.n_tokens, setting.n_tokens))
        each = [np.linalg.svd(_softmax(s * z), compute_uv=False) ** 2 for s in setting.spreads]
        at = 2 ** np.arange(int(np.log2(setting.n_tokens)) + 1)
        found.append([1 - np.cumsum(s2)[at - 1] / s2.sum() for s2 in each])
    return {"tail": np.array(found)}


@simulation(
    name="sketching_projections.values_only", block=4, reads=("n_tokens", "spread", "n_values", "value_mean", "data")
)
def values_only(setting: SketchSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """P' = P Q Q^T with Q an orthonormal basis of the values' columns: ``output`` P' V and ``exact`` P V (replica, n, column),
    ``rank`` of P'; ``fewer``: the output with one basis vector less."""
    P, V = given(setting)
    Q = np.linalg.qr(V)[0]
    low = P @ Q @ Q.T
    less = P @ Q[:, 1:] @ Q[:, 1:].T
    made = {"output": low @ V, "exact": P @ V, "fewer": less @ V, "rank": np.array(np.linalg.matrix_rank(low))}
    return {name: np.repeat(values[None], len(seeds), axis=0) for name, values in made.items()}


@simulation(name="sketching_projections.counts", block=1, reads=("cells",))
def counts(setting: CountSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Multiply-adds counted by torch, whole numbers (replica, cell): ``projected`` attention and ``softmax``."""
    from torch.utils.flop_counter import FlopCounterMode  # imports Triton

    table = []
    for n, d, d_v, k in setting.cells:
        operator = Linformer(n_projected=k)
        made = operator.initialise(Sizes(n=n, d=d, d_v=d_v), [torch.Generator().manual_seed(0)], torch.float64)
        E, F = (made[name][0] for name in ("keys", "values"))
        q, key, v = (torch.ones(n, width, dtype=torch.float64) for width in (d, d, d_v))
        with FlopCounterMode(display=False) as counter:
            (q @ (E @ key).T).softmax(-1) @ (F @ v)
        with FlopCounterMode(display=False) as dense:
            (q @ key.T).softmax(-1) @ v
        table.append((counter.get_total_flops() // 2, dense.get_total_flops() // 2))
    found = np.array(table, dtype=np.int64)
    return {name: np.tile(found[:, c], (len(seeds), 1)) for c, name in enumerate(("projected", "softmax"))}


def _top(P: np.ndarray) -> float:
    """Largest squared singular value; the next is smaller by a factor of about n, so that a few steps reach rounding."""
    u = np.ones(len(P)) / np.sqrt(len(P))
    for _ in range(60):
        u = P @ (P.T @ u)
        u /= np.linalg.norm(u)
    return float(np.sum((P.T @ u) ** 2))


def _softmax(scores: np.ndarray) -> np.ndarray:
    p = np.exp(scores - scores.max(1, keepdims=True))
    return np.asarray(p / p.sum(1, keepdims=True))
