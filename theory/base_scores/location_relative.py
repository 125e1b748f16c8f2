r"""Location-relative attention: sums of moving bells over keys, drift of a copy, and cost.

Battenberg et al. 2020 (arXiv 1910.10288) for the operator; the laws are derived.
"""

from __future__ import annotations

import math
from typing import Any

from attnlab.theory.checks import check_count, check_positive


def row_sum_error(width: float, n_harmonics: int = 50) -> float:
    r"""Largest distance from 1 of a normalised bell summed over the whole numbers, by Poisson summation.

    .. math:: \sum_j \frac{e^{-(j - \mu)^2 / 2 \sigma^2}}{\sqrt{2 \pi} \sigma} - 1
              = 2 \sum_{h \ge 1} e^{-2 \pi^2 h^2 \sigma^2} \cos 2 \pi h \mu ,

    largest at whole mu. One harmonic, :math:`2 e^{-2 \pi^2 \sigma^2}`, is enough from sigma of .4 on; away from the ends of the
    keys.
    """
    check_positive(width=width)
    check_count(n_harmonics=n_harmonics)
    return 2 * sum(math.exp(-2 * (math.pi * h * width) ** 2) for h in range(1, n_harmonics + 1))


def copy_accuracy(step_noise: float, step: int) -> float:
    r"""Share of copies whose centre still rounds to the right key after ``step`` steps, whatever the length of the text.

    .. math:: P\bigl(|\mathcal N(0, s^2 t)| < \tfrac12\bigr) = \mathrm{erf}\frac{1}{2 s \sqrt{2 t}},

    for steps 1 + s z with independent normal z. Half at :math:`t = .55 / s^2`.
    """
    check_positive(step_noise=step_noise, step=step)
    return math.erf(1 / (2 * step_noise * math.sqrt(2 * step)))


def content_mass(margin: float, n_keys: int) -> float:
    r"""The rival's failure: mass of the right key for content attention, :math:`e^m / (e^m + n - 1)`, whatever the step."""
    check_count(n_keys=n_keys)
    return 1 / (1 + (n_keys - 1) * math.exp(-margin))


def multiply_adds(
    sizes: Any, *, causal: bool = False, version: str = "V2", n_mixtures: int = 2, hidden: int = 8, width: float = 1.0
) -> int:
    """Multiply-adds of one call for all heads: n_q (d h + 3 K h) for the mixtures, n_q n d_v for the values; and n_q n K exp."""
    return sizes.n_heads * sizes.queries * (hidden * (sizes.d + 3 * n_mixtures) + sizes.n * sizes.d_v)


def state_numbers(sizes: Any, *, n_mixtures: int = 2, **numbers: Any) -> int:
    """Numbers per head that a decoder keeps beside the memory: the centres."""
    return n_mixtures
