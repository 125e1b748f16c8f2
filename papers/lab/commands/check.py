"""``attnlab check``: a paper in its own continuous integration: statements, twins, settings, verdicts at smoke, mutants.

Exit status 0 if nothing was found, 1 if something was, 2 for a paper that cannot be read.
"""

from __future__ import annotations

import argparse
import ast
import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attnlab.papers.lab.commands.options import add_executor, add_out, count, folder, natural, share, show
from attnlab.papers.lab.plain import counted

if TYPE_CHECKING:
    from attnlab.papers.lab.declare import Claim, Paper

_JUDGES = (
    "agrees", "aligned", "bounded", "converges", "exhaustive", "exponent", "follows", "identical", "ordered", "settles",
    "share", "trend",
)  # fmt: skip


def configure(parser: argparse.ArgumentParser) -> None:
    """``PATH|KEY... --scale --seed --no-runs``."""
    parser.add_argument("targets", nargs="+", metavar="PATH", help="a paper's file or folder, or its key")
    parser.add_argument("--scale", choices=("smoke", "desk", "paper"), default="smoke", help="default: smoke")
    parser.add_argument("--seed", type=natural, default=0, metavar="S", help="seed of all simulations (default 0)")
    parser.add_argument("--replicas", type=count, metavar="N", help="replicas per simulation (default: the setting's)")
    parser.add_argument("--no-runs", action="store_true", help="only what can be read: statements, twins, settings")
    parser.add_argument(
        "--mutants",
        type=natural,
        default=20,
        metavar="N",
        help="wrong theories that claims must refute (default 20; 0: none)",
    )
    parser.add_argument(
        "--power", type=share, default=0.5, metavar="SHARE", help="share of them that must be refuted (default 0.5)"
    )
    add_executor(parser)
    add_out(parser)


def run(arguments: argparse.Namespace) -> int:
    """Check the papers; print what was found, one line each."""
    from attnlab.papers.lab import places
    from attnlab.papers.lab.registry import select

    targets = [places.absolute(target) for target in arguments.targets]
    papers = select(targets).papers
    found = [problem for paper in papers for problem in declared(paper)]
    verdicts: list[dict[str, Any]] = []
    mutants: dict[str, dict[str, Any]] = {}
    if not arguments.no_runs:
        result = _reproduced(targets, arguments)
        verdicts = result["claims"]
        found += [problem for record in verdicts for problem in judged(record)]
        figures = [row for row in result["figures"] if row["failed"]]
        found += [{"id": row["id"], "found": f"it cannot be drawn: {row['failed']}"} for row in figures]
        if arguments.mutants:
            mutants = {paper.key: survivors(paper, arguments) for paper in papers}
            for key, row in mutants.items():
                if row["claims"] and not row["tried"]:
                    text = (
                        "no wrong theory could be tried: no claim calls a function of a module named theory whose numbers a "
                        "judgement depends on by 5 %; --mutants 0 leaves this out"
                    )
                    found.append({"id": key, "found": text})
                if row["refuted"] < arguments.power * row["tried"]:
                    text = f"only {row['refuted']} of {row['tried']} wrong theories are refuted; not {'; '.join(row['not'][:5])}"
                    found.append({"id": key, "found": text})
    lines = [f"{problem['id']}: {problem['found']}" for problem in found]
    number = sum(len(paper.claims) for paper in papers)
    ran = f", {len(verdicts)} judged at {arguments.scale}" if verdicts else ""
    ran += "".join(f", {row['refuted']} of {row['tried']} wrong theories refuted" for row in mutants.values())
    lines.append(
        f"{counted(len(papers), 'paper')}, {counted(number, 'claim')}{ran}: {counted(len(found), 'problem')}"
        if found
        else f"{counted(number, 'claim')}{ran}: ok"
    )
    show(arguments, {"problems": found, "claims": verdicts, "mutants": mutants}, "\n".join(lines))
    return 1 if found else 0


