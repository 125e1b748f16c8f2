"""The figure of ``attnlab bench``: cost against each size, measured beside the lower bound of the cost model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from attnlab.analysis import figures

_AXES = {
    "problems": "problems P",
    "tokens": "tokens N",
    "width": "head width d",
    "replicas": "replicas R",
    "batch": "batch B",
    "context": "context L",
}
_NAMES = {
    "c": "compiled (this package)",
    "torch sdpa": "torch SDPA",
    "torch eager": "torch eager",
    "fused": "fused step (this package)",
    "batched": "batched (this package)",
    "loop, folded": "loop over models, torch",
}  # the faster of the two loops; the other would hide behind it


def draw(what: str, records: list[dict[str, Any]], folder: Path) -> list[str]:
    """Save ``folder``/bench_{what}.pdf, .svg, .png and the data; the names of the files."""
    swept = list(dict.fromkeys(record["varies"] for record in records))
    plate = figures.Plate(1, len(swept), width="double", height=2.9)
    for panel, varies in zip(plate, swept, strict=True):
        mine = [record for record in records if record["varies"] == varies]
        values = np.array(sorted({record[varies] for record in mine}), dtype=float)
        for name in (name for name in _NAMES if any(record["candidate"] == name for record in mine)):
            median, best = (
                np.array([record[key] for record in mine if record["candidate"] == name])
                for key in ("median_ms", "best_ms")
            )
            figures.estimate(
                panel, values, median, best, median, _NAMES[name], interval="from the best round to the median"
            )
        bound = [next(record["bound_ms"] for record in mine if record[varies] == value) for value in values]
        figures.prediction(panel, values, np.array(bound), "cost model, lower bound")
        panel.scale(x="log", y="log")
        panel.ticks(x=[float(value) for value in values])
        fixed = ", ".join(
            f"{_AXES[key].split()[-1]} = {mine[0][key]}" for key in _AXES if key in mine[0] and key != varies
        )
        panel.heading(fixed)
        panel.labels(x=_AXES[varies], y="time of a call (ms)" if panel is plate[0] else "")
    plate.legend("below", columns=3)
    subject = (
        "Causal attention, forward and backward"
        if what == "kernels"
        else "Loss and gradient of a causal in-context regression step (d = 5, 4 heads)"
    )
    figures.describe(
        plate,
        f"{subject}: time against each size. The line is the slowest of arithmetic, memory and "
        "exponentials at the rates measured in the same run",
        seeds="",
    )
    return [str(path) for path in plate.save(folder, f"bench_{what}")]
