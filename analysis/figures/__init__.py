"""The figure layer in one place: a plate to draw on, the pieces to draw, and the caption.

    from attnlab.analysis import figures

    plate = figures.Plate(width="single")
    figures.prediction(plate[0], lengths, risk, "debiased GD")
    figures.measurement(plate[0], lengths, measured, "two heads, trained", series="debiased GD")
    plate[0].labels(x="context length L", y="risk R(L)")
    figures.describe(plate, "Risk against context length.", seeds="seed 0, replicas 0 to 15")
    plate.save("out", "fig4")

A prediction is a line, a measurement points with intervals, and what is drawn stands in the CSV beside the figure. The
names load on first use, and matplotlib with them.
"""

from typing import Any

from attnlab.analysis import first_use
from attnlab.analysis.figures import font_cache

font_cache.give_a_place()  # before anything imports matplotlib

_MODULES = {
    "caption": ("describe",),
    "colours": ("ColourScale", "colour_scale"),
    "curves": ("band", "estimate", "measurement", "power_law", "prediction", "reference", "replica_lines"),
    "groups": ("bars", "group_prediction", "strip"),
    "maps": ("contour", "heat_map", "path"),
    "marks": ("Mark",),
    "panel": ("Panel",),
    "plate": ("Plate",),
}

__all__ = first_use.names(_MODULES)


def __getattr__(name: str) -> Any:
    return first_use.load(__name__, _MODULES, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
