r"""Do rows look at the same keys: how few keys a head spends its attention on, against the same rows dealt out at random.

Formula: with the column mass c_j = mean_i A_ij of a head's rows,

.. math:: \text{concentration} = \sum_j c_j^2, \qquad \text{effective tokens} = 1/\text{concentration}, \qquad
          \text{alignment} = \operatorname{mean}_i \cos(A_i, \bar A),

1/n for rows that share nothing and 1 for one key; ``excess`` is the concentration minus its mean over :data:`SHUFFLES` maps
whose rows keep their weights and deal them out among the keys they see. Alignment is the quantity of the ADL loss without its
threshold.

Null: rows that do not know of each other, of any law: excess 0, exactly. Student's test over prompts, one-sided.

Limit: an excess of (z_a + z_b) sd/sqrt(N). For rows of one key each, which is a common one with probability w, the excess is
w^2 (1 - 1/n)^2, exactly; prompts of other lengths are never compared.

Twin: the published loss with its threshold 2/n, which gives uniform rows, all alike, an alignment of 0.

Sheet: instruments_maps 5; Robustifying Token Attention for Vision Transformers (TAP, ADL).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from attnlab.analysis.instruments.figure_of_heads import figure_of_heads
from attnlab.analysis.instruments.instrument import Instrument, Reading, Rival, reading_of
from attnlab.analysis.instruments.over_prompts import detectable
from attnlab.analysis.instruments.readings import Group, Readings, maps
from attnlab.analysis.instruments.row_shuffles import shuffled_rows
from attnlab.analysis.instruments.worlds import read_scores, scores

AXES = ("layer", "head")
SHUFFLES = 8


def measure(readings: Readings) -> dict[str, Reading]:
    """``excess`` (tested), ``concentration`` and ``alignment``: (layer, head), from patterns, t intervals over prompts."""

    def of_layer(a: np.ndarray, seen: np.ndarray, group: Group) -> dict[str, np.ndarray]:
        a = a.astype(np.float64)
        here = concentration(a)
        dealt = np.mean([concentration(each) for each in shuffled_rows(a, seen, SHUFFLES)], 0)
        return {"concentration": here, "excess": here - dealt, "alignment": alignment(a)}

    found = readings.each_layer("pattern", of_layer)
    assumed = "rows that do not know of each other without the effect; prompts independent"
    null = (found["concentration"] - found["excess"]).mean(0)
    return {
        "excess": reading_of(found["excess"], "", AXES, assumed, null=0.0, tested=True),
        "concentration": reading_of(found["concentration"], "", AXES, assumed, null=null),
        "alignment": reading_of(found["alignment"], "", AXES, assumed),
    }


def concentration(a: np.ndarray) -> np.ndarray:
    """Sum over keys of the squared column mass of maps (..., query, key); 1 over it is the number of effective tokens."""
    return (a.mean(-2) ** 2).sum(-1)


def alignment(a: np.ndarray, threshold: float = 0.0) -> np.ndarray:
    """Mean cosine of the rows with their mean, of maps (..., query, key); weights below ``threshold``/n count as 0 (ADL: 2)."""
    cut = threshold / a.shape[-1]
    mean = a.mean(-2, keepdims=True)
    a, mean = (np.where(each >= cut, each, 0.0) for each in (a, mean))
    size = np.linalg.norm(a, axis=-1) * np.linalg.norm(mean, axis=-1)
    product = (a * mean).sum(-1)
    return np.divide(product, size, out=np.zeros_like(product), where=size > 0).mean(-1)


def figure(readings: Mapping[str, Reading]) -> object:
    """Every head's excess with interval, zero line and limit."""
    return figure_of_heads(readings["excess"], "excess concentration", "Column mass against rows dealt out, by head")


_SHAPE = (8, 1, 40, 12)
_N = _SHAPE[-1]


def _hard(rng: np.random.Generator, share: float) -> Readings:
    """Rows of one key without a mask: a key of the map, drawn for it, with probability ``share``, else any key."""
    at = rng.integers(_N, size=(*_SHAPE[:3], _N))
    common = rng.integers(_N, size=(*_SHAPE[:3], 1))
    at = np.where(rng.random(at.shape) < share, common, at)
    return maps(np.eye(_N)[at], visible=np.ones((1, 1, _N, _N), dtype=bool))


def _planted(rng: np.random.Generator, strength: float) -> Readings:
    return _hard(rng, strength**0.5 / (1 - 1 / _N))


def _sd(share: float) -> float:
    """Of the concentration of such a map: n + 2 pairs, over n^2, where pairs of rows that match share rows with each other."""
    p = np.full(_N, (1 - share) / _N)
    p[0] += share
    two, three = float((p**2).sum()), float((p**3).sum())
    pairs, triples = _N * (_N - 1) / 2, _N * (_N - 1) * (_N - 2)
    return 2 / _N**2 * (pairs * (two - two**2) + triples * (three - two**2)) ** 0.5


def _limit() -> float:
    """The excess that equals detectable(sd), sd of the map and of the mean of its deals, by iteration."""
    strength = 0.01
    for _ in range(60):
        here = _sd(strength**0.5 / (1 - 1 / _N))
        strength = float(detectable((here**2 + _sd(0.0) ** 2 / SHUFFLES) ** 0.5, _SHAPE[0]))
    return strength


def _thresholded(rng: np.random.Generator) -> np.ndarray:
    """The rival: ADL with its threshold on uniform rows; all rows are alike, so the truth is 1."""
    return alignment(np.full((2, _N, _N), 1 / _N), 2.0)


INSTRUMENT = Instrument(
    measure=measure,
    main="excess",
    needs=("pattern",),
    nulls={
        "rows of one key": lambda rng: _hard(rng, 0.0),
        "iid scores": lambda rng: read_scores(scores(rng, "iid scores", _SHAPE)),
    },
    planted=_planted,
    truth=lambda strength: strength,
    strengths=(0.05, 0.2, 0.6),
    limit=_limit(),
    rivals=(Rival("ADL with its threshold", "value", _thresholded, 1.0),),
    figure=figure,
    sheet="instruments_maps 5",
)
