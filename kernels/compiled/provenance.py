"""What really ran: whoever loads or makes code while a simulation runs says so here, and the laboratory asks afterwards.

``teller`` registers a function that says what its part has done in this process, in plain text: builds that were loaded with
their hashes, builds that could not be had, an emitter with its version and the hash of what it emitted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypedDict


class Told(TypedDict, total=False):
    """``loaded``: name to hash of code that was loaded or made; ``missing``: name to the reason why a slower path ran."""

    loaded: dict[str, str]
    missing: dict[str, str]


_tellers: dict[str, Callable[[], Told]] = {}


def teller(part: str) -> Callable[[Callable[[], Told]], Callable[[], Told]]:
    """Register ``function() -> {"loaded": {name: hash}, "missing": {name: reason}}`` under the name of a part."""

    def register(function: Callable[[], Told]) -> Callable[[], Told]:
        _tellers[part] = function
        return function

    return register


def told() -> Told:
    """What all parts say, together; names are unique because each starts with its part's own file or emitter."""
    loaded: dict[str, str] = {}
    missing: dict[str, str] = {}
    for function in _tellers.values():
        said = function()
        loaded |= said.get("loaded", {})
        missing |= said.get("missing", {})
    return {"loaded": loaded, "missing": missing}
