r"""Luong's local attention: how much of a row its Gaussian leaves, and what it costs.

Luong, Pham and Manning 2015 (arXiv 1508.04025), equation 10, for the operator; the sums are derived.
"""

from __future__ import annotations

import math
from typing import Any

from attnlab.theory.checks import check_count
from attnlab.theory.costs.visible import all_pairs


def flat_row_sum(half_width: int) -> float:
    r"""Row sum at equal scores with the centre on a key and the window inside the text.

    .. math:: \frac{1}{2D+1} \sum_{|t| \le D} e^{-2 t^2 / D^2} .

    The softmax is over the window alone, and the Gaussian of standard deviation D/2 is not normalised: the context is shrunk.
    """
    check_count(half_width=half_width)
    D = int(half_width)
    return sum(math.exp(-2 * (t / D) ** 2) for t in range(-D, D + 1)) / (2 * D + 1)


def flat_row_sum_limit() -> float:
    r"""The same for wide windows, :math:`\int_0^1 e^{-2 u^2} du = \tfrac12 \sqrt{\pi/2}\,\mathrm{erf}\sqrt 2 = .5981`."""
    return 0.5 * math.sqrt(math.pi / 2) * math.erf(math.sqrt(2))


def multiply_adds(sizes: Any, *, causal: bool = False, half_width: float = 10.0, hidden: int = 8) -> int:
    """Multiply-adds of one call for all heads: the centres, n_q (d + 1) h, and all pairs (the window is a mask here)."""
    return sizes.n_heads * sizes.queries * (sizes.d + 1) * hidden + all_pairs(sizes)


def published_multiply_adds(sizes: Any, *, half_width: float = 10.0, hidden: int = 8) -> int:
    """The same with gathered windows, as published: at most 2 D + 1 keys per query."""
    seen = min(sizes.n, 2 * math.floor(half_width) + 1)
    return sizes.n_heads * sizes.queries * ((sizes.d + 1) * hidden + seen * (sizes.d + sizes.d_v))
