"""Judge a claim: sample, search, certify, prove; report the strongest success with what the others said, and the twin.

``level=None`` runs all four and reports the strongest success. A named level is a demand: the claim HOLDS only if
that level (or a proof by ``symbolic``, where both ran) succeeds. A violation seen in floats ends as REFUTED, confirmed in
higher precision, or as UNDECIDED with the doubt, unless it is shown to be rounding.
"""

from __future__ import annotations

import math
from dataclasses import replace

from attnlab.analysis.theorems.engines.evaluate import Evaluator, one_thread
from attnlab.analysis.theorems.engines.sampling import Sampled, sample
from attnlab.analysis.theorems.engines.search import Found, search
from attnlab.analysis.theorems.levels.agreement import disagreement
from attnlab.analysis.theorems.levels.certified import certified, never_met
from attnlab.analysis.theorems.levels.existence import existence
from attnlab.analysis.theorems.levels.run import BUDGET, FIRST_LOOK, LEAST_BUDGET, LEVELS, SAMPLES, Run
from attnlab.analysis.theorems.levels.sampled import average, sampled
from attnlab.analysis.theorems.levels.searched import searched
from attnlab.analysis.theorems.levels.symbolic import symbolic
from attnlab.analysis.theorems.statement.claim import Claim
from attnlab.analysis.theorems.statement.domains import Distribution
from attnlab.analysis.verdicts.ledger import draw
from attnlab.analysis.verdicts.verdict import Outcome, Verdict, all_of

NO_TWIN = "no twin: nothing shows what this check could have refuted"
LOOSE = 1000.0  # slack above this many times the size of the smaller side: nothing could refute


def check(
    claim: Claim, level: str | None = None, *, budget: int = BUDGET, seed: int = 0, confidence: float | None = None
) -> Verdict:
    """The verdict on a claim, with its level, tightness, witness and the twin's verdict.

    ``level`` is ``"sampled"``, ``"searched"``, ``"certified"``, ``"symbolic"`` or None for all; ``budget`` the number of
    evaluations for the claim at each size, and for each twin: not seconds, so that a busy machine gives the same verdict;
    before a demanded proof the search takes at most 100,000 of them. ``confidence`` of the sampled level comes from the
    current error ledger unless given. A claim with several sizes is judged at each; all must hold. Raises
    :class:`ClaimError` if the claim is malformed.
    """
    if level is not None and level not in LEVELS:
        raise ValueError(f"level={level!r} is not one of {', '.join(LEVELS)}, or None for all")
    whole = not isinstance(budget, bool) and isinstance(budget, (int, float)) and math.isfinite(budget)
    if not whole or budget < LEAST_BUDGET:
        raise ValueError(
            f"budget={budget!r} must be a number of evaluations of the claim, at least {LEAST_BUDGET} (not seconds); "
            f"the default is {BUDGET}"
        )
    instances = claim.instances()
    if len(instances) > 1:
        return all_of(
            *(
                check(one, level, budget=budget, seed=seed, confidence=confidence).named(size_label(one))
                for one in instances
            ),
            of=f"{len(instances)} sizes",
        ).named(claim.name or claim.sides)
    claim = instances[0]
    statistical = level in (None, "sampled") or claim.quantifier == "average"
    error = draw("sampled", confidence) if statistical else 0.0
    run = Run(level, int(budget), seed, error)
    with one_thread():
        verdict = judge(run, claim)
        for twin in claim.twins:
            if verdict.outcome is not Outcome.HOLDS:
                break
            verdict = verdict.with_twin(twin, judge(run, claim.with_twin(twin)).outcome)
    if verdict.holds and not claim.twins and verdict.level in ("sampled", "searched"):
        verdict = replace(verdict, reason="; ".join(filter(None, (verdict.reason, NO_TWIN))))
    return verdict.named(claim.name or claim.sides)


def size_label(claim: Claim) -> str:
    """``"n=16"`` for a claim at given sizes."""
    return ", ".join(f"{name}={value}" for name, value in claim.chosen.items())


def judge(run: Run, claim: Claim) -> Verdict:
    """One claim at given sizes, without its twins."""
    if claim.quantifier == "average":
        return average(run, claim)
    return existence(run, claim) if claim.quantifier == "exists" else _for_all(run, claim)


