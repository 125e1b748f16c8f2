"""Errors that are the user's to mend: one clear message, exit status 2."""

from __future__ import annotations

import errno
from collections.abc import Iterable

from attnlab.analysis.suggestions import did_you_mean

_ENVIRONMENT = {
    errno.ENOSPC: "the disk is full; free some space and run the same command again: finished blocks are kept",
    errno.EDQUOT: "the disk quota is used up; free some space and run the same command again: finished blocks are kept",
    errno.EFBIG: "a file-size limit is reached; raise it (ulimit -f) and run again: finished blocks are kept",
    errno.EROFS: "the file system is read-only; choose another folder with --out DIR or ATTNLAB_HOME",
    errno.EACCES: "permission denied; choose another folder with --out DIR or ATTNLAB_HOME",
    errno.EPERM: "operation not permitted; choose another folder with --out DIR or ATTNLAB_HOME",
    errno.ENOTDIR: "a part of the path is a file, not a folder; choose another folder with --out DIR or ATTNLAB_HOME",
    errno.EEXIST: "it exists and is not a folder; choose another folder with --out DIR or ATTNLAB_HOME",
    errno.EMFILE: "too many open files; raise the limit (ulimit -n) or use fewer --workers: finished blocks are kept",
    errno.ENFILE: "the system has too many open files; close some programs and run again: finished blocks are kept",
    errno.ENOMEM: "out of memory; use fewer --workers: finished blocks are kept",
    errno.EAGAIN: "the system refuses more processes or threads (ulimit -u); use fewer --workers: finished blocks are kept",
    errno.EIO: "the disk answers with an error; look at it, then run the same command again: finished blocks are kept",
    errno.ENODEV: "the device is gone; mount it again and run the same command: finished blocks are kept",
    errno.ESTALE: "the folder's file system is gone; mount it again and run the same command: finished blocks are kept",
    errno.EISDIR: "a folder stands in the place of a file; move it away and run the same command again",
    errno.ENAMETOOLONG: "a name in the path is too long; choose another folder with --out DIR or ATTNLAB_HOME",
    errno.ELOOP: "a link in the path leads to itself; choose another folder with --out DIR or ATTNLAB_HOME",
    errno.ENOENT: "no such file or folder; choose another folder with --out DIR or ATTNLAB_HOME",
}


class UsageError(Exception):
    """A bad target, key, value or environment: the message names it, what was expected and what to do."""


class ItemError(UsageError):
    """One claim or figure cannot be evaluated; the others of the run are not concerned."""


def environment_error(error: OSError, doing: str) -> UsageError:
    """A :class:`UsageError` that says what could not be done, where, and how to go on."""
    advice = _ENVIRONMENT.get(error.errno or 0, error.strerror or str(error))
    where = f" ({error.filename})" if error.filename and str(error.filename) not in doing else ""
    return UsageError(f"cannot {doing}{where}: {advice}")


def of_the_system(error: OSError) -> str | None:
    """How to go on after an error that is the system's, whatever was done; None for one that the code may have caused."""
    missing = (errno.ENOENT, errno.EEXIST, errno.EISDIR, errno.ENOTDIR)  # a path that the program got wrong, perhaps
    return None if error.errno in missing else _ENVIRONMENT.get(error.errno or 0)


def nearest(name: str, known: Iterable[str]) -> str:
    """`` ; did you mean 'x'?`` for the known name nearest to ``name``, or the list of known names."""
    known = list(known)
    return did_you_mean(name, known) or (f"; known: {', '.join(known)}" if known else "")
