r"""Multi-scale windows: extreme distances against typical ones, at a lower cost.

Xu et al. 2025 (arXiv 2501.01039). Heads have windows w/4, w/2, w, 2w of their layer's w, layers again 1/4, 1/2, 1, 2 of the
base: the mean window is :math:`(15/16)^2 w`, the reach :math:`\sum_l (2 w_l - 1)` is about 15/8 of that of equal windows, and
under uniform weights the mean influence lies *nearer*, with about twice the spread (:mod:`.influence`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from attnlab.theory.fixed_patterns.influence import profile_exact
from attnlab.theory.fixed_patterns.reach import look_back

SCALES = (0.25, 0.5, 1.0, 2.0)


def mean_window_share() -> float:
    """Mean window of heads and layers over the base window, (15/16)^2."""
    return (sum(SCALES) / 4) ** 2


def layer_windows(window: int, n_layers: int) -> list[list[int]]:
    """Windows (layer, group of heads) of a stack whose layers form four groups, shallow to deep."""
    return [[max(1, int(window * SCALES[4 * layer // n_layers] * s)) for s in SCALES] for layer in range(n_layers)]


def reach(window: int, n_layers: int) -> int:
    """Farthest token that the stack sees: the widest head of every layer, less its own token."""
    return sum(max(windows) - 1 for windows in layer_windows(window, n_layers))


def influence_moments(window: int, n_layers: int) -> tuple[float, float]:
    """Mean and standard deviation of the displacement under uniform weights, heads shared equally."""
    low, p = profile_exact([[look_back(w) for w in windows] for windows in layer_windows(window, n_layers)])
    at = low + np.arange(len(p))
    mean = float(p @ at)
    return mean, float(p @ (at - mean) ** 2) ** 0.5


def head_windows(n_heads: int, window: int, depth: float) -> list[int]:
    """Keys per head of one layer."""
    return [max(1, int(window * depth * SCALES[4 * h // n_heads])) for h in range(n_heads)]


def multiply_adds(sizes: Any, *, causal: bool = False, window: int = 4, depth: float = 1.0) -> int:
    """Multiply-adds of one call: d + d_v per visible pair; the window extends to both sides without the causal form."""
    pairs, last = 0, sizes.n - 1
    for w in head_windows(sizes.n_heads, window, depth):
        for i in range(sizes.n):
            pairs += min(i, w - 1) + 1 + (0 if causal else min(last - i, w - 1))
    return pairs * (sizes.d + sizes.d_v)


def state_numbers(sizes: Any, *, window: int = 4, depth: float = 1.0) -> int:
    """Numbers that all heads keep: their windows of keys and values; per head divide by n_heads."""
    return sum(head_windows(sizes.n_heads, window, depth)) * (sizes.d + sizes.d_v) // sizes.n_heads
