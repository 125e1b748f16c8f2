"""Checks of arguments, in one wording: what each must be, and what it was.

Every check takes the arguments by name, ``check_positive(dim=dim, rate=rate)``, and raises ``ValueError`` for the first that
does not fit. Numbers and numpy arrays are checked; other array types (recorded or differentiated ones) pass unseen.
"""

from collections.abc import Collection
from numbers import Integral, Real
from typing import Any

import numpy as np


def check_positive(finite: bool = True, **values: Any) -> None:
    """Every number, and every entry of an array, is positive, and finite unless ``finite=False``."""
    _check("positive" + " and finite" * finite, lambda x: (x > 0) & (np.isfinite(x) | (not finite)), values)


def check_not_negative(**values: Any) -> None:
    """Every number, and every entry of an array, is at least 0; infinity is."""
    _check("at least 0", lambda x: x >= 0, values)


def check_share(**values: Any) -> None:
    """Every number, and every entry of an array, lies in [0, 1]."""
    _check("between 0 and 1", lambda x: (x >= 0) & (x <= 1), values)


def check_standard_deviation(**values: Any) -> None:
    """Every number is finite and at least 0; the message says that it is not a variance."""
    _check("a finite standard deviation of at least 0 (not a variance)", lambda x: (x >= 0) & np.isfinite(x), values)


def check_count(at_least: int = 1, **values: Any) -> None:
    """Every value is a whole number of at least ``at_least``; 3.0 is, True is not."""
    for name, value in values.items():
        whole = isinstance(value, Integral) or (isinstance(value, Real) and float(value).is_integer())
        if isinstance(value, (bool, np.bool_)) or not whole or value < at_least:
            raise ValueError(f"{name}={value!r} must be a whole number of at least {at_least}")


def check_one_of(choices: Collection[str], **values: str) -> None:
    """Every value is one of the choices."""
    for name, value in values.items():
        if value not in choices:
            raise ValueError(f"{name}={value!r} is unknown; use one of {', '.join(map(repr, choices))}")


def increasing_times(times: Any) -> np.ndarray:
    """The times as a float64 vector; they are finite, increase strictly and start at 0 or later."""
    t = np.asarray(times, dtype=np.float64)
    if t.ndim != 1 or t.size < 1 or not np.all(np.isfinite(t)) or t[0] < 0 or np.any(np.diff(t) <= 0):
        raise ValueError(f"times={times!r} must be finite, increase and start at 0 or later")
    return t


def _check(what: str, fits: Any, values: dict[str, Any]) -> None:
    for name, value in values.items():
        if isinstance(value, (Real, np.ndarray)) and not np.all(fits(np.asarray(value, dtype=np.float64))):
            raise ValueError(f"{name}={value!r} must be {what}")
