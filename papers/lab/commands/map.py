"""``attnlab map``: where does a claim hold? Judge it over one or two axes and draw predicted against measured.

``--over`` takes KEY=a:b:step (both ends), KEY=a:b:logN or KEY=v1,v2,v3. Points that are finished are kept: the same command, or
``attnlab resume``, goes on after a kill.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from attnlab.papers.lab.commands.options import add_executor, add_out, count, folder, natural, show


def configure(parser: argparse.ArgumentParser) -> None:
    """``CLAIM --over KEY=SPEC [KEY=SPEC] [KEY=VALUE ...]`` and how the run goes."""
    parser.add_argument(
        "tokens", nargs="*", metavar="CLAIM|KEY=VALUE", help="paper.claim; a token with = fixes a field of the setting"
    )
    parser.add_argument(
        "--over",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=SPEC",
        help="the axis of columns, and one of rows: a:b:step, a:b:logN or v1,v2,v3",
    )
    parser.add_argument("--scale", choices=("smoke", "desk", "paper"), default="desk", help="default: desk")
    parser.add_argument("--replicas", type=count, metavar="N", help="replicas per simulation (default: the setting's)")
    parser.add_argument("--seed", type=natural, default=0, metavar="S", help="seed of all simulations (default 0)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="where simulations run")
    add_executor(parser)
    add_out(parser)


def run(arguments: argparse.Namespace) -> int:
    """Judge every point; print the verdicts as a table and save the map with its data."""
    from attnlab.papers.lab import places
    from attnlab.papers.lab.overrides import split_tokens

    targets, fixed = split_tokens(arguments.tokens)
    plan = {
        "targets": [places.absolute(target) for target in targets],
        "over": arguments.over,
        "overrides": fixed,
        "scale": arguments.scale,
        "replicas": arguments.replicas,
        "seed": arguments.seed,
        "device": arguments.device,
    }
    return run_map(arguments, plan, folder(arguments))


def run_map(arguments: argparse.Namespace, plan: dict[str, Any], place: Path, number: int | None = None) -> int:
    """Carry out a map's plan as a new run, or as the run ``number`` once more; returns the exit status.

    0: every point was judged, whatever its verdict; 3: some point failed.
    """
    from attnlab.papers.lab.run.mapped import carry_out_map

    result = carry_out_map(plan, place, workers=arguments.workers, address=arguments.on, number=number)
    show(arguments, result, text(result))
    return result["run"]["status"]


def text(result: dict[str, Any]) -> str:
    """The verdicts as a grid of words, the counts, and where the map is."""
    columns, rows = result["axes"]["columns"], result["axes"]["rows"]
    by_point = {tuple(point["point"].items()): point for point in result["points"]}
    row_values = rows["values"] if rows else [""]
    head = [f"{(rows or {'key': ''})['key']:>12}", *(f"{value:>12}" for value in columns["values"])]
    lines = [f"{result['claim']} over {columns['key']}" + (f" and {rows['key']}" if rows else ""), "".join(head)]
    for value in row_values:
        cells = []
        for column in columns["values"]:
            point = {**({rows["key"]: value} if rows else {}), columns["key"]: column}
            record = by_point[tuple(point.items())]
            off = record["difference"]
            shown = "" if off is None else f" {off:+.0%}" if abs(off) >= 0.1 else f" {off:+.1%}"
            cells.append(f"{record['verdict'][:4] + shown:>12}")
        lines.append(f"{value:>12}" + "".join(cells))
    counts: dict[str, int] = {}
    for record in result["points"]:
        counts[record["verdict"]] = counts.get(record["verdict"], 0) + 1
    failed = {f"{record['point']}: {record['reason']}" for record in result["points"] if record["verdict"] == "FAILED"}
    return "\n".join(
        [
            *lines,
            "",
            ", ".join(f"{number} {word}" for word, number in counts.items()),
            *sorted(failed)[:5],
            f"figure {result['files'][0]}" if result["files"] else "",
        ]
    ).rstrip()
