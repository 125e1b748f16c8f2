"""The power of a paper as a page: what its verdicts resolve, what its claims and tests refute, and what survives."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

from attnlab.analysis.verdicts.verdict import Verdict, percent
from attnlab.papers.lab.power.measure import MOVES, Fate
from attnlab.papers.lab.power.rejudge import Baseline, measured_with_theory

EQUALITIES = (
    "equivalence",
    "exponent",
    "limit",
    "limit in training time",
    "trajectory",
    "direction",
    "sequential mean",
)


def resolution_rows(known: Sequence[Baseline]) -> list[dict[str, Any]]:
    """Claim, kind, verdict, judge and what it resolves; None where there is no formula to change."""
    return [
        {
            "id": each.claim.id,
            "kind": each.claim.kind,
            "verdict": str(each.verdict.outcome),
            "judged_by": each.verdict.judged_by,
            "resolves": each.verdict.resolves,
            "measured_with_theory": measured_with_theory(each),
            "needs_null": each.verdict.null is None and each.claim.kind == "published" and _dynamic(each.verdict),
            "null": None if each.verdict.null is None else str(each.verdict.null),
        }
        for each in known
    ]


def _dynamic(verdict: Verdict) -> bool:
    """Whether a verdict, or a part of it, is about a path or a limit in training time."""
    return any(v.judged_by in ("trajectory", "limit in training time") for v in (verdict.parts or (verdict,)))


def median_resolution(known: Sequence[Baseline]) -> float | None:
    """The median over the equality verdicts, parts counted one by one; None if there is none."""
    found = [v.resolves for each in known for v in (each.verdict.parts or (each.verdict,)) if v.judged_by in EQUALITIES]
    numbers = [math.inf if r is None else r for r in found]
    return statistics.median(numbers) if numbers else None


def resolution_text(rows: Sequence[dict[str, Any]], median: float | None) -> str:
    """One line per claim, the bluntest last."""
    width = max((len(row["id"]) for row in rows), default=0)
    lines = []
    for row in sorted(rows, key=lambda row: -1.0 if row["resolves"] is None else row["resolves"]):
        resolves = "no formula" if row["resolves"] is None else f"resolves {percent(row['resolves'])}"
        inside = "  MEASURED WITH THEORY" if row["measured_with_theory"] and row["kind"] != "identity" else ""
        inside += "  NO NULL CONTROL" if row["needs_null"] else ""
        null = f"{inside}  null control {row['null'].lower()}" if row["null"] else inside
        lines.append(f"{row['verdict']:<10} {row['id']:<{width}}  {row['judged_by']:<24} {resolves}{null}")
    if median is not None:
        lines.append(f"\nmedian over equality verdicts: {percent(median)}")
    return "\n".join(lines)


def summary(fates: Sequence[Fate], counts: dict[str, int]) -> dict[str, Any]:
    """The numbers of a table: of mutants that move a judged number by more than 5 %, and of the smaller ones."""
    large = [fate for fate in fates if fate.moves > MOVES]
    small = [fate for fate in fates if fate.moves <= MOVES]
    record: dict[str, Any] = {**counts, "judged": len(fates)}
    for name, group in (("large", large), ("small", small)):
        record[name] = {
            "mutants": len(group),
            "by claims": sum(bool(fate.killed_by_claim) for fate in group),
            "by tests only": sum(not fate.killed_by_claim and bool(fate.killed_by_test) for fate in group),
            "undecided by claims": sum(
                not fate.killed_by_claim and "UNDECIDED" in fate.claims.values() for fate in group
            ),
            "survive": sum(not fate.killed for fate in group),
        }
    return record


def page(
    key: str,
    command: str,
    known: Sequence[Baseline],
    rows: Sequence[dict[str, Any]],
    fates: Sequence[Fate],
    counts: dict[str, int],
) -> str:
    """The committed page of a paper."""
    record = summary(fates, counts)
    resolves = {each.claim.id: each.verdict.resolves for each in known}
    lines = [
        f"# Power of {key}",
        "",
        f"Written by `{command}`.",
        "",
        "Theory is broken in one place at a time, and claims are judged again on the same stored runs. A mutant is *refuted",
        "by claims* if a claim that held is REFUTED, INVALID or raises; UNDECIDED is counted apart. Mutants that no claim",
        "refutes are given to the tests of the module. Equivalent ones (no value of the function differs by 1e-9 at 200",
        "points) are left out.",
        "",
        f"Of {record['made']} mutants on lines that claims execute {record['tried']} were tried: "
        f"{record['equivalent']} equivalent, {record['out of time']} out of time, {record['judged']} judged.",
        "",
        "| a judged number moves by | mutants | refuted by claims | by tests only | undecided by claims | nobody sees |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for name, title in (("large", "more than 5 %"), ("small", "5 % or less")):
        row = record[name]
        n = max(1, row["mutants"])
        lines.append(
            f"| {title} | {row['mutants']} | {row['by claims']} ({row['by claims'] / n:.0%}) | {row['by tests only']} "
            f"| {row['undecided by claims']} | {row['survive']} ({row['survive'] / n:.0%}) |"
        )
    lines += [
        "",
        "| kind of mutant | mutants above 5 % | refuted by claims | by claims or tests |",
        "|---|--:|--:|--:|",
    ]
    large = [fate for fate in fates if fate.moves > MOVES]
    for operator in sorted({fate.mutant.operator for fate in large}):
        group = [fate for fate in large if fate.mutant.operator == operator]
        by_claims, seen = (sum(map(test, group)) for test in (lambda f: bool(f.killed_by_claim), lambda f: f.killed))
        lines.append(f"| {operator} | {len(group)} | {by_claims} | {seen} |")
    median = median_resolution(known)
    lines += ["", "## What the verdicts resolve", ""]
    lines += [] if median is None else [f"Median over equality verdicts: {percent(median)}.", ""]
    lines += ["| claim | kind | verdict | judge | resolves |", "|---|---|---|---|--:|"]
    for row in rows:
        shown = "" if row["resolves"] is None else percent(row["resolves"])
        lines.append(f"| {row['id']} | {row['kind']} | {row['verdict']} | {row['judged_by']} | {shown} |")
    inside = [row["id"] for row in rows if row["measured_with_theory"] and row["kind"] != "identity"]
    without = [row["id"] for row in rows if row["needs_null"]]
    lines += ["", f"About training, without a null control: {', '.join(without) or 'none'}."]
    lines += ["", f"Measured with theory inside: {', '.join(inside) or 'none'}."]
    for title, group in (
        (
            "Survivors that move a judged number by more than 5 %",
            [f for f in fates if not f.killed and f.moves > MOVES],
        ),
        ("Smaller survivors", [f for f in fates if not f.killed and f.moves <= MOVES]),
    ):
        lines += ["", f"## {title}", ""]
        lines += [f"- `{fate.mutant.name}`: moves {_moves(fate)}; {_why(fate, resolves)}" for fate in group] or [
            "None."
        ]
    return "\n".join(lines) + "\n"


def _moves(fate: Fate) -> str:
    return "the form of a judged argument" if math.isinf(fate.moves) else percent(fate.moves)


def _why(fate: Fate, resolves: dict[str, float | None]) -> str:
    """Why nobody saw it: what the claims that execute it resolve, and whether the module has tests."""
    words = []
    for name, verdict in sorted(fate.claims.items()):
        sharp = resolves.get(name)
        words.append(f"{name.split('.')[1]} {verdict}" + ("" if sharp is None else f" (resolves {percent(sharp)})"))
    words = words[:4] + ([f"{len(words) - 4} more"] if len(words) > 4 else [])
    return ", ".join(words) + ("" if fate.tested else "; its module has no tests of its own")
