"""The record of a run as one JSON file, ``runs/NUMBER.json`` in the results folder: what ``attnlab diff`` compares."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from attnlab.analysis.writing import write_atomically
from attnlab.papers.lab.errors import UsageError, environment_error
from attnlab.papers.lab.plain import as_json

FOLDER = "runs"
_CLAIM = (
    "id verdict expected as_expected excuse measured interval predicted margin level n parts diverged reason twin twin_verdict"
).split()
"""What ``attnlab diff`` reads of a claim."""


def write_record(place: Path, result: dict[str, Any]) -> Path:
    """Keep what ``--json`` prints of a run, under its number."""
    file = place / FOLDER / f"{result['run']['id']}.json"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, as_json(result).encode())
    except OSError as error:
        raise environment_error(error, f"write the record of the run into {file.parent}") from error
    return file


def read_record(name: str, place: Path) -> dict[str, Any]:
    """The record of a run by its number in the results folder, or of a file that ``--json`` was written to.

    Raises :class:`UsageError` if there is none, or the file holds something else.
    """
    file = place / FOLDER / f"{int(name)}.json" if name.isdecimal() else Path(name)
    if not os.path.isfile(file):
        known = sorted(int(each.stem) for each in (place / FOLDER).glob("*.json") if each.stem.isdecimal())
        kept = (
            f"records are kept of the runs {', '.join(map(str, known))}" if known else f"no run of {place} has a record"
        )
        raise UsageError(
            f"no record of the run {name!r} ({file}): a run has one once it has come to its end itself; {kept}, or name a file "
            "made with --json"
        )
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise environment_error(error, f"read {file}") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{file} is not the record of a run: {error}") from None
    lacks = lacking(record)
    if lacks:
        raise UsageError(f"{file} is not the record of a run: {lacks}")
    return record


def lacking(record: Any) -> str:
    """What the record of a run must have and this one lacks, or ``""``."""
    if not isinstance(record, dict) or not isinstance(record.get("run"), dict):
        return "no 'run' in it"
    claims = record.get("claims")
    if not isinstance(claims, list) or not all(isinstance(claim, dict) for claim in claims):
        return "no 'claims' in it"
    for claim in claims:
        missing = [name for name in _CLAIM if name not in claim]
        if missing:
            return f"the claim {claim.get('id', '?')} has no {missing[0]!r}"
    return ""
