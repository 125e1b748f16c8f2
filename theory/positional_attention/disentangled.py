r"""Disentangled attention: three terms, each of variance d, under one scale.

He et al. 2021 (arXiv 2006.03654). For independent standard Gaussian q, k and tables the score has variance
:math:`3 d/(3 d) = 1`. Without positions it is dot-product attention with scale :math:`1/\sqrt{3 d}`, a higher
temperature than :math:`1/\sqrt d`.
"""

from __future__ import annotations

from typing import Any

from attnlab.theory.checks import check_count
from attnlab.theory.costs.visible import visible_pairs


def score_variance(dim: int, terms: int = 3) -> float:
    """Variance of the score with ``terms`` of content-content, content-position, position-content: terms/3."""
    check_count(dim=dim, terms=terms)
    return terms * dim / (3 * dim)


def scale_without_positions(dim: int) -> float:
    """Scale of the dot product left when the tables vanish, 1/sqrt(3 d)."""
    check_count(dim=dim)
    return (3 * dim) ** -0.5


def multiply_adds(sizes: Any, *, causal: bool = False, farthest: int = 2) -> int:
    """Multiply-adds of one call: attention on visible pairs, queries and keys against 2 m table rows."""
    pairs = visible_pairs(sizes.queries, sizes.n, causal) * (sizes.d + sizes.d_v)
    return sizes.n_heads * (pairs + (sizes.queries + sizes.n) * 2 * farthest * sizes.d)


def state_numbers(sizes: Any, *, farthest: int = 2) -> int:
    """Numbers per head that a decoder keeps: keys and values."""
    return sizes.n * (sizes.d + sizes.d_v)
