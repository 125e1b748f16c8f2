"""``attnlab reproduce``: predict, measure, compare and draw."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
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
        help="paper, paper.claim, paper.figN, a path (./paper.py, ./paper.py::claim) or all; a token with = overrides "
        "a field of the setting",
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
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would be simulated and how long it took before"
    )
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
    if arguments.dry_run:
        return rehearse_plan(arguments, plan, folder(arguments))
    return run_plan(arguments, plan, folder(arguments))


def rehearse_plan(arguments: argparse.Namespace, plan: dict[str, Any], place: Path) -> int:
    """Print what the plan would simulate; nothing runs, and no results folder is made."""
    from attnlab.papers.lab.commands.doctor import check_device
    from attnlab.papers.lab.registry import select
    from attnlab.papers.lab.run.catalogue import NAME
    from attnlab.papers.lab.run.display import Display
    from attnlab.papers.lab.run.rehearsal import RehearsalBench, rehearse, text
    from attnlab.papers.lab.run.reproduce import Options, prepare
    from attnlab.papers.lab.run.store import Store

    selection = select(plan["targets"])
    options = Options(plan["scale"], plan["overrides"], plan["replicas"], plan["seed"])
    prepare(selection, options)
    device, workers = check_device(plan["device"]), arguments.workers or os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as empty:
        store = Store(place, write=False) if (place / NAME).exists() else Store(empty)
        display = Display(quiet=True)
        try:
            bench = RehearsalBench(store, display, seed=options.seed, device=device, workers=workers)
            result = rehearse(selection, options, bench)
        finally:
            display.close()
            store.close()
    show(arguments, {"dry_run": result, "workers": workers}, text(result, workers))
    return 0


def run_plan(arguments: argparse.Namespace, plan: dict[str, Any], place: Path, number: int | None = None) -> int:
    """Run the plan, print its verdicts, return the exit status."""
    check_address(arguments.on)
    from attnlab.papers.lab.commands.report_text import summary
    from attnlab.papers.lab.run.catalogue import NAME
    from attnlab.papers.lab.run.workers import one_ahead

    fresh = number is not None or not (place / NAME).exists()  # something is to be simulated, almost for certain
    with one_ahead(fresh and arguments.on is None and (os.cpu_count() or 1) > 1):
        from attnlab.papers.lab.run.plan import carry_out

        result = carry_out(plan, place, workers=arguments.workers, address=arguments.on, number=number)
    text = summary(result)
    show(arguments, result, text)
    if arguments.json:
        print(text, file=sys.stderr)
    return result["run"]["status"]
