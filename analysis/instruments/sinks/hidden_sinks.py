r"""Which columns of a head's map are sinks, wherever they are: prompt by prompt, at an error over all columns.

Formula: with the mean m_k of ln A_ik over the last R = T // 4 rows, for the columns that all of them see (row normalisers
cancel),

.. math:: t_k = \frac{m_k - \bar m_{-k}}{s_{-k} \sqrt{1 + 1/(m-1)}}, \qquad p_k = P(t_{m-2} > t_k), \quad
          \text{score} = m_k - \bar m_{-k} \text{ (nats)},

mean and spread being those of the other m - 1 columns. A column is a sink if m p_k, Bonferroni over columns, is at most the
level; more
than one is found one after the other, the strongest left out first.

Null: normal column effects (of q.k with Gaussian keys, and iid scores): t law exactly, P(any false column) = level. Heavy
tails break it:
columns from Student's t with 3 degrees of freedom give 40 % false alarms at 5 %.

Limit: b = (t_{m-2, 1-a/m} + z_b) sigma_c sqrt(1 + 1/(m-1)), sigma_c^2 = column_sd^2 + sd^2/R: 4.1 sigma_c at m = 49 columns.

Twin: c_k > 5/T, which fires in 5 to 8 % of the *columns* without sinks where columns have effects; the rule that leaves out
the first index
found, which skips a genuine sink where the first token is none.

Sheet: instruments_sinks 5, ERRATA 9; Unveiling and Harnessing Hidden Attention Sinks (ACT).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from scipy import special

from attnlab.analysis.instruments.figure_of_heads import figure_of_heads
from attnlab.analysis.instruments.instrument import Instrument, Reading, Rival, reading_of
from attnlab.analysis.instruments.readings import Group, Readings
from attnlab.analysis.instruments.worlds import COLUMN_SD, SD, null_worlds, read_scores, scores

AXES = ("prompt", "layer", "head")
ROWS = 4  # the last T // ROWS rows decide
LEAST = 6  # columns, for a spread of the others that means something


def measure(readings: Readings) -> dict[str, Reading]:
    """``score`` of the strongest column, nats, and ``column``, its position: (prompt, layer, head); p is Bonferroni's.

    The interval is of one column's excess over the others, 95 %. Errors: ``ValueError`` for prompts of fewer than 8 tokens.
    """
    kind = readings.log_weights()
    if not readings.has(kind) and readings.has("late_scores"):
        kind = "late_scores"  # means of columns, without any map
    found = readings.each_layer(kind, _strongest(readings, kind))
    score, error, t, count = found["score"], found["error"], found["t"], found["count"]
    half = -special.stdtrit(count - 2, 0.025) * error
    p = np.minimum(1.0, count * special.stdtr(count - 2, -t))
    needed = -special.stdtrit(count - 2, 0.05 / count) + float(special.ndtri(0.8))
    assumed = "columns normal and independent but for the sinks; Bonferroni over the columns of a map"
    zero = np.zeros_like(score)
    low, high = score - half, score + half
    n = readings.n_prompts
    where = Reading(
        found["at"], "position", AXES, found["at"], found["at"], zero * np.nan, zero, None, n, zero * np.nan, assumed
    )
    return {
        "score": Reading(score, "nats", AXES, low, high, zero, error, p, n, needed * error, assumed),
        "column": where,
    }


def sink_columns(log_weights: np.ndarray, level: float = 0.05) -> list[int]:
    """The sink columns of one map: its mean ln A by column (column,), tested one after the other, the strongest first."""
    left, found = np.asarray(log_weights, dtype=np.float64), []
    places = np.arange(left.size)
    while left.size >= LEAST:
        t = _studentised(left)[2]
        at = int(t.argmax())
        if left.size * special.stdtr(left.size - 2, -t[at]) > level:
            break
        found.append(int(places[at]))
        left, places = np.delete(left, at), np.delete(places, at)
    return sorted(found)


def column_means(x: np.ndarray) -> np.ndarray:
    """Mean of scores or of ln A over the last T // 4 rows, (..., column), of the columns that they all see."""
    n = x.shape[-1]
    rows = n // ROWS
    return x[..., -rows:, : n - rows + 1].mean(-2)


