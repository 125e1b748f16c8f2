"""Estimators integrated over the Gaussian projections that matter: those in the plane of x and y. No sampling error.

The trapezoidal rule on a square grid converges faster than any power for integrands of this kind; its cells and reach are
fields of the setting, and what they leave out is far below rounding for the lengths allowed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

from attnlab.simulators.ensemble.setting import checked, require_at_least, require_inside, require_positive
from attnlab.simulators.ensemble.simulation import simulation
from attnlab.simulators.positive_features.features import KINDS, estimates_of_each_row

STEP, REACH = 0.25, 20.0  # of the grid, in standard deviations of a projection


@dataclass(frozen=True)
class PlaneSetting:
    """``lengths`` of x and y (equal), ``angles`` between them in degrees."""

    lengths: tuple[float, ...] = (0.25, 0.5, 1.0, 1.5, 2.0)
    angles: tuple[float, ...] = (0.0, 30.0, 60.0, 90.0, 120.0, 150.0, 180.0)
    n_replicas: int = 1

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "lengths", "n_replicas")
        require_at_least(self, 0.0, "angles")
        require_inside(self, 0.0, 4.5, "lengths")  # the grid reaches 2 |x + y| + 9 standard deviations up to here


@simulation(name="positive_features_planes.errors", block=1, reads=("lengths", "angles"))
def errors(setting: PlaneSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Of one projection, shape (replica, kind, length, angle), kinds as in ``features.KINDS``.

    ``mean``: expectation of estimate / e^{x . y}; ``size``: of its absolute value; ``error``: mean square of
    estimate / e^{x . y} - 1. ``inner (replica, length, angle)``: x . y.
    """
    found = np.array([[[_moments(kind, r, t) for t in setting.angles] for r in setting.lengths] for kind in KINDS])
    inner = [[r * r * np.cos(np.deg2rad(t)) for t in setting.angles] for r in setting.lengths]
    made = {name: found[..., k] for k, name in enumerate(("mean", "size", "error"))} | {"inner": np.array(inner)}
    return {name: np.repeat(table[None], len(seeds), axis=0) for name, table in made.items()}


@simulation(name="positive_features_planes.crossings", block=1, reads=("lengths",))
def crossings(setting: PlaneSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Angles (radians; replica, length) at which an error equals that of trigonometric features, found by bisection between
    60 and 175 degrees: of ``positive`` and of ``hyperbolic`` features."""
    made = {}
    for kind in ("positive", "hyperbolic"):

        def gap(t: float, r: float, kind: str = kind) -> float:
            return float(np.log(_moments(kind, r, t)[2] / _moments("trigonometric", r, t)[2]))

        found = [np.deg2rad(brentq(gap, 60, 175, args=(r,), xtol=1e-12)) for r in setting.lengths]
        made[kind] = np.tile(found, (len(seeds), 1))
    return made


def _moments(kind: str, length: float, degrees: float) -> tuple[float, float, float]:
    t = np.deg2rad(degrees)
    x, y = np.array([length, 0.0]), length * np.array([np.cos(t), np.sin(t)])
    estimate = estimates_of_each_row(x, y, _GRID, kind) / np.exp(x @ y)
    return _WEIGHT @ estimate, _WEIGHT @ np.abs(estimate), _WEIGHT @ (estimate - 1) ** 2


def _grid() -> tuple[np.ndarray, np.ndarray]:
    line = np.arange(-REACH, REACH + STEP / 2, STEP)
    W = np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)
    return W, STEP**2 / (2 * np.pi) * np.exp(-(W**2).sum(1) / 2)


_GRID, _WEIGHT = _grid()
