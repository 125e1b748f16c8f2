"""The campaign of the for-all claims: random statements of known truth, judged and tabled.

Run: python tests/analysis/theorems/campaign/run.py N [PROCESSES]   (writes docs/measured/forall_campaign.md for N >= 1000)

CAMPAIGN_LOG=FILE keeps each row as it is judged; a run with the same log goes on where it was stopped.
"""

from __future__ import annotations

import collections
import json
import math
import multiprocessing
import os
import sys
import time
from pathlib import Path

import statements

from attnlab.analysis.theorems.check import check
from attnlab.analysis.theorems.statement.claim import ClaimError
from attnlab.analysis.verdicts.verdict import Outcome

BUDGET = 20_000
PAGE = Path(__file__).parents[4] / "docs" / "measured" / "forall_campaign.md"


def judge(k: int, statement: statements.Statement) -> dict:
    """One row: what it was, and what was said."""
    start = time.process_time()
    try:
        verdict = check(statement.claim, statement.level, budget=BUDGET, confidence=0.99)
        outcome, level, reason = str(verdict.outcome), verdict.level, verdict.reason
    except ClaimError as error:
        outcome, level, reason = "refused", None, str(error)
    proofs = [p.level for p in verdict.parts if p.outcome is Outcome.HOLDS] if outcome != "refused" else []
    return {
        "k": k,
        "family": statement.family,
        "detail": statement.detail,
        "true": statement.true,
        "asked": statement.level or "all",
        "outcome": outcome,
        "level": level,
        "proved": any(p in ("certified", "symbolic") for p in proofs),
        "height": statement.height,
        "width": statement.width,
        "dim": statement.dim,
        "seconds": time.process_time() - start,
        "reason": reason[:200],
    }


def part(arguments: tuple[int, int, int]) -> list[dict]:
    """The rows of one process."""
    n, first, step = arguments
    rows, log = [], os.environ.get("CAMPAIGN_LOG", "")
    done = {row["k"]: row for row in logged(log)}
    for k in range(first, n, step):
        rows.append(done[k] if k in done else judge(k, statements.one(k)))
        if log and k not in done:
            with open(f"{log}.{first}", "a", encoding="utf-8") as stream:
                stream.write(json.dumps(rows[-1]) + "\n")
    return rows


def logged(log: str) -> list[dict]:
    """Rows of an earlier run."""
    files = sorted(Path(log).parent.glob(f"{Path(log).name}.[0-9]*")) if log else []
    return [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]


def rows_of(n: int, processes: int = 1) -> list[dict]:
    """All rows in order."""
    if processes == 1:
        return part((n, 0, 1))
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        found = pool.map(part, [(n, first, processes) for first in range(processes)])
    return sorted((row for rows in found for row in rows), key=lambda row: row["k"])


def summary(rows: list[dict]) -> dict[str, int]:
    """The counts that matter."""
    searched = [r for r in rows if r["asked"] in ("searched", "all")]
    return {
        "statements": len(rows),
        "true": sum(r["true"] for r in rows),
        "false": sum(not r["true"] for r in rows),
        "false proved": sum(r["proved"] and not r["true"] for r in rows),
        "true refuted": sum(r["outcome"] == "REFUTED" and r["true"] for r in rows),
        "false searched": sum(not r["true"] for r in searched),
        "false held": sum(r["outcome"] == "HOLDS" and not r["true"] for r in searched),
        "vacuous": sum(r["outcome"] in ("VACUOUS", "INVALID") for r in rows),
        "true held": sum(r["outcome"] == "HOLDS" and r["true"] for r in rows),
        "false refuted": sum(r["outcome"] == "REFUTED" and not r["true"] for r in rows),
        "true searched": sum(r["true"] for r in searched),
        "true searched held": sum(r["outcome"] == "HOLDS" and r["true"] for r in searched),
        "refused": sum(r["outcome"] == "refused" for r in rows),
        "details": len({(r["family"], r["detail"]) for r in rows}),
    }


