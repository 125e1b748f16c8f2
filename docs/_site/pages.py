"""Pages that are made and not written: the reference of the modules, the index from equation to code, the table of powers."""

from __future__ import annotations

import re
import shutil
import types
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
ROOMS = {
    "theory": "Theory: what the mathematics says",
    "kernels": "Kernels: how attention is computed",
    "simulators": "Simulators: what actually happens",
    "analysis": "Analysis: how the two are compared and shown",
    "papers/lab": "The laboratory",
}
NOT_SHOWN = {"__main__", "pytest_plugin"}


def setup(app: Any) -> dict[str, bool]:
    """Make the pages before Sphinx reads its sources."""
    app.connect("builder-inited", lambda app: write_pages(Path(app.srcdir)))
    app.connect("autodoc-process-docstring", _as_rst)
    app.connect("autodoc-skip-member", _skip)
    return {"parallel_read_safe": True}


def write_pages(docs: Path) -> None:
    """Write ``docs/api``: one page per folder of modules, in the order of the tree."""
    api = docs / "api"
    shutil.rmtree(api, ignore_errors=True)
    api.mkdir()
    entries = []
    for room, title in ROOMS.items():
        names = []
        for folder in sorted({file.parent for file in (ROOT / room).rglob("*.py")}):
            modules = public_modules(folder)
            if modules:
                name = ".".join(("attnlab", *folder.relative_to(ROOT).parts))
                (api / f"{name}.rst").write_text(_page(name, folder, modules), encoding="utf-8")
                names.append(name)
        page = room.replace("/", "_")
        tree = "\n".join(f"   {name}" for name in names)
        (api / f"{page}.rst").write_text(
            f"{title}\n{'=' * len(title)}\n\n.. toctree::\n   :maxdepth: 1\n\n{tree}\n", encoding="utf-8"
        )
        entries.append(page)
    tree = "\n".join(f"   {entry}" for entry in entries)
    from attnlab.papers.lab.commands.index import index_of, markdown
    from attnlab.papers.lab.registry import load, own_keys

    head = (
        "# From equation to code\n\nEvery theorem, equation and figure that a claim or figure names, with the function that "
        "judges it, the functions of `theory` that it calls, and the tests that hold them. `attnlab index PAPER` prints the same."
        "\n\n"
    )
    (docs / "equations.md").write_text(head + markdown({key: index_of(load(key)) for key in own_keys()}) + "\n")
    (docs / "power.md").write_text(power_table(docs / "measured"), encoding="utf-8")
    (api / "index.rst").write_text(
        "Reference\n=========\n\nEvery public function and class, from its docstring. The public door for Python is\n"
        ":mod:`attnlab.papers.lab`; the judges are in :mod:`attnlab.analysis`.\n\n"
        f".. toctree::\n   :maxdepth: 2\n\n{tree}\n",
        encoding="utf-8",
    )


def power_table(measured: Path) -> str:
    """One row for each ``measured/power_PAPER.md``: how many mutants its claims, and claims or tests, refute."""
    lines = [
        "# Would a wrong theory be seen?",
        "",
        "Theory is broken in one place at a time, and the claims of a paper are judged again on the same stored runs "
        "(`attnlab power PAPER --mutants`). Of the mutants that move a judged number by more than 5 %, the share that claims "
        "refute, and that claims or the tests of the module refute. *Resolves*: the median over its equality verdicts of the "
        "smallest relative change of a prediction that the same data would have refuted.",
        "",
        "| paper | mutants | refuted by claims | by claims or tests | nobody sees | resolves |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for file in sorted(measured.glob("power_*.md")):
        text, key = file.read_text(encoding="utf-8"), file.stem.removeprefix("power_")
        row = re.search(r"^\| more than 5 % \| (\d+) \| (\d+) \(.*?\) \| (\d+) \| \d+ \| (\d+)", text, re.M)
        if row is None:
            raise ValueError(f"{file} has no row of mutants above 5 %: write it with `attnlab power {key} --mutants`")
        mutants, claims, tests, nobody = map(int, row.groups())
        shares = [f"{100 * n / mutants:.0f} %" if mutants else "" for n in (claims, claims + tests)]
        median = re.search(r"Median over equality verdicts: (.*?)\.\n", text)
        cells = (
            f"[{key}](measured/{file.name})",
            mutants,
            *(f"{n} ({share})" for n, share in zip((claims, claims + tests), shares, strict=True)),
        )
        lines.append(f"| {' | '.join(map(str, (*cells, nobody, median[1] if median else '')))} |")
    return "\n".join(lines) + "\n"


def public_modules(folder: Path) -> list[str]:
    """Names of the modules of a folder that have a page, the package itself first if it says more than a line."""
    found = []
    for file in sorted(folder.glob("*.py")):
        if file.stem in NOT_SHOWN or (file.stem.startswith("_") and file.stem != "__init__"):
            continue
        found.append(file.stem)
    return found if any(name != "__init__" for name in found) else []


def _page(name: str, folder: Path, modules: list[str]) -> str:
    title = name.removeprefix("attnlab.")
    lines = [title, "=" * len(title), ""]
    for module in modules:
        full = name if module == "__init__" else f"{name}.{module}"
        if module != "__init__":
            lines += [module, "-" * len(module), ""]
        file = folder / f"{module}.py"
        lazy = module == "__init__" and "def __getattr__" in file.read_text(encoding="utf-8")
        lines += [f".. automodule:: {full}", *(["   :no-members:"] if lazy or module == "__init__" else []), ""]
    return "\n".join(lines)


def _as_rst(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Docstrings are written to be read as text: bars and stars in prose are bars and stars.

    ``[Student1908]_`` becomes a citation of ``references.bib``. Literals, formulas and code stay as they are.
    """
    inside = None  # indentation of the directive or literal block that a line belongs to
    for k, line in enumerate(lines):
        depth = len(line) - len(line.lstrip())
        if inside is not None and line.strip() and depth <= inside:
            inside = None
        if inside is None:
            bullet = re.match(r"\s*[*-] ", line)
            start = bullet.end() if bullet else 0
            parts = _PIECES.split(line[start:])
            lines[k] = line[:start] + "".join(part if k % 2 else _prose(part) for k, part in enumerate(parts))
            if line.lstrip().startswith(".. ") or line.rstrip().endswith("::"):
                inside = depth


_PIECES = re.compile(r"(``.+?``|:\w+(?::\w+)?:`[^`]+`|`[^`]+`_{0,2})")


def _prose(text: str) -> str:
    text = re.sub(r"\[([A-Z]\w+\d{4}[a-z]?)\]_", r":cite:t:`\1`", text)
    text = text.replace("|", r"\|")
    return re.sub(r"(\*\*?(?=\S)[^*]*?\S\*\*?(?!\w))|\*", lambda found: found[1] or r"\*", text)


def _skip(app: Any, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    """Aliases of built-in methods have the docstring of another project."""
    return True if isinstance(obj, types.BuiltinFunctionType) else None
