"""What several commands share: kinds of values, the results folder, how a record is printed."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from pathlib import Path
from typing import Any, TextIO

from attnlab.papers.lab.errors import UsageError
from attnlab.papers.lab.plain import as_json


def count(text: str) -> int:
    """A whole number of at least 1."""
    if not text.isdecimal() or len(text) > 30 or not 1 <= int(text) < 2**63:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def natural(text: str) -> int:
    """A whole number of at least 0 that the catalogue can keep (64 bits)."""
    if not text.isdecimal() or len(text) > 30 or int(text) >= 2**63:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 0 and below 2^63")
    return int(text)


def seconds(text: str) -> float:
    """A positive number of seconds."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number of seconds")
    return value


def share(text: str) -> float:
    """A number between 0 and 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number between 0 and 1")
    return value


def days(text: str) -> float:
    """A number of days of at least 0."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of days of at least 0")
    return value


def add_out(parser: argparse.ArgumentParser) -> None:
    """``--out DIR``; :func:`folder` reads it."""
    parser.add_argument("--out", metavar="DIR", help="results folder (default: $ATTNLAB_HOME or ./attnlab-results)")


def folder(arguments: argparse.Namespace) -> Path:
    """The results folder that the arguments name."""
    from attnlab.papers.lab.run.folder import default_folder

    return Path(arguments.out) if arguments.out else default_folder()


def folder_to_read(arguments: argparse.Namespace) -> Path:
    """The results folder that the arguments name; one that was typed and holds nothing is pointed out, and is no error."""
    from attnlab.papers.lab.run.catalogue import NAME

    place = folder(arguments)
    if arguments.out and not (place / NAME).exists():
        print(f"attnlab: no results in {place} yet; was another folder meant with --out?", file=sys.stderr)
    return place


def add_executor(parser: argparse.ArgumentParser) -> None:
    """``--workers N`` and ``--on ADDRESS``."""
    parser.add_argument("--workers", type=count, metavar="N", help="local processes (default: one per core)")
    parser.add_argument("--on", metavar="ADDRESS", help="run the blocks on a Dask cluster, e.g. tcp://scheduler:8786")


def show(arguments: argparse.Namespace, record: Any, text: str) -> None:
    """Print the record as JSON if ``--json`` asks for it, else the text."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    tell(as_json(record, encoding) if arguments.json else text, getattr(arguments, "stdout", None))


def tell(text: str, stream: TextIO | None = None) -> None:
    """Print on standard output. A reader that has gone (``| head``) changes nothing; what cannot be written is an error."""
    stream = sys.stdout if stream is None else stream
    try:
        print(text, file=stream, flush=True)
    except BrokenPipeError:
        mute(stream)
    except OSError as error:
        mute(stream)
        raise UsageError(
            f"cannot write on standard output: {error.strerror}; what was computed is kept in the results folder"
        ) from error


def mute(stream: Any) -> None:
    """Let a stream that cannot be written end in nothing, so that the end of the process does not stumble over it."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
