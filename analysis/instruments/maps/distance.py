r"""How far a head looks: the mean distance between query and key, in tokens or on a grid of patches.

Formula: mean_i sum_j A_ij d(i, j), d = |i - j|, or Euclidean on ``grid`` (rows, columns), row-major.

Null: exchangeable keys: the mean of d over the visible keys, whatever the spread of the scores: (n - 1)/4 causal, (n^2 -
1)/(3n) without a
mask, .5200 g on a g x g grid at g = 14. The test, Student's over prompts, asks whether a head looks *less* far.

Limit: a distance of (z_a + z_b) sd/sqrt(N) below the null is found with 80 %.

Twin: the law of an infinite line, 2q/(1 - q^2) for weights e^{-r/lam}, q = e^{-1/lam}, where the row ends (8.0 for 5.6
tokens at n = 32, lam = 8: take
:func:`distance_of_kernel`); a class token counted as a patch.

Sheet: instruments_maps 2; How Does Attention Work in Vision Transformers? A Visual Analytics Attempt.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from attnlab.analysis.instruments.figure_of_heads import figure_of_heads
from attnlab.analysis.instruments.instrument import Instrument, Reading, Rival, reading_of
from attnlab.analysis.instruments.over_prompts import detectable, p_above
from attnlab.analysis.instruments.readings import Group, Readings, maps
from attnlab.analysis.instruments.worlds import causal_softmax, null_worlds, scores

AXES = ("layer", "head")


def measure(readings: Readings, grid: tuple[int, int] | None = None) -> dict[str, Reading]:
    """``distance`` (layer, head) in tokens or patches, tested against that of exchangeable keys from below.

    ``grid``: rows and columns of patches; there must be rows x columns tokens, so leave class tokens out and renormalise.
    """

    def of_layer(a: np.ndarray, seen: np.ndarray, group: Group) -> dict[str, np.ndarray]:
        d = distances(group.length, grid)
        value = (a * d).sum(-1).mean(-1)
        null = ((seen * d).sum(-1) / np.maximum(seen.sum(-1), 1)).mean(-1)
        return {"distance": value, "null": np.broadcast_to(null, value.shape)}

    found = readings.each_layer("pattern", of_layer)
    nearer = found["null"] - found["distance"]  # per prompt, so that lengths may differ
    made = reading_of(
        found["distance"], "tokens" if grid is None else "patches", AXES, "keys exchangeable; prompts independent"
    )
    null = found["null"].mean(0)
    limit = null - detectable(nearer.std(0, ddof=1), readings.n_prompts)
    return {"distance": replace(made, null_mean=null, p=p_above(nearer), limit=limit)}


def distances(n: int, grid: tuple[int, int] | None = None) -> np.ndarray:
    """d(i, j), (n, n). Errors: ``ValueError`` if the grid has not n cells."""
    if grid is None:
        i = np.arange(n)
        return np.abs(i[:, None] - i[None]).astype(float)
    if grid[0] * grid[1] != n:
        raise ValueError(f"grid={grid!r} has {grid[0] * grid[1]} cells, the maps {n} tokens; leave class tokens out")
    row, column = np.divmod(np.arange(n), grid[1])
    return np.hypot(row[:, None] - row[None], column[:, None] - column[None])


def distance_of_kernel(n: int, lam: float, causal: bool = False) -> float:
    r"""Mean distance of weights :math:`e^{-|i-j|/\lambda}` on n tokens, by the finite sum, which sees where rows end."""
    if not lam > 0:
        raise ValueError(f"lam must be positive, got {lam!r}")
    d = distances(n)
    weights = np.exp(-d / lam)
    weights = np.tril(weights) if causal else weights
    return float((weights * d).sum(-1) @ (1 / weights.sum(-1)) / n)


def equivalent_lam(distance: float, n: int, causal: bool = False) -> float:
    """The lam whose kernel has this mean distance, by bisection; infinite at or beyond the uniform head's."""
    far = distance_of_kernel(n, 1e9, causal)
    if not 0 < distance < far:
        return 0.0 if distance <= 0 else np.inf
    low, high = -8.0, 21.0
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if distance_of_kernel(n, float(np.exp(middle)), causal) < distance else (low, middle)
    return float(np.exp(low))


def figure(readings: Mapping[str, Reading]) -> object:
    """Every head's distance with interval, the null and the limit."""
    return figure_of_heads(readings["distance"], "mean distance", "How far each head looks")


_SHAPE = (8, 1, 80, 24)
_LAM = 2.0
_NULL = (_SHAPE[-1] - 1) / 4
_SD = 0.6986  # of the distance over maps of "column effects" at 24 tokens: 100 000 maps, seed 0
_KERNEL = distance_of_kernel(_SHAPE[-1], _LAM, causal=True)


def _planted(rng: np.random.Generator, strength: float) -> Readings:
    """A mixture of maps without effect and an exponential kernel: ``strength`` tokens nearer than the null, exactly on
    average."""
    share = strength / (_NULL - _KERNEL)
    kernel = causal_softmax(-distances(_SHAPE[-1]) / _LAM)
    return maps((1 - share) * causal_softmax(scores(rng, "column effects", _SHAPE)) + share * kernel)


def _limit() -> float:
    """The mixture's spread shrinks with the share, so the strength solves s = detectable(sd (1 - share(s)))."""
    whole = float(detectable(_SD, _SHAPE[0]))
    return whole / (1 + whole / (_NULL - _KERNEL))


def _infinite(rng: np.random.Generator) -> np.ndarray:
    """The rival law at lam = 8, against the truth on 32 tokens."""
    q = np.exp(-1 / 8)
    return np.array([2 * q / (1 - q**2)] * 2)


INSTRUMENT = Instrument(
    measure=measure,
    main="distance",
    needs=("pattern",),
    nulls=null_worlds(_SHAPE),
    planted=_planted,
    truth=lambda strength: _NULL - strength,
    strengths=(0.5, 1.5, 3.0),
    limit=_limit(),
    rivals=(Rival("the law of an infinite line", "value", _infinite, distance_of_kernel(32, 8.0)),),
    figure=figure,
    sheet="instruments_maps 2",
)
