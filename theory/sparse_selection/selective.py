r"""Selective attention: at the start it is a short window.

Leviathan et al. 2024 (arXiv 2410.02703). With scores of the masking head N(0, s^2) each later token multiplies the weight of an
earlier one by :math:`\mathbb E\, e^{-\mathrm{relu}(s)} = \lambda = 1/2 + e^{s^2/2} \Phi(-s)` in the mean: the unmasked context is
:math:`1/(1 - \lambda)` tokens, and F grows by :math:`s/\sqrt{2\pi}` per step. Without parameters it must learn to open up.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

from attnlab.theory.checks import check_standard_deviation
from attnlab.theory.costs.visible import plain_attention


def decay_exact(score_std: float) -> float:
    r"""Mean factor per step on the weight of an earlier token, :math:`1/2 + e^{s^2/2} \Phi(-s)`."""
    check_standard_deviation(score_std=score_std)
    return 0.5 + math.exp(score_std**2 / 2) * NormalDist().cdf(-score_std)


def context(score_std: float) -> float:
    r"""Effective number of tokens, :math:`1/(1 - \lambda)`; infinite at s = 0, where nothing is masked."""
    decay = decay_exact(score_std)
    return math.inf if decay >= 1 else 1 / (1 - decay)


def masking_per_step(score_std: float) -> float:
    r"""Mean growth of F per step, :math:`s/\sqrt{2\pi}`."""
    check_standard_deviation(score_std=score_std)
    return score_std / math.sqrt(2 * math.pi)


def multiply_adds(sizes: Any, *, causal: bool = False) -> int:
    """Multiply-adds of one call: plain attention on visible pairs, and the scores of head 0 once more."""
    return plain_attention(sizes, causal) + sizes.queries * sizes.n * sizes.d


def state_numbers(sizes: Any) -> int:
    """Numbers per head that a decoder keeps: keys and values, and the last row of F, which the heads share."""
    return sizes.n * (sizes.d + sizes.d_v) + sizes.n
