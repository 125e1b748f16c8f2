"""What projections of tokens into heads and back cost: shared by the operators of the atlas that take tokens."""

from __future__ import annotations

from typing import Any


def head_projections(sizes: Any, count: int = 4) -> int:
    """Multiply-adds of ``count`` projections between tokens and all heads, count n D H d; D = ``sizes.d_model`` = H d."""
    return count * sizes.n * sizes.d_model * sizes.n_heads * sizes.d
