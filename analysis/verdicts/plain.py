"""Records as JSON has them: lists, numbers and text, no infinities."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any


def plain(x: Any) -> Any:
    """Tuples and arrays as lists, numbers of numpy as Python's, paths as text, and None for what is not finite."""
    if isinstance(x, dict):
        return {str(key): plain(value) for key, value in x.items()}
    if isinstance(x, (list, tuple)):
        return [plain(value) for value in x]
    if hasattr(x, "tolist"):
        return plain(x.tolist())
    if isinstance(x, float):
        return x if math.isfinite(x) else None
    return str(x) if isinstance(x, Path) else x
