r"""Which head acts on what, through which path: activations of a corrupted prompt put into a clean one, one path at a time.

Formula: for a sender head s and a receiver r (the logits, or the query, key or value of a head),

1. run clean with z_s from the corrupted prompt and every other z (and MLP) from the clean one; keep what enters r;
2. run clean with only that input of r replaced; m_s is the metric.

.. math:: \text{effect} = \frac{\operatorname{mean}(m_s - m_{clean})}{\operatorname{mean}(m_{corrupt} - m_{clean})},

a ratio of means over prompt pairs with Fieller's interval: 0 no effect, 1 all of it. Receiver ``"logits"`` is the direct path;
``"total"`` replaces z_s and freezes nothing, so totals do not add up to 1.

Null: a head whose activation does not move the metric on average: ratio 0; Student's test of the numerators, two-sided.

Limit: |effect| of (z_{a/2} + z_b) sd/(sqrt(N) |mean denominator|). Refused where the denominator may be 0: a corruption
that keeps the answer. To see a previous-token head's total the corruption must move the *query* token, too (else .9).

Twin: the mean of ratios (sd 127 where this one has .029), the last position only (misses every head that acts at an earlier
token), a slice of W_O's output in place of z (heads live at its input).

Sheet: instruments_circuits 1 to 3, ERRATA 10; Circuit Component Reuse Across Tasks in Transformer Language Models.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from attnlab.analysis.figures.caption import describe
from attnlab.analysis.figures.maps import heat_map
from attnlab.analysis.figures.plate import Plate
from attnlab.analysis.instruments.instrument import Instrument, Reading, Rival, reading_of
from attnlab.analysis.instruments.over_prompts import detectable, needs_prompts, p_above, ratio_interval
from attnlab.analysis.instruments.readings import Run

AXES = ("receiver", "sender")
POSITIONS = ("all", "last")
_RECEIVER = re.compile(r"L(\d+)\.H(\d+)\.([qkv])")


@dataclass(frozen=True)
class Pairs:
    """A model, prompts, and the same prompts corrupted.

    ``metric(logits (B, T, V)) -> (B,)``, such as the answer's logit minus the mean of the others at the last token. ``senders``:
    (layer, head). ``receivers``: ``"logits"``, ``"total"``, or ``"L1.H0.k"``. ``mlps``: layers whose MLP is kept clean in step 1.
    ``positions``: patch ``"all"`` tokens, or the ``"last"`` only, as published code does.
    """

    run: Run
    clean: Any
    corrupt: Any
    metric: Callable[[np.ndarray], np.ndarray]
    senders: Sequence[tuple[int, int]]
    receivers: Sequence[str] = ("logits",)
    mlps: Sequence[int] = ()
    positions: str = "all"

    def __post_init__(self) -> None:
        if self.positions not in POSITIONS:
            raise ValueError(f"positions={self.positions!r}; use one of {', '.join(POSITIONS)}")
        for receiver in self.receivers:
            if receiver not in ("logits", "total") and not _RECEIVER.fullmatch(receiver):
                raise ValueError(f"receiver {receiver!r}; use 'logits', 'total' or 'L1.H0.k' (q, k or v of a head)")
        if not self.senders:
            raise ValueError("senders is empty; give at least one (layer, head)")


def measure(pairs: Pairs) -> dict[str, Reading]:
    """``effect`` (receiver, sender) with Fieller's interval, and ``numerator`` and ``denominator`` in units of the metric."""
    layers = sorted(
        {layer for layer, _ in pairs.senders} | {int(r[1]) for r in map(_RECEIVER.fullmatch, pairs.receivers) if r}
    )
    sites = [f"L{layer}.z" for layer in range(max(layers) + 1)] + [f"L{layer}.mlp" for layer in pairs.mlps]
    clean = pairs.run(pairs.clean, sites=(*sites, "logits"))
    corrupt = pairs.run(pairs.corrupt, sites=(*sites, "logits"))
    m_clean, m_corrupt = pairs.metric(clean["logits"]), pairs.metric(corrupt["logits"])
    needs_prompts(len(m_clean))
    moved = np.empty((len(m_clean), len(pairs.receivers), len(pairs.senders)))
    for column, sender in enumerate(pairs.senders):
        for row, receiver in enumerate(pairs.receivers):
            moved[:, row, column] = pairs.metric(_patched(pairs, clean, corrupt, sender, receiver)) - m_clean
    whole = m_corrupt - m_clean
    value, low, high = ratio_interval(moved, whole)
    p = np.minimum(1.0, 2 * np.minimum(p_above(moved), p_above(-moved)))
    scaled = moved / whole.mean()
    n, sd = len(moved), scaled.std(0, ddof=1)
    assumed = "prompt pairs independent; one sender patched at a time"
    zero = np.zeros_like(value)
    limit = detectable(sd, n, 0.025)
    effect = Reading(
        value, "of the corruption's effect", AXES, low, high, zero, sd / n**0.5, p, n, limit, assumed, scaled
    )
    return {
        "effect": effect,
        "numerator": reading_of(moved, "metric", AXES, assumed, null=0.0),
        "denominator": reading_of(whole, "metric", (), assumed),
    }


