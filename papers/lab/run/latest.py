"""The verdict to show of each claim: at its declared setting and the highest scale; verdicts of other settings are kept apart.

Only the catalogue is read, and no more of it than is shown.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attnlab.papers.lab.run.catalogue import NAME, Catalogue

_RANK = {"smoke": 0, "desk": 1, "paper": 2}
_COLUMNS = ("claim", "scale", "setting", "seed", "replicas", "rowid")

Declared = Callable[[str, str], dict[str, Any] | None]


def latest_verdicts(folder: Path, declared: Declared) -> dict[str, dict[str, Any]]:
    """The record to show of each claim with a verdict, with three more keys; ``{}`` if there is no results folder.

    ``declared(claim, scale)`` is the setting that the paper declares, as plain data (None if it is not known).
    ``differs`` says in what the run of the verdict differed from the declared one (``{}``: in nothing): such a verdict is
    shown only where there is no other. Of several the highest scale counts, then the latest run. ``others`` is the number of
    verdicts at other settings, and ``scales`` the verdicts of other scales at the declared one.
    """
    if not (folder / NAME).exists():
        return {}
    catalogue = Catalogue(folder, write=False)
    try:
        texts: dict[tuple[str, str], tuple[str, dict[str, Any]] | None] = {}
        best: dict[str, tuple[tuple[int, ...], int, dict[str, Any]]] = {}
        others: dict[str, int] = {}
        standard: dict[str, dict[str, int]] = {}
        rows = catalogue.rows("verdicts", "order by run, rowid", columns=_COLUMNS)
        for order, (claim, scale, setting, seed, replicas, rowid) in enumerate(rows):
            told = _told(setting)
            if told is None or not isinstance(seed, int | None) or not isinstance(replicas, str):
                continue  # altered: `store verify` says so
            if (claim, scale) not in texts:
                found = declared(claim, scale)
                texts[claim, scale] = None if found is None else (_canonical(found), found)
            known = texts[claim, scale]
            same = known is not None and known[0] == setting
            differs = {} if same or known is None else _difference(known[1], told)
            differs |= ({"seed": seed} if seed else {}) | ({"replicas": replicas} if replicas != "None" else {})
            if differs:
                others[claim] = others.get(claim, 0) + 1
            else:
                standard.setdefault(claim, {})[scale] = rowid
            rank = (int(not differs), _RANK.get(scale, -1), order)
            if claim not in best or rank > best[claim][0]:
                best[claim] = (rank, rowid, differs)
        made = {}
        for claim, (chosen, rowid, differs) in best.items():
            record = _record(catalogue, rowid)
            if record is None:
                continue
            more = {
                scale: found["verdict"]
                for scale, row in standard.get(claim, {}).items()
                if row != rowid and (found := _record(catalogue, row)) is not None
            }
            others_here = others.get(claim, 0) - (0 if chosen[0] else 1)
            made[claim] = record | {"differs": differs, "others": others_here, "scales": more}
        return made
    finally:
        catalogue.close()


def settings_of(papers: Any) -> Declared:
    """The declared settings of papers, as plain data."""
    from attnlab.papers.lab.plain import plain_setting

    claims = {claim.id: claim for paper in papers for claim in paper.claims.values()}

    def declared(claim: str, scale: str) -> dict[str, Any] | None:
        return plain_setting(claims[claim].setting.at(scale)) if claim in claims else None

    return declared


def words(differs: dict[str, Any]) -> str:
    """``dim=7 seed=3``."""
    return " ".join(f"{name}={value}" for name, value in differs.items())


def _record(catalogue: Catalogue, rowid: int) -> dict[str, Any] | None:
    good, _ = catalogue.sound("verdicts", "where rowid = ?", [rowid])
    return json.loads(good[0]["record"]) if good else None  # altered: `store verify` says so


def _told(setting: Any) -> dict[str, Any] | None:
    """The setting of a row, or None if it is none."""
    try:
        told = json.loads(setting)
    except (ValueError, TypeError):
        return None
    return told if isinstance(told, dict) else None


def _difference(declared: dict[str, Any], run: dict[str, Any]) -> dict[str, Any]:
    """The fields of the run's setting that are not as declared; fields that one of them lacks count, too."""
    plain = json.loads(_canonical(declared))
    return {name: run.get(name) for name in sorted({*plain, *run}) if plain.get(name) != run.get(name)}


def _canonical(record: Any) -> str:
    return json.dumps(record, sort_keys=True, separators=(",", ":"))
