"""Where matplotlib keeps its list of fonts, for a user without a home or with one that cannot be written.

There matplotlib prints two warnings, and looks for all fonts anew in every process. A place in our own cache, or a folder
that lasts as long as the process, is as good. Where matplotlib is loaded already, was told a place by ``MPLCONFIGDIR``, or
has its own, nothing is changed.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import stat
import sys
import tempfile
from pathlib import Path


def give_a_place() -> None:
    """Set ``MPLCONFIGDIR``, as matplotlib itself would, before it is imported: to a folder that can be written."""
    if os.name != "posix" or "matplotlib" in sys.modules or os.environ.get("MPLCONFIGDIR"):
        return
    if all(map(_is_writable, _of_matplotlib())):
        return
    place = next(filter(_is_ours, _of_attnlab()), None)
    if place is None:
        with contextlib.suppress(OSError):  # where nothing can be written, matplotlib says so
            place = Path(tempfile.mkdtemp(prefix="attnlab-matplotlib-"))
            atexit.register(shutil.rmtree, place, ignore_errors=True)
    if place is not None:
        os.environ["MPLCONFIGDIR"] = str(place)


def _of_matplotlib() -> list[Path]:
    """The folders of settings and of caches that matplotlib takes by itself; one that is no folder where there is no home."""
    home = _home() or Path(os.devnull)
    if not sys.platform.startswith(("linux", "freebsd")):
        return [home / ".matplotlib"]
    variables = {"XDG_CONFIG_HOME": ".config", "XDG_CACHE_HOME": ".cache"}
    return [Path(os.environ.get(name) or home / usual) / "matplotlib" for name, usual in variables.items()]


def _of_attnlab() -> list[Path]:
    """The folders that may take its place: in our cache, wherever that is, and where it is for a user without a home."""
    given, base, home = os.environ.get("ATTNLAB_CACHE"), os.environ.get("XDG_CACHE_HOME"), _home()
    caches = [Path(given)] if given else []
    caches += [Path(base) / "attnlab"] if base else [home / ".cache" / "attnlab"] if home else []
    caches.append(Path(tempfile.gettempdir()) / f"attnlab-cache-{os.getuid()}")
    return [cache / "matplotlib" for cache in caches]


def _home() -> Path | None:
    try:
        return Path.home()
    except RuntimeError:  # a container run under any number
        return None


def _is_writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)


def _is_ours(folder: Path) -> bool:
    """Whether only this user can write there: the folder of temporary files is everybody's."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.mkdir(exist_ok=True, mode=0o700)
        found = [each.lstat() for each in (folder.parent, folder)]
    except OSError:
        return False
    open_to = stat.S_IWGRP | stat.S_IWOTH
    safe = all(stat.S_ISDIR(each.st_mode) and each.st_uid == os.geteuid() for each in found)
    return safe and not any(each.st_mode & open_to for each in found) and os.access(folder, os.W_OK)
