r"""The protocol of the family: what an instrument returns, and what it declares of itself for the one test.

``measure(subject) -> {name: Reading}`` reads a :class:`~attnlab.analysis.instruments.readings.Readings`, or for causal
instruments a record of a model and its inputs. Everything else an :class:`Instrument` says is tested by
``tests/analysis/instruments/test_every_instrument.py``: worlds without the effect, worlds with an effect of known strength,
the strength that is found with probability 0.8, rivals that must fail where it stands.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from attnlab.analysis.instruments.over_prompts import detectable, holm, interval, needed, p_above

Generator = np.random.Generator
Readers = Callable[..., Mapping[str, "Reading"]]


@dataclass(frozen=True)
class Reading:
    """A number per entry of ``axes`` (such as layer, head) with what it takes to believe it.

    ``low``, ``high``: the interval over prompts. ``null_mean``, ``null_sd``: the value without the effect, NaN where no null
    is claimed. ``p``: one-sided, per entry, not adjusted; None where nothing is tested. ``n``: prompts. ``limit``: the smallest
    value found with probability 0.8 at the level .05 of one entry. ``values`` (prompt, ...): what the interval is over.
    """

    value: np.ndarray
    unit: str
    axes: tuple[str, ...]
    low: np.ndarray
    high: np.ndarray
    null_mean: np.ndarray
    null_sd: np.ndarray
    p: np.ndarray | None
    n: int
    limit: np.ndarray
    assumptions: str
    values: np.ndarray = field(default_factory=lambda: np.empty(0))

    def __post_init__(self) -> None:
        if np.ndim(self.value) != len(self.axes):
            raise ValueError(f"value has shape {np.shape(self.value)}, axes names {self.axes}")


def reading_of(
    values: np.ndarray,
    unit: str,
    axes: tuple[str, ...],
    assumptions: str,
    *,
    null: float | np.ndarray = np.nan,
    p: np.ndarray | None = None,
    tested: bool = False,
) -> Reading:
    """The reading of ``values`` (prompt, ...): mean, t interval, and with ``tested`` Student's p against ``null``."""
    low, high = interval(values)
    centre, sd = values.mean(0), values.std(0, ddof=1)
    null_mean = np.broadcast_to(np.asarray(null, dtype=np.float64), centre.shape)
    if tested and p is None:
        p = p_above(values, null_mean)
    limit = null_mean + detectable(sd, len(values)) if p is not None else np.full(centre.shape, np.nan)
    error = sd / np.sqrt(len(values))
    return Reading(centre, unit, axes, low, high, null_mean, error, p, len(values), limit, assumptions, values)


@dataclass(frozen=True)
class Finding:
    """Which entries of a reading are found, at a family-wise error, and what would have been found among the others.

    ``adjusted``: Holm's p of "the value is above ``margin``". ``would``: the value found with probability 0.8 at the first step
    of Holm. ``prompts``: how many prompts a value of margin + 1 unit (``wanted``) needs, per entry.
    """

    found: np.ndarray
    adjusted: np.ndarray
    would: np.ndarray
    prompts: np.ndarray
    margin: float
    alpha: float
    wanted: float

    def words(self, unit: str) -> str:
        """One sentence on what was not found."""
        rest = ~self.found
        if not rest.any():
            return "all found"
        worst, most = float(self.would[rest].max()), int(self.prompts[rest].max())
        return (
            f"not found in {int(rest.sum())} of {rest.size}; {worst:.2g} {unit} would have been found with 80 % in each "
            f"({self.wanted:.3g} {unit} needs {most} prompts)"
        )


def finding(reading: Reading, margin: float = 1.0, alpha: float = 0.05) -> Finding:
    """:func:`findings` of one reading."""
    return findings({"": reading}, margin, alpha)[""]


