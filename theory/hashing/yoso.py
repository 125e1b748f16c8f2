r"""Collisions of random hyperplanes: mean and exact variance of a hashed output, and the cost.

Unit queries and keys, tau bits, m hashes. Zeng et al. 2021 (arXiv 2111.09714) for the operator; the variance is derived.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from attnlab.theory.checks import check_count


def collision(angle: ArrayLike, n_bits: int) -> np.ndarray:
    r"""Probability that two vectors at an angle share a hash, :math:`(1 - \theta/\pi)^\tau`."""
    check_count(n_bits=n_bits)
    return (1 - np.asarray(angle, dtype=np.float64) / math.pi) ** n_bits


def joint_collision(first: ArrayLike, second: ArrayLike, between: ArrayLike, n_bits: int) -> np.ndarray:
    r"""Probability that both keys share the query's hash, :math:`(1 - (\theta_1 + \theta_2 + \theta_{12})/(2 \pi))^\tau`.

    One hyperplane leaves three vectors on one side unless it cuts one of the three pairs; each cut separates two pairs.
    """
    check_count(n_bits=n_bits)
    total = sum(np.asarray(each, dtype=np.float64) for each in (first, second, between))
    return np.maximum(1 - total / (2 * math.pi), 0.0) ** n_bits


def output_variance(query: ArrayLike, keys: ArrayLike, values: ArrayLike, n_bits: int, n_hashes: int) -> float:
    r"""Exact variance of :math:`\sum_j B_j v_j` for one query: :math:`\frac1m \sum_{jl} v_j v_l (P_{jl} - W_j W_l)`.

    Collisions of one query are not independent; :math:`\frac1m \sum_j v_j^2 W_j (1 - W_j)` is wrong on either side.
    """
    check_count(n_hashes=n_hashes)
    q, K, v = (np.asarray(x, dtype=np.float64) for x in (query, keys, values))
    unit = np.concatenate([q[None], K])
    unit = unit / np.linalg.norm(unit, axis=1, keepdims=True)
    angle = np.arccos(np.clip(unit @ unit.T, -1, 1))
    own = angle[0, 1:]
    W = collision(own, n_bits)
    joint = joint_collision(own[:, None], own[None], angle[1:, 1:], n_bits)
    np.fill_diagonal(joint, W)
    return float(v @ (joint - np.outer(W, W)) @ v / n_hashes)


def multiply_adds(sizes: Any, *, causal: bool = False, n_hashes: int = 8, n_bits: int = 2) -> int:
    """Multiply-adds of one call for all heads: hashes (n_q + n) m tau d, all pairs times values n_q n d_v."""
    hashes = (sizes.queries + sizes.n) * n_hashes * n_bits * sizes.d
    return sizes.n_heads * (hashes + sizes.queries * sizes.n * sizes.d_v)


def published_multiply_adds(sizes: Any, *, n_hashes: int = 8, n_bits: int = 2) -> int:
    """The same by buckets: hashes, and no product at all (n m d_v additions)."""
    return sizes.n_heads * (sizes.queries + sizes.n) * n_hashes * n_bits * sizes.d
