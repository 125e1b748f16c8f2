"""``attnlab resume``: finish what was interrupted."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from attnlab.papers.lab.commands.options import add_executor, add_out, count, folder, show
from attnlab.papers.lab.errors import UsageError


def configure(parser: argparse.ArgumentParser) -> None:
    """``[RUN]`` and where it goes on."""
    parser.add_argument(
        "number", nargs="?", type=count, metavar="RUN", help="run number (default: the latest unfinished)"
    )
    add_executor(parser)
    add_out(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command of an interrupted run again; finished blocks are not computed twice, and a run that lives is left alone."""
    from attnlab.papers.lab.commands.map import run_map
    from attnlab.papers.lab.commands.reproduce import run_plan
    from attnlab.papers.lab.commands.runs import command_of
    from attnlab.papers.lab.run.catalogue import NAME
    from attnlab.papers.lab.run.runs import known_runs

    place, number = folder(arguments), arguments.number
    if not (place / NAME).exists():
        raise UsageError(f"no results in {place}: nothing to resume; choose the folder with --out DIR")
    runs = known_runs(place)
    found = next((row for row in runs if number in (row["id"], None) and (number or _waits(row))), None)
    if found is None:
        if number is not None:
            raise UsageError(f"no run {number} in {place}; see `attnlab runs`")
        alive = [str(row["id"]) for row in runs if row["state"] == "running"]
        more = f" or is still going on (run {', '.join(alive)})" if alive else ""
        said = f"nothing to resume: every run has finished{more}"
        if arguments.json:
            show(arguments, {"resumed": None, "reason": said}, said)
        print(said, file=sys.stderr)
        return 0
    if found["state"] == "altered" or not found["arguments"].get("targets"):
        raise UsageError(f"run {found['id']} cannot be given again: {found['note'] or 'its command is not known'}")
    if found["state"] == "running":
        raise UsageError(f"run {number} is going on, as process {found['pid']} on {found['host']}; see `attnlab runs`")
    print(f"resuming run {found['id']}: {command_of(found['arguments'])}", file=sys.stderr)
    carry_on = run_map if "over" in found["arguments"] else run_plan
    return carry_on(arguments, found["arguments"], place, found["id"])


def _waits(row: dict[str, Any]) -> bool:
    """Whether a run was interrupted here; one that was merged from another folder is resumed only by its number."""
    return row["state"] == "interrupted" and not (row["note"] or "").startswith("run ")
