"""What an error says of a name that nobody knows; ``kernels/suggestions.py`` is the same for kernels and simulators."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``"; did you mean 'n_context'?"`` for the known name nearest to ``name``, or nothing if none is near."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
