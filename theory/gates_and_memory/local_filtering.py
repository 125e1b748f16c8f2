r"""Localized filtering: rank and reach of its filters, their parameters, and the cost.

Wu et al. 2023 (arXiv 2311.15786) for the operator; the ranks are derived.
"""

from __future__ import annotations

from typing import Any

from attnlab.theory.checks import check_count
from attnlab.theory.costs.token_projections import head_projections
from attnlab.theory.costs.visible import token_attention


def tap_rank(lag: int, d_model: int) -> int:
    """Greatest rank of the linear tap on x_{t - lag}: D/2 at lags 0 and 2, D at lag 1 (two paths), 0 from lag 3 on.

    So at most D/2 codes of the token two places back can be told apart.
    """
    check_count(d_model=d_model)
    check_count(lag=lag, at_least=0)
    return {0: d_model // 2, 1: d_model, 2: d_model // 2}.get(lag, 0)


def n_filter_parameters(d_model: int) -> int:
    """Numbers of both filters with their biases, 2 D^2 + 3 D / 2."""
    check_count(d_model=d_model)
    return 2 * d_model**2 + 3 * d_model // 2


def multiply_adds(sizes: Any, *, causal: bool = False, epsilon: float = 1e-6) -> int:
    """Multiply-adds of one call: projections, filters (2 n D^2), attention on visible pairs."""
    filters = 4 * sizes.n * sizes.d_model * max(sizes.d_model // 2, 1)
    return head_projections(sizes) + filters + token_attention(sizes, causal)


def state_numbers(sizes: Any, **numbers: Any) -> int:
    """Numbers that a decoder keeps for all heads: keys, values, and the last two tokens."""
    return 2 * sizes.n_heads * sizes.n * sizes.d + 2 * sizes.d_model
