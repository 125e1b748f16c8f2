"""A head that should do nothing: gradient descent on its scores where one key has no value; and what gaps and gates leave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from attnlab.kernels.attention.scores import score_map
from attnlab.kernels.attention.scores.f_over_g import ScoreMap
from attnlab.kernels.attention.scores.rows import Clipped
from attnlab.simulators.ensemble.setting import checked, require_at_least, require_one_of, require_positive
from attnlab.simulators.ensemble.simulation import simulation
from attnlab.simulators.score_maps.random_rows import weights_of


@dataclass(frozen=True)
class IdleSetting:
    """``n_keys``, the first without a value, the others of value 1; gradient descent on the n scores from 0 with ``step``, for
    ``n_steps``, ``n_records`` of them kept, evenly in the logarithm; ``score`` "softmax" or "clipped" with ``gamma``, zeta =
    1."""

    score: str = "softmax"
    n_keys: int = 4
    gamma: float = -0.05
    step: float = 0.1
    n_steps: int = 2000
    n_records: int = 20
    n_replicas: int = 2

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "step", "n_steps", "n_records", "n_replicas")
        require_at_least(self, 2, "n_keys")
        require_one_of(self, "score", ("softmax", "clipped"))


@dataclass(frozen=True)
class RestSetting:
    """Rows of ``n_keys`` scores: the first ``gaps`` above the others, which are equal; ``gates``: logits of a gate."""

    n_keys: tuple[int, ...] = (16, 256, 4096)
    gaps: tuple[float, ...] = (5.0, 8.0, 11.0)
    gates: tuple[float, ...] = (-2.0, -2.0, -2.0)
    n_replicas: int = 2

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "n_replicas")
        require_at_least(self, 2, "n_keys")
        if not len(self.n_keys) == len(self.gaps) == len(self.gates):
            raise ValueError(
                f"need one gap and one gate per length, got {len(self.n_keys)}, {len(self.gaps)}, {len(self.gates)}"
            )


@simulation(name="score_maps_idle.descend", block=2, reads=("score", "n_keys", "gamma", "step", "n_steps", "n_records"))
def descend(setting: IdleSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``gap`` between the idle key's score and the mean of the others, ``rest`` their weight, ``time`` = step times steps taken;
    (replica, record). Nothing is random: replicas are equal."""
    score: ScoreMap = score_map("softmax") if setting.score == "softmax" else Clipped(setting.gamma, 1.0)
    kept = np.unique(np.geomspace(1, setting.n_steps, setting.n_records).round().astype(int))
    s = torch.zeros(1, setting.n_keys, dtype=torch.float64, requires_grad=True)
    gap, rest = [], []
    for step in range(1, setting.n_steps + 1):
        loss = weights_of(score, s)[0, 1:].sum().square() / 2
        (slope,) = torch.autograd.grad(loss, s)
        with torch.no_grad():
            s -= setting.step * slope
        if step in kept:
            now = s.detach()
            gap.append(float(now[0, 0] - now[0, 1:].mean()))
            rest.append(float(weights_of(score, now)[0, 1:].sum()))
    n = len(seeds)
    return {name: np.array([x] * n) for name, x in (("gap", gap), ("rest", rest), ("time", setting.step * kept))}


@simulation(name="score_maps_idle.rests", block=2, reads=("n_keys", "gaps", "gates"))
def rests(setting: RestSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``softmax``: weight off the first key at each length; ``gate``: the same as a share of a row behind the gate; (replica,
    length)."""
    softmax, gate = [], []
    for n, gap, logit in zip(setting.n_keys, setting.gaps, setting.gates, strict=True):
        s = torch.zeros(1, n, dtype=torch.float64)
        s[0, 0] = gap
        softmax.append(float(weights_of(score_map("softmax"), s)[0, 1:].sum()))
        gate.append(
            float(
                torch.sigmoid(torch.tensor(logit, dtype=torch.float64)) * weights_of(score_map("softmax"), 0 * s).sum()
            )
        )
    return {name: np.array([x] * len(seeds)) for name, x in (("softmax", softmax), ("gate", gate))}
