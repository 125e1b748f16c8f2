r"""Do kinds of maps come out of a clustering: principal components and k-means, against given kinds, by the adjusted Rand
index.

Formula: maps (n, n) are flattened and centred, their 4 first principal components clustered by k-means (k-means++ starts, the
best of 3), and the clusters compared with the given kinds,

.. math:: \mathrm{ARI} = \frac{\sum_{ab} \binom{n_{ab}}2 - E}{\frac12 (A + B) - E}, \qquad
          E = A B \Big/ \binom M2, \quad A = \sum_a \binom{n_a}2, \quad B = \sum_b \binom{n_b}2,

1 for equal partitions and 0 on average for kinds dealt out at random. :func:`stability` is the ARI of clusterings of two
halves, the first one's centres applied to the second.

Null: kinds permuted over maps: ARI 0; p is the share of :data:`SHUFFLES` permutations that agree as well, with the one seen.

Limit: a share of .277 of 80 maps with their right kind, by simulation.

Twin: the Rand index that is not adjusted, .68 for five kinds dealt out at random. A learned code must beat this baseline (ARI
1 for five templates at a weight of .1, 24 tokens) to be worth its cost.

Sheet: instruments_maps 2; How Does Attention Work in Vision Transformers? A Visual Analytics Attempt (pattern autoencoder).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import special

from attnlab.analysis.figures.plate import Plate
from attnlab.analysis.instruments.figure_of_entries import figure_of_entries
from attnlab.analysis.instruments.instrument import Instrument, Reading, Rival
from attnlab.analysis.instruments.over_prompts import POWER

AXES = ("set",)
SHUFFLES = 199
COMPONENTS, STARTS, ROUNDS = 4, 3, 30


@dataclass(frozen=True, eq=False)
class Kinds:
    """Sets of maps (set, map, n, n) and the kind of every map (set, map), whole numbers from 0."""

    maps: np.ndarray
    kinds: np.ndarray

    def __post_init__(self) -> None:
        if self.maps.ndim != 4 or self.kinds.shape != self.maps.shape[:2]:
            raise ValueError(
                f"maps must be (set, map, n, n) and kinds (set, map), got {self.maps.shape}, {self.kinds.shape}"
            )
        if not np.isfinite(self.maps).all():
            raise ValueError("maps are not finite")
        if self.kinds.dtype.kind not in "iu" or self.kinds.min() < 0 or self.kinds.max() < 1:
            raise ValueError("kinds must be whole numbers from 0, two of them at least")
        if self.maps.shape[1] < 4 * (int(self.kinds.max()) + 1):
            raise ValueError(
                f"{self.maps.shape[1]} maps are too few for {int(self.kinds.max()) + 1} kinds; give 4 per kind"
            )


def measure(made: Kinds) -> dict[str, Reading]:
    """``agreement``, the ARI with a permutation p, (set,). It is no estimate over prompts and has no interval."""
    k = int(made.kinds.max()) + 1
    value, p, sd, high = (np.empty(len(made.maps)) for _ in range(4))
    rng = np.random.default_rng(made.maps.shape[1])
    orders = np.stack([np.arange(made.maps.shape[1]), *(rng.permutation(made.maps.shape[1]) for _ in range(SHUFFLES))])
    for row, (maps, kinds) in enumerate(zip(made.maps, made.kinds, strict=True)):
        labels, _ = clusters(codes(maps), k)
        found = adjusted_rand(labels, kinds[orders], k)
        value[row], sd[row] = found[0], found[1:].std()
        p[row] = (1 + (found[1:] >= found[0] - 1e-12).sum()) / (1 + SHUFFLES)
        high[row] = np.sort(found[1:])[int(0.95 * SHUFFLES)] + float(special.ndtri(POWER)) * sd[row]
    none = np.zeros_like(value)
    assumed = "kinds exchangeable over maps without the effect"
    n = made.maps.shape[1]
    return {"agreement": Reading(value, "", AXES, value, value, none, sd, p, n, high, assumed)}


def codes(maps: np.ndarray) -> np.ndarray:
    """The first principal components of maps (map, n, n), (map, component)."""
    flat = maps.reshape(len(maps), -1).astype(np.float64)
    flat = flat - flat.mean(0)
    scatter = flat @ flat.T
    values, vectors = np.linalg.eigh(scatter)
    top = slice(-1, -1 - COMPONENTS, -1)
    return vectors[:, top] * np.sqrt(np.maximum(values[top], 0.0))


def clusters(x: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels (map,) and centres (k, component) of the best of several k-means, from starts that depend on the sizes alone."""
    best, found = np.inf, None
    for start in range(STARTS):
        rng = np.random.default_rng([len(x), k, start])
        centres = x[rng.integers(len(x))][None]
        while len(centres) < k:
            near = _square(x, centres).min(-1)
            total = near.sum()
            share = near / total if total > 0 else np.full(len(x), 1 / len(x))
            centres = np.concatenate([centres, x[rng.choice(len(x), p=share)][None]])
        for _ in range(ROUNDS):
            labels = _square(x, centres).argmin(-1)
            moved = np.stack([x[labels == c].mean(0) if (labels == c).any() else centres[c] for c in range(k)])
            if (moved == centres).all():
                break
            centres = moved
        cost = _square(x, centres).min(-1).sum()
        if cost < best:
            best, found = cost, (labels, centres)
    assert found is not None
    return found


