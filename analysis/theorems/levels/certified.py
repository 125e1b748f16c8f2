"""The level ``certified``: branch and bound in ball arithmetic on the whole domain."""

from __future__ import annotations

import math
from dataclasses import replace

from attnlab.analysis.theorems.engines.confirmation import Confirmation
from attnlab.analysis.theorems.engines.evaluate import Evaluator
from attnlab.analysis.theorems.levels.refutation import refutation, tightness
from attnlab.analysis.theorems.levels.run import Run
from attnlab.analysis.theorems.statement.claim import Claim
from attnlab.analysis.verdicts.verdict import Outcome, Verdict


def certified(run: Run, claim: Claim, evaluator: Evaluator, trouble: str) -> Verdict:
    """A proof on boxes, a violation at a box's centre, or why neither; ``trouble`` says that the exact form cannot stand
    for the functions."""
    from attnlab.analysis.theorems.engines.certification import Certificate, certify

    result = certify(claim, run.budget) if not trouble else Certificate("undecided", advice=trouble)
    region = claim.region
    if result.dimension not in (0, sum(math.prod(d.shape) for d in claim.variables.values())):
        region += f" in {result.dimension} coordinates"
    part = Verdict(
        Outcome.HOLDS, claim.kind, of=region, n=result.boxes, unit="region", level="certified", name="certified"
    )
    tight, numbers = tightness(claim, Confirmation("met", result.lower, result.upper, ""))
    if result.status == "proved":
        reason = f"proved in ball arithmetic on {region}"
        return (
            replace(part, reason=f"{reason}, {tight}", **numbers)
            if result.lower == result.lower
            else replace(part, reason=reason)
        )
    if result.status == "refuted" and result.point is not None:
        return refutation(run, claim, result.point, part, evaluator, "violation found at a box centre")
    return replace(part, outcome=Outcome.UNDECIDED, reason=result.advice)


def never_met(run: Run, claim: Claim) -> bool:
    """Whether ball arithmetic proves that no point of the domain meets the assumptions."""
    from attnlab.analysis.theorems.engines.certification import certify

    impossible = replace(
        claim, left=1.0, right=0.0, sense="at_most", within=0.0, twins=(), where={}, quantifier="for_all"
    )
    return certify(impossible, max(run.budget // 4, 2000)).status == "proved"
