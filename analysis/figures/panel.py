"""One panel of a plate: axes with named quantities, a legend or names at the ends of lines, checks before saving."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.text import Annotation
from matplotlib.ticker import NullLocator

from attnlab.analysis.figures.colours import Coloured
from attnlab.analysis.figures.legend import panel_legend
from attnlab.analysis.figures.marks import Mark, named
from attnlab.analysis.figures.sheet import Sheet
from attnlab.analysis.figures.style import GREY, Look, style

Ticks = Sequence[float] | Mapping[float, str]
SCALES = ("linear", "log", "symlog")
MAPS = ("heat map",)


@dataclass
class _End:
    """A label at the right end of a line: its text, the height it points at, its colour, and what draws it."""

    text: str
    y: float
    colour: str
    artist: Annotation | None = None


class Panel:
    """Axes, and what the pieces drawn on them need to know.

    ``axes`` is the matplotlib Axes, for what no piece offers; numbers drawn that way belong in the record too:
    ``panel.record(Mark(...))``. ``name`` is what the data file calls the panel.
    """

    def __init__(self, sheet: Sheet, axes: Axes, name: str, letter: str = "") -> None:
        self.sheet, self.axes, self.name = sheet, axes, name
        self.host: Panel = self
        self.needs = {"x": True, "y": True}
        self.entries: dict[str, list[Any]] = {}
        self.attached: list[Panel] = []
        self.coloured: Coloured | None = None
        self.hidden = False
        self._letter, self._heading = letter, ""
        self._named: set[str] = set()
        self._ends: list[_End] = []
        self._line_ends: list[_End] = []
        self._legend: str | None = None
        self._ends_named = False
        if letter:
            self.heading("")

    @style()
    def heading(self, text: str) -> None:
        """A short title over the panel, after its letter."""
        self._heading = text
        letter = f"({self._letter})" if self._letter else ""
        self.axes.set_title("  ".join(part for part in (letter, text) if part), loc="left" if letter else "center")

    @style()
    def labels(self, x: str | None = None, y: str | None = None) -> None:
        """Name the axes by word and symbol, ``"risk R(α), α = n/d"``, with a unit if there is one; "" means none."""
        for axis, text in (("x", x), ("y", y)):
            if text is not None:
                self._named.add(axis)
                self.axes.set(**{f"{axis}label": text})

    @style()
    def scale(self, x: str = "linear", y: str = "linear", linear_within: float = 1.0) -> None:
        """``"linear"``, ``"log"`` or ``"symlog"`` (linear where the absolute value is below ``linear_within``)."""
        for axis, kind in (("x", x), ("y", y)):
            if kind not in SCALES:
                raise ValueError(f"{axis} must be one of {', '.join(SCALES)}, got {kind!r}")
            extra = {"linthresh": linear_within} if kind == "symlog" else {}
            (self.axes.set_xscale if axis == "x" else self.axes.set_yscale)(kind, **extra)

    @style()
    def limits(self, x: tuple[float, float] | None = None, y: tuple[float, float] | None = None) -> None:
        """Ends of the axes; what lies outside is not seen, but stays in the data file."""
        if x is not None:
            self.axes.set_xlim(x)
        if y is not None:
            self.axes.set_ylim(y)

    @style()
    def ticks(self, x: Ticks | None = None, y: Ticks | None = None) -> None:
        """Put the ticks at these values, written plainly, or under the names that a mapping gives them (rows of a map)."""
        for axis, values in ((self.axes.xaxis, x), (self.axes.yaxis, y)):
            if values is not None:
                named = values if isinstance(values, Mapping) else {v: f"{v:g}".replace("-", "−") for v in values}
                axis.set_ticks(list(named), list(named.values()))
                axis.set_minor_locator(NullLocator())

    def legend(self, where: str = "best") -> None:
        """Explain the series: inside (``"best"``, ``"upper right"``, ...) or outside (``"right"``, ``"above"``)."""
        self._legend = where

    def label_ends(self) -> None:
        """Explain the series by their names at the right ends of the lines, moved apart where they would touch."""
        self._ends_named = True

    def hide(self) -> None:
        """Leave this place of the grid empty."""
        self.axes.set_axis_off()
        self.axes.set_title("", loc="left")
        self.needs = {"x": False, "y": False}
        self.hidden = True

    @style()
    def beside(self, width: float = 0.2, gap: float = 0.06, name: str = "right") -> Panel:
        """A narrow panel at the right side of this one, of its height; ``width``, ``gap`` in parts of its width."""
        axes = self.axes.inset_axes((1 + gap, 0.0, width, 1.0))
        panel = Panel(self.sheet, axes, f"{self.name}, {named(name, 'name')}")
        panel.host = self
        panel.attached = self.attached  # also what stands beside a panel that stands beside another
        self.attached.append(panel)
        return panel

    def look(self, series: str) -> Look:
        """The look of a series on this plate."""
        return self.sheet.look(series)

    def record(self, mark: Mark) -> None:
        """Write down what was drawn."""
        self.sheet.record(mark)

    def entry(self, label: str, *handles: Any) -> None:
        """Offer artists to the legend under a label; those of one label are shown on top of each other."""
        self.entries.setdefault(label, []).extend(handles)

    def end_label(self, text: str, y: float, colour: str = GREY, of_line: bool = False) -> None:
        """Offer a label at the right edge at height ``y``; one of a line is only used after :meth:`label_ends`."""
        (self._line_ends if of_line else self._ends).append(_End(text, y, colour))

    def check(self) -> None:
        """Raise ValueError if the panel is empty, an axis has no name, or a log axis would hide points."""
        mine = [mark for mark in self.sheet.marks if mark.panel == self.name]
        if self.hidden:
            return
        if not mine:
            raise ValueError(f"panel {self.name} is empty; draw on it, or say panel.hide()")
        if any(mark.kind not in MAPS for mark in mine):
            for axis in ("x", "y"):
                if self.needs[axis] and axis not in self._named:
                    raise ValueError(
                        f"panel {self.name} has no name on its {axis} axis; "
                        f"call panel.labels({axis}=...) with word and symbol, or '' for none"
                    )
        for axis, scale in (("x", self.axes.get_xscale()), ("y", self.axes.get_yscale())):
            for mark in mine if scale == "log" else ():
                values = getattr(mark, axis)
                if values is not None and np.any(values <= 0):
                    raise ValueError(
                        f"{axis} of {mark.kind} {mark.series!r} on panel {self.name} goes down to "
                        f"{np.nanmin(values)!r}, which a log axis can't show; leave such points out "
                        "or take scale 'symlog'"
                    )

    def finish(self, legend_elsewhere: bool) -> None:
        """Draw legend and end labels."""
        if self._ends_named:
            self._ends += self._line_ends
        entries = self.unexplained()
        if entries and (self._legend or not legend_elsewhere):
            panel_legend(self.axes, entries, self._legend or "best")
        low, high = sorted(self.axes.get_ylim())
        for end in self._ends:
            end.artist = self.axes.annotate(
                end.text,
                (1.0, min(max(end.y, low), high)),
                (4, 0),
                xycoords=self.axes.get_yaxis_transform(),
                textcoords="offset points",
                ha="left",
                va="center",
                color=end.colour,
                annotation_clip=False,
                size=8,
                arrowprops={
                    "arrowstyle": "-",
                    "color": end.colour,
                    "linewidth": 0.5,
                    "relpos": (0, 0.5),
                    "shrinkA": 1,
                    "shrinkB": 0,
                },
            )
            end.artist.arrow_patch.set_visible(False)

    def unexplained(self) -> dict[str, list[Any]]:
        """The entries that no end label names, which a legend must."""
        at_end = {end.text for end in self._line_ends} if self._ends_named else set()
        return {label: handles for label, handles in self.entries.items() if label not in at_end}

    def spread_end_labels(self) -> bool:
        """Move the end labels apart, up and down, by as little as keeps them from touching; whether any moved.

        Labels that had to move by more than a fifth of their height get thin lines to where they belong.
        """
        drawn = sorted((end for end in self._ends if end.artist), key=lambda end: (end.artist.xy[1], end.text))
        if len(drawn) < 2:
            return False
        to_points = 72 / self.axes.figure.dpi
        wanted = np.array([self.axes.transData.transform((1, end.artist.xy[1]))[1] * to_points for end in drawn])
        heights = np.array([end.artist.get_window_extent().height * to_points for end in drawn])
        shifts = apart(wanted, heights) - wanted
        moved = bool(np.any(np.abs(shifts) > heights / 5))
        for end, shift in zip(drawn, shifts, strict=True):
            end.artist.xyann = (13 if moved else 4, float(shift))
            end.artist.arrow_patch.set_visible(moved)
        return bool(np.any(shifts != 0))


def apart(wanted: np.ndarray, heights: np.ndarray) -> np.ndarray:
    """Positions nearest to ``wanted`` (ascending), by least squares, at which boxes of ``heights`` don't overlap.

    With the stacked offsets subtracted this is isotonic regression, solved by pooling neighbours that conflict.
    """
    offsets = np.concatenate([[0.0], np.cumsum((heights[:-1] + heights[1:]) / 2)])
    pools: list[list[float]] = []
    for target in wanted - offsets:
        pools.append([float(target)])
        while len(pools) > 1 and np.mean(pools[-2]) > np.mean(pools[-1]):
            last = pools.pop()
            pools[-1] += last
    return np.concatenate([np.full(len(pool), np.mean(pool)) for pool in pools]) + offsets
