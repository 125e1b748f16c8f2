r"""Threshold relative attention: how long a context it stands without a false survivor.

Opper et al. 2025 (arXiv 2503.23174). If irrelevant scores are N(-m, 1) no false key survives among n with probability
:math:`(1 - \Phi(-m))^n`: a horizon of :math:`1/\Phi(-m)` keys. What does not survive dilutes nothing, where a softmax
loses weight with every key.
"""

from __future__ import annotations

from statistics import NormalDist
from typing import Any

from attnlab.theory.checks import check_count
from attnlab.theory.costs.visible import all_pairs


def no_false_survivor_exact(margin: float, n_keys: int) -> float:
    r"""Probability that none of n independent scores N(-m, 1) is above 0."""
    check_count(n_keys=n_keys)
    return (1 - NormalDist().cdf(-margin)) ** n_keys


def horizon(margin: float) -> float:
    r"""Number of keys with one false survivor in the mean, :math:`1/\Phi(-m)`."""
    return 1 / NormalDist().cdf(-margin)


def multiply_adds(sizes: Any, *, causal: bool = False, epsilon: float = 0.0) -> int:
    """Multiply-adds of one call: explicit scores and weights, hidden pairs too."""
    return all_pairs(sizes)


def state_numbers(sizes: Any, *, epsilon: float = 0.0) -> int:
    """Numbers per head that a decoder keeps: keys and values."""
    return sizes.n * (sizes.d + sizes.d_v)
