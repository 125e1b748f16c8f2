"""The runs of a results folder and whether they live, read from the catalogue alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from attnlab.papers.lab.errors import UsageError
from attnlab.papers.lab.run.catalogue import NAME, Catalogue
from attnlab.papers.lab.run.live import is_alive

_COLUMNS = ("id", "arguments", "started", "finished", "status", "host", "pid", "note")
_ALTERED = "its row in the catalogue is altered; `attnlab store verify` tells more"


def runs_of(catalogue: Catalogue) -> list[dict[str, Any]]:
    """All runs, the latest first, each with its ``state``: ``finished``, ``running``, ``interrupted``, or ``altered`` row."""
    good, altered = catalogue.sound("runs", "order by id desc")
    found: list[dict[str, Any]] = [
        dict.fromkeys(_COLUMNS) | {"id": row[0], "arguments": {}, "note": _ALTERED, "state": "altered"}
        for row in altered
        if isinstance(row[0], int)
    ]
    for row in good:
        record = {name: row[name] for name in _COLUMNS} | {"arguments": json.loads(row["arguments"])}
        if record["finished"] is not None:
            state = "finished"
        elif is_alive(catalogue.folder, record["id"], record["host"], record["pid"]):
            state = "running"
        else:
            state = "interrupted"
        found.append(record | {"state": state})
    return sorted(found, key=lambda record: -record["id"])


def known_runs(folder: Path) -> list[dict[str, Any]]:
    """The runs of a results folder, which is only read. Raises :class:`UsageError` if it is none."""
    if not (folder / NAME).exists():
        raise UsageError(f"no results in {folder}; choose the folder with --out DIR")
    catalogue = Catalogue(folder, write=False)
    try:
        return runs_of(catalogue)
    finally:
        catalogue.close()
