r"""Does a head follow a known graph: the correlation of its weights with the edges, among pairs at the same distance in the
prompt.

Formula: over the visible pairs i != j, with the mean of each offset i - j taken from both (so that nothing that depends on
token distance alone counts),

.. math:: \rho = \frac{\sum_{ij} \tilde A_{ij} \tilde G_{ij}}{\lVert\tilde A\rVert\, \lVert\tilde G\rVert}, \qquad
          \text{ceiling} = \rho(D^{-1} G, G),

the ceiling being what a perfect head reaches where degrees differ; ``part`` is rho over the ceiling, prompt by prompt.

Null: a graph whose vertices are labelled at random given the distances: rho 0. Student's test over prompts, one-sided.

Limit: rho of (z_a + z_b) sd/sqrt(N); sd is about 1.4/n for a symmetric graph. With weights (1 - w) R + w D^{-1} G on a regular
graph

.. math:: \rho = w\, \sigma_P / \sqrt{(1-w)^2 \sigma_R^2 + w^2 \sigma_P^2}.

Twin: the plain correlation where the graph and the head both prefer near tokens: it finds a graph that the head does not know.

Sheet: instruments_maps 7; Attention Mechanisms Perspective: Exploring LLM Processing of Graph-Structured Data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from attnlab.analysis.figures.plate import Plate
from attnlab.analysis.instruments.figure_of_entries import figure_of_entries
from attnlab.analysis.instruments.instrument import Instrument, Reading, Rival, reading_of
from attnlab.analysis.instruments.over_prompts import detectable

AXES = ("head",)


@dataclass(frozen=True, eq=False)
class Graphs:
    """Weights (prompt, head, query, key), the prompts' graphs (prompt, query, key) of 0 and 1, and what is visible (query,
    key).

    ``visible`` None: everything. The diagonal is left out.
    """

    weights: np.ndarray
    graph: np.ndarray
    visible: np.ndarray | None = None

    def __post_init__(self) -> None:
        n = self.weights.shape[-1]
        if self.weights.ndim != 4 or self.graph.shape != (len(self.weights), n, n) or self.weights.shape[2] != n:
            raise ValueError(
                f"weights must be (prompt, head, n, n) and graph (prompt, n, n), got {self.weights.shape}, {self.graph.shape}"
            )
        if not (np.isfinite(self.weights).all() and (self.weights >= 0).all()):
            raise ValueError("weights are negative or not finite")
        if not np.isin(self.graph, (0, 1)).all():
            raise ValueError("graph must hold 0 and 1 only")
        if self.visible is not None and self.visible.shape != (n, n):
            raise ValueError(f"visible must be ({n}, {n}), got {self.visible.shape}")


def measure(graphs: Graphs) -> dict[str, Reading]:
    """``agreement`` rho (tested), ``part`` of the ceiling and ``plain``, without regard to distance: (head,).

    Errors: ``ValueError`` for a prompt whose graph is a function of distance alone: nothing can be told there.
    """
    used = _used(graphs)
    g = graphs.graph.astype(np.float64)
    degree = (g * used).sum(-1, keepdims=True)
    perfect = g / np.maximum(degree, 1)
    centred, flat = by_offset(g, used), _pairs(g, used)
    flat = flat - flat.mean(-1, keepdims=True)
    if (empty := (centred**2).sum(-1) <= 1e-12).any():
        raise ValueError(
            f"the graph of prompt {int(empty.argmax())} is a function of token distance alone; leave it out"
        )
    rho = _cosine(by_offset(graphs.weights, used), centred[:, None])
    ceiling = _cosine(by_offset(perfect, used), centred)
    bare = _pairs(graphs.weights, used)
    plain = _cosine(bare - bare.mean(-1, keepdims=True), flat[:, None])
    assumed = "vertices labelled at random given their distances, without the effect; prompts independent"
    return {
        "agreement": reading_of(rho, "", AXES, assumed, null=0.0, tested=True),
        "part": reading_of(rho / ceiling[:, None], "of a perfect head", AXES, assumed, null=0.0),
        "plain": reading_of(plain, "", AXES, "distance does not matter; prompts independent", null=0.0, tested=True),
    }


def by_offset(x: np.ndarray, used: np.ndarray) -> np.ndarray:
    """The used pairs of (..., n, n) as (..., pair), minus the mean of their offset i - j."""
    i, j = np.nonzero(used)
    values, offset = x[..., i, j], i - j
    made = np.empty(values.shape)
    for each in np.unique(offset):
        at = offset == each
        made[..., at] = values[..., at] - values[..., at].mean(-1, keepdims=True)
    return made


def figure(readings: Mapping[str, Reading]) -> Plate:
    """Agreement by head with its interval, zero line and limit."""
    return figure_of_entries(
        readings["agreement"], "agreement", "head", "Correlation of weights and edges at equal distance"
    )


def _used(graphs: Graphs) -> np.ndarray:
    n = graphs.weights.shape[-1]
    seen = np.ones((n, n), dtype=bool) if graphs.visible is None else graphs.visible
    return seen & ~np.eye(n, dtype=bool)


def _pairs(x: np.ndarray, used: np.ndarray) -> np.ndarray:
    i, j = np.nonzero(used)
    return x[..., i, j].astype(np.float64)


def _cosine(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    size = np.linalg.norm(x, axis=-1) * np.linalg.norm(y, axis=-1)
    product = (x * y).sum(-1)
    return np.divide(product, size, out=np.zeros_like(product), where=size > 0)


_PROMPTS, _HEADS, _N, _DEGREE = 8, 40, 20, 4
_SIGMA_R = ((_N - 2) / ((_N - 1) ** 2 * _N)) ** 0.5  # of a Dirichlet weight, all parameters 1, over n - 1 keys
_SIGMA_P = (_DEGREE / (_N - 1) * (1 - _DEGREE / (_N - 1))) ** 0.5 / _DEGREE


def _ring(rng: np.random.Generator, local: bool = False) -> np.ndarray:
    """The ring in which every vertex knows its 4 nearest, (prompt, n, n), labelled at random or (``local``) nearly in order."""
    i = np.arange(_N)
    apart = np.abs(i[:, None] - i)
    near = np.minimum(apart, _N - apart)
    place = i + rng.standard_normal((_PROMPTS, _N)) * 1.0 if local else rng.random((_PROMPTS, _N))
    order = place.argsort(-1)
    graph = (near >= 1) & (near <= _DEGREE // 2)
    return graph[order[:, :, None], order[:, None, :]].astype(float)


def _random_rows(rng: np.random.Generator, recency: float = 0.0) -> np.ndarray:
    """Rows of random weights over the other keys, without and with a preference e^{-recency |i - j|} for near ones."""
    i = np.arange(_N)
    raw = (
        rng.exponential(size=(_PROMPTS, _HEADS, _N, _N)) * np.exp(-recency * np.abs(i[:, None] - i)) * (1 - np.eye(_N))
    )
    return raw / raw.sum(-1, keepdims=True)


def _weight(rho: float) -> float:
    """w at which the law gives rho."""
    ratio = rho / (1 - rho**2) ** 0.5 * _SIGMA_R / _SIGMA_P  # w/(1 - w)
    return ratio / (1 + ratio)


def _world(rng: np.random.Generator, rho: float) -> Graphs:
    graph, w = _ring(rng), _weight(rho)
    return Graphs((1 - w) * _random_rows(rng) + w * graph[:, None] / _DEGREE, graph)


def _local(rng: np.random.Generator) -> Graphs:
    """A graph of near tokens and heads of near tokens that know nothing of it."""
    return Graphs(_random_rows(rng, 0.3), _ring(rng, local=True))


_PAIRS = _N * (_N - 1) - (2 * _N - 2)  # less one mean per offset

INSTRUMENT = Instrument(
    measure=measure,
    main="agreement",
    needs=(),
    nulls={"labels at random": lambda rng: _world(rng, 0.0), "near heads, near graphs": _local},
    planted=_world,
    truth=lambda strength: strength,
    strengths=(0.2, 0.5, 0.9),
    tolerance=4e-3,  # of a correlation of so many pairs, 1/_PAIRS = .003
    limit=float(detectable(_PAIRS**-0.5, _PROMPTS)),
    rivals=(Rival("the plain correlation", "level", lambda rng: measure(_local(rng))["plain"].p),),
    figure=figure,
    sheet="instruments_maps 7",
)
