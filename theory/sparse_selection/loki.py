r"""Loki: how well the leading directions of the keys rank the scores.

Singhania et al. 2024 (arXiv 2406.02542). For a fixed query with coordinates q_c in the basis and keys of covariance diag(lam) the
approximate and exact scores correlate at :math:`\rho = \sqrt{\sum_{c \le r} q_c^2 \lambda_c/\sum_c q_c^2 \lambda_c}`:
not the explained variance unless q is isotropic. The kept mass follows from rho alone (:mod:`.retained_mass`).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import stats

from attnlab.theory.checks import check_share
from attnlab.theory.costs.visible import all_pairs
from attnlab.theory.score_ensembles.law import ScoreLaw
from attnlab.theory.score_ensembles.selection import selection_error


def score_correlation_exact(query: np.ndarray, spectrum: np.ndarray, directions: int) -> float:
    """Correlation over Gaussian keys of the scores from the first r coordinates and from all; query (d,), spectrum (d,)."""
    share = np.asarray(query, float) ** 2 * np.asarray(spectrum, float)
    return math.sqrt(share[:directions].sum() / share.sum())


def explained_variance(spectrum: np.ndarray, directions: int) -> float:
    """Share of the keys' variance in the first r directions."""
    return float(np.sum(spectrum[:directions]) / np.sum(spectrum))


def jaccard_limit(correlation: float, share: float) -> float:
    """Intersection over union of the true and the approximate largest share of many keys, jointly Gaussian scores."""
    t = stats.norm.isf(share)
    both = stats.multivariate_normal([0, 0], [[1, correlation], [correlation, 1]]).cdf([-t, -t]) / share
    return both / (2 - both)


def movement_speed_up(directions_share: float, kept_share: float) -> float:
    r"""Numbers of the cache that full attention reads per step over those read here, :math:`1/(\tfrac12 r/d + k_f)`.

    Of 2 d per key, r for the approximate scores and :math:`k_f \cdot 2 d` for the keys and values that are kept.
    """
    check_share(directions_share=directions_share, kept_share=kept_share)
    return 1 / (directions_share / 2 + kept_share)


def map_error(law: ScoreLaw, *, keep: int = 3, directions: int = 2) -> float:
    """Relative Frobenius error of the map where the directions hold all of the keys, so that scores are ranked exactly."""
    if directions < law.width:
        raise ValueError(
            f"directions={directions!r} below width={law.width}: the law is for scores that are ranked exactly, keys of rank at "
            f"most {directions}"
        )
    return selection_error(law, keep, law.n_keys)


def multiply_adds(sizes: Any, *, causal: bool = False, keep: int = 3, directions: int = 2) -> int:
    """Multiply-adds of this file: projections to r directions, approximate scores, a mask on the dense product."""
    r = min(directions, sizes.d)
    rows = (sizes.queries + sizes.n) * sizes.d * r + sizes.queries * sizes.n * r
    return sizes.n_heads * rows + all_pairs(sizes)


def published_multiply_adds(sizes: Any, *, keep: int = 3, directions: int = 2) -> int:
    """Multiply-adds with kept keys gathered."""
    kept = sizes.queries * min(keep, sizes.n) * (sizes.d + sizes.d_v)
    return multiply_adds(sizes, keep=keep, directions=directions) - all_pairs(sizes) + sizes.n_heads * kept


def state_numbers(sizes: Any, *, keep: int = 3, directions: int = 2) -> int:
    """Numbers per head that a decoder keeps: rotated keys and values."""
    return sizes.n * (sizes.d + sizes.d_v)
