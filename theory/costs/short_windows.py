"""Many short windows, each kept whole on the chip: bytes of its scores and chunks, and the waste of padding.

Reference: Flash Window Attention (arXiv 2501.06480).
"""

from __future__ import annotations

import math


def window_on_chip_bytes(n_window: int, chunk: int = 16, element: int = 4) -> tuple[int, int, float]:
    """On-chip bytes forward and backward with feature chunks, and the padding efficiency (Flash Window Attention)."""
    padded = 1 << max(0, math.ceil(math.log2(n_window)))
    return (
        4 * padded**2 + 2 * element * padded * chunk,
        8 * padded**2 + 3 * element * padded * chunk,
        (n_window / padded) ** 2,
    )
