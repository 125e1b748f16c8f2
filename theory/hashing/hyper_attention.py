r"""HyperAttention: how hard a map is to sample (alpha, kappa), the variance of sampled row sums, and the cost.

Han et al. 2024 (arXiv 2310.05869) define :math:`\alpha = n \max_j |P e_j|^2`, from the largest column of the normalised map,
and kappa, the spread of the row sums that are left without the heavy entries. For queries N(0, a) and keys N(0, b) per
channel, scores q . k without a root, the forms below are derived; the variance of a sampled row sum is exact for every row.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from attnlab.theory.checks import check_count, check_not_negative
from attnlab.theory.hashing.sampling import caught_square_limit
from attnlab.theory.score_ensembles.law import ScoreLaw
from attnlab.theory.score_ensembles.sampling import shared_samples_error


def row_sum_variance_exact(weights: ArrayLike, n_samples: int) -> np.ndarray:
    r"""Variance of the estimate :math:`\frac nm \sum_r A_{i l_r}` over its square mean, :math:`(n \sum_j P_{ij}^2 - 1)/m`.

    ``weights`` (..., key) are rows P of sum 1; m = ``n_samples`` uniform draws with replacement.
    """
    check_count(n_samples=n_samples)
    P = np.asarray(weights, dtype=np.float64)
    return (P.shape[-1] * np.square(P).sum(-1) - 1) / n_samples


def row_sum_variance_limit(query_norm: float, key_std: float, n_samples: int) -> float:
    r"""The same for many Gaussian keys, :math:`(e^{b |q|^2} - 1)/m`, b = ``key_std`` squared: it depends on the row."""
    check_count(n_samples=n_samples)
    check_not_negative(query_norm=query_norm, key_std=key_std)
    return math.expm1((key_std * query_norm) ** 2) / n_samples


def column_weight_limit(key_norm: float, query_std: float, key_std: float, dim: int) -> float:
    r"""n |P e_j|^2 for many tokens, :math:`(1 + 2 a b)^{-d/2} \exp(2 a |k_j|^2/(1 + 2 a b))`, with a, b the variances.

    Rows have :math:`P_{ij} \approx e^{q_i \cdot k_j - b |q_i|^2/2}/n`; the mean over queries of its square is a Gaussian
    integral. Its mean over keys is :math:`(1 - 2 a b)^{-d/2}`, about :math:`e^{s^2}` with s^2 = a b d where a b is small.
    """
    check_not_negative(key_norm=key_norm)
    check_count(dim=dim)
    a, b = query_std**2, key_std**2
    return (1 + 2 * a * b) ** (-dim / 2) * math.exp(2 * a * key_norm**2 / (1 + 2 * a * b))


def kappa_limit(largest_query: float, smallest_query: float, key_std: float) -> float:
    r"""Largest over smallest row sum without a mask, :math:`e^{b (|q|_{max}^2 - |q|_{min}^2)/2}`, many keys."""
    check_not_negative(largest_query=largest_query, smallest_query=smallest_query)
    return math.exp(key_std**2 * (largest_query**2 - smallest_query**2) / 2)


def map_error(law: ScoreLaw, *, block: int = 2, samples: int = 2, bits: int = 3) -> float:
    """Relative Frobenius error of the map: the own block of sorted hashes exactly, samples for the rest.

    For as many buckets as blocks, n/b = 2^bits: what larger blocks catch is known only between two limits.
    """
    if 2**bits * block != law.n_keys:
        raise ValueError(
            f"block={block!r}, bits={bits!r}: need 2^bits blocks, n_keys = {2**bits * block}, not {law.n_keys}"
        )
    caught = caught_square_limit(law, block)
    return shared_samples_error(law, samples, exact_share=caught, exact_keys=block / law.n_keys)


def multiply_adds(sizes: Any, *, causal: bool = False, block: int = 2, samples: int = 2, bits: int = 3) -> int:
    """Multiply-adds of one call: codes of queries and keys, then block and samples for every (padded) place of a block."""
    blocks = -(-sizes.n // block)
    places = blocks * -(-sizes.queries // blocks)
    seen = min(sizes.n, block) + samples
    return sizes.n_heads * ((sizes.queries + sizes.n) * bits * sizes.d + places * seen * (sizes.d + sizes.d_v))


def state_numbers(sizes: Any, *, block: int = 2, samples: int = 2, bits: int = 3) -> int:
    """Numbers per head that a decoder keeps: all keys and values."""
    return sizes.n * (sizes.d + sizes.d_v)
