"""The fingerprint of the code behind a result: what it runs, followed from import to import, without comments and docstrings.

Followed are the modules of attnlab, those of the same top-level package as the simulation, and every module that lies neither
in the standard library nor in ``site-packages`` (a user's own files beside a paper); of other packages the version counts.
With a module count the packages around it, the sources and tables (C, headers, JSON) that lie beside these, and of a user's
module the tables that it names: beside it or in a folder there.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import importlib.util
import sys
import sysconfig
import threading
from importlib.machinery import ModuleSpec
from pathlib import Path

from attnlab.papers.lab.run.read_code import ANY, read_code, remember

_code = functools.cache(read_code)
_parsing = threading.RLock()  # Python's own parser fails now and then when threads use it at once
_BESIDE = {".c", ".h", ".cu", ".json", ".npz", ".npy", ".csv"}
_LIBRARIES = tuple(
    Path(sysconfig.get_paths()[name]).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib")
)


def code_fingerprint(*modules: str) -> str:
    """SHA-256 of everything that the modules run, as it was when this process first read it.

    Raises ``ModuleNotFoundError`` for a module that is not there.
    """
    return _fingerprint(tuple(sorted(set(modules))))


def modules_behind(*modules: str) -> dict[str, str]:
    """Every module that the fingerprint covers, with the digest of its file and of what lies beside it; and packages."""
    with _parsing:
        found = dict(_behind(tuple(sorted(set(modules)))))
        remember()
        return found


def forget() -> None:
    """Read all files again: for tests that edit them."""
    for cache in (_fingerprint, _behind, _code, _source_of, _beside, _named, _folders):
        cache.cache_clear()


@functools.cache
def _fingerprint(roots: tuple[str, ...]) -> str:
    found = modules_behind(*roots)
    digest = hashlib.sha256()
    for name in sorted(found):
        digest.update(f"{name}\0{found[name]}\n".encode())
    return digest.hexdigest()


@functools.cache
def _behind(roots: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    own = {root.partition(".")[0] for root in roots} | {"attnlab"}
    found: dict[str, str] = {}
    held: set[str] = set()
    queue = [(root, False) for root in roots]  # a module, and whether any attribute of it may be used
    while queue:
        name, holds = queue.pop()
        top = name.partition(".")[0]
        if (name in found and (name in held or not holds)) or (
            top not in own and (top in found or top in sys.stdlib_module_names)
        ):
            continue
        place = _source_of(name if top in own else top) or _source_of(name)  # a namespace package has no file itself
        if place is None:
            if name in roots:
                raise ModuleNotFoundError(
                    f"the code of a result includes the module {name!r}, which is not there", name=name
                )
            queue += [(module, True) for module in _offered(name)]
            continue
        if top not in own and _is_library(place[0]):
            found[top] = _version(top)
        elif top not in own:
            own.add(top)  # a user's own package: followed like the simulation's
            queue.append((name, holds))
        else:
            path, is_package = place
            code = _code(path, name if is_package else name.rpartition(".")[0])
            found[name] = f"{code.digest} {_beside(path.parent)}" if is_package else code.digest
            if top != "attnlab":
                found[name] += "".join(_named(path.parent, table) for table in code.tables)
            queue += [(module, False) for module in code.runs]
            queue += [(module, True) for module in code.holds]
            queue += [
                (name.rsplit(".", k)[0], False) for k in range(1, name.count(".") + 1)
            ]  # packages around it run, too
            if holds:
                held.add(name)
                queue += [(module, True) for module in _modules_offered(name, *code.offers)]
    return tuple(found.items())


def _offered(name: str) -> list[str]:
    """Where a name comes from that no file of its own holds, if the module before it offers it at first use."""
    home, _, attribute = name.rpartition(".")
    return _modules_offered(home, attribute) if home else []


def _modules_offered(home: str, *names: str) -> list[str]:
    """The modules behind names that the module ``home`` offers at first use."""
    place = _source_of(home)
    if place is None or _is_library(place[0]):
        return []
    path, is_package = place
    package = home if is_package else home.rpartition(".")[0]
    offers = _code(path, package).offers
    if ANY in offers:  # it does not say what comes from where
        files = path.parent.rglob("*.py") if is_package else []
        inside = [file.relative_to(path.parent).with_suffix("").parts for file in files]
        return [".".join([home, *parts]).removesuffix(".__init__") for parts in inside]
    modules = {offers[name] for name in names if name in offers}
    return [near if _source_of(near := f"{package}.{module.lstrip('.')}") else module for module in sorted(modules)]


@functools.cache
def _source_of(name: str) -> tuple[Path, bool] | None:
    """The file of a module and whether it is a package; None if there is no such module or it has no file."""
    if name == "__main__":
        file = getattr(sys.modules.get(name), "__file__", None)
        return (Path(file), False) if file else None
    try:
        spec = _spec_of(name)
    except (ImportError, ValueError, AttributeError):  # a part of the name is no package
        return None
    if spec is None or not spec.has_location or spec.origin is None:
        return None
    return Path(spec.origin), spec.submodule_search_locations is not None


def _spec_of(name: str) -> ModuleSpec | None:
    """As ``importlib.util.find_spec``, which imports what lies around a module: here nothing is run to be read."""
    parent = name.rpartition(".")[0]
    if not parent or name in sys.modules:
        return importlib.util.find_spec(name)
    if parent in sys.modules:
        path = getattr(sys.modules[parent], "__path__", None)
    else:
        around = _spec_of(parent)
        path = None if around is None else around.submodule_search_locations
        if path is not None and _places_itself(around):
            return importlib.util.find_spec(name)
    if path is None:
        return None
    finders = (finder for finder in sys.meta_path if hasattr(finder, "find_spec"))
    return next(filter(None, (finder.find_spec(name, path) for finder in finders)), None)


def _places_itself(package: ModuleSpec) -> bool:
    """Whether a package says itself where its modules lie, which only running it tells."""
    return bool(package.has_location and package.origin) and b"__path__" in Path(package.origin).read_bytes()


@functools.cache
def _beside(folder: Path) -> str:
    """Digest of the sources and tables of a package that are not Python."""
    digest = hashlib.sha256()
    tables = (path for path in folder.iterdir() if path.suffix in _BESIDE)
    for path in sorted(tables, key=lambda path: path.name):
        if path.is_file():
            digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


@functools.cache
def _named(folder: Path, table: str) -> str:
    """Digests of the files that a module in the folder may mean by a text, whatever their ending; "" where there is none."""
    found = ""
    with contextlib.suppress(OSError, ValueError):  # what cannot be read here cannot be read by the simulation
        for place in ("", *_folders(folder)):
            path = folder / place / table
            if path.is_file():
                found += f" {table}\0{place}\0{hashlib.sha256(path.read_bytes()).hexdigest()}"
    return found


@functools.cache
def _folders(folder: Path) -> tuple[str, ...]:
    with contextlib.suppress(OSError):
        return tuple(sorted(each.name for each in folder.iterdir() if each.is_dir()))
    return ()


def _is_library(path: Path) -> bool:
    """Whether a file belongs to the standard library or to an installed package."""
    resolved = path.resolve()
    return bool({"site-packages", "dist-packages"} & set(resolved.parts)) or any(
        resolved.is_relative_to(folder) for folder in _LIBRARIES
    )


@functools.cache
def _version(package: str) -> str:
    """The version of an installed package, by the name it is imported under."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        names = _providers(package)
        return " ".join(f"{name} {importlib.metadata.version(name)}" for name in names) or "unknown version"


def _providers(package: str) -> list[str]:
    """Names of the installed distributions that hold a package, by their lists of files."""
    starts = [f"{package}{end}" for end in ("/", ".py,", ".cpython", ".abi3")]
    found = set()
    for distribution in importlib.metadata.distributions():
        files = "\n" + (distribution.read_text("RECORD") or "")
        if any(f"\n{start}" in files for start in starts):
            found.add(distribution.metadata["Name"])
    return sorted(found or set(importlib.metadata.packages_distributions().get(package, [])))