def figure(readings: Mapping[str, Reading]) -> object:
    """Every head's strongest score, mean over prompts with its interval."""
    whole = readings["score"]
    one = reading_of(whole.value, "nats", AXES[1:], whole.assumptions, null=0.0)
    return figure_of_heads(one, "strongest column", "Excess of the strongest column, mean over prompts, by head")


def _studentised(means: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Excess over the others, its standard error, and t, for every column of (..., column)."""
    m = means.shape[-1]
    total, squares = means.sum(-1, keepdims=True), (means**2).sum(-1, keepdims=True)
    others = (total - means) / (m - 1)
    variance = np.maximum(squares - means**2 - (m - 1) * others**2, 0.0) / (m - 2)
    error = np.sqrt(variance * (1 + 1 / (m - 1)))
    excess = means - others
    return excess, error, np.divide(excess, error, out=np.zeros_like(excess), where=error > 0)


def _strongest(readings: Readings, kind: str) -> Callable[[np.ndarray, np.ndarray, Group], dict[str, np.ndarray]]:
    def read(x: np.ndarray, seen: np.ndarray, group: Group) -> dict[str, np.ndarray]:
        if group.length - group.length // ROWS + 1 < LEAST:
            raise ValueError(
                f"prompt {group.prompts[0]} has {group.length} real tokens; columns are compared from 8 on"
            )
        if kind == "pattern":
            x = readings.log_weights_of(x, seen, group)
        few = x[..., : group.length - group.length // ROWS + 1] if kind == "late_scores" else column_means(x)
        means = few.astype(np.float64)
        means = means - means.mean(-1, keepdims=True)  # keeps digits in the sums of squares
        score, error, t = _studentised(means)
        at = t.argmax(-1)[..., None]
        made = {
            name: np.take_along_axis(each, at, -1)[..., 0]
            for name, each in (("score", score), ("error", error), ("t", t))
        }
        return made | {"at": at[..., 0].astype(float), "count": np.full(at.shape[:-1], float(means.shape[-1]))}

    return read


_SHAPE = (4, 1, 40, 64)
_R = _SHAPE[-1] // ROWS
_M = _SHAPE[-1] - _R + 1
_SIGMA_C = float(np.sqrt(COLUMN_SD**2 + SD**2 / _R))


def _planted(rng: np.random.Generator, strength: float) -> Readings:
    """One column of bonus ``strength``, the twentieth."""
    s = scores(rng, "column effects", _SHAPE)
    s[..., 20] += strength
    return read_scores(s)


def by_threshold(rng: np.random.Generator) -> np.ndarray:
    """The rival "some column's mean over the rows that see it exceeds 5/T", 8 rows at least, as p values 0 and 1."""
    a = read_scores(scores(rng, "column effects", _SHAPE)).sites["L0.pattern"]
    n = a.shape[-1]
    means = a.sum(-2) / (n - np.arange(n))
    return np.where((means[..., 1 : n - 8] > 5 / n).any(-1), 0.0, 1.0).ravel()


def _without_the_first(rng: np.random.Generator) -> np.ndarray:
    """The rival that drops the first column found: how many of two planted sinks it keeps; the truth is 2."""
    s = scores(rng, "column effects", (1, 1, 40, _SHAPE[-1]))
    s[..., [20, 40]] += 8.0
    found = [sink_columns(each) for each in column_means(s)[0, 0]]
    return np.array([len(each[1:]) for each in found], dtype=float)


INSTRUMENT = Instrument(
    measure=measure,
    main="score",
    needs=("pattern",),
    nulls=null_worlds(_SHAPE),
    planted=_planted,
    truth=lambda strength: strength,
    strengths=(7.0, 8.0, 10.0),
    limit=float((-special.stdtrit(_M - 2, 0.05 / _M) + special.ndtri(0.8)) * _SIGMA_C * np.sqrt(1 + 1 / (_M - 1))),
    rivals=(
        Rival("some column above 5/T", "level", by_threshold),
        Rival("the first column found left out", "value", _without_the_first, 2.0),
    ),
    figure=figure,
    sheet="instruments_sinks 5",
    invariances=("heads", "padding"),
    per_prompt=True,
)
