"""``attnlab reproduce``: predict, measure, compare and draw."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from attnlab.papers.lab.commands.options import add_executor, add_out, count, folder, natural, show
from attnlab.papers.lab.run.address import check_address


def configure(parser: argparse.ArgumentParser) -> None:
    """``TARGET... KEY=VALUE ...`` and how the run goes."""
    parser.add_argument(
        "tokens",
        nargs="*",
        metavar="TARGET|KEY=VALUE",
        help="paper, paper.claim, paper.figN or all; a token with = overrides a field of the setting",
    )
    parser.add_argument(
        "--scale",
        choices=("smoke", "desk", "paper"),
        default="desk",
        help="smoke: the path works; desk: the conclusions (default); paper: the published sizes",
    )
    parser.add_argument(
        "--set", nargs="+", action="append", default=[], metavar="KEY=VALUE", help="the same as KEY=VALUE"
    )
    parser.add_argument("--replicas", type=count, metavar="N", help="replicas per simulation (default: the setting's)")
    parser.add_argument("--seed", type=natural, default=0, metavar="S", help="seed of all simulations (default 0)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="where simulations run")
    add_executor(parser)
    add_out(parser)


def run(arguments: argparse.Namespace) -> int:
    """Judge the targets, draw their figures, print the verdicts."""
    from attnlab.papers.lab import places
    from attnlab.papers.lab.overrides import split_tokens

    targets, overrides = split_tokens([*arguments.tokens, *(token for group in arguments.set for token in group)])
    plan = {
        "targets": [places.absolute(target) for target in targets],
        "overrides": overrides,
        "scale": arguments.scale,
        "replicas": arguments.replicas,
        "seed": arguments.seed,
        "device": arguments.device,
    }
    return run_plan(arguments, plan, folder(arguments))


def run_plan(arguments: argparse.Namespace, plan: dict[str, Any], place: Path, number: int | None = None) -> int:
    """Run the plan, print its verdicts, return the exit status."""
    check_address(arguments.on)
    from attnlab.papers.lab.commands.report_text import summary
    from attnlab.papers.lab.run.plan import carry_out

    result = carry_out(plan, place, workers=arguments.workers, address=arguments.on, number=number)
    text = summary(result)
    show(arguments, result, text)
    if arguments.json:
        print(text, file=sys.stderr)
    return result["run"]["status"]
