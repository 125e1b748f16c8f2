r"""Maps shared between layers: the error of a borrowed map, how long a span may be, and what is saved.

Scores of two layers Gaussian of standard deviation s with correlation r, many keys, independent values. Liao and Vargas 2024
(arXiv 2407.12866) for the operator; the laws are derived.
"""

from __future__ import annotations

import math
from typing import Any

from attnlab.theory.checks import check_count, check_share, check_standard_deviation
from attnlab.theory.costs.visible import visible_pairs


def map_cosine(correlation: float, score_std: float) -> float:
    r"""Cosine between rows of two maps, :math:`e^{-(1 - r) s^2}`.

    :math:`\mathbb E e^{a + b} / \mathbb E e^{2a} = e^{(1 + r) s^2 - 2 s^2}`, the normalisers being equal; not the
    correlation of the scores.
    """
    check_share(correlation=correlation)
    check_standard_deviation(score_std=score_std)
    return math.exp(-(1 - correlation) * score_std**2)


def output_error(correlation: float, score_std: float, distance: int = 1) -> float:
    r"""Relative squared error of the output, :math:`2 (1 - e^{-(1 - r^k) s^2})` at k layers' distance of correlation r each."""
    check_count(distance=distance)
    return 2 * (1 - map_cosine(correlation**distance, score_std))


def longest_span(correlation: float, score_std: float, error: float) -> int:
    r"""Layers of the longest span whose last map errs by at most ``error``: :math:`r^{m-1} \ge 1 + \ln(1 - \epsilon/2)/s^2`."""
    check_share(correlation=correlation)
    if not 0 < error < 2:
        raise ValueError(f"error={error!r} must be between 0 and 2, both excluded")
    floor = 1 + math.log(1 - error / 2) / score_std**2
    if floor <= 0 or correlation == 1:
        raise ValueError("every span errs by less than that: any number of layers")
    return 1 + math.floor(math.log(floor) / math.log(correlation))


def cache_saved(n_layers: int, span: int) -> float:
    """Share of the cache that one span of m layers saves, (m - 1)/(2 L): keys only, at most one half."""
    check_count(n_layers=n_layers, span=span)
    return (span - 1) / (2 * n_layers)


def multiply_adds(sizes: Any, *, causal: bool = False, span: int = 2) -> int:
    """Multiply-adds of one call: queries, keys, the map read off by unit values (P (d + n)); per layer n^2 d and 2 n D d."""
    n, H, d, D = sizes.n, sizes.n_heads, sizes.d, sizes.d_model
    first = 2 * n * D * H * d + H * visible_pairs(n, n, causal) * (d + n)
    return first + span * (2 * n * D * H * d + H * n * n * d)


def published_multiply_adds(sizes: Any, *, span: int = 2) -> int:
    """The same with the map kept from the scores: n^2 d for it, n^2 d per layer."""
    n, H, d, D = sizes.n, sizes.n_heads, sizes.d, sizes.d_model
    return (2 + 2 * span) * n * D * H * d + H * n * n * d * (1 + span)
