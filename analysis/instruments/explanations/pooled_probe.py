r"""How much of a label lies in one token: a probe on tokens pooled by attention, beside the same probe on their mean.

Formula: with learnt queries q_m (query, dim) and tokens x (token, dim) as their own keys,

.. math:: a_m = \operatorname{softmax}_n(q_m \cdot x_n/\sqrt D), \qquad \text{pooled} = [a_1 x, \dots, a_M x],

and the probe of ``depth_probe`` on the pooled vector (mean difference, first half teaches, second half judges). ``mean`` is
the same with queries of 0, and ``gain`` the paired difference: how localised the information is. Multi-head attention with one
learnt query q and M heads is this with u_m = W_K,m^T q_m, rescaled (:func:`queries_of`): key and query projections are
redundant.

Null: labels that have nothing to do with the tokens: accuracy 1/2, exact binomial test.

Limit: the distance at which the law of the probe reaches the accuracy that the binomial test finds with 80 %, where the
queries find the one token that knows. Mean pooling divides a distance D there to D/sqrt(N) among N tokens.

Twin: the mean pool; the largest weight of the map called right without looking (``mass`` on the token that knows, if it is
given).

Sheet: instruments_explanations 6; Attention, Please! Revisiting Attentive Probing (EP).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from attnlab.analysis.figures.plate import Plate
from attnlab.analysis.instruments.explanations.depth_probe import accuracy_law, distance_of, right
from attnlab.analysis.instruments.figure_of_entries import figure_of_entries
from attnlab.analysis.instruments.instrument import Instrument, Reading, Rival, reading_of
from attnlab.analysis.instruments.over_trials import detectable_share, share_of

AXES = ("layer",)


@dataclass(frozen=True, eq=False)
class Pools:
    """Tokens (layer, prompt, token, dim), labels 0 or 1 (prompt,), queries (layer, query, dim), learnt on other prompts.

    ``knows`` (prompt,): the place of the token that carries the label, where it was planted.
    """

    tokens: np.ndarray
    labels: np.ndarray
    queries: np.ndarray
    knows: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.tokens.ndim != 4 or self.labels.shape != self.tokens.shape[1:2]:
            raise ValueError(
                f"tokens must be (layer, prompt, token, dim) and labels (prompt,), got {self.tokens.shape}, {self.labels.shape}"
            )
        wanted = (self.tokens.shape[0], self.tokens.shape[3])
        if self.queries.ndim != 3 or (self.queries.shape[0], self.queries.shape[2]) != wanted:
            raise ValueError(
                f"queries must be (layer, query, dim) with layer, dim = {wanted}, got {self.queries.shape}"
            )
        if not (np.isfinite(self.tokens).all() and np.isfinite(self.queries).all()):
            raise ValueError("tokens or queries are not finite")
        half = len(self.labels) // 2
        if not np.isin(self.labels, (0, 1)).all() or any(
            np.unique(part).size < 2 for part in (self.labels[:half], self.labels[half:])
        ):
            raise ValueError("labels must be 0 and 1, both of them in each half of the prompts")


def measure(pools: Pools) -> dict[str, Reading]:
    """``accuracy`` and ``mean`` (exact binomial), ``gain`` (paired) and, if ``knows`` is given, ``mass``: (layer,)."""
    half = len(pools.labels) // 2
    a = weights(pools.tokens, pools.queries)
    attended = right(pooled(a, pools.tokens), pools.labels, half)[half:]
    even = np.full((*a.shape[:2], 1, a.shape[3]), 1 / a.shape[3])
    plain = right(pooled(even, pools.tokens), pools.labels, half)[half:]
    assumed = "prompts independent; queries learnt elsewhere; linear probe"
    gain = attended.astype(np.float64) - plain
    made = {
        "accuracy": share_of(attended, AXES, assumed, 0.5),
        "mean": share_of(plain, AXES, assumed, 0.5),
        "gain": reading_of(gain, "accuracy", AXES, assumed, null=0.0, tested=True),
    }
    if pools.knows is not None:
        at = np.asarray(pools.knows)[None, :, None, None]
        mass = np.take_along_axis(a, at, -1)[..., 0].mean(-1).T
        made["mass"] = reading_of(mass, "", AXES, assumed, null=1 / a.shape[-1])
    return made


def weights(tokens: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Attention of the probe, (layer, prompt, query, token), for tokens (layer, prompt, token, dim), queries (layer, query,
    dim)."""
    s = queries[:, None] @ np.swapaxes(tokens, -1, -2) / tokens.shape[-1] ** 0.5
    e = np.exp(s - s.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def pooled(a: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """Pooled vectors (layer, prompt, query * dim), the queries' one after the other."""
    made = a @ tokens
    return made.reshape(*made.shape[:2], -1)


def queries_of(w_k: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Queries (head, dim) of this probe that give the maps of multi-head attention with keys x W_K and one learnt query.

    ``w_k`` (head, dim, head_dim), ``q`` (head, head_dim): u_m = W_K,m q_m sqrt(D/head_dim).
    """
    dim, head_dim = w_k.shape[1:]
    return (w_k @ q[..., None])[..., 0] * (dim / head_dim) ** 0.5


def figure(readings: Mapping[str, Reading]) -> Plate:
    """Accuracy by layer with its exact interval, chance and the limit."""
    return figure_of_entries(
        readings["accuracy"], "accuracy", "layer", "How well a probe on attended tokens reads the label", "95 % exact"
    )


_N, _LAYERS, _TOKENS, _DIM = 200, 40, 9, 6
_MARK = 40.0  # of the token that knows, in coordinate 0


def _world(rng: np.random.Generator, distance: float) -> Pools:
    """One token of nine is marked and carries the label; the query looks for the mark, with e^-60 elsewhere."""
    labels = np.concatenate([rng.permutation(_N // 2) % 2 for _ in range(2)])
    x = rng.standard_normal((_LAYERS, _N, _TOKENS, _DIM + 1))
    x[..., 0] = 0.0
    knows = rng.integers(_TOKENS, size=_N)
    at = np.arange(_N)
    x[:, at, knows, 0] = _MARK
    x[:, at, knows, 1] += distance * labels
    queries = np.zeros((_LAYERS, 1, _DIM + 1))
    queries[..., 0] = 60 / _MARK * (_DIM + 1) ** 0.5
    return Pools(x, labels, queries, knows)


INSTRUMENT = Instrument(
    measure=measure,
    main="accuracy",
    needs=(),
    nulls={"labels at random": lambda rng: _world(rng, 0.0)},
    planted=_world,
    truth=lambda strength: accuracy_law(strength, _DIM, _N // 2),
    strengths=(1.0, 2.0, 4.0),
    limit=distance_of(detectable_share(_N // 2, 0.5), _DIM, _N // 2),
    rivals=(
        Rival(
            "the mean pool",
            "value",
            lambda rng: measure(_world(rng, 2.0))["mean"].value,
            accuracy_law(2.0, _DIM, _N // 2),
        ),
    ),
    figure=figure,
    sheet="instruments_explanations 6",
)
