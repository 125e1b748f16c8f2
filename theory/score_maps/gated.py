r"""Gated attention: what a head needs to do nothing, with a gate and without, and the cost.

Bondarenko et al. 2023 (arXiv 2306.12929) for the operator; the gaps are derived.
"""

from __future__ import annotations

import math
from typing import Any

from attnlab.theory.checks import check_count
from attnlab.theory.costs.token_projections import head_projections
from attnlab.theory.costs.visible import token_attention


def softmax_gap_to_rest(rest: float, n_keys: int) -> float:
    r"""Logit gap at which softmax leaves the share ``rest`` of a row off one idle key: :math:`\ln\frac{(n-1)(1-r)}{r}`.

    Finite gaps never give 0, and the gap grows like ln n and like ln 1/r: what makes outliers of activations.
    """
    check_count(n_keys=n_keys, at_least=2)
    return math.log(n_keys - 1) + gate_logit_to_rest(rest)


def gate_logit_to_rest(rest: float) -> float:
    r"""Size of the gate's logit that leaves the share ``rest`` of a row: :math:`\ln \frac{1-r}{r}`, whatever the length."""
    if not 0 < rest < 1:
        raise ValueError(f"rest={rest!r} must be between 0 and 1, both excluded")
    return math.log((1 - rest) / rest)


def multiply_adds(sizes: Any, *, causal: bool = False) -> int:
    """Multiply-adds of one call: projections, a gate per head and token (n D H), attention on visible pairs."""
    return head_projections(sizes) + sizes.n * sizes.d_model * sizes.n_heads + token_attention(sizes, causal)
