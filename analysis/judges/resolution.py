"""What data resolve: the smallest change of a prediction that the same data refute, and what a blunt verdict says of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from attnlab.analysis.judges.arguments import margin
from attnlab.analysis.verdicts.verdict import Outcome, Twin, Verdict, percent

BLUNT = 0.05  # a verdict that cannot resolve this share of its prediction says why

_RESOLVING: ContextVar[bool] = ContextVar("attnlab_resolving", default=True)


@contextmanager
def unresolved() -> Iterator[None]:
    """Judges called inside do not work out what they resolve: it takes some forty checks for each verdict."""
    token = _RESOLVING.set(False)
    try:
        yield
    finally:
        _RESOLVING.reset(token)


def resolving() -> bool:
    """Whether judges work out what they resolve."""
    return _RESOLVING.get()


def resolution(refuted: Callable[[float], bool]) -> float:
    """The smallest e (to 1 %) for which both ``refuted(e)`` and ``refuted(-e)``; infinite if 100-fold changes pass."""

    def both(e: float) -> bool:
        return refuted(e) and refuted(-e)

    high = next((e for e in (1.0, 10.0, 100.0) if both(e)), math.inf)
    low = high / 10
    while math.isfinite(high) and low > 1e-16 and both(low):
        low, high = low / 10, low
    while math.isfinite(high) and high > 1.01 * low > 1e-16:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if both(middle) else (middle, high)
    return high


def with_resolution(verdict: Verdict, resolves: float) -> Verdict:
    """The verdict with what its data resolve; one that cannot resolve 5 % says what sets the limit, and what would help."""
    verdict = replace(verdict, resolves=resolves)
    if resolves <= BLUNT or verdict.outcome is not Outcome.HOLDS:
        return verdict
    return replace(verdict, reason="; ".join(filter(None, [verdict.reason, _blunt(verdict)])))


def changed(
    name: str, predicted: ArrayLike, scale: float | None, twin: Twin, kind: str = "mean"
) -> Callable[[float], dict[str, Any]]:
    """The argument ``name`` changed by a share e: p (1 + e), or p + e ``scale`` in a declared scale.

    A prediction that is zero everywhere changes in units of its twin's distance, if no scale is declared.
    """

    def vary(e: float) -> dict[str, Any]:
        p = np.asarray(predicted, dtype=np.float64)
        size = None if scale is None else margin("scale", scale)
        if size is None and not np.any(p):
            size = rival_distance(name, predicted, twin, kind)
        return {name: p * (1 + e) if size is None else p + e * size}

    return vary


def _blunt(verdict: Verdict) -> str:
    """Why a verdict resolves so little: its margin, or its interval; and what would make it sharper."""
    share = percent(verdict.resolves)
    resolved = f"resolves {share} only" if math.isfinite(verdict.resolves) else f"resolves {share}"
    if verdict.margin is None or verdict.interval is None or not all(map(math.isfinite, verdict.interval)):
        return resolved
    half = (verdict.interval[1] - verdict.interval[0]) / 2
    if half > verdict.margin:
        limit = f"the half-width is {half:.2g} at margin {verdict.margin:.2g}; more replicas would resolve more"
    else:
        limit = f"the margin is {verdict.margin:.2g}, the half-width {half:.2g}; a smaller margin would resolve more"
    return f"{resolved}: {limit}"


def rival_distance(name: str, claim: Any, twin: Twin, kind: str = "mean") -> float | None:
    """How far the twin moves the argument ``name``, in the mean or for ``every`` in the largest entry."""
    if set(twin.arguments) != {name}:
        return None
    gap = np.asarray(twin.arguments[name], dtype=np.float64) - np.asarray(claim, dtype=np.float64)
    return float(np.max(np.abs(gap))) if kind == "every" else abs(float(np.mean(gap)))
