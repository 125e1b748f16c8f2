"""Corrections from anchors and ranking by leading directions: delta attention and Loki on controlled queries and keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from attnlab.kernels.operators.base_scores.dot_product import DotProduct
from attnlab.kernels.operators.operator import QKV, Cache
from attnlab.kernels.operators.sparse_selection.delta import Delta
from attnlab.kernels.operators.sparse_selection.loki import Loki
from attnlab.simulators.ensemble import random_streams
from attnlab.simulators.ensemble.setting import checked, require_at_least, require_positive
from attnlab.simulators.ensemble.simulation import simulation


@dataclass(frozen=True)
class AnchorSetting:
    """Blocks of ``gap`` Gaussian queries with autocorrelation ``correlation`` per step, on ``n_keys`` Gaussian keys of width
    ``dim``.

    The sparse method sees the first ``n_kept`` keys. Scores q . k / sqrt d have the standard deviation ``score_std``.
    """

    n_keys: int = 2048
    n_kept: int = 512
    dim: int = 16
    score_std: float = 0.7
    correlation: float = 0.99
    gap: int = 16
    value_dim: int = 16
    n_blocks: int = 32
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "dim", "score_std", "gap", "value_dim", "n_blocks", "n_replicas")
        if not 0 < self.n_kept < self.n_keys:
            raise ValueError(f"n_kept={self.n_kept} must be below n_keys={self.n_keys}")


@simulation(name="sparse_selection.anchors", block=4)
def anchors(setting: AnchorSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Squared errors of rows of the map over those of the sparse method, (replica,): ``corrected`` from the block's first row,
    ``recomputed`` with that row alone replaced; ``cosine_sparse``, ``cosine_corrected``: of outputs with full attention's."""
    found: dict[str, list] = {"corrected": [], "recomputed": [], "cosine_sparse": [], "cosine_corrected": []}
    g, d, m = setting.gap, setting.dim, setting.n_kept
    rho = setting.correlation
    for stream in random_streams.generators(seeds, "data"):
        K = torch.randn(setting.n_keys, d, generator=stream, dtype=torch.float64)
        V = torch.randn(setting.n_keys, setting.value_dim, generator=stream, dtype=torch.float64)
        steps = torch.randn(g, setting.n_blocks, d, generator=stream, dtype=torch.float64)
        for t in range(1, g):
            steps[t] = rho * steps[t - 1] + (1 - rho**2) ** 0.5 * steps[t]
        s = setting.score_std * steps.transpose(0, 1) @ K.T / d**0.5  # (block, query, key)
        full, sparse = s.softmax(-1), torch.zeros_like(s)
        sparse[..., :m] = s[..., :m].softmax(-1)
        D = full - sparse
        whole = D.square().sum()
        found["corrected"].append(((D - D[:, :1]).square().sum() / whole).item())
        found["recomputed"].append((D[:, 1:].square().sum() / whole).item())
        exact, cheap = full @ V, sparse @ V
        better = cheap + (exact - cheap)[:, :1]
        for name, each in (("cosine_sparse", cheap), ("cosine_corrected", better)):
            found[name].append(torch.nn.functional.cosine_similarity(each, exact, dim=-1).mean().item())
    return {name: np.array(values) for name, values in found.items()}


@dataclass(frozen=True)
class DeltaSetting:
    """Delta attention, causal, on ``n_tokens`` tokens of width ``dim``: its ``window``, ``sinks`` and ``gap``."""

    n_tokens: int = 128
    dim: int = 8
    window: int = 8
    sinks: int = 2
    gap: int = 16
    n_replicas: int = 8

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "n_tokens", "dim", "window", "gap", "n_replicas")
        require_at_least(self, 0, "sinks")


