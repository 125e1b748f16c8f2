r"""Does a head look at a given set of keys, and how strongly: the score bonus of the target, free of length and normaliser.

Formula: with the targets S_i of query i and the other visible keys O_i,

.. math:: \text{contrast} = \operatorname{mean}_i \Bigl[\operatorname{mean}_{j \in S_i} \ln A_{ij}
          - \operatorname{mean}_{j \in O_i} \ln A_{ij}\Bigr],

in which the normaliser of the row cancels: it is a difference of scores, in nats. A bonus b on the target's score reads b,
at every length and every spread of scores. Beside it ``mass``, the mean weight on the targets, and ``rank``, the share of
the other keys that the target beats.

Null: exchangeable keys: contrast 0, mass = mean of targets/visible, rank 1/2. The interval and the test are Student's over
prompts.

Limit: a bonus of (z_a + z_b) sd/sqrt(N) is found with 80 %; sd over prompts is sqrt(column_sd^2 v + sd^2 u), see :func:`spread`.

Twin: the mass alone (a bonus of 2 is worth .27 at 64 tokens, .04 at 1024 for the first key), and the strength got by
inverting the law of the mass, which noise in the scores biases (1.77 at sd 1, 1.39 with column effects, for a bonus of 2).

Sheet: instruments_sinks 1, instruments_circuits 1, instruments_maps 3; shared, of no paper of its own.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from attnlab.analysis.instruments.figure_of_heads import figure_of_heads
from attnlab.analysis.instruments.instrument import Instrument, Reading, Rival, reading_of
from attnlab.analysis.instruments.over_prompts import detectable
from attnlab.analysis.instruments.readings import Group, Readings
from attnlab.analysis.instruments.targets import Targets, first_token
from attnlab.analysis.instruments.worlds import COLUMN_SD, SD, null_worlds, on_targets, read_scores, scores

AXES = ("layer", "head")
ROUNDING = 8  # eps of the logarithms: what a difference of equal means of them may come to
CONTRAST = "keys exchangeable but for the targets; prompts independent"


def measure(readings: Readings, targets: Targets = first_token) -> dict[str, Reading]:
    """Readings ``contrast`` (nats), ``mass`` and ``rank`` of the targets, each (layer, head), with t intervals over prompts."""
    found = per_prompt(readings, targets)
    null_mass = found["null mass"].mean(0)
    made = {
        "contrast": reading_of(found["contrast"], "nats", AXES, CONTRAST, null=0.0, tested=True),
        "rank": reading_of(found["rank"], "", AXES, CONTRAST, null=0.5, tested=True),
    }
    if "mass" in found:
        above = found["mass"] - found["null mass"] + null_mass  # prompts of other lengths have other nulls
        tested = reading_of(above, "", AXES, CONTRAST, null=null_mass, tested=True)
        made["mass"] = reading_of(found["mass"], "", AXES, CONTRAST, null=null_mass, p=tested.p)
    return made


def per_prompt(readings: Readings, targets: Targets) -> dict[str, np.ndarray]:
    """``contrast``, ``rank``, and where patterns are recorded ``mass`` and ``null mass``: (prompt, layer, head) each.

    Errors: ``ValueError`` where no query of a prompt sees both a target and another key.
    """
    kind = readings.log_weights()

    def differences(x: np.ndarray, seen: np.ndarray, group: Group) -> dict[str, np.ndarray]:
        hit, other = _sets(readings, group, seen, targets)
        if kind == "pattern":
            x = readings.log_weights_of(x, seen, group)
        n_hit, n_other = hit.sum(-1), other.sum(-1)
        used = (n_hit > 0) & (n_other > 0)  # (b or 1, H or 1, query)
        rows = used.sum(-1)
        if (rows == 0).any():
            prompt = group.prompts[int(np.argwhere(rows == 0)[0][0])]
            raise ValueError(f"in prompt {prompt} no query sees a target and another key; give longer prompts")
        x = np.where(seen, x, 0.0)
        at_target = (x * hit).sum(-1) / np.maximum(n_hit, 1)
        elsewhere = (x * other).sum(-1) / np.maximum(n_other, 1)
        contrast = ((at_target - elsewhere) * used).sum(-1) / rows
        size = (np.abs(at_target) * used).sum(-1) / rows
        contrast = np.where(np.abs(contrast) <= ROUNDING * np.finfo(x.dtype).eps * size, 0.0, contrast)
        below = ((x < at_target[..., None]) & other).sum(-1) + 0.5 * ((x == at_target[..., None]) & other).sum(-1)
        rank = (below / np.maximum(n_other, 1) * used).sum(-1) / rows
        return {"contrast": contrast, "rank": rank}

    def masses(a: np.ndarray, seen: np.ndarray, group: Group) -> dict[str, np.ndarray]:
        hit, _ = _sets(readings, group, seen, targets)
        rows = hit.any(-1)
        n_rows = np.maximum(rows.sum(-1), 1)
        null = (hit.sum(-1) / np.maximum(seen.sum(-1), 1)).sum(-1) / n_rows
        mass = (a * hit).sum((-1, -2)) / n_rows
        return {"mass": mass, "null mass": np.broadcast_to(null, mass.shape)}

    found = readings.each_layer(kind, differences)
    return found | (readings.each_layer("pattern", masses) if readings.has("pattern") else {})


def spread(n_tokens: int, sd: float, column_sd: float) -> float:
    r"""Standard deviation over prompts of the contrast of the first key of a causal map, for normal scores.

    .. math:: \sigma^2 = \operatorname{Var}\Bigl(c_0 - \sum_{j \ge 1} u_j c_j\Bigr)
              + \frac{\mathrm{sd}^2}{R^2} \sum_i \Bigl(1 + \frac1i\Bigr), \qquad
              u_j = \frac1R \sum_{i \ge j} \frac1i, \quad R = T - 1 \text{ rows.}
    """
    i = np.arange(1, n_tokens)
    share = np.cumsum((1 / i)[::-1])[::-1] / len(i)
    own = sd**2 * float((1 + 1 / i).sum()) / len(i) ** 2
    return float(np.sqrt(own + column_sd**2 * (1 + float(share @ share))))


def figure(readings: Mapping[str, Reading]) -> object:
    """Every head's contrast with interval, zero line and limit."""
    return figure_of_heads(readings["contrast"], "contrast", "Score bonus of the targets, by head")


