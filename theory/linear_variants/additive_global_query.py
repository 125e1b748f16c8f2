r"""SwiftFormer's global query: one step of power iteration, and how it grows with the length.

Shaker et al. 2023 (arXiv 2303.15446) for the operator; the identity is derived.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from attnlab.theory.checks import check_count


def global_query(queries: ArrayLike, weight: ArrayLike) -> np.ndarray:
    r"""The global query from the Gram matrix of unit queries alone, exact.

    .. math:: G = \frac{\sqrt n\, C w}{\sqrt{w^\top C w}}, \qquad C = \frac1n \sum_i \hat q_i \hat q_i^\top :

    one step of power iteration from w. ``queries`` (n, D), any length.
    """
    q, w = np.asarray(queries, dtype=np.float64), np.asarray(weight, dtype=np.float64)
    q = q / np.linalg.norm(q, axis=1, keepdims=True)
    C = q.T @ q / len(q)
    return math.sqrt(len(q)) * C @ w / math.sqrt(w @ C @ w)


def isotropic_size_limit(n_tokens: int, dim: int) -> float:
    r"""Length of G for many queries in all directions, C = 1/D: :math:`\sqrt{n / D}`: it knows the number of tokens."""
    check_count(n_tokens=n_tokens, dim=dim)
    return math.sqrt(n_tokens / dim)


def multiply_adds(sizes: Any, *, causal: bool = False) -> int:
    """Multiply-adds of one call: four projections n D^2, weights and global query n D each."""
    D = sizes.d_model
    return sizes.n * (4 * D * D + 2 * D)
