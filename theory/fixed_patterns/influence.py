r"""Influence of stacked patterns with uniform weights: displacement is a sum of independent steps, one per layer.

With uniform attention and no skip connection the influence of a token on a token at displacement o is the probability that a
random walk makes it: layer l steps uniformly on its offsets. Means and variances add, the profile is a convolution. A skip
weight a makes a step stand still with probability a more. Reach is the largest displacement; influence is where the walk is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from attnlab.theory.checks import check_share


def profile_exact(layers: Sequence[Sequence[Sequence[int]]], skip: float = 0.0) -> tuple[int, np.ndarray]:
    """Smallest displacement and probabilities (displacement,); a layer is a list of heads, which share its output equally."""
    check_share(skip=skip)
    low, profile = 0, np.ones(1)
    for heads in layers:
        first = min(0, *(min(offsets) for offsets in heads))
        step = np.zeros(max(0, *(max(offsets) for offsets in heads)) - first + 1)
        for offsets in heads:
            np.add.at(step, np.asarray(offsets) - first, (1 - skip) / len(heads) / len(offsets))
        step[-first] += skip
        low, profile = low + first, np.convolve(profile, step)
    return low, profile


def spread_of_windows(sizes: Sequence[int]) -> float:
    r"""Standard deviation of the displacement, :math:`\sqrt{\sum_l (w_l^2 - 1)/12}`, for windows of w_l cells, one per layer."""
    return math.sqrt(sum(w * w - 1 for w in sizes) / 12)


def mean_of_causal_windows(sizes: Sequence[int]) -> float:
    r"""Mean displacement :math:`\sum_l (w_l - 1)/2` of causal windows of w_l keys, one per layer."""
    return sum(w - 1 for w in sizes) / 2
