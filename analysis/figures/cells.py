"""Marks and boundaries over the cells of a heat map."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.lines import Line2D

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
            handle = Line2D([], [], linestyle="", marker=f"$\\mathdefault{{{text}}}$", color=INK, markersize=7)
            panel.entry(name, handle)
    flat = [text for texts in marks for text in texts]
    y, x = (index.ravel().astype(float) for index in np.indices((len(marks), len(marks[0]))))
    panel.record(Mark(panel.name, "verdict", "verdict", x, y, categories=tuple(flat)))


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
    for x, y in edges:
        (line,) = panel.axes.plot(x, y, color=INK, linewidth=1.6, path_effects=casing(3.0), solid_capstyle="round")
        panel.record(Mark(panel.name, "boundary", label, np.array(x, float), np.array(y, float)))
    if edges:
        panel.entry(label, line)
