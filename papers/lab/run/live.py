"""Which runs are alive: each holds a lock on a file of the results folder for as long as its process lives.

The system lets go of the lock however the process ends. Runs share the lock ``locks/folder``; whoever removes files (``store
gc``, ``store repair``) needs it alone.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from attnlab.analysis.writing import alive
from attnlab.papers.lab.errors import UsageError, environment_error

try:
    import fcntl
except ImportError:  # Windows: processes are asked for by number
    fcntl = None

HOST = socket.gethostname()


class RunLock:
    """Held by one run; ``close`` (or the end of the process) gives it back."""

    def __init__(self, folder: Path, run: int) -> None:
        self._path = folder / "locks" / f"run-{run}"
        self._files = []
        try:
            self._path.parent.mkdir(exist_ok=True)
            for path, exclusive in ((self._path.parent / "folder", False), (self._path, True)):
                number = os.open(path, os.O_CREAT | os.O_RDWR, 0o666)
                self._files.append(number)
                if fcntl is not None and exclusive:
                    _taken(number)
                elif fcntl is not None:
                    fcntl.flock(number, fcntl.LOCK_SH)
        except BlockingIOError:
            self.close(remove=False)
            raise UsageError(f"run {run} is going on in another process; see `attnlab runs`") from None
        except OSError as error:
            self.close()
            raise environment_error(error, f"lock {self._path}") from error

    def close(self, *, remove: bool = True) -> None:
        """Give the lock back and ``remove`` its file."""
        for number in self._files:
            with contextlib.suppress(OSError):
                os.close(number)
        if self._files and remove:
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)
        self._files = []


def _taken(number: int) -> None:
    """Take a file's lock alone; ``BlockingIOError`` if another run has it. Whoever only looks at it gives it back at once."""
    deadline = time.monotonic() + 1.0
    while True:
        try:
            return fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def is_alive(folder: Path, run: int, host: str | None, pid: int | None) -> bool:
    """Whether the process of a run still runs; one on another host counts as long as its lock is held."""
    path = folder / "locks" / f"run-{run}"
    if fcntl is None:
        return bool(pid) and host == HOST and alive(int(pid or 0))
    try:
        number = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(number, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks
        return host != HOST or alive(int(pid or 0))
    else:
        return False
    finally:
        os.close(number)


@contextmanager
def alone(folder: Path, doing: str) -> Iterator[None]:
    """Inside, no run is alive and none can begin. Raises :class:`UsageError` if one is."""
    with contextlib.suppress(OSError):
        (folder / "locks").mkdir(exist_ok=True)
    try:
        number = os.open(folder / "locks" / "folder", os.O_CREAT | os.O_RDWR, 0o666)
    except OSError as error:
        raise environment_error(error, f"lock {folder}") from error
    try:
        if fcntl is not None:
            try:
                fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UsageError(
                    f"a run is going on in {folder} (see `attnlab runs`): {doing} would take files from under it; wait for its "
                    "end. Nothing was removed"
                ) from None
            except OSError:
                pass
        yield
    finally:
        os.close(number)
