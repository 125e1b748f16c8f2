r"""Scaled dot-product attention: how concentrated its rows are, and what it costs.

Rows of random attention: scores :math:`s_j` independent, Gaussian, of standard deviation s, n keys, :math:`W_j \propto e^{s_j}`.
This is the random energy model at inverse temperature s: below :math:`s_c = \sqrt{2 \ln n}` sums over keys are as many
terms as they look, above it the largest few score carry the row.

References: Derrida 1981 (Physical Review B 24, 2613) for the freezing transition; Vaswani et al. 2017 for the operator.
"""

from __future__ import annotations

import math
from typing import Any

from attnlab.theory.costs.visible import plain_attention


def participation(score_std: float) -> float:
    r"""Limit of :math:`n\, \mathbb E \sum_j W_j^2` for many keys below half the freezing point.

    .. math:: n \sum_j W_j^2 = \frac{\tfrac1n \sum_j e^{2 s_j}}{(\tfrac1n \sum_j e^{s_j})^2} \to
              \frac{e^{2 s^2}}{(e^{s^2/2})^2} = e^{s^2} .

    The second moment needs :math:`2 s < \sqrt{2 \ln n}`; :func:`largest_score_std` says where that ends.
    """
    if not score_std >= 0:
        raise ValueError(f"score_std={score_std!r} must be at least 0")
    return math.exp(score_std**2)


def entropy(score_std: float, n_keys: int) -> float:
    r"""Limit of the entropy of a row in nats, :math:`\ln n - s^2 / 2`, below the freezing point.

    H = ln Z - E_W s with Z = n e^{s^2/2}, and under W the scores are Gaussian with mean s^2.
    """
    if not n_keys >= 1:
        raise ValueError(f"n_keys={n_keys!r} must be at least 1")
    return math.log(n_keys) - score_std**2 / 2


def freezing_std(n_keys: int) -> float:
    r"""Score spread :math:`s_c = \sqrt{2 \ln n}` above which a row freezes on its few largest scores."""
    if not n_keys >= 1:
        raise ValueError(f"n_keys={n_keys!r} must be at least 1")
    return math.sqrt(2 * math.log(n_keys))


def largest_score_std(n_keys: int) -> float:
    """Score spread up to which :func:`participation` speaks: half the freezing point."""
    return freezing_std(n_keys) / 2


def frozen_participation(score_std: float, n_keys: int) -> float:
    r"""Limit of :math:`\mathbb E \sum_j W_j^2` above freezing, :math:`1 - s_c / s`; at finite n it lies above."""
    critical = freezing_std(n_keys)
    if not score_std > critical:
        raise ValueError(f"score_std={score_std!r} is not above the freezing point {critical:.4g} of {n_keys} keys")
    return 1 - critical / score_std


def multiply_adds(sizes: Any, *, causal: bool = False, scale: float | None = None) -> int:
    r"""Multiply-adds of one call for all heads: :math:`H P (d + d_v)`, P the visible pairs.

    ``sizes``: a record with n, queries, d, d_v, n_heads.
    """
    return plain_attention(sizes, causal)


def state_numbers(sizes: Any, *, scale: float | None = None) -> int:
    """Numbers per head that a decoder keeps: all keys and values, n (d + d_v)."""
    return sizes.n * (sizes.d + sizes.d_v)
