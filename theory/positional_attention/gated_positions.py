r"""Gated positional attention: how nearly a head is a convolution.

d'Ascoli et al. 2021 (arXiv 2103.10697). A head's positional map :math:`\propto e^{-\alpha |\delta - \Delta|^2}`
factorises in the interior: its centre weight is :math:`\theta(\alpha)^{-2}`,
:math:`\theta(\alpha) = \sum_{t \in \mathbb Z} e^{-\alpha t^2}` (half-integer centres: theta of the shifted sum, shared
by four cells). :math:`\alpha/\pi` is its form for small alpha only. Heads tend to pure shifts as alpha grows: the
layer is then a convolution, up to about 1 - w_0.
"""

from __future__ import annotations

import math
from typing import Any

from attnlab.theory.checks import check_positive
from attnlab.theory.costs.token_projections import head_projections


def theta(locality: float, offset: float = 0.0) -> float:
    r"""Sum of :math:`e^{-\alpha (t + \text{offset})^2}` over all integers."""
    check_positive(locality=locality)
    far = math.ceil(math.sqrt(750 / locality)) + 1
    return math.fsum(math.exp(-locality * (t + offset) ** 2) for t in range(-far, far + 1))


def centre_weight_exact(locality: float) -> float:
    """Weight of the cell that an interior head looks at, integer centre."""
    return theta(locality) ** -2


def centre_weight_small(locality: float) -> float:
    """Its limit for small locality, alpha/pi."""
    return locality / math.pi


def gate_at_start(logit: float = 1.0) -> float:
    """Share of the positional map, sigma(1) = .7311 at the start."""
    return 1 / (1 + math.exp(-logit))


def multiply_adds(sizes: Any, *, causal: bool = False, locality: float = 1.0) -> int:
    """Multiply-adds of one call: four projections, scores, and both maps on the values."""
    return head_projections(sizes) + 3 * sizes.n_heads * sizes.n**2 * sizes.d
