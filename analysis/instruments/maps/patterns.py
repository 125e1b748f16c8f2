r"""Which known pattern a head shows: own, previous, next, first token or a template of yours, and which heads are alike.

Formula: per template S the :mod:`~attnlab.analysis.instruments.maps.target_contrast` (nats) and mass, and the distance ||A
- S||_F / sqrt(||A||_F^2 + ||S||_F^2) in [0, 1]: 0 iff equal, 1 iff of disjoint support. Heads are compared by the
Jensen-Shannon divergence of their rows (:func:`js_matrix`, nats, ln 2 iff disjoint).

Null: exchangeable keys: contrast 0, mass mean_i |S_i|/visible_i: for the previous token of a causal map (H_n - 1)/n = .0956
at n = 32, not 1/n. A label is given at a family-wise error over heads *and* templates (Holm).

Limit: a contrast of (z_a + z_b) sd/sqrt(N) is found with 80 % by itself; with Holm a is alpha/(heads x templates). The
first column's contrast has the larger sd, since all rows share it.

Twin: the rule "mass above 1/n + .1", which fires at first-column heads of the null with column effects (2 to 5 %; at the
null mean of causal maps alone in every short prompt), and the mean absolute distance, which falls with n for every head.

Sheet: instruments_maps 3, ERRATA 11; What Does BERT Look At?, Acceptability Judgements via the Topology of Attention Maps.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from attnlab.analysis.instruments.figure_of_heads import figure_of_heads
from attnlab.analysis.instruments.instrument import Instrument, Reading, Rival, finding, reading_of
from attnlab.analysis.instruments.maps import target_contrast
from attnlab.analysis.instruments.over_prompts import detectable
from attnlab.analysis.instruments.readings import Group, Readings
from attnlab.analysis.instruments.targets import Targets, first_token, next_token, own_token, previous_token
from attnlab.analysis.instruments.worlds import null_worlds, on_targets, read_scores, scores

AXES = ("template", "layer", "head")
CAUSAL: dict[str, Targets] = {"own": own_token, "previous": previous_token, "first": first_token}


def templates_of(readings: Readings) -> dict[str, Targets]:
    """The templates that these maps can show: the next token only where no causal mask hides it."""
    return CAUSAL if readings.visible is None else {**CAUSAL, "next": next_token}


def measure(readings: Readings, templates: Mapping[str, Targets] | None = None) -> dict[str, Reading]:
    """``contrast`` (nats, tested), ``mass``, ``distance``: (template, layer, head) each, in the order of ``templates``."""
    templates = templates_of(readings) if templates is None else templates
    if not templates:
        raise ValueError("templates is empty; give name -> targets, or None for own, previous, first")
    found = {name: target_contrast.per_prompt(readings, targets) for name, targets in templates.items()}

    def stacked(name: str) -> np.ndarray:
        return np.stack([each[name] for each in found.values()], 1)

    distance = np.stack([_distances(readings, targets) for targets in templates.values()], 1)
    assumed = "keys exchangeable but for the template; prompts independent"
    return {
        "contrast": reading_of(stacked("contrast"), "nats", AXES, assumed, null=0.0, tested=True),
        "mass": reading_of(stacked("mass"), "", AXES, assumed, null=stacked("null mass").mean(0)),
        "distance": reading_of(distance, "", AXES, assumed),
    }


def labels(contrast: Reading, templates: Mapping[str, Targets], margin: float = 1.0, alpha: float = 0.05) -> np.ndarray:
    """The template of each head, (layer, head) of text: the strongest that is surely above ``margin``, or ``""``."""
    found = finding(contrast, margin, alpha).found
    strongest = np.where(found, contrast.value, -np.inf).argmax(0)
    return np.where(found.any(0), np.array(list(templates))[strongest], "")


def js_matrix(readings: Readings) -> np.ndarray:
    r"""Mean over rows and prompts of the Jensen-Shannon divergence of two heads, (layers x heads, layers x heads), nats.

    .. math:: \mathrm{JS}(a, b) = H\bigl(\tfrac{a+b}2\bigr) - \tfrac12 H(a) - \tfrac12 H(b).
    """
    from scipy.special import entr

    total = None
    for group in readings.groups:
        rows = np.concatenate([readings.array(f"L{k}.pattern", group) for k in readings.layers("pattern")], 1)
        alone = entr(rows).sum(-1)
        here = np.zeros((rows.shape[1], rows.shape[1]))
        for head in range(rows.shape[1]):
            both = entr((rows + rows[:, head : head + 1]) / 2).sum(-1) - (alone + alone[:, head : head + 1]) / 2
            here[head] = both.mean(-1).sum(0)
        total = here if total is None else total + here
    return total / readings.n_prompts


def figure(readings: Mapping[str, Reading]) -> object:
    """Every head's contrast with the second template, by default the previous token."""
    whole = readings["contrast"]
    cut = {name: getattr(whole, name)[1] for name in ("value", "low", "high", "null_mean", "null_sd", "p", "limit")}
    one = Reading(**{**whole.__dict__, **cut, "axes": AXES[1:], "values": whole.values[:, 1]})
    return figure_of_heads(one, "previous token", "Score bonus of the previous token, by head")


