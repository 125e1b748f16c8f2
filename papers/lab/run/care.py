"""Looking after a results folder: verify (reads only), collect garbage, rebuild a catalogue, take in another folder."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

from attnlab.analysis.writing import leftovers
from attnlab.papers.lab.errors import UsageError, environment_error
from attnlab.papers.lab.run.blocks import DamagedBlock, is_key, key_of, read_label
from attnlab.papers.lab.run.catalogue import NAME, TABLES, Catalogue, checksum_of
from attnlab.papers.lab.run.live import alone
from attnlab.papers.lab.run.store import Store

_DAY = 86400.0


def verify(store: Store) -> dict[str, Any]:
    """What is intact and what is not: the catalogue, every block, files that no row names. Nothing is changed."""
    record: dict[str, Any] = {"intact": 0, "damaged": [], "catalogue": store.catalogue.troubles(), "unknown": []}
    if not (store.folder / "blocks").is_dir():
        record["catalogue"].append(f"{store.folder / 'blocks'} is gone: is a disk not mounted?")
    known = set()
    try:
        for row in store.catalogue.rows("blocks", "order by rowid"):
            known.add(row[0])
            try:
                store.checked(row)
                record["intact"] += 1
            except DamagedBlock as damage:
                record["damaged"].append({"key": str(row[0]), "simulation": str(row[1]), "found": str(damage)})
    except UsageError as error:
        record["catalogue"].append(str(error))
    record["unknown"] = [str(p) for p in (store.folder / "blocks").glob("*/*.npz") if p.stem not in known]
    return record


def collect(store: Store, days: float, dry_run: bool) -> dict[str, Any]:
    """Remove what can no longer be used; nothing while a run is alive, and nothing younger than ``days``.

    Removed are blocks of code that has changed since, checkpoints of finished or old blocks, files of blocks that are damaged
    and in no row, and what killed processes left. A whole block that no row names is kept: ``store repair`` enters it.
    """
    with alone(store.folder, "`attnlab store gc`"):
        old = time.time() - days * _DAY
        rows = store.rows()
        stale = [row for row in rows if row["created"] < old and _is_stale(row)]
        known = {key for (key,) in store.catalogue.rows("blocks", columns=("key",))}
        orphans = [
            path
            for path in (store.folder / "blocks").glob("*/*.npz")
            if path.stem not in known and is_key(path.stem) and _older(path, old) and not _labelled(path)
        ]
        orphans += leftovers(store.folder)
        orphans += [
            path
            for path in (store.folder / "checkpoints").glob("*.checkpoint")
            if store.has(path.stem) or _older(path, time.time() - max(days, 30.0) * _DAY)
        ]
        orphans += list((store.folder / "locks").glob("run-*"))
        orphans = [path for path in orphans if not path.is_dir()]  # a folder is nothing that attnlab has left
        if not dry_run:
            for row in stale:
                with store.catalogue.transaction():
                    store.catalogue.remove_inside("blocks", [row["key"]])
                if is_key(row["key"]):
                    store.path(row["key"]).unlink(missing_ok=True)
                    store.drop_checkpoint(row["key"])
            for path in orphans:
                try:
                    path.unlink(missing_ok=True)
                except OSError as error:
                    raise environment_error(error, f"remove {path}") from error
    return {"stale": [row["key"] for row in stale], "orphans": [str(path) for path in orphans], "dry_run": dry_run}


def repair(folder: Path) -> dict[str, Any]:
    """Make the catalogue agree with the files: rows of lost blocks leave, whole blocks enter; a broken catalogue is made anew.

    Rows whose checksum is right are taken over from a catalogue that can still be read; the old file stays beside as
    ``catalogue.damaged-N.sqlite``. Returns what was done.
    """
    if not folder.is_dir():
        raise UsageError(f"no results in {folder}; choose the folder with --out DIR")
    with alone(folder, "`attnlab store repair`"):
        (folder / "blocks").mkdir(exist_ok=True)
        record: dict[str, Any] = {"entered": [], "forgotten": [], "rebuilt": False, "kept_rows": 0, "damaged": []}
        salvaged = _rebuild(folder) if _is_broken(folder) else None
        store = Store.__new__(Store)
        Store.__init__(store, folder) if (folder / NAME).exists() else _new(store, folder)
        try:
            if salvaged is not None:
                record["rebuilt"] = True
                with store.catalogue.transaction():
                    for table, rows in salvaged.items():
                        for row in rows:
                            store.catalogue.put_inside(table, row)
                            record["kept_rows"] += 1
            for block in store.catalogue.rows("blocks"):
                try:
                    store.checked(block)
                    _unmark(store, block[0])
                except DamagedBlock as damage:
                    lost = {"key": str(block[0]), "simulation": str(block[1]), "found": str(damage)}
                    record["forgotten"].append(lost)
                    with store.catalogue.transaction():
                        store.catalogue.remove_inside("blocks", [block[0]])
            known = {row[0] for row in store.catalogue.rows("blocks", columns=("key",))}
            for path in sorted((folder / "blocks").glob("*/*.npz")):
                if path.stem not in known:
                    entered = adopt(store, path.stem)
                    record["entered" if entered else "damaged"].append(path.stem)
        finally:
            store.close()
    return record


def adopt(store: Store, key: str) -> bool:
    """Enter a block whose file is whole and says of itself that it is the block ``key``; whether it could be done."""
    if not is_key(key):
        return False
    path = store.path(key)
    try:
        data = path.read_bytes()
        label = read_label(data)
    except (OSError, DamagedBlock):
        return False
    if key_of(label["identity"]) != key:
        return False
    store.keep_file(key, label["identity"], data, 0.0, label.get("roots") or (), None, path.stat().st_mtime)
    store.drop_checkpoint(key)
    return True


def merge(store: Store, other: Path) -> dict[str, Any]:
    """Take in the blocks, runs and verdicts of another results folder that this one lacks; what is damaged there stays there.

    Nothing is run or unpickled; but whether the numbers are what they say only the other's owner knows.
    """
    if other.resolve() == store.folder.resolve():
        raise UsageError(f"{other} is the results folder itself; name another one")
    source = Store(other, write=False)
    try:
        troubles = source.catalogue.troubles()
        if troubles:
            raise UsageError(f"{other}: {troubles[0]}; repair it first (`attnlab store repair --out {other}`)")
        record: dict[str, Any] = {"blocks": 0, "verdicts": 0, "runs": 0, "damaged": []}
        for row in source.catalogue.rows("blocks", "order by rowid"):
            values = dict(zip(TABLES["blocks"], row, strict=False))
            if store.has(values["key"]):
                continue
            try:
                data = source.checked(row)
            except DamagedBlock as damage:
                record["damaged"].append({"key": values["key"], "found": str(damage)})
                continue
            identity, roots, ran = (json.loads(values[name]) for name in ("identity", "roots", "ran"))
            store.keep_file(values["key"], identity, data, values["seconds"], roots, ran, values["created"])
            record["blocks"] += 1
        numbers: dict[int, int] = {}
        for row in source.catalogue.rows("verdicts", "order by run, rowid"):
            values = dict(zip(TABLES["verdicts"], row, strict=False))
            key = [values[name] for name in ("claim", "scale", "setting", "seed", "replicas")]
            where = "where claim is ? and scale is ? and setting is ? and seed is ? and replicas is ?"
            with store.catalogue.transaction():
                if store.catalogue.rows("verdicts", where, key):
                    continue
                if values["run"] not in numbers:
                    theirs = source.catalogue.rows("runs", "where id = ?", [values["run"]])
                    run = dict(zip(TABLES["runs"], theirs[0], strict=False)) if theirs else {"arguments": "{}"}
                    note = f"run {values['run']} of {other}"
                    numbers[values["run"]] = store.catalogue.put_inside("runs", run | {"id": None, "note": note})
                store.catalogue.put_inside("verdicts", values | {"run": numbers[values["run"]]})
            record["verdicts"] += 1
        return record | {"runs": len(numbers)}
    finally:
        source.close()


def _new(store: Store, folder: Path) -> None:
    """Open a folder that has results and no catalogue."""
    store.folder, store._lock = folder, None
    for name in ("checkpoints", "locks"):
        (folder / name).mkdir(exist_ok=True)
    store.catalogue = Catalogue(folder)


def _is_broken(folder: Path) -> bool:
    """Whether there is a catalogue that cannot be trusted as a whole."""
    if not (folder / NAME).exists():
        return False
    try:
        catalogue = Catalogue(folder)
    except UsageError as error:
        if "another program" in str(error) or "newer attnlab" in str(error):
            raise
        return True
    try:
        return bool(catalogue.troubles())
    finally:
        catalogue.close()


def _rebuild(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Move the broken catalogue away; returns the rows of it whose checksums are right."""
    import sqlite3

    kept: dict[str, list[dict[str, Any]]] = {}
    try:
        database = sqlite3.connect(folder / NAME, isolation_level=None)
        for table, columns in TABLES.items():
            rows = kept[table] = []
            try:
                for *values, checksum in database.execute(f"select {', '.join((*columns, 'checksum'))} from {table}"):
                    if checksum_of(values) == checksum:
                        rows.append(dict(zip(columns, values, strict=True)))
            except (sqlite3.DatabaseError, TypeError):
                continue
        database.close()
    except sqlite3.DatabaseError:
        pass
    number = next(n for n in itertools.count(1) if not list(folder.glob(f"catalogue.damaged-{n}.sqlite*")))
    for ending in ("", "-wal", "-shm"):
        path = folder / f"{NAME}{ending}"
        if path.exists():
            shutil.move(path, folder / f"catalogue.damaged-{number}.sqlite{ending}")
    unique = {row["id"]: row for row in kept.get("runs", [])}
    return kept | {"runs": list(unique.values())}


def _unmark(store: Store, key: str) -> None:
    if store.catalogue.query("select 1 from marks where key = ?", [key]):
        with store.catalogue.transaction():
            store.catalogue._db.execute("delete from marks where key = ?", (key,))


def _is_stale(row: dict[str, Any]) -> bool:
    """Whether the code behind a block is here and is another now. Code that is not here is not judged."""
    from attnlab.papers.lab.run.fingerprint import code_fingerprint

    if not row["roots"]:
        return True  # of an attnlab that did not keep what it ran
    try:
        return code_fingerprint(*row["roots"]) != row["identity"].get("code")
    except (ImportError, ValueError, SyntaxError, OSError, RecursionError):
        return False


def _older(path: Path, than: float) -> bool:
    try:
        return os.stat(path).st_mtime < than
    except OSError:
        return False


def _labelled(path: Path) -> bool:
    try:
        return key_of(read_label(path.read_bytes())["identity"]) == path.stem
    except (OSError, DamagedBlock):
        return False
