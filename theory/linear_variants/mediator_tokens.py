r"""Mediator tokens: how near the identity and how sharp their map can be, and its cost.

P = P_2 P_1 with P_1 (m, n) and P_2 (n, m) row-stochastic. Han et al. 2024 (arXiv 2312.08874) for the operator; the bounds are
derived.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from attnlab.theory.checks import check_count
from attnlab.theory.costs.token_projections import head_projections


def distance_from_identity_bound(n_tokens: int, n_mediators: int) -> float:
    r"""Least :math:`|1 - P|_F^2` of any map of rank m, n - m (Eckart and Young): why a depthwise term is added."""
    check_count(n_tokens=n_tokens, n_mediators=n_mediators)
    return float(max(n_tokens - n_mediators, 0))


def largest_weight_bound(collect: ArrayLike) -> float:
    r"""No weight of P exceeds the largest of P_1: rows of P are averages of rows of P_1. Sharpness is set by collecting alone."""
    return float(np.asarray(collect, dtype=np.float64).max())


def dobrushin(matrix: ArrayLike) -> float:
    r"""Dobrushin's coefficient of a row-stochastic matrix, the largest total variation between two rows; submultiplicative."""
    P = np.asarray(matrix, dtype=np.float64)
    return float(np.abs(P[:, None] - P[None]).sum(-1).max() / 2)


def multiply_adds(sizes: Any, *, causal: bool = False, mediators: tuple[int, int] = (1, 2), table: int = 3) -> int:
    """Multiply-adds of one call: projections, four products with m mediators per head (4 m n d), the 3 x 3 kernels (9 n D)."""
    m = mediators[0] * mediators[1]
    return head_projections(sizes) + sizes.n_heads * 4 * m * sizes.n * sizes.d + 9 * sizes.n * sizes.d_model
