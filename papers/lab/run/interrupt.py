"""Ctrl-C at any moment: noticed even where Python would swallow it, and final when it is pressed again."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

MESSAGE = "attnlab: interrupted; finished blocks are kept, `attnlab resume` goes on"
NOTHING_BEGUN = "attnlab: interrupted; no run was begun"
_asked = threading.Event()
_begun = threading.Event()
_instead: list[str] = []


def begun() -> None:
    """A run is recorded: what is interrupted from now on can be resumed."""
    _begun.set()


def otherwise(how: str) -> None:
    """From now on until the command ends: what an interrupted one says of its run, where ``attnlab resume`` cannot go on."""
    _instead[:] = [f"attnlab: interrupted; {how}"]


def message() -> str:
    """What an interrupted command says."""
    return next(iter(_instead), MESSAGE) if _begun.is_set() else NOTHING_BEGUN


@contextmanager
def watched() -> Iterator[None]:
    """Inside, SIGINT raises ``KeyboardInterrupt`` and is remembered (see :func:`check`); a second one ends the process.

    An exception that is raised while an object is being deleted, or in a callback of a library, is printed and forgotten;
    so whoever waits for a long time calls :func:`check`. In other threads than the main one this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _asked.clear()
    _begun.clear()
    _instead.clear()

    def handle(number: int, frame: Any) -> None:
        if _asked.is_set():
            os.write(2, f"{message()}\n".encode())
            os._exit(130)
        _asked.set()
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before if before is not None else signal.default_int_handler)
        _asked.clear()


def check() -> None:
    """Raise ``KeyboardInterrupt`` if Ctrl-C was pressed and nobody has heard it."""
    if _asked.is_set():
        raise KeyboardInterrupt