def declared(paper: Paper) -> list[dict[str, str]]:
    """What is wrong with a paper as it is written: statements, descriptions, settings, judges without a twin."""
    from attnlab.papers.lab.declare import SCALES

    found = [(paper.key, f"statement {n} has neither a claim nor a reason") for n in paper.uncovered()]
    if not paper.claims:
        found.append((paper.key, "no claim is registered"))
    for claim in paper.claims.values():
        found += [
            (claim.id, f"has no {name}") for name in ("statement", "source", "formula") if not getattr(claim, name)
        ]
        for scale in SCALES:
            if not hasattr(claim.setting.at(scale), "__dataclass_fields__"):
                found.append((claim.id, f"its setting at {scale} is no dataclass: {claim.setting.at(scale)!r}"))
        if claim.forms is None:
            found += [(claim.id, f"line {n}: a judge is called without a twin") for n in _without_twin(claim)]
        else:
            forms = claim.forms(claim.setting.smoke)
            found += [(claim.id, f"the {level} form has no twin") for level, form in forms.items() if not form.twins]
    found += [(figure.id, "has no caption") for figure in paper.figures.values() if not figure.caption]
    return [{"id": name, "found": text} for name, text in found]


def judged(record: dict[str, Any]) -> list[dict[str, str]]:
    """What is wrong with a verdict: not as expected, or replicas that diverged."""
    found = []
    if not record["as_expected"]:
        reason = f": {record['reason']}" if record["reason"] else ""
        found.append(f"{record['verdict']} where {record['expected']} is expected{reason}")
    found += [f"diverged: {each}" for each in record["diverged"]]
    return [{"id": record["id"], "found": text} for text in found]


def survivors(paper: Paper, arguments: argparse.Namespace) -> dict[str, Any]:
    """Deliberate errors in the paper's theory, its claims judged again on the stored runs: how many tried, refuted, and the rest.

    Only errors that move a judged prediction by 5 % or more count.
    """
    from attnlab.papers.lab.power.measure import MOVES, measure
    from attnlab.papers.lab.power.rejudge import StoredBench, baseline
    from attnlab.papers.lab.run.display import Display
    from attnlab.papers.lab.run.reproduce import BUDGET
    from attnlab.papers.lab.run.store import Store

    store, display = Store(folder(arguments)), Display(quiet=True)
    try:
        bench, known = StoredBench(store, display, seed=arguments.seed), []
        for claim in paper.claims.values():
            if arguments.scale in claim.scales and claim.forms is None:
                try:
                    known.append(baseline(claim, bench, arguments.scale, BUDGET / max(1, paper.judged_parts())))
                except Exception:  # what a claim raises was reported where it was judged
                    continue
        fates, _ = measure(known, sample=arguments.mutants, seconds=60.0, workers=1, tests=None) if known else ([], {})
    finally:
        display.close()
        store.close()
    counted = [fate for fate in fates if fate.moves >= MOVES]
    return {
        "claims": len(known),  # that predict something, and could be judged again
        "tried": len(counted),
        "refuted": sum(bool(fate.killed_by_claim) for fate in counted),
        "not": [fate.mutant.name for fate in counted if not fate.killed_by_claim],
    }


def calls_without_twin(text: str) -> list[int]:
    """Line numbers of the calls of a judge that name no twin."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call)
        and getattr(node.func, "id", getattr(node.func, "attr", "")) in _JUDGES
        and not any(keyword.arg in ("twin", None) for keyword in node.keywords)
    ]


def _without_twin(claim: Claim) -> list[int]:
    """Lines of the claim's own function that call a judge without a twin."""
    file = inspect.getsourcefile(claim.function)
    if file is None:
        return []
    source, first = inspect.getsourcelines(inspect.unwrap(claim.function))
    lines = calls_without_twin(Path(file).read_text(encoding="utf-8"))
    return [n for n in lines if first <= n < first + len(source)]


def _reproduced(targets: list[str], arguments: argparse.Namespace) -> dict[str, Any]:
    from attnlab.papers.lab.run import interrupt
    from attnlab.papers.lab.run.plan import carry_out

    interrupt.otherwise("finished blocks are kept, the same command again goes on and checks")
    plan = {
        "targets": targets,
        "overrides": {},
        "scale": arguments.scale,
        "replicas": arguments.replicas,
        "seed": arguments.seed,
        "device": "auto",
    }
    return carry_out(plan, folder(arguments), workers=arguments.workers, address=arguments.on)
