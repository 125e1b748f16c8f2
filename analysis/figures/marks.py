"""What a figure shows, as numbers: one :class:`Mark` per thing drawn, written as the CSV beside the figure."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

COLUMNS = ("panel", "kind", "series", "replica", "n", "x", "y", "low", "high", "z")
"""Columns of the data file. Empty: does not apply; ``nan``: a gap in a line.

``panel`` is its letter or name, ``kind`` what was drawn (prediction, measurement, band, replica, heat map, contour,
path, bar, reference ...), ``series`` its label, ``replica`` its number where replicas are drawn singly, ``n`` the
number of replicas behind the point, ``low`` and ``high`` the ends of its interval or band, ``z`` the value of a map
at (x, y).
"""


@dataclass(frozen=True)
class Mark:
    """The numbers of one thing drawn. ``x`` is a vector (points,); the others match it or are None.

    ``categories`` replaces ``x`` by words (bars; empty for a line across all x). ``replica`` is a number or None, ``n``
    a count for each point.
    """

    panel: str
    kind: str
    series: str
    x: np.ndarray
    y: np.ndarray | None = None
    low: np.ndarray | None = None
    high: np.ndarray | None = None
    z: np.ndarray | None = None
    n: np.ndarray | None = None
    replica: int | None = None
    categories: tuple[str, ...] | None = None

    def rows(self) -> list[tuple[str, ...]]:
        """One row of text per point, in the order of :data:`COLUMNS`."""
        places = self.categories if self.categories is not None else _texts(self.x, self.x.size)
        replica = "" if self.replica is None else str(self.replica)
        counts = [""] * self.x.size if self.n is None else [str(int(k)) for k in self.n]
        y, low, high, z = (_texts(values, self.x.size) for values in (self.y, self.low, self.high, self.z))
        head = (self.panel, self.kind, self.series, replica)
        return [(*head, *point) for point in zip(counts, places, y, low, high, z, strict=True)]


def as_csv(marks: Iterable[Mark]) -> str:
    """The data file: numbers as the shortest text that reads back to the same float64."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for mark in marks:
        writer.writerows(mark.rows())
    return out.getvalue()


def vector(name: str, values: ArrayLike, like: np.ndarray | None = None, of: str = "x") -> np.ndarray:
    """``values`` as a float64 vector (points,) with something finite in it; as long as ``like``, if given."""
    array = _real(name, values)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"{name} must have shape (points,) with at least one point, got {array.shape}")
    if like is not None and array.size != like.size:
        raise ValueError(f"{name} has {array.size} points but {of} has {like.size}; give both the same length")
    return _some_finite(name, array)


def places(name: str, values: ArrayLike) -> np.ndarray:
    """``values`` as a finite float64 vector (points,): positions on an axis, where a gap has no meaning."""
    array = vector(name, values)
    if not np.all(np.isfinite(array)):
        index = int(np.flatnonzero(~np.isfinite(array))[0])
        raise ValueError(f"{name}[{index}] is {array[index]}; positions on an axis must be finite, leave the point out")
    return array


def replicas(name: str, values: ArrayLike, points: int, of: str = "x") -> np.ndarray:
    """``values`` as float64 of shape (replica, points) with something finite in it."""
    array = _real(name, values)
    if array.ndim != 2 or array.shape[0] == 0 or array.shape[1] != points:
        raise ValueError(
            f"{name} must have shape (replica, {points}) to match {of}, got {array.shape}; "
            "the first axis is the replica"
        )
    return _some_finite(name, array)


def matrix(name: str, values: ArrayLike, shape: tuple[int, int] | None = None) -> np.ndarray:
    """``values`` as float64 of shape (rows, columns) with something finite in it."""
    array = _real(name, values)
    if array.ndim != 2 or array.size == 0:
        raise ValueError(f"{name} must have shape (rows, columns), got {array.shape}")
    if shape is not None and array.shape != shape:
        raise ValueError(
            f"{name} must have shape {shape}, one row for each y and one column for each x, got {array.shape}"
        )
    return _some_finite(name, array)


def named(label: str, argument: str = "label") -> str:
    """``label``, which must say something: what is drawn without a name can't be read."""
    if not isinstance(label, str) or not label.strip():
        raise ValueError(f"{argument} must be a text that names what is drawn, got {label!r}")
    return label


def _real(name: str, values: ArrayLike) -> np.ndarray:
    array = np.asarray(values)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{name} must hold real numbers, got dtype {array.dtype}")
    return array.astype(np.float64)


def _some_finite(name: str, array: np.ndarray) -> np.ndarray:
    if not np.any(np.isfinite(array)):
        raise ValueError(
            f"{name} holds no finite number (shape {array.shape}), so there is nothing to draw; "
            "check whether all replicas diverged"
        )
    return array


def _texts(values: np.ndarray | None, size: int) -> list[str]:
    return [""] * size if values is None else [repr(float(value)) for value in values]
