r"""Neighbourhood attention: how far a stack sees and where its influence lies, and what one layer costs.

Hassani et al. 2023 (arXiv 2204.07143). A stack of L layers of windows of k cells has receptive field 1 + L (k - 1) per axis,
but with uniform weights its influence has standard deviation :math:`\sqrt{L (k^2 - 1)/12}` (:mod:`.influence`).
"""

from __future__ import annotations

from typing import Any

from attnlab.theory.costs.token_projections import head_projections
from attnlab.theory.fixed_patterns.influence import spread_of_windows
from attnlab.theory.fixed_patterns.reach import receptive_field


def field(size: int, n_layers: int) -> int:
    """Receptive field per axis, 1 + L (k - 1), away from borders."""
    return receptive_field(size, [1] * n_layers)


def influence_std(size: int, n_layers: int) -> float:
    r"""Standard deviation of the influence per axis under uniform weights, :math:`\sqrt{L (k^2 - 1)/12}`."""
    return spread_of_windows([size] * n_layers)


def visible_cells(shape: tuple[int, int], size: int, causal: bool, steps: tuple[int, int] = (1, 1)) -> int:
    """Pairs that see each other: min(k, n) per cell and axis; the causal comb is cut at the border."""
    count = 1
    for n, step in zip(shape, steps, strict=True):
        count *= sum(min(i // step + 1, size) for i in range(n)) if causal else n * min(size, n)
    return count


def multiply_adds(sizes: Any, *, causal: bool = False, size: int = 3) -> int:
    """Multiply-adds of one call: four projections and 2 d per visible pair and head; ``sizes`` has shape, n_heads, d, d_model."""
    pairs = visible_cells(sizes.shape, size, causal)
    return head_projections(sizes) + 2 * sizes.d * sizes.n_heads * pairs


def state_numbers(sizes: Any, *, size: int = 3) -> int:
    """Numbers per head that the causal form on a line keeps: keys and values of one window."""
    return 2 * sizes.d * size
