"""Attention that is iterated: retrieval from random and antipodal keys, slots on clustered points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp, softmax

from attnlab.simulators.ensemble.setting import checked, require_at_least, require_positive
from attnlab.simulators.ensemble.simulation import simulation


@dataclass(frozen=True)
class RetrievalSetting:
    """``n_keys`` standard normal keys of width ``dim`` over sqrt(dim); a query iterates at each of ``inverse_temperatures``."""

    n_keys: int = 12
    dim: int = 6
    inverse_temperatures: tuple[float, ...] = (0.5, 2.0, 8.0, 32.0)
    n_steps: int = 60
    n_replicas: int = 32

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "n_keys", "dim", "inverse_temperatures", "n_steps", "n_replicas")


@dataclass(frozen=True)
class AntipodalSetting:
    """Keys k and -k of width ``dim``; ``gains`` beta |k|^2; a random query of norm |k| iterates ``n_steps`` times.

    ``critical_steps``: steps at gain 1, from overlap ``start``.
    """

    gains: tuple[float, ...] = (0.5, 0.8, 1.2, 1.5, 2.0)
    dim: int = 5
    n_steps: int = 40
    critical_steps: int = 20_000
    start: float = 0.5
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "gains", "critical_steps", "start", "n_replicas")
        require_at_least(self, 2, "dim")
        require_at_least(self, 4, "n_steps")


@dataclass(frozen=True)
class SlotSetting:
    """``n_points`` points of width ``dim`` in ``n_slots`` clusters of spread 1, centres normal of spread ``apart``; slots
    start at points.

    Then two clusters on a line at ``low`` and ``high``, a slot at each, noise ``noise_std``.
    """

    n_points: int = 60
    dim: int = 2
    n_slots: int = 3
    apart: float = 3.0
    noise_std: float = 1.0
    n_steps: int = 25
    low: float = 1.0
    high: float = 3.0
    n_replicas: int = 32

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "n_points", "dim", "n_slots", "apart", "noise_std", "n_steps", "n_replicas")


@simulation(name="latent_structures.retrieval", block=8, reads=("n_keys", "dim", "inverse_temperatures", "n_steps"))
def retrieval(setting: RetrievalSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``descent (replica, inverse temperature)``: least of (F(q) - F(q')) / |q' - q|^2 over steps longer than 1e-4.

    F(q) = |q|^2 / 2 - (1/beta) ln sum_j e^(beta k_j.q). ``rise``: largest of F(q') - F(q) over all steps.
    """
    descents, rises = [], []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        K = rng.standard_normal((setting.n_keys, setting.dim)) / setting.dim**0.5
        start = rng.standard_normal(setting.dim)
        low, up = [], []
        for beta in setting.inverse_temperatures:
            q, ratios, steps = start, [], []
            for _ in range(setting.n_steps):
                new = softmax(beta * K @ q) @ K
                fall = (q @ q - new @ new) / 2 - (logsumexp(beta * K @ q) - logsumexp(beta * K @ new)) / beta
                step = np.sum((new - q) ** 2)
                steps.append(-fall)
                if step > 1e-8:
                    ratios.append(fall / step)
                q = new
            low.append(min(ratios))
            up.append(max(steps))
        descents.append(low)
        rises.append(up)
    return {"descent": np.array(descents), "rise": np.array(rises)}


@simulation(name="latent_structures.antipodal", block=8, reads=("gains", "dim", "n_steps", "critical_steps", "start"))
def antipodal(setting: AntipodalSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``factor (replica, gain)``: how much shorter each step is than the one before, geometric mean over the last quarter.

    ``overlap``: |k.q| / |k|^2 at the end; ``critical (replica,)``: overlap at gain 1 after ``critical_steps``.
    """
    factors, overlaps, critical = [], [], []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        k = rng.standard_normal(setting.dim)
        k /= np.linalg.norm(k)
        K = np.stack([k, -k])
        start = k * rng.uniform(0.3, 1.0) + np.linalg.norm(k) * 0.1 * rng.standard_normal(setting.dim)
        row, ends = [], []
        for gain in setting.gains:
            q, lengths = start, []
            for _ in range(setting.n_steps):
                new = softmax(gain * K @ q) @ K
                lengths.append(np.linalg.norm(new - q))
                q = new
                if lengths[-1] < 1e-7:  # below, rounding would be seen
                    break
            last = max(len(lengths) // 4, 1)
            row.append((lengths[-1] / lengths[-1 - last]) ** (1 / last))
            ends.append(abs(k @ q))
        q = setting.start * k
        for _ in range(setting.critical_steps):
            q = softmax(K @ q) @ K
        factors.append(row)
        overlaps.append(ends)
        critical.append(abs(k @ q))
    return {"factor": np.array(factors), "overlap": np.array(overlaps), "critical": np.array(critical)}


@simulation(
    name="latent_structures.slots",
    block=8,
    reads=("n_points", "dim", "n_slots", "apart", "noise_std", "n_steps", "low", "high"),
)
def slots(setting: SlotSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Responsibilities with and without the norms of slots: axis ``kind`` (with, without).

    ``gain (replica, kind)``: least of (log likelihood after - before) / sum_j n_j |s_j' - s_j|^2 over steps whose denominator is
    above 1e-6; ``falls``: share of steps at which the log likelihood falls by more than 1e-9; ``two (replica, kind, slot)``:
    slots
    after one step from the two clusters, and ``change (replica, kind)`` of the mean log likelihood per point there.
    """
    found: dict[str, list] = {"gain": [], "falls": [], "two": [], "change": []}
    s2 = setting.noise_std**2
    line = np.array([[setting.low], [setting.high]])
    for seed in seeds:
        rng = np.random.default_rng(seed)
        centres = setting.apart * rng.standard_normal((setting.n_slots, setting.dim))
        x = centres[rng.integers(setting.n_slots, size=setting.n_points)]
        x = x + rng.standard_normal(x.shape)
        start = x[rng.choice(setting.n_points, setting.n_slots, replace=False)]
        row: dict[str, list] = {name: [] for name in found}
        for norms in (True, False):
            s, before, gains, falls = start, _log_likelihood(x, start, s2), [], []
            for _ in range(setting.n_steps):
                new, moved = _step(x, s, s2, norms)
                after = _log_likelihood(x, new, s2)
                falls.append(after - before < -1e-9)
                if moved > 1e-6:
                    gains.append((after - before) / moved)
                s, before = new, after
            row["gain"].append(min(gains))
            row["falls"].append(np.mean(falls))
            two, _ = _step(line, line, s2, norms)
            row["two"].append(two[:, 0])
            row["change"].append((_log_likelihood(line, two, s2) - _log_likelihood(line, line, s2)) / 2)
        for name, values in row.items():
            found[name].append(values)
    return {name: np.array(values) for name, values in found.items()}


def _step(x: np.ndarray, s: np.ndarray, s2: float, norms: bool) -> tuple[np.ndarray, float]:
    """New slots, and the sum of squared moves, each times what the slot is responsible for."""
    r = softmax((x @ s.T - norms * np.square(s).sum(1) / 2) / s2, axis=1)  # (point, slot)
    new = r.T @ x / r.sum(0)[:, None]
    return new, float(r.sum(0) @ np.square(new - s).sum(1))


def _log_likelihood(x: np.ndarray, s: np.ndarray, s2: float) -> float:
    """Of an equal mixture of spherical Gaussians at the slots, without the constant of the noise."""
    log = -np.square(x[:, None] - s).sum(-1) / (2 * s2)
    return float(np.sum(logsumexp(log, axis=1) - np.log(len(s))))
