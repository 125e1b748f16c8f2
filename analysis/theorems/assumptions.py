"""Which assumptions of a theorem matter: drop each in turn and search for a violation.

An assumption without which a violation is found matters, and the violation is the example. Where none is found the
theorem may hold without it, or the search was too weak: the report says how many starts were made.
"""

from __future__ import annotations

from dataclasses import dataclass

from attnlab.analysis.theorems.check import check
from attnlab.analysis.theorems.levels.run import BUDGET
from attnlab.analysis.theorems.statement.claim import Claim, ClaimError
from attnlab.analysis.verdicts.verdict import Outcome, Verdict


@dataclass(frozen=True)
class Dropped:
    """One assumption left out: the verdict on what remains (None if a side is undefined there, with the reason)."""

    assumption: str
    verdict: Verdict | None
    reason: str

    @property
    def matters(self) -> bool:
        """Whether the claim certainly fails, or is undefined, without the assumption."""
        return self.verdict is None or self.verdict.outcome is Outcome.REFUTED


@dataclass(frozen=True)
class Audit:
    """The claim with all assumptions, and with each left out."""

    claim: Claim
    whole: Verdict
    dropped: tuple[Dropped, ...]

    def lines(self) -> list[str]:
        """One line for the claim and one for each assumption."""
        width = max((len(d.assumption) for d in self.dropped), default=0)
        return [
            self.whole.line(),
            *(
                f"  without {d.assumption:<{width}}  {'MATTERS' if d.matters else 'not needed?'}  {d.reason}"
                for d in self.dropped
            ),
        ]


def audit(claim: Claim, budget: int = BUDGET, seed: int = 0) -> Audit:
    """Search the claim with each of its assumptions dropped, with ``budget`` evaluations each.

    Raises :class:`ClaimError` if the claim has no assumptions or named sizes still open.
    """
    if not claim.assumptions:
        raise ClaimError("the claim has no assumptions to audit; state them with assuming={'name': condition}")
    if claim.open_sizes:
        raise ClaimError(f"audit one size at a time: audit(claim.at({sorted(claim.open_sizes)[0]}=4))")
    whole = check(claim, "searched", budget=budget, seed=seed)
    return Audit(claim, whole, tuple(_without(claim, a.name, budget, seed) for a in claim.assumptions))


def _without(claim: Claim, assumption: str, budget: int, seed: int) -> Dropped:
    try:
        verdict = check(claim.without(assumption), "searched", budget=budget, seed=seed)
    except ClaimError as undefined:
        return Dropped(assumption, None, str(undefined))
    if verdict.outcome is Outcome.REFUTED and verdict.witness is not None:
        return Dropped(
            assumption,
            verdict,
            f"fails at {verdict.witness['point']}: {verdict.measured:.4g} {verdict.relation} "
            f"{verdict.predicted:.4g} is false at the worst point seen",
        )
    return Dropped(assumption, verdict, f"no violation in {verdict.n} starts without it")
