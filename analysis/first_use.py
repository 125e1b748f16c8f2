"""Public names of a package that are loaded on first use, so that importing the package costs nothing.

A package lists them as ``_MODULES = {"module": ("name", ...)}``, modules by their name inside it or by their whole one, and
answers with :func:`load` in a ``__getattr__`` of its own. What such a list says is part of a result's identity
(:mod:`attnlab.papers.lab.run.read_code`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any


def names(modules: Mapping[str, Sequence[str]]) -> list[str]:
    """All public names, in order."""
    return sorted(name for each in modules.values() for name in each)


def load(package: str, modules: Mapping[str, Sequence[str]], name: str) -> Any:
    """What ``name`` is in the package. Raises ``AttributeError`` if it is not one of its names."""
    module = next((module for module, each in modules.items() if name in each), None)
    if module is None:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    return getattr(import_module(module if module.startswith("attnlab.") else f"{package}.{module}"), name)
