"""The level ``sampled``: how much mass can violate at most; and means of bounded values (Hoeffding)."""

from __future__ import annotations

from dataclasses import replace

from attnlab.analysis.theorems.engines.confirmation import confirm
from attnlab.analysis.theorems.engines.evaluate import Evaluator
from attnlab.analysis.theorems.engines.sampling import Sampled, hoeffding_interval, sample_mean
from attnlab.analysis.theorems.levels.refutation import doubtful, refutation
from attnlab.analysis.theorems.levels.run import SAMPLES, Run
from attnlab.analysis.theorems.statement.claim import Claim
from attnlab.analysis.verdicts.verdict import Outcome, Verdict

LOOKED = 24  # worst draws that violate in floats, evaluated in higher precision


def sampled(run: Run, claim: Claim, drawn: Sampled, evaluator: Evaluator) -> Verdict:
    """The violating mass; REFUTED if a draw certainly violates, UNDECIDED if one violates in floats and stays unclear."""
    interval = drawn.mass(run.error, 0)
    part = Verdict(
        Outcome.HOLDS,
        claim.kind,
        of=f"violating mass ({measures(claim)})",
        measured=0.0 if drawn.n else None,
        interval=interval,
        confidence=1 - run.error,
        n=drawn.n,
        unit="sample",
        level="sampled",
        name="sampled",
        reason=f"violating mass at most {interval[1]:.2g}",
    )
    if drawn.n == 0:
        return replace(
            part,
            outcome=Outcome.UNDECIDED,
            measured=None,
            reason=f"the assumptions are met in none of {drawn.n_drawn} draws; state a domain that lies inside them",
        )
    doubt = None
    for _, point in drawn.worst[:LOOKED]:
        seen = confirm(claim, point)
        if seen.violated:
            return refutation(run, claim, point, part, evaluator, f"{drawn.violations} of {drawn.n} samples violate")
        if not seen.disproved and doubt is None:
            doubt = point, seen
    if doubt is not None:
        return replace(doubtful(part, *doubt), measured=drawn.violations / drawn.n)
    if drawn.violations:
        rounding = (
            f"{drawn.violations} draws violate by rounding alone: the worst {len(drawn.worst[:LOOKED])} do not exactly"
        )
        return replace(part, reason=f"{part.reason}; {rounding}")
    return part


def average(run: Run, claim: Claim) -> Verdict:
    """Means of bounded values against their bound, by Hoeffding's inequality: every entry, at an equal part of the error.

    A mean has no level but this one: where another is demanded the verdict is UNDECIDED and says so.
    """
    evaluator = Evaluator(claim, run.seed)
    values = sample_mean(claim, SAMPLES, run.seed, evaluator)
    confidence = 1 - run.error / values.shape[1]
    bound = float(claim.right)
    found = [(*hoeffding_interval(column, *claim.between, confidence), column) for column in values.T]
    sign = 1 if claim.sense == "at_most" else -1
    low, high, column = max(found, key=lambda f: sign * f[2].mean())  # the entry that comes nearest to failing
    inside, outside = (high <= bound, low > bound) if sign > 0 else (low >= bound, high < bound)
    outcome = Outcome.HOLDS if inside else Outcome.REFUTED if outside else Outcome.UNDECIDED
    reason = (
        "Hoeffding interval inside the bound"
        if inside
        else "Hoeffding interval beyond the bound"
        if outside
        else "the interval contains the bound; draw more samples or bound the values more tightly"
    )
    if inside and run.level not in (None, "sampled"):
        outcome = Outcome.UNDECIDED
        reason += f", but a mean is not judged at level {run.level!r}; leave the level out, or ask for 'sampled'"
    return Verdict(
        outcome,
        claim.kind,
        of=f"mean ({measures(claim)})",
        predicted=bound,
        measured=float(column.mean()),
        interval=(low, high),
        confidence=1 - run.error,
        n=len(values),
        unit="sample",
        level="sampled",
        reason=reason,
        witness={"values": len(values), "mean": float(column.mean()), "seed": run.seed} if outside else None,
    )


def measures(claim: Claim) -> str:
    """The reference measures in words."""
    return ", ".join(f"{name} in {domain}, {domain.measure()}" for name, domain in claim.variables.items())
