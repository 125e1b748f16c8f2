"""The monitor of a running simulation: where progress goes, and where checkpoints are kept.

A simulation calls ``current()``; by default nothing is shown or kept. Whoever runs it puts a monitor in place with
``with use(monitor):``, for this context only (a ``ContextVar``, no global state).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np


class Monitor:
    """Shows nothing and keeps nothing; the base of monitors that do."""

    def progress(self, step: int, n_steps: int, loss: float | None = None) -> None:
        """Told now and then: ``step`` of ``n_steps`` are done; ``loss`` is the recent mean over replicas, if any."""

    def restore(self) -> dict[str, np.ndarray] | None:
        """The arrays last saved by an earlier, interrupted run of the same block, or None."""
        return None

    def save(self, arrays: dict[str, np.ndarray]) -> None:
        """Keep these arrays (copies of the caller's state) in place of those saved before."""


_CURRENT: ContextVar[Monitor] = ContextVar("attnlab_monitor", default=Monitor())  # noqa: B039  (it holds no state)


def current() -> Monitor:
    """The monitor in place; one that does nothing by default."""
    return _CURRENT.get()


@contextmanager
def use(monitor: Monitor) -> Iterator[Monitor]:
    """Put a monitor in place inside a ``with`` block."""
    token = _CURRENT.set(monitor)
    try:
        yield monitor
    finally:
        _CURRENT.reset(token)
