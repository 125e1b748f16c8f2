"""Existence claims: a point that certainly meets the condition proves one, balls on the whole domain refute it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis.theorems.engines.confirmation import confirm
from attnlab.analysis.theorems.engines.evaluate import Evaluator
from attnlab.analysis.theorems.engines.search import search
from attnlab.analysis.theorems.levels.agreement import disagreement
from attnlab.analysis.theorems.levels.run import Run
from attnlab.analysis.theorems.statement.claim import Claim
from attnlab.analysis.verdicts.verdict import Outcome, Verdict

LOOKED = 24


def existence(run: Run, claim: Claim) -> Verdict:
    """HOLDS with an example, REFUTED by a certified negation, or UNDECIDED."""
    opposite = replace(claim, quantifier="for_all", twins=())
    hunted = replace(opposite, sense="at_least" if claim.sense == "at_most" else "at_most")
    evaluator = Evaluator(hunted, run.seed)
    found = search(hunted, run.budget, run.seed, evaluator, confirming=False)
    base = Verdict(Outcome.UNDECIDED, "exists", of=claim.region, n=found.n_starts, unit="start", level="searched")
    for point in found.candidates(LOOKED):
        example = _example(opposite, point, base)
        if example is not None:
            return example
    if run.level not in (None, "certified", "symbolic"):
        return replace(base, reason="no example found; level='certified' may prove that there is none")
    from attnlab.analysis.theorems.engines.certification import certify

    trouble = disagreement(run, opposite, found, Evaluator(opposite, run.seed))
    if trouble:
        return replace(base, reason=f"no example found; the opposite is not proved either: {trouble}")
    result = certify(opposite, run.budget, negated=True)
    if result.status == "proved":
        return replace(
            base,
            outcome=Outcome.REFUTED,
            level="certified",
            n=result.boxes,
            unit="region",
            reason="ball arithmetic proves the opposite on the whole domain",
            witness={"kind": "certificate", "boxes": result.boxes, "region": claim.region},
        )
    if result.status == "refuted" and result.point is not None:
        example = _example(opposite, result.point, base)
        if example is not None:
            return example
    advice = result.advice or "an example in ball arithmetic is none at the floats next to it; raise the budget"
    return replace(base, reason=f"no example found; the opposite is not proved either: {advice}")


def _example(opposite: Claim, point: dict[str, np.ndarray], base: Verdict) -> Verdict | None:
    """HOLDS with the point, if it certainly meets the condition."""
    seen = confirm(opposite, point, wanted="met")
    if seen.status != "met":
        return None
    return replace(
        base,
        outcome=Outcome.HOLDS,
        level="certified" if "ball" in seen.how else "searched",
        measured=seen.lower,
        predicted=seen.upper,
        reason=f"an example meets the condition in {seen.how}",
        witness={"kind": "example", "point": {k: v.tolist() for k, v in point.items()}},
    )