def _for_all(run: Run, claim: Claim) -> Verdict:
    evaluator = Evaluator(claim, run.seed)
    n = SAMPLES if run.wants("sampled") else FIRST_LOOK
    drawn = sample(claim, n // (4 if evaluator.cost > 1 else 1), run.seed, evaluator)
    parts: list[Verdict] = []
    if run.wants("sampled"):
        parts.append(sampled(run, claim, drawn, evaluator))
        if parts[-1].outcome is Outcome.REFUTED or run.level == "sampled":
            return _combined(run, claim, parts, drawn, None)
    found = search(claim, run.search_budget, run.seed, evaluator, also=[point for _, point in drawn.worst[:32]])
    if drawn.n == 0 and not found.absolute:
        return _never_met(run, claim, drawn, found)
    part = searched(run, claim, found, evaluator)
    if part.outcome is not Outcome.HOLDS or not _laws(claim):
        parts.append(part)
    elif run.level is not None:
        parts.append(_only_drawn(claim, part))
    refuted = bool(parts) and parts[-1].outcome is Outcome.REFUTED
    if not refuted and (run.wants("certified") or run.wants("symbolic")):
        trouble = disagreement(run, claim, found, evaluator)
        if run.wants("certified"):
            parts.append(certified(run, claim, evaluator, trouble))
        if run.wants("symbolic") and parts[-1].outcome is not Outcome.REFUTED:
            parts.append(symbolic(run, claim, evaluator, trouble))
    return _combined(run, claim, parts, drawn, found)


def _laws(claim: Claim) -> list[str]:
    """Variables that are known by their law only: what else they can be is not known."""
    return [
        name for name, domain in claim.variables.items() if isinstance(domain, Distribution) and domain.support is None
    ]


def _only_drawn(claim: Claim, part: Verdict) -> Verdict:
    """A search among draws finds violations, but says nothing on what a law draws seldom."""
    known = f"the values of {', '.join(_laws(claim))} are known by their law only"
    reason = f"no violation among draws, but {known}; give its support, or use level='sampled'"
    return replace(part, outcome=Outcome.UNDECIDED, reason=reason)


def _never_met(run: Run, claim: Claim, drawn: Sampled, found: Found) -> Verdict:
    """VACUOUS if it is proved that no point meets the assumptions, UNDECIDED if none was found."""
    proved = never_met(run, claim)
    seen = f"no point of {drawn.n_drawn} draws and {found.n_evaluations} evaluations meets the assumptions"
    return Verdict(
        Outcome.VACUOUS if proved else Outcome.UNDECIDED,
        claim.kind,
        of=claim.region,
        n=drawn.n_drawn,
        unit="sample",
        level=run.level,
        reason=f"{seen}, and ball arithmetic proves that none does"
        if proved
        else f"{seen}; state a domain inside them",
    )


def _combined(run: Run, claim: Claim, parts: list[Verdict], drawn: Sampled, found: Found | None) -> Verdict:
    """One verdict from the levels: a refutation wins, then a doubt that no proof lifts, then the demanded level, then the
    strongest success."""
    chosen = _chosen(run, parts)
    closest = next((p for p in parts if p.level == "searched" and p is not chosen), None)
    reason = chosen.reason
    if closest is not None and chosen.outcome is not Outcome.REFUTED:
        reason = f"{reason}; searched: {closest.reason}"
    if (
        closest is not None
        and closest.outcome is Outcome.HOLDS
        and (chosen.measured is None or (closest.tightness or 0) > (chosen.tightness or math.inf))
    ):
        fields = ("measured", "predicted", "relation", "tightness")
        chosen = replace(chosen, **{f: getattr(closest, f) for f in fields})
    chosen = replace(chosen, parts=tuple(parts), reason=reason, name="")
    loose = _loose(claim, drawn, found) if chosen.level in ("sampled", "searched") else ""
    if loose and chosen.outcome is Outcome.HOLDS:
        return replace(chosen, outcome=Outcome.VACUOUS, reason=loose)
    return chosen


def _chosen(run: Run, parts: list[Verdict]) -> Verdict:
    refuted = next((p for p in parts if p.outcome is Outcome.REFUTED), None)
    if refuted is not None:
        return refuted
    proofs = [p for p in parts if p.outcome is Outcome.HOLDS and p.level in ("certified", "symbolic")]
    doubted = [p for p in parts if p.outcome is not Outcome.HOLDS and p.level in ("sampled", "searched")]
    demanded = next((p for p in parts if p.level == run.level), None)
    if demanded is not None:
        better = [p for p in proofs if LEVELS.index(p.level or "") > LEVELS.index(demanded.level or "")]
        if demanded.outcome is not Outcome.HOLDS and better:
            return better[-1]
        if demanded.outcome is Outcome.HOLDS and not proofs and doubted:
            return doubted[-1]
        return demanded
    if proofs:
        return proofs[-1]
    if doubted:
        return doubted[-1]
    held = [p for p in parts if p.outcome is Outcome.HOLDS]
    return held[-1] if held else parts[-1]


def _loose(claim: Claim, drawn: Sampled, found: Found | None) -> str:
    """Why nothing could have refuted the bound, or an empty string."""
    if drawn.n == 0 or claim.sense == "equals":
        return ""
    if math.isinf(drawn.upper[0]) and drawn.upper[0] > 0:
        return "the larger side is infinite at every sample: nothing could refute the bound"
    if claim.twins:  # the twin shows whether something could
        return ""
    lower = max(abs(drawn.lower[0]), abs(drawn.lower[1]))
    slack, size = drawn.slack, max(lower, drawn.lower[1] - drawn.lower[0])
    if found is not None and found.absolute:
        slack = min(slack, -found.best_gap)
        size = max(size, found.variation)
    if slack > LOOSE * size > 0:
        return f"nothing could refute a bound so loose: slack {slack:.3g} everywhere, smaller side at most {lower:.3g}"
    return ""