def _sets(readings: Readings, group: Group, seen: np.ndarray, targets: Targets) -> tuple[np.ndarray, np.ndarray]:
    """Targets and other keys that a query sees, (b or 1, H or 1, n, n)."""
    hit = targets(readings, group)[:, None] & seen
    return hit, seen & ~hit


_SHAPE = (8, 1, 80, 24)  # prompts, layers, heads, tokens of the worlds


def _planted(rng: np.random.Generator, strength: float) -> Readings:
    s = scores(rng, "column effects", _SHAPE)
    first = np.zeros((_SHAPE[-1], _SHAPE[-1]), dtype=bool)
    first[:, 0] = True
    return read_scores(on_targets(s, first, strength))


def by_inversion(readings: Readings) -> np.ndarray:
    r"""The rival: the bonus b with (1/T) sum_i e^b/(e^b + i - 1) = alpha_0, per head; right for flat scores only."""
    alpha = readings.each_layer("pattern", lambda a, seen, group: {"alpha": a[..., 0].mean(-1)})["alpha"].mean(0)
    i = np.arange(readings.n_tokens)
    low, high = np.full(alpha.shape, -40.0), np.full(alpha.shape, 40.0)
    for _ in range(60):
        middle = (low + high) / 2
        law = (1 / (1 + i * np.exp(-middle)[..., None])).mean(-1)
        low, high = np.where(law < alpha, middle, low), np.where(law < alpha, high, middle)
    return low


INSTRUMENT = Instrument(
    measure=measure,
    main="contrast",
    needs=("pattern",),
    nulls=null_worlds(_SHAPE),
    planted=_planted,
    truth=lambda strength: strength,
    strengths=(0.5, 1.0, 2.0),
    limit=float(detectable(spread(_SHAPE[-1], SD, COLUMN_SD), _SHAPE[0])),
    rivals=(
        Rival(
            "the strength by inverting the law of the mass", "value", lambda rng: by_inversion(_planted(rng, 2.0)), 2.0
        ),
        Rival("the mass alone", "value", lambda rng: measure(_planted(rng, 2.0))["mass"].value, 2.0),
    ),
    figure=figure,
    sheet="instruments_sinks 1",
)
