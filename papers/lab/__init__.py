"""The laboratory: how papers are declared, run, stored and shown; and its public door for Python.

    from attnlab.papers.lab import reproduce

    results = reproduce("he2025.debiased_gd", scale="smoke")
    print(results)

The names below load on first use. ``reproduce``, ``show``, ``papers`` and ``load_paper`` do what the command line does;
``Paper``, ``Source`` and ``Scales`` declare a paper; ``simulation`` declares a simulator; ``PlantedLab`` tests a claim without
one; ``UsageError`` is what a bad argument raises.
"""

from importlib import import_module
from typing import Any

_MODULES = {
    "attnlab.papers.lab.python.calls": ("load_paper", "papers", "reproduce", "show"),
    "attnlab.papers.lab.python.script": ("main",),
    "attnlab.papers.lab.python.results": ("ClaimResult", "FigureResult", "Results"),
    "attnlab.papers.lab.declare": ("Claim", "Paper", "Scales", "Source"),
    "attnlab.papers.lab.errors": ("UsageError",),
    "attnlab.papers.lab.run.planted": ("PlantedLab",),
    "attnlab.papers.lab.run.workbench": ("Runs",),
    "attnlab.simulators.ensemble.simulation": ("simulation",),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