def findings(readings: Mapping[str, Reading], margin: float = 1.0, alpha: float = 0.05) -> dict[str, Finding]:
    """Significant is not large: found are the entries whose value is above ``margin`` *and* whose own test falls.

    Both p values are taken together (the larger one) and adjusted by Holm over all entries of all readings: with probability
    1 - ``alpha`` nothing is found that is not there. Errors: ``ValueError`` for a reading without values per prompt.
    """
    tested = {name: _tested(reading, margin) for name, reading in readings.items()}
    joined = holm(np.concatenate([np.ravel(p) for p in tested.values()]))
    made, start = {}, 0
    for name, p in tested.items():
        adjusted = joined[start : start + p.size].reshape(p.shape)
        start += p.size
        made[name] = _finding(readings[name], adjusted, margin, alpha, alpha / joined.size)
    return made


def _tested(reading: Reading, margin: float) -> np.ndarray:
    if reading.values.ndim < 1 or len(reading.values) < 2:
        raise ValueError("the reading holds no values per prompt; nothing can be found from it")
    p = p_above(reading.values, reading.null_mean + margin)
    return p if reading.p is None else np.maximum(p, reading.p)


def _finding(reading: Reading, adjusted: np.ndarray, margin: float, alpha: float, first: float) -> Finding:
    """``first`` is the level of Holm's first step, at which a single effect must fall."""
    sd, wanted = reading.values.std(0, ddof=1), margin + 1.0
    counts = [needed(float(each), wanted - margin, first) for each in np.ravel(sd)]
    would = reading.null_mean + margin + detectable(sd, reading.n, first)
    return Finding(adjusted <= alpha, adjusted, would, np.reshape(counts, sd.shape), margin, alpha, wanted)


@dataclass(frozen=True)
class Rival:
    """Something that must fail where the instrument stands.

    ``of="level"``: ``draw(rng)`` are p values in a world without the effect; they must fall more often than the level says.
    ``of="value"``: ``draw(rng)`` are values in a world of which ``truth`` is the exact law; they must miss it by more than the
    instrument's tolerance. ``of="told"``: the instrument's values in a rival world, which must differ from ``truth`` likewise.
    """

    name: str
    of: str
    draw: Callable[[Generator], np.ndarray]
    truth: float = np.nan

    def __post_init__(self) -> None:
        if self.of not in ("level", "value", "told"):
            raise ValueError(f"of={self.of!r}; use 'level', 'value' or 'told'")


@dataclass(frozen=True)
class Instrument:
    """What an instrument declares of itself.

    ``main``: the name of the reading that is judged. ``needs``: kinds of sites, empty for a subject of its own. ``nulls``: name
    -> a world without the effect, each entry of the main reading one draw. ``planted(rng, strength)``: a world with an effect of
    this strength in every entry; ``truth(strength)``: the exact law of the main reading there; ``tolerance``: what the mean over
    many draws may differ by beyond its standard error, from the mathematics. ``limit``: the
    strength found with probability 0.8. ``exact``: the reading has no sampling noise: no level, no interval; then ``limit`` is
    the strength beyond which the alarm always rings. ``budget``: float32 against float64, relative. ``no_null``: why there are
    no null worlds. ``where``: index of the entries of the main reading in which the effect is planted.
    ``per_prompt``: every prompt is tested by itself, so one is enough. ``no_interval``: why the value has none, where it is
    no estimate.
    """

    measure: Readers
    main: str
    needs: tuple[str, ...]
    planted: Callable[[Generator, float], Any]
    truth: Callable[[float], float | np.ndarray]
    strengths: tuple[float, float, float]
    limit: float
    rivals: tuple[Rival, ...]
    figure: Callable[[Mapping[str, Reading]], Any]
    sheet: str
    nulls: Mapping[str, Callable[[Generator], Any]] = field(default_factory=dict)
    tolerance: float = 1e-9
    level: float = 0.05
    exact: bool = False
    budget: float = 1e-4
    invariances: tuple[str, ...] = ("prompts", "heads", "padding")
    no_null: str = ""
    where: tuple[Any, ...] = (...,)
    per_prompt: bool = False
    no_interval: str = ""

    def __post_init__(self) -> None:
        if not self.nulls and not self.no_null:
            raise ValueError("an instrument without null worlds says why: no_null='...'")
        if not self.rivals:
            raise ValueError("an instrument names at least one rival that it tells apart")
