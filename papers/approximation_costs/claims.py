"""Claims: squared errors of maps over the squares of their laws, rung by rung of a ladder of growing cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from attnlab.analysis import Twin, Verdict, agrees, all_of, budget, finite_size, ordered, replicas
from attnlab.analysis.verdicts.budget import Piece
from attnlab.papers.approximation_costs.margins import (
    BEST_STD,
    BLOCKS_STD,
    DROPPED,
    FEATURES_STD,
    FEW_STD,
    MEAN_STD,
    PLANTED_BEST_STD,
    PLANTED_RANDOM_STD,
    PLANTED_SERIES_STD,
    RANDOM_STD,
    SERIES_STD,
    SHARED_STD,
)
from attnlab.papers.approximation_costs.paper import (
    BEST,
    BLOCKS,
    FEATURES,
    FEW_DIRECTIONS,
    PLANTED_BEST,
    PLANTED_RANDOM,
    PLANTED_SERIES,
    RANDOM,
    SERIES,
    SHARED,
    paper,
)
from attnlab.papers.approximation_costs.predictions import law_of, predicted_errors, rungs_of
from attnlab.papers.lab.conditions import DECLARED, at_least, one_of
from attnlab.papers.lab.run.workbench import Lab
from attnlab.simulators.score_ensembles.ensembles import EnsembleSetting
from attnlab.simulators.score_ensembles.map_errors import map_errors
from attnlab.theory.hashing.sampling import caught_square_limit
from attnlab.theory.score_ensembles import features, sampling, selection, series
from attnlab.theory.score_ensembles.law import ScoreLaw, mean_of_values_error_limit

LEAST = at_least(256, why="the terms of order 1/n that are dropped are known from there on")
GAUSSIAN = {
    "ensemble": one_of("gaussian", why="scores are normal given the query"),
    "n_tokens": LEAST,
    "dim": DECLARED,
    "rung": DECLARED,
}
PLANTED = {
    "ensemble": one_of("planted"),
    "n_tokens": LEAST,
    "dim": DECLARED,
    "spread": DECLARED,
    "height": at_least(4),
    "rung": DECLARED,
}
JUDGED = (
    "squared error against the square of the law, mean over replicas; spread and leading term in 1/n from other seeds"
)
READS = ("ensemble", "n_tokens", "dim", "spread", "operator", "ladder", "rung")


def on_the_law(
    measured: np.ndarray, law: float, rival: float, std: float, setting: EnsembleSetting, dropped: float, *more: Piece
) -> Verdict:
    """Squared errors against the law's square; in its units ``std``, that of 512 tokens, falls like the root of their number."""
    size, wide = law**2, std * math.sqrt(512 / setting.n_tokens)
    within = budget(
        replicas(wide * size, len(measured)),
        finite_size(setting.n_tokens, dropped * size, of="n"),
        *(Piece(piece.name, piece.size * size) for piece in more),
    )
    return agrees(measured, size, within=within, twin=Twin.of("the rival", predicted=rival**2))


def rung_by_rung(
    setting: EnsembleSetting,
    lab: Lab,
    rival: Callable[[Any], float],
    stds: Mapping[int, float],
    dropped: float,
    named: Callable[[Any], str],
) -> Verdict:
    """:func:`on_the_law` at each rung in ``stds``: its operator's rival error, its standard deviation, its name."""
    runs, laws, rungs = lab.simulate(map_errors, setting), predicted_errors(setting), rungs_of(setting)
    return all_of(
        *(
            on_the_law(runs["error2"][:, k], laws[k], rival(rungs[k]), std, setting, dropped).named(named(rungs[k]))
            for k, std in stds.items()
        )
    )


