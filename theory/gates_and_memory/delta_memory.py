r"""The delta form of the compressive memory: cost and state; what it reads is ``compressive_memory.repeated_read``.

Munkhdalai, Faruqui and Gopal 2024 (arXiv 2404.07143), equation 9.
"""

from __future__ import annotations

from typing import Any

from attnlab.theory.gates_and_memory import compressive_memory


def multiply_adds(sizes: Any, *, causal: bool = False, segment: int = 2) -> int:
    """Those of the plain memory, and a read before each write but the first (d d_v + d per token)."""
    plain = compressive_memory.multiply_adds(sizes, segment=segment)
    n_segments = -(-sizes.n // segment)
    return plain + sizes.n_heads * max(n_segments - 2, 0) * segment * sizes.d * (sizes.d_v + 1)


def state_numbers(sizes: Any, *, segment: int = 2) -> int:
    """As of the plain memory."""
    return compressive_memory.state_numbers(sizes, segment=segment)
