r"""How a map's tokens hang together: bars of the components of its graph, against the same rows dealt out at random.

Formula: with the distances D_ij = 1 - max(A_ij, A_ji) the bars of dimension 0 of the Vietoris-Rips filtration are the edges of
the minimum spanning tree:

.. math:: H_0 = \sum \text{bars} = (n - 1) - \text{weight of the maximum spanning tree of } \max(A, A^\top).

``h0`` is this sum: 0 for a perfect first-token or previous-token head, n - 1 for one that looks at itself, (n - 1)(1 - 1/n)
for uniform rows, and bars of 1 - 1/m and k - 1 bars of 1 for k blocks of m. ``excess`` is h0 minus its mean over
:data:`SHUFFLES` maps whose rows keep their weights and deal them out among the keys they see. :func:`graph_features` counts
edges, components and independent cycles e - v + b0 at thresholds, loops left out; ``h1=True`` adds the bars of dimension 1
(extra ``topology``).

Null: rows that do not know of each other, of any law: excess 0, exactly. Student's test over prompts, two-sided. Column
effects are no null here: keys that please all queries make a star.

Limit: an excess of (z_{a/2} + z_b) sd/sqrt(N) is found with 80 %. For one-hot rows h0 is the number of tokens that look at
themselves minus 1, a sum of independent trials, so its law is exact.

Twin: a spanning tree of a sparse matrix, which takes distances of 0 for missing edges (31 in place of 0 for a perfect head on
32 tokens); cycles counted with loops (32 in place of 0 for a head that looks at itself).

Sheet: instruments_maps 4; Acceptability Judgements via Examining the Topology of Attention Maps.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping

import numpy as np

from attnlab.analysis.instruments.figure_of_heads import figure_of_heads
from attnlab.analysis.instruments.instrument import Instrument, Reading, Rival, reading_of
from attnlab.analysis.instruments.over_prompts import detectable, p_above
from attnlab.analysis.instruments.readings import Group, Readings, maps
from attnlab.analysis.instruments.row_shuffles import shuffled_rows, spread_of_hits
from attnlab.analysis.instruments.worlds import read_scores, scores

AXES = ("layer", "head")
SHUFFLES = 8
THRESHOLDS = (0.025, 0.05, 0.1, 0.25, 0.5, 0.75)


def measure(readings: Readings, h1: bool = False) -> dict[str, Reading]:
    """``excess`` (tested) and ``h0``, sums of bars (layer, head), and with ``h1`` the sum of the bars of dimension 1.

    Errors: ``ValueError`` for prompts of one token, and for ``h1`` where gudhi is not installed.
    """
    if h1 and importlib.util.find_spec("gudhi") is None:
        raise ValueError("h1=True needs gudhi, which is not installed: pip install 'attnlab[topology]'")

    def of_layer(a: np.ndarray, seen: np.ndarray, group: Group) -> dict[str, np.ndarray]:
        if group.length < 2:
            raise ValueError(f"prompt {group.prompts[0]} has one token; a graph needs two")
        a = a.astype(np.float64)
        h0 = h0_bars(a).sum(-1)
        dealt = [h0_bars(each).sum(-1) for each in shuffled_rows(a, seen, SHUFFLES)]
        made = {"h0": h0, "excess": h0 - np.mean(dealt, 0)}
        return made | ({"h1": h1_sums(a)} if h1 else {})

    found = readings.each_layer("pattern", of_layer)
    assumed = "rows that do not know of each other without the effect; prompts independent"
    p = np.minimum(1.0, 2 * np.minimum(p_above(found["excess"]), p_above(-found["excess"])))
    tested = reading_of(found["excess"], "bars", AXES, assumed, null=0.0, p=p)
    limit = detectable(found["excess"].std(0, ddof=1), readings.n_prompts, 0.025)
    null = (found["h0"] - found["excess"]).mean(0)
    made = {"excess": Reading(**{**tested.__dict__, "limit": limit})}
    made["h0"] = reading_of(found["h0"], "bars", AXES, assumed, null=null)
    return made | ({"h1": reading_of(found["h1"], "bars", AXES, assumed)} if h1 else {})


def h0_bars(a: np.ndarray) -> np.ndarray:
    """Lengths of the n - 1 finite bars of dimension 0 of maps (..., n, n), ascending: Prim's algorithm on all maps at once.

    Distances of 0 are edges like any other.
    """
    distance = 1 - np.maximum(a, np.swapaxes(a, -1, -2))
    n = a.shape[-1]
    flat = distance.reshape(-1, n, n)
    reach, bars = flat[:, 0].copy(), np.empty((len(flat), n - 1))
    reach[:, 0] = np.inf  # in the tree
    rows = np.arange(len(flat))
    for step in range(n - 1):
        at = reach.argmin(-1)
        bars[:, step] = reach[rows, at]
        inside = np.isinf(reach)
        reach = np.where(inside, np.inf, np.minimum(reach, flat[rows, at]))
        reach[rows, at] = np.inf
    return np.sort(bars, -1).reshape(*a.shape[:-2], n - 1)


def graph_features(a: np.ndarray, thresholds: tuple[float, ...] = THRESHOLDS) -> dict[str, np.ndarray]:
    """``edges``, ``components`` (b0) and ``cycles`` (b1 = e - v + b0) of the graph of max(A, A^T) >= t, (..., threshold).

    Undirected, without loops: a head that looks at itself has no cycle. Compare maps of one length only.
    """
    both = np.maximum(a, np.swapaxes(a, -1, -2))
    n = a.shape[-1]
    pairs = both[(..., *np.tril_indices(n, -1))]
    edges = np.stack([(pairs >= t).sum(-1) for t in thresholds], -1)
    bars = h0_bars(a)
    components = np.stack([1 + (bars > 1 - t).sum(-1) for t in thresholds], -1)
    return {"edges": edges, "components": components, "cycles": edges - n + components}


def h1_sums(a: np.ndarray) -> np.ndarray:
    """Sum of the finite bars of dimension 1 of maps (..., n, n), by gudhi; the distances are no metric, so H1 is a mere
    feature."""
    import gudhi

    distance = 1 - np.maximum(a, np.swapaxes(a, -1, -2))
    found = []
    for each in distance.reshape(-1, *a.shape[-2:]):
        np.fill_diagonal(each, 0.0)
        tree = gudhi.RipsComplex(distance_matrix=each, max_edge_length=1.0).create_simplex_tree(max_dimension=2)
        tree.compute_persistence(min_persistence=-1.0)
        bars = tree.persistence_intervals_in_dimension(1)
        finite = bars[np.isfinite(bars[:, 1])] if len(bars) else np.zeros((0, 2))
        found.append(float((finite[:, 1] - finite[:, 0]).sum()))
    return np.array(found).reshape(a.shape[:-2])


def figure(readings: Mapping[str, Reading]) -> object:
    """Every head's excess with interval, zero line and limit."""
    return figure_of_heads(readings["excess"], "excess of H0", "Bars of components against rows dealt out, by head")


