"""Random rows of scores: what the best keys hold, what a proxy finds, what one planted key weighs, who finds a needle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from attnlab.kernels.operators.operator import Cache
from attnlab.kernels.operators.sparse_selection.hip import HiP
from attnlab.kernels.operators.sparse_selection.moba import MoBA
from attnlab.simulators.ensemble import random_streams
from attnlab.simulators.ensemble.setting import checked, require_at_least, require_positive
from attnlab.simulators.ensemble.simulation import simulation

SHARPER = 1000.0  # factor on all scores at which the sum of two exponentials is its larger one


@dataclass(frozen=True)
class MassSetting:
    """Rows of ``n_keys`` Gaussian scores of spread ``score_std``; the best ``share`` by a proxy of ``correlation`` is kept.

    ``mass``: what the smallest set of keys is to hold; ``n_rows`` rows per replica.
    """

    n_keys: int = 8192
    score_std: float = 1.5
    share: float = 0.25
    correlation: float = 1.0
    mass: float = 0.9
    n_rows: int = 8
    n_replicas: int = 32

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "n_keys", "score_std", "n_rows", "n_replicas")
        for name in ("share", "mass"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)!r} must be between 0 and 1")
        if not 0 <= self.correlation <= 1:
            raise ValueError(f"correlation={self.correlation!r} must be in [0, 1]")


@simulation(name="sparse_selection.masses", block=8)
def masses(setting: MassSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``kept`` (replica,): mass of the keys that the proxy ranks highest; ``needed``: share of the keys that hold ``mass``."""
    kept, needed, rho = [], [], setting.correlation
    for stream in random_streams.generators(seeds, "data"):
        x, y = (torch.randn(setting.n_rows, setting.n_keys, generator=stream, dtype=torch.float64) for _ in range(2))
        p = (setting.score_std * (rho * y + (1 - rho**2) ** 0.5 * x)).softmax(-1)
        best = y.topk(int(setting.share * setting.n_keys)).indices
        kept.append(p.gather(-1, best).sum(-1).mean().item())
        held = p.sort(descending=True).values.cumsum(-1)
        needed.append(((held < setting.mass).sum(-1) + 1).double().mean().item() / setting.n_keys)
    return {"kept": np.array(kept), "needed": np.array(needed)}


@dataclass(frozen=True)
class DilutionSetting:
    """One key of score ``score`` among ``n_keys`` with scores of spread ``score_std``."""

    score: float = 9.0
    n_keys: int = 4096
    score_std: float = 1.0
    n_rows: int = 16
    n_replicas: int = 32

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "n_keys", "score_std", "n_rows", "n_replicas")