def figure(readings: Mapping[str, Reading]) -> Plate:
    """Sender by receiver, the effect in every cell."""
    plate = Plate(width="double", height=1.2 + 0.3 * readings["effect"].value.shape[0])
    heat_map(plate[0], readings["effect"].value, "effect", annotate=".2f", square=False)
    plate[0].labels(x="senders, in the order given", y="receivers")
    describe(plate, "Effect of each sender on each receiver, in parts of what the corruption does", seeds="")
    return plate


def _patched(pairs: Pairs, clean: Mapping, corrupt: Mapping, sender: tuple[int, int], receiver: str) -> np.ndarray:
    layer, head = sender
    mixed = clean[f"L{layer}.z"].copy()
    where = slice(None) if pairs.positions == "all" else slice(-1, None)
    mixed[:, head, where] = corrupt[f"L{layer}.z"][:, head, where]
    if receiver == "total":
        return pairs.run(pairs.clean, sites=("logits",), replace={f"L{layer}.z": mixed})["logits"]
    frozen = {name: array for name, array in clean.items() if name != "logits"} | {f"L{layer}.z": mixed}
    if receiver == "logits":
        return pairs.run(pairs.clean, sites=("logits",), replace=frozen)["logits"]
    named = _RECEIVER.fullmatch(receiver)
    site, at = f"L{named[1]}.{named[3]}", int(named[2])
    entering = pairs.run(pairs.clean, sites=(site,), replace=frozen)[site][:, at]

    def put(array: np.ndarray) -> np.ndarray:
        made = array.copy()
        made[:, at, where] = entering[:, where]
        return made

    return pairs.run(pairs.clean, sites=("logits",), replace={site: put})["logits"]


_N, _HEADS, _NOISE, _SIGNAL = 16, 20, 0.5, 5.0


def _linear_model(
    inputs: np.ndarray, sites: Sequence[str] = (), replace: Mapping[str, Any] = {}
) -> dict[str, np.ndarray]:
    """A model whose head outputs are its inputs, (prompt, head), and whose logit is their sum."""
    z = inputs[:, :, None, None]
    if (given := replace.get("L0.z")) is not None:
        z = given(z) if callable(given) else given
    found = {"L0.z": z, "logits": z.sum(1)}
    return {name: found[name] for name in sites}


def _world(rng: np.random.Generator, share: float) -> Pairs:
    """Noisy heads that each carry ``share`` of a signal that the corruption turns round; the head before them has the rest."""
    signal = np.array([1 - _HEADS * share, *[share] * _HEADS]) * _SIGNAL
    noise = _NOISE * rng.standard_normal((2, _N, _HEADS + 1)) * (np.arange(_HEADS + 1) > 0)
    senders = [(0, head) for head in range(1, _HEADS + 1)]
    return Pairs(_linear_model, signal + noise[0], noise[1] - signal, lambda logits: logits[:, -1, 0], senders)


def _ratios_first(rng: np.random.Generator) -> np.ndarray:
    """Mean over 16 pairs of the ratios of one noisy head of share .1, where the corruption moves the metric by 4, of 160 draws.

    Its bias does not fall with the number of pairs: (.1 var(denominator) - var(numerator))/4^2 = -.025.
    """
    noise = _NOISE * (rng.standard_normal((2, 160, _N)) - rng.standard_normal((2, 160, _N)))
    moved = 0.4 + noise[0]
    return (moved / (3.6 + noise[1] + moved)).mean(-1)


INSTRUMENT = Instrument(
    measure=measure,
    main="effect",
    needs=(),
    nulls={"heads of noise": lambda rng: _world(rng, 0.0)},
    planted=_world,
    truth=lambda strength: strength,
    strengths=(0.02, 0.04, 0.05),
    tolerance=1e-3,  # the bias of a ratio of means, rho var(denominator)/mean^2 = .05 * 10/100/16 = 3e-4
    limit=float(detectable(_NOISE * 2**0.5, _N, 0.025)) / (2 * _SIGNAL),
    rivals=(Rival("the mean of ratios", "value", _ratios_first, 0.1),),
    figure=figure,
    sheet="instruments_circuits 1-3",
)
