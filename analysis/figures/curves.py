"""Curves: predicted lines, measured points with intervals, bands over replicas, reference lines.

Every piece draws on a panel, writes down its numbers, and tells the caption what its bars or bands mean. Numbers that
are not finite are left out point by point; the caption then says in how many replicas.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.transforms import ScaledTranslation
from numpy.typing import ArrayLike

from attnlab.analysis.figures.marks import Mark, named, places, replicas, vector
from attnlab.analysis.figures.panel import Panel
from attnlab.analysis.figures.style import GREY, casing, style
from attnlab.analysis.statistics.intervals import mean_interval

REPLICA_WIDTH = 0.45
"""Line width of a single replica's trajectory, in points."""

SINGLE = "Thin lines: single replicas"


@style()
def prediction(
    panel: Panel,
    x: ArrayLike,
    y: ArrayLike,
    label: str,
    *,
    series: str | None = None,
    low: ArrayLike | None = None,
    high: ArrayLike | None = None,
) -> None:
    """A line: what the theory says. ``x``, ``y`` of shape (points,); a NaN in ``y`` is a gap.

    ``low`` and ``high`` (points,) shade a predicted range or a margin around it. ``series`` (by default the label)
    decides the look: a measurement of the same series gets the same colour.
    """
    label, x = named(label), places("x", x)
    y = vector("y", y, like=x)
    look = panel.look(series or label)
    ends = _ends(low, high, x)
    if ends is not None:
        panel.axes.fill_between(x, *ends, color=look.colour, alpha=0.16, linewidth=0)
    on_map: dict[str, Any] = {"path_effects": casing(2.6)} if panel.coloured else {}
    (line,) = panel.axes.plot(x, y, color=look.colour, linestyle=look.line_style, zorder=2.5, **on_map)
    panel.entry(label, line)
    panel.end_label(label, _last(y), look.colour, of_line=True)
    panel.record(Mark(panel.name, "prediction", label, x, y, *(ends or (None, None))))


@style()
def measurement(
    panel: Panel,
    x: ArrayLike,
    y: ArrayLike,
    label: str,
    *,
    confidence: float = 0.95,
    series: str | None = None,
    dodge: float = 0.0,
) -> None:
    """Points: means over replicas with Student t intervals, right for small n. ``y`` of shape (replica, points).

    One replica gives points without bars. ``dodge`` moves the points to the right by so many typographical points
    (a negative number to the left), so that series measured at the same x don't hide each other.
    """
    label, x = named(label), places("x", x)
    y = replicas("y", y, x.size)
    counts, centre, low, high = mean_and_interval(y, confidence)
    _points(panel, x, centre, low, high, label, series, dodge)
    panel.record(Mark(panel.name, "measurement", label, x, centre, low, high, n=counts))
    if dodge:
        panel.sheet.tell("Points of one abscissa stand side by side")
    panel.sheet.tell(f"Points: means over replicas, bars: {_percent(confidence)} t intervals of the mean", counts)
    _tell_missing(panel, label, y)


@style()
def estimate(
    panel: Panel,
    x: ArrayLike,
    y: ArrayLike,
    low: ArrayLike,
    high: ArrayLike,
    label: str,
    *,
    interval: str,
    series: str | None = None,
) -> None:
    """Points with intervals that were computed elsewhere; ``interval`` says of which kind, for the caption.

    For example ``interval="95 % jackknife intervals over 50 000 sequences"``. All arrays of shape (points,).
    """
    label, x = named(label), places("x", x)
    y, interval = vector("y", y, like=x), named(interval, "interval")
    low, high = _ends(low, high, x)
    if np.any((low > y) | (high < y)):
        raise ValueError(f"low and high of {label!r} must enclose y; give ends of the interval, not its half widths")
    _points(panel, x, y, low, high, label, series, 0.0)
    panel.record(Mark(panel.name, "estimate", label, x, y, low, high))
    panel.sheet.tell(f"{label}: bars are {interval}")


