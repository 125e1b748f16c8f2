"""What several commands share: kinds of values, the results folder, how a record is printed."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any


def count(text: str) -> int:
    """A whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def natural(text: str) -> int:
    """A whole number of at least 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 0")
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


def add_executor(parser: argparse.ArgumentParser) -> None:
    """``--workers N`` and ``--on ADDRESS``."""
    parser.add_argument("--workers", type=count, metavar="N", help="local processes (default: one per core)")
    parser.add_argument("--on", metavar="ADDRESS", help="run the blocks on a Dask cluster, e.g. tcp://scheduler:8786")


def show(arguments: argparse.Namespace, record: Any, text: str) -> None:
    """Print the record as JSON if ``--json`` asks for it, else the text."""
    print(json.dumps(record, indent=1, allow_nan=False, ensure_ascii=False) if arguments.json else text)
