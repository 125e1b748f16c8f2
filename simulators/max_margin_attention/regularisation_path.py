r"""Regularisation paths: the best weights of a given norm, for W and for the factors K and Q.

Tarzanagh, Li, Thrampoulidis and Oymak 2023 (arXiv 2308.16898): minimise the loss over :math:`\|W\|_F \le R`, or over
:math:`\frac12(\|K\|_F^2 + \|Q\|_F^2) \le R`. The loss falls along rays of growing norm once the best tokens lead, so the
minimum lies on the boundary; there the logarithm of the loss gap is minimised, from many starts and along growing R.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from attnlab.simulators.ensemble.monitor import current
from attnlab.simulators.ensemble.random_streams import generators
from attnlab.simulators.ensemble.setting import checked, require_at_least, require_positive
from attnlab.simulators.ensemble.simulation import simulation
from attnlab.simulators.max_margin_attention.model import tiled, unit_vectors


@dataclass(frozen=True)
class PathSetting:
    """Random cross-attention problems (as in :mod:`max_margin_attention`) with the loss -u; ``radii`` ascend.

    ``n_starts``: random starts at each radius up to 10 and at the first; the best quarter of all ends go on to the next radius,
    beside one start that a perceptron finds, which separates the best-scoring tokens wherever that is possible.
    """

    n_inputs: int = 3
    n_tokens: int = 4
    dim: int = 5
    factored: bool = False
    radii: tuple[float, ...] = (2.0, 5.0, 10.0, 20.0, 40.0, 60.0)
    n_starts: int = 12
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "n_inputs", "dim", "radii", "n_replicas")
        require_at_least(self, 2, "n_tokens")
        require_positive(self, "n_starts")
        if len(self.radii) < 2 or list(self.radii) != sorted(set(self.radii)):
            raise ValueError(f"radii={self.radii!r} must ascend and be at least two")


@simulation(name="max_margin_attention_path.regularisation_path", block=8)
def regularisation_path(
    setting: PathSetting, seeds: Sequence[np.random.SeedSequence], device: str
) -> dict[str, np.ndarray]:
    """The best weights found at each radius.

    Returns the data ``keys``, ``queries``, ``scores`` as :func:`max_margin_attention.train`; ``radii (replica, radius)``; ``W
    (replica, radius, dim, dim)``; ``log_gap (replica, radius)``, log(L - L*); ``stationarity (replica, radius)``: the part of
    the gradient along the sphere, relative to all of it.
    """
    n, T, d = setting.n_inputs, setting.n_tokens, setting.dim
    found = []
    for row, stream in enumerate(generators(seeds, "data set")):
        head, keys, queries = (unit_vectors(shape, stream).numpy() for shape in ((d,), (n, T, d), (n, d)))
        scores = keys @ head
        size = d * d * (2 if setting.factored else 1)
        fresh = [unit_vectors((setting.n_starts, size), stream).numpy() for _ in setting.radii]
        starts: list[np.ndarray] = []
        problem = _Problem(keys, queries, scores, setting.factored)
        path = []
        for radius, added in zip(setting.radii, fresh, strict=True):
            near = radius <= 10 or not starts  # far out, random starts end on plateaus
            tried = (problem.separating, *starts, *(added if near else ()))
            ends = sorted((problem.best(start, radius) for start in tried), key=lambda end: end[0])
            starts = [end[1] for end in ends[: max(1, setting.n_starts // 4)]]
            path.append((problem.weights(starts[0], radius), ends[0][0], problem.stationarity(starts[0], radius)))
        found.append((keys, queries, scores, *map(np.array, zip(*path, strict=True))))
        current().progress(row + 1, len(seeds))
    names = ("keys", "queries", "scores", "W", "log_gap", "stationarity")
    return dict(zip(names, map(np.stack, zip(*found, strict=True)), strict=True)) | {
        "radii": tiled(setting.radii, len(seeds))
    }


class _Problem:
    """log(L - L*) as a function of a direction in the space of W, or of (K, Q)."""

    def __init__(self, keys: np.ndarray, queries: np.ndarray, scores: np.ndarray, factored: bool) -> None:
        self.keys, self.queries, self.factored = keys, queries, factored
        self.dim = keys.shape[2]
        best = scores.argmax(1)
        self.selected = np.arange(len(keys)), best
        self.log_lost = np.log(
            np.maximum(scores.max(1, keepdims=True) - scores, 1e-300)
        )  # of the best token: never counts
        self.log_lost[self.selected] = -np.inf
        W = self._perceptron()
        left, values, right = np.linalg.svd(W)
        self.separating = np.stack([left, right.T] * np.sqrt(values)).ravel() if factored else W.ravel()

    def _perceptron(self, n_updates: int = 20_000) -> np.ndarray:
        """Weights under which the best-scoring tokens lead, if there are any that updates with the worst pair find in time."""
        gaps = self.keys[self.selected][:, None] - self.keys
        pairs = (gaps[..., :, None] * self.queries[:, None, None, :])[self.log_lost > -np.inf].reshape(-1, self.dim**2)
        W = pairs.sum(0)
        for _ in range(n_updates):
            margins = pairs @ W
            if margins.min() > 0:
                break
            W = W + pairs[margins.argmin()]
        return W.reshape(self.dim, self.dim)

    def weights(self, direction: np.ndarray, radius: float) -> np.ndarray:
        unit = direction / np.linalg.norm(direction)
        if not self.factored:
            return radius * unit.reshape(self.dim, self.dim)
        K, Q = np.sqrt(2 * radius) * unit.reshape(2, self.dim, self.dim)
        return K @ Q.T

    def best(self, start: np.ndarray, radius: float) -> tuple[float, np.ndarray]:
        """The end of one descent: its value and its unit direction."""
        end = minimize(
            self.value,
            start / np.linalg.norm(start),
            args=(radius,),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": 500, "ftol": 1e-15, "gtol": 1e-9},
        )
        return float(end.fun), end.x / np.linalg.norm(end.x)

    def stationarity(self, direction: np.ndarray, radius: float) -> float:
        """Length of the gradient along the sphere over the radius times the slope along the ray."""
        _, along = self.value(direction, radius)
        step = 1e-4
        slope = (self.value(direction, radius * (1 + step))[0] - self.value(direction, radius * (1 - step))[0]) / (
            2 * step
        )
        return float(np.linalg.norm(along) / max(abs(slope), np.finfo(float).tiny))

    def value(self, direction: np.ndarray, radius: float) -> tuple[float, np.ndarray]:
        """log(L - L*) on the sphere and its gradient by the direction, which need not have unit length."""
        length = np.linalg.norm(direction)
        unit = direction / length
        W = self.weights(unit, radius)
        logits = np.einsum("itd,de,ie->it", self.keys, W, self.queries)
        top = logits.max(1, keepdims=True)
        log_s = logits - top - np.log(np.exp(logits - top).sum(1, keepdims=True))
        each = log_s + self.log_lost  # log of s_t (best score - score of t)
        high = each.max()
        part = np.exp(each - high)
        total = part.sum()
        share = part / total  # derivative by log s
        by_logit = share - share.sum(1, keepdims=True) * np.exp(log_s)
        G = np.einsum("it,itd,ie->de", by_logit, self.keys, self.queries)
        if self.factored:
            scale = np.sqrt(2 * radius)
            K, Q = scale * unit.reshape(2, self.dim, self.dim)
            gradient = scale * np.stack([G @ Q, G.T @ K]).ravel()
        else:
            gradient = radius * G.ravel()
        value = high + np.log(total / len(logits))
        return float(value), (gradient - unit * (unit @ gradient)) / length
