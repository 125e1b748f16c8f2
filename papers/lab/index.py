"""What ``attnlab list`` and ``show`` say about the papers of this package, kept in a file named by the hash of the sources.

Importing all papers takes seconds; their descriptions are small. The file is made by the first call after any change of a
source, lies in the cache folder, holds plain JSON, and only ever describes: whatever runs imports the paper itself.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from attnlab.analysis.writing import write_atomically
from attnlab.kernels.compiled.compiler import cache_folder
from attnlab.papers.lab import registry
from attnlab.papers.lab.declare import DECLARED, SCALES, Claim, Paper, PaperFigure, Scales, Source

FORMAT = 1
KEPT = 5  # files of earlier sources
_ROOMS = ("papers", "simulators", "kernels", "analysis", "theory")
_PLAIN = {
    Claim: (
        *(
            "name",
            "statements",
            "source",
            "formula",
            "assumptions",
            "judged",
            "parts",
            "expected",
            "undecided_at_smoke",
        ),
        *("scales", "why_these_scales", "note", "kind", "reads"),
    ),
    PaperFigure: ("name", "caption", "source", "scales", "why_these_scales"),
}


def homes() -> dict[str, Callable[[], Paper]]:
    """How to get each paper for describing it: those of this package from the index, others by loading them."""
    known = registry.homes_of_papers()
    own = set(registry.own_keys())
    index = functools.cache(_records)  # the sources are looked at once for all papers
    return {key: partial(_described, key, index) if key in own else load for key, load in known.items()}


def sources_hash(installed: bool = False) -> str:
    """SHA-256 of all Python files of attnlab; ``installed``: without folders that this process has added to its packages."""
    import importlib

    digest = hashlib.sha256(f"{FORMAT}".encode())
    for room in _ROOMS:
        places = list(importlib.import_module(f"attnlab.{room}").__path__)
        for place in places[:1] if installed else places:
            for folder, inner, names in os.walk(place):
                inner[:] = sorted(set(inner) - {"__pycache__"})
                here = f"{room}{folder.removeprefix(place)}".replace(os.sep, "/")
                for name in sorted(name for name in names if name.endswith(".py")):
                    with open(f"{folder}{os.sep}{name}", "rb") as source:
                        digest.update(f"{here}/{name}\0".encode() + source.read() + b"\0")
    return digest.hexdigest()


def to_record(paper: Paper) -> dict[str, Any]:
    """A paper as plain data."""
    from attnlab.papers.lab.commands.describe import covers, forms

    settings: list[Scales] = []

    def number(setting: Scales) -> int:
        for k, each in enumerate(settings):
            if each is setting:
                return k
        settings.append(setting)
        return len(settings) - 1

    def item(thing: Claim | PaperFigure) -> dict[str, Any]:
        plain = {name: getattr(thing, name) for name in _PLAIN[type(thing)]}
        return plain | {"setting": number(thing.setting)}

    claims = [
        item(c) | {"statement": c.statement, "forms": forms(c), "covers": covers(c)} for c in paper.claims.values()
    ]
    return {
        "key": paper.key,
        "title": paper.title,
        "sources": [asdict(source) for source in paper.sources],
        "statements": [list(pair) for pair in paper.statements.items()],
        "untestable": [list(pair) for pair in paper.untestable.items()],
        "claims": claims,
        "figures": [item(f) for f in paper.figures.values()],
        "settings": [{scale: asdict(s.at(scale)) for scale in SCALES} for s in settings],
    }


def from_record(record: dict[str, Any]) -> Paper:
    """The paper of a record: it can be described, and nothing of it can be run."""
    imported = DECLARED.get(record["key"])
    settings = [Scales(**{scale: _tuple(each[scale]) for scale in SCALES}) for each in record["settings"]]
    paper = Paper(
        key=record["key"],
        title=record["title"],
        sources=[Source(**source) for source in record["sources"]],
        statements={int(number): text for number, text in record["statements"]},
        untestable={int(number): text for number, text in record["untestable"]},
    )
    if imported is None:  # what only describes is not the paper of its key
        DECLARED.pop(paper.key, None)
    else:
        DECLARED[paper.key] = imported
    for row in record["claims"]:
        plain = {name: _tuple(row[name]) for name in _PLAIN[Claim]}
        paper.claims[row["name"]] = Claim(
            paper=paper.key,
            function=_Documented(row["statement"]),
            setting=settings[row["setting"]],
            forms=row["forms"] or None,
            covers=row["covers"],
            **plain,
        )
    for row in record["figures"]:
        plain = {name: _tuple(row[name]) for name in _PLAIN[PaperFigure]}
        paper.figures[row["name"]] = PaperFigure(
            paper=paper.key, function=_Documented(""), setting=settings[row["setting"]], **plain
        )
    return paper


class _Documented:
    """In the place of a claim's function: its statement, and no more."""

    def __init__(self, statement: str) -> None:
        self.__doc__ = statement

    def __call__(self, *arguments: Any) -> Any:
        raise TypeError("this paper comes from the index: load it to run it")


_read: dict[Path, dict[str, Any]] = {}


def _described(key: str, index: Callable[[], dict[str, Any]]) -> Paper:
    records = index()
    return from_record(records[key]) if key in records else registry.homes_of_papers()[key]()


def _records() -> dict[str, Any]:
    folder = cache_folder() / "index"
    file = folder / f"papers-{sources_hash()[:32]}.json"
    if file in _read:
        return _read[file]
    try:
        _read[file] = json.loads(file.read_bytes())
    except (OSError, ValueError):
        _read[file] = made = {key: to_record(registry.homes_of_papers()[key]()) for key in registry.own_keys()}
        data = json.dumps(made).encode()
        _read[file] = json.loads(data)  # the same whether it was made or read
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            write_atomically(file, data)
            for old in sorted(folder.glob("papers-*.json"), key=lambda path: path.stat().st_mtime)[:-KEPT]:
                old.unlink(missing_ok=True)
    return _read[file]


def _tuple(value: Any) -> Any:
    """Lists of JSON as the tuples that they were."""
    if isinstance(value, dict):
        return {name: _tuple(each) for name, each in value.items()}
    return tuple(map(_tuple, value)) if isinstance(value, list) else value
