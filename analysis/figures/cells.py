"""Marks and boundaries over the cells of a heat map."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.path import Path
from matplotlib.textpath import TextPath

from attnlab.analysis.figures.marks import Mark
from attnlab.analysis.figures.panel import Panel
from attnlab.analysis.figures.style import INK, casing, style


@style()
def cell_marks(panel: Panel, marks: Sequence[Sequence[str]], names: dict[str, str]) -> None:
    """A character in each cell, row by row from the top; ``names`` says in the legend what each of them means.

    Cells with an empty text stay as they are.
    """
    for row, texts in enumerate(marks):
        for column, text in enumerate(texts):
            if text:
                panel.axes.text(
                    column,
                    row,
                    text,
                    ha="center",
                    va="center",
                    size=8.5,
                    color=INK,
                    path_effects=casing(2.2),
                    family="DejaVu Sans",
                    in_layout=False,
                )
    used = {text for texts in marks for text in texts}
    for text, name in names.items():
        if text in used:
            handle = Line2D([], [], linestyle="", marker=_glyph(text), color=INK, markersize=7, markeredgewidth=0)
            panel.entry(name, handle)
    flat = [text for texts in marks for text in texts]
    y, x = (index.ravel().astype(float) for index in np.indices((len(marks), len(marks[0]))))
    panel.record(Mark(panel.name, "verdict", "verdict", x, y, categories=tuple(flat)))


def _glyph(text: str) -> Path:
    """A character as a marker, centred; the font comes with matplotlib."""
    path = TextPath((0, 0), text, size=10, prop=FontProperties(family="DejaVu Sans"))
    low, high = path.vertices.min(0), path.vertices.max(0)
    return Path(path.vertices - (low + high) / 2, path.codes)


@style()
def cell_boundary(panel: Panel, inside: Sequence[Sequence[bool]], label: str) -> None:
    """A line along the edges between cells inside and outside."""
    cells = np.asarray(inside, dtype=bool)
    rows, columns = cells.shape
    edges = []
    for row in range(rows):
        for column in range(columns):
            if column + 1 < columns and cells[row, column] != cells[row, column + 1]:
                edges.append(([column + 0.5] * 2, [row - 0.5, row + 0.5]))
            if row + 1 < rows and cells[row, column] != cells[row + 1, column]:
                edges.append(([column - 0.5, column + 0.5], [row + 0.5] * 2))
    for x, y in edges:  # the white casing of all edges first, so that none cuts another
        panel.axes.plot(x, y, color="white", linewidth=3.0, solid_capstyle="round", zorder=2.6)
        (line,) = panel.axes.plot(x, y, color=INK, linewidth=1.6, solid_capstyle="round", zorder=2.7)
        panel.record(Mark(panel.name, "boundary", label, np.array(x, float), np.array(y, float)))
    if edges:
        panel.entry(label, line)
