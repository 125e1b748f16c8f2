"""What an error says of a name that nobody knows; ``analysis/suggestions.py`` is the same, as it imports nothing of ours."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``"; did you mean 'n_context'?"`` for the known name nearest to ``name``, or nothing if none is near."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
