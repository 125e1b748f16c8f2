"""The level ``sampled``: how much mass a claim can violate at most, and means of bounded quantities.

Draws from the reference measures bound the violating mass by Clopper and Pearson: no violation in n draws leaves at
most ``1 - error**(1/n)``, about ``ln(1/error) / n``. That says little about a supremum: a bound may fail on a set of
tiny mass. Means of values in [low, high] are judged by Hoeffding's inequality.

References: C. J. Clopper, E. S. Pearson, Biometrika 26 (1934); W. Hoeffding, JASA 58 (1963), Theorem 2.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np
import torch

from attnlab.analysis.statistics.intervals import clopper_pearson, finite_vector
from attnlab.analysis.theorems.engines.evaluate import Evaluator, tensors
from attnlab.analysis.theorems.statement.claim import Claim, ClaimError

BATCH = 4096

Point = dict[str, np.ndarray]


@dataclass
class Sampled:
    """Draws that met the assumptions, how many violate, the worst of them, and the range of the smaller side."""

    n: int = 0
    n_drawn: int = 0
    violations: int = 0
    worst: float = -math.inf
    slack: float = math.inf  # smallest upper - lower
    point: Point | None = None
    lower: tuple[float, float] = (math.inf, -math.inf)
    upper: tuple[float, float] = (math.inf, -math.inf)

    def mass(self, error: float) -> tuple[float, float]:
        """Two-sided Clopper-Pearson interval for the violating mass; one-sided at the same error if none violates."""
        if self.n == 0:
            return 0.0, 1.0
        if self.violations == 0:
            return 0.0, -math.expm1(math.log(error) / self.n)
        return clopper_pearson(self.violations, self.n, 1 - error)


def sample(claim: Claim, n: int, seed: int, budget: float, evaluator: Evaluator) -> Sampled:
    """Draw up to ``n`` points of the reference measures (a NaN at one that meets the assumptions is a ClaimError)."""
    deadline, out = time.monotonic() + budget, Sampled()
    generator = np.random.default_rng([seed, 0x5A3D])
    while out.n_drawn < n and (out.n_drawn == 0 or time.monotonic() < deadline):
        size = min(BATCH, n - out.n_drawn)
        points = {name: domain.draw(size, generator) for name, domain in claim.variables.items()}
        evaluator.check_numbers(points)
        if out.n_drawn == 0:
            evaluator.set_floor(points)
        there = tensors(points)
        with torch.no_grad():
            score, meets = evaluator.score(there), (evaluator.margins(there) >= 0).all(dim=1)
            lower, upper = evaluator(there)
            if claim.sense == "equals":
                lower, upper = (lower - upper).abs(), torch.full_like(upper, claim.within)
        out.n_drawn += size
        if meets.any():
            out.n += int(meets.sum())
            out.violations += int((score[meets] > 0).sum())
            out.lower, out.upper = _range(out.lower, lower[meets]), _range(out.upper, upper[meets])
            out.slack = min(out.slack, float((upper - lower)[meets].min()))
            score = torch.where(meets, score, -math.inf)
            k = int(torch.argmax(score))
            if float(score[k]) > out.worst:
                out.worst, out.point = float(score[k]), {name: v[k] for name, v in points.items()}
    return out


def sample_mean(claim: Claim, n: int, seed: int, evaluator: Evaluator) -> np.ndarray:
    """Values of the left side of a claim on an average; a value outside ``between`` is a ClaimError."""
    generator = np.random.default_rng([seed, 0x5A3D])
    points = {name: domain.draw(n, generator) for name, domain in claim.variables.items()}
    evaluator.check_numbers(points)
    low, high = claim.between or (-math.inf, math.inf)
    with torch.no_grad():
        values = evaluator.left(tensors(points))[:, 0].numpy()
    outside = (values < low) | (values > high)
    if outside.any():
        k = int(np.argmax(outside))
        at = ", ".join(
            f"{name}={np.array2string(np.asarray(v[k]), precision=4, threshold=6)}" for name, v in points.items()
        )
        raise ClaimError(f"the left side is {values[k]:.6g} at {at}, outside between={claim.between}; widen between")
    return values


def hoeffding_interval(values: np.ndarray, low: float, high: float, confidence: float = 0.99) -> tuple[float, float]:
    r"""Interval for the mean of independent values in [low, high]: ``mean +- (high - low) sqrt(ln(2 / error) / (2
    n))``.

    Raises ``ValueError`` if a value lies outside [low, high].
    """
    values = finite_vector("values", values, at_least=1)
    if not low < high:
        raise ValueError(f"low={low} must be below high={high}")
    if values.min() < low or values.max() > high:
        raise ValueError(f"values reach [{values.min():.6g}, {values.max():.6g}], outside [low, high]=[{low}, {high}]")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie in (0, 1), got {confidence!r}")
    half = (high - low) * math.sqrt(math.log(2 / (1 - confidence)) / (2 * values.size))
    mean = float(values.mean())
    return max(low, mean - half), min(high, mean + half)


def _range(seen: tuple[float, float], values: torch.Tensor) -> tuple[float, float]:
    return min(seen[0], float(values.min())), max(seen[1], float(values.max()))
