r"""Reach of stacked patterns: which offsets a stack of layers connects, and over how many paths.

A layer whose pattern looks at the offsets O (the same for every token) sends influence along them. After layers
:math:`O_1, ..., O_L` the offsets reached are the Minkowski sum, and the number of paths to offset o is the coefficient of
:math:`z^o` in :math:`\prod_l G_l(z)`, :math:`G_l(z) = \sum_{o \in O_l} z^o`. Borders are left out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from attnlab.theory.checks import check_count


def comb(size: int, dilation: int = 1) -> list[int]:
    """Offsets of a centred window of odd ``size`` in steps of ``dilation``."""
    check_count(size=size, dilation=dilation)
    if size % 2 == 0:
        raise ValueError(f"size={size!r} must be odd: a centred window has a middle")
    return [dilation * z for z in range(-(size // 2), size // 2 + 1)]


def look_back(window: int) -> list[int]:
    """Offsets of a causal window of ``window`` keys: 0 to ``window`` - 1 back."""
    check_count(window=window)
    return list(range(window))


def paths_exact(layers: Sequence[Sequence[int]]) -> tuple[int, np.ndarray]:
    """The smallest offset of the stack, and the number of paths (offset,) from there on."""
    if not layers:
        raise ValueError("layers=[] is empty; give the offsets of at least one layer")
    low, counts = 0, np.ones(1, dtype=object)
    for offsets in layers:
        first = min(offsets)
        factor = np.zeros(max(offsets) - first + 1, dtype=object)
        factor[np.asarray(offsets) - first] = 1
        low, counts = low + first, np.convolve(counts, factor)
    return low, counts


def is_gap_free(layers: Sequence[Sequence[int]]) -> bool:
    """Whether every offset between the smallest and the largest is reached."""
    return bool((paths_exact(layers)[1] > 0).all())


def combs_are_gap_free(size: int, dilations: Sequence[int]) -> bool:
    r"""The rule for combs of one size: sorted, :math:`\delta_l \le 1 + (k - 1) \sum_{m < l} \delta_m`.

    Sufficient because the smaller combs fill an interval of that length; necessary for combs of one size whose smaller
    members are gap-free, as the next comb then leaves holes between its copies of that interval.
    """
    covered = 1
    for step in sorted(dilations):
        if step > covered:
            return False
        covered += (size - 1) * step
    return True


def receptive_field(size: int, dilations: Sequence[int]) -> int:
    r"""Cells from the smallest to the largest offset of stacked combs, :math:`1 + (k - 1) \sum_l \delta_l`."""
    check_count(size=size)
    return 1 + (size - 1) * sum(dilations)
