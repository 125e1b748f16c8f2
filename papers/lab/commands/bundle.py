"""``attnlab bundle``: pack a claim's records, texts, environment and replicas in one file, or judge such a file again.

``attnlab bundle TARGET --to FILE.zip`` judges (from the store where it can) and packs. ``attnlab bundle --judge
FILE.zip [PATH]`` judges what is packed with the claims as they are here, and simulates nothing; PATH says where a paper lies
that lay elsewhere when it was packed.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

from attnlab.papers.lab import places
from attnlab.papers.lab.commands.options import add_executor, add_out, count, folder, natural, show
from attnlab.papers.lab.errors import UsageError
from attnlab.papers.lab.plain import counted
from attnlab.papers.lab.run import interrupt


def configure(parser: argparse.ArgumentParser) -> None:
    """``TARGET... --to FILE`` or ``[PATH...] --judge FILE``."""
    parser.add_argument(
        "tokens", nargs="*", metavar="TARGET|KEY=VALUE", help="papers and claims; a token with = is a setting"
    )
    parser.add_argument(
        "--to", metavar="FILE", help="the file to write (default: the first target, or its key, and .zip)"
    )
    parser.add_argument(
        "--judge",
        metavar="FILE",
        help="judge a bundle again instead of writing one; TARGET: where its papers lie now, if not where they did",
    )
    parser.add_argument("--scale", choices=("smoke", "desk", "paper"), default="desk", help="default: desk")
    parser.add_argument("--replicas", type=count, metavar="N", help="replicas per simulation (default: the setting's)")
    parser.add_argument("--seed", type=natural, default=0, metavar="S", help="seed of all simulations (default 0)")
    add_executor(parser)
    add_out(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write a bundle or judge one; the exit status is that of the verdicts."""
    if arguments.judge is not None:
        if arguments.to or not all(map(places.is_path, arguments.tokens)):
            raise UsageError(
                "--judge FILE reads targets and settings from the file: leave --to, names and settings out; a path says where a "
                "paper lies now"
            )
        return _judge(arguments)
    return _pack(arguments)


def _pack(arguments: argparse.Namespace) -> int:
    from attnlab.papers.lab.commands.describe import description
    from attnlab.papers.lab.commands.verdict_text import verdict_table
    from attnlab.papers.lab.overrides import split_tokens
    from attnlab.papers.lab.registry import select
    from attnlab.papers.lab.run.bundle import NotingBench, write_bundle
    from attnlab.papers.lab.run.reproduce import FAILED

    targets, overrides = split_tokens(arguments.tokens)
    if arguments.to is not None:
        _check_file(Path(arguments.to))  # before anything is computed
    plan = {
        "targets": [places.absolute(target) for target in targets],
        "overrides": overrides,
        "scale": arguments.scale,
        "replicas": arguments.replicas,
        "seed": arguments.seed,
        "device": "auto",
    }
    interrupt.otherwise("finished blocks are kept, the same command again goes on and writes the bundle")
    made: list[NotingBench] = []

    def bench(*words: Any, **more: Any) -> NotingBench:
        made.append(NotingBench(*words, **more))
        return made[-1]

    result = _carried_out(plan, arguments, folder(arguments), bench)
    selection = select(plan["targets"])
    file = Path(arguments.to or f"{_name(targets[0], selection)}.zip")
    texts = description(plan["targets"], selection, {})[1]
    number = write_bundle(file, result, texts, _environment(), made[0])
    said = (
        f"{file}: {counted(len(result['claims']), 'claim')}, {counted(number, 'block')}, "
        f"{file.stat().st_size / 1024:.0f} KiB; judge it again by `attnlab bundle --judge {file}`"
    )
    failed = verdict_table([claim for claim in result["claims"] if claim["verdict"] == FAILED])
    show(arguments, {"file": str(file), "blocks": number, **result}, "\n".join([*failed, said]))
    return result["run"]["status"]


def _check_file(file: Path) -> None:
    """Refuse a place where no bundle can be written."""
    if os.path.isdir(file):
        raise UsageError(f"--to {file} is a folder; name a file in it, for example {file / 'bundle.zip'}")
    if not os.access(file.absolute().parent, os.W_OK):
        raise UsageError(f"--to {file}: its folder is not there or cannot be written; make it, or name another file")


def _name(target: str, selection: Any) -> str:
    """What a bundle is called: the target, or the key (and claim) that the first target's path stands for."""
    if not places.is_path(target):
        return target
    item = target.partition("::")[2]
    return ".".join(part for part in (selection.papers[0].key, item) if part)


def _judge(arguments: argparse.Namespace) -> int:
    import json

    from attnlab.papers.lab.commands.diff import compared
    from attnlab.papers.lab.commands.diff import text as difference
    from attnlab.papers.lab.commands.report_text import summary
    from attnlab.papers.lab.run.bundle import PLAN, BundleBench, open_bundle

    interrupt.otherwise("judging a bundle keeps nothing, give the same command again")
    with open_bundle(Path(arguments.judge)) as archive, tempfile.TemporaryDirectory() as place:
        packed = json.loads(archive.read("record.json"))
        plan = {name: packed["run"][name] for name in PLAN}
        plan["targets"] = [_here(target, packed, arguments) for target in plan["targets"]]
        result = _carried_out(plan, arguments, Path(place), lambda *a, **k: BundleBench(archive, *a, **k))
        found = compared(packed, result)
    show(
        arguments,
        {"then": packed, "now": result, "diff": found},
        f"{summary(result)}\n\nagainst the bundle: {difference(found)}",
    )
    return result["run"]["status"]


def _here(target: str, packed: dict[str, Any], arguments: argparse.Namespace) -> str:
    """A packed target as it is named here: a paper that was packed by its path may lie elsewhere now."""
    from attnlab.papers.lab.registry import paper_keys

    if not places.is_path(target):
        return target
    path, mark, item = target.partition("::")
    keys = {claim["id"].partition(".")[0] for claim in packed["claims"]}
    for place in arguments.tokens:
        if keys & set(places.paper_files(Path(place.partition("::")[0]))):
            return f"{places.absolute(place.partition('::')[0])}{mark}{item}"
    if arguments.tokens:
        raise UsageError(
            f"{', '.join(arguments.tokens)} holds no paper {' or '.join(sorted(keys))}, which the bundle judges"
        )
    if os.path.exists(path):
        return target
    known = sorted(keys & set(paper_keys()))
    if len(known) == 1:
        return f"{known[0]}.{item}" if item else known[0]
    raise UsageError(
        f"the bundle's paper lay at {path} when it was packed, and is not there; name where it lies here: "
        f"attnlab bundle --judge {arguments.judge} PATH"
    )


def _carried_out(plan: dict[str, Any], arguments: argparse.Namespace, place: Path, make_bench: Any) -> dict[str, Any]:
    from attnlab.papers.lab.run.plan import carry_out

    return carry_out(plan, place, workers=arguments.workers, address=arguments.on, make_bench=make_bench, figures=False)


def _environment() -> dict[str, Any]:
    """Versions of attnlab and of what it requires, and of Python."""
    import platform

    wanted = ["attnlab", "numpy", "scipy", "sympy", "torch", "matplotlib", "clarabel", "python-flint"]
    versions = {}
    for name in wanted:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return {"python": platform.python_version(), "system": platform.platform(), "packages": versions}
