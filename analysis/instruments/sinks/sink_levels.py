r"""Which tokens carry the state of the first token's sink, from which layer on and for how long: secondary sinks and their
levels.

Formula: the signed cosine of a token's state with the first token's, after every layer; a token is a sink where

.. math:: \cos(h_t^l, h_{first}^l) > \tau, \qquad \tau = 0.9,

and its level is (first such layer, number of such layers). ``cosine`` is the largest over the other tokens, ``token`` where it
is, ``map`` the mean over prompts by place, ``others`` the mean cosine of two tokens that are no sinks (anisotropy: the real
null).

Null: random directions have cosines of sd 1/sqrt(D); the rule has no level, its alarm is far beyond them unless ``others`` is
large.

Limit: a state m u + w, |w| = s orthogonal to the first token's direction u, is found from m = s/sqrt(1/tau^2 - 1) = 2.06 s on.
Laws:

.. math:: \text{lifetime} = \#\{l \ge l_0: s_l^2 \le m^2(1/\tau^2 - 1)\}, \qquad
          \frac{a_{second}}{a_{first}} = e^{b(c_2 - c_1)}, \qquad
          \text{first falls by } \frac{Z}{Z + S(e^{b c_2} - 1)}.

Twin: |cos| > tau, which fires on states of the opposite direction, though these repel attention; the last state after the
final norm (``hidden_states[-1]``), whose weights turn it.

Sheet: instruments_sinks 2 and 3, ERRATA 9; On the Existence and Behaviour of Secondary Attention Sinks (2512.22213).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from attnlab.analysis.figures.caption import describe
from attnlab.analysis.figures.maps import heat_map
from attnlab.analysis.figures.plate import Plate
from attnlab.analysis.instruments.instrument import Instrument, Reading, Rival
from attnlab.analysis.instruments.readings import Readings

AXES = ("prompt", "layer")
TAU = 0.9


@dataclass(frozen=True)
class Level:
    """A sink: its prompt and position, the first layer after which it is one, for how many layers, its cosine and norm there."""

    prompt: int
    position: int
    start: int
    lifetime: int
    cosine: float
    norm: float


def measure(readings: Readings, tau: float = TAU) -> dict[str, Reading]:
    """``cosine``, ``token``, ``others`` (prompt, layer) and ``map`` (layer, token), of the states after every layer
    (``post``).

    p is 0 where ``cosine`` is above ``tau``, else 1. Errors: ``ValueError`` for a tau outside (0, 1) and prompts of one token.
    """
    _check(readings, tau)
    layers = readings.layers("post")
    shape, longest = (readings.n_prompts, len(layers)), max(group.length for group in readings.groups)
    best, place, others = (np.empty(shape) for _ in range(3))
    total, count = np.zeros((len(layers), longest)), np.zeros(longest)
    for group in readings.groups:
        count[: group.length] += len(group.prompts)
        for column, layer in enumerate(layers):
            x = _units(readings.array(f"L{layer}.post", group))
            cos = (x @ x[:, :1].mT)[..., 0]
            total[column, : group.length] += cos.sum(0)
            at = cos[:, 1:].argmax(-1) + 1
            best[group.prompts, column] = np.take_along_axis(cos, at[:, None], 1)[:, 0]
            place[group.prompts, column] = at
            others[group.prompts, column] = _among_others(x, cos, tau)
    n, no = readings.n_prompts, np.full(shape, np.nan)
    p = np.where(best > tau, 0.0, 1.0)
    rule = f"fires above {tau:g}"
    by_place = total / count
    none = np.full(by_place.shape, np.nan)
    return {
        "cosine": Reading(best, "", AXES, best, best, others, no, p, n, np.full(shape, tau), rule),
        "token": Reading(place, "position", AXES, place, place, no, no, None, n, no, rule),
        "others": Reading(others, "", AXES, others, others, no, no, None, n, no, "tokens that are no sinks"),
        "map": Reading(by_place, "", ("layer", "token"), by_place, by_place, none, none, None, n, none, rule),
    }


def levels(readings: Readings, tau: float = TAU) -> list[Level]:
    """Every sink beside the first token, by prompt and position; a token that is one twice counts from its first layer on."""
    _check(readings, tau)
    layers = readings.layers("post")
    found = []
    for group in readings.groups:
        states = np.stack([readings.array(f"L{layer}.post", group) for layer in layers])
        x = _units(states)
        cos = (x @ x[:, :, :1].mT)[..., 0]  # (layer, prompt, token)
        on = cos > tau
        for row, position in np.argwhere(on[:, :, 1:].any(0)):
            at = position + 1
            start = int(on[:, row, at].argmax())
            number = int(group.prompts[row])
            norm = float(np.linalg.norm(states[start, row, at]))
            lifetime = int(on[:, row, at].sum())
            found.append(Level(number, int(at), layers[start], lifetime, float(cos[start, row, at]), norm))
    return sorted(found, key=lambda each: (each.prompt, each.position))


def lifetime_law(written: float, update: float, start: int, tau: float = TAU) -> int:
    r"""Layers for which a written norm m is seen, where the rest of the state after layer l has norm :math:`s\sqrt{l+1}`, l =
    0, 1, ...

    The layers l >= start with :math:`s^2 (l + 1) \le m^2 (1/\tau^2 - 1)`: quadratic in the written norm.
    """
    return max(0, math.floor((written / update) ** 2 * (1 / tau**2 - 1)) - start)


def sink_weights(bonus: float, cosines: tuple[float, float], n_others: int) -> tuple[float, float]:
    """Weights of the first and of one secondary sink, for a query of component ``bonus`` along u and others of score 0."""
    first, second = np.exp(bonus * np.asarray(cosines))
    return float(first / (first + second + n_others)), float(second / (first + second + n_others))


def smallest_written(rest: float, tau: float = TAU) -> float:
    """The component m along the first token's direction at which a state with ``rest`` beside it is found."""
    return rest / (1 / tau**2 - 1) ** 0.5


