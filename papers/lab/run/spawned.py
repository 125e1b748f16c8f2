"""Worker processes that never run the user's script or notebook cell again.

A process that is started by "spawn" first imports the main module of its parent under another name, so that functions
defined there can be found. A script without ``if __name__ == "__main__"`` would start its work once more in each
worker. Workers of the lab import simulations from their modules and need nothing of the main module; so it has no file
and no specification while one starts. A worker has one BLAS thread: the workers are the parallelism, and the bits of a
result must not depend on how many cores there are.

A terminal sends Ctrl-C to every process of the command. It is the driver's to answer: a worker is born with the signal
blocked, since its interpreter would print a traceback at any moment before it comes to ignore it.
"""

from __future__ import annotations

import multiprocessing.context
import multiprocessing.resource_tracker
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

BLAS_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class _Process(multiprocessing.context.SpawnProcess):
    """A spawned process whose main module is empty and whose BLAS has one thread."""

    @staticmethod
    def _Popen(process_obj: Any) -> Any:
        with _starting_a_worker(), _ctrl_c_blocked():
            return multiprocessing.context.SpawnProcess._Popen(process_obj)


class SpawnContext(multiprocessing.context.SpawnContext):
    """The "spawn" context of the standard library with such processes."""

    Process = _Process


def ignore_ctrl_c() -> None:
    """In a worker: Ctrl-C is the driver's from now on, in what the worker starts too. One that waited is forgotten."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if _CAN_BLOCK:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


_CAN_BLOCK = hasattr(signal, "pthread_sigmask")
_starting = threading.Lock()


@contextmanager
def _ctrl_c_blocked() -> Iterator[None]:
    """In this thread, and in the process that it starts inside."""
    if not _CAN_BLOCK:
        yield
        return
    multiprocessing.resource_tracker.ensure_running()  # it would unblock the signal as it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _starting_a_worker() -> Iterator[None]:
    main = sys.modules["__main__"]
    with _starting:
        kept = {name: vars(main)[name] for name in ("__spec__", "__file__") if name in vars(main)}
        added = [name for name in BLAS_THREADS if name not in os.environ]
        main.__spec__ = None
        main.__dict__.pop("__file__", None)
        os.environ.update(dict.fromkeys(added, "1"))
        try:
            yield
        finally:
            vars(main).update({str(name): value for name, value in kept.items()})
            for name in added:
                os.environ.pop(name, None)
