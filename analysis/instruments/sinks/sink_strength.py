r"""How strong a sink is the first token of each head: its score bonus, and the weights that people call "the sink".

Formula: ``strength`` is the :mod:`~attnlab.analysis.instruments.maps.target_contrast` of column 0, in nats. ``alpha`` is the mean
weight of column 0 over all rows, ``last`` that of the last row, ``without_self`` leaves row
0 out, which can only look at itself.

Null: for any exchangeable keys the means are H_T/T, 1/T, (H_T - 1)/(T - 1) with the harmonic number H_T. The p value is exact:
the rank of column 0 among columns 0..T-R by mean weight in the last R = T // 4 rows is uniform, also with column effects, and so
ranks of prompts add up by convolution.

Limit: with sigma_c^2 = column_sd^2 + sd^2/R, the spread of a column's mean score over the last rows,

.. math:: b_{\min} = \sqrt2\, \sigma_c\, \Phi^{-1}\bigl(\tfrac12 + (z_\alpha + z_\beta)/\sqrt{12 N}\bigr).

Prompts for b = .5, 1, 2 sigma_c: 27, 8, 3 for one head, 79, 23, 9 for 144 heads.

Twin: permuting the rows of one map (22 % false alarms at 5 %), the threshold 5/T (at k = 0 the null mean exceeds it from T
= 83 on), and a left-padded map read at column 0.

Sheet: instruments_sinks 1 and 6, ERRATA 9; the sink metric of Gu et al.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from scipy import special

from attnlab.analysis.instruments.figure_of_heads import figure_of_heads
from attnlab.analysis.instruments.instrument import Instrument, Reading, Rival, reading_of
from attnlab.analysis.instruments.maps import target_contrast
from attnlab.analysis.instruments.over_prompts import needs_prompts, rank_p
from attnlab.analysis.instruments.readings import Group, Readings
from attnlab.analysis.instruments.targets import first_token
from attnlab.analysis.instruments.worlds import COLUMN_SD, SD, null_worlds, on_targets, read_scores, scores

AXES = ("layer", "head")
ROWS = 4  # the last T // ROWS rows decide the rank


def measure(readings: Readings) -> dict[str, Reading]:
    """``strength`` (nats) with the exact p of the ranks; ``alpha``, ``last``, ``without_self`` (weights): (layer, head) each.

    Patterns of causal maps, or without any map ``received_late``, ``first_weight`` and ``first_lead``; a prompt needs at least 4
    tokens.
    """
    needs_prompts(readings.n_prompts)
    reduced = not readings.has("pattern") and readings.has("received_late", "first_weight", "first_lead")
    ranks = (
        readings.each_layer("received_late", _ranks_of_columns) if reduced else readings.each_layer("pattern", _ranks)
    )
    counts = ranks["count"][:, 0, 0].astype(int)
    p = rank_p(ranks["rank"], counts)
    if reduced:
        contrast = readings.each_layer("first_lead", _leads)["contrast"]
    else:
        contrast = target_contrast.per_prompt(readings, first_token)["contrast"]
    assumed = "columns exchangeable within a prompt but for the first (test); prompts independent"
    made = {"strength": reading_of(contrast, "nats", AXES, assumed, null=0.0, p=p)}
    made["strength"] = replace(made["strength"], limit=_limit(made["strength"]))
    weights = readings.each_layer("first_weight", _first) if reduced else readings.each_layer("pattern", _weights)
    for name in ("alpha", "last", "without_self"):
        null = weights[f"null {name}"].mean(0)
        made[name] = reading_of(weights[name], "", AXES, assumed, null=null)
    return made


def limit_of_ranks(sigma_c: float | np.ndarray, n_prompts: int, alpha: float = 0.05) -> np.ndarray:
    """The bonus found with probability 0.8 by the rank test, for columns of spread ``sigma_c``; infinite for too few prompts."""
    z = float(-special.ndtri(alpha) + special.ndtri(0.8))
    share = 0.5 + z / np.sqrt(12 * n_prompts)
    if share >= 1:
        return np.full(np.shape(sigma_c), np.inf)
    return np.asarray(np.sqrt(2) * np.asarray(sigma_c) * special.ndtri(share))


def figure(readings: Mapping[str, Reading]) -> object:
    """Every head's strength with interval, zero line and limit."""
    return figure_of_heads(readings["strength"], "sink strength b", "Score bonus of the first token, by head")


def _ranks(a: np.ndarray, seen: np.ndarray, group: Group) -> dict[str, np.ndarray]:
    n = group.length
    if n < ROWS:
        raise ValueError(f"prompt {group.prompts[0]} has {n} real tokens; the rank of the first needs at least {ROWS}")
    rows = n // ROWS
    return _ranks_of_columns(a[:, :, -rows:].mean(-2), seen, group)


