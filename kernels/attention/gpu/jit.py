"""Triton if it is there: its decorator and language, or stand-ins that let the kernel modules be imported without it."""

from __future__ import annotations

try:
    import triton
    import triton.language as tl

    jit = triton.jit
except ImportError:  # the extra "gpu" is not installed: the functions stay plain and are never called

    class tl:
        """Annotations need the name only."""

        constexpr = object

    def jit(function):
        """The function as it is."""
        return function
