r"""Compact pooling: rankings of tokens under two contexts, and the cost; its bounds are in ``pooling``.

Mehta, Rangwala and Ramakrishnan 2019 (arXiv 1912.00835) for the operator; the sign is derived.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike


def ranking_agreement(projection: ArrayLike, first: ArrayLike, second: ArrayLike) -> np.ndarray:
    r"""Kendall's tau of each head's ranking of tokens under two contexts: :math:`\mathrm{sign}(p_i \cdot c\; p_i \cdot c')`.

    Without the norm over heads: scores are one direction of the tokens times a signed number, so rankings are equal or
    reversed. The norm mixes heads and leaves only bounds. ``projection`` (D, m), contexts (D,).
    """
    P = np.asarray(projection, dtype=np.float64)
    return np.sign((np.asarray(first) @ P) * (np.asarray(second) @ P))


def multiply_adds(sizes: Any, *, causal: bool = False, n_heads: int = 4, normalised: bool = True) -> int:
    """Multiply-adds of one call: D m for the context, n D m for the scores, m n D for the pooling."""
    return sizes.d_model * n_heads * (1 + 2 * sizes.n)
