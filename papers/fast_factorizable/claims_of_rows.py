"""Claims on rows of weights: signs, order, sharpness, and how far they are from softmax's."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch

from attnlab.analysis import Twin, Vector, Verdict, agrees, all_of, budget, finite_size, for_all, relative, replicas
from attnlab.papers.fast_factorizable.paper import (
    CASES,
    HARD,
    NEAR,
    ROWS,
    SEARCHES,
    SPREADS,
    TOKEN_ROWS,
    SearchSetting,
    hard,
    paper,
)
from attnlab.papers.lab.conditions import at_least, at_most
from attnlab.papers.lab.run.workbench import Lab
from attnlab.simulators.polynomial_attention.series_rows import (
    BoundedRowSetting,
    RowSetting,
    TokenRowSetting,
    bounded_rows,
    rows,
    token_rows,
)
from attnlab.theory.polynomial_attention import fast as theory
from attnlab.theory.polynomial_attention import series_weights as weights
from attnlab.theory.polynomial_attention.tensor import factor_range_exact
from attnlab.theory.score_maps import random_rows as laws

#: Width of heads whose law is the rival of the normal one.
RIVAL_DIM = 16


def _token_scores(dim: int) -> laws.Scores:
    """Scores of standardised Gaussian tokens: sqrt(d) times a cosine in d - 1 dimensions."""
    return laws.cosine_scores(dim - 1, math.sqrt(dim))


@paper.claim(
    "negative_weights_of_order_one",
    source="section 2; the shares are derived",
    statements=[3],
    kind="extrapolation",
    setting=TOKEN_ROWS,
    parts=2,
    formula="P(1 + s < 0) = (1 - I_(1/d)(1/2, (d - 2)/2)) / 2; Var s = d/(d - 1)",
    judged="shares and mean squares over draws; keys are independent given the query, and their law does not depend on it",
    reads=("dim",),
    covers={"dim": at_most(16, "in wider heads the normal law is as near as its twin")},
)
def negative_weights_of_order_one(setting: TokenRowSetting, lab: Lab) -> Verdict:
    """At order 1 a known share of the weights of standardised tokens is negative: 0.195 at d = 8, and 0.159 in wide heads only.

    Twins: the normal law's share and variance.
    """
    runs, d = lab.simulate(token_rows, setting), setting.dim
    drawn = setting.n_draws * setting.n_keys
    of = f"mean over replicas of {drawn} draws"
    p, variance = weights.negative_share_of_tokens_exact(d), weights.score_variance_exact(d)
    fourth = 3 * d**2 / ((d - 1) * (d + 1))
    share = agrees(
        runs["negative"],
        p,
        within=budget(replicas(math.sqrt(p * (1 - p) / drawn), runs.n, of=of)),
        of=of,
        twin=Twin.of("normal scores", predicted=weights.negative_share_exact(1.0)),
    )
    spread = agrees(
        runs["variance"],
        variance,
        within=budget(replicas(math.sqrt((fourth - variance**2) / drawn), runs.n, of=of)),
        of=of,
        twin=Twin.of("1", predicted=1.0),
    )
    return all_of(share.named("negative"), spread.named("variance"))


@paper.claim(
    "negative_weights_of_normal_scores",
    source="section 2; the share is derived",
    statements=[3],
    kind="extrapolation",
    setting=ROWS,
    formula="P(1 + s < 0) = Phi(-1/sigma)",
    judged="share of independent scores",
    reads=("score_std",),
)
def negative_weights_of_normal_scores(setting: RowSetting, lab: Lab) -> Verdict:
    """At order 1 the share Phi(-1/sigma) of normal scores gets a negative weight. Twin: the share of tokens at d = 16."""
    runs, p = lab.simulate(rows, setting), weights.negative_share_exact(setting.score_std)
    drawn = setting.n_rows * setting.n_keys
    of = f"mean over replicas of {drawn} draws"
    rival = weights.negative_share_exact(setting.score_std * math.sqrt(weights.score_variance_exact(RIVAL_DIM)))
    return agrees(
        runs["negative"],
        p,
        within=budget(replicas(math.sqrt(p * (1 - p) / drawn), runs.n, of=of)),
        of=of,
        twin=Twin.of("spread of tokens, d = 16", predicted=rival),
    )


@paper.claim(
    "low_scores_gain_weight",
    source="derived from f_2(s) = ((1 + s)^2 + 1)/2",
    statements=[3],
    kind="extrapolation",
    setting=ROWS,
    formula="P(weights of two keys in the opposite order of their scores) = Phi(-sqrt 2/sigma)",
    judged="share of independent pairs",
    reads=("score_std",),
)
def low_scores_gain_weight(setting: RowSetting, lab: Lab) -> Verdict:
    """Order 2 puts a known share of pairs of keys in the wrong order, 0.079 at unit scores.

    Twin: the share at the spread of tokens with d = 16.
    """
    runs, p = lab.simulate(rows, setting), weights.misordered_share_exact(setting.score_std)
    pairs = setting.n_rows * (setting.n_keys // 2)
    of = f"mean over replicas of {pairs} draws"
    rival = weights.misordered_share_exact(setting.score_std * math.sqrt(weights.score_variance_exact(RIVAL_DIM)))
    return agrees(
        runs["misordered"],
        p,
        within=budget(replicas(math.sqrt(p * (1 - p) / pairs), runs.n, of=of)),
        of=of,
        twin=Twin.of("spread of tokens, d = 16", predicted=rival),
    )


@paper.claim(
    "order_two_is_never_sharper_than_three",
    source="derived from Gaussian moments",
    statements=[1],
    kind="extrapolation",
    setting=ROWS,
    parts=len(SPREADS),
    formula="n sum P^2 -> (1 + 2 s^2 + 3 s^4/4)/(1 + s^2/2)^2, below 3 for every spread s",
    judged="mean over rows; spread and the term of order 1/n by the delta method",
    reads=("n_keys",),
    covers={"n_keys": at_least(5000)},
)
def order_two_is_never_sharper_than_three(setting: RowSetting, lab: Lab) -> Verdict:
    """However large the scores, a row of order 2 over normal scores uses a third of its keys; softmax n e^(-s^2) of them.

    Twins: scores of standardised tokens at d = 16 of the same scale; 3 at the widest.
    """
    cells, parts = [replace(setting, score_std=s, orders=(2,)) for s in SPREADS], []
    of = f"mean over replicas of {setting.n_rows} draws"
    for s, runs in zip(SPREADS, lab.simulate(rows, *cells), strict=True):
        law = laws.participation_law("series 2", laws.gaussian_scores(s), setting.n_keys)
        within = budget(
            replicas(law.std / math.sqrt(setting.n_rows), runs.n, of=of),
            finite_size(setting.n_keys, law.dropped * setting.n_keys, of="n"),
        )
        tokens = laws.cosine_scores(RIVAL_DIM - 1, s * math.sqrt(RIVAL_DIM))
        rival = laws.participation_law("series 2", tokens, setting.n_keys).limit
        parts.append(
            agrees(
                runs["participation"][:, 0],
                theory.participation(s),
                within=within,
                of=of,
                twin=Twin.of("tokens, or 3", predicted=theory.participation_bound() if s == max(SPREADS) else rival),
            ).named(f"s = {s:g}")
        )
    return all_of(*parts)


@paper.claim(
    "sharpness_of_standardised_tokens",
    source="derived from moments of a random direction",
    statements=[2],
    kind="extrapolation",
    setting=TOKEN_ROWS,
    formula="the same with moments of sqrt(d) times a coordinate in d - 1 dimensions",
    judged="mean over queries, each with keys of its own; spread and the term of order 1/n by the delta method",
    reads=("dim", "n_keys"),
    covers={"dim": at_most(16, "in wider heads the normal law is as near as its twin")},
)
def sharpness_of_standardised_tokens(setting: TokenRowSetting, lab: Lab) -> Verdict:
    """Standardised tokens make one sharpness, set by the width alone: n sum P^2 = 1.639 at d = 8. Twin: normal scores, 5/3."""
    runs, of = lab.simulate(token_rows, setting), f"mean over replicas of {setting.n_draws} draws"
    law = laws.participation_law("series 2", _token_scores(setting.dim), setting.n_keys)
    within = budget(
        replicas(law.std / math.sqrt(setting.n_draws), runs.n, of=of),
        finite_size(setting.n_keys, law.dropped * setting.n_keys, of="n"),
    )
    return agrees(
        runs["participation"],
        law.limit,
        within=within,
        of=of,
        twin=Twin.of("normal scores", predicted=theory.participation(1.0)),
    )


@paper.claim(
    "entropy_that_orders_take",
    source="derived by quadrature",
    statements=[1],
    kind="extrapolation",
    setting=ROWS,
    parts=3,
    formula="ln n - H -> E f ln f / E f - ln E f",
    judged="mean over rows of orders 1 (negative weights cut), 2 and 4; spread and the term of order 1/n by the delta method",
    reads=("n_keys", "score_std", "orders"),
)
def entropy_that_orders_take(setting: RowSetting, lab: Lab) -> Verdict:
    """Low orders take 0.373, 0.262 and 0.439 nats off ln n at unit scores, softmax 0.5.

    Twin: half the logarithm of n sum P^2, the law of log-normal weights.
    """
    runs, parts = lab.simulate(rows, setting), []
    scores, of = laws.gaussian_scores(setting.score_std), f"mean over replicas of {setting.n_rows} draws"
    for k, p in enumerate(setting.orders):
        law = laws.entropy_deficit_law(f"series {p}", scores, setting.n_keys)
        log_normal = math.log(laws.participation_law(f"series {p}", scores, setting.n_keys).limit) / 2
        within = budget(
            replicas(law.std / math.sqrt(setting.n_rows), runs.n, of=of),
            finite_size(setting.n_keys, law.dropped * setting.n_keys, of="n"),
        )
        parts.append(
            agrees(
                runs["deficit"][:, k],
                law.limit,
                within=within,
                of=of,
                twin=Twin.of("log-normal weights", predicted=log_normal),
            ).named(f"p = {p}")
        )
    return all_of(*parts)


@paper.claim(
    "distance_from_softmax",
    source="derived by quadrature",
    statements=[1],
    kind="extrapolation",
    setting=ROWS,
    parts=6,
    formula="sum |P - softmax| -> E|f/E f - e^s/E e^s|",
    judged="mean over rows at two spreads; spread and the term of order 1/n by the delta method",
    reads=("n_keys", "orders"),
)
def distance_from_softmax(setting: RowSetting, lab: Lab) -> Verdict:
    """How far a row of order p is from softmax's is known for normal scores: 0.34, 0.20 and 0.039 at unit scores and p = 1, 2, 4.

    Twin: the first term that the series drops, E|s|^(p+1)/(p+1)!.
    """
    parts, of = [], f"mean over replicas of {setting.n_rows} draws"
    for s, runs in zip(NEAR, lab.simulate(rows, *(replace(setting, score_std=s) for s in NEAR)), strict=True):
        scores = laws.gaussian_scores(s)
        for k, p in enumerate(setting.orders):
            law = laws.distance_law(f"series {p}", "softmax", scores, setting.n_keys)
            dropped = scores.of(lambda x, p=p: np.abs(x) ** (p + 1)) / math.factorial(p + 1)
            within = budget(
                replicas(law.std / math.sqrt(setting.n_rows), runs.n, of=of),
                finite_size(setting.n_keys, law.dropped * setting.n_keys, of="n"),
            )
            parts.append(
                agrees(
                    runs["distance"][:, k],
                    law.limit,
                    within=within,
                    of=of,
                    twin=Twin.of("first term dropped", predicted=dropped),
                ).named(f"p = {p}, s = {s:g}")
            )
    return all_of(*parts)


@paper.for_all(
    "row_error",
    source="truncation error of a row; the sharp form is derived",
    statements=[1],
    kind="extrapolation",
    setting=SEARCHES,
    formula="sum |P - softmax| <= 2 tanh(ln(rho)/4), rho the range of f_p(s) e^-s over |s| <= B",
)
def row_error(setting: SearchSetting):
    """Cutting the series changes no row by more than a bound that depends on the range of scores alone. Twin: 1 % less."""
    B, p, n = setting.score_bound, setting.order, setting.n_keys
    bound = weights.row_error_bound(p, B)

    def away(s, c):  # scores, and logarithms of how often each occurs
        f = sum(s**k / math.factorial(k) for k in range(p + 1)) * torch.exp(c - c.max())
        return torch.abs(f / f.sum() - torch.softmax(s + c, -1)).sum()

    return {
        "searched": for_all(s=Vector(n, low=-B, high=B), c=Vector(n, low=-3.0, high=3.0)).bound(
            away, at_most=bound * (1 + 1e-12), twin=Twin.of("1 % less", at_most=0.99 * bound)
        )
    }


@paper.claim(
    "row_error_is_attained",
    source="truncation error of a row; the sharp form is derived",
    statements=[1],
    kind="extrapolation",
    setting=HARD,
    parts=2,
    formula="2 tanh(ln(rho)/4)",
    judged="rows of two kinds of keys at three bounds on scores and up to five orders, in logarithms against the bound's; whole "
    "numbers of keys miss the best log-odds by at most 1 / least number of a kind, which costs its square",
    covers={"n_keys": at_least(500, "few keys cannot come near the best odds")},
)
def row_error_is_attained(setting: BoundedRowSetting, lab: Lab) -> Verdict:
    """Rows of two kinds of keys attain the bound at every order and range of scores.

    Twins: ln(rho)/2, without the tanh; the bound by steps, 2 eps/(1 - eps), halved.
    """
    cells = [hard(B, p, setting.n_keys) for B, p in CASES]
    errors = np.array([runs["two_kinds"][0] for runs in lab.simulate(bounded_rows, *cells)])
    law = np.array([weights.row_error_bound(p, B) for B, p in CASES])
    few = min(min(each.n_high, each.n_keys - each.n_high) for each in cells)
    within = budget(relative(1 / few**2, 1.0, "whole numbers of keys"))
    flat = np.array([math.log(high / low) / 2 for low, high in (factor_range_exact(p, B) for B, p in CASES)])
    steps = np.array([min(weights.published_row_error_bound(p, B), 10.0) / 2 for B, p in CASES])
    parts = [
        agrees(
            np.log(errors),
            np.log(law),
            within=within,
            of="every replica",
            unit="case",
            scale=1.0,
            twin=Twin.of(label, predicted=np.log(rival)),
        ).named(label)
        for label, rival in (("without tanh", flat), ("by steps", steps))
    ]
    return all_of(*parts)
