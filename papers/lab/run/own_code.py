"""Which imported modules are code of the experiment, and not of a library: these enter the identity of a result.

Ours are the modules of attnlab, those of the same top-level package as the simulation, and those that lie under the
folder from which the simulation itself was imported, unless that folder is where Python keeps its libraries. So a
helper beside a paper outside this repository counts, and numpy does not.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
import sys
import sysconfig
from importlib.machinery import ModuleSpec
from pathlib import Path


def imports_of_ours(tree: ast.Module, module: str, simulation: str) -> list[str]:
    """Names of the modules of ours that the tree of ``module`` imports, anywhere in it, for a simulation in ``simulation``.

    Relative imports are resolved; ``from package import name`` counts the package, and the name where that is a module.
    """
    spec = find(module)
    package = module if spec is not None and spec.submodule_search_locations is not None else module.rpartition(".")[0]
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package.split(".")[: len(package.split(".")) - node.level + 1]) if node.level else ""
            home = ".".join(filter(None, [base, node.module]))
            names += [home, *(f"{home}.{alias.name}" for alias in node.names if alias.name != "*")]
    return [name for name in dict.fromkeys(names) if name and is_ours(name, simulation) and find(name) is not None]


def is_ours(name: str, simulation: str) -> bool:
    """Whether a module is code of the experiment whose simulation lies in the module ``simulation``."""
    top = name.partition(".")[0]
    if top in ("attnlab", simulation.partition(".")[0]):
        return True
    place, root = _place(top), _root(simulation)
    if place is None or root is None or not place.is_relative_to(root):
        return False
    return not any(place.is_relative_to(kept) for kept in _libraries())  # a .venv inside the project is not the project


def find(name: str) -> ModuleSpec | None:
    """The specification of a module, or None if there is no such module."""
    try:
        return importlib.util.find_spec(name)
    except (
        ImportError,
        ValueError,
        AttributeError,
    ):  # no such parent, a parent that is no package, a module without a spec
        return None


@functools.cache
def _place(top: str) -> Path | None:
    """The file or folder of a top-level module; None if it is built in."""
    spec = find(top)
    if spec is None:
        return None
    where = spec.origin if spec.has_location else next(iter(spec.submodule_search_locations or ()), None)
    return Path(where).resolve() if where else None


@functools.cache
def _root(simulation: str) -> Path | None:
    """The folder from which a simulation's top-level module came, or None if it is one of Python's own."""
    place = _place(simulation.partition(".")[0])
    if place is None:
        return None
    root = place.parent.parent if place.name == "__init__.py" else place.parent
    return None if root in _libraries() else root


@functools.cache
def _libraries() -> frozenset[Path]:
    """The folders where Python keeps its own modules and what is installed, and those on the path that are named so."""
    named = {Path(sysconfig.get_path(kind)).resolve() for kind in ("stdlib", "platstdlib", "purelib", "platlib")}
    return frozenset(
        named | {Path(p).resolve() for p in sys.path if Path(p).name in ("site-packages", "dist-packages")}
    )
