"""One layer over source and target: its gate, its masses on random scores, its derivatives; and means upon means of positions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import softmax

from attnlab.kernels.attention import attention
from attnlab.simulators.ensemble.setting import checked, require_positive
from attnlab.simulators.ensemble.simulation import simulation


@dataclass(frozen=True)
class GateSetting:
    """``n_queries`` queries over ``n_source`` source and ``n_target`` target tokens of width ``dim``."""

    n_queries: int = 8
    n_source: int = 6
    n_target: int = 9
    dim: int = 5
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "n_queries", "n_source", "n_target", "dim", "n_replicas")


@dataclass(frozen=True)
class MassSetting:
    """Rows of Gaussian scores of this ``spread``, the source's higher by ``margin``, with each of ``target_lengths``;
    ``n_rows`` rows.

    ``biases``, if any: one for each target length, added to source scores.
    """

    n_source: int = 64
    target_lengths: tuple[int, ...] = (64, 256, 1024)
    margin: float = 1.0
    spread: float = 0.8
    biases: tuple[float, ...] = ()
    n_rows: int = 500
    n_replicas: int = 32

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "n_source", "target_lengths", "n_rows", "n_replicas")
        if self.biases and len(self.biases) != len(self.target_lengths):
            raise ValueError(
                f"biases={self.biases!r} must be one for each of target_lengths={self.target_lengths!r}, or ()"
            )


@dataclass(frozen=True)
class SensitivitySetting:
    """A query over ``n_source`` source and target tokens of width ``dim``; queries give scores of spread ``spread``.

    ``n_draws`` layers are drawn for each of ``target_lengths``.
    """

    n_source: int = 256
    target_lengths: tuple[int, ...] = (256, 1024, 4096)
    dim: int = 16
    spread: float = 0.5
    n_draws: int = 120
    n_replicas: int = 32

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "n_source", "target_lengths", "dim", "spread", "n_draws", "n_replicas")


@dataclass(frozen=True)
class FlowSetting:
    """Flat causal attention over ``n_source`` source tokens and up to the largest of ``target_lengths``; each of ``depths``
    layers.

    Each layer mixes by ``mixing``: (1 - mixing) x + mixing A x.
    """

    n_source: int = 20
    target_lengths: tuple[int, ...] = (5, 20, 100, 400)
    depths: tuple[int, ...] = (1, 2, 3, 4, 6, 8)
    mixing: float = 1.0
    n_replicas: int = 1

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "n_source", "target_lengths", "depths", "mixing", "n_replicas")


@simulation(name="source_attention.gates", block=8, reads=("n_queries", "n_source", "n_target", "dim"))
def gates(setting: GateSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``joint (replica, query, value)``: the repository's attention over source and target together; ``source``, ``target``
    alone.

    ``sums (replica, part, query)``: exponentials of scores summed over source and over target.
    """
    found: dict[str, list] = {"joint": [], "source": [], "target": [], "sums": []}
    n = setting.n_source
    for seed in seeds:
        rng = np.random.default_rng(seed)
        q = rng.standard_normal((setting.n_queries, setting.dim))
        k, v = rng.standard_normal((2, n + setting.n_target, setting.dim))
        scores = q @ k.T / setting.dim**0.5
        for name, part in (("joint", slice(None)), ("source", slice(n)), ("target", slice(n, None))):
            found[name].append(_attend(q, k[part], v[part]))
        found["sums"].append([np.exp(scores[:, :n]).sum(1), np.exp(scores[:, n:]).sum(1)])
    return {name: np.array(values) for name, values in found.items()}


def _attend(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
    tensors = [torch.from_numpy(np.ascontiguousarray(x))[None, None] for x in (q, k, v)]
    return attention(*tensors)[0, 0].numpy()


@simulation(
    name="source_attention.masses",
    block=8,
    reads=("n_source", "target_lengths", "margin", "spread", "biases", "n_rows"),
)
def masses(setting: MassSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``mass (replica, length)``: mean over rows of the share of the softmax that goes to the source."""
    found = []
    n = setting.n_source
    for seed in seeds:
        rng = np.random.default_rng(seed)
        row = []
        for k, t in enumerate(setting.target_lengths):
            scores = setting.spread * rng.standard_normal((setting.n_rows, n + t))
            scores[:, :n] += setting.margin + (setting.biases[k] if setting.biases else 0.0)
            row.append(softmax(scores, axis=1)[:, :n].sum(1).mean())
        found.append(row)
    return {"mass": np.array(found)}


@simulation(
    name="source_attention.sensitivities", block=4, reads=("n_source", "target_lengths", "dim", "spread", "n_draws")
)
def sensitivities(
    setting: SensitivitySetting, seeds: Sequence[np.random.SeedSequence], device: str
) -> dict[str, np.ndarray]:
    """Mean over drawn layers of squared Frobenius norms of d output / d source tokens, (replica, length).

    ``values``: the map held fixed. ``both``: also through the scores. ``branch``: of the joint layer plus a softmax over the
    source alone
    with values of its own.
    """
    found: dict[str, list] = {"values": [], "both": [], "branch": []}
    for seed in seeds:
        rng = np.random.default_rng(seed)
        row: dict[str, list] = {name: [] for name in found}
        for t in setting.target_lengths:
            drawn = np.array([_derivatives(setting, rng, t) for _ in range(setting.n_draws)])
            for name, value in zip(row, drawn.mean(0), strict=True):
                row[name].append(value)
        for name, values in row.items():
            found[name].append(values)
    return {name: np.array(values) for name, values in found.items()}


def _derivatives(setting: SensitivitySetting, rng: np.random.Generator, t: int) -> tuple[float, float, float]:
    d, n = setting.dim, setting.n_source
    x = rng.standard_normal((n + t, d))
    q = rng.standard_normal(d)
    w = setting.spread * q / np.linalg.norm(q)  # scores x.w
    W, U = rng.standard_normal((2, d, d)) / d**0.5
    joint, alone = _blocks(x, w, W, n), _blocks(x[:n], w, U, n)
    weights = softmax(x @ w)[:n]
    return float(np.sum(weights**2) * np.sum(W**2)), float(np.sum(joint**2)), float(np.sum((joint + alone) ** 2))


def _blocks(x: np.ndarray, w: np.ndarray, W: np.ndarray, n: int) -> np.ndarray:
    """Derivatives (token, output, input) of softmax(x w) x W^T with respect to the first n tokens."""
    weights = softmax(x @ w)
    v, mean = x[:n] @ W.T, W @ (weights @ x)
    return weights[:n, None, None] * (W + (v - mean)[:, :, None] * w)


@simulation(name="source_attention.flows", block=1, reads=("n_source", "target_lengths", "depths", "mixing"))
def flows(setting: FlowSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``source (replica, length, depth)``: share of a target token's content from the source after means upon means. Nothing
    is random."""
    n, total = setting.n_source, setting.n_source + max(setting.target_lengths)
    A = np.tril(np.ones((total, total))) / np.arange(1, total + 1)[:, None]
    layer = (1 - setting.mixing) * np.eye(total) + setting.mixing * A
    content, table = (np.arange(total) < n).astype(float), {}
    for depth in range(1, max(setting.depths) + 1):
        content = layer @ content
        table[depth] = content
    found = [[table[depth][n + t - 1] for depth in setting.depths] for t in setting.target_lengths]
    return {"source": np.tile(np.array(found), (len(seeds), 1, 1))}
