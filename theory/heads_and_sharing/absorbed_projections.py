r"""Attention without value (and key) projections: parameters, what changes of basis make exact, and the cost.

Hosseini and Hosseini 2024 (arXiv 2403.01643) for the operators; the change of basis is derived.
"""

from __future__ import annotations

from typing import Any

from attnlab.theory.checks import check_count, check_one_of
from attnlab.theory.costs.token_projections import head_projections
from attnlab.theory.costs.visible import token_attention

PROJECTIONS = {"multi-head": 4, "optimised": 3, "efficient": 2}


def n_parameters(form: str, d_model: int) -> int:
    """Numbers of the projections: 4, 3 and 2 D^2 for "multi-head", "optimised" and "efficient"."""
    check_one_of(PROJECTIONS, form=form)
    check_count(d_model=d_model)
    return PROJECTIONS[form] * d_model**2


def multiply_adds(sizes: Any, *, causal: bool = False, form: str = "optimised") -> int:
    """Multiply-adds of one call: three or two projections, attention on visible pairs."""
    return head_projections(sizes, PROJECTIONS[form]) + token_attention(sizes, causal)


def state_numbers(sizes: Any, *, form: str = "optimised") -> int:
    """Numbers that a decoder keeps: the tokens, and keys for "optimised"."""
    return sizes.n * sizes.d_model * (2 if form == "optimised" else 1)
