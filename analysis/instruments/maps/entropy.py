r"""How evenly a head attends: the entropy of its rows, and the same divided by what a row could have.

Formula: H_i = -sum_j A_ij ln A_ij, with 0 ln 0 = 0; ``entropy`` is its mean over rows in nats, ``evenness`` the mean of
H_i/ln(visible_i) over the rows that see at least two keys, 0 for one key, 1 for all alike.

Null: the test asks whether a head is less even than ``threshold`` (default 1/2): worlds whose evenness *is* the threshold
on average. For N(0, s^2) scores the entropy is ln n - s^2/2 while s < sqrt(2 ln n); its spread over heads is eight times
larger where scores have column effects (.126 against .016 at n = 64), so no band for iid scores is offered. A uniform
causal head has entropy ln(T!)/T.

Limit: an evenness of (z_a + z_b) sd/sqrt(N) below the threshold is found with 80 %.

Twin: rows divided by ln T, which makes the early rows of a causal map look collapsed (.80 for a uniform head at 128 tokens), and
A ln(A + 1e-9), wrong by 1e-9 n.

Sheet: instruments_maps 1, ERRATA 9; Entropy-Guided Attention for Private LLMs.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

import numpy as np
from scipy import special

from attnlab.analysis.instruments.figure_of_heads import figure_of_heads
from attnlab.analysis.instruments.instrument import Instrument, Reading, Rival, reading_of
from attnlab.analysis.instruments.over_prompts import detectable, p_above
from attnlab.analysis.instruments.readings import Group, Readings, maps
from attnlab.analysis.instruments.worlds import NULLS, causal_softmax, mixture, scores

AXES = ("layer", "head")
THRESHOLD = 0.5
COLLAPSE, OVERLOAD = 0.05, 0.95
"""Evenness below which a head has collapsed, and above which it is overloaded, in the paper's words."""


def measure(readings: Readings, threshold: float = THRESHOLD) -> dict[str, Reading]:
    """``evenness``, tested against ``threshold`` from below, and ``entropy`` (nats): (layer, head) each, from patterns.

    Its null value is that of a uniform head: the mean of ln(visible) over rows. Errors: ``ValueError`` for one-token prompts.
    """
    if not 0 < threshold < 1:
        raise ValueError(f"threshold must lie in (0, 1), got {threshold!r}")
    found = readings.each_layer("pattern", _entropies)
    assumed = "prompts independent"
    p = p_above(-found["evenness"], -threshold)
    evenness = reading_of(found["evenness"], "of ln(visible)", AXES, assumed, null=threshold, p=p)
    sd = found["evenness"].std(0, ddof=1)
    below = threshold - detectable(sd, readings.n_prompts)  # it is found below the null, not above
    evenness = Reading(**{**evenness.__dict__, "limit": below})
    entropy = reading_of(found["entropy"], "nats", AXES, assumed, null=found["uniform"].mean(0))
    return {"evenness": evenness, "entropy": entropy}


def penalty(readings: Readings, target: float = 0.5, margin: float = 0.2, smooth: bool = False) -> np.ndarray:
    r"""The regulariser of the paper, (prompt, layer, head), with targets theta ln(visible) per row.

    .. math:: \sum_i (H_i - \theta \ln n_i)^2\, \mathbf 1[|H_i - \theta \ln n_i| > \gamma \ln n_i].

    ``smooth``: :math:`\sum_i (|H_i - \theta \ln n_i| - \gamma \ln n_i)_+^2` instead, without the jump at the margin. The
    paper takes ln T for every row, which punishes a uniform causal head in .95 of its rows at theta = 1/4 (T = 128).
    """

    def of_layer(a: np.ndarray, seen: np.ndarray, group: Group) -> dict[str, np.ndarray]:
        most = np.log(seen.sum(-1))
        off = np.abs(special.entr(a).sum(-1) - target * most)
        hinge = np.maximum(off - margin * most, 0.0) if smooth else np.where(off > margin * most, off, 0.0)
        return {"penalty": (hinge**2).sum(-1)}

    return readings.each_layer("pattern", of_layer)["penalty"]


def figure(readings: Mapping[str, Reading]) -> object:
    """Every head's evenness with interval, threshold and limit."""
    return figure_of_heads(readings["evenness"], "evenness", "Entropy of the rows over that of uniform rows, by head")


