"""The record of a run as one JSON file, ``runs/NUMBER.json`` in the results folder: what ``attnlab diff`` compares."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from attnlab.analysis.writing import write_atomically
from attnlab.papers.lab.errors import UsageError, environment_error

FOLDER = "runs"


def write_record(place: Path, result: dict[str, Any]) -> Path:
    """Keep what ``--json`` prints of a run, under its number."""
    file = place / FOLDER / f"{result['run']['id']}.json"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(result, indent=1, allow_nan=False, ensure_ascii=False)
        write_atomically(file, text.encode())
    except OSError as error:
        raise environment_error(error, f"write the record of the run into {file.parent}") from error
    return file


def read_record(name: str, place: Path) -> dict[str, Any]:
    """The record of a run by its number in the results folder, or of a file that ``--json`` was written to.

    Raises :class:`UsageError` if there is none, or the file holds something else.
    """
    file = place / FOLDER / f"{int(name)}.json" if name.isdecimal() else Path(name)
    if not file.is_file():
        known = sorted(int(each.stem) for each in (place / FOLDER).glob("*.json") if each.stem.isdecimal())
        kept = (
            f"records are kept of the runs {', '.join(map(str, known))}" if known else f"no run of {place} has a record"
        )
        raise UsageError(f"no record of the run {name!r} ({file}); {kept}, or name a file made with --json")
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        if not {"claims", "run"} <= set(record):
            raise ValueError("no 'claims' and 'run' in it")
    except (ValueError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} is not the record of a run: {error}") from None
    return record
