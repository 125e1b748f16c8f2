r"""Signed attention on random scores: concentration, mean, and cost.

Scores independent Gaussian of standard deviation s, many keys. Lv et al. 2024 (arXiv 2411.07176) for the map; the law is derived
from :math:`\mathbb E e^{a |z|} = 2 e^{a^2/2} \Phi(a)`.
"""

from __future__ import annotations

import math
from typing import Any

from attnlab.theory.costs.visible import plain_attention


def participation(score_std: float) -> float:
    r"""Limit of :math:`n\, \mathbb E \sum_j W_j^2`.

    .. math:: \frac{\mathbb E e^{2 s |z|}}{(\mathbb E e^{s |z|})^2}
              = \frac{2 e^{2 s^2} \Phi(2 s)}{(2 e^{s^2/2} \Phi(s))^2} .

    Below softmax's :math:`e^{s^2}`. The mean of the row sum is 0 by symmetry.
    """
    if not score_std > 0:
        raise ValueError(f"score_std={score_std!r} must be positive")
    top = 2 * math.exp(2 * score_std**2) * _phi(2 * score_std)
    return top / (2 * math.exp(score_std**2 / 2) * _phi(score_std)) ** 2


def multiply_adds(sizes: Any, *, causal: bool = False) -> int:
    """Multiply-adds of one call for all heads: those of plain attention on visible pairs."""
    return plain_attention(sizes, causal)


def _phi(x: float) -> float:
    """Distribution function of a standard normal number."""
    return math.erfc(-x / math.sqrt(2)) / 2
