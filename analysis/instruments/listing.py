"""Which instruments there are: those that lie in the folders beside this file, one per module."""

from __future__ import annotations

import functools
import importlib
import pkgutil

from attnlab.analysis.instruments.instrument import Instrument
from attnlab.analysis.suggestions import did_you_mean

_HOME = "attnlab.analysis.instruments"


@functools.cache
def names() -> tuple[str, ...]:
    """``room/name`` of every instrument, sorted."""
    home = importlib.import_module(_HOME)
    found = []
    for room in (each.name for each in pkgutil.iter_modules(home.__path__) if each.ispkg):
        inside = importlib.import_module(f"{_HOME}.{room}")
        found += [f"{room}/{each.name}" for each in pkgutil.iter_modules(inside.__path__) if each.name[0] != "_"]
    return tuple(sorted(found))


def instrument(name: str) -> Instrument:
    """The instrument ``room/name``, or ``name`` where one room alone has it.

    Errors: ``ValueError`` for an unknown name, with the nearest, and for a module that does not end with ``INSTRUMENT = ...``.
    """
    whole = [each for each in names() if name in (each, each.rpartition("/")[2])]
    if len(whole) != 1:
        raise ValueError(f"no instrument {name!r}{did_you_mean(name, names())}; there are {', '.join(names())}")
    module = importlib.import_module(f"{_HOME}.{whole[0].replace('/', '.')}")
    found = getattr(module, "INSTRUMENT", None)
    if not isinstance(found, Instrument):
        raise ValueError(f"analysis/instruments/{whole[0]}.py must end with INSTRUMENT = Instrument(...)")
    return found


def members() -> dict[str, Instrument]:
    """Every instrument by ``room/name``."""
    return {name: instrument(name) for name in names()}
