"""Maps of a single score per key: the newest token's weight, recurrences, rows that point back; and gates of heads."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from attnlab.simulators.ensemble import random_streams
from attnlab.simulators.ensemble.setting import checked, require_at_least, require_positive
from attnlab.simulators.ensemble.simulation import simulation


@dataclass(frozen=True)
class NewestSetting:
    """Independent normal scores of spread ``score_std``; ``positions`` at which the newest token's weight is read."""

    positions: tuple[int, ...] = (4, 16)
    score_std: float = 1.0
    n_draws: int = 40_000
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "positions", "n_draws", "n_replicas")
        require_at_least(self, 0, "score_std")


@simulation(name="attention_ablation.newest", block=8)
def newest(setting: NewestSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``weight (replica, position)``: mean softmax weight of the newest of so many tokens."""
    rows = []
    for stream in random_streams.generators(seeds, "data"):
        s = setting.score_std * torch.randn(
            setting.n_draws, max(setting.positions), generator=stream, dtype=torch.float64
        )
        weights = s.exp() / s.exp().cumsum(-1)
        rows.append(weights[:, torch.tensor(setting.positions) - 1].mean(0).numpy())
    return {"weight": np.stack(rows)}


@dataclass(frozen=True)
class FormSetting:
    """``n_tokens`` tokens of ``dim`` numbers, ``n_heads`` heads; scores are multiplied by ``sharpness``."""

    n_tokens: int = 40
    dim: int = 12
    n_heads: int = 3
    sharpness: float = 3.0
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "n_tokens", "dim", "n_heads", "sharpness", "n_replicas")
        if self.dim % self.n_heads:
            raise ValueError(f"n_heads={self.n_heads} does not divide dim={self.dim}; use another")


@simulation(name="attention_ablation.forms", block=16)
def forms(setting: FormSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Outputs ``(replica, token, dim)`` of one score per key: ``direct``, by the whole map; ``recurrent``, by a numerator and a
    normaliser of one number with a running maximum; ``newest_left_out``, the recurrence read before the newest token is added.
    ``concatenated`` and ``summed``: heads times one output matrix, and the sum of heads times its rows."""
    found: dict[str, list] = {}
    for stream in random_streams.generators(seeds, "data"):
        n, d = setting.n_tokens, setting.dim
        s = setting.sharpness * torch.randn(n, generator=stream, dtype=torch.float64)
        v = torch.randn(n, d, generator=stream, dtype=torch.float64)
        mask = torch.ones(n, n, dtype=torch.bool).tril()
        direct = torch.softmax(s.expand(n, n).masked_fill(~mask, -torch.inf), -1) @ v
        top, total, summed = s[0], torch.zeros(()), torch.zeros(d, dtype=torch.float64)
        rows, late = [], []
        for score, value in zip(s, v, strict=True):
            late.append(summed / total if total > 0 else value)
            highest = torch.maximum(top, score)
            keep, new = (top - highest).exp(), (score - highest).exp()
            total, summed, top = keep * total + new, keep * summed + new * value, highest
            rows.append(summed / total)
        out = torch.randn(d, d, generator=stream, dtype=torch.float64)
        heads = zip(v.chunk(setting.n_heads, 1), out.chunk(setting.n_heads, 0), strict=True)
        row = {"direct": direct, "recurrent": torch.stack(rows), "newest_left_out": torch.stack(late)}
        row |= {"concatenated": v @ out, "summed": sum(h @ w for h, w in heads)}
        for name, value in row.items():
            found.setdefault(name, []).append(value.numpy())
    return {name: np.stack(rows) for name, rows in found.items()}


@dataclass(frozen=True)
class OrderSetting:
    """All orders of ``n_tokens`` scores, and the ``lags`` that rows are to point back by."""

    n_tokens: int = 7
    lags: tuple[int, ...] = (1, 2, 3)
    n_replicas: int = 1

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "n_tokens", "lags", "n_replicas")


@simulation(name="attention_ablation.orders", block=1)
def orders(setting: OrderSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``rows (replica, order, lag)``: rows of the causal softmax map whose largest weight lies so many tokens back, for every
    order of the scores."""
    n = setting.n_tokens
    s = torch.tensor(list(itertools.permutations(range(n))), dtype=torch.float64)
    mask = torch.ones(n, n, dtype=torch.bool).tril()
    maps = torch.softmax(s[:, None].expand(-1, n, n).masked_fill(~mask, -torch.inf), -1)
    back = torch.arange(n) - maps.argmax(-1)  # (order, row)
    counts = torch.stack([(back == lag).sum(-1) for lag in setting.lags], -1).numpy()
    return {"rows": np.tile(counts, (len(seeds), 1, 1))}


@dataclass(frozen=True)
class BalanceSetting:
    """Routers of ``n_heads`` heads, one of which is chosen per token: a share of 1 - 1/(2 n_heads) of ``n_tokens`` tokens
    prefers the first by next to nothing, the others the second for certain."""

    n_heads: int = 4
    n_tokens: int = 240
    n_replicas: int = 1

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "n_heads", "n_tokens", "n_replicas")
        if self.n_tokens % (2 * self.n_heads) or self.n_heads < 2:
            raise ValueError(f"n_tokens={self.n_tokens} must be a multiple of {2 * self.n_heads}, and n_heads above 1")


@simulation(name="attention_ablation.balance", block=1)
def balance(setting: BalanceSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``loss (replica,)``: the sum over heads of the share of tokens that choose it times its mean probability; ``even``, the
    same where all tokens share their probabilities among all heads and choose in turn."""
    m, n = setting.n_heads, setting.n_tokens
    certain = n // (2 * m)
    p = torch.full((n, m), 1 / m, dtype=torch.float64)
    p[:, 0] += 1e-12
    p[:certain] = 0
    p[:certain, 1] = 1
    chosen = torch.nn.functional.one_hot(p.argmax(-1), m).double()
    uneven = float((chosen.mean(0) * p.mean(0)).sum())
    turns = torch.nn.functional.one_hot(torch.arange(n) % m, m).double()
    even = float((turns.mean(0) / m).sum())
    return {"loss": np.full(len(seeds), uneven), "even": np.full(len(seeds), even)}
