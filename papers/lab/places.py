"""Papers that live elsewhere: a file, a folder, an installed package, or what ``ATTNLAB_PAPERS`` names.

The module name of a file follows the rule that pytest has: climb while there is an ``__init__.py``; the first folder
without one goes to the front of ``sys.path``, and the way down from it is the name. ``proj/paper.py`` beside no
``__init__.py`` is the module ``paper``, so that ``import simulator`` finds ``proj/simulator.py``, as it does in
``python proj/paper.py``. Worker processes get the same ``sys.path``.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import importlib
import os
import pkgutil
import sys
import traceback
from collections.abc import Iterator
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import FrameType, ModuleType

from attnlab.papers.lab.declare import Paper
from attnlab.papers.lab.errors import UsageError, environment_error

GROUP = "attnlab.papers"
"""Entry points of this group name papers in installed packages: ``KEY = "package.module"``."""

VARIABLE = "ATTNLAB_PAPERS"
"""The variable that lists files and folders with papers, separated as in ``PATH``."""

_NOT_SEARCHED = {"build", "dist", "tests", "site-packages", "node_modules", "attnlab-results", "__pycache__"}


def is_path(target: str) -> bool:
    """Whether a target names a file or folder: it has a slash, ends in ``.py`` or starts with a dot."""
    name = target.partition("::")[0]
    return os.sep in name or "/" in name or name.endswith(".py") or name.startswith((".", "~"))


def absolute(target: str) -> str:
    """The target with its path made absolute, so that it means the same in another folder (``attnlab resume``)."""
    if not is_path(target):
        return target
    name, mark, item = target.partition("::")
    return f"{_at_home(Path(name)).resolve()}{mark}{item}"


def paper_files(place: Path) -> dict[str, Path]:
    """The papers of a file or folder, key to file; found by reading ``Paper(key="...")``, without running anything.

    A folder is searched with all below it but hidden folders, ``tests`` and build folders. Raises :class:`UsageError` if the
    place is not there or holds no paper, or the same key twice.
    """
    place = _at_home(place)
    if not os.path.exists(place):
        raise UsageError(f"no file or folder {place}; a target with a slash or the ending .py is a path to a paper")
    found: dict[str, Path] = {}
    for file in [place] if place.is_file() else _python_files(place):
        for key in keys_of(file):
            if key in found:
                raise UsageError(f"the key {key!r} is used in {found[key]} and in {file}; give one of them another key")
            found[key] = file.resolve()
    if not found:
        raise UsageError(
            f'{place} declares no paper: write `paper = Paper(key="...", ...)` at the top level of a module; '
            "`attnlab new paper NAME` makes one that runs"
        )
    return found


def keys_of(file: Path) -> tuple[str, ...]:
    """The keys of the papers that a file makes at its top level, as constants."""
    return _keys(file, file.stat().st_mtime_ns)


def named_by_environment() -> dict[str, Path]:
    """The papers of ``ATTNLAB_PAPERS``, key to file."""
    found: dict[str, Path] = {}
    for place in filter(None, os.environ.get(VARIABLE, "").split(os.pathsep)):
        try:
            found |= paper_files(Path(place))
        except UsageError as error:
            raise UsageError(f"{VARIABLE}: {error}") from None
    return found


def installed() -> dict[str, EntryPoint]:
    """The papers that installed packages declare, key to entry point."""
    return {point.name: point for point in entry_points(group=GROUP)}


def load_file(file: Path, key: str) -> Paper:
    """The paper ``key`` of a file, with every module of its folder if that is a package and the file is ``paper.py``."""
    root, name = module_of(file)
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
        importlib.invalidate_caches()
    known = sys.modules.get(name)
    if known is not None and not _same_file(known, file):
        raise UsageError(
            f"{file} would be the module {name!r}, which is {getattr(known, '__file__', None) or 'built in'} already; rename "
            f"the file, or put an __init__.py into a folder {file.parent.name!r} of its own so that it becomes "
            f"'{file.parent.name}.{name}'"
        )
    module = _imported(name, str(file))
    return paper_of(module, key, str(file))


def _imported(name: str, where: str) -> ModuleType:
    """The module ``name``; an error while it is imported is the author's to mend, as :func:`_blamed` says it."""
    with _blamed(where):
        return importlib.import_module(name)


@contextlib.contextmanager
def _blamed(where: str) -> Iterator[None]:
    """What goes wrong while ``where`` is imported, with the lines of the author's files alone."""
    try:
        yield
    except UsageError:
        raise
    except SystemExit:
        raise UsageError(
            f"{where} ends the program while it is imported; with `from attnlab.papers.lab import main`, write its last "
            "lines as\n"
            'if __name__ == "__main__":\n    raise SystemExit(main(paper))'
        ) from None
    except Exception as error:
        if where.startswith("attnlab."):
            raise
        calls = [(frame, line) for frame, line in traceback.walk_tb(error.__traceback__) if _is_authors(frame)]
        lines = [*traceback.StackSummary.extract(iter(calls)).format(), *traceback.format_exception_only(error)]
        raise UsageError(f"{where} cannot be imported:\n{''.join(lines).rstrip()}") from error


