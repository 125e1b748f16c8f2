"""Exponential, logarithm and hyperbolic tangent of whatever number or array comes in, and checks of its sign.

A bound written with these functions and ``+ - * /`` takes floats and numpy arrays, and equally any array type that
offers the functions as methods, so that the same formula can be evaluated, differentiated or enclosed by a caller.
"""

from numbers import Integral, Real
from typing import Any

import numpy as np


def exp(x: Any) -> Any:
    """The exponential: the argument's own method if it has one, numpy's otherwise."""
    return x.exp() if hasattr(x, "exp") else np.exp(x)


def log(x: Any) -> Any:
    """The natural logarithm: the argument's own method if it has one, numpy's otherwise."""
    return x.log() if hasattr(x, "log") else np.log(x)


def tanh(x: Any) -> Any:
    """The hyperbolic tangent: the argument's own method if it has one, numpy's otherwise."""
    return x.tanh() if hasattr(x, "tanh") else np.tanh(x)


def check_positive(name: str, value: Any) -> None:
    """Raise ``ValueError`` if a number or numpy array is not positive and finite; other arrays pass unseen."""
    if isinstance(value, (Real, np.ndarray)) and not (np.all(np.asarray(value) > 0) and np.all(np.isfinite(value))):
        raise ValueError(f"{name} must be positive and finite, got {value!r}")


def check_not_negative(name: str, value: Any) -> None:
    """Raise ``ValueError`` if a number or numpy array is negative or NaN; other arrays pass unseen."""
    if isinstance(value, (Real, np.ndarray)) and not np.all(np.asarray(value) >= 0):
        raise ValueError(f"{name} must not be negative, got {value!r}")


def check_share(name: str, value: Any) -> None:
    """Raise ``ValueError`` if a number or numpy array leaves [0, 1]; other arrays pass unseen."""
    outside = isinstance(value, (Real, np.ndarray)) and not np.all((np.asarray(value) >= 0) & (np.asarray(value) <= 1))
    if outside:
        raise ValueError(f"{name} must lie in [0, 1], got {value!r}")


def check_count(name: str, value: Any, at_least: int = 1) -> None:
    """Raise ``ValueError`` unless the value is a whole number of at least ``at_least``."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < at_least:
        raise ValueError(f"{name} must be a whole number >= {at_least}, got {value!r}")
