"""The level ``sampled``: how much mass a claim can violate at most, and means of bounded quantities.

Draws from the reference measures bound the violating mass by Clopper and Pearson: no violation in n draws leaves at
most ``1 - error**(1/n)``, about ``ln(1/error) / n``. That says little about a supremum: a bound may fail on a set of
tiny mass. Means of values in [low, high] are judged by Hoeffding's inequality.

References: C. J. Clopper, E. S. Pearson, Biometrika 26 (1934); W. Hoeffding, JASA 58 (1963), Theorem 2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch

from attnlab.analysis.statistics.intervals import clopper_pearson, finite_vector
from attnlab.analysis.theorems.engines.evaluate import Evaluator, tensors
from attnlab.analysis.theorems.statement.claim import Claim, ClaimError

BATCH = 4096
ROUNDING = 1e-12  # how far beyond its ends, relative to them, a bounded value may come out
LOOKED = 8  # worst draws per batch and ranking that are looked at in higher precision

Point = dict[str, np.ndarray]


@dataclass
class Sampled:
    """Draws that met the assumptions, how many violate in floats, the worst of these, and the range of the sides."""

    n: int = 0
    n_drawn: int = 0
    violations: int = 0
    slack: float = math.inf  # smallest upper - lower
    worst: list[tuple[float, Point]] = field(default_factory=list)  # by gap, and by relative gap
    lower: tuple[float, float] = (math.inf, -math.inf)
    upper: tuple[float, float] = (math.inf, -math.inf)

    def mass(self, error: float, violations: int | None = None) -> tuple[float, float]:
        """Two-sided Clopper-Pearson interval for the violating mass; one-sided at the same error if none violates."""
        k = self.violations if violations is None else violations
        if self.n == 0:
            return 0.0, 1.0
        if k == 0:
            return 0.0, -math.expm1(math.log(error) / self.n)
        return clopper_pearson(k, self.n, 1 - error)


def sample(claim: Claim, n: int, seed: int, evaluator: Evaluator) -> Sampled:
    """Draw ``n`` points of the reference measures (a NaN at one that meets the assumptions is a ClaimError)."""
    out = Sampled()
    generator = np.random.default_rng([seed, 0x5A3D])
    while out.n_drawn < n:
        size = min(BATCH, n - out.n_drawn)
        points = {name: domain.draw(size, generator) for name, domain in claim.variables.items()}
        evaluator.check_numbers(points)
        there = tensors(points)
        with torch.no_grad():
            lower, upper = evaluator(there)
            gaps = evaluator.gap_of(lower, upper)
            meets = evaluator.meets(there)
            if claim.sense == "equals":
                lower, upper = (lower - upper).abs(), torch.full_like(upper, claim.within)
        out.n_drawn += size
        if not meets.any():
            continue
        out.n += int(meets.sum())
        gap = torch.where(meets, gaps.amax(dim=1), torch.full_like(gaps[:, 0], -math.inf))
        relative = torch.where(meets, (gaps / (lower.abs() + upper.abs() + 1e-300)).amax(dim=1), gap)
        out.violations += int((gap > 0).sum())
        out.lower, out.upper = _range(out.lower, lower[meets]), _range(out.upper, upper[meets])
        out.slack = min(out.slack, float((upper - lower)[meets].min()))
        for score in (gap, relative):
            for k in torch.argsort(score, descending=True, stable=True)[:LOOKED].tolist():
                if gap[k] > 0:
                    out.worst.append((float(gap[k]), {name: np.array(v[k]) for name, v in points.items()}))
    out.worst.sort(key=lambda c: -c[0])
    return out


def sample_mean(claim: Claim, n: int, seed: int, evaluator: Evaluator) -> np.ndarray:
    """Values of the left side of a claim on an average, (n, entries); one outside ``between``, beyond rounding, is a
    ClaimError."""
    generator = np.random.default_rng([seed, 0x5A3D])
    points = {name: domain.draw(n, generator) for name, domain in claim.variables.items()}
    evaluator.check_numbers(points)
    low, high = claim.between or (-math.inf, math.inf)
    with torch.no_grad():
        values = evaluator.left(tensors(points)).numpy()
    room = ROUNDING * max(abs(low), abs(high))
    outside = (values < low - room) | (values > high + room)
    if outside.any():
        k, entry = map(int, np.argwhere(outside)[0])
        at = ", ".join(
            f"{name}={np.array2string(np.asarray(v[k]), precision=4, threshold=6)}" for name, v in points.items()
        )
        raise ClaimError(
            f"the left side is {values[k, entry]:.6g} at {at}, outside between={claim.between}; widen between"
        )
    return np.clip(values, low, high)


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
