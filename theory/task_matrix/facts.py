"""What a criterion reads of an operator, as plain values, and what it says."""

from __future__ import annotations

from dataclasses import dataclass, field

SUCCEEDS, FAILS, OPEN = "succeeds", "fails", "open"


@dataclass(frozen=True)
class OperatorFacts:
    """Declared facts at the sizes of one task.

    ``content``: what the map reads ("pair", "key", "query", "summary", "none", "nonlinear"). ``rank``: of a head's map of n
    tokens, None if full. ``reach``: distance of the farthest token with influence in one layer, None for all. ``row_sum``: the
    sum of a row of weights if it is a number, else None. ``symmetries``: moves of tokens under which the operator is
    equivariant. ``masked``: whether its causal form hides keys of a map, so that it has no state. ``smooth``: whether it
    selects nothing.
    """

    content: str
    rank: int | None = None
    reach: int | None = None
    row_sum: float | None = None
    symmetries: frozenset[str] = field(default_factory=frozenset)
    masked: bool = True
    smooth: bool = True

    @property
    def sees_no_order(self) -> bool:
        """Whether the operator treats the tokens that it sees as a set."""
        return "permutation" in self.symmetries


@dataclass(frozen=True)
class ModelSizes:
    """Layers of the model, heads of a layer and the width of a value."""

    layers: int = 2
    heads: int = 4
    value_width: int = 4


@dataclass(frozen=True)
class Prediction:
    """``says`` "succeeds", "fails" or "open" (the criterion is silent), and why; ``bound``: the score it will not exceed."""

    says: str
    why: str
    bound: float | None = None


def fails(why: str, bound: float | None = None) -> Prediction:
    """A predicted failure."""
    return Prediction(FAILS, why, bound)


def succeeds(why: str) -> Prediction:
    """A predicted success."""
    return Prediction(SUCCEEDS, why)


def silent(why: str) -> Prediction:
    """No prediction."""
    return Prediction(OPEN, why)