@simulation(name="sparse_selection.dilutions", block=8)
def dilutions(setting: DilutionSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``weight`` (replica,): mean weight of the planted key."""
    found = []
    for stream in random_streams.generators(seeds, "data"):
        s = setting.score_std * torch.randn(setting.n_rows, setting.n_keys, generator=stream, dtype=torch.float64)
        found.append((setting.score - s.logsumexp(-1)).sigmoid().mean().item())
    return {"weight": np.array(found)}


@dataclass(frozen=True)
class HitSetting:
    """A key of score ``score`` in one of ``n_blocks`` blocks of ``block`` keys (even) with standard normal scores, ``keep`` kept.

    ``n_draws`` rows per replica.
    """

    score: float = 16.0
    block: int = 64
    n_blocks: int = 64
    keep: int = 1
    n_draws: int = 200
    n_replicas: int = 32

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "keep", "n_draws", "n_replicas")
        require_at_least(self, 2, "block", "n_blocks")
        if self.block % 2:
            raise ValueError(f"block={self.block!r} must be even: two halves are compared")


@simulation(name="sparse_selection.hits", block=8)
def hits(setting: HitSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Share of the draws in which the planted block is kept, (replica,).

    ``mean`` by MoBA's own choice, ``scaled`` by the same with a query 16 times as large, ``largest`` by the largest score,
    ``sharp`` by the sum over halves of e^(1000 times the half's mean score).
    """
    B, blocks, found = setting.block, setting.n_blocks, {name: [] for name in ("mean", "scaled", "largest", "sharp")}
    operator, one = MoBA(B, setting.keep + 1), torch.ones(setting.n_draws, 1, 1, 1, 1, dtype=torch.float64)
    for stream in random_streams.generators(seeds, "data"):
        s = torch.randn(setting.n_draws, blocks, B, generator=stream, dtype=torch.float64)
        s[:, 0, 0] = setting.score
        k = torch.cat([s.flatten(1), torch.zeros(setting.n_draws, 1, dtype=torch.float64)], 1)[:, None, None, :, None]
        for name, q in (("mean", one), ("scaled", 16 * one)):  # the query is alone in the block after the last
            seen = operator.select(Cache(q, k, k, k.shape[-2] - 1), {}, causal=True)
            found[name].append(seen[:, 0, 0, 0, 0].double().mean().item())
        halves = SHARPER * s.reshape(setting.n_draws, blocks, 2, B // 2).mean(-1)
        for name, x in (("largest", s.amax(-1)), ("sharp", halves.logsumexp(-1))):
            found[name].append(((x[:, 1:] > x[:, :1]).sum(1) < setting.keep).double().mean().item())
    return {name: np.array(values) for name, values in found.items()}


@dataclass(frozen=True)
class NeedleSetting:
    """Hierarchical pruning to ``keep`` of ``n_keys`` keys, one of which stands out, once at each place, in white noise."""

    n_keys: int = 128
    keep: int = 16
    n_replicas: int = 128

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "keep", "n_replicas")
        require_at_least(self, 2, "n_keys")


@simulation(name="sparse_selection.needles", block=8)
def needles(setting: NeedleSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``recall`` (replica,): share of the places at which the needle is among the keys kept; ``kept``: keys per query."""
    recall, kept, n = [], [], setting.n_keys
    for stream in random_streams.generators(seeds, "data"):
        score = torch.randn(1, n, n, generator=stream, dtype=torch.float64)
        score[0].fill_diagonal_(50.0)
        seen = HiP(setting.keep).found(score, False)[0]
        recall.append(seen.diagonal().double().mean().item())
        kept.append(seen.sum(-1).double().mean().item())
    return {"recall": np.array(recall), "kept": np.array(kept)}


@dataclass(frozen=True)
class ClusterSetting:
    """Query and key of cosine ``cosine`` sent to the nearest of ``clusters`` random centroids."""

    clusters: int = 32
    cosine: float = 0.9
    n_draws: int = 4000
    n_replicas: int = 32

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "clusters", "n_draws", "n_replicas")
        if not 0 <= self.cosine < 1:
            raise ValueError(f"cosine={self.cosine!r} must be at least 0 and below 1")


@simulation(name="sparse_selection.clusters", block=8)
def clusters(setting: ClusterSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``together`` (replica,): share of the pairs that go to one centroid; centroids and pairs in 64 dimensions, new per draw."""
    found, d = [], 64
    for stream in random_streams.generators(seeds, "data"):
        # rotation: the pair lies in the first two coordinates, so that only these of the centroids matter
        mu = torch.randn(setting.n_draws, setting.clusters, 2, generator=stream, dtype=torch.float64) / d**0.5
        pair = torch.tensor([[1.0, 0.0], [setting.cosine, (1 - setting.cosine**2) ** 0.5]], dtype=torch.float64)
        nearest = (mu @ pair.T).argmax(1)
        found.append((nearest[:, 0] == nearest[:, 1]).double().mean().item())
    return {"together": np.array(found)}


@dataclass(frozen=True)
class UnionSetting:
    """``n_heads`` heads that each take the ``keep`` best of ``n_chunks`` chunks; scores of two heads have ``correlation``."""

    n_chunks: int = 512
    keep: int = 64
    n_heads: int = 32
    correlation: float = 0.5
    n_replicas: int = 32

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "keep", "n_heads", "n_replicas")
        require_at_least(self, self.keep, "n_chunks")
        if not 0 <= self.correlation < 1:
            raise ValueError(f"correlation={self.correlation!r} must be at least 0 and below 1")


@simulation(name="sparse_selection.unions", block=8)
def unions(setting: UnionSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``union`` (replica,): chunks that some head takes."""
    found, rho = [], setting.correlation
    for stream in random_streams.generators(seeds, "data"):
        common = torch.randn(setting.n_chunks, generator=stream, dtype=torch.float64)
        own = torch.randn(setting.n_heads, setting.n_chunks, generator=stream, dtype=torch.float64)
        taken = (rho**0.5 * common + (1 - rho) ** 0.5 * own).topk(setting.keep).indices
        found.append(taken.unique().numel())
    return {"union": np.array(found, dtype=float)}


@dataclass(frozen=True)
class PredictorSetting:
    """Keys with eigenvalues 1, 1/2, ..., 1/``dim``, the best ``share`` by the scores of the first ``rank`` directions kept.

    Queries of signs scaled to scores of spread ``score_std``; ``n_rows`` rows of ``n_keys`` keys per replica.
    """

    rank: int = 8
    dim: int = 32
    n_keys: int = 4096
    score_std: float = 1.0
    share: float = 0.25
    n_rows: int = 4
    n_replicas: int = 32

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "rank", "dim", "n_keys", "score_std", "n_rows", "n_replicas")
        require_at_least(self, self.rank, "dim")


@simulation(name="sparse_selection.predictors", block=8)
def predictors(
    setting: PredictorSetting, seeds: Sequence[np.random.SeedSequence], device: str
) -> dict[str, np.ndarray]:
    """``kept`` (replica,): mass of the keys that the predictor ranks highest."""
    found, spectrum = [], 1 / torch.arange(1, setting.dim + 1, dtype=torch.float64)
    for stream in random_streams.generators(seeds, "data"):
        kept = []
        for _ in range(setting.n_rows):
            k = torch.randn(setting.n_keys, setting.dim, generator=stream, dtype=torch.float64) * spectrum.sqrt()
            q = torch.randint(2, (setting.dim,), generator=stream).double() * 2 - 1
            p = (setting.score_std / spectrum.sum().sqrt() * (k @ q)).softmax(0)
            best = (k[:, : setting.rank] @ q[: setting.rank]).topk(int(setting.share * setting.n_keys)).indices
            kept.append(p[best].sum().item())
        found.append(np.mean(kept))
    return {"kept": np.array(found)}
