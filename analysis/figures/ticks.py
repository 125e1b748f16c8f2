"""Ticks that read: plain numbers on short log axes, whole ones where points are, and no two labels that touch."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import AutoLocator, FixedFormatter, FixedLocator, LogLocator, MaxNLocator, NullFormatter
from matplotlib.transforms import Bbox
from numpy.typing import ArrayLike

DECADES = 2.0
"""A log axis with at least so many decades keeps its powers of ten."""

MANTISSAS = ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 5.0, 7.0), tuple(np.arange(1.0, 10.0, 0.5)))
"""Candidates within a decade, from few to many; the first with three ticks in view is taken."""

GAP = 3.0
"""Least distance of two tick labels, in points."""


def short_log_ticks(axes: Axes) -> None:
    """Write plain numbers on log axes of less than two decades, where powers of ten would leave one label or none.

    Longer log axes keep their powers of ten, without labels on the minor ticks. Ticks that were set by hand stay.
    """
    for axis, (low, high) in ((axes.xaxis, sorted(axes.get_xlim())), (axes.yaxis, sorted(axes.get_ylim()))):
        if axis.get_scale() != "log" or not isinstance(axis.get_major_locator(), LogLocator) or low <= 0:
            continue
        axis.set_minor_formatter(NullFormatter())
        if math.log10(high / low) >= DECADES:
            continue
        values = log_values(low, high)
        axis.set_major_locator(FixedLocator(values))
        axis.set_major_formatter(FixedFormatter([plain(value) for value in values]))


def whole_ticks(axes: Axes, x: ArrayLike) -> None:
    """Keep the ticks of a linear x axis at whole numbers where all points ``x`` lie there, to a dodge of a quarter.

    Ticks that were set by hand stay.
    """
    values = np.asarray(x, dtype=float)
    whole = np.round(values)
    if axes.get_xscale() != "linear" or not isinstance(axes.xaxis.get_major_locator(), AutoLocator):
        return
    if values.size and np.ptp(whole) >= 1 and np.all(np.abs(values - whole) <= 0.25):
        axes.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 2.5, 5, 10], integer=True))


def log_values(low: float, high: float) -> list[float]:
    """At least three round numbers between the ends of a log axis, as few as do; equally spaced ones if it is very short."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for mantissas in MANTISSAS:
        values = [
            m * 10.0**k for k in decades for m in mantissas if low * (1 - 1e-9) <= m * 10.0**k <= high * (1 + 1e-9)
        ]
        if len(values) >= 3:
            return values
    unit = 10.0 ** math.floor(math.log10(high - low))
    for part in (1.0, 0.5, 0.2, 0.1):
        step = part * unit
        values = [k * step for k in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]
        if len(values) >= 3:
            break
    return values


def plain(value: float) -> str:
    """``0.02``, ``300``, and a power of ten only where the plain number would be long."""
    if 1e-3 <= abs(value) < 1e5 or value == 0:
        return f"{value:.6g}".replace("-", "−")
    exponent = math.floor(math.log10(abs(value)))
    mantissa = value / 10.0**exponent
    front = "" if abs(mantissa - 1) < 1e-9 else rf"{mantissa:.3g}\times"
    return rf"${front}10^{{{exponent}}}$"


def separate_labels(axes: Axes) -> bool:
    """Keep the tick labels of the x axis from touching: names turn, of numbers every second is left out; whether any did.

    Call it on a drawn figure.
    """
    moved = False
    for _ in range(3):
        labels = _shown(axes.xaxis)
        if not _touching(labels):
            break
        moved = True
        if any(_is_name(label.get_text()) for label in labels):
            axes.tick_params(axis="x", labelrotation=35 if labels[0].get_rotation() == 0 else 90)
            for label in axes.get_xticklabels():
                label.set(ha="right", rotation_mode="anchor")
        else:
            keep = labels[::2]
            for label in labels:
                if label not in keep:
                    label.set_visible(False)
            values = [
                tick for tick, label in zip(axes.get_xticks(), axes.get_xticklabels(), strict=False) if label in keep
            ]
            texts = [label.get_text() for label in keep]
            axes.xaxis.set_major_locator(FixedLocator(values))
            axes.xaxis.set_major_formatter(FixedFormatter(texts))
        axes.get_figure(root=True).draw_without_rendering()
    return moved


def _shown(axis: Axis) -> list[Any]:
    low, high = sorted(axis.get_view_interval())
    return [
        label
        for place, label in zip(axis.get_majorticklocs(), axis.get_majorticklabels(), strict=False)
        if label.get_text() and label.get_visible() and low - 1e-9 <= place <= high + 1e-9
    ]


def _touching(labels: list[Any]) -> bool:
    boxes = [label.get_window_extent() for label in labels]
    if any(label.get_rotation() for label in labels):
        return False
    gap = GAP * labels[0].figure.dpi / 72 if labels else 0.0
    return any(Bbox.from_extents(a.x0, a.y0, a.x1 + gap, a.y1).overlaps(b) for a, b in pairwise(boxes))


def _is_name(text: str) -> bool:
    try:
        float(text.replace("−", "-").replace(",", ""))
    except ValueError:
        return "$" not in text
    return False
