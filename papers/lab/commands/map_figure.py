"""The figure of a map: relative difference as colour, verdicts as marks, the boundary of where the claim holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from attnlab.analysis import figures
from attnlab.analysis.figures.cells import cell_boundary, cell_marks
from attnlab.papers.lab.declare import Claim
from attnlab.papers.lab.run.reproduce import Options
from attnlab.papers.lab.run.sweep import Axis

MARKS = {"HOLDS": "✓", "REFUTED": "✗", "UNDECIDED": "?", "VACUOUS": "∅", "INVALID": "!", "FAILED": "·"}
_NAMES = {
    "✓": "HOLDS",
    "✗": "REFUTED",
    "?": "UNDECIDED",
    "∅": "VACUOUS: not covered",
    "!": "INVALID",
    "·": "no setting",
}


def draw(
    claim: Claim, columns: Axis, rows: Axis | None, points: Sequence[dict[str, Any]], options: Options
) -> figures.Plate:
    """A heat map for two axes, predicted and measured against the value for one."""
    plate = _curve(columns, points) if rows is None else _cells(columns, rows, points)
    counts = {word: sum(point["verdict"] == word for point in points) for word in MARKS}
    said = ", ".join(f"{number} {word}" for word, number in counts.items() if number)
    fixed = "".join(f", {key}={value}" for key, value in options.overrides.items())
    fixed += f", {options.replicas} replicas" if options.replicas else ""
    ns = [point["n"] for point in points if point["n"]]
    n = f", n = {min(ns)}" + (f" to {max(ns)}" if max(ns) > min(ns) else "") if ns else ""
    over = columns.key if rows is None else f"{columns.key} and {rows.key}"
    text = f"{claim.id} over {over} at {options.scale} scale{fixed}{n}: {said}"
    if rows is not None:
        text += ". Colour: measured over predicted minus one (where the prediction is zero: in margins)"
    figures.describe(plate, text, seeds=f"seed {options.seed}" if ns else "")
    return plate


def _cells(columns: Axis, rows: Axis, points: Sequence[dict[str, Any]]) -> figures.Plate:
    shape = (len(rows.values), len(columns.values))
    off = np.array([np.nan if p["difference"] is None else p["difference"] for p in points], float).reshape(shape)[::-1]
    marks = np.array([MARKS[p["verdict"]] for p in points]).reshape(shape)[::-1]
    width = min(7.0, 1.9 + 0.42 * shape[1])
    plate = figures.Plate(width=width, height=1.3 + 0.3 * shape[0])
    panel = plate[0]
    if np.isfinite(off).any():
        reach = min(float(np.nanmax(np.abs(off))), 2.0) or 1.0
        scale = figures.ColourScale(-reach, reach, signed=True)
        figures.heat_map(panel, off, "relative difference", scale=scale, square=False)
    else:
        figures.heat_map(
            panel, np.where(marks == "✓", 0.0, np.nan), "holds", scale=figures.ColourScale(-1, 1, True), square=False
        )
    cell_boundary(panel, marks == "✓", "where it holds")
    cell_marks(panel, marks.tolist(), _NAMES)
    panel.axes.set_xticks(range(shape[1]), columns.values)
    panel.axes.set_yticks(range(shape[0]), rows.values[::-1])
    if max(map(len, columns.values)) * shape[1] > 34:
        panel.axes.tick_params(axis="x", labelrotation=45)
    panel.labels(x=columns.key, y=rows.key)
    plate.legend("below", columns=4 if width > 4.5 else 3)
    return plate


def _curve(columns: Axis, points: Sequence[dict[str, Any]]) -> figures.Plate:
    plate = figures.Plate(width="single")
    panel = plate[0]
    numbers = _numbers(columns.values)
    x = np.arange(len(points), dtype=float) if numbers is None else numbers
    predicted, measured, margin = (
        np.array([np.nan if p[name] is None else p[name] for p in points], float)
        for name in ("predicted", "measured", "margin")
    )
    ends = np.array(
        [[np.nan, np.nan] if not p["interval"] or None in p["interval"] else p["interval"] for p in points], float
    )
    if np.isfinite(predicted).any():
        band = np.nan_to_num(margin)
        figures.prediction(panel, x, predicted, "predicted ± margin", low=predicted - band, high=predicted + band)
    for word in MARKS:
        own = np.array([p["verdict"] == word for p in points])
        known = own & np.isfinite(measured)
        if known.any():
            low, high = (np.where(np.isfinite(e), e, measured)[known] for e in ends.T)
            low, high = np.minimum(low, measured[known]), np.maximum(high, measured[known])
            interval = "intervals at the confidence of the verdict"
            figures.estimate(panel, x[known], measured[known], low, high, word, interval=interval)
    if numbers is None:
        panel.axes.set_xticks(range(len(points)), columns.values)
    elif (x > 0).all() and x.max() > 20 * x.min():
        panel.scale(x="log")
    panel.labels(x=columns.key, y="measured and predicted")
    plate.legend("below", columns=3)
    return plate


def _numbers(values: Sequence[str]) -> np.ndarray | None:
    try:
        return np.array([float(value) for value in values])
    except ValueError:
        return None