_SHAPE = (8, 1, 40, 12)
_I = np.arange(1, _SHAPE[-1])


def _hard(rng: np.random.Generator, own: float) -> Readings:
    """One-hot causal rows: a query looks at itself with probability ``own``, else at a random key that it sees."""
    n = _SHAPE[-1]
    at = (rng.random((*_SHAPE[:3], n)) * np.arange(1, n + 1)).astype(int)
    at = np.where(rng.random(at.shape) < own, np.arange(n), at)
    return maps(np.eye(n)[at])


def _planted(rng: np.random.Generator, strength: float) -> Readings:
    """An excess of ``strength`` bars on average: own (1 - 1/(i + 1)) summed over the rows after the first."""
    return _hard(rng, strength / float((1 - 1 / (_I + 1)).sum()))


def _limit() -> float:
    """Strength at which it is detectable(sd), sd from the trials of h0 and of the shuffles, by iteration."""
    strength = 1.0
    for _ in range(50):
        own = strength / float((1 - 1 / (_I + 1)).sum())
        chance = own + (1 - own) / (_I + 1)
        variance = float((chance * (1 - chance)).sum())
        shuffled = float(spread_of_hits(_I + 1, SHUFFLES).sum())
        strength = float(detectable((variance + shuffled) ** 0.5, _SHAPE[0], 0.025))
    return strength


def _sparse_tree(rng: np.random.Generator) -> np.ndarray:
    """The rival: scipy's spanning tree of the distances of a perfect first-token head; the truth is 0."""
    from scipy.sparse.csgraph import minimum_spanning_tree

    n = _SHAPE[-1]
    a = np.zeros((n, n))
    a[:, 0] = 1
    distance = 1 - np.maximum(a, a.T)
    np.fill_diagonal(distance, 0)
    return np.atleast_1d(minimum_spanning_tree(distance).sum())


def _with_loops(rng: np.random.Generator) -> np.ndarray:
    """The rival: cycles of a head that looks at itself, loops counted as edges; the truth is 0."""
    n = _SHAPE[-1]
    found = graph_features(np.eye(n)[None], (0.5,))
    return (found["edges"] + n - n + found["components"]).ravel().astype(float)


INSTRUMENT = Instrument(
    measure=measure,
    main="excess",
    needs=("pattern",),
    nulls={
        "one-hot rows": lambda rng: _hard(rng, 0.0),
        "iid scores": lambda rng: read_scores(scores(rng, "iid scores", _SHAPE)),
    },
    planted=_planted,
    truth=lambda strength: strength,
    strengths=(1.0, 3.0, 8.0),
    limit=_limit(),
    rivals=(
        Rival("a tree that drops edges of length 0", "value", _sparse_tree, 0.0),
        Rival("cycles with loops", "value", _with_loops, 0.0),
    ),
    figure=figure,
    sheet="instruments_maps 4",
)
