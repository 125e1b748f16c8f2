r"""Reversed attention: how much each token receives, and its cost.

Ding et al. 2023 (arXiv 2304.03282) for the operator; the laws are derived.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import special

from attnlab.theory.checks import check_count, check_positive
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


def parent_recovery(n_tokens: int, margin: float, noise_std: float) -> float:
    r"""Share of children whose largest of n logits is their parent's, all with noise s, exact.

    .. math:: \mathbb E_z\, \Phi(D/s + z)^{n-1} .

    Leads over the n - 1 others share the parent's own noise z.
    """
    check_count(n_tokens=n_tokens)
    check_positive(noise_std=noise_std)
    z = np.linspace(-9.0, 9.0, 3601)
    density = np.exp(-z * z / 2)
    return float(density @ special.ndtr(margin / noise_std + z) ** (n_tokens - 1) / density.sum())


def multiply_adds(sizes: Any, *, causal: bool = False, temperature: float = 1.0) -> int:
    """Multiply-adds of one call: projections, selectors of heads n D H, the message gate n D, all pairs."""
    return head_projections(sizes) + sizes.n * sizes.d_model * (sizes.n_heads + 1) + all_token_pairs(sizes)
