"""The workers of a Dask cluster (extra ``cluster``): reached, compared and tended so that no fault of theirs hangs a run.

Short blocks travel together, so that what Dask adds stays below 5 % of the work; long ones go first. A block whose worker is
killed runs again, and fails alone when that happens every time. A scheduler that is gone ends the run with one message.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from concurrent.futures import CancelledError, Future, InvalidStateError
from typing import Any

from attnlab.papers.lab.errors import ItemError, UsageError
from attnlab.papers.lab.run.address import HELP, check_address, unreachable
from attnlab.papers.lab.run.executor import BlockResult, BlockTask, run_block
from attnlab.papers.lab.run.machine import platform
from attnlab.papers.lab.run.ran import VERSIONS
from attnlab.papers.lab.run.threads import begun

OVERHEAD = 0.05  # of the work, at most
RETRIES = 2  # rounds of a block after Dask itself has given it up (it tries four workers)
GONE = 15.0  # seconds after which a scheduler that does not answer is gone
WORKERLESS = 300.0  # seconds without any worker after which a run ends
_GATHER = 0.1  # seconds in which blocks that are asked for together come together


class Cluster:
    """A reached cluster; raises :class:`UsageError` at once if there is none, or if its workers are not as this process."""

    def __init__(self, address: str, display: Any) -> None:
        self._address, self._display = address, display
        self._client = _connected(address)
        self._lock = threading.Condition()
        self._waiting: list[_Job] = []
        self._running: dict[Any, list[_Job]] = {}
        self._closed = False
        self._lost: UsageError | None = None
        self._seconds: dict[str, float] = {}  # of a block of a simulation, as last measured
        self._platforms: dict[str, list[dict[str, str]]] = {}
        try:
            self._compare()
            self._least = self._round_trip() / OVERHEAD  # seconds of work that one Dask task should hold
        except BaseException:
            self.close(now=True)
            raise
        begun(self._send)
        begun(self._watch)

    def platforms(self, device: str) -> list[dict[str, str]]:
        """The platforms of the workers, the most frequent first."""
        with self._lock:
            if device not in self._platforms:
                found = list(self._client.run(platform, device).values())
                counts = Counter(tuple(sorted(each.items())) for each in found)
                self._platforms[device] = [dict(each) for each, _ in counts.most_common()]
            return self._platforms[device]

    def know(self, simulation: str, seconds: float) -> None:
        """Tell how long a block of a simulation takes."""
        self._seconds.setdefault(simulation, seconds)

    def submit(self, task: BlockTask, name: str) -> Future:
        """A future of the block; it fails with :class:`ItemError` if the block kills its workers, with
        :class:`UsageError` if the cluster is gone."""
        job = _Job(task, name)
        with self._lock:
            if self._lost is not None:
                raise self._lost
            self._waiting.append(job)
            self._lock.notify_all()
        return job.future

    def close(self, *, now: bool = False) -> None:
        """Leave the cluster; what still runs there is cancelled."""
        with self._lock:
            self._closed = True
            jobs = [*self._waiting, *(job for group in self._running.values() for job in group)]
            futures = list(self._running)
            self._waiting, self._running = [], {}
            self._lock.notify_all()
        for job in jobs:
            _fail(job.future, CancelledError())

        def leave() -> None:
            with contextlib.suppress(Exception):
                self._client.cancel(futures, force=True)
            with contextlib.suppress(Exception):
                self._client.close(timeout=2)

        with contextlib.suppress(UsageError):
            begun(leave).join(5)  # a scheduler that is gone does not answer

    # ---------------------------------------------------------------------------------------------------------------

    def _compare(self) -> None:
        """Wait for a worker; refuse workers whose libraries or whose attnlab are not those of this process."""
        from attnlab.papers.lab.index import sources_hash

        if not self._client.scheduler_info(n_workers=-1)["workers"]:
            self._display.say(f"the scheduler at {self._address} has no workers yet; waiting a minute for one")
            try:
                self._client.wait_for_workers(1, timeout=60)
            except TimeoutError:
                raise UsageError(
                    f"the scheduler at --on {self._address} has no workers; start some: `dask worker {self._address} "
                    f"--nworkers auto --nthreads 1` ({HELP})"
                ) from None
        mine = {name: platform("cpu")[name] for name in VERSIONS} | {
            "attnlab's code": sources_hash(installed=True)[:12]
        }
        try:
            found = self._client.run(_versions)
        except (ImportError, AttributeError) as error:
            raise UsageError(
                f"the workers at --on {self._address} have no such attnlab ({error}); install this version there"
            ) from None
        wrong = {
            f"{name} {theirs[name]} on {where.rpartition('/')[2]}, {mine[name]} here"
            for where, theirs in found.items()
            for name in mine
            if theirs[name] != mine[name]
        }
        if wrong:
            raise UsageError(
                f"the workers at --on {self._address} would compute something else: {'; '.join(sorted(wrong)[:6])}. Install the "
                "same versions everywhere and start the workers again"
            )

    def _round_trip(self) -> float:
        """Seconds that Dask needs for a task that does nothing."""
        self._client.submit(_nothing, 0, pure=False).result(timeout=60)
        started = time.perf_counter()
        for k in range(3):
            self._client.submit(_nothing, k, pure=False).result(timeout=60)
        return (time.perf_counter() - started) / 3

    def _send(self) -> None:
        """Hand waiting blocks to Dask, longest first, short ones together."""
        while True:
            with self._lock:
                while not self._waiting and not self._closed:
                    self._lock.wait()
                if self._closed:
                    return
            time.sleep(_GATHER)
            with self._lock:
                jobs, self._waiting = self._waiting, []
            for group, seconds in self._groups(jobs):
                try:
                    future = self._client.submit(
                        run_blocks, [job.task for job in group], pure=False, retries=0, priority=seconds
                    )
                except Exception as error:  # a setting that cannot travel, a closed client
                    for job in group:
                        _fail(
                            job.future, self._lost or ItemError(f"{job.name}: cannot be sent to the cluster: {error}")
                        )
                    continue
                with self._lock:
                    self._running[future] = group
                future.add_done_callback(self._received)

    def _groups(self, jobs: list[_Job]) -> list[tuple[list[_Job], float]]:
        """Blocks that travel together: enough seconds for one task, and never fewer tasks than workers could share."""

        def expected(job: _Job) -> float:
            return self._seconds.get(job.task.identity.simulation, float("inf"))

        made: list[tuple[list[_Job], float]] = []
        group: list[_Job] = []
        held = 0.0
        for job in sorted(jobs, key=expected, reverse=True):
            seconds = expected(job)
            if seconds >= self._least or job.alone:
                made.append(([job], min(seconds, 1e9)))
                continue
            group.append(job)
            held += seconds
            if held >= self._least:
                made.append((group, held))
                group, held = [], 0.0
        return [*made, *([(group, held)] if group else [])]

    def _received(self, future: Any) -> None:
        with self._lock:
            group = self._running.pop(future, None)
        if group is None:
            return
        try:
            results: list[BlockResult] = future.result(timeout=60)
        except BaseException as error:
            self._failed(group, error)
            return
        for job, result in zip(group, results, strict=True):
            if result.failed is None and result.seconds:
                self._seconds[job.task.identity.simulation] = result.seconds
            with contextlib.suppress(InvalidStateError):
                job.future.set_result(result)

    def _failed(self, group: list[_Job], error: BaseException) -> None:
        """Send a block again whose workers were killed; report it alone if that happens every time."""
        from distributed.scheduler import KilledWorker

        for job in group:
            if isinstance(error, KilledWorker):
                job.deaths += len(group) == 1
                job.alone = True  # one of them kills workers: each on its own
                if job.deaths > RETRIES:
                    died = f"{job.name}: every worker that ran it died ({error.last_worker.address} was the last)"
                    _fail(job.future, ItemError(f"{died}; often for want of memory"))
                    continue
                with self._lock:
                    if self._lost is None and not self._closed:
                        self._waiting.append(job)
                        self._lock.notify_all()
                        continue
            if isinstance(error, ImportError):
                missing = f"{job.name}: the workers cannot import it ({error}); install its paper there"
                _fail(job.future, UsageError(missing))
            elif self._lost is not None or self._closed or type(error).__name__.endswith("CancelledError"):
                self._lose("it was lost") if not self._closed and self._lost is None else None
                _fail(job.future, self._lost or CancelledError())
            else:
                _fail(job.future, ItemError(f"{job.name} failed on the cluster: {type(error).__name__}: {error}"))

    def _watch(self) -> None:
        """Notice a scheduler that is gone, and a cluster without workers."""
        answered = staffed = time.monotonic()
        told = False
        while not self._closed and self._lost is None:
            time.sleep(1.0)
            now = time.monotonic()
            if self._client.status == "running" and unreachable(self._address) is None:
                answered = now
            elif self._client.status == "closed" or now - answered > GONE:
                self._lose("it does not answer any more")
                return
            with contextlib.suppress(Exception):
                if self._client.scheduler_info(n_workers=-1)["workers"]:
                    staffed, told = now, False
            if now - staffed > 10 and not told:
                told = True
                self._display.say(f"the cluster at {self._address} has no workers; waiting for one")
            if now - staffed > WORKERLESS:
                self._lose(f"it has had no workers for {WORKERLESS:.0f} seconds")
                return

    def _lose(self, how: str) -> None:
        """End everything that waits for the cluster, with one message."""
        with self._lock:
            if self._lost is None:
                self._lost = UsageError(
                    f"the Dask scheduler at --on {self._address} is lost: {how}. Finished blocks are kept; start it again and "
                    f"run `attnlab resume --on {self._address}`"
                )
            jobs = [*self._waiting, *(job for group in self._running.values() for job in group)]
            self._waiting, self._running = [], {}
        for job in jobs:
            _fail(job.future, self._lost)


class _Job:
    def __init__(self, task: BlockTask, name: str) -> None:
        self.task, self.name = task, name
        self.future: Future = Future()
        self.deaths = 0
        self.alone = False


def run_blocks(tasks: list[BlockTask]) -> list[BlockResult]:
    """What one Dask task does."""
    return [run_block(task) for task in tasks]


def _connected(address: str) -> Any:
    check_address(address)
    from distributed import Client

    try:
        return Client(address, timeout="10s", set_as_default=False, name="attnlab")
    except Exception as error:
        raise UsageError(
            f"what answers at --on {address} is no Dask scheduler of this version: {type(error).__name__}: {error} ({HELP})"
        ) from None


def _versions() -> dict[str, str]:
    """What a worker has, asked on the worker."""
    from attnlab.papers.lab.index import sources_hash

    return {name: platform("cpu")[name] for name in VERSIONS} | {"attnlab's code": sources_hash(installed=True)[:12]}


def _nothing(k: int) -> int:
    return k


def _fail(future: Future, error: BaseException) -> None:
    with contextlib.suppress(InvalidStateError):
        future.set_exception(error)
