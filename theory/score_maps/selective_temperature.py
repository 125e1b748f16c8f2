r"""Temperatures per query: what they must do as the text grows, what they spare the weights, and their cost.

Zhang et al. 2024 (arXiv 2411.12892) for the operator; the closed forms are derived. A temperature multiplies the logits.
"""

from __future__ import annotations

import math
from typing import Any

from attnlab.theory.checks import check_count, check_positive
from attnlab.theory.costs.token_projections import head_projections
from attnlab.theory.costs.visible import token_attention


def peak(temperature: float, gap: float, n_keys: int) -> float:
    r"""Weight of one key ``gap`` above n - 1 equal ones, :math:`e^{\tau g} / (e^{\tau g} + n - 1)`."""
    check_count(n_keys=n_keys)
    return 1 / (1 + (n_keys - 1) * math.exp(-temperature * gap))


def constant_peak_temperature(weight: float, gap: float, n_keys: int) -> float:
    r"""Temperature that keeps that weight p, :math:`(\ln(n - 1) + \ln \frac{p}{1-p}) / g`: a slope of 1/g in ln n."""
    check_positive(gap=gap)
    check_count(n_keys=n_keys, at_least=2)
    if not 0 < weight < 1:
        raise ValueError(f"weight={weight!r} must be between 0 and 1, both excluded")
    return (math.log(n_keys - 1) + math.log(weight / (1 - weight))) / gap


def constant_entropy_temperature(entropy: float, score_std: float, n_keys: int) -> float:
    r"""The law for Gaussian scores, :math:`\sqrt{2 (\ln n - H)} / s`, from :math:`H = \ln n - \tau^2 s^2 / 2`: a square root."""
    check_positive(score_std=score_std)
    check_count(n_keys=n_keys)
    return math.sqrt(max(2 * (math.log(n_keys) - entropy), 0.0)) / score_std


def smallest_norm(gap: float, key_contrast: float, angle: float) -> float:
    r"""Least Frobenius norm of W without temperatures, :math:`g / (|\Delta k| \sin t)`.

    One query must see the logit gap g between two keys, another at angle t to it no gap. With a temperature per query,
    :math:`g / |\Delta k|` at tau = 1 is enough: the second turns its own down.
    """
    check_positive(gap=gap, key_contrast=key_contrast, angle=angle)
    return gap / (key_contrast * math.sin(angle))


def multiply_adds(sizes: Any, *, causal: bool = False) -> int:
    """Multiply-adds of one call: projections, two factors per head and token (2 n D H), attention on visible pairs."""
    factors = 2 * sizes.n * sizes.d_model * sizes.n_heads
    return head_projections(sizes) + factors + token_attention(sizes, causal)
