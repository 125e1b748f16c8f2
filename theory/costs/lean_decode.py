"""Decoding: how W tiles of keys are shared between G processors, and how long the last of them takes.

Reference: Lean Attention (arXiv 2405.10480).
"""

from __future__ import annotations

from dataclasses import dataclass

from attnlab.theory.checks import check_positive


@dataclass(frozen=True)
class Makespan:
    """Time in tile units: one processor per output, a fixed number of splits, equal shares (Lean Attention)."""

    per_output: int
    fixed_split: int
    equal_share: int
    efficiency: float
    partials: int


def decode_makespan(n_outputs: int, tiles_per_output: int, processors: int, splits: int = 1) -> Makespan:
    r"""Makespans of decode attention; ``efficiency`` is that of equal shares, at least :math:`1 - (G-1)/W`.

    ``partials`` counts the partial outputs of equal shares (processor g begins at tile g W/G, the first W mod G of them
    take one tile more): an output is split wherever a share begins inside it.
    """
    check_positive(n_outputs=n_outputs, tiles_per_output=tiles_per_output, processors=processors, splits=splits)
    work = n_outputs * tiles_per_output
    share, extra = divmod(work, processors)
    starts = [g * share + min(g, extra) for g in range(1, processors) if g * share + min(g, extra) < work]
    split = sum(1 for start in set(starts) if start % tiles_per_output)
    equal = -(-work // processors)
    return Makespan(
        -(-n_outputs // processors) * tiles_per_output,
        -(-n_outputs * splits // processors) * -(-tiles_per_output // splits),
        equal,
        work / (processors * equal),
        n_outputs + split,
    )
