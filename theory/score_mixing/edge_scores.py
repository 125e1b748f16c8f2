r"""Edge scores: additive ones know nothing about whether two nodes are of one class.

Kim and Oh 2021 (arXiv 2204.04879). Two balanced classes y = +-1 with features y mu + N(0, I_d), |mu| = m. An additive
score f(i) + g(j), and any monotone function of it, has the area under the curve 1/2 for "same class": its law is the
same for both. The product :math:`h_i \cdot h_j` has mean :math:`\pm m^2` and variance about :math:`2 m^2 + d`: AUC
:math:`\Phi(2 m^2/\sqrt{2 (2 m^2 + d)})`.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

from scipy import special

from attnlab.theory.checks import check_count, check_not_negative


def additive_auc() -> float:
    """Area under the curve of additive scores for "same class", balanced classes: one half."""
    return 0.5


def product_auc_exact(mean_norm: float, dim: int) -> float:
    r"""Area under the curve of the product for "same class", pairs of different nodes, exact.

    With :math:`x \cdot x' = (|x + x'|^2 - |x - x'|^2)/4` the lead of a pair of one class over a pair of two is the difference of
    two independent chi-squared numbers with 2 d degrees of freedom, one of them with non-centrality 4 m^2:

    .. math:: P(\chi'^2_{2d}(4 m^2) > \chi^2_{2d}) .
    """
    check_not_negative(mean_norm=mean_norm)
    check_count(dim=dim)
    return float(1 - special.ncfdtr(2 * dim, 2 * dim, 4 * mean_norm**2, 1.0))


def product_auc_approx(mean_norm: float, dim: int) -> float:
    r"""The same of the product, its law taken Gaussian: :math:`\Phi(2 m^2/\sqrt{2 (2 m^2 + d)})`."""
    check_not_negative(mean_norm=mean_norm)
    return NormalDist().cdf(2 * mean_norm**2 / math.sqrt(2 * (2 * mean_norm**2 + dim)))


def multiply_adds(sizes: Any, *, causal: bool = False, form: str = "mixed") -> int:
    """Multiply-adds of this file on all pairs: features, products unless additive, weights on features."""
    pairs = sizes.n**2 * sizes.d * (1 if form == "additive" else 2)
    return sizes.n_heads * (sizes.n * sizes.d_model * sizes.d + pairs)
