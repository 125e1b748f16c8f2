"""The level ``symbolic``: an exact proof by sympy, on unbounded domains too."""

from __future__ import annotations

from dataclasses import replace

from attnlab.analysis.theorems.engines.evaluate import Evaluator
from attnlab.analysis.theorems.levels.refutation import refutation
from attnlab.analysis.theorems.levels.run import Run
from attnlab.analysis.theorems.statement.claim import Claim
from attnlab.analysis.verdicts.verdict import Outcome, Verdict


def symbolic(run: Run, claim: Claim, evaluator: Evaluator, trouble: str) -> Verdict:
    """A proof, a violation at a simple point, or why neither."""
    from attnlab.analysis.theorems.engines.proving import Proof, prove

    result = prove(claim) if not trouble else Proof("undecided", trouble)
    part = Verdict(
        Outcome.HOLDS,
        claim.kind,
        of=claim.region,
        level="symbolic",
        unit="proof",
        name="symbolic",
        reason=result.reason,
    )
    if result.status == "refuted" and result.point is not None:
        return refutation(run, claim, result.point, part, evaluator, result.reason)
    return part if result.status == "proved" else replace(part, outcome=Outcome.UNDECIDED)
