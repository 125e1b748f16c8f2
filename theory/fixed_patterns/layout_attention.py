r"""Skim attention: one map for all texts, and what becomes of a stack that uses it again.

Nguyen et al. 2021 (arXiv 2109.01078). L layers without skip connections apply A^L: the part of the values off the stationary mean
decays as :math:`|\lambda_2|^L`, and for a softmax of independent Gaussian scores of standard deviation s
:math:`|\lambda_2| \approx \sqrt{(e^{s^2} - 1)/n}`: the circle of a random matrix with entries of variance
:math:`(e^{s^2} - 1)/n^2`. A skip connection (I + A)/2 replaces :math:`\lambda_2` by :math:`(1 + \lambda_2)/2`.
"""

from __future__ import annotations

import math
from typing import Any

from attnlab.theory.checks import check_count, check_standard_deviation
from attnlab.theory.costs.token_projections import head_projections


def second_eigenvalue_limit(score_std: float, n_tokens: int) -> float:
    r"""Modulus of the second eigenvalue for many tokens, :math:`\sqrt{(e^{s^2} - 1)/n}`, s below half the freezing point."""
    check_standard_deviation(score_std=score_std)
    check_count(n_tokens=n_tokens)
    return math.sqrt(math.expm1(score_std**2) / n_tokens)


def published_share_of_attention(n_layers: int, layout_width: float, width: float) -> float:
    """FLOPs of attention with one shared map over those of L maps, (d_s + L d)/(2 L d): scores once, values L times."""
    check_count(n_layers=n_layers)
    return (layout_width + n_layers * width) / (2 * n_layers * width)


def multiply_adds(sizes: Any, *, causal: bool = False, side: int = 64) -> int:
    """Multiply-adds of one layer that makes its map: projections of layout and text, 2 d per pair and head."""
    return head_projections(sizes) + 2 * sizes.n_heads * sizes.d * sizes.n**2