@style()
def band(
    panel: Panel,
    t: ArrayLike,
    trajectories: ArrayLike,
    label: str,
    *,
    show: str = "quantiles",
    level: float | None = None,
    series: str | None = None,
    individuals: bool = False,
) -> None:
    """A measured trajectory over replicas: a central line and a band. ``trajectories`` of shape (replica, time).

    ``show="quantiles"``: the median and the central ``level`` of the replicas (0.8: from the 10 % to the 90 %
    quantile); it describes replicas. ``show="interval"``: the mean and its t interval at confidence ``level`` (0.95);
    it says how well the mean is known. ``individuals`` adds a thin line per replica.
    """
    if show not in ("quantiles", "interval"):
        raise ValueError(f"show must be 'quantiles' or 'interval', got {show!r}")
    label, t = named(label), places("t", t)
    values = replicas("trajectories", trajectories, t.size, of="t")
    level = level if level is not None else {"quantiles": 0.8, "interval": 0.95}[show]
    if show == "quantiles":
        counts, centre, low, high = median_and_quantiles(values, level)
        meaning = f"Bands: {50 - 50 * level:g}–{50 + 50 * level:g} % of replicas, line: median"
    else:
        counts, centre, low, high = mean_and_interval(values, level)
        meaning = f"Bands: {_percent(level)} t intervals of the mean over replicas, line: mean"
    look = panel.look(series or label)
    shade = panel.axes.fill_between(t, low, high, color=look.colour, alpha=0.2, linewidth=0, zorder=1.5)
    (line,) = panel.axes.plot(t, centre, color=look.colour, linestyle=look.line_style, zorder=2.2)
    if individuals:
        _replica_lines(panel, t, values, label, look.colour)
        panel.sheet.tell(SINGLE, counts)
    panel.entry(label, shade, line)
    panel.end_label(label, _last(centre), look.colour, of_line=True)
    panel.record(Mark(panel.name, "band", label, t, centre, low, high, n=counts))
    panel.sheet.tell(meaning, counts)
    _tell_missing(panel, label, values)


@style()
def replica_lines(
    panel: Panel, t: ArrayLike, trajectories: ArrayLike, label: str, *, series: str | None = None
) -> None:
    """One thin line per replica, where a median would hide what single runs do. (replica, time)."""
    label, t = named(label), places("t", t)
    values = replicas("trajectories", trajectories, t.size, of="t")
    look = panel.look(series or label)
    lines = _replica_lines(panel, t, values, label, look.colour)
    panel.entry(label, lines[0])
    panel.end_label(
        label,
        float(np.nanmedian([_last(row) for row in values if np.any(np.isfinite(row))])),
        look.colour,
        of_line=True,
    )
    panel.sheet.tell(SINGLE, [len(values)])
    _tell_missing(panel, label, values)


@style()
def reference(panel: Panel, label: str, *, x: float | None = None, y: float | None = None, where: str = "top") -> None:
    """A thin grey line at one x or one y, with its name at its end; that of an x at the ``"top"`` or ``"bottom"``."""
    if where not in ("top", "bottom"):
        raise ValueError(f"where must be 'top' or 'bottom', got {where!r}")
    if (x is None) == (y is None):
        raise ValueError(f"reference needs exactly one of x and y, got x={x!r}, y={y!r}")
    label = named(label)
    at = places("x" if y is None else "y", [x if y is None else y])
    dots: dict[str, Any] = {"color": GREY, "linewidth": 0.7, "linestyle": (0, (4, 2.4)), "zorder": 1}
    if y is not None:
        panel.axes.axhline(at[0], **dots)
        panel.end_label(label, float(at[0]))
        panel.record(Mark(panel.name, "reference", label, np.array([np.nan]), at, categories=("",)))
    else:
        panel.axes.axvline(at[0], **dots)
        top = where == "top"
        panel.axes.annotate(
            label,
            (at[0], float(top)),
            (-2, -1 if top else 3),
            rotation=90,
            ha="right",
            va=where,
            xycoords=panel.axes.get_xaxis_transform(),
            textcoords="offset points",
            color=GREY,
            size=8,
            path_effects=casing(2.5),
        )
        panel.record(Mark(panel.name, "reference", label, at))


