"""The runs of a results folder and whether they live, read from the catalogue alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from attnlab.papers.lab.errors import UsageError
from attnlab.papers.lab.run.catalogue import NAME, Catalogue
from attnlab.papers.lab.run.live import is_alive

_COLUMNS = ("id", "arguments", "started", "finished", "status", "host", "pid", "note")


def runs_of(catalogue: Catalogue) -> list[dict[str, Any]]:
    """All runs, the latest first, each with its ``state``: ``finished``, ``running`` or ``interrupted``."""
    found = []
    for row in catalogue.rows("runs", "order by id desc", columns=_COLUMNS):
        record = dict(zip(_COLUMNS, row, strict=True)) | {"arguments": json.loads(row[1])}
        if record["finished"] is not None:
            state = "finished"
        elif is_alive(catalogue.folder, record["id"], record["host"], record["pid"]):
            state = "running"
        else:
            state = "interrupted"
        found.append(record | {"state": state})
    return found


def known_runs(folder: Path) -> list[dict[str, Any]]:
    """The runs of a results folder, which is only read. Raises :class:`UsageError` if it is none."""
    if not (folder / NAME).exists():
        raise UsageError(f"no results in {folder}; choose the folder with --out DIR")
    catalogue = Catalogue(folder, write=False)
    try:
        return runs_of(catalogue)
    finally:
        catalogue.close()
