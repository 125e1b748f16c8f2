"""The catalogue of a results folder: an SQLite file whose every row carries a checksum, and whose tables carry their sum.

What SQLite itself does not notice, a changed letter in a row or a row that is gone, these notice. Nothing heavy is imported
here, so that ``attnlab list`` and ``attnlab runs`` answer at once.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attnlab.analysis.writing import fault_point
from attnlab.papers.lab.errors import UsageError, environment_error

NAME = "catalogue.sqlite"
VERSION = 2
APPLICATION = 0x61746E6C  # "atnl"
TABLES: dict[str, tuple[str, ...]] = {  # columns; the first ones are the primary key
    "blocks": (
        *("key", "simulation", "identity", "sha256", "bytes", "seconds", "created"),
        *("first", "size", "seed", "roots", "ran"),
    ),
    "runs": ("id", "arguments", "started", "finished", "status", "host", "pid", "note"),
    "verdicts": (
        *("claim", "scale", "setting", "seed", "replicas", "run", "verdict", "record", "created"),
        "overrides",
    ),
    "figures": ("figure", "scale", "variant", "run", "files", "created"),
}
KEYS = {"blocks": 1, "runs": 1, "verdicts": 5, "figures": 3}
_TYPES = {
    **dict.fromkeys(("bytes", "seed", "run", "first", "size", "status", "pid"), "integer"),
    **dict.fromkeys(("seconds", "created", "started", "finished"), "real"),
}


def schema() -> list[str]:
    """The statements that make an empty catalogue."""
    made = []
    for table, columns in TABLES.items():
        rows = [f"{name} {_TYPES.get(name, 'text')}" for name in columns]
        if table == "runs":
            rows[0] = "id integer primary key autoincrement"
        else:
            rows.append(f"primary key ({', '.join(columns[: KEYS[table]])})")
        rows.insert(len(columns), "checksum text")
        made.append(f"create table if not exists {table} ({', '.join(rows)})")
    made.append("create table if not exists sums (name text primary key, rows integer, total text)")
    made.append("create table if not exists marks (key text primary key, sha256 text, found text)")
    return made


class Catalogue:
    """One ``catalogue.sqlite``. Threads may share it; several processes may use one file at once.

    ``write=False`` opens it for reading only and changes nothing on the disk, also where the disk cannot be written.
    """

    def __init__(self, folder: Path, *, write: bool = True) -> None:
        self.folder, self.path, self.write = folder, folder / NAME, write
        self._lock = threading.RLock()
        with explained(f"use the results folder {folder}"):
            self._db = self._open()
            try:
                self._check_version()
            except BaseException:
                self._db.close()
                raise
            self._file = self._identity_of_file()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def rows(self, table: str, where: str = "", values: Sequence[Any] = (), columns: Sequence[str] = ()) -> list[tuple]:
        """Rows of a table as tuples, in the order of ``columns`` (default: all with the checksum last)."""
        names = ", ".join(columns or (*TABLES[table], "checksum"))
        with self._lock, explained(f"read the catalogue of {self.folder}"):
            return self._db.execute(f"select {names} from {table} {where}", tuple(values)).fetchall()

    def sound(
        self, table: str, where: str = "", values: Sequence[Any] = ()
    ) -> tuple[list[dict[str, Any]], list[tuple]]:
        """Rows as records by name, those whose checksum is right; and the others, which were altered, as tuples."""
        good: list[dict[str, Any]] = []
        altered: list[tuple] = []
        for *found, checksum in self.rows(table, where, values):
            if checksum_of(found) == checksum:
                good.append(dict(zip(TABLES[table], found, strict=True)))
            else:
                altered.append(tuple(found))
        return good, altered

    def query(self, statement: str, values: Sequence[Any] = ()) -> list[tuple]:
        """The rows of a statement that only reads."""
        with self._lock, explained(f"read the catalogue of {self.folder}"):
            return self._db.execute(statement, tuple(values)).fetchall()

    def put(self, table: str, row: dict[str, Any]) -> int:
        """Enter a row, in the place of one with the same key, in one transaction; returns its number (``runs``: its id)."""
        with self.transaction():
            return self.put_inside(table, row)

    def put_inside(self, table: str, row: dict[str, Any]) -> int:
        """As :meth:`put`, inside a transaction of the caller's."""
        columns = TABLES[table]
        if table == "runs" and row.get("id") is None:
            taken = self._db.execute("select seq from sqlite_sequence where name = 'runs'").fetchone()
            highest = self._db.execute("select max(id) from runs").fetchone()[0] or 0
            row = row | {"id": max(highest, taken[0] if taken else 0) + 1}
        values = [_typed(name, row.get(name)) for name in columns]
        key = values[: KEYS[table]]
        self._remove(table, key)
        marks = ", ".join("?" * (len(columns) + 1))
        checksum = checksum_of(values)
        self._db.execute(f"insert into {table} ({', '.join(columns)}, checksum) values ({marks})", (*values, checksum))
        self._add(table, 1, checksum)
        return int(values[0]) if table == "runs" else 0

    def remove_inside(self, table: str, key: Sequence[Any]) -> None:
        """Remove the row of a key, inside a transaction of the caller's."""
        self._remove(table, list(key))

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, durable when it ends; an error that says so if the folder is no longer the one that was opened."""
        with self._lock, explained(f"write into the catalogue of {self.folder}"):
            self.check_place()
            self._db.execute("begin immediate")
            try:
                yield
                fault_point("catalogue before commit")
                self._db.execute("commit")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("rollback")
                raise
            fault_point("catalogue after commit")
            self.check_place()

    def check_place(self) -> None:
        """Raise :class:`UsageError` if the folder was deleted or replaced since it was opened: what is written is lost."""
        if self._identity_of_file() != self._file:
            raise UsageError(
                f"the results folder {self.folder} was deleted or replaced during the run: what was written into it since is "
                "lost. Leave the folder in place and run the same command again"
            )

    def troubles(self) -> list[str]:
        """What is wrong with the catalogue itself: its pages, its tables, its rows, rows that are gone. Only reads."""
        found: list[str] = []
        try:
            with self._lock:
                pages = [row[0] for row in self._db.execute("pragma integrity_check(20)").fetchall()]
                if pages != ["ok"]:
                    return [f"the catalogue's pages are damaged: {line}" for line in pages[:5]]
                known = dict(self._db.execute("select name, sql from sqlite_master where type = 'table'").fetchall())
                sums = {name: (n, total) for name, n, total in self._db.execute("select * from sums").fetchall()}
            for statement in schema():
                name = statement.split()[5]
                if known.get(name) != statement.replace(" if not exists", "").replace(
                    "create table", "CREATE TABLE", 1
                ):
                    found.append(f"the table {name} is not as attnlab makes it")
            for table in TABLES:
                rows, total = 0, 0
                for *values, checksum in self.rows(table):
                    if checksum_of(values) != checksum:
                        found.append(f"a row of {table} is altered: {' '.join(map(str, values[: KEYS[table]]))[:80]}")
                    rows, total = rows + 1, total ^ int(checksum or "0", 16)
                if sums.get(table, (0, "0")) != (rows, f"{total:x}"):
                    found.append(f"the table {table} has lost or gained rows: {rows}, not {sums.get(table, (0,))[0]}")
        except (sqlite3.DatabaseError, UsageError, ValueError, TypeError) as error:
            found.append(f"the catalogue cannot be read: {error}")
        return found

    # ---------------------------------------------------------------------------------------------------------------

    def _open(self) -> sqlite3.Connection:
        if self.write:
            database = sqlite3.connect(self.path, timeout=60, check_same_thread=False, isolation_level=None)
            database.execute("pragma journal_mode=wal")
            database.execute("pragma synchronous=full")
            return database
        quoted = str(self.path.absolute()).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
        # without a write-ahead log nobody writes: the file is read as it is, and no other file is made beside it
        logged = self.path.with_name(f"{NAME}-wal").exists()
        modes = ["mode=ro", "mode=ro&immutable=1"] if logged else ["mode=ro&immutable=1"]
        for mode in modes:
            database = sqlite3.connect(
                f"file:{quoted}?{mode}", uri=True, timeout=60, check_same_thread=False, isolation_level=None
            )
            try:
                database.execute("select count(*) from sqlite_master").fetchone()
                return database
            except sqlite3.OperationalError:
                database.close()
                if mode == modes[-1]:
                    raise
        raise AssertionError("no mode")

    def _check_version(self) -> None:
        version = self._db.execute("pragma user_version").fetchone()[0]
        application = self._db.execute("pragma application_id").fetchone()[0]
        tables = {row[0] for row in self._db.execute("select name from sqlite_master where type = 'table'")}
        if version > VERSION and application == APPLICATION:
            raise UsageError(
                f"the results folder {self.folder} was written by a newer attnlab (catalogue {version}, this one knows "
                f"{VERSION}); update attnlab, or choose another folder with --out DIR"
            )
        ours = application == APPLICATION or (application == 0 and version == 0 and {"blocks", "verdicts"} <= tables)
        if tables and not ours:
            raise UsageError(
                f"{self.path} is a database of another program (tables {', '.join(sorted(tables))[:80]}); choose another "
                "folder with --out DIR"
            )
        if version == VERSION and application == APPLICATION:
            return
        if not self.write:
            if not tables:
                raise UsageError(f"the results folder {self.folder} is empty: no run has begun in it")
            raise UsageError(
                f"the results folder {self.folder} was written by an older attnlab; `attnlab store upgrade --out "
                f"{self.folder}` (or any run in it) brings it up to date"
            )
        self._upgrade(bool(tables))

    def _upgrade(self, older: bool) -> None:
        """Make the tables, or those of an older attnlab (no checksums, one row per figure) into these."""
        with self._lock:
            self._db.execute("begin exclusive")
            try:
                if self._db.execute("pragma user_version").fetchone()[0] == VERSION:
                    self._db.execute("rollback")  # another process was faster
                    return
                old: dict[str, list[dict[str, Any]]] = {}
                if older:
                    for table in TABLES:
                        cursor = self._db.execute(f"select * from {table} order by rowid")
                        names = [column[0] for column in cursor.description]
                        old[table] = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
                        self._db.execute(f"drop table {table}")
                for statement in schema():
                    self._db.execute(statement)
                for table, rows in old.items():
                    for row in rows:
                        self.put_inside(table, row | _older_defaults(table, row))
                self._db.execute(f"pragma user_version = {VERSION}")
                self._db.execute(f"pragma application_id = {APPLICATION}")
                self._db.execute("commit")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("rollback")
                raise

    def _remove(self, table: str, key: list[Any]) -> None:
        where = " and ".join(f"{name} is ?" for name in TABLES[table][: KEYS[table]])
        for (checksum,) in self._db.execute(f"select checksum from {table} where {where}", key).fetchall():
            self._add(table, -1, checksum or "0")
        self._db.execute(f"delete from {table} where {where}", key)

    def _add(self, table: str, rows: int, checksum: str) -> None:
        known = self._db.execute("select rows, total from sums where name = ?", (table,)).fetchone() or (0, "0")
        total = int(known[1], 16) ^ int(checksum, 16)
        self._db.execute("insert or replace into sums values (?, ?, ?)", (table, known[0] + rows, f"{total:x}"))

    def _identity_of_file(self) -> tuple[int, int] | None:
        try:
            status = self.path.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino


def checksum_of(values: Sequence[Any]) -> str:
    """64 bits of the SHA-256 of a row, as hexadecimal digits. A value of a kind that no row has (bytes) is taken as written."""
    text = json.dumps(list(values), separators=(",", ":"), ensure_ascii=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _typed(name: str, value: Any) -> Any:
    """The value as SQLite will give it back, so that its checksum stays right."""
    if value is None:
        return None
    return {"integer": int, "real": float}.get(_TYPES.get(name, "integer" if name == "id" else "text"), str)(value)


def _older_defaults(table: str, row: dict[str, Any]) -> dict[str, Any]:
    if table == "blocks":
        identity = json.loads(row["identity"])
        return {name: identity.get(name) for name in ("first", "size", "seed")} | {"roots": "[]", "ran": "{}"}
    return {"variant": ""} if table == "figures" else {}


@contextmanager
def explained(doing: str) -> Iterator[None]:
    """Turn the system's errors into a message that says what could not be done and how to go on."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise UsageError(f"cannot {doing}: {_advice(error)}") from error
    except OSError as error:
        raise environment_error(error, doing) from error