def figure(readings: Mapping[str, Reading]) -> Plate:
    """Cosine with the first token by layer and place, mean over prompts."""
    made = readings["map"]
    plate = Plate(width="double", height=1.2 + 0.2 * made.value.shape[0])
    heat_map(plate[0], made.value, "cosine with the first token", square=False)
    plate[0].labels(x="token", y="layer")
    plate[0].ticks(x=[float(k) for k in range(0, made.value.shape[1], 1 + (made.value.shape[1] - 1) // 10)])
    text = f"States that point along the first token's, mean over {made.n} prompts; a sink is above {TAU:g}"
    describe(plate, text, seeds="")
    return plate


def _check(readings: Readings, tau: float) -> None:
    if not 0 < tau < 1:
        raise ValueError(f"tau must lie in (0, 1), got {tau!r}")
    if (short := [group for group in readings.groups if group.length < 2]) != []:
        raise ValueError(f"prompt {short[0].prompts[0]} has one token; a sink beside the first needs two")


def _units(x: np.ndarray) -> np.ndarray:
    x = x.astype(np.float64)
    norm = np.linalg.norm(x, axis=-1, keepdims=True)
    return x / np.where(norm > 0, norm, 1.0)


def _among_others(x: np.ndarray, cos: np.ndarray, tau: float) -> np.ndarray:
    """Mean cosine of two different tokens below tau, (prompt,); 0 where there are fewer than two."""
    rest = np.where(cos[..., None] > tau, 0.0, x)
    count = (cos <= tau).sum(-1)
    pairs = (rest.sum(1) ** 2).sum(-1) - (rest**2).sum((1, 2))
    return pairs / np.maximum(count * (count - 1), 1)


_DIM = 64


def _states(rng: np.random.Generator, written: float | None) -> Readings:
    """States of rest 1 orthogonal to the first token's direction, to which token 3 adds ``written`` along it."""
    u = np.zeros(_DIM)
    u[7] = 1.0
    sites = {}
    for layer in range(2):
        x = rng.standard_normal((6, 10, _DIM))
        if written is not None:
            x[:, 3] -= (x[:, 3] @ u)[:, None] * u
            x[:, 3] = x[:, 3] / np.linalg.norm(x[:, 3], axis=-1, keepdims=True) + written * u
        x[:, 0] = 50 * u
        sites[f"L{layer}.post"] = x
    return Readings(sites)


def _unsigned(rng: np.random.Generator) -> np.ndarray:
    """The rival |cos| > tau on a state of the opposite direction: whether it fires; the truth, as it repels attention, is 0."""
    made = _states(rng, -8.0)
    cos = measure(made)["map"].value
    return (np.abs(cos[:, 3]) > TAU).astype(float)


def _normed(rng: np.random.Generator) -> np.ndarray:
    """Cosines of states at m = 4 after a final norm that gives the sink's coordinate the weight .2."""
    made = _states(rng, 4.0)
    weight = np.where(np.arange(_DIM) == 7, 0.2, 1.0)
    return measure(Readings({name: weight * x for name, x in made.sites.items()}))["cosine"].value


def _law(written: float) -> float:
    return written / (written**2 + 1) ** 0.5


INSTRUMENT = Instrument(
    measure=measure,
    main="cosine",
    needs=("post",),
    nulls={"random directions": lambda rng: _states(rng, None)},
    planted=_states,
    truth=_law,
    strengths=(2.0, 4.0, 16.0),
    tolerance=1e-12,
    limit=smallest_written(1.0),
    rivals=(
        Rival("the unsigned cosine", "value", _unsigned, 0.0),
        Rival("states after the final norm", "value", _normed, _law(4.0)),
    ),
    figure=figure,
    sheet="instruments_sinks 2, 3",
    exact=True,
    invariances=("padding",),
)
