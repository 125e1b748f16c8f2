"""Jobs of the driver on daemon threads: one that computes does not hold up the end, and the wait for them hears Ctrl-C."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any

from attnlab.papers.lab.errors import UsageError
from attnlab.papers.lab.run import interrupt


def begun(target: Callable[[], None], name: str | None = None) -> threading.Thread:
    """A daemon thread, started. Errors: :class:`UsageError` if the system gives no more of them."""
    try:
        thread = threading.Thread(target=target, daemon=True, name=name)
        thread.start()
    except (RuntimeError, MemoryError) as error:
        raise UsageError(
            f"cannot start a thread ({str(error) or 'out of memory'}): close some programs, use fewer --workers, or raise "
            "ulimit -u and -v; finished blocks are kept"
        ) from None
    return thread


def started(jobs: Sequence[Callable[[], Any]], at_once: int) -> list[Future]:
    """Start the jobs in their order, ``at_once`` of them beside each other; a future of each."""
    futures: list[Future] = [Future() for _ in jobs]
    waiting: queue.SimpleQueue[tuple[Callable[[], Any], Future]] = queue.SimpleQueue()
    for pair in zip(jobs, futures, strict=True):
        waiting.put(pair)

    def work() -> None:
        while True:
            try:
                job, future = waiting.get_nowait()
            except queue.Empty:
                return
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(job())
                except BaseException as error:
                    future.set_exception(error)

    for _ in range(min(at_once, len(jobs))):
        begun(work)
    return futures


def results(pending: Sequence[Future]) -> list[Any]:
    """All results; the first failure ends the wait, and so does Ctrl-C."""
    open_ = set(pending)
    while open_:
        interrupt.check()
        finished, open_ = wait(open_, timeout=0.2, return_when=FIRST_COMPLETED)
        for future in finished:
            future.result()
    return [future.result() for future in pending]
