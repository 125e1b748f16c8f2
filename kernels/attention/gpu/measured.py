"""What was measured on GPUs and committed: ``measured.json``, written by ``make gpu-check``.

The file maps the name of a device to the seconds that the trainer took on the CPU divided by those on the device, median over the
simulations of the check. An empty file means that nothing was measured, so that ``--device auto`` stays on the CPU.
"""

from __future__ import annotations

import json
from pathlib import Path

FILE = Path(__file__).with_name("measured.json")


def measured() -> dict[str, float]:
    """Speed of training on each measured device, as a multiple of the CPU's."""
    return json.loads(FILE.read_text(encoding="utf-8"))


def trains_faster(device_name: str) -> bool:
    """Whether a committed measurement says that training is faster on a device of this name than on the CPU."""
    return measured().get(device_name, 0.0) > 1.0
