"""Weights at random: what norms tell, what windows pass, how regions are counted and shifted, how shared maps forget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from attnlab.kernels.operators.fixed_patterns.combiner import Combiner
from attnlab.kernels.operators.fixed_patterns.layout_attention import LayoutAttention
from attnlab.kernels.operators.operator import QKV, Grid, Sizes
from attnlab.simulators.ensemble import random_streams
from attnlab.simulators.ensemble.setting import checked, require_at_least, require_positive
from attnlab.simulators.ensemble.simulation import simulation


@dataclass(frozen=True)
class NormSetting:
    """Blocks of ``block`` Gaussian keys of width ``dim``, of which the share 1/``factor`` of largest norm is kept.

    A query with scores of standard deviation ``score_std``; ``n_draws`` blocks per replica.
    """

    factor: int = 8
    score_std: float = 1.5
    dim: int = 8
    block: int = 4096
    n_draws: int = 16
    n_replicas: int = 32

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "factor", "score_std", "dim", "n_draws", "n_replicas")
        require_at_least(self, 2 * self.factor, "block")


@simulation(name="fixed_patterns.norms", block=8)
def norms(setting: NormSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``kept`` (replica,): mean share of the softmax mass on the keys of largest norm."""
    found = []
    for stream in random_streams.generators(seeds, "data"):
        kept = []
        for _ in range(setting.n_draws):
            k = torch.randn(setting.block, setting.dim, generator=stream, dtype=torch.float64)
            p = (setting.score_std * k[:, 0]).softmax(0)
            kept.append(p[k.square().sum(1).topk(setting.block // setting.factor).indices].sum().item())
        found.append(np.mean(kept))
    return {"kept": np.array(found)}


@dataclass(frozen=True)
class EnergySetting:
    """``n_draws`` windows of ``cells`` cells with independent values and scores of standard deviation ``score_std``."""

    score_std: float = 1.0
    cells: int = 4
    n_draws: int = 20_000
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "score_std", "n_draws", "n_replicas")
        require_at_least(self, 2, "cells")


@simulation(name="fixed_patterns.energies", block=8)
def energies(setting: EnergySetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``energy`` (replica,): mean square of an output less the mean of its window's values."""
    found = []
    for stream in random_streams.generators(seeds, "data"):
        s, v = (torch.randn(setting.n_draws, setting.cells, generator=stream, dtype=torch.float64) for _ in range(2))
        p = (setting.score_std * s).softmax(-1)
        found.append(((p * v).sum(-1) - v.mean(-1)).square().mean().item())
    return {"energy": np.array(found)}


@dataclass(frozen=True)
class RegionSetting:
    """Combiner on ``n_regions`` spans of ``span`` tokens, keys and queries standard normal of width ``dim``."""

    span: int = 8
    n_regions: int = 32
    dim: int = 16
    n_replicas: int = 32

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "dim", "n_replicas")
        require_at_least(self, 2, "span", "n_regions")


@simulation(name="fixed_patterns.regions", block=8)
def regions(setting: RegionSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """How regions are weighed, read from the operator's maps.

    ``own_mass`` (replica, summary): weight of the own span when all keys are equal, summaries "max", "mean", "counted".
    ``slope`` (replica,): of the logit that "max" gives the other regions more than "mean" does, their average per query,
    against the query's sum over channels over sqrt(dim); ``rank`` (replica,): of a block off the own spans.
    """
    s, n, d = setting.span, setting.span * setting.n_regions, setting.dim
    found: dict[str, list] = {name: [] for name in ("own_mass", "slope", "rank")}
    for stream in random_streams.generators(seeds, "data"):
        q, k = (torch.randn(1, 1, 1, n, d, generator=stream, dtype=torch.float64) for _ in range(2))
        equal = k[..., :1, :].expand_as(k)
        mass = []
        for summary in ("max", "mean", "counted"):
            M = Combiner(s, summary).matrix(QKV(q, equal, equal), {})[0, 0, 0]
            mass.append(M[:s, :s].sum(-1).mean().item())
        found["own_mass"].append(mass)
        logits = []
        for summary in ("max", "mean"):
            M = Combiner(s, summary).matrix(QKV(q, k, k), {})[0, 0, 0]
            of_region = M.reshape(n, setting.n_regions, s).sum(-1)
            logits.append(
                of_region.log() - M.diagonal().log()[:, None]
            )  # over the own token: the direct part is shared
            if summary == "max":
                found["rank"].append(int(torch.linalg.matrix_rank(M[:s, s : 2 * s], rtol=1e-9)))
        more = logits[0] - logits[1]
        other = torch.arange(n)[:, None] // s != torch.arange(setting.n_regions)
        shift = (more * other).sum(1) / other.sum(1)
        total = q[0, 0, 0].sum(-1) / d**0.5
        found["slope"].append((shift @ total / (total @ total)).item())
    return {name: np.array(values) for name, values in found.items()}


@dataclass(frozen=True)
class SharedMapSetting:
    """Softmax maps of ``n_tokens`` tokens with independent Gaussian scores of standard deviation ``score_std``."""

    n_tokens: int = 400
    score_std: float = 0.75
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "score_std", "n_replicas")
        require_at_least(self, 4, "n_tokens")


@simulation(name="fixed_patterns.shared_maps", block=8)
def shared_maps(
    setting: SharedMapSetting, seeds: Sequence[np.random.SeedSequence], device: str
) -> dict[str, np.ndarray]:
    """``second`` (replica,): modulus of the second eigenvalue.

    ``superposed`` (replica, 12, 8): layout attention on text a + 2 b; ``parts``: its outputs on a and twice b, added.
    """
    n = setting.n_tokens
    found: dict[str, list] = {name: [] for name in ("second", "superposed", "parts")}
    for stream in random_streams.generators(seeds, "data"):
        A = (setting.score_std * torch.randn(n, n, generator=stream, dtype=torch.float64)).softmax(-1)
        found["second"].append(torch.linalg.eigvals(A).abs().topk(2).values[1].item())
        sizes = Sizes(n=12, d=4, d_v=4, n_heads=2, shape=(3, 4))
        operator = LayoutAttention()
        own = operator.initialise(sizes, [stream], torch.float64)
        a, b = (torch.randn(1, 1, 12, 8, generator=stream, dtype=torch.float64) for _ in range(2))
        y = [operator.apply(Grid(x, (3, 4)), own)[0, 0].numpy() for x in (a, b, a + 2 * b)]
        found["superposed"].append(y[2])
        found["parts"].append(y[0] + 2 * y[1])
    return {name: np.array(values) for name, values in found.items()}