@simulation(name="sparse_selection.delta", block=4)
def delta(setting: DeltaSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Outputs (replica, token, d): ``corrected``, ``full``, ``sparse``; ``pairs`` (replica,): scores that the method needs of all
    causal ones, counted on masks."""
    found: dict[str, list] = {"corrected": [], "full": [], "sparse": [], "pairs": []}
    n, g = setting.n_tokens, setting.gap
    i = torch.arange(n)
    seen = (i[:, None] >= i) & ((i[:, None] - i < setting.window) | (i < setting.sinks))
    rows = (i % g == 0)[:, None]
    needed = (rows & (i[:, None] >= i)).sum() + seen.sum()
    for stream in random_streams.generators(seeds, "data"):
        inputs = QKV(*(torch.randn(1, 1, 1, n, setting.dim, generator=stream, dtype=torch.float64) for _ in range(3)))
        operators = {
            "corrected": Delta(setting.window, setting.sinks, g),
            "full": DotProduct(),
            "sparse": Delta(setting.window, setting.sinks, n),
        }
        for name, operator in operators.items():
            y = operator.apply(inputs, {}, causal=True)[0, 0, 0]
            found[name].append(y.numpy())
        found["pairs"].append(needed.item() / (n * (n + 1) / 2))
    return {name: np.array(values) for name, values in found.items()}


@dataclass(frozen=True)
class DirectionSetting:
    """Loki: ``n_draws`` Gaussian queries, each on ``n_keys`` Gaussian keys of variances c^(-``exponent``), c = 1 ... ``dim``.

    Approximate scores from the first of ``directions``; the best ``share`` of the keys is kept. Queries are scaled so that their
    scores have the standard deviation ``score_std``.
    """

    n_keys: int = 4096
    dim: int = 64
    exponent: float = 2.0
    directions: tuple[int, ...] = (4, 16, 32)
    share: float = 0.25
    score_std: float = 1.0
    n_draws: int = 8
    n_replicas: int = 32

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "dim", "directions", "score_std", "n_draws", "n_replicas")
        require_at_least(self, 2, "n_keys")
        if not 0 < self.share < 1:
            raise ValueError(f"share={self.share!r} must be between 0 and 1")


@simulation(name="sparse_selection.directions", block=4)
def directions(
    setting: DirectionSetting, seeds: Sequence[np.random.SeedSequence], device: str
) -> dict[str, np.ndarray]:
    """``correlation`` of approximate and exact scores, ``jaccard`` of the sets kept and best, ``kept``: softmax mass of the
    keys kept,
    (replica, draw, directions); ``oracle`` (replica, draw): mass of the best keys; ``query`` (replica, draw, d)."""
    names = "correlation", "jaccard", "kept", "oracle", "query"
    found: dict[str, list] = {name: [] for name in names}
    n, d, keep = setting.n_keys, setting.dim, round(setting.share * setting.n_keys)
    root = torch.arange(1, d + 1, dtype=torch.float64) ** (-setting.exponent / 2)
    basis = {"basis": torch.eye(d, dtype=torch.float64)[None, None]}
    for stream in random_streams.generators(seeds, "data"):
        q = torch.randn(1, setting.n_draws, 1, 1, d, generator=stream, dtype=torch.float64)
        q = setting.score_std * d**0.5 * q / (q * root).norm(dim=-1, keepdim=True)
        k = root * torch.randn(1, setting.n_draws, 1, n, d, generator=stream, dtype=torch.float64)
        exact = (q @ k.mT)[0, :, 0, 0] / d**0.5  # (draw, key)
        best = torch.zeros_like(exact, dtype=torch.bool).scatter_(-1, exact.topk(keep).indices, True)
        P = exact.softmax(-1)
        rows: dict[str, list] = {name: [] for name in ("correlation", "jaccard", "kept")}
        for r in setting.directions:
            chosen = Loki(keep, r).select(Cache(q, k, k, n - 1), basis)[0, :, 0, 0]
            cheap = (q[..., :r] @ k[..., :r].mT)[0, :, 0, 0]
            rows["correlation"].append([np.corrcoef(a, b)[0, 1] for a, b in zip(cheap, exact, strict=True)])
            rows["jaccard"].append(((chosen & best).sum(-1) / (chosen | best).sum(-1)).numpy())
            rows["kept"].append((P * chosen).sum(-1).numpy())
        for name, value in rows.items():
            found[name].append(np.stack(value, -1))
        found["oracle"].append((P * best).sum(-1).numpy())
        found["query"].append(q[0, :, 0, 0].numpy())
    return {name: np.array(values) for name, values in found.items()}


@simulation(name="sparse_selection.full_rotation", block=4, reads=("dim", "n_draws"))
def full_rotation(
    setting: DirectionSetting, seeds: Sequence[np.random.SeedSequence], device: str
) -> dict[str, np.ndarray]:
    """Outputs (replica, query, d) of ``n_draws`` queries on 64 keys: ``rotated``, Loki on all directions of a random basis, and
    ``best``, softmax on the 16 keys of largest exact score; ``half``: Loki on half of the directions."""
    found: dict[str, list] = {"rotated": [], "best": [], "half": []}
    d, n, keep = setting.dim, 64, 16
    for stream in random_streams.generators(seeds, "data"):
        q = torch.randn(1, 1, 1, setting.n_draws, d, generator=stream, dtype=torch.float64)
        k, v = (torch.randn(1, 1, 1, n, d, generator=stream, dtype=torch.float64) for _ in range(2))
        basis = torch.linalg.qr(torch.randn(d, d, generator=stream, dtype=torch.float64))[0][None, None]
        s = (q @ k.mT)[0, 0, 0] / d**0.5
        least = s.topk(keep).values[:, -1:]
        P = s.masked_fill(s < least, -torch.inf).softmax(-1)
        found["best"].append((P @ v[0, 0, 0]).numpy())
        for name, r in (("rotated", d), ("half", d // 2)):
            y = Loki(keep, r).apply(Cache(q, k, v, n - setting.n_draws), {"basis": basis})
            found[name].append(y[0, 0, 0].numpy())
    return {name: np.array(values) for name, values in found.items()}
