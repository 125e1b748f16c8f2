"""The figure layer in one place: a plate to draw on, the pieces to draw, and the caption.

    from attnlab.analysis import figures

    plate = figures.Plate(width="single")
    figures.prediction(plate[0], lengths, risk, "debiased GD")
    figures.measurement(plate[0], lengths, measured, "two heads, trained", series="debiased GD")
    plate[0].labels(x="context length L", y="risk R(L)")
    figures.describe(plate, "Risk against context length.", seeds="seed 0, replicas 0 to 15")
    plate.save("out", "fig4")

A prediction is a line, a measurement points with intervals, and what is drawn stands in the CSV beside the figure.
"""

from attnlab.analysis.figures import font_cache

font_cache.give_a_place()  # before the modules below import matplotlib

# ruff: noqa: E402
from attnlab.analysis.figures.caption import describe
from attnlab.analysis.figures.colours import ColourScale, colour_scale
from attnlab.analysis.figures.curves import band, estimate, measurement, power_law, prediction, reference, replica_lines
from attnlab.analysis.figures.groups import bars, group_prediction, strip
from attnlab.analysis.figures.maps import contour, heat_map, path
from attnlab.analysis.figures.marks import Mark
from attnlab.analysis.figures.panel import Panel
from attnlab.analysis.figures.plate import Plate

__all__ = [
    "ColourScale",
    "Mark",
    "Panel",
    "Plate",
    "band",
    "bars",
    "colour_scale",
    "contour",
    "describe",
    "estimate",
    "group_prediction",
    "heat_map",
    "measurement",
    "path",
    "power_law",
    "prediction",
    "reference",
    "replica_lines",
    "strip",
]
