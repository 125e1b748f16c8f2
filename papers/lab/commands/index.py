"""``attnlab index``: from a paper's theorems, equations and figures to the functions, claims and tests that hold them."""

from __future__ import annotations

import argparse
import inspect
import types
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attnlab.papers.lab.commands.options import show
from attnlab.papers.lab.places import is_theory

if TYPE_CHECKING:
    from attnlab.papers.lab.declare import Item, Paper


def configure(parser: argparse.ArgumentParser) -> None:
    """``TARGET... --markdown``."""
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="papers (default: all)")
    parser.add_argument("--markdown", action="store_true", help="tables, as the page of the documentation has them")


def run(arguments: argparse.Namespace) -> int:
    """Print the index of the papers."""
    from attnlab.papers.lab.registry import load, paper_keys, select

    papers = select(arguments.targets).papers if arguments.targets else [load(key) for key in paper_keys()]
    rows = {paper.key: index_of(paper) for paper in papers}
    show(arguments, {"papers": rows}, markdown(rows) if arguments.markdown else text(rows))
    return 0


def index_of(paper: Paper) -> list[dict[str, Any]]:
    """One row per claim and figure: its place in the source, its function, the theory it calls, the tests that name it."""
    tests = _tests_of(paper)
    rows = []
    items: list[Item] = [*paper.in_order(), *paper.figures.values()]
    for item in items:
        function = getattr(item, "forms", None) or item.function
        file, line = inspect.getsourcefile(function), inspect.getsourcelines(function)[1]
        theory = sorted({f"{found.__module__}.{found.__qualname__}" for found in theory_called(function)})
        rows.append(
            {
                "source": item.source,
                "id": item.id,
                "what": "claim" if hasattr(item, "statements") else "figure",
                "statements": list(getattr(item, "statements", ())),
                "at": f"{_short(file)}:{line}",
                "theory": [name.removeprefix("attnlab.") for name in theory],
                "tests": [name for name, words in tests.items() if f'"{item.name}"' in words] + _theory_tests(theory),
            }
        )
    return rows


def theory_called(function: Callable[..., Any]) -> set[Callable[..., Any]]:
    """The functions of theory that a function of a paper names, through the helpers of the same paper."""
    home = function.__module__.rpartition(".")[0] or function.__module__
    found: set[Callable[..., Any]] = set()
    seen: set[types.CodeType] = set()
    queue: list[Any] = [function]
    while queue:
        each = inspect.unwrap(queue.pop())
        code = getattr(each, "__code__", None)
        if code is None or code in seen:
            continue
        seen.add(code)
        for value in _named_in(code, each.__globals__):
            module = getattr(value, "__module__", None) or ""
            if not callable(value) or not hasattr(value, "__qualname__"):
                continue
            if is_theory(module):
                found.add(value)
            elif module.startswith(home) and inspect.isfunction(inspect.unwrap(value)):
                queue.append(value)
    return found


def _named_in(code: types.CodeType, names: dict[str, Any]) -> Iterator[Any]:
    """The global objects that a code object names, with attributes of modules; nested functions included."""
    for name in code.co_names:
        value = names.get(name)
        if isinstance(value, types.ModuleType):
            yield from (vars(value).get(each) for each in code.co_names)
        elif value is not None:
            yield value
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _named_in(constant, names)


def _root() -> Path | None:
    """The folder of the repository, where it is one (the tests are not installed)."""
    root = Path(__file__).resolve().parents[3]
    return root if (root / "tests" / "papers").is_dir() else None


def _tests_of(paper: Paper) -> dict[str, str]:
    """The text of each test file of a paper, by its path in the repository."""
    root = _root()
    if root is None:
        return {}
    folder = root / "tests" / "papers" / paper.key
    return {_short(str(file)): file.read_text(encoding="utf-8") for file in sorted(folder.rglob("test_*.py"))}


def _theory_tests(theory: Sequence[str]) -> list[str]:
    """The test files that mirror the modules of theory."""
    root = _root()
    if root is None:
        return []
    modules = {
        name.rpartition(".")[0].removeprefix("attnlab.theory.") for name in theory if name.startswith("attnlab.")
    }
    files = [root / "tests" / "theory" / (module.replace(".", "/") + ".py") for module in sorted(modules)]
    files = [file.with_name(f"test_{file.name}") for file in files]
    return [_short(str(file)) for file in files if file.exists()]


def _short(file: str | None) -> str:
    """A path from the root of the repository or of the package."""
    if file is None:
        return "?"
    path, root = Path(file).resolve(), Path(__file__).resolve().parents[3]
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)


def text(rows: dict[str, list[dict[str, Any]]]) -> str:
    """A few lines per item."""
    lines = []
    for key, items in rows.items():
        lines.append(key)
        for row in items:
            lines.append(f"  {row['source'] or '(no place)'}")
            lines.append(f"    {row['what']:<8} {row['id']}  {row['at']}")
            lines += [f"    theory   {name}" for name in row["theory"]]
            lines += [f"    test     {name}" for name in row["tests"]]
        lines.append("")
    return "\n".join(lines).rstrip()


def markdown(rows: dict[str, list[dict[str, Any]]]) -> str:
    """One table per paper."""
    parts = []
    for key, items in rows.items():
        lines = [f"## {key}", "", "| in the paper | claim or figure | predicted by | tests |", "|---|---|---|---|"]
        for row in items:
            name = row["id"].partition(".")[2]
            cells = (
                row["source"].replace("|", "\\|") or "–",
                f"`{name}` <br> {row['at']}",
                " <br> ".join(f"`{each.removeprefix('theory.')}`" for each in row["theory"]),
                " <br> ".join(each.removeprefix("tests/") for each in row["tests"]),
            )
            lines.append(f"| {' | '.join(cells)} |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)
