r"""Rectified linear attention on random scores: size before its norm, sparsity, and cost.

Zhang, Titov and Sennrich 2021 (arXiv 2104.07012) for the operator; the laws are derived for independent Gaussian scores.
"""

from __future__ import annotations

import math
from typing import Any

from attnlab.theory.costs.visible import plain_attention


def output_size(score_std: float, n_keys: int) -> float:
    r"""Root mean square of :math:`\sum_j \mathrm{relu}(s_j) v_j` over that of a value, for independent values of mean zero.

    .. math:: \sqrt{n\, \mathbb E\, \mathrm{relu}(s)^2} = s \sqrt{n / 2},

    exact at every n. It grows with the number of keys, which is why the output needs its norm.
    """
    if not (score_std > 0 and n_keys >= 1):
        raise ValueError(f"need score_std > 0 and n_keys >= 1, got {score_std!r}, {n_keys!r}")
    return score_std * math.sqrt(n_keys / 2)


def zero_share() -> float:
    """Share of weights that are exactly zero at symmetric scores: one half."""
    return 0.5


def multiply_adds(sizes: Any, *, causal: bool = False, epsilon: float = 0.0) -> int:
    """Multiply-adds of one call for all heads: those of plain attention on visible pairs."""
    return plain_attention(sizes, causal)
