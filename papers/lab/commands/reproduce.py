"""``attnlab reproduce``: predict, measure, compare and draw."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from attnlab.papers.lab.commands.options import add_executor, add_out, count, folder, natural, show


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
    from attnlab.papers.lab.overrides import split_tokens

    targets, overrides = split_tokens([*arguments.tokens, *(token for group in arguments.set for token in group)])
    plan = {
        "targets": targets,
        "overrides": overrides,
        "scale": arguments.scale,
        "replicas": arguments.replicas,
        "seed": arguments.seed,
        "device": arguments.device,
    }
    return run_plan(arguments, plan, folder(arguments))


def run_plan(arguments: argparse.Namespace, plan: dict[str, Any], place: Path, number: int | None = None) -> int:
    """Run what ``plan`` names in the results folder ``place``, as a new run or as the run ``number`` once more."""
    from attnlab.kernels.compiled.compiler import working_target
    from attnlab.papers.lab.commands.doctor import check_device
    from attnlab.papers.lab.commands.report_text import run_record, summary
    from attnlab.papers.lab.registry import select
    from attnlab.papers.lab.run.display import Display
    from attnlab.papers.lab.run.reproduce import Options, exit_status, reproduce
    from attnlab.papers.lab.run.store import Store
    from attnlab.papers.lab.run.workbench import Bench

    selection = select(plan["targets"])
    device = check_device(plan["device"])
    options = Options(plan["scale"], plan["overrides"], plan["replicas"], plan["seed"])
    store = Store(place)
    display = Display()
    workers = arguments.workers or os.cpu_count() or 1
    target, reason = working_target()
    if target is None:
        display.say(f"simulations run on torch, without compiled kernels: {reason.splitlines()[0][:300]}")
    bench = Bench(store, display, seed=options.seed, device=device, workers=workers, address=arguments.on)
    try:
        run = store.begin_run(plan) if number is None else number
        result = reproduce(selection, options, bench, run)
        status = exit_status(result["claims"])
        store.end_run(run, status)
        result["run"] = run_record(run, plan, store, bench, status)
    finally:
        display.close()
        bench.close()
        store.close()
    text = summary(result)
    show(arguments, result, text)
    if arguments.json:
        print(text, file=sys.stderr)
    return status
