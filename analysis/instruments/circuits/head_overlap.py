r"""Do two circuits share heads more than chance: the overlap of two sets, against sets drawn within the layers.

Formula: |A and B|/|A|. With a_l, b_l of H_l heads in layer l, sets drawn at random within the layers overlap by a sum of
independent
hypergeometric numbers,

.. math:: P(|A \cap B| \ge k), \qquad |A \cap B| = \sum_l \mathrm{Hyp}(H_l, a_l, b_l), \qquad
          E = \sum_l a_l b_l / H_l,

by convolution, exactly: no permutations are drawn. ``pooled`` is the same without layers, Hyp(N, a, b).

Null: both sets random given how many heads each has in each layer.

Limit: the smallest overlap with p <= .001 is 8 of 27 among 384 heads, 12 of 26 among 144, 5 of 6 among 32 (pooled).

Twin: the pooled law where both circuits sit in late layers: heads of one depth overlap by depth alone.

Sheet: instruments_circuits 3, ERRATA 10; Circuit Component Reuse Across Tasks in Transformer Language Models.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import special

from attnlab.analysis.figures.caption import describe
from attnlab.analysis.figures.curves import estimate, prediction
from attnlab.analysis.figures.plate import Plate
from attnlab.analysis.instruments.instrument import Instrument, Reading, Rival

AXES = ("pair",)


@dataclass(frozen=True, eq=False)
class Circuits:
    """Pairs of circuits in one model: ``first`` and ``second`` of shape (pair, layer, head), True on heads that belong to it."""

    first: np.ndarray
    second: np.ndarray

    def __post_init__(self) -> None:
        for name in ("first", "second"):
            given = getattr(self, name)
            if not isinstance(given, np.ndarray) or given.dtype != bool or given.ndim != 3:
                raise ValueError(
                    f"{name} must be a bool array (pair, layer, head), got {getattr(given, 'shape', type(given))}"
                )
        if self.first.shape != self.second.shape:
            raise ValueError(f"first has shape {self.first.shape}, second {self.second.shape}; one model has one shape")
        if not self.first.any((1, 2)).all():
            raise ValueError("a first circuit has no head, so it has no share in common; leave the pair out")


def measure(circuits: Circuits) -> dict[str, Reading]:
    """``overlap`` |A and B|/|A| (pair,) with the exact p within layers, and ``pooled``, the same value with the law without
    layers."""
    a, b = circuits.first, circuits.second
    common, size = (a & b).sum((1, 2)), a.sum((1, 2))
    value = common / size
    made = {}
    for name, laws in (("overlap", [_by_layer(x, y) for x, y in zip(a, b, strict=True)]), ("pooled", _pooled(a, b))):
        p = np.array([law[k:].sum() for law, k in zip(laws, common, strict=True)])
        mean = np.array([law @ np.arange(law.size) for law in laws]) / size
        second = np.array([law @ np.arange(law.size) ** 2 for law in laws]) / size**2
        sd = np.sqrt(np.maximum(second - mean**2, 0.0))
        limit = np.array([_smallest(law) for law in laws]) / size
        said = "sets drawn within the layers" if name == "overlap" else "sets drawn from all heads alike"
        made[name] = Reading(
            value, "of the first", AXES, value, value, mean, sd, np.minimum(p, 1.0), len(a), limit, said
        )
    return made


def overlap_law(n_heads: int, a: int, b: int) -> np.ndarray:
    """P(|A and B| = k) for k = 0 .. min(a, b), sets of sizes a and b drawn from ``n_heads``: the hypergeometric law."""
    if not (0 <= a <= n_heads and 0 <= b <= n_heads):
        raise ValueError(f"sets of {a} and {b} heads do not fit into {n_heads}")
    k = np.arange(min(a, b) + 1)
    inside = b - k <= n_heads - a
    log = _log_choose(a, k) + _log_choose(n_heads - a, np.where(inside, b - k, 0)) - _log_choose(n_heads, b)
    return np.where(inside, np.exp(log), 0.0)


def figure(readings: Mapping[str, Reading]) -> Plate:
    """Overlap of every pair against what chance within layers and chance alone expect."""
    made = readings["overlap"]
    plate, x = Plate(width="single"), np.arange(made.value.size)
    estimate(plate[0], x, made.value, made.value, made.value, "overlap", interval="none: two given sets")
    prediction(plate[0], x, made.null_mean, "chance within layers")
    prediction(plate[0], x, readings["pooled"].null_mean, "chance among all heads")
    plate[0].labels(x="pair of circuits", y="overlap |A and B|/|A|")
    plate.legend("below", columns=1)
    describe(plate, "Heads that two circuits share, and what chance shares", seeds="")
    return plate


def _by_layer(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    law = np.ones(1)
    for x, y in zip(a, b, strict=True):
        law = np.convolve(law, overlap_law(x.size, int(x.sum()), int(y.sum())))
    return law


def _pooled(a: np.ndarray, b: np.ndarray) -> list[np.ndarray]:
    return [overlap_law(x.size, int(x.sum()), int(y.sum())) for x, y in zip(a, b, strict=True)]


def _smallest(law: np.ndarray, alpha: float = 0.05) -> int:
    """The smallest overlap whose p is at most alpha; one more than possible where there is none."""
    tail = np.cumsum(law[::-1])[::-1]
    return int(np.argmax(tail <= alpha)) if (tail <= alpha).any() else law.size


def _log_choose(n: int, k: np.ndarray | int) -> np.ndarray:
    return special.gammaln(n + 1) - special.gammaln(np.asarray(k) + 1) - special.gammaln(n - np.asarray(k) + 1)


_PAIRS, _LAYERS, _HEADS = 80, 12, 12


def _sets(rng: np.random.Generator, sizes: np.ndarray, shared: float = 0.0) -> Circuits:
    """Random circuits of ``sizes`` (layer,) heads; ``shared``: the chance that a head of the first is put into the second at
    once."""
    order = rng.random((2, _PAIRS, _LAYERS, _HEADS)).argsort(-1).argsort(-1)
    first = order[0] < sizes[:, None]
    keep = first & (rng.random(first.shape) < shared)
    # the second circuit holds what is kept, and is filled with random heads to the same sizes
    rank = np.where(keep, -1.0, order[1]).argsort(-1).argsort(-1)
    return Circuits(first, rank < sizes[:, None])


_LATE = np.arange(_LAYERS) // 2  # 0 heads in the first two layers, 5 in the last two: 30 of 144
_EVEN = np.full(_LAYERS, 3)


def _expected(shared: float, sizes: np.ndarray) -> float:
    """Share in common: of c heads in a layer a binomial number j is kept, the c - j others fall on a head of the first with
    the share
    (c - j)/(H - j) each."""
    total = 0.0
    for c in sizes:
        j = np.arange(c + 1)
        chance = np.exp(_log_choose(int(c), j)) * shared**j * (1 - shared) ** (c - j)
        total += float(chance @ (j + (c - j) ** 2 / (_HEADS - j)))
    return total / float(sizes.sum())


def _by_pooling(rng: np.random.Generator) -> np.ndarray:
    return measure(_sets(rng, _LATE))["pooled"].p


def _half_power() -> float:
    """The sharing at which the critical overlap lies .84 standard errors below the mean, by bisection on the normal
    approximation."""
    law = _by_layer(*(np.arange(_HEADS)[None] < _EVEN[:, None] for _ in range(2)))
    size = float(_EVEN.sum())
    critical = _smallest(law) - 0.5
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        mean = _expected(middle, _EVEN) * size
        sd = np.sqrt(mean * (1 - mean / size))
        low, high = (middle, high) if mean - special.ndtri(0.8) * sd < critical else (low, middle)
    return low


INSTRUMENT = Instrument(
    measure=measure,
    main="overlap",
    needs=(),
    nulls={"late circuits": lambda rng: _sets(rng, _LATE), "even circuits": lambda rng: _sets(rng, _EVEN)},
    planted=lambda rng, strength: _sets(rng, _EVEN, strength),
    truth=lambda strength: _expected(strength, _EVEN),
    strengths=(0.1, 0.3, 0.6),
    limit=_half_power(),
    rivals=(Rival("the pooled law, for late circuits", "level", _by_pooling),),
    figure=figure,
    sheet="instruments_circuits 3",
    per_prompt=True,
    no_interval="two given sets have an overlap, not an estimate of one",
)
