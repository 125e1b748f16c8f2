"""Colour scales that several panels share, and the bars that explain them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, Normalize
from matplotlib.contour import ContourSet
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from numpy.typing import ArrayLike

from attnlab.analysis.figures.marks import matrix
from attnlab.analysis.figures.style import DIVERGING, SEQUENTIAL
from attnlab.analysis.figures.ticks import plain


@dataclass(frozen=True)
class ColourScale:
    """The values at the ends of a colour map; ``signed`` scales are symmetric about zero, which is white."""

    low: float
    high: float
    signed: bool

    def __post_init__(self) -> None:
        if not self.low < self.high or not np.isfinite(self.high - self.low):
            raise ValueError(f"low must be below high and both finite, got low={self.low!r}, high={self.high!r}")

    @property
    def colour_map(self) -> Colormap:
        """Diverging for signed values, sequential for others."""
        return DIVERGING if self.signed else SEQUENTIAL

    @property
    def norm(self) -> Normalize:
        """What takes a value to its place on the colour map."""
        return Normalize(self.low, self.high)


@dataclass(frozen=True)
class Coloured:
    """What a colour bar explains: the artist, what its values are, and the scale if panels may share it."""

    artist: Any
    label: str
    scale: ColourScale | None = None


def colour_scale(*matrices: ArrayLike, symmetric: bool = True) -> ColourScale:
    """One scale for several matrices: from -m to m with m the largest absolute value, or from least to largest.

    Matrices without any spread get a scale of width one around their value.
    """
    if not matrices:
        raise ValueError("matrices must hold at least one matrix, got none")
    values = np.concatenate([np.ravel(np.asarray(each, dtype=np.float64)) for each in matrices])
    finite = matrix("matrices", values[None])[np.isfinite(values[None])]
    if symmetric:
        reach = float(np.max(np.abs(finite))) or 1.0
        return ColourScale(-reach, reach, signed=True)
    low, high = float(finite.min()), float(finite.max())
    return ColourScale(low, high, signed=False) if low < high else ColourScale(low - 0.5, high + 0.5, signed=False)


def add_colour_bars(figure: Figure, drawn: Sequence[tuple[Coloured, Axes]]) -> None:
    """One bar at the right for each group of what is drawn with the same scale and name, beside the axes it stands on."""
    groups: dict[tuple[Any, str], list[tuple[Coloured, Axes]]] = {}
    for each, axes in drawn:
        groups.setdefault((each.scale if each.scale is not None else id(each.artist), each.label), []).append(
            (each, axes)
        )
    # a bar is put outside those that are there: the first group's comes last and ends up furthest right
    for (_, label), group in reversed(groups.items()):
        hosts, artist = list(dict.fromkeys(axes for _, axes in group)), group[0][0].artist
        many = len(hosts) > 2
        bar = figure.colorbar(
            artist,
            ax=hosts,
            location="right",
            label=label,
            pad=0.02,
            fraction=0.05,
            aspect=32 if many else 22,
            shrink=0.7 if many else 1.0,
        )
        bar.outline.set_linewidth(0.4)
        if isinstance(artist, ContourSet):
            levels = list(artist.levels)
            bar.set_ticks(levels[:: 1 if len(levels) <= 8 else 2], minor=False)
            bar.ax.yaxis.set_major_formatter(lambda value, _: plain(float(f"{value:.3g}")))
            bar.ax.yaxis.set_minor_locator(NullLocator())
        bar.ax.tick_params(length=2.0, width=0.5, which="both")
