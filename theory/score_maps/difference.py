r"""The difference of two maps: when amplifying it helps, and its cost.

A signal in the first map only; noise of equal size in both, with correlation rho. K = A_d / A_c is the ratio of gains. Wu et
al. 2025 (arXiv 2502.12502) for the operator; the gain is derived.
"""

from __future__ import annotations

from typing import Any

from attnlab.theory.checks import check_positive
from attnlab.theory.costs.visible import plain_attention


def noise_gain(ratio: float, correlation: float) -> float:
    r"""Power signal-to-noise ratio of the combined map over that of the first map alone.

    .. math:: G(K, \rho) = \frac{(K + \tfrac12)^2}{2 K^2 (1 - \rho) + (1 + \rho)/2} .

    The combined weight is :math:`(K + \frac12)(s + e_+) - (K - \frac12) e_-`. At K = 1/2 it is the first map, G = 1.
    """
    check_positive(ratio=ratio)
    _check(correlation)
    noise = 2 * ratio**2 * (1 - correlation) + (1 + correlation) / 2
    return (ratio + 0.5) ** 2 / noise


def best_ratio(correlation: float) -> float:
    r"""Ratio of gains that is best, :math:`K^* = (1 + \rho) / (2 (1 - \rho))`; 10 is best for rho = .905."""
    _check(correlation)
    if correlation == 1:
        raise ValueError("correlation=1.0: the gain grows for ever; there is no best ratio")
    return (1 + correlation) / (2 * (1 - correlation))


def best_gain(correlation: float) -> float:
    r"""Gain at the best ratio, :math:`1 / (1 - \rho^2)`: never below 1."""
    _check(correlation)
    return float("inf") if abs(correlation) == 1 else 1 / (1 - correlation**2)


def multiply_adds(sizes: Any, *, causal: bool = False, gain: float = 10.0, width: int = 4) -> int:
    """Multiply-adds of one call for all heads: two attentions on visible pairs, four adapters (2 d w each per token)."""
    adapters = sizes.n_heads * 2 * (sizes.queries + sizes.n) * 2 * sizes.d * width
    return 2 * plain_attention(sizes, causal) + adapters


def state_numbers(sizes: Any, **numbers: Any) -> int:
    """Numbers per head that a decoder keeps: two sets of keys, values once, n (2 d + d_v)."""
    return sizes.n * (2 * sizes.d + sizes.d_v)


def _check(correlation: float) -> None:
    if not -1 <= correlation <= 1:
        raise ValueError(f"correlation={correlation!r} must be between -1 and 1")
