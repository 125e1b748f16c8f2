"""Which positive definite matrix a matrix of floats stands for, exactly.

Floats that pass for inside may lie beyond an end by rounding, where a bound that is attained at the end fails. As a float
vector stands for a point of the sphere, such a matrix stands for one a little further inside: towards the middle of the
domain by a few times the rounding, until its eigenvalues lie between the ends in rational arithmetic. The diagonal entries of
a diagonal matrix that are floats of an end stand for the end itself, as in a box.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np

from attnlab.analysis.exact.reading import highest, lowest
from attnlab.analysis.theorems.statement.domains import PositiveDefinite

NEAR = 1e-9  # how far outside, relative to the higher end, a matrix still stands for one of the domain
ROUNDING = 16 * 2.0**-52  # of a float eigenvalue, relative to the higher end and per row
Rows = list[list[Fraction]]


def entries(domain: PositiveDefinite, value: np.ndarray) -> list[Any] | None:
    """The entries of the matrix that is meant, as balls, or None if the domain has none near."""
    from attnlab.analysis.exact.values import exact_ball, read_ball

    if not np.array_equal(value, value.T) or not np.all(np.isfinite(value)):
        return None
    low, high, n = highest(domain.low), lowest(domain.high), len(value)
    if float(domain.low) == float(domain.high):  # a multiple of the identity, and nothing else
        near = np.abs(value - float(domain.low) * np.eye(n)).max() <= NEAR * float(domain.high)
        return [read_ball(domain.low if i == j else 0) for i in range(n) for j in range(n)] if near else None
    if not np.count_nonzero(value - np.diag(np.diag(value))):
        ends = {float(end): end for end in (domain.low, domain.high)}
        if all(x in ends or low <= Fraction(x) <= high for x in map(float, np.diag(value))):
            return [read_ball(ends[x]) if x in ends else exact_ball(x) for x in map(float, value.ravel())]
    rows = [[Fraction(float(x)) for x in row] for row in value]
    if not inside(rows, low, high):
        rows = _moved_in(rows, value, low, high) or []
    return [exact_ball(x) for row in rows for x in row] or None


def inside(rows: Rows, low: Fraction, high: Fraction) -> bool:
    """Whether all eigenvalues of a symmetric matrix lie between two numbers, exactly."""
    above = [[x - low * (i == j) for j, x in enumerate(row)] for i, row in enumerate(rows)]
    below = [[high * (i == j) - x for j, x in enumerate(row)] for i, row in enumerate(rows)]
    return _semidefinite(above) and _semidefinite(below)


def _moved_in(rows: Rows, value: np.ndarray, low: Fraction, high: Fraction) -> Rows | None:
    """The matrix towards the middle of the domain by a few times what it lies outside."""
    if low >= high:
        return None
    values = np.linalg.eigvalsh(value)
    outside = max(float(low) - values[0], values[-1] - float(high), 0.0)
    step = 4 * (outside + ROUNDING * len(rows) * float(high)) / float(high - low)
    if outside > NEAR * float(high) or not step < math.sqrt(NEAR):
        return None
    t, middle = Fraction(step), (low + high) / 2
    moved = [[(1 - t) * x + (t * middle if i == j else 0) for j, x in enumerate(row)] for i, row in enumerate(rows)]
    return moved if inside(moved, low, high) else None


def _semidefinite(rows: Rows) -> bool:
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
