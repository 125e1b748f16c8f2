"""Where the quantity that a claim speaks of lies: its estimate and its interval, or why they are not to be used."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import numpy as np

from attnlab.analysis.statistics.intervals import (
    Interval,
    guarded_mean_interval,
    has_spread,
    quantile_interval,
    two_groups,
)
from attnlab.analysis.statistics.sequences import bounded_mean_interval
from attnlab.analysis.verdicts.wording import draws_of, read_of

_STIPULATED: ContextVar[bool] = ContextVar("attnlab_values_stipulated", default=False)


@contextmanager
def stipulated() -> Iterator[None]:
    """Values given inside are those of a control that is what it is by construction, not a sample.

    Equal values are then the value itself. In a sample they are none: all n may have missed a rare other mode.
    """
    token = _STIPULATED.set(True)
    try:
        yield
    finally:
        _STIPULATED.reset(token)


def known(values: np.ndarray) -> bool:
    """Whether the values are one stipulated number: a frozen start that has not moved in any replica."""
    return _STIPULATED.get() and values.size > 1 and not has_spread(values)


@dataclass(frozen=True)
class Located:
    """Where the quantity named by ``of`` lies: its estimate, its interval, and why it may be unusable (``trouble``).

    ``grouped``: the values lie in two groups far apart, which ``caution`` tells.
    """

    estimate: float
    interval: Interval
    trouble: str = ""
    caution: str = ""
    grouped: bool = False


def locate(values: np.ndarray, of: str, error: float, bounds: tuple[float, float] | None = None) -> Located:
    """Estimate and interval of the mean, median or quantile over replicas, or the range for ``every replica``.

    A mean of values with known ``bounds`` gets a betting interval, any other the guarded t interval; if the values lie in
    two groups far apart, it reaches over all of them.
    """
    kind, level = read_of(of)
    if kind == "every":
        return Located(float(np.mean(values)), (float(values.min()), float(values.max())))
    if known(values):
        value = float(np.mean(values))
        return Located(value, (value, value))
    if values.size < 2:
        return Located(float(values[0]), (-math.inf, math.inf), "one value has no spread to judge by; use 8 or more")
    if kind == "mean":
        estimate = float(np.mean(values))
        if bounds is not None:
            interval = bounded_mean_interval(values, *bounds, 1 - error)
            if interval[0] <= interval[1]:
                return Located(estimate, interval)
            return Located(estimate, (-math.inf, math.inf), "no mean fits all values: they are not from one law")
        interval = guarded_mean_interval(values, 1 - error, draws_of(of))
        if not has_spread(values):
            return Located(
                estimate,
                (-math.inf, math.inf),
                f"all {values.size} values are equal: a t interval needs spread; if the value is "
                "deterministic, judge of='every replica'",
            )
        groups = two_groups(values)
        if groups is not None:
            caution = (
                f"{groups[0]} of {values.size} values lie {groups[1]:.3g} times the others' spread apart: a mean over two "
                "groups speaks of neither; judge the share of each, and the value given it"
            )
            return Located(
                estimate,
                (min(interval[0], float(values.min())), max(interval[1], float(values.max()))),
                caution=caution,
                grouped=True,
            )
        return Located(estimate, interval, caution=_skewed(values))
    interval = quantile_interval(values, level, 1 - error)
    trouble = ""
    if not all(map(math.isfinite, interval)):
        trouble = f"n={values.size} is too small for an interval of this quantile at error {error:.2g}"
    return Located(float(np.quantile(values, level)), interval, trouble)


def _skewed(values: np.ndarray) -> str:
    """A caution if the sample skewness is beyond three standard errors of a normal sample's."""
    n = values.size
    if n < 3:
        return ""
    deviation = values - values.mean()
    deviation = deviation / np.max(np.abs(deviation))
    skewness = float(np.mean(deviation**3) / np.mean(deviation**2) ** 1.5) * math.sqrt(n * (n - 1)) / (n - 2)
    if abs(skewness) <= 3 * math.sqrt(6 * n * (n - 1) / ((n - 2) * (n + 1) * (n + 3))):
        return ""
    return f"skewness {skewness:.2g}: t intervals err more often than stated here, the median is safe"
