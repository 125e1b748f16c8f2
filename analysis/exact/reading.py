"""How a number that somebody wrote is read: once, and the same way for constants, ends of boxes and radii.

Whole numbers and Fractions are exact. A float with at most twelve significant digits is the decimal it prints as, for that
is what was typed: 0.1 is 1/10. A longer float was computed (``math.log(8)``, ``1 / 3``): it stands for every real within
four units of its last place, so what is certified holds for all of these, and what is refuted fails for all of them. A
float32 that is not exact stands for every real within one of its own, much wider, last places.
"""

from __future__ import annotations

import math
from fractions import Fraction
from numbers import Integral, Rational
from typing import Any

import numpy as np

TYPED_DIGITS = 12
ULPS = 4

Read = tuple[Fraction, Fraction]  # centre and radius; the radius of an exact number is 0


def read(value: Any) -> Read:
    """Centre and radius of a finite number; ``TypeError`` for anything else, ``ValueError`` for an infinite one."""
    if isinstance(value, (bool, np.bool_)):
        return Fraction(int(value)), Fraction(0)
    if isinstance(value, Integral):
        return Fraction(int(value)), Fraction(0)
    if isinstance(value, Rational):
        return Fraction(int(value.numerator), int(value.denominator)), Fraction(0)
    if isinstance(value, np.floating) and not isinstance(value, (np.float64, np.longdouble)):
        exact = Fraction(float(value))
        short = exact == Fraction(str(value))
        return exact, Fraction(0) if short else Fraction(float(np.spacing(np.abs(value))))
    if isinstance(value, (float, np.floating)):
        value = float(value)
        if not math.isfinite(value):
            raise ValueError(f"{value} is not a finite number")
        text = repr(value)
        if len(_digits(text)) <= TYPED_DIGITS or Fraction(value) == Fraction(text):
            return Fraction(text), Fraction(0)
        return Fraction(value), ULPS * Fraction(math.ulp(value))
    raise TypeError(f"expected a number, got {type(value).__name__}")


def lowest(value: Any) -> Fraction:
    """The smallest real that a number may stand for."""
    centre, radius = read(value)
    return centre - radius


def highest(value: Any) -> Fraction:
    """The largest real that a number may stand for."""
    centre, radius = read(value)
    return centre + radius


def _digits(text: str) -> str:
    return text.lower().split("e")[0].replace("-", "").replace(".", "").strip("0")
