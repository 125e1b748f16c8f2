"""The figure most instruments share: every head of a reading with its interval, its null and the limit."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from attnlab.analysis.figures.caption import describe
from attnlab.analysis.figures.curves import estimate, prediction
from attnlab.analysis.figures.plate import Plate
from attnlab.analysis.instruments.instrument import Reading


def figure_of_heads(reading: Reading, label: str, caption: str, lines: Mapping[str, float] | None = None) -> Plate:
    """Heads layer by layer along x, the value with its interval over prompts, the null as a line, and ``lines``.

    By default the one line is the value found with 80 % in the median head. Axes are (layer, head): of others pass a slice.
    """
    value, low, high = (np.ravel(each) for each in (reading.value, reading.low, reading.high))
    x = np.arange(value.size)
    plate = Plate(width="double", height=2.2)
    estimate(plate[0], x, value, low, high, "heads", interval=f"95 % t intervals over {reading.n} prompts")
    ends = np.array([-0.5, value.size - 0.5])
    null = np.ravel(reading.null_mean)
    if np.isfinite(null).all():
        prediction(plate[0], x, null, "without the effect")
    limit = np.ravel(reading.limit)
    if lines is None:
        lines = {"found with 80 % (median head)": float(np.median(limit))} if np.isfinite(limit).all() else {}
    for name, height in lines.items():
        prediction(plate[0], ends, np.full(2, height), name)
    n_layers = reading.value.shape[0] if reading.value.ndim > 1 else 1
    per = value.size // n_layers
    plate[0].axes.set_xticks([per * (k + 0.5) - 0.5 for k in range(n_layers)], [f"L{k}" for k in range(n_layers)])
    for edge in range(1, n_layers):
        plate[0].axes.axvline(per * edge - 0.5, color="#B0B0B0", linewidth=0.5, zorder=0.5)
    plate[0].limits(x=(-0.5, value.size - 0.5))
    plate[0].labels(x="layer, heads side by side", y=f"{label} ({reading.unit})" if reading.unit else label)
    plate.legend("right", columns=1)
    describe(plate, caption, seeds="")
    return plate
