r"""Group transport: invariant under a change of frame, and how scores grow with translations.

Miyato et al. 2024 (arXiv 2310.10375). Scores and transported values depend on :math:`g_i^{-1} g_j` alone, which
:math:`g_i \to h g_i` leaves as it is, for every h. Blocks that are not orthogonal change the scores' variance: with
[[1, t], [0, 1]] and independent standard Gaussian q, k a block of two has variance :math:`2 + t^2` instead of 2.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from attnlab.theory.costs.visible import plain_attention


def block_variance(relative: np.ndarray) -> float:
    r"""Variance of :math:`q^\top g k` of a block for standard Gaussian q, k: the sum of squares of g."""
    return float(np.square(np.asarray(relative, float)).sum())


def multiply_adds(
    sizes: Any, *, causal: bool = False, group: str = "rotations", scale: float = 1.0, n_max: int = 16
) -> int:
    """Multiply-adds of one call: plain attention; transports (2 d + 2 d_v per token and b) are products of numbers."""
    return plain_attention(sizes, causal)


def state_numbers(sizes: Any, *, group: str = "rotations", scale: float = 1.0, n_max: int = 16) -> int:
    """Numbers per head that a decoder keeps: transported keys and values."""
    return sizes.n * (sizes.d + sizes.d_v)