def table(rows: list[dict]) -> str:
    """The measured page."""
    s = summary(rows)
    words = ("HOLDS", "REFUTED", "UNDECIDED", "VACUOUS", "refused")
    lines = [
        "# For-all claims: a campaign of random statements of known truth",
        "",
        f"{s['statements']} statements ({s['true']} true, {s['false']} false) of {s['details']} kinds, whose truth is known by",
        "construction (`tests/analysis/theorems/campaign/statements.py`): planted violations of heights from 1 down to 1e-6 and",
        "widths from 0.3 down to 1e-3 of the box in one to eight dimensions; isolated places of structure (ties, zeros, corners,",
        "whole numbers); faces, kinks, unbounded domains; bounds that are attained; whole numbers, permutations, simplices, spheres",
        "and positive definite matrices; strict and thin assumptions; functions of torch, numpy and sympy with random keyword",
        f"arguments against their formulas. {BUDGET} evaluations per statement.",
        "",
        f"- False statements proved at `certified` or `symbolic`: **{s['false proved']}**.",
        f"- True statements refuted: **{s['true refuted']}**.",
        f"- False statements that hold at `searched`: **{s['false held']} of {s['false searched']}** "
        f"({100 * s['false held'] / max(s['false searched'], 1):.2f} %).",
        f"- True statements that hold: {s['true held']} of {s['true']} ({100 * s['true held'] / max(s['true'], 1):.1f} %); "
        f"at `searched` and by all levels {s['true searched held']} of {s['true searched']}.",
        f"- False statements refuted: {s['false refuted']} of {s['false']} ({100 * s['false refuted'] / max(s['false'], 1):.1f} %).",
        f"- Refused: {s['refused']} of {s['statements']}. VACUOUS or INVALID: {s['vacuous']}.",
        "",
        f"| family | truth | level asked | {' | '.join(words)} | processor seconds each |",
        f"|---|---|---|{'---|' * len(words)}---|",
    ]
    groups = collections.defaultdict(list)
    for r in rows:
        groups[r["family"], r["true"], r["asked"]].append(r)
    for (family, true, asked), some in sorted(
        groups.items(), key=lambda item: (item[0][0], not item[0][1], item[0][2])
    ):
        counts = [sum(r["outcome"] == w for r in some) for w in words]
        seconds = sum(r["seconds"] for r in some) / len(some)
        lines.append(
            f"| {family} | {'true' if true else 'false'} | {asked} | {' | '.join(map(str, counts))} | {seconds:.2f} |"
        )
    lines += ["", "False statements that were not refuted, by height and width (not refuted / all):", ""]
    heights = [(1e-6, 1e-4), (1e-4, 1e-2), (1e-2, 2)]
    widths = [(1e-3, 1e-2), (1e-2, 1e-1), (1e-1, 1)]
    lines += [
        "| planted, height | " + " | ".join(f"width {a:g} to {b:g}" for a, b in widths) + " |",
        "|---|---|---|---|",
    ]
    for a, b in heights:
        cells = []
        for u, v in widths:
            some = [
                r
                for r in rows
                if not r["true"] and r["family"].startswith("planted") and a <= r["height"] < b and u <= r["width"] < v
            ]
            cells.append(f"{sum(r['outcome'] != 'REFUTED' for r in some)}/{len(some)}")
        lines.append(f"| {a:g} to {b:g} | {' | '.join(cells)} |")
    missed = collections.Counter(
        (r["family"], r["detail"], r["asked"], r["outcome"])
        for r in rows
        if not r["true"] and r["outcome"] != "REFUTED"
    )
    lines += ["", "Every kind of false statement that was not refuted:", ""]
    lines += [
        f"- {n} x {family}, {detail}, asked {asked}: {outcome}"
        for (family, detail, asked, outcome), n in missed.most_common()
    ] or ["- none"]
    seconds = sum(r["seconds"] for r in rows)
    lines += ["", f"Command: `python tests/analysis/theorems/campaign/run.py {len(rows)}` ({seconds / 60:.0f} minutes of one core; the "
              "verdicts depend on the seed alone).", ""]  # fmt: skip
    return "\n".join(lines)


if __name__ == "__main__":
    found = rows_of(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1)
    text = table(found)
    if len(found) >= 1000:
        PAGE.write_text(text, encoding="utf-8")
    print(text)
    for row in found:
        wrong = (row["outcome"] == "HOLDS" and not row["true"]) or (row["outcome"] == "REFUTED" and row["true"]) or row["outcome"] in (
            "refused", "VACUOUS", "INVALID")  # fmt: skip
        if wrong:
            print({k: v for k, v in row.items() if not (isinstance(v, float) and math.isnan(v))})
