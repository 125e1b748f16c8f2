"""Jobs of the driver on daemon threads: one that computes does not hold up the end, and the wait for them hears Ctrl-C."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any

from attnlab.papers.lab.run import interrupt


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
        threading.Thread(target=work, daemon=True).start()
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
