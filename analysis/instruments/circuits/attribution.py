r"""What gradients say a head does, beside what it does: linear attribution, attribution along the path, and the exact effect.

Formula: with m_s(alpha) the metric when the sender's activation is z_clean + alpha (z_corrupt - z_clean) and nothing else is
changed,

.. math:: \text{linear} = m_s'(0), \qquad \text{path} = \frac1n \sum_{k<n} m_s'\Bigl(\frac{k + 1/2}{n}\Bigr), \qquad
          \text{exact} = m_s(1) - m_s(0).

The path version is complete, path = exact for every sender alone (which does not make senders additive). It is asserted: where
the means differ by more than 1 % of the effect's rms the reading is refused, and more steps are asked for. :func:`saturated`
names the senders whose linear effect is outside [1/2, 2] times the exact one.

Null: permuted pairs: effect 0; Student's test of the path effects over prompt pairs, two-sided.

Limit: an effect of (z_{a/2} + z_b) sd/sqrt(N) is found with 80 %.

Twin: the linear version, which through a saturated softmax credits .2 % of a head's effect (hand-written induction, 12 nats).

Sheet: instruments_circuits 9 (edge attribution and AtP family).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from attnlab.analysis.figures.plate import Plate
from attnlab.analysis.instruments.figure_of_entries import figure_of_entries
from attnlab.analysis.instruments.instrument import Instrument, Reading, Rival, reading_of
from attnlab.analysis.instruments.over_prompts import detectable, p_above
from attnlab.analysis.instruments.readings import Run

AXES = ("sender",)
COMPLETE = 1e-2


@dataclass(frozen=True)
class Segments:
    """``value(sender, alpha)`` and ``slope(sender, alpha)``: the metric (prompt,) and its derivative along the segment.

    With gradients the slope is <dm/dz, z_corrupt - z_clean>; :func:`segments` makes both from runs alone. ``steps``: points of
    the path, at their middles.
    """

    value: Callable[[int, float], np.ndarray]
    slope: Callable[[int, float], np.ndarray]
    n_senders: int
    steps: int = 20

    def __post_init__(self) -> None:
        if self.n_senders < 1 or self.steps < 1:
            raise ValueError(
                f"n_senders and steps must be at least 1, got n_senders={self.n_senders!r}, steps={self.steps!r}"
            )


def measure(segments: Segments) -> dict[str, Reading]:
    """``path`` (tested), ``linear`` and ``exact`` effects per sender, (sender,), in units of the metric.

    Errors: ``ValueError`` where the path is not complete.
    """
    columns = range(segments.n_senders)
    middles = (np.arange(segments.steps) + 0.5) / segments.steps
    path = np.stack([np.mean([segments.slope(s, float(t)) for t in middles], 0) for s in columns], -1)
    linear = np.stack([segments.slope(s, 0.0) for s in columns], -1)
    exact = np.stack([segments.value(s, 1.0) - segments.value(s, 0.0) for s in columns], -1)
    gap = np.abs(path.mean(0) - exact.mean(0))
    size = np.sqrt((exact**2).mean(0))
    bad = gap > COMPLETE * size + 1e-9 * np.abs(exact).max(initial=0.0)
    if bad.any():
        at = int(bad.argmax())
        raise ValueError(
            f"the path of sender {at} misses its effect by {gap[at]:.3g} (rms effect {size[at]:.3g}); "
            f"give more than steps={segments.steps}"
        )
    assumed = "prompt pairs independent; one sender moved at a time"
    p = np.minimum(1.0, 2 * np.minimum(p_above(path), p_above(-path)))
    tested = reading_of(path, "metric", AXES, assumed, null=0.0, p=p)
    limit = detectable(path.std(0, ddof=1), len(path), 0.025)
    return {
        "path": Reading(**{**tested.__dict__, "limit": limit}),
        "linear": reading_of(linear, "metric", AXES, assumed, null=0.0),
        "exact": reading_of(exact, "metric", AXES, assumed, null=0.0),
    }


def saturated(readings: Mapping[str, Reading]) -> np.ndarray:
    """Senders whose mean linear effect lies outside [1/2, 2] times the exact one, among those whose exact interval excludes 0."""
    exact, linear = readings["exact"], readings["linear"].value
    there = (exact.low > 0) | (exact.high < 0)
    ratio = linear / np.where(there, exact.value, 1.0)
    return there & ~((ratio >= 0.5) & (ratio <= 2.0))


def segments(
    run: Run,
    clean: Any,
    corrupt: Any,
    metric: Callable[[np.ndarray], np.ndarray],
    senders: Sequence[tuple[int, int]],
    *,
    steps: int = 20,
) -> Segments:
    """Segments of a model without gradients: ``senders`` are (layer, head), slopes are central differences of half width 1e-4."""
    sites = sorted({f"L{layer}.z" for layer, _ in senders})
    ends = [run(each, sites=sites) for each in (clean, corrupt)]

    def value(sender: int, alpha: float) -> np.ndarray:
        layer, head = senders[sender]
        start, stop = (end[f"L{layer}.z"][:, head] for end in ends)
        mixed = start + alpha * (stop - start)
        return metric(run(clean, sites=("logits",), replace={f"L{layer}.H{head}.z": mixed})["logits"])

    def slope(sender: int, alpha: float) -> np.ndarray:
        return (value(sender, alpha + 1e-4) - value(sender, alpha - 1e-4)) / 2e-4

    return Segments(value, slope, len(senders), steps)


def figure(readings: Mapping[str, Reading]) -> Plate:
    """Path effect by sender, with its interval and the limit."""
    return figure_of_entries(readings["path"], "effect along the path", "sender", "What each sender does to the metric")


_N, _SENDERS, _SD = 16, 20, 0.1


def _world(rng: np.random.Generator, effect: float) -> Segments:
    """Senders behind a tanh: the metric moves from -effect/2 to effect/2, both with normal noise, and nearly saturates there."""
    start, stop = (end + _SD * rng.standard_normal((_SENDERS, _N)) for end in (-effect / 2, effect / 2))
    x = np.arctanh(start)
    step = np.arctanh(stop) - x

    def value(sender: int, alpha: float) -> np.ndarray:
        return np.tanh(x[sender] + alpha * step[sender])

    return Segments(value, lambda s, alpha: step[s] * (1 - value(s, alpha) ** 2), _SENDERS)


INSTRUMENT = Instrument(
    measure=measure,
    main="path",
    needs=(),
    nulls={"permuted pairs": lambda rng: _world(rng, 0.0)},
    planted=_world,
    truth=lambda strength: strength,
    strengths=(0.1, 0.4, 1.0),
    tolerance=1e-3,  # the middle rule at 20 steps, h^2/24 times the change of slope over a step of 3 nats at most
    limit=float(detectable(_SD * 2**0.5, _N, 0.025)),
    rivals=(Rival("the linear effect", "value", lambda rng: measure(_world(rng, 1.0))["linear"].value, 1.0),),
    figure=figure,
    sheet="instruments_circuits 9",
)
