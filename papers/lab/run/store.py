"""The results folder: an SQLite catalogue and one ``.npz`` per finished block, safe against a kill at any moment.

A block is written to a temporary name, flushed, renamed, and only then entered in the catalogue with its SHA-256, in
one transaction. What is not in the catalogue does not exist; what does not match its hash is never used. No file here
is ever unpickled.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from attnlab.papers.lab.errors import UsageError, environment_error
from attnlab.papers.lab.run.identity import canonical

_SCHEMA = """
create table if not exists blocks (
    key text primary key, simulation text not null, identity text not null, sha256 text not null,
    bytes integer not null, seconds real not null, created real not null);
create table if not exists runs (
    id integer primary key autoincrement, arguments text not null, started real not null, finished real,
    status integer);
create table if not exists verdicts (
    claim text not null, scale text not null, setting text not null, seed integer not null, replicas text not null,
    run integer not null, verdict text not null, record text not null, created real not null,
    primary key (claim, scale, setting, seed, replicas));
create table if not exists figures (
    figure text not null, scale text not null, run integer not null, files text not null, created real not null,
    primary key (figure, scale));
"""


class DamagedBlock(Exception):
    """A block's file is missing, truncated or altered: it has to be computed again."""


class Store:
    """One results folder, ``folder/catalogue.sqlite`` and ``folder/blocks/xx/<key>.npz``.

    Threads may share a store. Several processes may use one folder at once.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self._lock = threading.RLock()
        with _explained(f"use the results folder {self.folder}"):
            (self.folder / "blocks").mkdir(parents=True, exist_ok=True)
            (self.folder / "checkpoints").mkdir(exist_ok=True)
            self._db = sqlite3.connect(
                self.folder / "catalogue.sqlite", timeout=60, check_same_thread=False, isolation_level=None
            )
            self._db.execute("pragma journal_mode=wal")
            self._db.execute("pragma synchronous=full")
            with self._transaction():
                for statement in filter(str.strip, _SCHEMA.split(";")):
                    self._db.execute(statement)

    def close(self) -> None:
        """Close the catalogue."""
        self._db.close()

    # blocks -------------------------------------------------------------------------------------------------------

    def path(self, key: str) -> Path:
        """Where the block's arrays are kept."""
        return self.folder / "blocks" / key[:2] / f"{key}.npz"

    def checkpoint_path(self, key: str) -> Path:
        """Where a running block keeps its latest checkpoint."""
        return self.folder / "checkpoints" / f"{key}.checkpoint"

    def has(self, key: str) -> bool:
        """Whether the catalogue knows the block (its bytes are checked when it is read)."""
        return self._one("select 1 from blocks where key = ?", key) is not None

    def put(self, key: str, identity: dict[str, Any], arrays: dict[str, np.ndarray], seconds: float) -> str:
        """Keep a finished block; returns the SHA-256 of its file."""
        data = pack(arrays)
        digest = hashlib.sha256(data).hexdigest()
        path = self.path(key)
        with _explained(f"write a result into {self.folder}"):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, data)
            with self._transaction():
                self._db.execute(
                    "insert or replace into blocks values (?, ?, ?, ?, ?, ?, ?)",
                    (key, identity["simulation"], canonical(identity), digest, len(data), seconds, time.time()),
                )
        self.checkpoint_path(key).unlink(missing_ok=True)
        return digest

    def get(self, key: str) -> dict[str, np.ndarray]:
        """The arrays of a block; raises :class:`DamagedBlock` (and forgets the block) if its file is not as written."""
        row = self._one("select sha256, bytes from blocks where key = ?", key)
        if row is None:
            raise KeyError(key)
        path = self.path(key)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            data = b""
        if hashlib.sha256(data).hexdigest() != row[0]:
            with self._transaction():
                self._db.execute("delete from blocks where key = ?", (key,))
            found = f"{len(data)} of {row[1]} bytes" if len(data) != row[1] else "altered bytes"
            raise DamagedBlock(f"result file {path.name[:12]}… is damaged ({found}); it is computed again")
        return unpack(data)

    def rows(self) -> list[dict[str, Any]]:
        """One record per block in the catalogue, oldest first."""
        names = ("key", "simulation", "identity", "sha256", "bytes", "seconds", "created")
        with self._lock:
            found = self._db.execute(f"select {', '.join(names)} from blocks order by created, key").fetchall()
        return [dict(zip(names, row, strict=True)) | {"identity": json.loads(row[2])} for row in found]

    def forget(self, key: str) -> None:
        """Remove a block from the catalogue, then its file."""
        with _explained(f"remove a result from {self.folder}"):
            with self._transaction():
                self._db.execute("delete from blocks where key = ?", (key,))
            self.path(key).unlink(missing_ok=True)
            self.checkpoint_path(key).unlink(missing_ok=True)

    def orphans(self) -> list[Path]:
        """Files that no catalogue row names: left by a kill between two writes."""
        known = {row["key"] for row in self.rows()}
        blocks = [p for p in (self.folder / "blocks").glob("*/*") if p.stem not in known or p.suffix != ".npz"]
        return blocks + [p for p in (self.folder / "checkpoints").iterdir() if p.stem in known or p.suffix == ".tmp"]

    # runs, verdicts, figures --------------------------------------------------------------------------------------

    def begin_run(self, arguments: dict[str, Any]) -> int:
        """Enter a run that starts now; returns its number."""
        with _explained(f"write into the catalogue of {self.folder}"), self._transaction():
            return int(
                self._db.execute(
                    "insert into runs (arguments, started) values (?, ?)", (canonical(arguments), time.time())
                ).lastrowid
                or 0
            )

    def end_run(self, run: int, status: int) -> None:
        """Mark a run as finished with its exit status."""
        with _explained(f"write into the catalogue of {self.folder}"), self._transaction():
            self._db.execute("update runs set finished = ?, status = ? where id = ?", (time.time(), status, run))

    def run(self, number: int | None = None) -> dict[str, Any] | None:
        """The run with this number, or the latest one that did not finish; None if there is none."""
        names = ("id", "arguments", "started", "finished", "status")
        where = "finished is null order by id desc limit 1" if number is None else "id = ?"
        row = self._one(f"select {', '.join(names)} from runs where {where}", *([] if number is None else [number]))
        return None if row is None else dict(zip(names, row, strict=True)) | {"arguments": json.loads(row[1])}

    def put_verdict(self, run: int, record: dict[str, Any]) -> None:
        """Keep a claim's record, in place of an earlier one with the same claim, scale, setting, seed and replicas."""
        with _explained(f"write into the catalogue of {self.folder}"), self._transaction():
            self._db.execute(
                "insert or replace into verdicts values (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    record["id"],
                    record["scale"],
                    canonical(record["setting"]),
                    record["seed"],
                    str(record["replicas"]),
                    run,
                    record["verdict"],
                    canonical(record),
                    time.time(),
                ),
            )

    def latest_verdicts(self) -> dict[str, dict[str, Any]]:
        """The newest record of each claim."""
        with self._lock:
            rows = self._db.execute("select claim, record from verdicts order by created, run").fetchall()
        return {claim: json.loads(record) for claim, record in rows}

    def put_figure(self, run: int, figure: str, scale: str, files: list[str]) -> None:
        """Keep the paths of a figure's files."""
        with _explained(f"write into the catalogue of {self.folder}"), self._transaction():
            self._db.execute(
                "insert or replace into figures values (?, ?, ?, ?, ?)",
                (figure, scale, run, canonical(files), time.time()),
            )

    # ---------------------------------------------------------------------------------------------------------------

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._lock:
            self._db.execute("begin immediate")
            try:
                yield
            except BaseException:
                self._db.execute("rollback")
                raise
            self._db.execute("commit")

    def _one(self, query: str, *values: Any) -> tuple | None:
        with self._lock:
            return self._db.execute(query, values).fetchone()


