"""Worker processes that never run the user's script or notebook cell again.

A process that is started by "spawn" first imports the main module of its parent under another name, so that functions
defined there can be found. A script without ``if __name__ == "__main__"`` would start its work once more in each
worker. Workers of the lab import simulations from their modules and need nothing of the main module; so it has no file
and no specification while one starts.
"""

from __future__ import annotations

import multiprocessing.context
import multiprocessing.process
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class _Process(multiprocessing.context.SpawnProcess):
    """A spawned process whose main module is empty."""

    @staticmethod
    def _Popen(process_obj: Any) -> Any:
        with _main_hidden():
            return multiprocessing.context.SpawnProcess._Popen(process_obj)


class SpawnContext(multiprocessing.context.SpawnContext):
    """The "spawn" context of the standard library with such processes."""

    Process = _Process  # type: ignore[assignment]


_hiding = threading.Lock()


@contextmanager
def _main_hidden() -> Iterator[None]:
    main = sys.modules["__main__"]
    with _hiding:
        kept = {name: vars(main)[name] for name in ("__spec__", "__file__") if name in vars(main)}
        main.__spec__ = None
        main.__dict__.pop("__file__", None)
        try:
            yield
        finally:
            vars(main).update(kept)
