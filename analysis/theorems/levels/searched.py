"""The level ``searched``: no violation was found, or one that is certain, or one that stays in doubt."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from attnlab.analysis.theorems.engines.confirmation import confirm
from attnlab.analysis.theorems.engines.evaluate import Evaluator, tensors
from attnlab.analysis.theorems.engines.search import KEPT, Found
from attnlab.analysis.theorems.levels.refutation import closest, doubtful, refutation, tightness
from attnlab.analysis.theorems.levels.run import Run
from attnlab.analysis.theorems.statement.claim import Claim
from attnlab.analysis.verdicts.verdict import Outcome, Verdict

Point = dict[str, np.ndarray]

SHOWN = 6  # best candidates whose sides are compared in higher precision
NEAR = 3  # and points where the sides come nearest


def searched(run: Run, claim: Claim, found: Found, evaluator: Evaluator) -> Verdict:
    """The verdict on what a search saw."""
    part = Verdict(
        Outcome.HOLDS, claim.kind, of=claim.region, n=found.n_starts, unit="start", level="searched", name="searched"
    )
    if found.confirmed is not None:
        return refutation(run, claim, found.confirmed[0], part, evaluator, "violation found")
    for point in found.undefined:
        seen = confirm(claim, point)
        if seen.violated:
            return refutation(run, claim, point, part, evaluator, "violation found")
        if not seen.disproved:
            found.doubts.append((point, seen))
    if found.doubts:
        return doubtful(part, *found.doubts[0])
    if not found.absolute and not found.out_of_time:
        return replace(part, outcome=Outcome.UNDECIDED, reason="no point was found that meets the assumptions")
    notes = []
    if found.exhausted:
        notes.append(f"all {found.n_starts} points tried")
    else:
        notes.append(f"{found.n_evaluations} evaluations")
        notes += [] if found.gradients else ["no gradients: random moves only"]
        notes += [f"unbounded variables tried to 1e150 and climbed to {found.reach:.0e}"] if found.reach else []
    if found.out_of_time:
        reason = "processor time ended ten times later than expected, before the budget of evaluations was spent"
        return replace(part, outcome=Outcome.UNDECIDED, reason="; ".join([reason, *notes]))
    near = [point for score, point in found.near[:NEAR] if score > -1]
    shown = near + _telling(found.candidates(KEPT), evaluator)[:SHOWN]
    looks = [confirm(claim, point) for point in shown]
    for point, one in zip(shown, looks, strict=True):
        if one.violated:  # in floats it was none: numbers below their range, or lost in a sum
            return refutation(run, claim, point, part, evaluator, "violation found that floats do not show")
    sides = closest(looks)
    if sides is None:
        return replace(
            part, outcome=Outcome.UNDECIDED, reason="; ".join(["no point where both sides have a value", *notes])
        )
    tight, numbers = tightness(claim, sides)
    return replace(part, reason="; ".join([f"no violation, {tight}", *notes]), **numbers)


def _telling(points: list[Point], evaluator: Evaluator) -> list[Point]:
    """The points at which both sides are positive, if there are any: where 0 <= 0 a bound is met, and nothing is learnt."""
    telling = []
    for point in points:
        with torch.no_grad():
            sides = evaluator(tensors({name: np.asarray(value)[None] for name, value in point.items()}))
        if all(bool((side > 0).all()) for side in sides):
            telling.append(point)
    return telling or points
