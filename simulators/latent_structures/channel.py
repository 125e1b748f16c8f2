"""Keys seen through Gaussian noise: how often attention's stated probabilities are right, its log loss and its denoising."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, softmax

from attnlab.simulators.ensemble.setting import checked, require_at_least, require_positive
from attnlab.simulators.ensemble.simulation import simulation
from attnlab.simulators.latent_structures.assignment import log_sum


@dataclass(frozen=True)
class ChannelSetting:
    """Two keys of width ``dim`` at distance ``separation`` times the noise of the query, equally likely.

    Attention weighs them by softmax of ``sharpness`` y.k / s^2, s the standard deviation of the noise (1). ``tilt``:
    (|k_1|^2 - |k_2|^2) / 2 s^2, which that softmax does not see. ``bins``: edges of the stated probability.
    """

    separation: float = 1.5
    sharpness: float = 1.0
    tilt: float = 0.0
    dim: int = 4
    bins: tuple[float, ...] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    n_draws: int = 20_000
    n_replicas: int = 32

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "separation", "sharpness", "n_draws", "n_replicas")
        require_at_least(self, 2, "dim")
        if list(self.bins) != sorted(set(self.bins)) or not 0 <= self.bins[0] < self.bins[-1] <= 1:
            raise ValueError(f"bins={self.bins!r} must increase within [0, 1]")


@simulation(
    name="latent_structures.channel", block=8, reads=("separation", "sharpness", "tilt", "dim", "bins", "n_draws")
)
def channel(setting: ChannelSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``right (replica, bin)``: how often key 1 is right where the stated probability of key 1 lies in the bin.

    ``log_loss (replica,)``: mean of -ln of the stated probability of the right key; ``error (replica,)``: mean square of
    attention's output less the right key, in units of |k_1 - k_2|^2 / 4; ``entropy``: mean entropy of the rows, nats.
    """
    found: dict[str, list] = {"right": [], "log_loss": [], "error": [], "entropy": []}
    for seed in seeds:
        rng = np.random.default_rng(seed)
        axes = np.linalg.qr(rng.standard_normal((setting.dim, setting.dim)))[0]
        middle = axes[0] * setting.tilt / setting.separation + axes[1:].T @ rng.standard_normal(setting.dim - 1)
        keys = middle + np.array([0.5, -0.5])[:, None] * setting.separation * axes[0]
        first = rng.random(setting.n_draws) < 0.5
        y = keys[np.where(first, 0, 1)] + rng.standard_normal((setting.n_draws, setting.dim))
        scores = setting.sharpness * y @ keys.T
        weights = softmax(scores, axis=1)
        stated = weights[:, 0]
        where = np.clip(np.searchsorted(setting.bins, stated, side="right") - 1, 0, len(setting.bins) - 2)
        inside = (stated >= setting.bins[0]) & (stated <= setting.bins[-1])
        counts = np.bincount(where[inside], minlength=len(setting.bins) - 1)
        hits = np.bincount(where[inside & first], minlength=len(setting.bins) - 1)
        found["right"].append(np.where(counts > 0, hits / np.maximum(counts, 1), np.nan))
        margin = np.where(first, 1, -1) * (scores[:, 0] - scores[:, 1])
        found["log_loss"].append(np.logaddexp(0, -margin).mean())
        target = keys[np.where(first, 0, 1)]
        found["error"].append(np.square(weights @ keys - target).sum(1).mean() * 4 / setting.separation**2)
        logit = np.abs(scores[:, 0] - scores[:, 1])
        found["entropy"].append(np.mean(np.logaddexp(0, -logit) + logit * expit(-logit)))
    return {name: np.array(values) for name, values in found.items()}


@simulation(name="latent_structures.swaps", block=8, reads=("separation", "dim", "bins", "n_draws"))
def swaps(setting: ChannelSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Two queries read the two keys one-to-one, in one order or the other, each through its own noise.

    ``right (replica, estimate, bin)``: how often the first query reads key 1 where an estimate states a probability in the bin;
    ``log_loss (replica, estimate)`` of that statement. Estimates: exact posterior of the two permutations, softmax of the first
    query, Sinkhorn's plan.
    """
    found: dict[str, list] = {"right": [], "log_loss": []}
    for seed in seeds:
        rng = np.random.default_rng(seed)
        axes = np.linalg.qr(rng.standard_normal((setting.dim, setting.dim)))[0]
        middle = axes[1:].T @ rng.standard_normal(setting.dim - 1)
        keys = middle + np.array([0.5, -0.5])[:, None] * setting.separation * axes[0]
        straight = rng.random(setting.n_draws) < 0.5
        y = keys[np.where(straight[:, None], [[0, 1]], [[1, 0]])]
        y = y + rng.standard_normal(y.shape)
        S = y @ keys.T  # (draw, query, key)
        orders = np.stack([S[:, 0, 0] + S[:, 1, 1], S[:, 0, 1] + S[:, 1, 0]], 1)  # log weights of the two permutations
        stated = softmax(orders, axis=1)[:, 0], softmax(S[:, 0], axis=1)[:, 0], _plans(S)[:, 0, 0]
        rights, losses = [], []
        for p in stated:
            where = np.clip(np.searchsorted(setting.bins, p, side="right") - 1, 0, len(setting.bins) - 2)
            counts, hits = (np.bincount(where[m], minlength=len(setting.bins) - 1) for m in (p >= 0, straight))
            rights.append(np.where(counts > 0, hits / np.maximum(counts, 1), np.nan))
            losses.append(-np.log(np.where(straight, p, 1 - p)).mean())
        found["right"].append(rights)
        found["log_loss"].append(losses)
    return {name: np.array(values) for name, values in found.items()}


def _plans(S: np.ndarray, tolerance: float = 1e-7) -> np.ndarray:
    """Sinkhorn's plans of many small score matrices at once; those that have converged rest."""
    log = S - log_sum(S, 2)
    moving = np.arange(len(S))
    while moving.size:
        part = log[moving]
        columns = log_sum(part, 1)
        part = part - columns
        log[moving] = part - log_sum(part, 2)
        moving = moving[np.abs(columns).max((1, 2)) > tolerance]
    return np.exp(log)
