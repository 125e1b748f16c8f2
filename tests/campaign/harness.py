"""Runs of the command line in forked processes: everything is imported once, so that hundreds of kills take minutes.

A driver is a fork of this process, and its workers are forks of the driver instead of spawned processes; all else is the
command line as it is. What holds for every trial, whatever was done to it, is in :meth:`Yard.check`.
"""

from __future__ import annotations

import codecs
import gc
import json
import multiprocessing
import os
import shutil
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.campaign import bench_paper

HOW = ("--scale", "smoke", "--workers", "2", "--json")
TARGET = ("reproduce", "campaign2026", *HOW)  # claims and the figure
CLAIMS = ("reproduce", *(f"campaign2026.{name}" for name in ("slow", "fast", "back")), *HOW)


@dataclass
class Ended:
    """How a process ended: its exit status (negative: the signal), what it printed, and the seconds it took."""

    status: int
    out: str
    err: str
    seconds: float

    @property
    def said(self) -> str:
        """Its last line that is a message."""
        lines = [line for line in self.err.splitlines() if line.strip()]
        return lines[-1] if lines else ""


@dataclass
class Yard:
    """A place for trials: the paper, the reference results, and a folder for each trial."""

    folder: Path
    reference: dict[str, str] = field(default_factory=dict)
    verdicts: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    trials: int = 0

    def prepare(self) -> None:
        """Import everything, and run the paper once undisturbed."""
        os.environ |= {"OMP_NUM_THREADS": "1", "ATTNLAB_CACHE": str(self.folder / "cache")}
        import torch

        import attnlab.papers
        from attnlab.papers.lab.commands import cli  # noqa: F401
        from attnlab.papers.lab.run import cluster, executor, plan, workers  # noqa: F401

        torch.set_num_threads(1)
        codecs.lookup(
            "cp437"
        )  # zip archives: a codec that a thread of the driver imports while a worker is forked hangs the worker
        home = bench_paper.write(self.folder / "code")
        sys.path.insert(0, str(home))
        attnlab.papers.__path__ = [*attnlab.papers.__path__, str(home / "papers")]
        os.register_at_fork(after_in_child=fresh_locks)
        workers.SpawnContext = lambda: multiprocessing.get_context("fork")
        from attnlab.papers.lab.run.display import Display

        asked = {
            "targets": ["campaign2026"],
            "overrides": {},
            "scale": "smoke",
            "replicas": None,
            "seed": 0,
            "device": "cpu",
        }
        plan.carry_out(
            asked, self.fresh("warm"), workers=1, display=Display(quiet=True)
        )  # imports all that a run imports
        gc.collect()
        gc.freeze()
        done = self.run(self.fresh("reference"))
        assert done.status == 0, done.err
        self.seconds = min(self.run(self.fresh("timed"), CLAIMS).seconds for _ in range(2))
        self.reference, self.verdicts = blocks(self.folder / "reference"), verdicts(self.folder / "reference")
        assert len(self.reference) == 6 and len(self.verdicts) == 3

    def fresh(self, name: str | None = None) -> Path:
        """A folder for results that is not there yet."""
        self.trials += 1
        place = self.folder / (name or f"trial-{self.trials}")
        shutil.rmtree(place, ignore_errors=True)
        return place

    def start(
        self,
        place: Path,
        words: tuple[str, ...] = TARGET,
        env: dict[str, str] | None = None,
        before: Callable[[], None] | None = None,
    ) -> int:
        """Fork a driver that runs the command line; returns its process id. ``before`` runs in it first."""
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid:
            return pid
        try:
            os.setsid()
            for number, name in ((1, "out"), (2, "err")):
                file = os.open(f"{place}.{name}", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
                os.dup2(file, number)
            os.environ.update(env or {}, ATTNLAB_HOME=str(place))
            from attnlab.papers.lab.commands import cli

            if before is not None:
                before()
            sys.argv = ["attnlab", *words]
            status = cli.main()
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(97)

    def wait(self, pid: int, place: Path, began: float, limit: float = 120.0) -> Ended:
        """Wait for a driver; one that does not end is killed and reported with status -99: a hang."""
        hung = False
        while True:
            done, raw = os.waitpid(pid, os.WNOHANG)
            if done:
                break
            if time.monotonic() - began > limit:
                hung = True
                os.killpg(pid, signal.SIGKILL)
            time.sleep(0.005)
        status = -99 if hung else os.waitstatus_to_exitcode(raw)
        texts = [Path(f"{place}.{name}").read_text(errors="replace") for name in ("out", "err")]
        return Ended(status, *texts, time.monotonic() - began)

    def run(self, place: Path, words: tuple[str, ...] = TARGET, **more) -> Ended:
        """Start a driver and wait for its end."""
        began = time.monotonic()
        return self.wait(self.start(place, words, **more), place, began)

    def check(self, place: Path, words: tuple[str, ...] = CLAIMS) -> list[str]:
        """What must hold after any fault: what is there is whole, the same command finishes it, and nothing is lost or double.

        Returns what does not hold.
        """
        from attnlab.papers.lab.run.care import verify
        from attnlab.papers.lab.run.catalogue import NAME
        from attnlab.papers.lab.run.store import Store

        wrong = []
        kept: dict[str, str] = {}
        if (place / NAME).exists() and (place / "blocks").exists():
            try:
                reader = Store(place, write=False)
                record = verify(reader)
                reader.close()
                kept = blocks(place)
                wrong += [f"torn: {row}" for row in record["damaged"]] + [
                    f"catalogue: {line}" for line in record["catalogue"]
                ]
            except Exception as error:
                if "is empty" not in str(error):  # killed before the first table was made
                    wrong.append(f"cannot be read: {error}")
        wrong += [
            f"kept block {key[:8]} has other bits" for key, digest in kept.items() if self.reference.get(key) != digest
        ]
        again = self.run(place, words)
        if again.status != 0:
            return [*wrong, f"the same command ended with {again.status}: {again.said}"]
        return wrong + self.differences(place, again, figure=words == TARGET)

    def differences(self, place: Path, ended: Ended | None = None, *, figure: bool = False) -> list[str]:
        """In what finished results differ from the undisturbed ones."""
        wrong = []
        if blocks(place) != self.reference:
            wrong.append("blocks differ from the undisturbed run")
        if verdicts(place) != self.verdicts:
            wrong.append("verdicts differ from the undisturbed run")
        if ended is not None and len(json.loads(ended.out)["claims"]) != 3:
            wrong.append("a verdict was not printed")
        files = [p for p in place.rglob("*") if p.is_file()]
        wrong += [f"left behind: {p.name}" for p in files if p.suffix in (".tmp", ".checkpoint")]
        drawn = {p.name: p.read_bytes() for p in (place / "figures").rglob("*.*")}
        whole = {p.name: p.read_bytes() for p in (self.folder / "reference" / "figures").rglob("*.*")}
        if (figure and drawn.keys() != whole.keys()) or any(whole[name] != data for name, data in drawn.items()):
            wrong.append(f"figure files are not those of the undisturbed run: {sorted(drawn)}")
        with sqlite3.connect(place / "catalogue.sqlite") as db:
            open_ = db.execute("select count(*) from runs where finished is null").fetchone()[0]
        if open_:
            wrong.append(f"{open_} runs are left unfinished")
        return wrong


def fresh_locks() -> None:
    """Locks that another thread held when a process was forked would never be free again; spawned processes have no such."""
    from attnlab.kernels.compiled import compiler
    from attnlab.papers.lab.run import fingerprint, machine

    fingerprint._parsing, machine._threads, compiler._lock = threading.RLock(), threading.Lock(), threading.Lock()
    machine._inside = 0


def blocks(place: Path) -> dict[str, str]:
    """SHA-256 of every block of a results folder, by key."""
    with sqlite3.connect(place / "catalogue.sqlite", timeout=60) as db:
        return dict(db.execute("select key, sha256 from blocks"))


def verdicts(place: Path) -> dict[str, str]:
    """Every verdict of a results folder, without the seconds it took."""
    with sqlite3.connect(place / "catalogue.sqlite", timeout=60) as db:
        found = db.execute("select claim, record from verdicts").fetchall()
    return {
        claim: json.dumps({k: v for k, v in json.loads(record).items() if k != "seconds"}, sort_keys=True)
        for claim, record in found
    }
