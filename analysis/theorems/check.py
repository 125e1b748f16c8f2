"""Judge a claim: sample, search, certify, prove; report the strongest success with what the others said, and the twin.

``level=None`` runs all four and reports the strongest success. A named level is a demand: the claim HOLDS only if
that level (or a proof by ``symbolic``, where both ran) succeeds. A violation is confirmed in higher precision before
REFUTED is said.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from attnlab.analysis.theorems.engines.evaluate import FLOOR, Evaluator, one_thread
from attnlab.analysis.theorems.engines.sampling import Sampled, hoeffding_interval, sample, sample_mean
from attnlab.analysis.theorems.engines.search import ROUNDS, Found, search
from attnlab.analysis.theorems.engines.shrink import shrink, smallest_size
from attnlab.analysis.theorems.statement.claim import Claim
from attnlab.analysis.theorems.witness import Confirmation, confirm, witness
from attnlab.analysis.verdicts.ledger import draw
from attnlab.analysis.verdicts.verdict import Outcome, Verdict, all_of

LEVELS = ("sampled", "searched", "certified", "symbolic")
LOOSE = 1000.0  # slack above this many times the size of the smaller side: nothing could refute
SAMPLES = 20_000
FIRST_LOOK = 2048  # draws before a search: NaN, assumptions never met


def check(
    claim: Claim, level: str | None = None, *, budget: float = 20.0, seed: int = 0, confidence: float | None = None
) -> Verdict:
    """The verdict on a claim, with its level, tightness, witness and the twin's verdict.

    ``level`` is ``"sampled"``, ``"searched"``, ``"certified"``, ``"symbolic"`` or None for all; ``budget`` the
    seconds for claim and twins together, of processor time in proofs (a cap: the result depends on ``seed`` alone
    unless time runs out, and the reason then says so). ``confidence`` of the sampled level comes from the current
    error ledger unless given. A claim with several sizes is judged at each; all must hold. Raises :class:`ClaimError` if
    the claim is malformed.
    """
    if level is not None and level not in LEVELS:
        raise ValueError(f"level={level!r} is not one of {', '.join(LEVELS)}, or None for all")
    if not (isinstance(budget, (int, float)) and 0 < budget < math.inf):
        raise ValueError(f"budget={budget!r} must be a positive number of seconds")
    instances = claim.instances()
    if len(instances) > 1:
        return all_of(
            *(
                check(one, level, budget=budget / len(instances), seed=seed, confidence=confidence).named(
                    size_label(one)
                )
                for one in instances
            ),
            of=f"{len(instances)} sizes",
        ).named(claim.name)
    claim = instances[0]
    statistical = level in (None, "sampled") or claim.quantifier == "average"
    error = draw("sampled", confidence) if statistical else 0.0
    run = _Run(level, budget / (1 + len(claim.twins)), seed, error)
    with one_thread():
        verdict = run.judge(claim)
        for twin in claim.twins:
            if verdict.outcome is not Outcome.HOLDS:
                break
            verdict = verdict.with_twin(twin, run.judge(claim.with_twin(twin)).outcome)
    return verdict.named(claim.name)


def size_label(claim: Claim) -> str:
    """``"n=16"`` for a claim at given sizes."""
    return ", ".join(f"{name}={value}" for name, value in claim.chosen.items())


@dataclass(frozen=True)
class _Run:
    """How a claim and its twins are judged."""

    level: str | None
    budget: float
    seed: int
    error: float

    def judge(self, claim: Claim) -> Verdict:
        if claim.quantifier == "average":
            return self._average(claim)
        return self._exists(claim) if claim.quantifier == "exists" else self._for_all(claim)

    def _for_all(self, claim: Claim) -> Verdict:
        evaluator = Evaluator(claim, self.seed)
        n = SAMPLES if self.level in (None, "sampled") else FIRST_LOOK
        drawn = sample(claim, n, self.seed, 0.3 * self.budget, evaluator)
        parts: list[Verdict] = []
        if self.level in (None, "sampled"):
            parts.append(self._sampled(claim, drawn, evaluator))
            if parts[-1].outcome is Outcome.REFUTED or self.level == "sampled":
                return self._combined(claim, parts, drawn, None)
        found = self._search(claim, evaluator)
        if drawn.n == 0 and found.feasible == 0:
            return Verdict(
                Outcome.VACUOUS,
                claim.kind,
                of=claim.region,
                n=drawn.n_drawn,
                unit="sample",
                level=self.level,
                reason=f"no point of {drawn.n_drawn} draws and {16 * found.n_starts} starts meets the assumptions; "
                "state a domain that lies inside them",
            )
        parts.append(self._searched(claim, found, evaluator))
        if parts[-1].outcome is not Outcome.REFUTED:
            if self.level in (None, "certified"):
                parts.append(self._certified(claim, evaluator))
            if self.level in (None, "symbolic") and parts[-1].outcome is not Outcome.REFUTED:
                parts.append(self._symbolic(claim, evaluator))
        return self._combined(claim, parts, drawn, found)

    def _search(self, claim: Claim, evaluator: Evaluator) -> Found:
        share = {"searched": 0.8, "sampled": 0.3}.get(self.level or "", 0.25)
        rounds = ROUNDS if self.level in (None, "searched") else 1
        return search(claim, share * self.budget, self.seed, rounds, evaluator)

    def _sampled(self, claim: Claim, drawn: Sampled, evaluator: Evaluator) -> Verdict:
        interval = drawn.mass(self.error)
        part = Verdict(
            Outcome.HOLDS,
            claim.kind,
            of=f"violating mass ({_measures(claim)})",
            measured=_share(drawn),
            interval=interval,
            confidence=1 - self.error,
            n=drawn.n,
            unit="sample",
            level="sampled",
            name="sampled",
            reason=f"violating mass at most {interval[1]:.2g}",
        )
        if drawn.n == 0:
            return replace(
                part,
                outcome=Outcome.VACUOUS,
                measured=None,
                reason=f"the assumptions are never met in {drawn.n_drawn} draws",
            )
        if drawn.violations and drawn.point is not None:
            return self._refutation(
                claim, drawn.point, part, evaluator, f"{drawn.violations} of {drawn.n} samples violate"
            )
        return part

    def _searched(self, claim: Claim, found: Found, evaluator: Evaluator) -> Verdict:
        part = Verdict(
            Outcome.HOLDS,
            claim.kind,
            of=claim.region,
            n=found.n_starts,
            unit="start",
            level="searched",
            name="searched",
        )
        notes = [f"budget ended after {found.rounds} rounds"] if found.out_of_time else []
        notes += [f"NaN at {found.n_nan} starts"] if found.n_nan else []
        notes += [] if found.gradients else ["no gradients: random moves only"]
        doubt = ""
        for score, point in found.candidates[:6]:
            seen = (
                confirm(claim, point) if score > -2 * FLOOR else None
            )  # the score is blind below the floor, balls are not
            if seen is not None and seen.violated:
                return self._refutation(claim, point, part, evaluator, "; ".join(["violation found", *notes]))
            if seen is not None and score > 0 and seen.status == "unclear":
                doubt = (
                    doubt or f"a violation seen in float64 is not confirmed: {seen.reason} ({seen.how or 'outside'})"
                )
        if doubt:
            return replace(part, outcome=Outcome.UNDECIDED, reason=doubt)
        if not found.candidates:
            return replace(part, outcome=Outcome.UNDECIDED, reason="no start meets the assumptions")
        sides = confirm(claim, found.candidates[0][1])
        tight, numbers = _tightness(claim, sides)
        return replace(part, reason="; ".join([f"no violation, {tight}", *notes]), **numbers)

    def _refutation(
        self, claim: Claim, point: dict[str, np.ndarray], part: Verdict, evaluator: Evaluator, reason: str
    ) -> Verdict:
        """REFUTED with the shrunk witness, if the violation at the point survives higher precision."""
        at_best = confirm(claim, point)
        if not at_best.violated:
            return replace(
                part,
                outcome=Outcome.UNDECIDED,
                reason=f"a violation seen in float64 is not confirmed: {at_best.reason} ({at_best.how or 'outside'})",
            )
        small, confirmation = shrink(claim, point, evaluator)
        record = witness(claim, small, confirmation, part.level or "", self.seed)
        size = smallest_size(claim, self.seed, 0.1 * self.budget)
        if size is not None:
            record["smaller_size"] = size
        tight, numbers = _tightness(claim, at_best)
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

    def _certified(self, claim: Claim, evaluator: Evaluator) -> Verdict:
        from attnlab.analysis.theorems.engines.certification import Certificate, certify

        trouble = evaluator.exact_form_agrees(self.seed)
        result = certify(claim, 0.4 * self.budget) if not trouble else Certificate("undecided", advice=trouble)
        region = claim.region
        if result.dimension not in (0, sum(math.prod(d.shape) for d in claim.variables.values())):
            region += f" in {result.dimension} coordinates"
        part = Verdict(
            Outcome.HOLDS, claim.kind, of=region, n=result.boxes, unit="region", level="certified", name="certified"
        )
        tight, numbers = _tightness(claim, Confirmation("met", result.lower, result.upper, ""))
        if result.status == "proved":
            return replace(part, reason=f"proved in ball arithmetic on {region}, {tight}", **numbers)
        if result.status == "refuted" and result.point is not None:
            return self._refutation(claim, result.point, part, evaluator, "violation found at a box centre")
        return replace(part, outcome=Outcome.UNDECIDED, reason=result.advice)

    def _symbolic(self, claim: Claim, evaluator: Evaluator) -> Verdict:
        from attnlab.analysis.theorems.engines.proving import Proof, prove

        trouble = evaluator.exact_form_agrees(self.seed)
        result = prove(claim, 0.4 * self.budget) if not trouble else Proof("undecided", trouble)
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
            return self._refutation(claim, result.point, part, evaluator, result.reason)
        return part if result.status == "proved" else replace(part, outcome=Outcome.UNDECIDED)

    def _combined(self, claim: Claim, parts: list[Verdict], drawn: Sampled, found: Found | None) -> Verdict:
        """One verdict from the levels: a refutation wins, then the demanded level, then the strongest success."""
        refuted = next((p for p in parts if p.outcome is Outcome.REFUTED), None)
        proofs = [p for p in parts if p.outcome is Outcome.HOLDS]
        demanded = next((p for p in parts if p.level == self.level), None)
        if refuted is not None:
            chosen = refuted
        elif self.level is not None and demanded is not None:
            chosen = demanded
        else:
            chosen = max(proofs, key=lambda p: LEVELS.index(p.level)) if proofs else parts[-1]
        searched = next((p for p in parts if p.level == "searched" and p is not chosen), None)
        reason = chosen.reason
        if searched is not None and chosen.outcome is not Outcome.REFUTED:
            reason = f"{reason}; searched: {searched.reason}"
        if searched is not None and (
            chosen.measured is None or (searched.tightness or 0) > (chosen.tightness or math.inf)
        ):
            chosen = replace(
                chosen, **{f: getattr(searched, f) for f in ("measured", "predicted", "relation", "tightness")}
            )
        chosen = replace(chosen, parts=tuple(parts), reason=reason, name="")
        loose = _loose(claim, drawn, found)
        if loose and chosen.outcome is Outcome.HOLDS:
            return replace(chosen, outcome=Outcome.VACUOUS, reason=loose)
        return chosen

    def _average(self, claim: Claim) -> Verdict:
        """A mean of bounded values against its bound, by Hoeffding's inequality."""
        evaluator = Evaluator(claim, self.seed)
        values = sample_mean(claim, SAMPLES, self.seed, evaluator)
        low, high = hoeffding_interval(values, *claim.between, 1 - self.error)  # type: ignore[misc]
        bound = float(claim.right)
        inside, outside = (high <= bound, low > bound) if claim.sense == "at_most" else (low >= bound, high < bound)
        outcome = Outcome.HOLDS if inside else Outcome.REFUTED if outside else Outcome.UNDECIDED
        reason = (
            "Hoeffding interval inside the bound"
            if inside
            else "Hoeffding interval beyond the bound"
            if outside
            else ("the interval contains the bound; draw more samples or bound the values more tightly")
        )
        return Verdict(
            outcome,
            claim.kind,
            of=f"mean ({_measures(claim)})",
            predicted=bound,
            measured=float(values.mean()),
            interval=(low, high),
            confidence=1 - self.error,
            n=len(values),
            unit="sample",
            level="sampled",
            reason=reason,
            witness={"values": len(values), "mean": float(values.mean()), "seed": self.seed} if outside else None,
        )

    def _exists(self, claim: Claim) -> Verdict:
        """A point that certainly meets the condition proves the claim; a certified negation refutes it."""
        opposite = replace(claim, quantifier="for_all", twins=())
        hunted = replace(opposite, sense="at_least" if claim.sense == "at_most" else "at_most")
        evaluator = Evaluator(hunted, self.seed)
        found = search(hunted, 0.4 * self.budget, self.seed, ROUNDS, evaluator)
        base = Verdict(Outcome.UNDECIDED, "exists", of=claim.region, n=found.n_starts, unit="start", level="searched")
        for _, point in found.candidates[:6]:
            seen = confirm(opposite, point)
            if seen.status == "met":
                rigorous = "ball" in seen.how
                return replace(
                    base,
                    outcome=Outcome.HOLDS,
                    level="certified" if rigorous else "searched",
                    measured=seen.lower,
                    predicted=seen.upper,
                    reason=f"an example meets the condition in {seen.how}",
                    witness={"kind": "example", "point": {k: v.tolist() for k, v in point.items()}},
                )
        if self.level in (None, "certified", "symbolic"):
            from attnlab.analysis.theorems.engines.certification import certify

            result = certify(opposite, 0.5 * self.budget, negated=True)
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
            return replace(base, reason=f"no example found; the opposite is not proved either: {result.advice}")
        return replace(base, reason="no example found; level='certified' may prove that there is none")


def _share(drawn: Sampled) -> float | None:
    return drawn.violations / drawn.n if drawn.n else None


def _measures(claim: Claim) -> str:
    return ", ".join(f"{name} {domain.measure()}" for name, domain in claim.variables.items())


def _tightness(claim: Claim, sides: Confirmation) -> tuple[str, dict[str, Any]]:
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


def _loose(claim: Claim, drawn: Sampled, found: Found | None) -> str:
    """Why nothing could have refuted the bound, or an empty string."""
    if drawn.n == 0 or claim.sense == "equals":
        return ""
    if math.isinf(drawn.upper[0]) and drawn.upper[0] > 0:
        return "the larger side is infinite at every sample: nothing could refute the bound"
    if claim.twins:  # the twin shows whether something could
        return ""
    size, slack = max(abs(drawn.lower[0]), abs(drawn.lower[1])), drawn.slack
    if found is not None and found.candidates:
        best = confirm(claim, found.candidates[0][1])
        size, slack = max(size, abs(best.lower)), min(slack, best.upper - best.lower)
    if slack > LOOSE * size:
        return f"nothing could refute a bound so loose: slack {slack:.3g} everywhere, smaller side at most {size:.3g}"
    return ""
