r"""Mega's damped average: its kernel, how long it remembers, and the cost.

Ma et al. 2022 (arXiv 2209.10655) for the operator; the half-lives are derived.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from attnlab.theory.costs.visible import visible_pairs


def decay(input_gate: float, damping: float) -> float:
    r"""Factor per token, :math:`q = 1 - p \delta`; .75 at the start (both about 1/2). Undamped it would be 1 - p."""
    q = 1 - input_gate * damping
    if not 0 <= q <= 1:
        raise ValueError(f"input_gate={input_gate!r} and damping={damping!r} must be between 0 and 1")
    return q


def kernel(input_gate: ArrayLike, damping: ArrayLike, expand: ArrayLike, contract: ArrayLike, n: int) -> np.ndarray:
    r"""Taps l = 0, ..., n - 1 of the average of one channel, :math:`h^{-1/2} \sum_h \gamma_h p_h \beta_h q_h^l`."""
    p, d, b, g = (np.asarray(x, dtype=np.float64) for x in (input_gate, damping, expand, contract))
    return (g * p * b / math.sqrt(p.size) * (1 - p * d) ** np.arange(n)[:, None]).sum(1)


def half_life(factor: float) -> float:
    r"""Tokens until an input has lost half, :math:`\ln 2 / (-\ln q)`: 2.41 at q = .75."""
    return lag_at(factor, 0.5)


def lag_at(factor: float, tolerance: float) -> float:
    r"""Tokens until the share ``tolerance`` is left, :math:`\ln \tau / \ln q`: 32 for 1e-4 at q = .75."""
    if not (0 < factor < 1 and 0 < tolerance < 1):
        raise ValueError(f"factor={factor!r} and tolerance={tolerance!r} must be between 0 and 1, both excluded")
    return math.log(tolerance) / math.log(factor)


def multiply_adds(sizes: Any, *, causal: bool = False, chunk: int = 4, expansion: int = 2) -> int:
    """Multiply-adds of one call: taps n^2 D (zeros included), five projections D^2 and one D d, pairs within chunks (d + D)."""
    n, D, d = sizes.n, sizes.d_model, sizes.d
    whole, rest = divmod(n, chunk)
    pairs = whole * visible_pairs(chunk, chunk, True) + visible_pairs(rest, rest, True)
    return n * n * D + n * D * (5 * D + d) + pairs * (d + D)


def published_multiply_adds(sizes: Any, *, chunk: int = 4, expansion: int = 2) -> int:
    """The same with the average as a recurrence, 3 h D per token in place of n D."""
    return multiply_adds(sizes, chunk=chunk) + sizes.n * sizes.d_model * (3 * expansion - sizes.n)
