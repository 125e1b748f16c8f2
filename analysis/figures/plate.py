"""A figure with its data: panels to draw on, a record of every number drawn, and files that come out the same.

A :class:`Plate` is a matplotlib Figure made without pyplot, so nothing global holds it and it works in any thread. The
functions in :mod:`attnlab.analysis.figures` draw on its panels and write down what they draw.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from attnlab.analysis.figures.colours import add_colour_bars
from attnlab.analysis.figures.files import rendered, write_figure
from attnlab.analysis.figures.html import figure_html
from attnlab.analysis.figures.legend import shared_legend
from attnlab.analysis.figures.panel import Panel
from attnlab.analysis.figures.sheet import Sheet
from attnlab.analysis.figures.style import COLUMN_WIDTHS, style
from attnlab.analysis.figures.ticks import separate_labels, short_log_ticks, whole_ticks

PANEL_ASPECT = 0.74
"""Height over width of a panel when a plate is given no height."""


class Plate(Sheet):
    """A grid of panels, the record of what they show, and the files they are saved as.

    ``plate[i, j]`` is the panel in row i and column j, ``plate[k]`` the k-th, row by row; ``plate.panels`` holds all.
    ``caption`` is the text to stand under the figure: :func:`~attnlab.analysis.figures.caption.describe` adds n, seeds
    and interval kinds to it. ``marks`` lists what was drawn, ``facts`` what the pieces say of their bars and bands.

    Series are known by name: everything called ``series="debiased GD"`` on any panel of a plate has one look.
    """

    def __init__(
        self,
        rows: int = 1,
        columns: int = 1,
        *,
        width: str | float = "single",
        height: float | None = None,
        title: str = "",
        share_x: bool = False,
        share_y: bool = False,
        width_ratios: Sequence[float] | None = None,
        height_ratios: Sequence[float] | None = None,
        letters: bool | None = None,
    ) -> None:
        """``width``: ``"single"`` (3.4 in), ``"double"`` (7.0 in) or inches; ``height``: inches.

        ``share_x``, ``share_y``: all panels have one x (y) axis, labelled on the outer panels only.
        ``letters``: mark panels (a), (b), ...; by default if there are 2 to 12 panels.
        """
        for name, count in (("rows", rows), ("columns", columns)):
            if int(count) != count or count < 1:
                raise ValueError(f"{name} must be a whole number, at least 1, got {count!r}")
        super().__init__()
        self.title, self.caption = title, ""
        self._legend: tuple[str, int | None] | None = None
        inches = _inches(width)
        with style():
            self.figure = Figure(figsize=(inches, _height(inches, height, rows, columns)), layout="constrained")
            self._fits_height = height is None
            axes = self.figure.subplots(
                rows,
                columns,
                squeeze=False,
                sharex=share_x,
                sharey=share_y,
                width_ratios=width_ratios,
                height_ratios=height_ratios,
            )
            if title:
                self._suptitle = self.figure.suptitle(title)
        lettered = letters if letters is not None else 2 <= rows * columns <= 12
        self._grid = [
            [Panel(self, axes[i, j], *_name(i, j, (rows, columns), lettered)) for j in range(columns)]
            for i in range(rows)
        ]
        for i, j in np.ndindex(rows, columns):
            self._grid[i][j].needs = {"x": not share_x or i == rows - 1, "y": not share_y or j == 0}

    @property
    def panels(self) -> tuple[Panel, ...]:
        """All panels of the grid, row by row."""
        return tuple(panel for row in self._grid for panel in row)

    def __getitem__(self, where: int | tuple[int, int]) -> Panel:
        try:
            return self._grid[where[0]][where[1]] if isinstance(where, tuple) else self.panels[where]
        except IndexError:
            raise IndexError(
                f"no panel {where}: the plate has {len(self._grid)} rows and {len(self._grid[0])} "
                "columns, counted from 0"
            ) from None

    def __iter__(self) -> Iterator[Panel]:
        return iter(self.panels)

    def __len__(self) -> int:
        return len(self.panels)

    def labels(self, x: str | None = None, y: str | None = None) -> None:
        """Name the axes of all panels, or of the outer ones where the axis is shared."""
        for panel in self.panels:
            panel.labels(x=x if panel.needs["x"] else None, y=y if panel.needs["y"] else None)

    def legend(self, where: str = "below", columns: int | None = None) -> None:
        """One legend for all panels, outside them: ``"below"``, ``"above"`` or ``"right"``."""
        self._legend = (where, columns)

    def save(self, folder: str | Path, name: str) -> list[Path]:
        """Write ``name.png``, ``.pdf``, ``.svg`` and the data ``.csv`` into ``folder``; the same bytes each time.

        The paths come back in this order. A file is complete or absent: it is written under another name and renamed.
        Raises ValueError if a panel lacks an axis label or has nothing on it.
        """
        if not name or name != Path(name).name or name.startswith("."):
            raise ValueError(f"name must be a plain file name without folder or ending, got {name!r}")
        with style():
            if not self._finished:
                self._finish()
            return write_figure(self.figure, self.marks, Path(folder), name, self.title, self.caption)

    def _repr_html_(self) -> str:
        """The picture and its caption, at the end of a notebook's cell; like :meth:`save`, this ends the drawing."""
        with style():
            if not self._finished:
                self._finish()
            return figure_html(rendered(self.figure, "png", {}), self.caption, 10 * self.figure.get_figwidth())

    def _finish(self) -> None:
        drawn = (*self.panels, *(beside for panel in self.panels for beside in panel.attached))
        for panel in drawn:
            panel.check()
        for panel in drawn:
            panel.finish(legend_elsewhere=self._legend is not None)
        add_colour_bars(self.figure, [(panel.coloured, panel.host.axes) for panel in drawn if panel.coloured])
        if self._legend:
            shared_legend(self.figure, [panel.unexplained() for panel in drawn], *self._legend)
        # heat maps have a fixed shape: let the panels close up around them
        if all(panel.axes.get_aspect() != "auto" for panel in self.panels):
            self.figure.set_layout_engine("compressed")
            if self._fits_height:
                self._fit_height()
        for panel in drawn:
            short_log_ticks(panel.axes)
            points = [mark.x for mark in self.marks if (mark.panel, mark.kind) == (panel.name, "measurement")]
            whole_ticks(panel.axes, np.concatenate(points) if points else ())
        self.figure.draw_without_rendering()
        for panel in drawn:
            separate_labels(panel.axes)
        if any([panel.spread_end_labels() for panel in drawn]):
            self.figure.draw_without_rendering()
        # one layout for all files: text is a hair wider in PDF than in PNG and would move the axes
        self.figure.set_layout_engine("none")
        self._finished = True

    def _fit_height(self) -> None:
        """Make the figure as high as panels of fixed shape need at its width."""
        inches = self.figure.get_figwidth()
        rows, columns = len(self._grid), len(self._grid[0])
        self.figure.set_figheight(2 * rows * inches / columns)
        self.figure.get_layout_engine().execute(self.figure)
        boxes = Bbox.union([axes.get_tightbbox() for axes in self.figure.axes])
        others = [*self.figure.legends, *([self._suptitle] if self.title else [])]
        pad = 2 * mpl.rcParams["figure.constrained_layout.h_pad"]
        height = boxes.height + sum(other.get_window_extent().height for other in others)
        self.figure.set_figheight(height / self.figure.dpi + pad * (1 + len(others)))


def _inches(width: str | float) -> float:
    if isinstance(width, str):
        if width not in COLUMN_WIDTHS:
            raise ValueError(f"width must be 'single', 'double' or inches, got {width!r}")
        return COLUMN_WIDTHS[width]
    if not 1 <= width <= 20:
        raise ValueError(f"width must lie between 1 and 20 inches, got {width!r}")
    return float(width)


def _height(inches: float, height: float | None, rows: int, columns: int) -> float:
    if height is None:
        return inches / columns * PANEL_ASPECT * rows
    if not 0.5 <= height <= 20:
        raise ValueError(f"height must lie between 0.5 and 20 inches, got {height!r}")
    return float(height)


def _name(row: int, column: int, shape: tuple[int, int], lettered: bool) -> tuple[str, str]:
    """What the data file calls a panel, and the letter on it."""
    letter = _letter(row * shape[1] + column)
    if lettered:
        return letter, letter
    return ("a" if shape == (1, 1) else f"row {row + 1}, column {column + 1}"), ""


def _letter(index: int) -> str:
    """a, b, ..., z, aa, ab, ..."""
    return chr(ord("a") + index) if index < 26 else _letter(index // 26 - 1) + _letter(index % 26)
