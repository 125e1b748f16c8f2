"""The setting of the classical facts: how large the searched instances are, and how many evaluations a search has."""

from __future__ import annotations

from dataclasses import dataclass

from attnlab.simulators.ensemble.setting import checked, require_at_least, require_positive


@dataclass(frozen=True)
class Setting:
    """``dim``: keys (or logits) of the searched instances; ``budget``: evaluations of one search (its twin has as many).

    ``score_dims`` are the query dimensions at which random scores are drawn, ``n_pairs`` of them in each replica.
    """

    dim: int = 8
    budget: int = 100_000
    score_dims: tuple[int, ...] = (4, 16)
    n_pairs: int = 200_000
    n_replicas: int = 32

    def __post_init__(self) -> None:
        checked(self)
        require_at_least(self, 3, "dim")
        require_positive(self, "budget", "score_dims", "n_pairs", "n_replicas")
        if not self.score_dims:
            raise ValueError("score_dims must not be empty; give at least one query dimension")
