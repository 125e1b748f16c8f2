r"""ReGLA's refined gate: the gate value it makes, its gradient at saturation, state and cost.

Lu et al. 2025 (arXiv 2502.01578) for the operator; the laws are derived.
"""

from __future__ import annotations

import math
from typing import Any

from attnlab.theory.checks import check_positive, check_share
from attnlab.theory.costs.token_projections import head_projections


def refined(gate: float, refine: float) -> float:
    r"""The refined gate, :math:`g = f + (2 r - 1) f (1 - f)`, equal to :math:`(1-r) f^2 + r (1 - (1-f)^2)`; r = 1/2 gives f."""
    check_share(gate=gate, refine=refine)
    return gate + (2 * refine - 1) * gate * (1 - gate)


def plain_logit(timescale: float) -> float:
    r"""Logit of a plain gate that remembers T tokens, g = 1 - 1/T: :math:`\ln(T - 1)`."""
    check_positive(excess=timescale - 1)
    return math.log(timescale - 1)


def refined_logit(timescale: float) -> float:
    r"""Logit of f with r = 1 for the same g: :math:`1 - (1-f)^2 = 1 - 1/T`, so :math:`\ln(\sqrt T - 1)`, about half."""
    check_positive(excess=timescale - 1)
    return math.log(math.sqrt(timescale) - 1)


def gradient_ratio(gap: float) -> float:
    r"""Gradient dg/da refined (r = 1) over plain, at the same g = 1 - eps: :math:`2 / (1 + \sqrt\epsilon)`.

    Plain: eps (1 - eps). Refined: 2 f (1 - f)^2 with 1 - f = sqrt eps. At most 2, approached as the gate closes: a constant, no
    change of exponent.
    """
    if not 0 < gap < 1:
        raise ValueError(f"gap={gap!r} must be between 0 and 1, both excluded")
    return 2 / (1 + math.sqrt(gap))


def state_variance(gate: float, n_tokens: int) -> float:
    r"""Variance of a state of independent unit inputs after t tokens, :math:`(1 - g^{2t})/(1 - g^2)`; about T/2 in the end."""
    check_share(gate=gate)
    return float(n_tokens) if gate == 1 else (1 - gate ** (2 * n_tokens)) / (1 - gate**2)


def multiply_adds(sizes: Any, *, causal: bool = False, epsilon: float = 1e-6) -> int:
    """Multiply-adds of one call: six projections, the map times values (n^2 d per head); the map is no product."""
    return head_projections(sizes, 6) + sizes.n_heads * sizes.n**2 * sizes.d


def published_multiply_adds(sizes: Any, chunk: int = 64) -> int:
    """In chunks of C tokens, as published: per token C d inside and 2 d^2 through the state, per head."""
    return head_projections(sizes, 6) + sizes.n_heads * sizes.n * (2 * chunk * sizes.d + 2 * sizes.d**2)


def state_numbers(sizes: Any, **numbers: Any) -> int:
    """Numbers of the state of all heads, H d^2."""
    return sizes.n_heads * sizes.d**2
