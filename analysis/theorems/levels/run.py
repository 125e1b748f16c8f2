"""How a claim and its twins are judged: level, budget, seed, and what is shared by the levels."""

from __future__ import annotations

from dataclasses import dataclass

LEVELS = ("sampled", "searched", "certified", "symbolic")
PROOFS = ("certified", "symbolic")
BUDGET = 100_000  # evaluations of a claim
LEAST_BUDGET = 1000
SAMPLES = 20_000
FIRST_LOOK = 2048  # draws before a search: NaN at a share of the domain, assumptions never met


@dataclass(frozen=True)
class Run:
    """One judgement: the demanded level (None: all), evaluations, seed, and the error of the sampled level."""

    level: str | None
    budget: int
    seed: int
    error: float

    def wants(self, level: str) -> bool:
        """Whether a level runs."""
        return self.level in (None, level)

    @property
    def search_budget(self) -> int:
        """Evaluations of the search: before a demanded proof, which is what decides, no more than ``BUDGET``."""
        return min(self.budget, BUDGET) if self.level in PROOFS else self.budget
