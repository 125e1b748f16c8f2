"""``attnlab diff``: which verdicts differ between two runs, and in what the runs do: code, versions, seed, setting."""

from __future__ import annotations

import argparse
from typing import Any

from attnlab.papers.lab.commands.options import add_out, folder, show
from attnlab.papers.lab.commands.verdict_text import verdict_lines

_CHANCE = 0.02  # two runs of the same truth each err with probability 1 % at most


def configure(parser: argparse.ArgumentParser) -> None:
    """``RUN RUN``."""
    parser.add_argument("first", metavar="RUN", help="number of a run, or a file made with --json")
    parser.add_argument("second", metavar="RUN", help="the run to compare it with")
    add_out(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print what differs. Exit status 0 if no verdict does, 1 if one does."""
    from attnlab.papers.lab.run.record import read_record

    place = folder(arguments)
    first, second = (read_record(name, place) for name in (arguments.first, arguments.second))
    found = compared(first, second)
    show(arguments, found, text(found))
    return 1 if found["changed"] else 0


def compared(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """Claims whose verdict differs, with what differs for each; claims in one run only; what differs between the runs."""
    old, new = ({claim["id"]: claim for claim in each["claims"]} for each in (first, second))
    changed = [
        {"id": name, "first": old[name], "second": new[name], "because": reasons(first, second, old[name], new[name])}
        for name in old
        if name in new and old[name]["verdict"] != new[name]["verdict"]
    ]
    return {
        "runs": [first["run"].get("id"), second["run"].get("id")],
        "compared": sum(name in new for name in old),
        "changed": changed,
        "only_first": [name for name in old if name not in new],
        "only_second": [name for name in new if name not in old],
        "differs": between_runs(first["run"], second["run"]),
    }


def between_runs(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """What the runs were asked for and what they ran on, as far as it differs: name to the two values."""
    found = {}
    for name in ("scale", "seed", "replicas", "overrides", "device", "attnlab"):
        if first.get(name) != second.get(name):
            found[name] = [first.get(name), second.get(name)]
    for name in sorted({*(first.get("platform") or {}), *(second.get("platform") or {})}):
        values = [(each.get("platform") or {}).get(name) for each in (first, second)]
        if values[0] != values[1]:
            found[name] = values
    return found


def reasons(first: dict[str, Any], second: dict[str, Any], old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Why a claim's verdict may differ: its setting, seed or replicas, the code of simulation or judgement, versions."""
    found = []
    before, after = (each.get("setting") or {} for each in (old, new))
    fields = [name for name in before if before[name] != after.get(name)]
    found += [f"setting: {name}={before[name]} against {after.get(name)}" for name in fields[:4]]
    for name in ("scale", "seed", "replicas", "n"):
        if old.get(name) != new.get(name):
            found.append(f"{name}: {old.get(name)} against {new.get(name)}")
    codes = [each["run"].get("code") or {} for each in (first, second)]
    for name in (*old.get("simulations", ()), old["id"]):
        both = [code.get(name) for code in codes]
        if None not in both and both[0] != both[1]:
            found.append(f"code of {'the judgement' if name == old['id'] else name} differs")
    platforms = between_runs(first["run"], second["run"])
    found += [
        f"{name}: {a} against {b}"
        for name, (a, b) in platforms.items()
        if name not in ("scale", "seed", "replicas", "overrides")
    ]
    return found or [f"nothing that is recorded: each verdict errs with probability {_CHANCE / 2:g} at most"]


def text(found: dict[str, Any]) -> str:
    """The changed verdicts, one under the other, with the reasons."""
    lines = []
    for row in found["changed"]:
        lines += [row["id"], *(f"  {line}" for each in (row["first"], row["second"]) for line in verdict_lines(each))]
        lines += [f"    {reason}" for reason in row["because"]] + [""]
    names = dict(zip(("only_first", "only_second"), found["runs"], strict=True))
    lines += [f"only in run {names[key]}: {', '.join(found[key])}" for key in names if found[key]]
    lines.append(f"{len(found['changed'])} of {found['compared']} verdicts differ")
    if found["differs"]:
        lines.append(
            "the runs differ in " + ", ".join(f"{key} ({a} against {b})" for key, (a, b) in found["differs"].items())
        )
    return "\n".join(lines)
