"""The laboratory: how papers are declared, run, stored and shown; and its public door for Python.

    from attnlab.papers.lab import reproduce

    results = reproduce("he2025.debiased_gd", scale="smoke")
    print(results)

The names below load on first use. ``reproduce``, ``show``, ``papers`` and ``load_paper`` do what the command line does;
``Paper``, ``Source`` and ``Scales`` declare a paper; ``simulation`` declares a simulator; ``PlantedLab`` tests a claim without
one; ``UsageError`` is what a bad argument raises.
"""

from typing import Any

from attnlab.analysis import first_use

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

__all__ = first_use.names(_MODULES)


def __getattr__(name: str) -> Any:
    return first_use.load(__name__, _MODULES, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
