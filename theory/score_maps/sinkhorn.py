r"""Sinkhorn's iteration between queries and keys: how fast it ends, and its cost.

Kim et al. 2024 (arXiv 2403.14183) for the operator. The rate at the fixed point is Knight 2008 (SIAM Journal on Matrix
Analysis 30, 261); the bound in Hilbert's metric is Franklin and Lorenz 1989 (Linear Algebra and its Applications 114,
717).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from attnlab.theory.checks import check_positive
from attnlab.theory.costs.visible import all_pairs


def contraction(plan: ArrayLike) -> float:
    r"""Factor per full iteration near the fixed point, :math:`\sigma_2^2` of :math:`D_\mu^{-1/2} T D_\nu^{-1/2}`.

    ``plan`` T (queries, keys) at the fixed point, mu and nu its row and column sums; the largest singular value is 1. A full
    iteration is linearised by :math:`D_\nu^{-1} T^\top D_\mu^{-1} T`, whose eigenvalues are the squared singular values.
    """
    T = np.asarray(plan, dtype=np.float64)
    if T.ndim != 2 or not (T > 0).all():
        raise ValueError(f"plan of shape {T.shape} must be a matrix of positive numbers")
    scaled = T / np.sqrt(T.sum(1, keepdims=True) * T.sum(0, keepdims=True))
    return float(np.linalg.svd(scaled, compute_uv=False)[1] ** 2)


def contraction_bound(scores: ArrayLike, epsilon: float) -> float:
    r"""Bound on that factor from any start, :math:`\tanh^2(\theta/4)`.

    theta is the largest log cross-ratio of :math:`e^{S/\epsilon}`.

    Right, and useless at small epsilon: theta grows like 1/epsilon.
    """
    check_positive(epsilon=epsilon)
    S = np.asarray(scores, dtype=np.float64) / epsilon
    gaps = S[:, None, :] - S[None, :, :]
    theta = (gaps.max(-1) - gaps.min(-1)).max()
    return float(np.tanh(theta / 4) ** 2)


def multiply_adds(sizes: Any, *, causal: bool = False, epsilon: float = 0.05, n_iterations: int = 100) -> int:
    """Multiply-adds of one call for all heads: scores and output of all pairs; and 2 T n_q n exponentials, not counted here."""
    return all_pairs(sizes)
