"""Values of named groups: bars with intervals, strips of single replicas, and predictions across them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from attnlab.analysis.figures.curves import mean_and_interval
from attnlab.analysis.figures.marks import Mark, named, replicas, vector
from attnlab.analysis.figures.panel import Panel
from attnlab.analysis.figures.style import INK, casing, style

GROUP_WIDTH = 0.8
"""Part of the distance between two groups that their bars fill."""


@style()
def bars(panel: Panel, groups: Sequence[str], values: Mapping[str, ArrayLike], *, confidence: float = 0.95) -> None:
    """Bars from zero to the mean over replicas, with t intervals; ``values``: label to (replica, group)."""
    for label, data, at, width in _slots("values", groups, values):
        counts, centre, low, high = mean_and_interval(data, confidence)
        look = panel.look(label)
        arms = np.nan_to_num(np.vstack([centre - low, high - centre]))
        drawn = panel.axes.bar(
            at,
            centre,
            width * 0.92,
            facecolor=look.colour,
            edgecolor="white",
            linewidth=0,
            hatch=look.hatch,
            yerr=arms,
            error_kw={"elinewidth": 0.9, "ecolor": INK},
        )
        panel.entry(label, drawn)
        panel.record(Mark(panel.name, "bar", label, at, centre, low, high, n=counts, categories=tuple(groups)))
        panel.sheet.tell(f"Bars: means over replicas with {100 * confidence:.6g} % t intervals", counts)
    panel.axes.axhline(0, color=INK, linewidth=0.6)
    _name_groups(panel, groups)


@style()
def strip(panel: Panel, groups: Sequence[str], values: Mapping[str, ArrayLike]) -> None:
    """Every replica as a point, with a short line at their median; ``values``: label to (replica, group)."""
    for label, data, at, width in _slots("values", groups, values):
        look = panel.look(label)
        n = len(data)
        # replicas side by side in their order: nothing random, and no point hides another
        aside = (np.arange(n) - (n - 1) / 2) / max(n, 2) * width * 0.7
        (points,) = panel.axes.plot(
            (at[None] + aside[:, None]).ravel(),
            data.ravel(),
            look.marker,
            color=look.colour,
            markersize=3.2,
            markeredgecolor="white",
            markeredgewidth=0.3,
            alpha=0.9,
        )
        finite = np.isfinite(data)
        medians = np.array(
            [np.median(column[kept]) if kept.any() else np.nan for column, kept in zip(data.T, finite.T, strict=True)]
        )
        panel.axes.hlines(medians, at - width * 0.42, at + width * 0.42, color=look.colour, linewidth=1.2)
        panel.entry(label, points)
        for number, row in enumerate(data):
            panel.record(Mark(panel.name, "replica", label, at, row, replica=number, categories=tuple(groups)))
        panel.record(Mark(panel.name, "median", label, at, medians, n=finite.sum(axis=0), categories=tuple(groups)))
        panel.sheet.tell("Points: single replicas, short lines: their medians", finite.sum(axis=0))
    _name_groups(panel, groups)


@style()
def group_prediction(panel: Panel, groups: Sequence[str], values: Mapping[str, ArrayLike], label: str) -> None:
    """A short black line per group and series where theory expects the value; ``values``: series to (group,).

    Takes the series in the same order as the :func:`bars` or :func:`strip` it is laid over.
    """
    rows = {name: vector(f"values[{name!r}]", row)[None] for name, row in values.items()}
    for name, data, at, width in _slots("values", groups, rows):
        lines = panel.axes.hlines(
            data[0], at - width / 2, at + width / 2, color="black", linewidth=1.1, path_effects=casing(2.0), zorder=3.5
        )
        if name == next(iter(values)):
            panel.entry(named(label), lines)
        panel.record(Mark(panel.name, "prediction", f"{label}, {name}", at, data[0], categories=tuple(groups)))


def _slots(argument: str, groups: Sequence[str], values: Mapping[str, ArrayLike]) -> list:
    """(label, (replica, group), places, width) of every series, side by side within each group."""
    if not groups or not values:
        raise ValueError(f"groups and {argument} must not be empty, got {list(groups)!r} and {list(values)!r}")
    width = GROUP_WIDTH / len(values)
    centres = np.arange(len(groups), dtype=float)
    return [
        (
            named(label, f"{argument} key"),
            replicas(f"{argument}[{label!r}]", data, len(groups), of="groups"),
            centres + (number - (len(values) - 1) / 2) * width,
            width,
        )
        for number, (label, data) in enumerate(values.items())
    ]


def _name_groups(panel: Panel, groups: Sequence[str]) -> None:
    panel.axes.set_xticks(range(len(groups)), list(groups))
    panel.axes.tick_params(axis="x", length=0)
    panel.axes.set_xlim(-0.5, len(groups) - 0.5)
