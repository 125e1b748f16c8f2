r"""Random subsets of keys: variance and bias of the output, which averaging over subsets does not remove.

m of n keys without replacement, o_hat the softmax over them. With :math:`f = n (n - m)/((n - 1) m)` the ratio of sums has, by the
delta method, :math:`\mathrm{Var}\, \hat o \approx f \sum_j p_j^2 (v_j - o)^2` and bias
:math:`-f \sum_j p_j^2 (v_j - o)`: an ensemble of many subsets converges to o plus the bias. Hussain et al. 2023 (arXiv
2306.01705) for the operator; the moments are derived here.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from attnlab.theory.checks import check_count
from attnlab.theory.costs.visible import all_pairs
from attnlab.theory.score_ensembles.law import ScoreLaw
from attnlab.theory.score_ensembles.sampling import subset_error


def subset_factor(n_keys: int, n_kept: int) -> float:
    """f = n (n - m)/((n - 1) m), the finite-population factor of a mean of m of n."""
    check_count(at_least=2, n_keys=n_keys)
    check_count(n_kept=n_kept)
    return n_keys * (n_keys - n_kept) / ((n_keys - 1) * n_kept)


def output_variance_approx(weights: np.ndarray, values: np.ndarray, n_kept: int) -> np.ndarray:
    """Variance of the output per channel over subsets; weights (key,), values (key, width). To first order in 1/m."""
    gap = values - weights @ values
    return subset_factor(len(weights), n_kept) * (weights**2 @ gap**2)


def output_bias_approx(weights: np.ndarray, values: np.ndarray, n_kept: int) -> np.ndarray:
    """Mean of the output over subsets less the full output, per channel, to the same order."""
    gap = values - weights @ values
    return -subset_factor(len(weights), n_kept) * (weights**2 @ gap)


def map_error(law: ScoreLaw, *, reduction: int = 2, own: bool = False) -> float:
    """Relative Frobenius error of the map on scores of this law, without the query's own key."""
    if own:
        raise ValueError("own=True: a law of scores does not tell that of the query's own key; take own=False")
    return subset_error(law, -(-law.n_keys // reduction))


def multiply_adds(sizes: Any, *, causal: bool = False, reduction: int = 2, own: bool = True) -> int:
    """Multiply-adds of this file, a mask on the dense product."""
    return all_pairs(sizes)


def published_multiply_adds(sizes: Any, *, reduction: int = 2, own: bool = True) -> int:
    """Multiply-adds on gathered keys, H n m (d + d_v)."""
    return sizes.n_heads * sizes.queries * -(-sizes.n // reduction) * (sizes.d + sizes.d_v)


def state_numbers(sizes: Any, *, reduction: int = 2, own: bool = True) -> int:
    """Numbers per head that a decoder keeps: all keys and values."""
    return sizes.n * (sizes.d + sizes.d_v)
