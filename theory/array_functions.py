"""Exponential, logarithm and hyperbolic tangent of whatever number or array comes in.

A bound written with these functions and ``+ - * /`` takes floats and numpy arrays, and equally any array type that
offers the functions as methods, so that the same formula can be evaluated, differentiated or enclosed by a caller.
"""

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
