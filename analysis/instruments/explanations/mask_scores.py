r"""Does a map order the inputs as the model uses them: deletion in its order, against random and best order; masks with their
area.

Formula: inputs are deleted in the map's order and f is read after every step,

.. math:: \mathrm{AUC} = \frac1n \sum_{k=1}^n \frac{f_{k-1} + f_k}{2 f_0}, \qquad
          \text{score} = \frac{1/2 - \mathrm{AUC}}{1/2 - \mathrm{AUC}_{best}} \in [-1, 1],

f with everything deleted taken as 0. The best order is that of what single deletions cost; it is optimal for additive f, for
which every order lies between it and its reverse. ``area`` is the mean of a mask; average drop (AD) and increase in confidence
(IC) are given by :func:`mask_scores` together with it, never alone.

Null: a random order: AUC 1/2, score 0, for additive f with sd sqrt((n + 1)/(12 n)) ||c - mean||/sum c of the AUC. Student's
test over prompts, one-sided.

Limit: a score of (z_a + z_b) sd/sqrt(N).

Twin: AD without the area: a mask of ones has the best AD, 0.

Sheet: instruments_explanations 4; T-TAME, ROAD, deletion and insertion.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from attnlab.analysis.figures.plate import Plate
from attnlab.analysis.instruments.figure_of_entries import figure_of_entries
from attnlab.analysis.instruments.instrument import Instrument, Reading, Rival, reading_of
from attnlab.analysis.instruments.over_prompts import detectable

AXES = ("map",)


@dataclass(frozen=True, eq=False)
class Deletion:
    """``f(kept (prompt, input) bool) -> (prompt,)``, the output with the other inputs deleted, and maps (prompt, map, input).

    The input with the largest value is deleted first.
    """

    f: Callable[[np.ndarray], np.ndarray]
    maps: np.ndarray

    def __post_init__(self) -> None:
        if self.maps.ndim != 3 or not np.isfinite(self.maps).all():
            raise ValueError(f"maps must be finite, (prompt, map, input), got shape {self.maps.shape}")


def measure(deletion: Deletion) -> dict[str, Reading]:
    """``score`` (tested against 0) and ``area_under``, the AUC: (map,), t intervals over prompts.

    Errors: ``ValueError`` for prompts whose output does not fall when all inputs are deleted, or whose inputs all count alike.
    """
    n_prompts, n_maps, n = deletion.maps.shape
    everything = np.ones((n_prompts, n), dtype=bool)
    whole = deletion.f(everything)
    nothing = deletion.f(~everything)
    if (low := whole - nothing <= 0).any():
        raise ValueError(
            f"prompt {int(low.argmax())}: the output does not fall when all inputs are deleted; leave it out"
        )
    cost = np.stack([whole - deletion.f(everything & (np.arange(n) != j)) for j in range(n)], -1)
    best = area_under(deletion.f, cost, whole, nothing)
    if (flat := np.abs(0.5 - best) < 1e-12).any():
        raise ValueError(
            f"prompt {int(flat.argmax())}: no order is better than another, all inputs count alike; leave it out"
        )
    found = np.stack([area_under(deletion.f, deletion.maps[:, k], whole, nothing) for k in range(n_maps)], -1)
    score = (0.5 - found) / (0.5 - best)[:, None]
    assumed = "order random without the effect; f additive for the range [-1, 1]; prompts independent"
    return {
        "score": reading_of(score, "of the best order", AXES, assumed, null=0.0, tested=True),
        "area_under": reading_of(found, "", AXES, assumed, null=0.5),
    }


def area_under(
    f: Callable[[np.ndarray], np.ndarray], values: np.ndarray, whole: np.ndarray, nothing: np.ndarray
) -> np.ndarray:
    """AUC of deletion by ``values`` (prompt, input), the largest first, between f of ``whole`` (1) and of ``nothing`` (0):
    (prompt,)."""
    n = values.shape[1]
    place = np.argsort(np.argsort(-values, axis=-1, kind="stable"), axis=-1)
    curve = [whole, *(f(place >= k) for k in range(1, n)), nothing]
    y = (np.stack(curve, -1) - nothing[:, None]) / (whole - nothing)[:, None]
    return ((y[:, 1:] + y[:, :-1]) / 2).mean(-1)


def mask_scores(p: np.ndarray, p_masked: np.ndarray, mask: np.ndarray) -> tuple[float, float, float]:
    """Average drop (%), increase in confidence (%) and area of masks: p and p_masked (prompt,), mask (prompt, ...) in [0, 1]."""
    drop = 100 * float(np.mean(np.maximum(0, p - p_masked) / p))
    return drop, 100 * float(np.mean(p_masked > p)), float(np.mean(mask))


def random_sd(c: np.ndarray) -> np.ndarray:
    """Standard deviation of the AUC of random orders for additive f with contributions c (..., input)."""
    n = c.shape[-1]
    off = c - c.mean(-1, keepdims=True)
    return ((n + 1) / (12 * n)) ** 0.5 * np.linalg.norm(off, axis=-1) / c.sum(-1)


def figure(readings: Mapping[str, Reading]) -> Plate:
    """Score by map with its interval, that of random orders and the limit."""
    return figure_of_entries(
        readings["score"], "deletion score", "map", "How well each map orders the inputs, 1 the best order"
    )


_N, _MAPS, _INPUTS = 8, 40, 40
_C = np.sort(np.abs(np.random.default_rng(31).standard_normal(_INPUTS)))


def _world(rng: np.random.Generator, strength: float) -> Deletion:
    """An additive f, and maps that keep a share ``strength`` of the inputs at their best place and shuffle the others."""
    order = rng.random((_N, _INPUTS)).argsort(-1)
    c = _C[order]
    best = np.argsort(np.argsort(c, axis=-1), axis=-1)[:, None].repeat(_MAPS, 1)  # place from below
    loose = rng.random(best.shape).argsort(-1).argsort(-1) < _loose(strength)
    maps = best.copy()
    for prompt in range(_N):
        for k in range(_MAPS):
            at = np.flatnonzero(loose[prompt, k])
            maps[prompt, k, at] = best[prompt, k, rng.permutation(at)]
    return Deletion(lambda kept: (c * kept).sum(-1), maps.astype(float))


def _loose(strength: float) -> int:
    return round((1 - strength) * _INPUTS)


def _law(strength: float) -> float:
    """Mean score: a place x is kept with probability 1 - s/n, else it is one of s places that hold x itself and random others."""
    s = _loose(strength)
    return 1 - s / _INPUTS + (1 / _INPUTS) * (_INPUTS - s) / (_INPUTS - 1) if s else 1.0


def _limit() -> float:
    """The share at which the law is detectable, with the sd of random orders over the best score."""
    whole = 0.5 - (np.arange(_INPUTS) + 0.5) / _INPUTS
    best = float(whole @ _C[::-1]) / float(_C.sum())
    return float(detectable(random_sd(_C) / best, _N))


def _ones(rng: np.random.Generator) -> np.ndarray:
    """The rival: AD of a mask of ones, 0, the best there is; its area is 1."""
    return np.array([mask_scores(np.full(3, 0.7), np.full(3, 0.7), np.ones((3, 5)))[0]])


INSTRUMENT = Instrument(
    measure=measure,
    main="score",
    needs=(),
    nulls={"random orders": lambda rng: _world(rng, 0.0)},
    planted=_world,
    truth=_law,
    strengths=(0.2, 0.5, 0.9),
    limit=_limit(),
    rivals=(Rival("average drop without the area", "value", _ones, 1.0),),
    figure=figure,
    sheet="instruments_explanations 4",
)
