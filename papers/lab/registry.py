"""Which papers there are, and what a target on the command line means."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from attnlab.papers.lab.declare import Claim, Paper, PaperFigure
from attnlab.papers.lab.errors import UsageError, nearest


def paper_keys() -> list[str]:
    """The keys of all papers: the folders in ``papers/`` that hold a ``paper.py``."""
    import attnlab.papers

    folders = [Path(place) for place in attnlab.papers.__path__]
    return sorted({file.parent.name for folder in folders for file in folder.glob("*/paper.py")})


def load(key: str) -> Paper:
    """The :class:`Paper` of ``papers/KEY/paper.py``, with every module that lies beside it: their claims and figures."""
    home = f"attnlab.papers.{key}"
    paper = getattr(importlib.import_module(f"{home}.paper"), "paper", None)
    if not isinstance(paper, Paper) or paper.key != key:
        raise UsageError(f"papers/{key}/paper.py must define `paper = Paper(key={key!r}, ...)`, got {paper!r}")
    for module in sorted(module.name for module in pkgutil.iter_modules(importlib.import_module(home).__path__)):
        if not module.startswith("__"):
            importlib.import_module(f"{home}.{module}")
    return paper


@dataclass(frozen=True)
class Selection:
    """The claims and figures that a list of targets names, in order, each once."""

    papers: tuple[Paper, ...]
    claims: tuple[Claim, ...]
    figures: tuple[PaperFigure, ...]
    explicit: frozenset[str]


def select(targets: Sequence[str]) -> Selection:
    """Resolve targets ``paper | paper.item | all``; unambiguous prefixes are enough.

    Raises :class:`UsageError` for no target, an unknown one (with the nearest name) and an ambiguous prefix.
    """
    if not targets:
        raise UsageError(
            "no target: name a paper, a claim (paper.claim), a figure (paper.figN) or 'all'; see `attnlab list`"
        )
    keys = paper_keys()
    papers: dict[str, Paper] = {}
    claims: dict[str, Claim] = {}
    figures: dict[str, PaperFigure] = {}
    explicit: set[str] = set()
    for target in targets:
        paper_part, _, item_part = target.partition(".")
        chosen = keys if target == "all" else [_unique(paper_part, keys, "paper")]
        for key in chosen:
            paper = papers.setdefault(key, load(key))
            items = [*(claim.name for claim in paper.in_order()), *paper.figures]
            if item_part:
                items = [_unique(item_part, items, f"claim or figure of {key}")]
                explicit.add(f"{key}.{items[0]}")
            for item in items:
                if item in paper.claims:
                    claims[f"{key}.{item}"] = paper.claims[item]
                else:
                    figures[f"{key}.{item}"] = paper.figures[item]
    return Selection(tuple(papers.values()), tuple(claims.values()), tuple(figures.values()), frozenset(explicit))


def _unique(name: str, known: Sequence[str], what: str) -> str:
    """The one known name that equals or starts with ``name``."""
    if name in known:
        return name
    matches = [k for k in known if name and k.startswith(name)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise UsageError(f"{name!r} is ambiguous: it may be {' or '.join(matches)}; type more of it")
    raise UsageError(f"unknown {what} {name!r}{nearest(name, known)}; see `attnlab list`")
