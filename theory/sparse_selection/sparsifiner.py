r"""Sparsifiner: a low-rank prediction of the scores retains mass through its correlation with them.

Wei et al. 2023 (arXiv 2303.13755). For keys whose covariance has eigenvalues lam and an isotropic query, a predictor that sees r
directions correlates at :math:`\rho = \sqrt{\sum_{c \le r} \lambda_c/\sum \lambda_c}`, and the kept share f holds
:math:`\Phi(\rho s - t)` of the mass (:mod:`.retained_mass`).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from attnlab.theory.costs.visible import all_pairs
from attnlab.theory.sparse_selection.retained_mass import proxy_mass_limit


def correlation(spectrum: np.ndarray, rank: int) -> float:
    """Correlation of scores from the r leading directions with the full scores, isotropic query."""
    spectrum = np.sort(np.asarray(spectrum, float))[::-1]
    return math.sqrt(spectrum[:rank].sum() / spectrum.sum())


def retained_mass_limit(spectrum: np.ndarray, rank: int, score_std: float, share: float) -> float:
    """Mass that the predicted largest share of the keys holds."""
    return proxy_mass_limit(score_std, share, correlation(spectrum, rank))


def predictor_share(n_tokens: int, dim: int, width: int, rank: int) -> float:
    """Multiply-adds of the predictor with a dense basis over those of attention (of n^2 2 d)."""
    predictor = 2 * n_tokens * dim * width + 2 * n_tokens * rank * width + n_tokens**2 * rank
    return predictor / (2 * n_tokens**2 * dim)


def multiply_adds(sizes: Any, *, causal: bool = False, keep: int = 3, rank: int = 2, n_max: int = 16) -> int:
    """Multiply-adds of this file: the predictor, and a mask on the dense product."""
    c = max(1, sizes.d // 2)
    projected = (sizes.queries + sizes.n) * sizes.d * c
    return sizes.n_heads * (
        projected + (sizes.n + sizes.queries) * c * rank + sizes.queries * rank * sizes.n
    ) + all_pairs(sizes)
