"""Which papers there are, and what a target on the command line means.

Papers come from ``papers/KEY/paper.py`` of this package, from entry points of installed packages, from the files and folders that
``ATTNLAB_PAPERS`` lists, and from a path given as a target (see :mod:`attnlab.papers.lab.places`).
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from attnlab.papers.lab import places
from attnlab.papers.lab.declare import Claim, Item, Paper, PaperFigure
from attnlab.papers.lab.errors import UsageError, did_you_mean, nearest

_adopted: dict[str, Paper] = {}  # papers that exist as objects only: made in a notebook or a script


def paper_keys() -> list[str]:
    """The keys of all papers, in order; nothing is imported for it."""
    return sorted(homes_of_papers())


def own_keys() -> list[str]:
    """The keys of the papers of this package: the folders in ``papers/`` that hold a ``paper.py``."""
    import attnlab.papers

    folders = [Path(place) for place in attnlab.papers.__path__]
    return sorted({file.parent.name for folder in folders for file in folder.glob("*/paper.py")})


def load(key: str) -> Paper:
    """The :class:`Paper` of a key, with the claims and figures of every module that lies beside its ``paper.py``."""
    homes = homes_of_papers()
    if key not in homes:
        raise UsageError(f"unknown paper {key!r}{nearest(key, homes)}; see `attnlab list`")
    return homes[key]()


def adopt(paper: Paper) -> str:
    """Make a paper known that exists as an object only; returns its key. A later one of the same key takes its place."""
    if paper.key in own_keys():
        raise UsageError(f"the key {paper.key!r} is that of a paper of attnlab; give yours another key")
    _adopted[paper.key] = paper
    return paper.key


def target_of(paper: Paper, file: str | None = None) -> str:
    """A target that names the paper: its key where it is known by key, the file that declares it, or the object adopted."""
    if paper.key in homes_of_papers() and paper.key not in _adopted and load(paper.key) is paper:
        return paper.key
    items: list[Item] = [*paper.claims.values(), *paper.figures.values()]
    for module in {item.function.__module__ for item in items}:
        place = getattr(sys.modules.get(module), "__file__", None)
        if module != "__main__" and place and paper.key in places.keys_of(Path(place)):
            file = place if places.module_of(Path(place))[1] == module else file
    if file is not None and paper.key in places.keys_of(Path(file)):
        return str(Path(file).resolve())
    return adopt(paper)


def homes_of_papers() -> dict[str, Callable[[], Paper]]:
    """How to load each paper, by key; a key that two places use is an error that names both."""
    sources: list[tuple[str, dict[str, Callable[[], Paper]]]] = [
        ("attnlab", {key: partial(_load_own, key) for key in own_keys()}),
        (f"entry points {places.GROUP}", {k: partial(places.load_installed, p) for k, p in places.installed().items()}),
        (places.VARIABLE, {k: partial(places.load_file, f, k) for k, f in places.named_by_environment().items()}),
    ]
    homes: dict[str, Callable[[], Paper]] = {}
    origin: dict[str, str] = {}
    for name, found in sources:
        for key, loader in found.items():
            if key in homes:
                raise UsageError(f"the paper {key!r} comes from {origin[key]} and from {name}; give one another key")
            homes[key], origin[key] = loader, name
    return homes | {key: partial(_adopted.__getitem__, key) for key in _adopted}


def _load_own(key: str) -> Paper:
    module = importlib.import_module(f"attnlab.papers.{key}.paper")
    return places.paper_of(module, key, f"papers/{key}/paper.py")


@dataclass(frozen=True)
class Selection:
    """The claims and figures that a list of targets names, in order, each once."""

    papers: tuple[Paper, ...]
    claims: tuple[Claim, ...]
    figures: tuple[PaperFigure, ...]
    explicit: frozenset[str]


def select(targets: Sequence[str], known: dict[str, Callable[[], Paper]] | None = None) -> Selection:
    """Resolve targets ``paper | paper.item | all | path[::item]``; unambiguous prefixes are enough.

    A path (with a slash, or ending in ``.py``) is a file that declares a paper, or a folder with such files.
    ``known`` says how to get each paper (default: import it).
    Raises :class:`UsageError` for no target, an unknown one (with the nearest name) and an ambiguous prefix.
    """
    if not targets:
        raise UsageError(
            "no target: name a paper, a claim (paper.claim), a figure (paper.figN) or 'all'; see `attnlab list`"
        )
    homes = homes_of_papers() if known is None else dict(known)
    keys = sorted(homes)
    papers: dict[str, Paper] = {}
    claims: dict[str, Claim] = {}
    figures: dict[str, PaperFigure] = {}
    explicit: set[str] = set()
    for target in targets:
        if places.is_path(target):
            chosen, item_part = _at_path(target, homes)
        else:
            paper_part, _, item_part = target.partition(".")
            chosen = keys if target == "all" else [_paper(paper_part, item_part, keys)]
        for key in chosen:
            paper = papers.setdefault(key, homes[key]())
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


def _at_path(target: str, homes: dict[str, Callable[[], Paper]]) -> tuple[list[str], str]:
    """The papers at a path, entered among ``homes``, and the item named after ``::``."""
    place, _, item = target.partition("::")
    files = places.paper_files(Path(place))
    if item and len(files) > 1:
        raise UsageError(f"{place} holds {len(files)} papers ({', '.join(files)}); name the file before ::{item}")
    for key, file in files.items():
        if key in own_keys() and not file.is_relative_to(Path(__file__).resolve().parents[1]):
            raise UsageError(f"{file}: the key {key!r} is that of a paper of attnlab; give yours another key")
        homes[key] = partial(places.load_file, file, key) if key not in own_keys() else partial(_load_own, key)
    return list(files), item


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


def _paper(name: str, item: str, known: Sequence[str]) -> str:
    """The known key that ``name`` means; where there is none but a file or folder of that name, how its path is written."""
    if name and not any(key.startswith(name) for key in known):
        for place in (name, f"{name}.py"):
            if Path(place).exists():
                path = f"./{place}" + (f"::{item}" if item else "")
                raise UsageError(
                    f"unknown paper {name!r}: what lies here is a path, written {path}; see `attnlab list`"
                )
        raise UsageError(f"unknown paper {name!r}{_near_key(name, known)}; see `attnlab list`")
    return _unique(name, known, "paper")


def _near_key(name: str, known: Sequence[str]) -> str:
    """The nearest key, or the nearest first word that names one paper only: ``he2025`` for ``he2026``."""
    first = [key.partition("_")[0] for key in known]
    return did_you_mean(name, known) or did_you_mean(name, [word for word in first if first.count(word) == 1])


def address(key: str, targets: Sequence[str], known: Collection[str]) -> str:
    """What to type before the name of a claim of the paper ``key``, which the user reached by ``targets``."""
    for target in targets if key not in known else ():
        place = target.partition("::")[0]
        if places.is_path(target) and key in (files := places.paper_files(Path(place))):
            return f"{place if len(files) == 1 else files[key]}::"
    return f"{key}."
