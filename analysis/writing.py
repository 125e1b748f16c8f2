"""Files that are whole or absent: written beside their place, flushed to the disk, renamed, and the folder flushed.

A process that dies in between leaves a file ``.NAME.HOST.PID.N.tmp`` beside; :func:`sweep` removes those of dead writers.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import re
import signal
import socket
import time
from pathlib import Path

_HOST = re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname()) or "host"
_NAME = re.compile(r"\.(?P<name>.+)\.(?P<host>[A-Za-z0-9-]+)\.(?P<pid>\d+)\.\d+\.tmp")
_COUNT = itertools.count()
_DAY = 86400.0
_passed: dict[str, int] = {}


def write_atomically(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path``: a reader, also one after a loss of power, sees the old file or the whole new one.

    Raises ``OSError``; then the old file, if any, is untouched.
    """
    temporary = path.with_name(f".{path.name}.{_HOST}.{os.getpid()}.{next(_COUNT)}.tmp")
    what = path.suffix[1:] or path.name
    try:
        with open(temporary, "wb") as file:
            file.write(data[: len(data) // 2])
            fault_point(f"{what} half written")
            file.write(data[len(data) // 2 :])
            file.flush()
            os.fsync(file.fileno())
        fault_point(f"{what} written")
        os.replace(temporary, path)
        fault_point(f"{what} renamed")
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    flush_folder(path.parent)
    fault_point(f"{what} kept")


def flush_folder(folder: Path) -> None:
    """Make the names in a folder durable, where the system can."""
    if hasattr(os, "O_DIRECTORY"):
        number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def leftovers(folder: Path, pattern: str = "*") -> list[Path]:
    """Temporary files below ``folder`` whose writer is dead: its process is gone, or, on another host, a day has passed."""
    found = []
    for path in folder.glob(f"**/.{pattern}.tmp"):
        known = _NAME.fullmatch(path.name)
        if known is None or path.is_dir():
            continue
        if known["host"] == _HOST:
            dead = not alive(int(known["pid"]))
        else:
            try:
                dead = time.time() - path.stat().st_mtime > _DAY
            except OSError:
                continue
        if dead:
            found.append(path)
    return found


def sweep(folder: Path) -> int:
    """Remove the temporary files of dead writers, as far as the system lets us; returns how many there were."""
    found = leftovers(folder)
    for path in found:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
    return len(found)


def alive(pid: int) -> bool:
    """Whether a process of this host runs; one that has ended and that nobody has asked about (a zombie) does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    try:
        state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[:1]
    except OSError:  # no such files on this system
        return True
    return state not in ([b"Z"], [b"X"])


def fault_point(name: str) -> None:
    """A place where a test may let the process die: ``ATTNLAB_FAULT="NAME"``, or ``"NAME:3"`` for the third time it is passed.

    With ``ATTNLAB_FAULT_MARK``, a file, it happens once, to whichever process makes the file. ``ATTNLAB_FAULT_KIND`` names an
    error of the system (``ENOSPC``) that is raised instead. ``ATTNLAB_FAULT_LOG`` names a file that lists the points passed.
    """
    wanted, log = os.environ.get("ATTNLAB_FAULT"), os.environ.get("ATTNLAB_FAULT_LOG")
    if log:
        with open(log, "a", encoding="utf-8") as file:
            file.write(f"{os.getpid()} {name}\n")
    if not wanted or name != wanted.partition(":")[0]:
        return
    _passed[name] = _passed.get(name, 0) + 1
    if _passed[name] != int(wanted.partition(":")[2] or 1):
        return
    mark = os.environ.get("ATTNLAB_FAULT_MARK")
    if mark:
        try:
            os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return
    kind = os.environ.get("ATTNLAB_FAULT_KIND")
    if kind:
        number = getattr(errno, kind)
        raise OSError(number, os.strerror(number))
    os.kill(os.getpid(), signal.SIGKILL)
