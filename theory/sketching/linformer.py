r"""Random projections of the tokens: variance of a sketched output, and the cost.

R (k, n) with independent entries of variance 1/k, the output p R^T R v in place of p . v. Wang et al. 2020 (arXiv 2006.04768) for
the operator; the moments are elementary.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from attnlab.theory.checks import check_count


def sketch_variance(weights: ArrayLike, values: ArrayLike, n_projected: int) -> float:
    r"""Variance of :math:`p R^\top R v` for Gaussian R, exact: :math:`(|p|^2 |v|^2 + (p \cdot v)^2)/k`; its mean is p . v."""
    p, v = np.asarray(weights, dtype=np.float64), np.asarray(values, dtype=np.float64)
    check_count(n_projected=n_projected)
    return float(((p @ p) * (v @ v) + (p @ v) ** 2) / n_projected)


def relative_error(weights: ArrayLike, values: ArrayLike, n_projected: int) -> float:
    r"""Root mean square error over the rms output, for maps (n, n) and values (n, columns).

    .. math:: \sqrt{\frac{\sum_i |p_i|^2 \sum_c |v_c|^2 + |PV|_F^2}{k\, |PV|_F^2}} .

    About sqrt(n/k) for independent values of mean zero: above 100 % for every k < n, whatever the logarithm of n. Small only
    where values share a mean.
    """
    P, V = np.asarray(weights, dtype=np.float64), np.asarray(values, dtype=np.float64)
    check_count(n_projected=n_projected)
    out = ((P @ V) ** 2).sum()
    return float(np.sqrt(((P**2).sum() * (V**2).sum() + out) / (n_projected * out)))


def multiply_adds(sizes: Any, *, causal: bool = False, n_projected: int = 3) -> int:
    """Multiply-adds of one call for all heads: projections k n (d + d_v), attention n_q k (d + d_v)."""
    return sizes.n_heads * n_projected * (sizes.n + sizes.queries) * (sizes.d + sizes.d_v)
