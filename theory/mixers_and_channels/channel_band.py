r"""A band over channels: it finds interactions of neighbours, if the order of channels means something.

Wang et al. 2020 (arXiv 1910.03151). Targets :math:`t_c = \sum_l w_l\, y_{c + l}` of independent pooled inputs: a fit
with k taps explains :math:`\sum_{|l| \le (k - 1)/2} w_l^2/\sum_l w_l^2`, so the best k is the planted band. After a
random permutation of the channels only the tap at lag 0 survives: :math:`w_0^2/\sum_l w_l^2` for every k.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from attnlab.theory.checks import check_count


def published_size(channels: int) -> int:
    """Kernel size of the paper, t = int((log2 C + 1)/2), t + 1 if even."""
    check_count(channels=channels)
    t = int(abs((math.log2(channels) + 1) / 2))
    return t if t % 2 else t + 1


def explained_by_band(weights: np.ndarray, size: int) -> float:
    """Share of the variance that a fit of ``size`` taps explains; weights (tap,), odd, the middle one at lag 0."""
    w2 = np.square(np.asarray(weights, float))
    middle, half = len(w2) // 2, size // 2
    return float(w2[max(0, middle - half) : middle + half + 1].sum() / w2.sum())


def explained_after_shuffle(weights: np.ndarray) -> float:
    """The same after a random permutation of many channels, for every size."""
    return explained_by_band(weights, 1)


def multiply_adds(sizes: Any, *, causal: bool = False, size: int = 3) -> int:
    """Multiply-adds of one call: k per channel; means and the gate are sums and products of numbers."""
    return sizes.d_model * size
