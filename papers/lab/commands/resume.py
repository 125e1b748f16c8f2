"""``attnlab resume``: finish what was interrupted."""

from __future__ import annotations

import argparse
import sys

from attnlab.papers.lab.commands.options import add_executor, add_out, count, folder
from attnlab.papers.lab.errors import UsageError


def configure(parser: argparse.ArgumentParser) -> None:
    """``[RUN]`` and where it goes on."""
    parser.add_argument(
        "number", nargs="?", type=count, metavar="RUN", help="run number (default: the latest unfinished)"
    )
    add_executor(parser)
    add_out(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command of an unfinished run again; finished blocks are not computed twice."""
    from attnlab.papers.lab.commands.map import run_map
    from attnlab.papers.lab.commands.reproduce import run_plan
    from attnlab.papers.lab.run.store import Store

    place = folder(arguments)
    if not (place / "catalogue.sqlite").exists():
        raise UsageError(f"no results in {place}: nothing to resume; choose the folder with --out DIR")
    store = Store(place)
    found = store.run(arguments.number)
    store.close()
    if found is None:
        if arguments.number is None:
            print("nothing to resume: every run has finished", file=sys.stderr)
            return 0
        raise UsageError(f"no run {arguments.number} in {place}")
    plan = found["arguments"]
    print(f"resuming run {found['id']}: {' '.join(plan['targets'])} --scale {plan['scale']}", file=sys.stderr)
    return (run_map if "over" in plan else run_plan)(arguments, plan, place, found["id"])
