"""The results folder: a catalogue and one file per finished block, safe against a kill at any moment.

A block is written to a temporary name, flushed, renamed, and only then entered in the catalogue with its SHA-256, in
one transaction. What is not in the catalogue does not exist; what does not match its hash is never used. A block's file
carries its own identity, so that a catalogue can be rebuilt from the files (see :mod:`~attnlab.papers.lab.run.repair`).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from attnlab.analysis.writing import fault_point, leftovers, sweep, write_atomically
from attnlab.papers.lab.errors import UsageError, environment_error
from attnlab.papers.lab.run import interrupt
from attnlab.papers.lab.run.blocks import DamagedBlock, is_key, key_of, pack_block, unpack
from attnlab.papers.lab.run.catalogue import NAME, Catalogue, checksum_of, explained, now
from attnlab.papers.lab.run.identity import canonical
from attnlab.papers.lab.run.live import HOST, RunLock
from attnlab.papers.lab.run.runs import runs_of


class Store:
    """One results folder, ``folder/catalogue.sqlite`` and ``folder/blocks/xx/<key>.npz``.

    Threads may share a store. Several processes may use one folder at once. ``write=False`` reads only, also from a folder
    that cannot be written.
    """

    def __init__(self, folder: str | os.PathLike[str], *, write: bool = True) -> None:
        self.folder = Path(folder)
        self._lock: RunLock | None = None
        if write:
            self._make_folder()
        elif not (self.folder / NAME).exists():
            raise UsageError(f"no results in {self.folder}; choose the folder with --out DIR")
        self.catalogue = Catalogue(self.folder, write=write)

    def close(self) -> None:
        """Close the catalogue, and give back the run's lock."""
        self.catalogue.close()
        if self._lock is not None:
            self._lock.close()

    # blocks -------------------------------------------------------------------------------------------------------

    def path(self, key: str) -> Path:
        """Where the block's arrays are kept. Raises ``ValueError`` for what is no key, and could be a path elsewhere."""
        if not is_key(key):
            raise ValueError(f"{key[:80]!r} is no block key: 64 hexadecimal digits")
        return self.folder / "blocks" / key[:2] / f"{key}.npz"

    def checkpoint_path(self, key: str) -> Path:
        """Where a running block keeps its latest checkpoint."""
        return self.path(key).parent.parent.parent / "checkpoints" / f"{key}.checkpoint"

    def has(self, key: str) -> bool:
        """Whether the catalogue knows the block and nobody has found it damaged (its bytes are checked when it is read)."""
        query = "select 1 from blocks where key = ? and not exists (select 1 from marks where marks.key = blocks.key)"
        return bool(self.catalogue.query(query, [key]))

    def put(
        self,
        key: str,
        identity: dict[str, Any],
        arrays: Mapping[str, np.ndarray],
        seconds: float,
        roots: tuple[str, ...] = (),
        ran: Mapping[str, Any] | None = None,
    ) -> str:
        """Keep a finished block; returns the SHA-256 of its file."""
        if key != key_of(identity):
            raise ValueError(f"{key[:12]}… is not the key of the identity of {identity.get('simulation')}")
        data = pack_block(identity, list(roots), dict(arrays))
        self.keep_file(key, identity, data, seconds, roots, ran)
        self.drop_checkpoint(key)
        return hashlib.sha256(data).hexdigest()

    def keep_file(
        self,
        key: str,
        identity: dict[str, Any],
        data: bytes,
        seconds: float,
        roots: tuple[str, ...] | list[str] = (),
        ran: Mapping[str, Any] | None = None,
        created: float | None = None,
    ) -> None:
        """Keep the bytes of a block's file, and enter it."""
        path = self.path(key)
        try:
            self.catalogue.check_place()
            path.parent.mkdir(exist_ok=True)
            write_atomically(path, data)
        except OSError as error:
            self.catalogue.check_place()
            raise environment_error(error, f"write a result into {self.folder}") from error
        row = {
            "key": key,
            "simulation": identity["simulation"],
            "identity": canonical(identity),
            "sha256": hashlib.sha256(data).hexdigest(),
            "bytes": len(data),
            "seconds": seconds,
            "created": now() if created is None else created,
            "first": identity.get("first"),
            "size": identity.get("size"),
            "seed": identity.get("seed"),
            "roots": canonical(list(roots)),
            "ran": canonical(dict(ran or {})),
        }
        with self.catalogue.transaction():
            self.catalogue.put_inside("blocks", row)
            self.catalogue._db.execute("delete from marks where key = ?", (key,))

    def get(self, key: str) -> dict[str, np.ndarray]:
        """The arrays of a block; raises :class:`DamagedBlock` if its file is not as written.

        A damaged block is marked, where the catalogue can be written; its row and file stay until it is computed again.
        """
        rows = self.catalogue.rows("blocks", "where key = ?", [key])
        if not rows:
            raise KeyError(key)
        try:
            return unpack(self.checked(rows[0]))
        except (DamagedBlock, ValueError) as damage:
            if self.catalogue.write:
                sha256 = rows[0][3]
                with self.catalogue.transaction():  # not if another process has written it again in the meantime
                    self.catalogue._db.execute(
                        "insert or replace into marks select key, sha256, ? from blocks where key = ? and sha256 is ?",
                        (str(damage), key, sha256),
                    )
            raise DamagedBlock(f"result {key[:12]}… is damaged ({damage}); it is computed again") from None

    def checked(self, row: tuple) -> bytes:
        """The bytes of the file of a row of ``blocks``. Raises :class:`DamagedBlock`."""
        *values, checksum = row
        key, _, identity, sha256, size = values[:5]
        if checksum_of(values) != checksum:
            raise DamagedBlock("its row in the catalogue is altered")
        try:
            if key != key_of(json.loads(identity)):
                raise DamagedBlock("its key is not that of its identity")
            path = self.path(key)
        except (ValueError, TypeError):
            raise DamagedBlock("its row in the catalogue is altered") from None
        try:
            found = path.stat().st_size
            if found != size:
                raise DamagedBlock(f"{found} of {size} bytes")
            data = path.read_bytes()
        except FileNotFoundError:
            raise DamagedBlock("no file") from None
        except IsADirectoryError:
            raise DamagedBlock("a folder stands in its place") from None
        except OSError as error:
            raise environment_error(error, f"read {path}") from error
        if hashlib.sha256(data).hexdigest() != sha256:
            raise DamagedBlock("altered bytes")
        return data

    def rows(self) -> list[dict[str, Any]]:
        """One record per block in the catalogue, oldest first; rows that were altered are left out (``verify`` names them)."""
        names = ("key", "simulation", "identity", "sha256", "bytes", "seconds", "created", "roots")
        return [
            {name: row[name] for name in names}
            | {"identity": json.loads(row["identity"]), "roots": json.loads(row["roots"])}
            for row in self.catalogue.sound("blocks", "order by created, key")[0]
        ]

    def drop_checkpoint(self, key: str) -> None:
        """Remove the checkpoint of a block that is finished, and what killed writers left of it.

        Another driver may be computing the same block: what a living writer is at stays.
        """
        path = self.checkpoint_path(key)
        for left in (path, *leftovers(path.parent, f"{path.name}.*")):
            with contextlib.suppress(OSError):  # the block is kept: what cannot be removed here is left for `store gc`
                left.unlink(missing_ok=True)

    def seconds_of(self, simulation: str) -> list[tuple[dict[str, Any], float]]:
        """The fields and seconds of kept blocks of a simulation: what the next ones will take."""
        where = "where simulation = ? and seconds > 0 order by rowid desc limit 50"
        found = self.catalogue.sound("blocks", where, [simulation])[0]
        return [(json.loads(row["identity"])["fields"], row["seconds"]) for row in found]

    # runs, verdicts, figures --------------------------------------------------------------------------------------

    def begin_run(self, arguments: dict[str, Any], number: int | None = None) -> int:
        """Enter a run that starts now, or ``number`` once more; returns its number. Its lock is held until ``close``."""
        if number is not None:
            self._lock = RunLock(self.folder, number)  # of two that resume a run, one is refused before it writes
        with self.catalogue.transaction():
            row = {"arguments": canonical(arguments), "started": now(), "host": HOST, "pid": os.getpid(), "id": number}
            run = self.catalogue.put_inside("runs", row)
        interrupt.begun()
        fault_point("run entered")
        if self._lock is None:
            self._lock = RunLock(self.folder, run)
        sweep(self.folder)
        for path in (self.folder / "checkpoints").glob("*.checkpoint"):
            if is_key(path.stem) and self.has(
                path.stem
            ):  # killed between keeping the block and removing its checkpoint
                self.drop_checkpoint(path.stem)
        return run

    def end_run(self, run: int, status: int) -> None:
        """Mark a run as finished with its exit status, and so the dead runs of the same command, which it has finished."""
        fault_point("run judged")
        known = self.runs()
        mine = next(row for row in known if row["id"] == run)
        same = [row for row in known if row["arguments"] == mine["arguments"] and row["state"] == "interrupted"]
        with self.catalogue.transaction():
            for row in (mine, *same):
                ended: dict[str, Any] = {"finished": now(), "status": status}
                if row is not mine:
                    ended["note"] = f"finished by run {run}"
                self.catalogue.put_inside("runs", row | {"arguments": canonical(row["arguments"])} | ended)

    def runs(self) -> list[dict[str, Any]]:
        """All runs, the latest first, each with its ``state``."""
        return runs_of(self.catalogue)

    def run(self, number: int | None = None) -> dict[str, Any] | None:
        """The run with this number, or the latest interrupted one; None if there is none."""
        for row in self.runs():
            if row["id"] == number or (number is None and row["state"] == "interrupted"):
                return row
        return None

    def put_verdict(self, run: int, record: dict[str, Any]) -> None:
        """Keep a claim's record, in place of an earlier one with the same claim, scale, setting, seed and replicas."""
        row = {
            "claim": record["id"],
            "scale": record["scale"],
            "setting": canonical(record["setting"]),
            "seed": record["seed"],
            "replicas": str(record["replicas"]),
            "run": run,
            "verdict": record["verdict"],
            "record": canonical(record),
            "created": now(),
            "overrides": canonical(record.get("overrides") or {}),
        }
        self.catalogue.put("verdicts", row)

    def verdict_of(
        self, claim: str, scale: str, setting: dict[str, Any], seed: int, replicas: int | None
    ) -> dict[str, Any] | None:
        """The record of a claim that was judged exactly so, or None."""
        where = "where claim = ? and scale = ? and setting = ? and seed = ? and replicas = ?"
        rows = self.catalogue.sound("verdicts", where, [claim, scale, canonical(setting), seed, str(replicas)])[0]
        return json.loads(rows[0]["record"]) if rows else None

    def put_figure(self, run: int, figure: str, scale: str, files: list[str], variant: str = "") -> None:
        """Keep the paths of a figure's files; ``variant`` names settings other than the declared ones."""
        row = {
            "figure": figure,
            "scale": scale,
            "variant": variant,
            "run": run,
            "files": canonical(files),
            "created": now(),
        }
        self.catalogue.put("figures", row)

    # ---------------------------------------------------------------------------------------------------------------

    def _make_folder(self) -> None:
        """Make what is missing of a new folder; of a folder that has a catalogue nothing may be missing."""
        catalogue, blocks = self.folder / NAME, self.folder / "blocks"
        with explained(f"use the results folder {self.folder}"):
            if catalogue.exists() and not blocks.is_dir():
                raise UsageError(
                    f"{blocks} is gone, and the catalogue beside it is there: is a disk not mounted? Mount it; if the results "
                    f"are lost, `attnlab store repair --out {self.folder}` forgets them"
                )
            if not catalogue.exists() and next(blocks.glob("*/*.npz"), None) is not None:
                raise UsageError(
                    f"{self.folder} has results but no catalogue; `attnlab store repair --out {self.folder}` rebuilds it"
                )
            blocks.mkdir(parents=True, exist_ok=True)
            (self.folder / "checkpoints").mkdir(exist_ok=True)
            (self.folder / "locks").mkdir(exist_ok=True)
