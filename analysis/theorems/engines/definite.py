"""Whether a matrix of floats certainly has its eigenvalues between two ends, and what it stands for if it does.

Floats that pass for inside may lie beyond an end by rounding, where a bound that is attained at the end fails. The
diagonal entries of a diagonal matrix that are floats of an end stand for the end itself, as in a box; any other matrix must
be inside in rational arithmetic.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from attnlab.analysis.exact.reading import highest, lowest
from attnlab.analysis.theorems.statement.domains import PositiveDefinite


def entries(domain: PositiveDefinite, value: np.ndarray) -> list[Any]:
    """The entries of a matrix as balls: diagonal ones that are ends of the domain as these, others as their floats."""
    from flint import arb

    from attnlab.analysis.exact.values import read_ball

    if not _diagonal(value):
        return [arb(float(x)) for x in value.ravel()]
    ends = {float(end): end for end in (domain.low, domain.high)}
    return [read_ball(ends[x]) if x in ends else arb(x) for x in map(float, value.ravel())]


def certainly_inside(domain: PositiveDefinite, value: np.ndarray) -> bool:
    """Whether all eigenvalues lie between the ends, whatever the ends may stand for."""
    if not np.array_equal(value, value.T):
        return False
    low, high = highest(domain.low), lowest(domain.high)
    if _diagonal(value):
        ends = (float(domain.low), float(domain.high))
        return all(x in ends or low <= Fraction(x) <= high for x in map(float, np.diag(value)))
    rows = [[Fraction(float(x)) for x in row] for row in value]
    above = [[x - low * (i == j) for j, x in enumerate(row)] for i, row in enumerate(rows)]
    below = [[high * (i == j) - x for j, x in enumerate(row)] for i, row in enumerate(rows)]
    return _semidefinite(above) and _semidefinite(below)


def _diagonal(value: np.ndarray) -> bool:
    return not np.count_nonzero(value - np.diag(np.diag(value)))


def _semidefinite(rows: list[list[Fraction]]) -> bool:
    """Whether a symmetric matrix has no negative eigenvalue: no pivot is negative, and one that is 0 has a row of zeros."""
    for k in range(len(rows)):
        pivot = rows[k][k]
        if pivot < 0 or (pivot == 0 and any(rows[k][k + 1 :])):
            return False
        for i in range(k + 1, len(rows)):
            if pivot and rows[i][k]:
                factor = rows[i][k] / pivot
                rows[i] = [a - factor * b for a, b in zip(rows[i], rows[k], strict=True)]
    return True