def _is_authors(frame: FrameType) -> bool:
    """Whether a call was made in the author's files: neither in Python's import system nor in attnlab."""
    return frame.f_globals.get("__name__", "").partition(".")[0] not in ("attnlab", "importlib")


def load_installed(point: EntryPoint) -> Paper:
    """The paper that an entry point names: a Paper, its module, or the package that holds its ``paper.py``."""
    with _blamed(f"the entry point {point.value!r} of {GROUP}"):
        found = point.load()
    if (
        isinstance(found, ModuleType)
        and hasattr(found, "__path__")
        and not isinstance(getattr(found, "paper", None), Paper)
    ):
        found = _imported(f"{found.__name__}.paper", f"{found.__name__}.paper")
    if isinstance(found, ModuleType):
        return paper_of(found, point.name, f"the entry point {point.value!r} of {GROUP}")
    if not isinstance(found, Paper) or found.key != point.name:
        raise UsageError(
            f"the entry point {point.name} = {point.value!r} of {GROUP} gives {found!r}; "
            f"expected a Paper with key={point.name!r}, or its module"
        )
    return found


def paper_of(module: ModuleType, key: str, where: str) -> Paper:
    """The paper ``key`` that a module defines, once the modules beside it (``PACKAGE.paper`` only) have registered theirs."""
    papers = [value for value in vars(module).values() if isinstance(value, Paper) and value.key == key]
    if not papers:
        raise UsageError(f"{where} must define `paper = Paper(key={key!r}, ...)` at its top level")
    home, _, last = module.__name__.rpartition(".")
    if home and last == "paper":
        for beside in sorted(each.name for each in pkgutil.iter_modules(sys.modules[home].__path__)):
            if not beside.startswith(("_", "test_", "conftest")):
                _imported(f"{home}.{beside}", f"{home}.{beside}")
    return papers[0]


def module_of(file: Path) -> tuple[Path, str]:
    """The folder that ``sys.path`` needs, and the name of the module, for a file: climb while there is an ``__init__.py``."""
    file = file.resolve()
    parts, folder = [file.stem], file.parent
    while (folder / "__init__.py").exists():
        parts.insert(0, folder.name)
        folder = folder.parent
    for part in parts:
        if not part.isidentifier():
            raise UsageError(f"{file} cannot be imported: {part!r} is not a Python name; rename it, for example with _")
    return folder, ".".join(parts)


def is_theory(module: str) -> bool:
    """Whether a module holds predictions: one of attnlab.theory, or one that is called theory in a paper elsewhere."""
    if module.startswith("attnlab."):
        return module.startswith("attnlab.theory.")
    return "theory" in module.split(".")


def _at_home(place: Path) -> Path:
    """The path with ``~`` as the home folder."""
    try:
        return place.expanduser()
    except RuntimeError:
        raise UsageError(f"no home folder is known for {place}; write the path in full") from None


def _python_files(folder: Path, above: frozenset[Path] = frozenset()) -> Iterator[Path]:
    """The modules of a folder and of those below it; hidden ones, links to nothing and links back up are passed over."""
    above |= {folder.resolve()}
    try:
        inside = sorted(folder.iterdir())
    except OSError as error:
        raise environment_error(error, f"search {folder} for papers") from error
    for path in inside:
        if path.name.startswith((".", "test_", "conftest")):
            continue
        if path.is_dir():
            if path.name not in _NOT_SEARCHED and path.resolve() not in above:
                yield from _python_files(path, above)
        elif path.suffix == ".py" and path.is_file():
            yield path


@functools.lru_cache(maxsize=4096)
def _keys(file: Path, changed: int) -> tuple[str, ...]:
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise environment_error(error, f"read {file}") from error
    if "Paper(" not in text:
        return ()
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        raise UsageError(f"{file}, line {error.lineno or 1}: {error.msg}") from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise UsageError(f"{file} is no Python that can be read: {error}") from None
    calls = [node.value for node in tree.body if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value]
    return tuple(
        keyword.value.value
        for call in calls
        if isinstance(call, ast.Call) and getattr(call.func, "id", getattr(call.func, "attr", "")) == "Paper"
        for keyword in call.keywords
        if keyword.arg == "key" and isinstance(keyword.value, ast.Constant) and isinstance(keyword.value.value, str)
    )


def _same_file(module: ModuleType, file: Path) -> bool:
    place = getattr(module, "__file__", None)
    return place is not None and Path(place).resolve() == file.resolve()
