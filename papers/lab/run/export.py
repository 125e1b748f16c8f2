"""Results as a table for other programs: verdicts, or the replicas of a simulation, as CSV or Parquet (extra ``export``)."""

from __future__ import annotations

import csv
import io
import json
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from attnlab.analysis.writing import write_atomically
from attnlab.papers.lab.errors import UsageError, environment_error
from attnlab.papers.lab.run.store import Store

_VERDICT = (
    *("id", "verdict", "expected", "kind", "scale", "seed", "replicas", "n", "predicted", "measured", "low", "high"),
    *("margin", "resolves", "level", "judged_by", "twin_verdict", "reason", "run", "created", "overrides", "setting"),
)


def export(store: Store, target: Path, simulation: str | None) -> int:
    """Write all verdicts, or all replicas of ``simulation``, one number per row; returns the number of rows.

    Raises :class:`UsageError` for another ending than ``.csv`` and ``.parquet``, for a simulation without blocks, and for
    Parquet without duckdb.
    """
    if target.suffix not in (".csv", ".parquet"):
        raise UsageError(f"{target} ends in {target.suffix or 'nothing'!r}; write FILE.csv or FILE.parquet")
    if target.suffix == ".parquet":
        try:
            import duckdb
        except ImportError:
            raise UsageError(
                "Parquet needs the extra 'export': pip install 'attnlab[export]', or write FILE.csv"
            ) from None
    header, rows = _verdicts(store) if simulation is None else _replicas(store, simulation)
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(header)
    count = 0
    for row in rows:
        writer.writerow(["" if value is None else value for value in row])
        count += 1
    data = text.getvalue().encode()
    try:
        if target.suffix == ".csv":
            write_atomically(target, data)
            return count
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            source, made = Path(folder) / "table.csv", Path(folder) / "table.parquet"
            source.write_bytes(data)
            connection = duckdb.connect()
            connection.read_csv(str(source), header=True, sample_size=-1).write_parquet(str(made))
            connection.close()
            write_atomically(target, made.read_bytes())
    except OSError as error:
        raise environment_error(error, f"write {target}") from error
    return count


def _verdicts(store: Store) -> tuple[Iterable[str], Iterator[list[Any]]]:
    def rows() -> Iterator[list[Any]]:
        columns = ("record", "run", "created", "overrides", "setting")
        for text, run, created, overrides, setting in store.catalogue.rows(
            "verdicts", "order by run, rowid", columns=columns
        ):
            record = json.loads(text)
            low, high = record.get("interval") or (None, None)
            own = {"low": low, "high": high, "run": run, "created": created, "overrides": overrides, "setting": setting}
            yield [own.get(name, record.get(name)) for name in _VERDICT]

    return _VERDICT, rows()


def _replicas(store: Store, simulation: str) -> tuple[Iterable[str], Iterator[list[Any]]]:
    blocks = [row for row in store.rows() if row["simulation"] == simulation]
    if not blocks:
        known = sorted({row["simulation"] for row in store.rows()})
        raise UsageError(
            f"no blocks of {simulation!r} in {store.folder}; there are {', '.join(known) or 'none at all'}"
        )
    fields = sorted({name for row in blocks for name in row["identity"]["fields"]})

    def rows() -> Iterator[list[Any]]:
        for row in blocks:
            identity = row["identity"]
            told = [identity["fields"].get(name) for name in fields]
            for name, array in store.get(row["key"]).items():
                for index, value in np.ndenumerate(array):
                    replica = identity["first"] + index[0] if index else ""
                    yield [identity["seed"], *told, replica, name, " ".join(map(str, index[1:])), value.item()]

    return ["seed", *fields, "replica", "array", "index", "value"], rows()
