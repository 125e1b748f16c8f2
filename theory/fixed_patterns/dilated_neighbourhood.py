r"""Dilated neighbourhood attention: which schedules of steps leave holes, and which cover most.

Hassani and Shi 2022 (arXiv 2209.15001). Combs of k cells with steps :math:`\delta_l` have receptive field
:math:`1 + (k - 1) \sum_l \delta_l`; they are gap-free iff, sorted, :math:`\delta_l \le 1 + (k - 1) \sum_{m<l} \delta_m`.
Steps :math:`\delta_l = k^l` reach :math:`k^L` offsets over exactly one path each: no stack of L layers of k keys covers more,
as it has only k^L paths.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attnlab.theory.costs.token_projections import head_projections
from attnlab.theory.fixed_patterns.neighbourhood import visible_cells
from attnlab.theory.fixed_patterns.reach import comb, paths_exact


def holes(size: int, dilations: Sequence[int]) -> list[int]:
    """Offsets inside the receptive field that no path of the stack reaches."""
    low, counts = paths_exact([comb(size, step) for step in dilations])
    return [low + place for place, count in enumerate(counts) if count == 0]


def widest_schedule(size: int, n_layers: int) -> list[int]:
    r"""Steps 1, k, k^2, ...: receptive field k^L with one path per offset."""
    return [size**layer for layer in range(n_layers)]


def steps(shape: tuple[int, int], size: int, dilation: int) -> tuple[int, int]:
    """Step per axis: the largest up to ``dilation`` that leaves a whole window."""
    rows, columns = (max(1, min(dilation, n // size)) for n in shape)
    return rows, columns


def multiply_adds(sizes: Any, *, causal: bool = False, size: int = 3, dilation: int = 2) -> int:
    """Multiply-adds of one call; without a border (not causal) the step changes nothing."""
    pairs = visible_cells(sizes.shape, size, causal, steps(sizes.shape, size, dilation))
    return head_projections(sizes) + 2 * sizes.d * sizes.n_heads * pairs


def state_numbers(sizes: Any, *, size: int = 3, dilation: int = 2) -> int:
    """Numbers per head that the causal form on a line needs: its window, of the stored (k - 1) steps + 1 tokens."""
    return 2 * sizes.d * ((size - 1) * dilation + 1)
