"""``attnlab falsify``: look for a counterexample to a claim about all inputs, save it, evaluate a saved one again."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from attnlab.papers.lab.commands.options import add_out, natural, show
from attnlab.papers.lab.commands.options import folder as results_folder
from attnlab.papers.lab.errors import UsageError


def configure(parser: argparse.ArgumentParser) -> None:
    """``CLAIM KEY=VALUE ...`` and how it is searched."""
    parser.add_argument(
        "tokens",
        nargs="*",
        metavar="CLAIM|KEY=VALUE",
        help="paper.claim (a prefix will do); a token with = overrides a field of the setting (dim=8)",
    )
    parser.add_argument(
        "--level",
        choices=("symbolic", "certified", "searched", "sampled"),
        help="what must decide (default: search every form of the claim)",
    )
    parser.add_argument(
        "--budget", type=evaluations, metavar="N", help="evaluations for each form, and for each twin (at least 1000)"
    )
    parser.add_argument(
        "--check",
        metavar="FILE",
        help="check a certificate of the claim with a program of its own (--level certified writes it)",
    )
    parser.add_argument("--replay", metavar="FILE", help="evaluate a saved witness again instead of searching")
    parser.add_argument("--seed", type=natural, default=0, metavar="S", help="seed of the search (default 0)")
    add_out(parser)


def run(arguments: argparse.Namespace) -> int:
    """Search, or replay a witness; print what was found."""
    from attnlab.papers.lab.overrides import split_tokens
    from attnlab.papers.lab.run.falsify import checked, falsify, replayed
    from attnlab.papers.lab.run.reproduce import exit_status

    targets, overrides = split_tokens(arguments.tokens)
    if len(targets) > 1:
        raise UsageError(f"{' '.join(targets)!r} names {len(targets)} claims; search one at a time")
    target = targets[0] if targets else None
    if arguments.check is not None:
        if (
            target is None
            or arguments.replay is not None
            or arguments.level is not None
            or arguments.budget is not None
        ):
            raise UsageError("--check needs the claim and the file of its certificate, and nothing else")
        result = checked(Path(arguments.check), target, overrides)
    elif arguments.replay is not None:
        if arguments.level is not None or arguments.budget is not None:
            raise UsageError("--replay evaluates one saved point: leave --level and --budget out")
        result = replayed(Path(arguments.replay), target, overrides)
    elif target is None:
        raise UsageError("no claim: name one as paper.claim, or a saved witness by --replay FILE; see `attnlab list`")
    else:
        place = results_folder(arguments)
        result = falsify(target, arguments.level, arguments.budget, arguments.seed, place, overrides)
    show(arguments, result, text(result))
    return exit_status(result["claims"])


def text(result: dict[str, Any]) -> str:
    """One line a form, and where its witness is."""
    lines = []
    for record in result["claims"]:
        lines.append(record["line"])
        if record["witness_file"] and record["verdict"] == "REFUTED":
            at = "  ".join(f"{name}={value}" for name, value in record["witness"]["point"].items())
            lines.append(f"           witness {at}  in {record['witness_file']}")
        lines += [f"           certificate in {file}" for file in record.get("certificate_files", [])]
    return "\n".join(lines)


def evaluations(text: str) -> int:
    """A budget: a whole number of evaluations, not seconds."""
    from attnlab.analysis.theorems.levels.run import LEAST_BUDGET

    try:
        value = int(text.replace("_", ""))
    except ValueError:
        value = 0
    if value < LEAST_BUDGET:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of evaluations of at least {LEAST_BUDGET}")
    return value
