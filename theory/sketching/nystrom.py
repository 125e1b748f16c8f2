r"""Newton's inverse of a landmark matrix: its residual, how many iterations it needs, where it fails; cost.

Lu et al. 2021 (arXiv 2110.11945) for the operator; the residual is exact since all iterates are polynomials of A.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from attnlab.theory.checks import check_count
from attnlab.theory.costs.token_projections import head_projections


def residual(landmark_matrix: ArrayLike, factor: float, n_iterations: int) -> float:
    r"""Spectral norm of :math:`1 - A X_t`, exact: :math:`\rho^{2^t}`, :math:`\rho = \max |1 - \alpha \lambda^2|`.

    :math:`\alpha` = factor / \|A\|_1^2 and :math:`X_0 = \alpha A`; each iteration squares 1 - A X. It converges iff
    :math:`0 < \alpha < 2/\lambda_{\max}^2`.
    """
    A = np.asarray(landmark_matrix, dtype=np.float64)
    check_count(n_iterations=n_iterations, at_least=0)
    alpha = factor / np.abs(A).sum(0).max() ** 2
    rho = np.abs(1 - alpha * np.linalg.eigvalsh(A) ** 2).max()
    return float(rho ** (2.0**n_iterations))


def iterations_needed(condition: float, tolerance: float) -> float:
    r"""Iterations until the residual is tau, with kappa = \|A\|_1 / lambda_min: :math:`\log_2(\kappa^2 \ln(1/\tau) / 1.8)`.

    At factor 1.8, from :math:`\rho \approx 1 - 1.8/\kappa^2`: twice the logarithm of the condition.
    """
    if not (condition > 1 and 0 < tolerance < 1):
        raise ValueError(f"need condition > 1 and tolerance between 0 and 1, got {condition!r}, {tolerance!r}")
    return math.log2(condition**2 * math.log(1 / tolerance) / 1.8)


def multiply_adds(
    sizes: Any, *, causal: bool = False, n_landmarks: int = 2, n_iterations: int = 20, factor: float = 1.8
) -> int:
    """Multiply-adds of one call: three projections; per head kernels n m d + m^2 d, three products, Newton 2 T m^3.

    m landmarks, at most one per token.
    """
    n, m, d = sizes.n, min(n_landmarks, sizes.n), sizes.d
    per_head = 3 * n * m * d + 2 * m * m * d + 2 * n_iterations * m**3
    return head_projections(sizes, 3) + sizes.n_heads * per_head