def _entropies(a: np.ndarray, seen: np.ndarray, group: Group) -> dict[str, np.ndarray]:
    visible = seen.sum(-1)  # (b or 1, H or 1, query)
    several = visible > 1
    if not several.any(-1).all():
        raise ValueError(f"prompt {group.prompts[0]} has no query that sees two keys; give longer prompts")
    most = np.log(np.maximum(visible, 1))
    h = special.entr(a.astype(np.float64)).sum(-1)
    evenness = np.where(several, h / np.where(several, most, 1.0), 0.0).sum(-1) / several.sum(-1)
    entropy = h.mean(-1)
    return {"evenness": evenness, "entropy": entropy, "uniform": np.broadcast_to(most.mean(-1), entropy.shape)}


_SHAPE = (8, 1, 80, 24)
_KEYS = 2
_JITTER = 0.05  # half width, over prompts of a world, of the evenness, and of the weight of mixtures


def tempered(rng: np.random.Generator, world: str, evenness: np.ndarray) -> Readings:
    """Causal maps of a world, each brought to the wanted evenness (prompt, layer, head) by its temperature, by bisection."""
    s = scores(rng, world, _SHAPE)
    low, high = np.full(evenness.shape, -8.0), np.full(evenness.shape, 8.0)
    most = np.log(np.arange(2, _SHAPE[-1] + 1))
    for _ in range(24):  # 16 / 2^24 in log beta
        middle = (low + high) / 2
        a = causal_softmax(np.exp(middle)[..., None, None] * s)
        here = (-(a * np.log(np.maximum(a, 1e-300))).sum(-1)[..., 1:] / most).mean(-1)
        low, high = np.where(here > evenness, middle, low), np.where(here > evenness, high, middle)
    return maps(a)


def _null(rng: np.random.Generator, world: str) -> Readings:
    return tempered(rng, world, THRESHOLD + _JITTER * rng.uniform(-1, 1, _SHAPE[:3]))


def mixture_evenness(weight: float, n_keys: int, n: int) -> float:
    """Evenness of mass w on k keys and the rest on the others: (h2(w) + w ln k + (1 - w) ln(n - k))/ln n, exact."""
    h2 = float(special.entr(weight) + special.entr(1 - weight))
    return (h2 + weight * np.log(n_keys) + (1 - weight) * np.log(n - n_keys)) / np.log(n)


def _planted(rng: np.random.Generator, strength: float) -> Readings:
    """Mixtures whose weight is uniform around that of :func:`_weight`, by :data:`_JITTER`: the mean law is :func:`_laws`'."""
    return mixture(rng, _weight(strength) + _JITTER * rng.uniform(-1, 1, _SHAPE[:3]), _KEYS, _SHAPE)


def _weight(strength: float) -> float:
    """The weight on two keys at which the mean evenness lies ``strength`` below the threshold, by bisection on the law."""
    low, high = _KEYS / _SHAPE[-1] + _JITTER, 1 - _JITTER
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _laws(middle)[0] > THRESHOLD - strength else (low, middle)
    return low


def _laws(weight: float) -> tuple[float, float]:
    """Mean and sd of the evenness for weights uniform within the jitter, by Gauss-Legendre quadrature."""
    nodes, shares = np.polynomial.legendre.leggauss(12)
    law = np.array([mixture_evenness(weight + _JITTER * node, _KEYS, _SHAPE[-1]) for node in nodes])
    mean = float(shares @ law / 2)
    return mean, float(np.sqrt(shares @ (law - mean) ** 2 / 2))


def _divided_by_the_longest(readings: Readings) -> np.ndarray:
    found = readings.each_layer("pattern", lambda a, seen, group: {"h": special.entr(a).sum(-1).mean(-1)})["h"]
    return found.mean(0) / np.log(readings.n_tokens)


INSTRUMENT = Instrument(
    measure=measure,
    main="evenness",
    needs=("pattern",),
    nulls={world: functools.partial(_null, world=world) for world in NULLS},
    planted=_planted,
    truth=lambda strength: THRESHOLD - strength,
    strengths=(0.02, 0.05, 0.08),
    limit=float(detectable(_laws(_weight(0.0))[1], _SHAPE[0])),
    rivals=(
        Rival(
            "rows divided by ln T",
            "value",
            lambda rng: _divided_by_the_longest(tempered(rng, "iid scores", np.full(_SHAPE[:3], THRESHOLD))),
            THRESHOLD,
        ),
    ),
    figure=figure,
    sheet="instruments_maps 1",
)
