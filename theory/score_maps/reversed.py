r"""Reversed attention: how much each token receives, and its cost.

Ding et al. 2023 (arXiv 2304.03282) for the operator; the laws are derived.
"""

from __future__ import annotations

import math
from typing import Any

from attnlab.theory.checks import check_count
from attnlab.theory.costs.token_projections import head_projections
from attnlab.theory.costs.visible import all_token_pairs


def received_mass(n_children: int, n_tokens: int, margin: float) -> float:
    r"""Mass that a token with c children receives when each child has logit ``margin`` D on its parent, 0 elsewhere, exact.

    .. math:: \frac{c\, e^D + n - c}{e^D + n - 1} .

    A leaf receives n / (e^D + n - 1); all tokens together n. Row-normalised, every token reads mass 1.
    """
    check_count(n_tokens=n_tokens)
    check_count(n_children=n_children, at_least=0)
    grown = math.exp(margin)
    return (n_children * grown + n_tokens - n_children) / (grown + n_tokens - 1)


def received_variance(score_std: float, n_tokens: int) -> float:
    r"""Limit of the variance of the mass received, :math:`(e^{s^2} - 1)/n`, for independent Gaussian scores."""
    check_count(n_tokens=n_tokens)
    return math.expm1(score_std**2) / n_tokens


def multiply_adds(sizes: Any, *, causal: bool = False, temperature: float = 1.0) -> int:
    """Multiply-adds of one call: projections, selectors of heads n D H, the message gate n D, all pairs."""
    return head_projections(sizes) + sizes.n * sizes.d_model * (sizes.n_heads + 1) + all_token_pairs(sizes)
