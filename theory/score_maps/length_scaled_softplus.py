r"""Softplus attention on random scores: how flat its rows are, and what it costs.

Scores independent Gaussian of standard deviation s, many keys. Gao et al. 2025 (arXiv 2501.13428) for the map; the law is the
ratio of moments, by quadrature.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from attnlab.theory.checks import check_count, check_positive
from attnlab.theory.costs.visible import all_pairs, plain_attention


def participation(score_std: float, n_points: int = 4001) -> float:
    r"""Limit of :math:`n\, \mathbb E \sum_j W_j^2 = \mathbb E f(s z)^2 / (\mathbb E f(s z))^2`, f the softplus.

    1.032, 1.123, 1.418 and 2.044 at s = .25, .5, 1 and 2, where softmax has e^{s^2}; for large s it tends to
    relu's :math:`\pi`. By the trapezoidal rule on [-12, 12], whose error is exponentially small for such integrands.
    """
    check_positive(score_std=score_std)
    check_count(n_points=n_points, at_least=2)
    z = np.linspace(-12.0, 12.0, n_points)
    w, f = np.exp(-(z**2) / 2), np.logaddexp(0.0, score_std * z)
    return float((w * f**2).sum() * w.sum() / (w * f).sum() ** 2)


def wide_limit() -> float:
    r"""Participation of rectified scores, :math:`\tfrac12 / (1/\sqrt{2 \pi})^2 = \pi`, which wide softplus scores tend to."""
    return math.pi


def multiply_adds(
    sizes: Any, *, causal: bool = False, power: int = 1, offset: float = 0.0, constant: float | None = None
) -> int:
    """Multiply-adds of one call for all heads: visible pairs, or all of them where rows are re-weighted in a second pass."""
    return plain_attention(sizes, causal) if power == 1 and offset == 0 else all_pairs(sizes)


def state_numbers(sizes: Any, **numbers: Any) -> int:
    """Numbers per head that a decoder keeps: all keys and values."""
    return sizes.n * (sizes.d + sizes.d_v)