def _distances(readings: Readings, targets: Targets) -> np.ndarray:
    def of_layer(a: np.ndarray, seen: np.ndarray, group: Group) -> dict[str, np.ndarray]:
        s = targets(readings, group)[:, None] & seen
        share = s / np.maximum(s.sum(-1, keepdims=True), 1)  # a row with several targets spreads over them
        gap = ((a - share) ** 2).sum((-1, -2))
        return {"distance": np.sqrt(gap / ((a**2).sum((-1, -2)) + (share**2).sum((-1, -2))))}

    return readings.each_layer("pattern", of_layer)["distance"]


_SHAPE = (8, 1, 80, 24)


def _planted(rng: np.random.Generator, strength: float) -> Readings:
    before = np.eye(_SHAPE[-1], k=-1, dtype=bool)
    return read_scores(on_targets(scores(rng, "column effects", _SHAPE), before, strength))


def _truth(strength: float) -> np.ndarray:
    """A bonus on the previous token reads b there; elsewhere the previous token is one of the others, -b/others on average."""
    i = np.arange(_SHAPE[-1])
    # row i >= 2 sees 0..i; the others of "own" are i keys (the previous one among them), so are those of "first" but for row 1
    own, first = -np.mean(1 / i[1:]), np.mean(np.where(i[1:] == 1, 1.0, -1 / i[1:]))
    return strength * np.array([own, 1.0, first])[:, None, None]


def _spread() -> float:
    r"""The sd over prompts of the previous token's contrast where score and column sd are 1.

    Row i's contrast is s_{i,i-1} - mean of the i others: variance sd^2 (1 + 1/i) per row; the column effects enter with weights
    u_j = [1{j < T-1} - sum_{i > j+1 or i = j} 1/i]/R, which sum to 0.
    """
    n = _SHAPE[-1]
    i = np.arange(1, n)
    weight = np.zeros(n)
    for row in i:
        weight[: row + 1] -= 1 / row
        weight[row - 1] += 1 + 1 / row
    weight /= len(i)
    return float(np.sqrt((1 + 1 / i).sum() / len(i) ** 2 + weight @ weight))


def by_threshold(rng: np.random.Generator) -> np.ndarray:
    """The rival "mass of the first column above 1/n + .1" in a world without patterns, as p values 0 and 1."""
    readings = read_scores(scores(rng, "column effects", _SHAPE))
    mass = readings.sites["L0.pattern"][..., 0].mean((0, -1))
    return np.where(mass > 1 / _SHAPE[-1] + 0.1, 0.0, 1.0)


def _mean_absolute(rng: np.random.Generator) -> np.ndarray:
    """The rival distance, mean |A - S|, of w I + (1 - w) U at w = .5, n = 32; the true one is .4361."""
    n = 32
    made = np.full((1, n, n), 0.5 / n) + 0.5 * np.eye(n)
    return np.abs(made - np.eye(n)).mean((-1, -2))


INSTRUMENT = Instrument(
    measure=measure,
    main="contrast",
    needs=("pattern",),
    nulls=null_worlds(_SHAPE),
    planted=_planted,
    truth=_truth,
    strengths=(0.25, 0.5, 1.0),
    limit=float(detectable(_spread(), _SHAPE[0])),
    rivals=(
        Rival("mass above 1/n + .1", "level", by_threshold),
        Rival("mean absolute distance", "value", _mean_absolute, 0.4361),
    ),
    figure=figure,
    sheet="instruments_maps 3",
    where=(1,),
)
