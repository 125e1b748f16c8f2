"""The figure of instruments whose entries are no heads: every entry of a reading with its interval, its null and its limit."""

from __future__ import annotations

import numpy as np

from attnlab.analysis.figures.caption import describe
from attnlab.analysis.figures.curves import estimate, prediction
from attnlab.analysis.figures.plate import Plate
from attnlab.analysis.instruments.instrument import Reading


def figure_of_entries(reading: Reading, label: str, along: str, caption: str, kind: str = "95 %") -> Plate:
    """Entries of a reading of one axis along x, named ``along``; ``kind`` says what the intervals are."""
    x = np.arange(reading.value.size).astype(float)
    plate = Plate(width="double", height=2.2)
    interval = f"{kind} intervals over {reading.n} prompts"
    low, high = (np.ravel(each) for each in (reading.low, reading.high))
    estimate(plate[0], x, np.ravel(reading.value), low, high, "measured", interval=interval)
    ends = np.array([-0.5, x.size - 0.5])
    for name, line in (("without the effect", reading.null_mean), ("found with 80 % (median entry)", reading.limit)):
        if np.isfinite(line).all():
            prediction(plate[0], ends, np.full(2, float(np.median(line))), name)
    plate[0].ticks(x=[float(k) for k in range(0, x.size, 1 + (x.size - 1) // 10)])
    plate[0].limits(x=(-0.5, x.size - 0.5))
    plate[0].labels(x=along, y=f"{label} ({reading.unit})" if reading.unit else label)
    plate.legend("right", columns=1)
    describe(plate, caption, seeds="")
    return plate
