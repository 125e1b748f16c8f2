"""Triton if it is there: its decorator and language, or stand-ins that let the kernel modules be imported without it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

try:
    import triton
    import triton.language as tl

    jit = triton.jit
except ImportError:  # the extra "gpu" is not installed: the functions stay plain and are never called

    class tl:
        """Annotations need the name only."""

        constexpr: type = object

    def jit(function: Callable[..., Any]) -> Callable[..., Any]:
        """The function as it is."""
        return function
