r"""Extractors: the past enters linearly; how the output's variance depends on correlations; cost.

Chen 2023 (arXiv 2308.07661) for the operator; the variance is derived.
"""

from __future__ import annotations

from typing import Any

from attnlab.theory.checks import check_count, check_share


def extracted_variance(n_seen: int, correlation: float) -> float:
    r"""Variance of :math:`\frac{1}{\sqrt t} \sum_{i \le t} x_i` for unit tokens of correlation rho and equal weights.

    .. math:: 1 + \rho\, (t - 1) .

    The factor keeps it at 1 for independent tokens only.
    """
    check_count(n_seen=n_seen)
    check_share(correlation=correlation)
    return 1 + correlation * (n_seen - 1)


def n_parameters(n_tokens: int, d_model: int, full: bool = False) -> int:
    """Weights of the lags, n D, or n D^2 with a matrix per lag (SHE), without the gate's D^2."""
    check_count(n_tokens=n_tokens, d_model=d_model)
    return n_tokens * d_model ** (2 if full else 1)


def multiply_adds(sizes: Any, *, causal: bool = False) -> int:
    """Multiply-adds of one call: a tap per lag and channel (n^2 D, zeros included), the gate n D^2."""
    return sizes.n**2 * sizes.d_model + sizes.n * sizes.d_model**2
