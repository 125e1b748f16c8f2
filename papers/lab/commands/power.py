"""``attnlab power``: what verdicts resolve, and which deliberate errors in theory they refute."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from attnlab.analysis.verdicts.plain import plain
from attnlab.papers.lab.commands.options import add_out, count, folder, natural, seconds, show


def configure(parser: argparse.ArgumentParser) -> None:
    """``TARGET... --mutants`` and how many, how long, where to."""
    parser.add_argument("targets", nargs="+", metavar="TARGET", help="paper or paper.claim (a prefix will do)")
    parser.add_argument("--mutants", action="store_true", help="break theory in one place at a time and judge again")
    parser.add_argument("--scale", choices=("smoke", "desk", "paper"), default="desk", help="of the stored runs")
    parser.add_argument("--seed", type=natural, default=0, metavar="S", help="seed of the stored runs (default 0)")
    parser.add_argument("--sample", type=count, default=300, metavar="N", help="mutants per paper (default 300)")
    parser.add_argument("--budget", type=seconds, default=540.0, metavar="SECONDS", help="per paper (default 540)")
    parser.add_argument("--workers", type=count, default=2, metavar="N", help="processes (default 2)")
    parser.add_argument("--write", metavar="DIR", help="write the page of each paper, power_KEY.md, into DIR")
    add_out(parser)


def run(arguments: argparse.Namespace) -> int:
    """Judge again what is stored; with ``--mutants`` under each mutant. Nothing is simulated."""
    from attnlab.papers.lab.registry import select
    from attnlab.papers.lab.run.display import Display
    from attnlab.papers.lab.run.store import Store

    selection = select(arguments.targets)
    store, display = Store(folder(arguments)), Display()
    papers = []
    try:
        for paper in selection.papers:
            claims = [c for c in selection.claims if c.paper == paper.key and arguments.scale in c.scales]
            papers.append(_of_paper(paper, claims, arguments, store, display))
    finally:
        display.close()
        store.close()
    show(arguments, {"papers": [record for record, _ in papers]}, "\n\n".join(text for _, text in papers))
    return 0


def _of_paper(
    paper: Any, claims: list[Any], arguments: argparse.Namespace, store: Any, display: Any
) -> tuple[dict, str]:
    from attnlab.papers.lab.errors import UsageError
    from attnlab.papers.lab.power.measure import measure, tests_folder
    from attnlab.papers.lab.power.rejudge import StoredBench, baseline
    from attnlab.papers.lab.power.table import median_resolution, page, resolution_rows, resolution_text, summary
    from attnlab.papers.lab.run.reproduce import BUDGET

    bench = StoredBench(store, display, seed=arguments.seed)
    share, known, missing = BUDGET / max(1, paper.judged_parts()), [], {}
    for claim in claims:
        try:
            known.append(baseline(claim, bench, arguments.scale, share))
        except (UsageError, ValueError, ArithmeticError, LookupError, TypeError) as error:
            missing[claim.id] = f"{type(error).__name__}: {error}" if not isinstance(error, UsageError) else str(error)
    if not known:
        raise UsageError(f"{paper.key}: {next(iter(missing.values()), 'no claim at this scale')}")
    rows, median = resolution_rows(known), median_resolution(known)
    record: dict[str, Any] = {"key": paper.key, "claims": rows, "median_resolution": median, "not_judged": missing}
    text = resolution_text(rows, median)
    text += "".join(f"\nnot judged: {name}: {reason}" for name, reason in missing.items())
    if arguments.mutants:
        fates, counts = measure(
            known, sample=arguments.sample, seconds=arguments.budget, workers=arguments.workers, tests=tests_folder()
        )
        command = f"attnlab power {paper.key} --mutants --scale {arguments.scale} --sample {arguments.sample}"
        written = page(paper.key, command, known, rows, fates, counts)
        record["mutants"] = summary(fates, counts)
        record["survivors"] = [fate.mutant.name for fate in fates if not fate.killed]
        text = written if arguments.write is None else f"{text}\n{record['mutants']}"
        if arguments.write is not None:
            file = Path(arguments.write) / f"power_{paper.key}.md"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(written, encoding="utf-8")
    return plain(record), text
