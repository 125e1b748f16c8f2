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
from attnlab.papers.lab.run.blocks import DamagedBlock
from attnlab.papers.lab.run.store import Store

_VERDICT = (
    *("id", "verdict", "expected", "kind", "scale", "seed", "replicas", "n", "predicted", "measured", "low", "high"),
    *("margin", "resolves", "level", "judged_by", "twin_verdict", "reason", "run", "created", "overrides", "setting"),
)


def export(store: Store, target: Path, simulation: str | None) -> tuple[int, int]:
    """Write all verdicts, or all replicas of ``simulation``, one number per row.

    Returns the number of rows, and that of verdicts and blocks that are damaged and were left out.

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
    damaged: list[str] = []
    header, rows = _verdicts(store, damaged) if simulation is None else _replicas(store, simulation, damaged)
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
            return count, len(damaged)
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            source, made = Path(folder) / "table.csv", Path(folder) / "table.parquet"
            source.write_bytes(data)
            connection = duckdb.connect()
            connection.read_csv(str(source), header=True, sample_size=-1).write_parquet(str(made))
            connection.close()
            write_atomically(target, made.read_bytes())
    except OSError as error:
        raise environment_error(error, f"write {target}") from error
    return count, len(damaged)


def _verdicts(store: Store, damaged: list[str]) -> tuple[Iterable[str], Iterator[list[Any]]]:
    def rows() -> Iterator[list[Any]]:
        good, altered = store.catalogue.sound("verdicts", "order by run, rowid")
        damaged.extend(str(row[0]) for row in altered)
        for row in good:
            record = json.loads(row["record"])
            low, high = record.get("interval") or (None, None)
            own = {"low": low, "high": high} | {name: row[name] for name in ("run", "created", "overrides", "setting")}
            yield [own.get(name, record.get(name)) for name in _VERDICT]

    return _VERDICT, rows()


def _replicas(store: Store, simulation: str, damaged: list[str]) -> tuple[Iterable[str], Iterator[list[Any]]]:
    blocks = [row for row in store.rows() if row["simulation"] == simulation]
    if not blocks:
        known = sorted({row["simulation"] for row in store.rows()})
        raise UsageError(
            f"no blocks of {simulation!r} in {store.folder}; there are {', '.join(known) or 'none at all'}"
        )
    damaged.extend(str(row[0]) for row in store.catalogue.sound("blocks", "where simulation = ?", [simulation])[1])
    fields = sorted({name for row in blocks for name in row["identity"]["fields"]})

    def rows() -> Iterator[list[Any]]:
        for row in blocks:
            identity = row["identity"]
            told = [identity["fields"].get(name) for name in fields]
            try:
                arrays = store.get(row["key"])
            except DamagedBlock:
                damaged.append(row["key"])
                continue
            for name, array in arrays.items():
                for index, value in np.ndenumerate(array):
                    replica = identity["first"] + index[0] if index else ""
                    yield [identity["seed"], *told, replica, name, " ".join(map(str, index[1:])), value.item()]

    return ["seed", *fields, "replica", "array", "index", "value"], rows()
