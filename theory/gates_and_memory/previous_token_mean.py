r"""Predecessor and running mean: how far layers see, how far tokens are told apart, state and cost.

Hilsenbek 2024 (arXiv 2406.10906) for the class of mixers; the facts are derived.
"""

from __future__ import annotations

from typing import Any

from attnlab.theory.checks import check_count


def receptive_field(n_layers: int) -> int:
    """Tokens that L layers without the mean see, L + 1: lags 0 to L. An order-m chain needs L >= m - 1 layers."""
    check_count(n_layers=n_layers)
    return n_layers + 1


def far_sensitivity(n_seen: int) -> float:
    r"""Factor of every far token in one layer with the mean, 1/t, alike for all s < t - 1, so their order is invisible.

    .. math:: \frac{\partial y_t}{\partial x_s} = \frac1t\, \frac{\partial y_t}{\partial c_t} .
    """
    check_count(n_seen=n_seen)
    return 1 / n_seen


def multiply_adds(sizes: Any, *, causal: bool = False, widening: int = 2) -> int:
    """Multiply-adds of one call: the perceptron of 3 D inputs, n (3 + 1) w D^2."""
    return sizes.n * 4 * widening * sizes.d_model**2


def state_numbers(sizes: Any, *, widening: int = 2) -> int:
    """Numbers of the state: the last token, the sum, the count, 2 D + 1."""
    return 2 * sizes.d_model + 1
