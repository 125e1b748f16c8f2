"""Rows on a sphere and pairs of orthogonal rows, integrated over their directions and lengths. No sampling error.

Directions and lengths are integrated by Gauss and Legendre's rule from the definition: a first row of uniform direction, a second
one uniform in its orthogonal complement, lengths of Gaussian rows, independent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

from attnlab.simulators.ensemble.setting import checked, require_at_least, require_positive
from attnlab.simulators.ensemble.simulation import simulation

NODES, HIGHEST = 96, 18.0


@dataclass(frozen=True)
class SphereSetting:
    """``dims``: dimensions d; ``squares``: \\|x + y\\|^2 (or \\|x - y\\|^2 for waves)."""

    dims: tuple[int, ...] = (4, 8, 16, 64)
    squares: tuple[float, ...] = (0.25, 1.0, 4.0)
    n_replicas: int = 1

    def __post_init__(self) -> None:
        checked(self)
        require_at_least(self, 2, "dims")
        require_positive(self, "squares", "n_replicas")


@simulation(name="positive_features_spheres.regularised", block=1, reads=("dims", "squares"))
def regularised(setting: SphereSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``ratio (replica, dim, square)``: mean over rows of length sqrt(d) and uniform direction of positive features' estimate,
    over e^{x . y}."""
    table = []
    for d in setting.dims:
        c, weight = _directions(d)
        exponents = np.sqrt(d) * np.sqrt(setting.squares)[:, None] * c - np.array(setting.squares)[:, None] / 2
        table.append(np.exp(exponents) @ weight)
    return {"ratio": np.repeat(np.array(table)[None], len(seeds), axis=0)}


@simulation(name="positive_features_spheres.orthogonal_pairs", block=1, reads=("dims", "squares"))
def orthogonal_pairs(
    setting: SphereSetting, seeds: Sequence[np.random.SeedSequence], device: str
) -> dict[str, np.ndarray]:
    """Mean product of the relative estimates of two orthogonal rows, minus 1, shape (replica, dim, square).

    ``positive``, ``hyperbolic`` (at \\|x + y\\|^2) and ``trigonometric`` (at \\|x - y\\|^2).
    """
    made = {
        name: [[_pair(d, s, wave, sign) for s in setting.squares] for d in setting.dims]
        for name, wave, sign in (("positive", np.exp, 1), ("hyperbolic", np.cosh, 1), ("trigonometric", np.cos, -1))
    }
    return {name: np.repeat(np.array(table)[None], len(seeds), axis=0) for name, table in made.items()}


@simulation(name="positive_features_spheres.hurting", block=1, reads=("dims",))
def hurting(setting: SphereSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``squares (replica, dim, 2)``: where the excess of two orthogonal rows of trigonometric features changes its sign for the
    first and second time between \\|x - y\\|^2 = 1 and 18; 18 where it does not."""
    grid, found = np.linspace(1, HIGHEST, 18), []
    for d in setting.dims:
        values = [_pair(d, s, np.cos, -1) for s in grid]
        changes = np.flatnonzero(np.diff(np.sign(values)))[:2]
        roots = [brentq(lambda s, d=d: _pair(d, s, np.cos, -1), *grid[k : k + 2], xtol=1e-12) for k in changes]
        found.append(roots + [HIGHEST] * (2 - len(roots)))
    return {"squares": np.repeat(np.array(found)[None], len(seeds), axis=0)}


def _pair(dim: int, square: float, wave: Callable, sign: int) -> float:
    """E wave(w1 . u) wave(w2 . u) e^{-sign |u|^2} - 1 for orthogonal rows of chi lengths, |u|^2 = ``square``."""
    r, density = _rule(0.0, np.sqrt(dim) + 12 + np.sqrt(square))
    density = density * np.exp((dim - 1) * np.log(r) - r**2 / 2 - ((dim - 1) * np.log(np.sqrt(dim)) - dim / 2))
    density = density / density.sum()
    shift = np.exp(-sign * square / 2)

    def mean(c: np.ndarray) -> np.ndarray:  # over the length of a row, at direction cosines c
        return shift * (wave(np.sqrt(square) * c[..., None] * r) @ density)

    first, weight = _directions(dim)
    rest, other = _directions(dim - 1) if dim > 2 else (np.array([1.0, -1.0]), np.array([0.5, 0.5]))
    second = np.sqrt(1 - first**2)[:, None] * rest
    return float((weight * mean(first)) @ mean(second) @ other - 1)


def _directions(dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Cosines with a fixed axis and weights of a uniform direction in ``dim`` >= 2 dimensions."""
    angle, weight = _rule(0.0, np.pi)
    if dim > 200:  # all within a few standard deviations of a right angle
        angle, weight = _rule(np.pi / 2 - 14 / np.sqrt(dim), np.pi / 2 + 14 / np.sqrt(dim))
    weight = weight * np.exp((dim - 2) * np.log(np.sin(angle)))
    return np.cos(angle), weight / weight.sum()


def _rule(low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    return low + (high - low) * (nodes + 1) / 2, (high - low) / 2 * weights
