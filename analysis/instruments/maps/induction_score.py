r"""Does a head look at what followed the current token last time: prompts that repeat with a period drawn anew per prompt.

Formula: the :mod:`~attnlab.analysis.instruments.maps.target_contrast` of the key i - P + 1, P the prompt's period
(``induction``), and of three neighbours that are often taken for it: ``previous`` i - 1, ``duplicate`` i - P, ``offset`` i
- (mean period) + 1.

Null: contrast 0, mass mean 1/(i + 1), rank 1/2. A head with score bonus b reads b; one that mixes weight w with uniform
rows has the mass w + (1 - w) null.

Limit: a contrast of (z_a + z_b) sd/sqrt(N) is found with 80 %.

Twin: the same score with one fixed period: there a head that looks a fixed distance back scores .515 like a true one, .517; with
random periods .043 against .515. A head with the pattern but without the effect is flagged here and cleared by path patching.

Sheet: instruments_circuits 1, instruments_maps 3; prefix matching.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

import numpy as np

from attnlab.analysis.instruments.figure_of_heads import figure_of_heads
from attnlab.analysis.instruments.instrument import Instrument, Reading, Rival
from attnlab.analysis.instruments.maps import target_contrast
from attnlab.analysis.instruments.over_prompts import detectable
from attnlab.analysis.instruments.readings import Readings
from attnlab.analysis.instruments.targets import after_earlier_copy, earlier_copy, offset, previous_token
from attnlab.analysis.instruments.worlds import COLUMN_SD, NULLS, SD, on_targets, read_scores, scores

PERIODS = (16, 30)
"""Shortest and longest period of the prompts that :func:`repeats` draws."""


def repeats(
    rng: np.random.Generator, n_prompts: int, n_tokens: int, vocabulary: int, periods: tuple[int, int] = PERIODS
) -> tuple[np.ndarray, np.ndarray]:
    """Random prompts that repeat: tokens (prompt, token) and the period of each, uniform on ``periods``, both ends included.

    Errors: ``ValueError`` if the longest period leaves no second copy, or one prompt could have no other period.
    """
    low, high = periods
    if not 1 <= low < high < n_tokens:
        raise ValueError(
            f"periods={periods!r} must be two lengths with 1 <= low < high < n_tokens={n_tokens}: one fixed period cannot "
            "tell induction from a fixed distance"
        )
    drawn = rng.integers(low, high + 1, n_prompts)
    base = rng.integers(vocabulary, size=(n_prompts, high))
    return np.take_along_axis(base, np.arange(n_tokens)[None] % drawn[:, None], 1), drawn


def measure(readings: Readings) -> dict[str, Reading]:
    """``induction``, ``duplicate``, ``previous``, ``offset`` (nats, tested) and ``mass`` of induction: (layer, head) each.

    ``readings.periods`` (prompt,) are needed. Errors: ``ValueError`` where they are missing or all alike.
    """
    if readings.periods is None:
        raise ValueError(
            "the induction score needs periods= (batch,), the period of each repeating prompt; see repeats()"
        )
    periods = np.asarray(readings.periods)
    if readings.n_prompts > 1 and np.ptp(periods) == 0:
        raise ValueError(
            f"every prompt has period {periods[0]}: a head at that fixed distance would score like an induction head; "
            "draw the period per prompt, see repeats()"
        )
    middle = round(float(periods.mean()))
    found = {
        "induction": target_contrast.measure(readings, after_earlier_copy),
        "duplicate": target_contrast.measure(readings, earlier_copy),
        "previous": target_contrast.measure(readings, previous_token),
        "offset": target_contrast.measure(readings, offset(middle - 1)),
    }
    made = {name: each["contrast"] for name, each in found.items()}
    return made | ({"mass": found["induction"]["mass"]} if "mass" in found["induction"] else {})


def figure(readings: Mapping[str, Reading]) -> object:
    """Every head's induction score with interval, zero line and limit."""
    return figure_of_heads(readings["induction"], "induction", "Score bonus of what followed last time, by head")


_SHAPE = (8, 1, 80, 24)
_PERIODS = (8, 14)


def _periods(rng: np.random.Generator) -> np.ndarray:
    """Periods of which at least two differ."""
    drawn = rng.integers(_PERIODS[0], _PERIODS[1] + 1, _SHAPE[0])
    drawn[0] = drawn[1] + (1 if drawn[1] < _PERIODS[1] else -1)
    return drawn


def _null(rng: np.random.Generator, world: str) -> Readings:
    return read_scores(scores(rng, world, _SHAPE), periods=_periods(rng))


def _after(periods: np.ndarray) -> np.ndarray:
    i = np.arange(_SHAPE[-1])
    return (i[:, None] >= periods[:, None, None]) & (i[None] == i[:, None] - periods[:, None, None] + 1)


def _planted(rng: np.random.Generator, strength: float) -> Readings:
    periods = _periods(rng)
    s = on_targets(scores(rng, "column effects", _SHAPE), _after(periods), strength)
    return read_scores(s, periods=periods)


def _fixed_distance(rng: np.random.Generator, periods: np.ndarray) -> np.ndarray:
    """The induction contrast of heads that look a fixed distance back, 2 nats above the rest."""
    back = np.eye(_SHAPE[-1], k=-(round(sum(_PERIODS) / 2) - 1), dtype=bool)
    s = on_targets(scores(rng, "column effects", _SHAPE), back, 2.0)
    return target_contrast.per_prompt(read_scores(s, periods=periods), after_earlier_copy)["contrast"].mean(0)


def _spread() -> float:
    """The sd over prompts of the contrast, over periods: a row's target is a key of its own, as for the previous token."""
    found = []
    for period in range(_PERIODS[0], _PERIODS[1] + 1):
        rows = np.arange(period, _SHAPE[-1])
        weight = np.zeros(_SHAPE[-1])
        for i in rows:
            weight[: i + 1] -= 1 / i
            weight[i - period + 1] += 1 + 1 / i
        weight /= len(rows)
        found.append(SD**2 * (1 + 1 / rows).sum() / len(rows) ** 2 + COLUMN_SD**2 * float(weight @ weight))
    return float(np.sqrt(np.mean(found)))


INSTRUMENT = Instrument(
    measure=measure,
    main="induction",
    needs=("pattern",),
    nulls={world: functools.partial(_null, world=world) for world in NULLS},
    planted=_planted,
    truth=lambda strength: strength,
    strengths=(0.5, 1.0, 2.0),
    limit=float(detectable(_spread(), _SHAPE[0])),
    rivals=(
        Rival(
            "a head at a fixed distance, with periods drawn",
            "told",
            lambda rng: _fixed_distance(rng, _periods(rng)),
            2.0,
        ),
        Rival(
            "a fixed period: a head at a fixed distance scores as a true one, so 0 is missed",
            "value",
            lambda rng: _fixed_distance(rng, np.full(_SHAPE[0], round(sum(_PERIODS) / 2))),
            0.0,
        ),
    ),
    figure=figure,
    sheet="instruments_circuits 1, instruments_maps 3",
)
