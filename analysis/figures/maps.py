"""Maps: matrices as coloured squares, functions of two variables as contours, and paths over them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.collections import QuadMesh
from matplotlib.colors import LogNorm, Normalize
from numpy.typing import ArrayLike

from attnlab.analysis.figures.colours import Coloured, ColourScale, colour_scale
from attnlab.analysis.figures.marks import Mark, matrix, named, places, vector
from attnlab.analysis.figures.panel import Panel
from attnlab.analysis.figures.style import INK, TERRAIN, casing, style

VECTOR_CELLS = 4096
"""Heat maps up to this many cells are drawn as squares in PDF and SVG, larger ones as an image."""


@style()
def heat_map(
    panel: Panel,
    values: ArrayLike,
    label: str,
    *,
    symmetric: bool = True,
    scale: ColourScale | None = None,
    dividers: Sequence[int] = (),
    annotate: str | None = None,
    square: bool = True,
) -> None:
    """A matrix (rows, columns) as coloured cells, row 0 on top; cells that are not finite stay grey.

    ``label`` names the entries; it stands at the colour bar, one for all panels with the same ``scale`` and label
    (:func:`~attnlab.analysis.figures.colours.colour_scale` makes a scale of several matrices). ``symmetric``: white is
    zero. ``dividers``: dashed lines before these row and column indices. ``annotate``: ``"sign"`` writes + and − into
    cells that reach a tenth of the scale, a format such as ``".2f"`` the numbers: both can be read without colour.
    """
    label, values = named(label), matrix("values", values)
    rows, columns = values.shape
    scale = scale or colour_scale(values, symmetric=symmetric)
    axes = panel.axes
    mesh = axes.pcolormesh(
        np.arange(columns + 1) - 0.5,
        np.arange(rows + 1) - 0.5,
        np.ma.masked_invalid(values),
        cmap=scale.colour_map,
        norm=scale.norm,
        edgecolors="face",
        linewidth=0.15,
        rasterized=values.size > VECTOR_CELLS,
    )
    axes.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5), facecolor="#C8C8C8")
    axes.set_xticks([])
    axes.set_yticks([])
    if square:
        axes.set_aspect("equal")
    for spine in axes.spines.values():
        spine.set(visible=True, linewidth=0.5)
    for index in dividers:
        for size, line in ((columns, axes.axvline), (rows, axes.axhline)):
            if 0 < index < size:
                line(index - 0.5, color=INK, linewidth=0.7, linestyle=(0, (2.5, 1.8)))
    if annotate:
        _annotate(panel, values, mesh, scale, annotate)
    panel.coloured = Coloured(mesh, label, scale)
    y, x = (index.ravel().astype(float) for index in np.indices(values.shape))
    panel.record(Mark(panel.name, "heat map", label, x, y, z=values.ravel()))


@style()
def contour(
    panel: Panel,
    x: ArrayLike,
    y: ArrayLike,
    z: ArrayLike,
    label: str,
    *,
    levels: int | Sequence[float] = 12,
    log: bool = False,
    line_labels: bool = True,
) -> None:
    """Filled contours of ``z`` (len(y), len(x)) with thin lines, a colour bar, and values on every second line.

    ``levels``: their number, or the values, ascending. ``log``: colours, and levels given as a number, in equal ratios.
    """
    label, x, y = named(label), places("x", x), places("y", y)
    z = matrix("z", z, shape=(y.size, x.size))
    values = _levels(levels, z, log)
    shown = np.ma.masked_invalid(z)
    norm = (LogNorm if log else Normalize)(values[0], values[-1])
    low, high = bool(np.nanmin(z) < values[0]), bool(np.nanmax(z) > values[-1])
    extend = {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}[low, high]
    filled = panel.axes.contourf(x, y, shown, values, cmap=TERRAIN, norm=norm, extend=extend)
    filled.set_edgecolor("face")
    filled.set_linewidth(0.2)
    lines = panel.axes.contour(x, y, shown, values, colors=INK, linewidths=0.35, alpha=0.6)
    if line_labels:
        texts = panel.axes.clabel(lines, values[1::2], fontsize=6.5, inline_spacing=3, fmt=lambda v: f"{v:.3g}")
        for text in texts:
            # limits set later may leave a label outside: it must neither show nor take room
            text.set(clip_on=True, in_layout=False)
    panel.coloured = Coloured(filled, label)
    column, row = np.meshgrid(x, y)
    panel.record(Mark(panel.name, "contour", label, column.ravel(), row.ravel(), z=z.ravel()))


@style()
def path(panel: Panel, x: ArrayLike, y: ArrayLike, label: str, *, series: str | None = None) -> None:
    """A trajectory (x(t), y(t)) from an open circle to a filled one, cased in white so that it reads on any map."""
    label, x = named(label), vector("x", x)
    y = vector("y", y, like=x)
    both = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    if both.size == 0:
        raise ValueError("x and y are nowhere finite together, so there is no path to draw")
    look = panel.look(series or label)
    (line,) = panel.axes.plot(x, y, color=look.colour, linestyle=look.line_style, path_effects=casing(2.6), zorder=4)
    for index, face in ((both[0], "white"), (both[-1], look.colour)):
        panel.axes.plot(
            x[index],
            y[index],
            "o",
            color=look.colour,
            markerfacecolor=face,
            markersize=4.4,
            markeredgewidth=1.0,
            path_effects=casing(2.2),
            zorder=4.5,
        )
    panel.entry(label, line)
    panel.record(Mark(panel.name, "path", label, x, y))


def _annotate(panel: Panel, values: np.ndarray, mesh: QuadMesh, scale: ColourScale, form: str) -> None:
    """Text in every cell, black or white by the lightness of the cell."""
    reach = max(abs(scale.low), abs(scale.high))
    for (row, column), value in np.ndenumerate(values):
        if not np.isfinite(value) or (form == "sign" and abs(value) < reach / 10):
            continue
        text = ("+" if value > 0 else "−") if form == "sign" else format(value, form).replace("-", "−")
        red, green, blue, _ = mesh.to_rgba(value)
        dark = 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2 < 0.25
        panel.axes.text(
            column,
            row,
            text,
            ha="center",
            va="center_baseline" if form == "sign" else "center",
            size=6.5,
            color="white" if dark else INK,
            in_layout=False,
        )


def _levels(levels: int | Sequence[float], z: np.ndarray, log: bool) -> np.ndarray:
    finite = z[np.isfinite(z)]
    if isinstance(levels, int):
        if levels < 2:
            raise ValueError(f"levels must be at least 2, got {levels!r}")
        low, high = float(finite.min()), float(finite.max())
        if low == high:
            raise ValueError(f"z is {low} everywhere, so it has no contours")
        if log and low <= 0:
            raise ValueError(f"z goes down to {low}, which a log scale can't show; subtract the minimum or give levels")
        return np.geomspace(low, high, levels) if log else np.linspace(low, high, levels)
    values = places("levels", levels)
    if values.size < 2 or np.any(np.diff(values) <= 0):
        raise ValueError(f"levels must ascend and be at least two, got {values.tolist()}")
    if log and values[0] <= 0:
        raise ValueError(f"levels start at {values[0]}, which a log scale can't show; start above zero")
    return values
