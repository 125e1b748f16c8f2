"""``attnlab new``: write the files of a new paper, task, operator, instrument or cost model; they say where to write."""

from __future__ import annotations

import argparse
import importlib.util
import keyword
import os
import sys
from pathlib import Path

from attnlab.papers.lab.commands.options import show
from attnlab.papers.lab.errors import UsageError

PARTS = ("paper", "task", "operator", "cost", "instrument")
EPILOG = """a paper is written into its rooms inside a checkout of attnlab, and as one folder with its tests anywhere else;
tasks, operators (FAMILY/NAME), instruments (ROOM/NAME) and cost models are members of a family and need a checkout"""


def configure(parser: argparse.ArgumentParser) -> None:
    """``PART NAME [--subject SUBJECT] [--folder FOLDER]``."""
    parser.epilog = EPILOG
    parser.add_argument("part", choices=PARTS, help="what to begin")
    parser.add_argument(
        "name",
        metavar="NAME",
        help="its name, lower case with underscores; an operator is FAMILY/NAME, an instrument ROOM/NAME",
    )
    parser.add_argument(
        "--subject", metavar="SUBJECT", help="the rooms of a paper in theory/ and simulators/ (default: NAME)"
    )
    parser.add_argument("--title", default="", help="the title of a paper")
    parser.add_argument("--authors", default="write the authors", help="the authors of a paper")
    parser.add_argument("--year", type=int, default=2000, help="the year of a paper")
    parser.add_argument("--folder", type=Path, default=Path("."), help="where to write (default: here)")


def run(arguments: argparse.Namespace) -> int:
    """Write the files and say what to do next."""
    root = checkout(arguments.folder)
    files, then = _files(arguments, root)
    home = root or arguments.folder
    if os.path.exists(home / "conftest.py"):
        files.pop("conftest.py", None)  # any conftest.py lets the tests beside it import from its folder
    there = sorted(str(home / path) for path in files if os.path.exists(home / path))
    if there:
        raise UsageError(f"{there[0]} is there already; nothing was written, take another name")
    made: list[Path] = []
    try:
        for path, text in files.items():
            target = home / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
            made.append(target)
    except OSError as error:
        for written in made:  # all of them or none, so that the same command can be given again
            written.unlink(missing_ok=True)
        raise UsageError(f"cannot write {target}: {error.strerror}; nothing was written") from error
    wrote = [str(home / path) for path in files]
    lines = [*(f"wrote {path}" for path in wrote), *(f"next  {line}" for line in then)]
    show(arguments, {"wrote": wrote, "next": then}, "\n".join(lines))
    return 0


def checkout(folder: Path) -> Path | None:
    """The root of the checkout of attnlab that a folder lies in, or None."""
    for place in (folder.resolve(), *folder.resolve().parents):
        if (place / "papers" / "lab" / "declare.py").exists() and (place / "theory").is_dir():
            return place
    return None


def _files(arguments: argparse.Namespace, root: Path | None) -> tuple[dict[str, str], list[str]]:
    from attnlab.papers.lab.parts import members, paper

    part, name = arguments.part, arguments.name
    if part == "paper":
        title = arguments.title or name.replace("_", " ").capitalize()
        words = {"title": _text(title), "authors": _text(arguments.authors), "year": str(arguments.year)}
        subject = _plain(arguments.subject or _plain(name))
        if root is None:
            _free(name)
            made = paper.elsewhere(name, words)
            where = arguments.folder / name / "paper.py"
            return made, _steps(f"./{arguments.folder / name}", f"{name}/theory.py", "tests", str(where))
        made = paper.in_a_checkout(name, subject, words, known_subject=(root / "theory" / subject).is_dir())
        return made, _steps(
            name, f"theory/{subject}/first_prediction.py", f"tests/papers/{name}", f"papers/{name}/claims.py"
        )
    if root is None:
        raise UsageError(
            f"a new {part} is a member of a family of attnlab; run this in a checkout, or say --folder CHECKOUT"
        )
    if part == "operator":
        family, slash, last = name.partition("/")
        if not slash:
            raise UsageError(f"an operator is named FAMILY/NAME, got {name!r}; for example score_maps/{name}")
        if not (root / "kernels" / "operators" / "operator.py").exists():
            raise UsageError("this checkout has no kernels/operators/operator.py, the protocol of operators; update it")
        new_family = not (root / "kernels" / "operators" / _plain(family)).is_dir()
        made = members.operator(family, _plain(last), new_family)
        test = f"pytest tests/kernels/operators/test_every_operator.py -k {last}"
    elif part == "task":
        made, test = (
            members.task(_plain(name)),
            f"pytest tests/simulators/tasks tests/simulators/test_every_task.py -k {name}",
        )
    elif part == "cost":
        made, test = members.cost(_plain(name)), f"pytest tests/theory/costs/test_{name}.py"
    else:
        room, slash, last = name.partition("/")
        if not slash:
            raise UsageError(f"an instrument is named ROOM/NAME, got {name!r}; for example maps/{name}")
        if not (root / "analysis" / "instruments" / "readings.py").exists():
            raise UsageError("this checkout has no analysis/instruments/readings.py, what instruments read; update it")
        new_room = not (root / "analysis" / "instruments" / _plain(room)).is_dir()
        made = members.instrument(room, _plain(last), new_room)
        test = f"pytest tests/analysis/instruments/test_every_instrument.py -k {last}"
    return made, [f"write where {next(iter(made))} says so", test]


def _steps(target: str, theory: str, tests: str, claims: str) -> list[str]:
    return [
        f"attnlab reproduce {target} --scale smoke     runs the simulation and says what is not written",
        f"write the prediction in {theory} and run again",
        f"write statement, twin and margin in {claims}",
        f"pytest {tests}",
    ]


def _plain(name: str) -> str:
    """The name, if it can be that of a module."""
    if keyword.iskeyword(name):
        raise UsageError(f"{name!r} is a word of Python, and no name of a module; take another name")
    if not (name.isidentifier() and name == name.lower() and not name.startswith("_") and len(name) <= 100):
        raise UsageError(f"{name!r} is not a name of a module; use lower case letters, digits and underscores")
    return name


def _free(name: str) -> None:
    """Refuse a name under which Python would import something else, or nothing."""
    if name == "tests" or name in sys.stdlib_module_names or importlib.util.find_spec(name) is not None:
        raise UsageError(
            f"{name!r} is the name of another module already, which Python would import; take another name"
        )


def _text(words: str) -> str:
    """Words as they can stand between the quotation marks of a Python text."""
    return " ".join(words.split()).replace("\\", "\\\\").replace('"', "'")
