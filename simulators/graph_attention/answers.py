"""What one static head makes of all possible queries: its rows far out, and how many answers it gives on a graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from attnlab.simulators.ensemble import random_streams
from attnlab.simulators.ensemble.setting import checked, require_at_least, require_inside, require_positive
from attnlab.simulators.ensemble.simulation import simulation
from attnlab.simulators.graph_attention.lookup import leaky


@dataclass(frozen=True)
class AnswersSetting:
    """``n_draws`` heads on ``n_words`` keys: r normal, log gains -(1 + s)/2 r plus normal numbers of a size of 10^-2 to 10^2."""

    n_words: int = 5
    slope: float = 0.2
    n_draws: int = 2_000
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_at_least(self, 2, "n_words")
        require_positive(self, "n_draws", "n_replicas")
        require_inside(self, 0, 1, "slope")


@simulation(name="graph_attention.answers", block=4)
def answers(setting: AnswersSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Largest number of different answers of a draw, ``(replica,)``: ``speaking_for``, where the largest of M_b alpha_b answers,
    and ``speaking_against``, where the smallest does.

    ln M_b + LR(l + r_b) are lines between kinks at -r_b; their order is constant between consecutive kinks and crossings, so
    that one
    query in each such interval sees all answers.
    """
    found: dict[str, list[int]] = {"speaking_for": [], "speaking_against": []}
    for stream in random_streams.generators(seeds, "data"):
        r = torch.randn(setting.n_draws, setting.n_words, generator=stream, dtype=torch.float64)
        size = 10 ** (4 * torch.rand(setting.n_draws, 1, generator=stream, dtype=torch.float64) - 2)
        c = -(1 + setting.slope) / 2 * r + size * torch.randn(r.shape, generator=stream, dtype=torch.float64)
        places = torch.cat([-r, _crossings(r, c, setting.slope)], 1).sort(1).values
        between = torch.cat([places[:, :1] - 1, (places[:, 1:] + places[:, :-1]) / 2, places[:, -1:] + 1], 1)
        f = c[:, None] + leaky(between[..., None] + r[:, None], setting.slope)  # (draw, query, key)
        for name, winner in (("speaking_for", f.argmax(-1)), ("speaking_against", f.argmin(-1))):
            one_hot = winner[..., None] == torch.arange(setting.n_words)
            found[name].append(int(one_hot.any(1).sum(-1).max()))
    return {name: np.array(values) for name, values in found.items()}


def _crossings(r: torch.Tensor, c: torch.Tensor, slope: float) -> torch.Tensor:
    """Where pairs of lines cross, ``(draw, pair)``; a place that is a kink already where they do not."""
    first, second = torch.triu_indices(r.shape[1], r.shape[1], 1)
    upper, lower = torch.maximum(r[:, first], r[:, second]), torch.minimum(r[:, first], r[:, second])
    ahead = torch.where(r[:, first] > r[:, second], c[:, second] - c[:, first], c[:, first] - c[:, second])
    at = (ahead - upper + slope * lower) / (1 - slope)
    return torch.where((at > -upper) & (at < -lower), at, -upper)


@simulation(name="graph_attention.far_rows", block=4, reads=("n_words", "slope"))
def far_rows(setting: AnswersSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Weights ``(replica, key)`` of a query above all kinks and of one below: ``above``, ``below``; ``right``: r of the keys."""
    found: dict[str, list] = {"above": [], "below": [], "right": []}
    for stream in random_streams.generators(seeds, "data"):
        r = 2 * torch.randn(setting.n_words, generator=stream, dtype=torch.float64)
        found["above"].append(leaky(r - r.min() + 1, setting.slope).softmax(-1).numpy())
        found["below"].append(leaky(r - r.max() - 1, setting.slope).softmax(-1).numpy())
        found["right"].append(r.numpy())
    return {name: np.array(values) for name, values in found.items()}
