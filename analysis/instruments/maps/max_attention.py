r"""Which of several candidates heads look at most, all heads together: the maximum attention score, and how often it is right.

Formula: every head keeps its weight on the candidate that it looks at most, w_h at c_h, and

.. math:: \mathrm{MAS}_c = \frac{\sum_h w_h [c_h = c]}{\sum_h w_h}, \qquad \text{answer} = \arg\max_c \mathrm{MAS}_c.

A candidate of several word pieces counts with its mean weight. ``accuracy`` is the share of prompts whose answer is the
target.

Null: candidates exchangeable: accuracy 1/C; the exact binomial test over prompts.

Limit: the share that the binomial test finds with 80 %. Heads that each prefer the target with probability 1/2 + delta, of
equal weights, are right with the probability that a binomial number of them is more than half; for m heads of weight w among H
and random others it is about Phi(m w/sqrt((H - m) E z^2)).

Twin: the maximum over word pieces, which favours candidates of many pieces.

Sheet: instruments_maps 7; Attention Is (not) All You Need for Commonsense Reasoning (MAS).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import special

from attnlab.analysis.figures.plate import Plate
from attnlab.analysis.instruments.figure_of_entries import figure_of_entries
from attnlab.analysis.instruments.instrument import Instrument, Reading, Rival, reading_of
from attnlab.analysis.instruments.over_trials import detectable_share, share_of

AXES = ("layer",)


@dataclass(frozen=True, eq=False)
class Candidates:
    """Weights (prompt, layer, head, piece) on word pieces, the candidate of each piece (prompt, piece), and the target
    (prompt,).

    Candidates are numbered from 0 and every prompt has all of them; -1 marks a piece of none.
    """

    weights: np.ndarray
    owner: np.ndarray
    target: np.ndarray

    def __post_init__(self) -> None:
        if self.weights.ndim != 4 or self.owner.shape != (len(self.weights), self.weights.shape[-1]):
            raise ValueError(
                f"weights must be (prompt, layer, head, piece), owner (prompt, piece), got {self.weights.shape}, "
                f"{self.owner.shape}"
            )
        if not (np.isfinite(self.weights).all() and (self.weights >= 0).all()):
            raise ValueError("weights are negative or not finite")
        count = self.n_candidates
        if count < 2 or any((self.owner == each).any(-1).sum() < len(self.owner) for each in range(count)):
            raise ValueError("every prompt needs a piece of every candidate, and there must be two of them at least")
        if self.target.shape != self.owner.shape[:1] or not ((self.target >= 0) & (self.target < count)).all():
            raise ValueError(f"target must be (prompt,), candidates 0 to {count - 1}")

    @property
    def n_candidates(self) -> int:
        """Candidates per prompt."""
        return int(self.owner.max()) + 1


def measure(made: Candidates) -> dict[str, Reading]:
    """``accuracy`` against chance, and ``score``, the target's MAS: (layer,). A tie between candidates counts as wrong."""
    weights = candidate_weights(made)
    score = scores_of(weights)
    at = made.target[:, None, None]
    own = np.take_along_axis(score, at, -1)[..., 0]
    others = np.where(np.arange(made.n_candidates) == at, -np.inf, score).max(-1)
    assumed = "candidates exchangeable without the effect; prompts independent"
    chance = 1 / made.n_candidates
    return {
        "accuracy": share_of(own > others, AXES, assumed, chance),
        "score": reading_of(own, "of the mass", AXES, assumed, null=chance),
    }


def candidate_weights(made: Candidates, most: bool = False) -> np.ndarray:
    """Weights (prompt, layer, head, candidate): mean over pieces, or with ``most`` their maximum, as published."""
    found = []
    for each in range(made.n_candidates):
        own = (made.owner == each)[:, None, None]
        if most:
            found.append(np.where(own, made.weights, 0.0).max(-1))
        else:
            found.append((made.weights * own).sum(-1) / own.sum(-1))
    return np.stack(found, -1)


def scores_of(weights: np.ndarray) -> np.ndarray:
    """MAS (prompt, layer, candidate) of weights (prompt, layer, head, candidate); a head's tie goes to all that share it."""
    top = weights.max(-1, keepdims=True)
    kept = np.where(weights == top, weights, 0.0).sum(-2)
    total = kept.sum(-1, keepdims=True)
    return np.divide(kept, total, out=np.zeros_like(kept), where=total > 0)


def majority(chance: float, n_heads: int) -> float:
    """P(more than half of ``n_heads``, an odd number, are right), each with probability ``chance``."""
    if n_heads % 2 == 0:
        raise ValueError(f"n_heads must be odd, got {n_heads!r}: an even number can be split")
    return float(special.bdtrc(n_heads // 2, n_heads, chance))


def figure(readings: Mapping[str, Reading]) -> Plate:
    """Accuracy by layer with its exact interval, chance and the limit."""
    return figure_of_entries(
        readings["accuracy"], "accuracy", "layer", "How often the most-attended candidate is right", "95 % exact"
    )


_N, _LAYERS, _HEADS = 100, 40, 9


def _chance(more: float) -> float:
    """The chance of one head at which the majority is right in a share 1/2 + more, by bisection."""
    low, high = 0.5, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if majority(middle, _HEADS) < 0.5 + more else (low, middle)
    return low


def _world(rng: np.random.Generator, more: float) -> Candidates:
    """Two candidates of one piece; every head has weight .6 on the one it prefers and .2 on the other."""
    target = rng.integers(2, size=_N)
    likes = rng.random((_N, _LAYERS, _HEADS)) < _chance(more)
    preferred = np.where(likes, target[:, None, None], 1 - target[:, None, None])
    weights = np.where(np.arange(2) == preferred[..., None], 0.6, 0.2)
    return Candidates(weights, np.tile([0, 1], (_N, 1)), target)


def _long_targets(rng: np.random.Generator) -> np.ndarray:
    """The rival: p values of the maximum over pieces, where targets have three pieces, others one, and weights are random."""
    weights = rng.exponential(size=(_N, _LAYERS, _HEADS, 4))
    made = Candidates(weights, np.tile([0, 0, 0, 1], (_N, 1)), np.zeros(_N, dtype=int))
    score = scores_of(candidate_weights(made, most=True))
    return share_of(score[..., 0] > score[..., 1], AXES, "", 0.5).p


def _random(rng: np.random.Generator) -> Candidates:
    """Random weights on two candidates of two pieces each, one of them the target."""
    target = rng.integers(2, size=_N)
    weights = rng.exponential(size=(_N, _LAYERS, _HEADS, 4))
    return Candidates(weights, np.tile([0, 0, 1, 1], (_N, 1)), target)


INSTRUMENT = Instrument(
    measure=measure,
    main="accuracy",
    needs=(),
    nulls={"heads at random": lambda rng: _world(rng, 0.0), "weights at random": _random},
    planted=_world,
    truth=lambda strength: 0.5 + strength,
    strengths=(0.1, 0.25, 0.45),
    limit=detectable_share(_N, 0.5) - 0.5,
    rivals=(Rival("the maximum over pieces", "level", _long_targets),),
    figure=figure,
    sheet="instruments_maps 7",
)
