r"""Softpick on random scores: how much of a row is left, and what it costs.

Scores independent Gaussian of standard deviation s, many keys. Zuhri et al. 2025 (arXiv 2504.20966) for the map; the law is
derived: with z standard normal, :math:`\mathbb E (e^{sz} - 1)_+ = e^{s^2/2} \Phi(s) - 1/2`.
"""

from __future__ import annotations

import math
from typing import Any

from attnlab.theory.costs.visible import plain_attention


def row_sum(score_std: float) -> float:
    r"""Limit of the row sum, :math:`A / (A + B)`.

    .. math:: A = \mathbb E (e^{s z} - 1)_+ = e^{s^2/2} \Phi(s) - \tfrac12, \qquad
              B = \mathbb E (1 - e^{s z})_+ = \tfrac12 - e^{s^2/2} \Phi(-s) .

    1/2 for small s (as many scores above zero as below), 1 for large s.
    """
    if not score_std > 0:
        raise ValueError(f"score_std={score_std!r} must be positive")
    grown = math.exp(score_std**2 / 2)
    above, below = grown * _phi(score_std) - 0.5, 0.5 - grown * _phi(-score_std)
    return above / (above + below)


def zero_share() -> float:
    """Share of weights that are exactly zero at symmetric scores: one half."""
    return 0.5


def multiply_adds(sizes: Any, *, causal: bool = False) -> int:
    """Multiply-adds of one call for all heads: those of plain attention on visible pairs."""
    return plain_attention(sizes, causal)


def _phi(x: float) -> float:
    """Distribution function of a standard normal number."""
    return math.erfc(-x / math.sqrt(2)) / 2
