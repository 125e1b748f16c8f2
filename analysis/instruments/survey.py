"""What every instrument that given readings allow says of them, or why it refuses: one line per instrument."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from attnlab.analysis.instruments.instrument import Reading
from attnlab.analysis.instruments.listing import members
from attnlab.analysis.instruments.over_prompts import holm
from attnlab.analysis.instruments.readings import Readings


@dataclass(frozen=True)
class Line:
    """The main reading of an instrument, or in ``refused`` why there is none. ``found``: entries whose p falls at alpha by Holm,
    over the entries of this instrument; None where nothing is tested."""

    instrument: str
    reading: Reading | None
    refused: str
    found: int | None

    def words(self) -> str:
        """Median over entries with the range, unit, how many are found and the largest limit."""
        if self.reading is None:
            return f"refused: {self.refused}"
        value = np.ravel(self.reading.value)
        text = f"{np.nanmedian(value):.3g} ({np.nanmin(value):.3g} to {np.nanmax(value):.3g}) {self.reading.unit}"
        if self.found is None:
            return text
        limit = np.ravel(self.reading.limit)
        limit = limit[np.isfinite(limit)]
        would = f", {limit.max():.2g} would have been found with 80 % in each alone" if limit.size else ""
        return f"{text}; found in {self.found} of {value.size}{would}"


def survey(readings: Readings, alpha: float = 0.05) -> list[Line]:
    """Every instrument whose sites are among the readings', by name; those that need a model or a task are not asked."""
    lines = []
    for name, member in members().items():
        if not member.needs or not readings.has(*member.needs):
            continue
        try:
            reading = member.measure(readings)[member.main]
        except (ValueError, ImportError) as error:
            lines.append(Line(name, None, str(error), None))
            continue
        found = None
        if reading.p is not None:
            found = int((holm(np.ravel(reading.p)) <= alpha).sum())
        lines.append(Line(name, reading, "", found))
    return lines