def stability(maps: np.ndarray, k: int) -> float:
    """ARI of two clusterings of the second half of the maps: its own, and the one that the first half's centres make."""
    half = len(maps) // 2
    x = codes(maps)
    _, centres = clusters(x[:half], k)
    own, _ = clusters(x[half:], k)
    other = _square(x[half:], centres).argmin(-1)
    return float(adjusted_rand(own, other[None], k)[0])


def adjusted_rand(labels: np.ndarray, others: np.ndarray, k: int) -> np.ndarray:
    """ARI of one partition (map,) with several (partition, map), both in fewer than k parts: (partition,)."""
    one = (labels[:, None] == np.arange(k)).astype(np.float64)
    many = (others[..., None] == np.arange(k)).astype(np.float64)
    table = np.einsum("ma,pmb->pab", one, many, optimize=True)
    inside = _pairs(table).sum((-1, -2))
    a, b = _pairs(one.sum(0)).sum(), _pairs(many.sum(1)).sum(-1)
    expected = a * b / _pairs(np.array(float(len(labels))))
    most = (a + b) / 2
    return np.where(most > expected, (inside - expected) / np.where(most > expected, most - expected, 1.0), 1.0)


def figure(readings: Mapping[str, Reading]) -> Plate:
    """Agreement by set, that of random kinds and the limit."""
    return figure_of_entries(
        readings["agreement"], "adjusted Rand index", "set of maps", "How well clusters are the given kinds", "no"
    )


def _square(x: np.ndarray, centres: np.ndarray) -> np.ndarray:
    return ((x[:, None] - centres) ** 2).sum(-1)


def _pairs(count: np.ndarray) -> np.ndarray:
    return count * (count - 1) / 2


_SETS, _PER, _KINDS, _N = 10, 16, 5, 8
_M = _PER * _KINDS


def _templates(rng: np.random.Generator, weight: float) -> np.ndarray:
    """Maps of five kinds (own, previous, next, first, none), with this weight on it, on random rows: (set, map, n, n)."""
    s = rng.standard_normal((_SETS, _M, _N, _N))
    rest = np.exp(s) / np.exp(s).sum(-1, keepdims=True)
    i = np.arange(_N)
    at = np.stack([i, np.maximum(i - 1, 0), np.minimum(i + 1, _N - 1), 0 * i])
    template = np.eye(_N)[at]
    made = rest.copy()
    for kind in range(_KINDS - 1):
        part = slice(kind * _PER, (kind + 1) * _PER)
        made[:, part] = (1 - weight) * rest[:, part] + weight * template[kind]
    return made


def _world(rng: np.random.Generator, share: float) -> Kinds:
    """Well separated maps, of which the share keeps its kind; the kinds of the others, as many of each, are dealt out among
    them."""
    made = np.tile(np.repeat(np.arange(_KINDS), _PER), (_SETS, 1))
    for row in made:
        loose = int((1 - share) * _PER + rng.random())  # its mean is the share's
        at = np.concatenate([kind * _PER + rng.permutation(_PER)[:loose] for kind in range(_KINDS)])
        row[at] = row[rng.permutation(at)]
    return Kinds(_templates(rng, 0.6), made)


def _law(share: float) -> float:
    """Mean ARI of perfect clusters with such kinds, over the two numbers of loose maps that the share lies between."""
    low = int((1 - share) * _PER)
    above = (1 - share) * _PER - low
    return (1 - above) * _exact(low) + (above * _exact(low + 1) if above else 0.0)


def _exact(loose: int) -> float:
    """Mean ARI with so many loose maps per kind, exactly: their kinds are dealt out without putting back."""
    kept, total = _PER - loose, loose * _KINDS
    one = loose / total if loose else 0.0  # a loose place gets a given kind
    two = loose * (loose - 1) / (total * (total - 1)) if loose else 0.0  # two of them get it
    among = loose * (loose - 1) / 2 * two
    own = kept * (kept - 1) / 2 + kept * loose * one + among
    inside = _KINDS * (own + (_KINDS - 1) * among)
    a = _KINDS * _PER * (_PER - 1) / 2
    expected = a * a / (_M * (_M - 1) / 2)
    return (inside - expected) / (a - expected)


def _unadjusted(rng: np.random.Generator) -> np.ndarray:
    """The rival: the share of pairs on which clusters and kinds agree, for kinds dealt out at random; the truth is 0."""
    made = _world(rng, 0.0)
    found = []
    for maps, kinds in zip(made.maps, made.kinds, strict=True):
        labels, _ = clusters(codes(maps), _KINDS)
        same = (labels[:, None] == labels) == (kinds[:, None] == kinds)
        found.append(same[np.triu_indices(_M, 1)].mean())
    return np.array(found)


INSTRUMENT = Instrument(
    measure=measure,
    main="agreement",
    needs=(),
    nulls={"kinds at random": lambda rng: _world(rng, 0.0)},
    planted=_world,
    truth=_law,
    strengths=(0.3, 0.6, 1.0),
    limit=0.277,  # power .80: 600 sets at .24 and .28 give .66 and .81
    rivals=(Rival("the index that is not adjusted", "value", _unadjusted, 0.0),),
    figure=figure,
    sheet="instruments_maps 2",
    no_interval="an agreement with given kinds, no estimate over prompts",
)
