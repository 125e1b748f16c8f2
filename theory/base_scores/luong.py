r"""Luong's scores: when an additive score ranks keys alike for every query, and what the scores cost.

Luong, Pham and Manning 2015 (arXiv 1508.04025) for the operator; the law is derived.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from attnlab.theory.checks import check_count, check_positive
from attnlab.theory.costs.visible import all_pairs, plain_attention


def static_share_limit(weight_scale: float) -> float:
    r"""Size of what a small additive score knows of pairs, over what it knows of queries and keys alone.

    .. math:: \tanh(a + b) = (a + b) - \tfrac13 (a + b)^3 + \dots \;\Rightarrow\;
              \frac{\mathrm{rms}(\text{pair})}{\mathrm{rms}(\text{main})} = \epsilon^2 + O(\epsilon^4),

    for independent standard normal pre-activations a, b of weights scaled by epsilon: the pair terms are
    :math:`a^2 b + a b^2` with the part along a and b taken out, :math:`(a^2 - 1) b + a (b^2 - 1)` of variance 4, against
    a + b of variance 2; the ratio is :math:`\epsilon^2 \sqrt{4/2} = \sqrt 2\, \epsilon^2`. So with small weights every query
    ranks the keys alike, and the query's own term cancels in the softmax.
    """
    check_positive(weight_scale=weight_scale)
    return math.sqrt(2) * weight_scale**2


def pair_share(weight_scale: float, nodes: int = 80) -> float:
    r"""The same ratio at any scale, :math:`\sqrt{\text{pair} / \text{main}}` of :func:`variances`."""
    main, pair = variances(weight_scale, nodes)
    return math.sqrt(pair / main)


def variances(weight_scale: float, nodes: int = 80) -> tuple[float, float]:
    r"""Variance of :math:`\tanh(\epsilon (a + b))` by its sources: queries and keys alone (together), and pairs; exact.

    a and b standard normal. Main effects :math:`g(a) = \mathbb E_b \tanh(\epsilon (a + b))` and g(b); the pair term is what is
    left. By a Gauss-Hermite rule.
    """
    check_positive(weight_scale=weight_scale)
    check_count(nodes=nodes, at_least=2)
    x, w = np.polynomial.hermite_e.hermegauss(nodes)
    w = w / w.sum()
    f = np.tanh(weight_scale * (x[:, None] + x[None, :]))
    main = 2 * (w * (f @ w) ** 2).sum()  # the mean of f is 0 by symmetry
    return float(main), float(w @ f**2 @ w - main)


def multiply_adds(sizes: Any, *, causal: bool = False, score: str = "general", hidden: int = 8) -> int:
    """Multiply-adds of one call for all heads.

    General: n_q d^2 for W and plain attention on visible pairs. Concat: (n_q + n) d h for the projections, n_q n h for the
    read-out, n_q n d_v for the values, hidden pairs included (and n_q n h tanh).
    """
    if score == "general":
        return sizes.n_heads * sizes.queries * sizes.d**2 + plain_attention(sizes, causal)
    return additive_scores(sizes, hidden) + all_pairs(sizes) - sizes.n_heads * sizes.queries * sizes.n * sizes.d


def additive_scores(sizes: Any, hidden: int) -> int:
    """Multiply-adds of additive scores for all heads: H ((n_q + n) d h + n_q n h)."""
    return sizes.n_heads * hidden * ((sizes.queries + sizes.n) * sizes.d + sizes.queries * sizes.n)


def state_numbers(sizes: Any, *, score: str = "general", hidden: int = 8) -> int:
    """Numbers per head that a decoder keeps of the encoder: keys (projected ones for concat) and values."""
    return sizes.n * ((sizes.d if score == "general" else hidden) + sizes.d_v)
