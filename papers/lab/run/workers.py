"""Local worker processes: one block at a time each; one that dies costs its own block a retry, and nobody else anything.

Each process is tended by a thread of the driver and talks to it over a pipe of its own, so that a process killed at any
moment, even while it writes, harms no other. Workers end when the driver is gone, however it went. A process begins with
reading its libraries, seconds; one may do so ahead, while the driver reads its own (:func:`one_ahead`).
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from typing import Any

from attnlab.papers.lab.errors import ItemError, UsageError, environment_error
from attnlab.papers.lab.run.spawned import SpawnContext, ignore_ctrl_c
from attnlab.papers.lab.run.threads import begun

RETRIES = 2  # a block whose worker died runs again this often
_STARTS = 300.0  # seconds in which a worker process must have started
_PR_SET_PDEATHSIG = 1
_READY, _TELLS, _DONE, _RAISED = range(4)
Progress = Callable[[str, int, int, float | None], None]
_ahead: list[tuple[Any, Connection]] = []  # a process that nothing has been asked of


@contextlib.contextmanager
def one_ahead(wanted: bool = True) -> Iterator[None]:
    """Inside, if ``wanted``, a process is under way that the first worker will be; to be entered in the main thread."""
    if wanted:
        with contextlib.suppress(OSError, MemoryError):  # whoever needs a worker will hear of it
            _ahead.append(_begin(SpawnContext(), ahead=True))
    try:
        yield
    finally:
        while _ahead:
            process, pipe = _ahead.pop()
            process.kill()
            process.join()
            pipe.close()


def _next(context: SpawnContext) -> tuple[Any, Connection]:
    try:
        return _ahead.pop()
    except IndexError:
        return _begin(context)


def _begin(context: SpawnContext, ahead: bool = False) -> tuple[Any, Connection]:
    pipe, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, os.getpid(), ahead), daemon=True)
    process.start()
    theirs.close()
    return process, pipe


class LocalWorkers:
    """``n`` processes that compute ``run(task)``; ``submit`` returns a future, ``close`` ends everything."""

    def __init__(self, n: int, run: Callable[[Any], Any], progress: Progress, say: Callable[[str], None]) -> None:
        self._run, self._progress, self._say = run, progress, say
        self._jobs: queue.Queue[_Job | None] = queue.Queue()
        self._context = SpawnContext()
        self._starting = threading.Lock()
        self._processes: set[Any] = set()
        self._closed = False
        self._most, self._given = n, 0
        self._threads: list[threading.Thread] = []

    def submit(self, task: Any, name: str, run: Callable[[Any], Any] | None = None) -> Future:
        """A future of ``run(task)``; ``name`` is how the task is called in messages. One caller at a time."""
        job = _Job(task, name, run or self._run)
        self._given += 1
        if len(self._threads) < min(self._most, self._given):  # no more of them than there are tasks
            try:
                self._threads.append(begun(self._tend, name=f"worker {len(self._threads)}"))
            except UsageError:
                if not self._threads:
                    raise
        self._jobs.put(job)
        return job.future

    def close(self, *, now: bool = False) -> None:
        """End the processes: when their jobs are done, or ``now`` in the middle of them."""
        self._closed = True
        if now:
            with contextlib.suppress(queue.Empty):
                while True:
                    job = self._jobs.get_nowait()
                    if job is not None:
                        job.future.cancel()
            with self._starting:
                for process in self._processes:
                    process.kill()
        for _ in self._threads:
            self._jobs.put(None)
        deadline = time.monotonic() + (5 if now else 600)
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _tend(self) -> None:
        """Hand jobs to one process, and start it again when it dies."""
        process, pipe = None, None
        try:
            while (job := self._jobs.get()) is not None:
                if not job.future.set_running_or_notify_cancel():
                    continue
                try:
                    while True:
                        try:
                            if pipe is None:
                                process, pipe = self._start()
                            job.future.set_result(self._exchange(pipe, job))
                            break
                        except (EOFError, ConnectionError):
                            how = self._bury(process, pipe)
                            process = pipe = None
                            if self._closed:
                                raise CancelledError from None
                            job.deaths += 1
                            if job.deaths > RETRIES:
                                raise ItemError(
                                    f"{job.name}: its worker process died {job.deaths} times ({how}); use fewer --workers "
                                    "if memory is short"
                                ) from None
                            self._say(f"{job.name}: its worker process died ({how}); it runs again")
                except BaseException as error:  # handed to whoever waits for the block
                    job.future.set_exception(error)
        finally:
            if pipe is not None:
                pipe.close()
                process.join(1)
                if process.is_alive():
                    process.kill()
                    process.join()
                self._processes.discard(process)

    def _start(self) -> tuple[Any, Connection]:
        """A new process that has said it is ready; one that dies before is started again, a few times."""
        how = ""
        for _ in range(RETRIES + 1):
            try:
                with self._starting:
                    if self._closed:
                        raise CancelledError
                    process, pipe = _next(self._context)
                    self._processes.add(process)
            except OSError as error:
                raise environment_error(error, "start a worker process") from error
            try:
                if not pipe.poll(_STARTS):
                    process.kill()
                pipe.recv()
                return process, pipe
            except (EOFError, ConnectionError):
                how = self._bury(process, pipe)
                if self._closed:
                    raise CancelledError from None
        raise UsageError(f"worker processes end before they can begin ({how}); see what they wrote above")

    def _exchange(self, pipe: Connection, job: _Job) -> Any:
        task = bytes(ForkingPickler.dumps((job.run, job.task)))
        pipe.send((sys.path, task))  # a process that began ahead has not seen where the papers lie
        while True:
            kind, content = pipe.recv()
            if kind == _TELLS:
                self._progress(*content)
            elif kind == _DONE:
                return content
            else:
                raise ItemError(f"{job.name}: {content}")

    def _bury(self, process: Any, pipe: Connection) -> str:
        """Take the dead process away; how it ended."""
        pipe.close()
        process.join(5)
        if process.is_alive():
            process.kill()
            process.join()
        self._processes.discard(process)
        code = process.exitcode
        if code is not None and code < 0:
            name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
            return f"{name}{', often for want of memory' if name == 'SIGKILL' else ''}"
        return f"exit status {code}"


class _Job:
    def __init__(self, task: Any, name: str, run: Callable[[Any], Any]) -> None:
        self.task, self.name, self.run = task, name, run
        self.future: Future = Future()
        self.deaths = 0


def _serve(pipe: Connection, driver: int, ahead: bool) -> None:
    """The life of a worker: leave Ctrl-C to the driver, end when it is gone, run what comes; ``ahead`` of that it has time."""
    ignore_ctrl_c()
    with contextlib.suppress(OSError):  # what a simulation prints must not stand among the verdicts, which may be JSON
        os.dup2(2, 1)
    with contextlib.suppress(OSError, AttributeError):  # Linux: the system ends the worker together with the driver
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    def watch() -> None:
        while os.getppid() == driver:
            time.sleep(0.2)
        os._exit(1)

    with contextlib.suppress(UsageError):
        begun(watch)
    if ahead:
        importlib.import_module("torch")  # most simulations will want it

    from attnlab.papers.lab.run import executor

    executor.tell_progress(lambda *told: pipe.send((_TELLS, told)))
    pipe.send((_READY, None))
    while True:
        try:
            path, task = pipe.recv()
            if path != sys.path:
                sys.path[:] = path
                importlib.invalidate_caches()
            run, task = ForkingPickler.loads(task)
            answer = (_DONE, run(task))
        except (EOFError, OSError):  # the driver has no more
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(OSError, ValueError, AttributeError):
                    stream.flush()
            os._exit(0)  # the interpreter's own end, with all of torch in it, takes a second
        except Exception as error:  # the task cannot be read here: its module is missing, for example
            answer = (_RAISED, f"{type(error).__name__}: {error}")
        pipe.send(answer)
