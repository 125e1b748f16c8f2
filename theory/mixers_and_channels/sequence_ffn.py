r"""A feed-forward network in place of attention: from which width it is uniform attention, and what it costs.

Bozic et al. 2024 (arXiv 2311.10642). Uniform attention is a linear map of rank D (the width of a token), whatever the length.
A hidden unit with a bias is linear on bounded inputs, :math:`\mathrm{relu}(z + B) - B = z` for z > -B, so D units are exact;
without biases a unit is linear on half-lines only, and :math:`\mathrm{relu}(z) - \mathrm{relu}(-z) = z` takes two: 2 D.
Less than D units have a map of smaller rank almost everywhere, so they cannot be exact.
"""

from __future__ import annotations

from typing import Any

from attnlab.theory.checks import check_count


def exact_width(width: int, hidden_bias: bool) -> int:
    """Fewest hidden units that equal uniform attention on D channels, on bounded inputs: D with hidden biases, else 2 D."""
    check_count(width=width)
    return width if hidden_bias else 2 * width


def parameters(n_max: int, width: int, hidden: int) -> int:
    """Numbers trained: 2 n_max D h weights, h + n_max D biases; quadratic in n_max at a fixed share h/(n_max D)."""
    check_count(n_max=n_max, width=width, hidden=hidden)
    return 2 * n_max * width * hidden + hidden + n_max * width


def least_error_share(width: int, hidden: int, hidden_bias: bool = True) -> float:
    r"""Least mean square error over the target's for isotropic means and an orthogonal read-out: the share of directions left.

    h units make a map of rank at most h (with biases) and catch at most h of D equally strong directions: 1 - h/D.
    """
    check_count(width=width, hidden=hidden)
    return max(0.0, 1 - hidden / exact_width(width, hidden_bias))


def multiply_adds(sizes: Any, *, causal: bool = False, hidden: int = 8, n_max: int = 12) -> int:
    """Multiply-adds of one call, whatever its length: 2 n_max D h."""
    return 2 * n_max * sizes.d_model * hidden


def state_numbers(sizes: Any, *, hidden: int = 8, n_max: int = 12) -> int:
    """Numbers per head that a decoder keeps: all inputs, from which every output is made again."""
    return n_max * sizes.d
