"""What is said of a point: REFUTED with the shrunk witness, a doubt, and how near the two sides come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from attnlab.analysis.theorems.engines.confirmation import Confirmation, confirm
from attnlab.analysis.theorems.engines.evaluate import Evaluator
from attnlab.analysis.theorems.engines.shrink import shrink, smallest_size
from attnlab.analysis.theorems.levels.run import Run
from attnlab.analysis.theorems.statement.claim import Claim
from attnlab.analysis.theorems.witness import witness
from attnlab.analysis.verdicts.verdict import Outcome, Verdict

Point = Mapping[str, np.ndarray]


def refutation(run: Run, claim: Claim, point: Point, part: Verdict, evaluator: Evaluator, reason: str) -> Verdict:
    """REFUTED with the shrunk witness, if the violation at the point survives higher precision; else the doubt."""
    at_best = confirm(claim, point)
    if not at_best.violated:
        return doubtful(part, point, at_best)
    small, confirmation = shrink(claim, point, evaluator)
    record = witness(claim, small, confirmation, part.level or "", run.seed)
    size = smallest_size(claim, run.seed, max(run.budget // 20, 2000))
    if size is not None:
        record["smaller_size"] = size
    tight, numbers = tightness(claim, at_best)
    return replace(
        part,
        outcome=Outcome.REFUTED,
        witness=record,
        of=claim.region,
        interval=None,
        confidence=None,
        reason=f"{reason}, {tight}; confirmed in {confirmation.how}",
        **numbers,
    )


def doubtful(part: Verdict, point: Point, seen: Confirmation) -> Verdict:
    """UNDECIDED, with the violation that is seen in floats and not confirmed."""
    at = ", ".join(f"{k}={np.array2string(np.asarray(v), precision=6, threshold=6)}" for k, v in point.items())
    if seen.status == "undefined":
        reason = f"{seen.reason} ({at}); exclude the point by an assumption, or narrow the domain"
    else:
        where = f" ({seen.how})" if seen.how else ""
        reason = f"a violation seen in float64 is not confirmed: {seen.reason} at {at}{where}"
    return replace(part, outcome=Outcome.UNDECIDED, reason=reason, interval=None, confidence=None)


def tightness(claim: Claim, sides: Confirmation) -> tuple[str, dict[str, Any]]:
    """How near the sides come, in words and as fields of the verdict: both sides at the point, and their ratio."""
    if claim.sense == "equals" and not claim.within:
        return f"largest difference {sides.lower:.3g}", {"measured": sides.lower, "predicted": 0.0, "relation": "=="}
    left, right = (sides.upper, sides.lower) if claim.sense == "at_least" else (sides.lower, sides.upper)
    numbers: dict[str, Any] = {
        "measured": left,
        "predicted": right,
        "relation": ">=" if claim.sense == "at_least" else "<=",
    }
    if sides.upper > 0 and sides.lower > 0:
        return f"tightest ratio {sides.ratio:.6g}", {**numbers, "tightness": sides.ratio}
    return f"smallest slack {sides.upper - sides.lower:.3g}", numbers


def closest(seen: list[Confirmation]) -> Confirmation | None:
    """The candidate whose sides come nearest: by ratio where both are positive, else by slack."""
    seen = [s for s in seen if s.status in ("met", "equal", "unclear") and s.lower == s.lower and s.upper == s.upper]
    ratios = [s for s in seen if s.lower > 0 and s.upper > 0]
    if ratios and len(ratios) == len(seen):
        return max(ratios, key=lambda s: s.ratio)
    return min(seen, key=lambda s: s.upper - s.lower) if seen else None