@style()
def power_law(
    panel: Panel, exponent: float, through: tuple[float, float], span: tuple[float, float], label: str
) -> None:
    """A grey guide ``y = y0 (x / x0)^exponent`` through the point (x0, y0), over ``span`` = (from, to)."""
    label = named(label)
    if not (min(*through, *span) > 0 and span[0] < span[1]):
        raise ValueError(
            f"through and span must be positive and span ascending, got through={through!r}, span={span!r}"
        )
    x = np.geomspace(*span, 33)
    y = through[1] * (x / through[0]) ** exponent
    panel.axes.plot(x, y, color=GREY, linewidth=0.9, linestyle=(0, (1.5, 1.5)), zorder=1.2)
    panel.axes.annotate(
        label,
        (x[16], y[16]),
        (3, 3),
        textcoords="offset points",
        color=GREY,
        size=8,
        ha="left" if exponent < 0 else "right",
        va="bottom",
    )
    panel.record(Mark(panel.name, "power law", label, x, y))


def mean_and_interval(values: np.ndarray, confidence: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Count, mean and t interval of the finite entries of each column of ``values``, each of shape (points,).

    A column without finite entries is NaN; with one, only its interval is.
    """
    columns = [column[np.isfinite(column)] for column in values.T]
    counts = np.array([column.size for column in columns])
    centre = np.array([column.mean() if column.size else np.nan for column in columns])
    ends = [mean_interval(column, confidence) if column.size > 1 else (np.nan, np.nan) for column in columns]
    low, high = np.array(ends).T
    return counts, centre, low, high


def median_and_quantiles(values: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Count, median and the two quantiles that hold the central ``level`` of each column's finite entries."""
    if not 0 < level < 1:
        raise ValueError(f"level must lie in (0, 1), got {level!r}")
    finite = np.where(np.isfinite(values), values, np.nan)
    counts = np.count_nonzero(np.isfinite(finite), axis=0)
    out = np.full((3, counts.size), np.nan)
    out[:, counts > 0] = np.nanquantile(finite[:, counts > 0], [0.5, 0.5 - level / 2, 0.5 + level / 2], axis=0)
    return counts, *out


def _points(
    panel: Panel,
    x: np.ndarray,
    y: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    label: str,
    series: str | None,
    dodge: float,
) -> None:
    look = panel.look(series or label)
    axes = panel.axes
    shift = ScaledTranslation(dodge / 72, 0, axes.figure.dpi_scale_trans)
    arms = np.vstack([y - low, high - y])
    bars = axes.errorbar(
        x,
        y,
        yerr=np.where(np.isfinite(arms), np.maximum(arms, 0), 0),
        fmt=look.marker,
        color=look.colour,
        elinewidth=0.9,
        capsize=0,
        markeredgecolor="white",
        markeredgewidth=0.5,
        zorder=3,
        transform=axes.transData + shift if dodge else axes.transData,
    )
    if dodge:  # matplotlib makes no room for what it finds moved
        axes.update_datalim(np.column_stack([np.tile(x, 3), np.concatenate([y, low, high])]))
        axes.autoscale_view()
    panel.entry(label, bars)


def _replica_lines(panel: Panel, t: np.ndarray, values: np.ndarray, label: str, colour: str) -> list:
    lines = []
    for number, row in enumerate(values):
        lines += panel.axes.plot(t, row, color=colour, linewidth=REPLICA_WIDTH, alpha=0.6, zorder=1.8)
        panel.record(Mark(panel.name, "replica", label, t, row, replica=number))
    return lines


def _ends(low: ArrayLike | None, high: ArrayLike | None, x: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    if low is None and high is None:
        return None
    if low is None or high is None:
        raise ValueError(f"low and high come together, got only {'high' if low is None else 'low'}")
    low, high = vector("low", low, like=x), vector("high", high, like=x)
    if np.any(low > high):
        index = int(np.flatnonzero(low > high)[0])
        raise ValueError(f"low[{index}]={low[index]} is above high[{index}]={high[index]}; swap them")
    return low, high


def _last(values: np.ndarray) -> float:
    return float(values[np.isfinite(values)][-1])


def _tell_missing(panel: Panel, label: str, values: np.ndarray) -> None:
    bad = np.count_nonzero(~np.all(np.isfinite(values), axis=1))
    if bad:
        panel.sheet.tell(f"{label}: {bad} of {len(values)} replicas are left out where they are not finite")


def _percent(level: float) -> str:
    return f"{100 * level:.6g} %"