def _kept(setting: EnsembleSetting, operator: Any) -> int:
    """How many keys random keys keep of each row."""
    return -(-setting.n_tokens // operator.reduction)


@paper.claim(
    "keys_at_random",
    source="the operator of Hussain et al. 2023; derived here",
    statements=[1],
    kind="extrapolation",
    setting=RANDOM,
    parts=4,
    formula="eps^2 = n/m - 1 + (3 n/m - 2) eta - 2 (n/m - 1) kappa, eta = f (E_1 - 1)/n, kappa = f (E_2 - 1)/n",
    judged=JUDGED,
    reads=READS,
    covers=GAUSSIAN,
)
def keys_at_random(setting: EnsembleSetting, lab: Lab) -> Verdict:
    """Random keys per query err by sqrt(n/m - 1), whatever the scores, to leading order. Twin: keys drawn with replacement."""
    return rung_by_rung(
        setting,
        lab,
        lambda operator: sampling.shared_samples_error(law_of(setting), _kept(setting, operator)),
        dict(enumerate(RANDOM_STD)),
        DROPPED["random"],
        lambda operator: f"m = {_kept(setting, operator)}",
    )


@paper.claim(
    "shared_samples",
    source="HyperAttention, algorithm 3; derived here",
    statements=[1],
    kind="extrapolation",
    setting=SHARED,
    undecided_at_smoke="all rows share their samples: 12 replicas leave a seventh of the error open",
    formula="eps^2 = (1 - c) (a (1 + 3 eta) - 2 (a^2 + a) (E_2 - 1)/n) + eta, a = n/m, c the squares in the own block",
    judged=JUDGED + "; what blocks catch lies between their share of the keys and the law of hyperplanes",
    reads=READS,
    covers=GAUSSIAN,
)
def shared_samples(setting: EnsembleSetting, lab: Lab) -> Verdict:
    """Samples with replacement err by sqrt(n/m), less what hashed blocks catch. Twin: samples without replacement."""
    runs, law, operator = lab.simulate(map_errors, setting), law_of(setting), rungs_of(setting)[-1]
    error, n, m, b = predicted_errors(setting)[-1], setting.n_tokens, operator.samples, operator.block  # type: ignore[attr-defined]
    caught = Piece("blocks", caught_square_limit(law, b) - b / n)
    std = SHARED_STD / math.sqrt(setting.n_draws)
    rival = sampling.subset_error(law, m)
    return on_the_law(runs["error2"][:, -1], error, rival, std, setting, DROPPED["shared"], caught)


@paper.claim(
    "best_keys",
    source="Loki with all directions: exact ranks; derived here",
    statements=[2],
    kind="extrapolation",
    setting=BEST,
    parts=4,
    formula="eps^2 = h (1/g - 1)^2 + 1 - h, g and h the mass and the squares on the m largest of n normal scores",
    judged=JUDGED,
    reads=READS,
    covers=GAUSSIAN,
)
def best_keys(setting: EnsembleSetting, lab: Lab) -> Verdict:
    """Softmax over the best keys errs by the squares left out and by the growth of those kept. Twin: the growth forgotten."""
    return rung_by_rung(
        setting,
        lab,
        lambda operator: _left_out(law_of(setting), operator.keep),
        dict(enumerate(BEST_STD)),
        DROPPED["best"],
        lambda operator: f"m = {operator.keep}",
    )


@paper.claim(
    "best_blocks",
    source="MoBA, equations 3 to 6; derived here",
    statements=[2],
    kind="extrapolation",
    setting=BLOCKS,
    parts=2,
    formula="the same with g and h of a proxy of correlation 1/sqrt(B), and the own block always kept",
    judged=JUDGED + "; 8 and 16 of 32 blocks",
    reads=READS,
    covers=GAUSSIAN,
)
def best_blocks(setting: EnsembleSetting, lab: Lab) -> Verdict:
    """A mean key ranks its block's keys with correlation 1/sqrt(B), and that is worth little. Twin: blocks at random."""

    def at_random(operator: Any) -> float:
        blocks = setting.n_tokens // operator.block
        return selection.selection_error(
            law_of(setting), operator.keep - 1, blocks - 1, correlation=0.0, always=1 / blocks
        )

    return rung_by_rung(
        setting,
        lab,
        at_random,
        BLOCKS_STD,
        DROPPED["blocks"],
        lambda operator: f"{operator.keep} of {setting.n_tokens // operator.block} blocks",
    )


@paper.claim(
    "series_of_order_two",
    source="FAST, equations 9 to 12, on tokens as they are; derived here",
    statements=[3],
    kind="extrapolation",
    setting=SERIES,
    undecided_at_smoke="the twin is 9 % away, and rare keys of large scores carry the error: it takes 128 replicas",
    formula="n E sum (W - P)^2 = E (f_2(s z)/E f_2(s z) - e^(s z - s^2/2))^2",
    judged=JUDGED,
    reads=READS,
    covers=GAUSSIAN | {"spread": DECLARED},
)
def series_of_order_two(setting: EnsembleSetting, lab: Lab) -> Verdict:
    """The quadratic series errs by its missing terms less what the normaliser takes. Twin: divided by the true normaliser."""
    runs, law = lab.simulate(map_errors, setting), law_of(setting)
    rival = series.series_error(law, 2, normalised=False)
    return on_the_law(runs["error2"][:, 0], predicted_errors(setting)[0], rival, SERIES_STD, setting, DROPPED["series"])


@paper.claim(
    "positive_features",
    source="Performers, lemma 2, for a whole map; derived here",
    statements=[4],
    kind="extrapolation",
    setting=FEATURES,
    parts=2,
    formula="m n E sum (W - P)^2 = three Gaussian integrals: a key with itself, with its row, the row with itself",
    judged=JUDGED + "; the next order in 1/m is at most three times the variance of a row sum",
    reads=READS,
    covers=GAUSSIAN | {"spread": one_of(0.1, why="at greater ones rare draws of rows carry the mean")},
)
def positive_features(setting: EnsembleSetting, lab: Lab) -> Verdict:
    """Keys of one row share most of their error, which the normaliser removes. Twin: keys err independently."""
    runs, laws, law, parts = lab.simulate(map_errors, setting), predicted_errors(setting), law_of(setting), []
    for rung, std in FEATURES_STD.items():
        m = rungs_of(setting)[rung].n_features  # type: ignore[attr-defined]
        order = Piece("1/m^2", 3 * features.normaliser_variance_approx(law, m))
        rival = features.features_error_approx(law, m, together=False)
        found = on_the_law(
            runs["error2"][:, rung], laws[rung], rival, std * math.sqrt(8 / setting.n_draws), setting, 0.0, order
        )
        parts.append(found.named(f"m = {m}"))
    return all_of(*parts)


@paper.claim(
    "needle_at_random",
    source="derived here",
    statements=[1, 5],
    kind="extrapolation",
    setting=PLANTED_RANDOM,
    parts=4,
    formula="with chance m/n the planted key is kept, the sum is p + (1 - p) m/n; else it is lost, the sum is (1 - p) m/n",
    judged=JUDGED,
    reads=(*READS, "height"),
    covers=PLANTED,
)
def needle_at_random(setting: EnsembleSetting, lab: Lab) -> Verdict:
    """Beside a planted key random keys err by two cases, kept or lost. Twin: the Gaussian law of the other scores."""
    law = replace(law_of(setting), height=None)
    return rung_by_rung(
        setting,
        lab,
        lambda operator: sampling.subset_error(law, _kept(setting, operator)),
        dict(enumerate(PLANTED_RANDOM_STD)),
        DROPPED["planted_random"],
        lambda operator: f"m = {_kept(setting, operator)}",
    )


@paper.claim(
    "needle_by_score",
    source="derived here",
    statements=[2, 5],
    kind="extrapolation",
    setting=PLANTED_BEST,
    parts=4,
    formula="eps^2 as for the best keys, with p beside (1 - p) g",
    judged=JUDGED,
    reads=(*READS, "height"),
    covers=PLANTED,
)
def needle_by_score(setting: EnsembleSetting, lab: Lab) -> Verdict:
    """Ranked by score a planted key is kept, and the rest decides. Twin: the growth of the kept weights forgotten."""
    return rung_by_rung(
        setting,
        lab,
        lambda operator: _left_out(law_of(setting), operator.keep),
        dict(enumerate(PLANTED_BEST_STD)),
        DROPPED["planted_best"],
        lambda operator: f"m = {operator.keep}",
    )


@paper.claim(
    "needle_by_series",
    source="derived here",
    statements=[3, 5],
    kind="extrapolation",
    setting=PLANTED_SERIES,
    parts=2,
    formula="the planted weight by the series, f_p(h)/(f_p(h) + (n - 1) E f_p), beside its true one",
    judged=JUDGED,
    reads=(*READS, "height"),
    covers=PLANTED,
)
def needle_by_series(setting: EnsembleSetting, lab: Lab) -> Verdict:
    """A low-order series flattens a planted key. Twin: it is lost altogether."""
    lost = law_of(setting).relative(lambda variance, p, Q: p**2 + Q * (1 / (1 - p) - 1) ** 2)
    return rung_by_rung(
        setting,
        lab,
        lambda operator: lost,
        dict(enumerate(PLANTED_SERIES_STD)),
        DROPPED["planted_series"],
        lambda operator: f"order {operator.order}",
    )


@paper.claim(
    "few_directions",
    source="Loki, algorithm 1; derived here",
    statements=[6],
    kind="extrapolation",
    setting=FEW_DIRECTIONS,
    parts=4,
    formula="the law of the best keys at r = rank of the keys, at (r/(2 d) + m/n) of the cost",
    judged=JUDGED,
    reads=(*READS, "rank"),
    covers=GAUSSIAN | {"ensemble": one_of("low_rank"), "rank": DECLARED, "spread": DECLARED},
)
def few_directions(setting: EnsembleSetting, lab: Lab) -> Verdict:
    """As many directions as the rank of the keys find the best keys. Twin: a proxy that explains r/d of the variance."""

    def blurred(operator: Any) -> float:
        proxy = math.sqrt(operator.directions / setting.dim)
        return selection.selection_error(law_of(setting), operator.keep, setting.n_tokens, correlation=proxy)

    return rung_by_rung(
        setting, lab, blurred, dict(enumerate(FEW_STD)), DROPPED["few"], lambda operator: f"m = {operator.keep}"
    )


@paper.claim(
    "mean_of_all_values",
    source="derived here",
    statements=[7],
    kind="extrapolation",
    setting=RANDOM,
    formula="eps^2 = 1 - (1 - 2 s^2/nu)^(nu/2)",
    judged=JUDGED,
    reads=("ensemble", "n_tokens", "dim", "spread"),
    covers=GAUSSIAN | {"spread": DECLARED},
)
def mean_of_all_values(setting: EnsembleSetting, lab: Lab) -> Verdict:
    """The map 1/n, which reads no score, errs by the excess of participation. Twin: 1 - e^(-s^2/2)."""
    runs, law = lab.simulate(map_errors, setting), law_of(setting)
    rival = math.sqrt(-math.expm1(-(setting.spread**2) / 2))
    return on_the_law(runs["mean2"], mean_of_values_error_limit(law), rival, MEAN_STD, setting, DROPPED["mean"])


@paper.claim(
    "random_keys_lose_to_the_mean",
    source="derived here",
    statements=[7],
    kind="extrapolation",
    setting=RANDOM,
    formula="n/m - 1 > 1 - 1/E_1 for m < n/(2 - 1/E_1): more than half of the keys at any spread",
    judged="paired difference of squared errors, the map 1/n less half of the keys at random",
    reads=("ensemble", "n_tokens", "dim", "spread"),
    covers=GAUSSIAN,
)
def random_keys_lose_to_the_mean(setting: EnsembleSetting, lab: Lab) -> Verdict:
    """Half of the keys at random err more than the mean of all values. Twin: more by a fifth than the laws say."""
    runs, law = lab.simulate(map_errors, setting), law_of(setting)
    gap = predicted_errors(setting)[-1] ** 2 - mean_of_values_error_limit(law) ** 2
    return ordered(runs["mean2"], runs["error2"][:, -1], twin=Twin.of("by a fifth more", by=1.2 * gap))


def _left_out(law: ScoreLaw, keep: int) -> float:
    """The error if kept weights did not grow: the squares left out alone."""
    planted = law.height is not None

    def of_row(variance: np.ndarray, p: np.ndarray, Q: np.ndarray) -> np.ndarray:
        h = selection.kept_mass_exact(2 * np.sqrt(variance), max(keep - planted, 1), law.n_keys - planted)
        return (1 - h) * Q

    return law.relative(of_row)
