"""``attnlab runs``: runs of the results folder with their state and command."""

from __future__ import annotations

import argparse
import shlex
import time
from typing import Any

from attnlab.papers.lab.commands.options import add_out, folder, show


def configure(parser: argparse.ArgumentParser) -> None:
    """``--out DIR``."""
    add_out(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print all runs, the latest first."""
    from attnlab.papers.lab.run.runs import known_runs

    place = folder(arguments)
    found = [row | {"command": command_of(row["arguments"])} for row in known_runs(place)]
    lines = [_line(row) for row in found] or [f"no runs in {place}"]
    if any(row["state"] == "interrupted" for row in found):
        lines.append("interrupted runs go on with `attnlab resume` (the latest) or `attnlab resume RUN`")
    show(arguments, {"runs": found}, "\n".join(lines))
    return 0


def command_of(plan: dict[str, Any]) -> str:
    """The command that a run's plan stands for, as a shell takes it."""
    words = list(plan.get("targets", []))
    words += ["--over", *plan["over"]] if "over" in plan else []
    words += [f"{key}={value}" for key, value in (plan.get("overrides") or {}).items()]
    for name, usual in (("scale", "desk"), ("replicas", None), ("seed", 0), ("device", "auto")):
        value = plan.get(name, usual)
        if value != usual:
            words += [f"--{name}", str(value)]
    return " ".join(["attnlab", "map" if "over" in plan else "reproduce", *map(shlex.quote, words)])


def _line(row: dict[str, Any]) -> str:
    state = row["state"]
    if state == "finished":
        state = f"finished, status {row['status']}"
    elif state == "running":
        state = f"running, process {row['pid']} on {row['host']}"
    if state == "altered":
        return f"{row['id']:>5}  {row['note']}"
    started = time.strftime("%Y-%m-%d %H:%M", time.localtime(row["started"])) if row["started"] else ""
    note = f"  ({row['note']})" if row["note"] else ""
    return f"{row['id']:>5}  {started:<16}  {state:<28}  {row['command']}{note}"
