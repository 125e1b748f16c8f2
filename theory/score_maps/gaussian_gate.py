r"""Gaussian adaptive attention: the product of its bells is one bell; how flat the gate is; its cost.

Ioannides, Chadha and Elkins 2024 (arXiv 2401.11143) for the operator; both facts are derived.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from attnlab.theory.checks import check_positive


def one_bell(centres: ArrayLike, widths: ArrayLike) -> tuple[float, float]:
    r"""Centre and width of the product of bells, up to a constant factor, exact.

    .. math:: \frac{1}{C^2} = \sum_i \frac{1}{c_i^2}, \qquad \Delta = C^2 \sum_i \frac{\delta_i}{c_i^2} .

    The gate divides by its sum, so the factor cancels: more Gaussians fit nothing that one does not. A sum of them would.
    """
    delta, c = (np.asarray(x, dtype=np.float64) for x in (centres, widths))
    check_positive(widths=c)
    precision = (1 / c**2).sum()
    return float((delta / c**2).sum() / precision), float(1 / math.sqrt(precision))


def participation(width: float) -> float:
    r"""Limit of :math:`n \sum_t g_t^2` for a Gaussian channel and centre 0: :math:`(1 + C^{-2}) / \sqrt{1 + 2 C^{-2}}`.

    From :math:`\mathbb E e^{-a z^2 / 2} = (1 + a)^{-1/2}` at a = C^{-2} and 2 C^{-2}. 1.155 at C = 1: nearly flat.
    """
    check_positive(width=width)
    a = width**-2
    return (1 + a) / math.sqrt(1 + 2 * a)


def multiply_adds(sizes: Any, *, causal: bool = False, n_gaussians: int = 2, epsilon: float = 1e-8) -> int:
    """No products of matrices: the gate takes n D G squares and n D exponentials, which are not multiply-adds of products."""
    return 0