def pack(arrays: dict[str, np.ndarray]) -> bytes:
    """The bytes of an ``.npz`` archive: the same arrays give the same bytes (names sorted, fixed dates)."""
    buffer = io.BytesIO()
    np.savez(buffer, **{name: np.array(arrays[name], order="C") for name in sorted(arrays)})
    return buffer.getvalue()


def unpack(data: bytes) -> dict[str, np.ndarray]:
    """The arrays of an ``.npz`` archive; object arrays are refused."""
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def write_atomically(path: Path, data: bytes) -> None:
    """Write, flush to the disk, rename: a reader sees the old file or the whole new one."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if hasattr(os, "O_DIRECTORY"):
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


@contextmanager
def _explained(doing: str) -> Iterator[None]:
    """Turn the system's errors into a message that says what could not be done and how to go on."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        text = str(error)
        if isinstance(error, sqlite3.OperationalError):
            advice = {
                "disk is full": "the disk is full; free some space and run the same command again",
                "readonly": "the catalogue is read-only; choose another folder with --out DIR",
                "unable to open": "the catalogue cannot be opened; choose another folder with --out DIR",
                "disk I/O error": "the disk refused a write; free some space, then run the same command again",
            }
            for needle, message in advice.items():
                if needle in text:
                    raise UsageError(f"cannot {doing}: {message}: finished blocks are kept") from error
        raise UsageError(
            f"cannot {doing}: the catalogue answers {text!r}; move the folder away or choose another with --out DIR"
        ) from error
    except OSError as error:
        raise environment_error(error, doing) from error