def _ranks_of_columns(columns: np.ndarray, seen: np.ndarray, group: Group) -> dict[str, np.ndarray]:
    """The place of the first column among those that all of the last rows see; columns (b, H, n): mean weights over them."""
    n = group.length
    columns = columns[..., : n - n // ROWS + 1]
    first = columns[..., :1]
    rank = (columns < first).sum(-1) + 0.5 * ((columns == first).sum(-1) - 1)
    return {"rank": rank, "count": np.full(rank.shape, float(columns.shape[-1]))}


def _leads(lead: np.ndarray, seen: np.ndarray, group: Group) -> dict[str, np.ndarray]:
    """The contrast of column 0 from what its score leads by, on the rows that see it and another key."""
    used = np.broadcast_to(seen[..., 0] & (seen.sum(-1) > 1), lead.shape)
    rows = used.sum(-1)
    if (rows == 0).any():
        prompt = group.prompts[int(np.argwhere(rows == 0)[0][0])]
        raise ValueError(f"in prompt {prompt} no query sees the first token and another key; give longer prompts")
    return {"contrast": np.where(used, lead, 0.0).sum(-1) / rows}


def _weights(a: np.ndarray, seen: np.ndarray, group: Group) -> dict[str, np.ndarray]:
    return _first(np.where(seen[..., 0], a[..., 0], 0.0), seen, group)


def _first(column: np.ndarray, seen: np.ndarray, group: Group) -> dict[str, np.ndarray]:
    visible = np.broadcast_to(1 / np.maximum(seen.sum(-1), 1), column.shape)  # the null weight of any key, per row
    null = np.where(seen[..., 0], visible, 0.0)
    found: dict[str, np.ndarray] = {}
    for sign, x in (("", column), ("null ", null)):
        found |= {f"{sign}alpha": x.mean(-1), f"{sign}last": x[..., -1], f"{sign}without_self": x[..., 1:].mean(-1)}
    return found


def _limit(strength: Reading) -> np.ndarray:
    """The spread over prompts stands for sigma_c: it is no smaller, since the last rows share what all rows share."""
    return limit_of_ranks(strength.values.std(0, ddof=1), strength.n)


_SHAPE = (16, 1, 80, 24)
_SIGMA_C = float(np.sqrt(COLUMN_SD**2 + SD**2 / (_SHAPE[-1] // ROWS)))


def _planted(rng: np.random.Generator, strength: float) -> Readings:
    first = np.zeros((_SHAPE[-1], _SHAPE[-1]), dtype=bool)
    first[:, 0] = True
    return read_scores(on_targets(scores(rng, "column effects", _SHAPE), first, strength))


def by_permuted_rows(rng: np.random.Generator, n_permutations: int = 100) -> np.ndarray:
    """The rival's p values in a world without sinks: rows of *one* map permuted within their keys, columns with effects."""
    made = read_scores(scores(rng, "column effects", (1, 1, 80, _SHAPE[-1]), column_sd=SD)).sites["L0.pattern"][0]
    n = made.shape[-1]
    observed, hits = made[..., 0].mean(-1), np.zeros(len(made))
    for _ in range(n_permutations):
        column = np.empty((len(made), n))
        for i in range(n):
            column[:, i] = made[np.arange(len(made)), i, rng.integers(i + 1, size=len(made))]
        hits += column.mean(-1) >= observed
    return (1 + hits) / (1 + n_permutations)


def by_threshold(rng: np.random.Generator) -> np.ndarray:
    """The rival "alpha_0 > 5/T" at T = 256 in a world without sinks, as p values 0 and 1."""
    alpha = read_scores(scores(rng, "iid scores", (1, 1, 20, 256))).sites["L0.pattern"][..., 0].mean(-1)
    return np.where(alpha > 5 / 256, 0.0, 1.0).ravel()


INSTRUMENT = Instrument(
    measure=measure,
    main="strength",
    needs=("pattern",),
    nulls=null_worlds(_SHAPE),
    planted=_planted,
    truth=lambda strength: strength,
    strengths=(0.5, 1.0, 2.0),
    limit=float(limit_of_ranks(_SIGMA_C, _SHAPE[0])),
    rivals=(
        Rival("rows of one map permuted", "level", by_permuted_rows),
        Rival("the threshold 5/T", "level", by_threshold),
        Rival("inverting the law of alpha", "value", lambda rng: target_contrast.by_inversion(_planted(rng, 2.0)), 2.0),
    ),
    figure=figure,
    sheet="instruments_sinks 1, 6",
)
