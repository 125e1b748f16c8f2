"""Mappings of results that answer an unknown name with a sentence: the name, the nearest one, and what is there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from attnlab.papers.lab.errors import did_you_mean

V = TypeVar("V")
_SHOWN = 20  # names that a sentence lists


def unknown(what: str, name: object, known: Iterable[str]) -> KeyError:
    """What to raise where ``name`` is no ``what``: ``no figure 'fig2'; did you mean 'fig1'; there are fig1, fig4``."""
    known = list(dict.fromkeys(known))
    listed = ", ".join(known[:_SHOWN]) + (f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else "")
    near = did_you_mean(str(name), known)
    return KeyError(f"no {what} {name!r}{near}; there {f'are {listed}' if known else 'is none'}")


class Named(dict[str, V]):
    """A dictionary of ``what``, for example ``"entry of the record"``, that says so of a name which it lacks."""

    def __init__(self, values: Mapping[str, V], what: str) -> None:
        super().__init__(values)
        self.what = what

    def __missing__(self, name: str) -> V:
        raise unknown(self.what, name, self)