def _advice(error: sqlite3.DatabaseError) -> str:
    text = str(error)
    if "unable to open" in text:
        try:
            os.close(os.open(os.devnull, os.O_RDONLY))
        except OSError as descriptors:
            if descriptors.errno in (errno.EMFILE, errno.ENFILE):
                return (
                    "too many open files; raise the limit (ulimit -n) or use fewer --workers: finished blocks are kept"
                )
    advice = {
        "disk is full": "the disk is full; free some space and run the same command again: finished blocks are kept",
        "readonly": "the catalogue is read-only; choose another folder with --out DIR",
        "read-only": "the catalogue is read-only; choose another folder with --out DIR",
        "unable to open": "the catalogue cannot be opened; choose another folder with --out DIR",
        "disk I/O error": "the disk refused a write; free some space, then run the same command again: finished blocks are kept",
        "locked": "another process has held the catalogue for a minute; wait for it (`attnlab runs`) and run the command again",
        "malformed": "the catalogue is damaged; `attnlab store repair` with the same --out rebuilds it from the blocks",
        "not a database": "catalogue.sqlite is not a database; move it away and `attnlab store repair` with the same --out "
        "rebuilds it from the blocks, or choose another folder with --out DIR",
    }
    for needle, message in advice.items():
        if needle in text:
            return message
    return f"the catalogue answers {text!r}; `attnlab store repair` with the same --out rebuilds it"


def now() -> float:
    """Seconds since 1970, for people; the order of things is told by run numbers, which no clock can turn back."""
    return time.time()
