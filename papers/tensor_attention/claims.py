"""Claims: weights of pairs by polynomial features, their rank and sharp error; triples by one tensor head and by no pairwise
one."""

from __future__ import annotations

import math

import numpy as np
import torch

from attnlab.analysis import Twin, Vector, Verdict, agrees, all_of, budget, for_all, identical, relative
from attnlab.papers.lab.conditions import at_least, that
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.tensor_attention.paper import (
    AROUND,
    CASES,
    FOR_ALL,
    HARD,
    MATCH,
    PAIRWISE,
    RANKS,
    SERIES,
    SIZES,
    ForAllSetting,
    hard,
    paper,
    planted,
)
from attnlab.simulators.polynomial_attention.match3 import MatchSetting, PairwiseSetting, match3, pairwise
from attnlab.simulators.polynomial_attention.tensor import (
    HardSetting,
    TensorSetting,
    gradients,
    hard_keys,
    tensor_errors,
    truncated,
)
from attnlab.theory.polynomial_attention import match3 as triples
from attnlab.theory.polynomial_attention import tensor as theory


@paper.claim(
    "by_features",
    source="lemma on the column-wise Kronecker product",
    statements=[1, 3],
    setting=SERIES,
    kind="construction",
    covers={"entry_bound": that(lambda b: b <= 1.0, "at most 1", "roundings are counted for scores of size 1")},
    formula="U1 [(U2^T V1) o (U3^T V2)] over U1 [(U2^T 1) o (U3^T 1)], one column per monomial of degree at most g",
    judged="distance from the dense sum over pairs, within 4 (n + r + 20) e^b roundings of what signs amplify: sums over n "
    "keys and r "
    "monomials whose absolute values add up to e^b",
)
def by_features(setting: TensorSetting, lab: Lab) -> Verdict:
    """Truncated weights of all pairs are averaged through one feature per monomial, without an array of pairs.

    Twin: the exponential's own output, which the series misses.
    """
    runs = lab.simulate(tensor_errors, setting)
    r = theory.rank_exact(setting.dim, max(setting.degrees))
    return identical(
        runs["by_features"],
        np.zeros_like(runs["by_features"]),
        rounding=4 * (setting.n_tokens + r + 20) * math.exp(setting.entry_bound**3),
        scale=runs["scale"],
        twin=Twin.of("the exponential", a=runs["error"]),
    )


@paper.claim(
    "rank_of_the_series",
    source="theorem on the polynomial method, r = C(d + g, g)",
    statements=[3],
    setting=RANKS,
    reads=("dim", "degrees"),
    covers={"n_tokens": at_least(20, "the matrix must have more rows than rank")},
    formula="rank of (query, pair) = C(d + g, g)",
    judged="singular values above 1e-9 of the largest, counted in every replica",
)
def rank_of_the_series(setting: TensorSetting, lab: Lab) -> Verdict:
    """Truncated weights of pairs have the rank of the monomials of degree at most g, C(d + g, g).

    Twin: those of degree g alone, C(d + g - 1, g).
    """
    runs = lab.simulate(tensor_errors, setting)
    law = [theory.rank_exact(setting.dim, g) for g in setting.degrees]
    alone = [theory.rank_exact(setting.dim - 1, g) for g in setting.degrees]
    found = runs["rank"].astype(int)
    return identical(found, np.tile(law, (runs.n, 1)), twin=Twin.of("degree g alone", b=np.tile(alone, (runs.n, 1))))


@paper.for_all(
    "output_error",
    source="lemma on the error of the polynomial; the sharp form is derived",
    statements=[3],
    setting=FOR_ALL,
    kind="extrapolation",
    formula="|output - exact| <= 2 B^2 tanh(ln(rho) / 4), rho the range of T_g(x) e^-x on |x| <= B^3",
)
def output_error(setting: ForAllSetting):
    """Truncating the exponential at degree g changes no output by more than the stated bound, however many keys and whatever
    values.

    Twin: 1 % less.
    """
    B, g = setting.entry_bound, setting.degree
    bound = theory.output_error_bound(g, B)

    def away(x, v, c):  # scores, values, logarithms of how often each pair occurs
        exact = torch.softmax(x + c, -1)
        weights = truncated(x, g) * torch.exp(c - c.max())
        return torch.abs((weights * v).sum() / weights.sum() - (exact * v).sum())

    n = setting.n_keys
    return {
        "searched": for_all(x=Vector(n, -(B**3), B**3), v=Vector(n, -(B**2), B**2), c=Vector(n, -3, 3)).bound(
            away, at_most=bound * (1 + 1e-12), twin=Twin.of("1 % less", at_most=0.99 * bound)
        )
    }


@paper.claim(
    "bound_is_attained",
    source="lemma on the error of the polynomial; the sharp form is derived",
    statements=[3],
    setting=HARD,
    parts=2,
    kind="extrapolation",
    formula="2 B^2 tanh(ln(rho) / 4)",
    judged="error of the output by features on keys of two kinds, in logarithms against the bound's, at all entry "
    "bounds and degrees; whole numbers of "
    "keys miss the best log-odds by at most 1 / least number of a kind, which costs its square",
    covers={"n_keys": at_least(500, "few keys cannot come near the best odds")},
)
def bound_is_attained(setting: HardSetting, lab: Lab) -> Verdict:
    """Keys of two kinds attain the bound on the output's error at every degree and entry bound.

    Twins: half of the bound by steps, 2 eps/(1 - eps) B^2; B^2 (rho - 1)/2, its form without the tanh.
    """
    settings = [hard(B, g, setting.n_keys) for B, g in CASES]
    errors = np.array([runs["error"][0] for runs in lab.simulate(hard_keys, *settings)])
    law = np.array([theory.output_error_bound(g, B) for B, g in CASES])
    few = min(min(each.n_high, each.n_keys - each.n_high) for each in settings)
    within = budget(relative(1 / few**2, 1.0, "whole numbers of keys"))
    ranges = [theory.factor_range_exact(g, B**3) for B, g in CASES]
    flat = np.array([B**2 * (high / low - 1) / 2 for (B, _), (low, high) in zip(CASES, ranges, strict=True)])
    chained = np.array([min(theory.chained_error_bound(g, B), 1e3) / 2 for B, g in CASES])
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
        for label, rival in (("without tanh", flat), ("by steps", chained))
    ]
    return all_of(*parts)


@paper.claim(
    "gradient",
    source="derived",
    statements=[1],
    setting=SERIES,
    kind="construction",
    formula="dQ_ic = (1/d) sum_jk P_ijk (dP_ijk - sum P dP) K1_jc K2_kc",
    judged="autograd through the dense operator against the formula, within 4 (n^2 + 20) roundings of the sum of absolute terms",
)
def gradient(setting: TensorSetting, lab: Lab) -> Verdict:
    """The gradient by the queries is that of a softmax over pairs. Twin: without the mean of dP."""
    runs = lab.simulate(gradients, setting)
    laws, rivals, sizes = [], [], []
    for P, (_, K1, K2, V1, V2), outer in zip(runs["weights"], runs["inputs"], runs["outer"], strict=True):
        dP = np.einsum("ic,jc,kc->ijk", outer, V1, V2)
        mean = (P * dP).sum((1, 2), keepdims=True)
        for store, dS in ((laws, P * (dP - mean)), (rivals, P * dP), (sizes, P * (abs(dP) + abs(mean)))):
            K = (abs(K1), abs(K2)) if store is sizes else (K1, K2)
            store.append(np.einsum("ijk,jc,kc->ic", dS, *K) / setting.dim)
    return identical(
        runs["by_query"],
        np.array(laws),
        rounding=4 * (setting.n_tokens**2 + 20),
        scale=np.array(sizes),
        twin=Twin.of("without the mean", b=np.array(rivals)),
    )


@paper.claim(
    "match3",
    source="section 1, Match3; weights and threshold are derived",
    statements=[2],
    setting=MATCH,
    parts=2 * len(SIZES),
    kind="construction",
    covers={"n_draws": that(lambda n: n == 0, "0", "every sequence is tried")},
    formula="right on all M^n sequences from beta = 4 ln n / (1 - cos(2 pi/M)) on; just below, 2 n answers are wrong if 3 "
    "does not divide M",
    judged="every sequence of five sizes at 0.999 and 1.001 of the threshold; scores of all triples within 40 roundings of cos",
)
def match3_by_one_head(setting: MatchSetting, lab: Lab) -> Verdict:
    """One tensor head of width 4 decides Match3 on every sequence from an inverse temperature on that is sharp.

    Twins: a threshold without false answers below it; sin for cos.
    """
    parts = []
    for (n, M), runs in zip(SIZES, lab.simulate(match3, *(planted(*size, AROUND) for size in SIZES)), strict=True):
        law = np.array([[triples.wrong_just_below_exact(n, M), 0]])
        label = Twin.of("wrong on one more", b=law + 1)
        parts.append(identical(runs["wrong"], law, twin=label).named(f"n = {n}, M = {M}"))
        angle = 2 * math.pi * np.arange(M) / M
        sums = (angle[:, None, None] + angle[:, None] + angle)[None]
        parts.append(
            identical(runs["sums"], np.cos(sums), rounding=40, scale=1.0, twin=Twin.of("sin", b=np.sin(sums))).named(
                f"scores, M = {M}"
            )
        )
    return all_of(*parts)


@paper.claim(
    "no_pairwise_head",
    source="section 1, after Sanford et al.; the argument is derived",
    statements=[2],
    setting=PAIRWISE,
    kind="extrapolation",
    formula="sign(c + phi(a) + phi(b)) = match is infeasible for every M",
    judged="a linear programme for each M from 2 to 12",
)
def no_pairwise_head(setting: PairwiseSetting, lab: Lab) -> Verdict:
    """No pairwise head with a linear read-out decides Match3, already on three tokens and for every modulus, where a
    function of the
    sum of two tokens does. Twin: pairwise heads do, too.
    """
    runs = lab.simulate(pairwise, setting)
    law = np.array([[triples.pairwise_head_exists(M) for M in setting.moduli], [True] * len(setting.moduli)]).astype(
        int
    )
    found = np.stack([runs["exists"], runs["sums"]], 1).astype(int)
    return identical(found, np.tile(law, (runs.n, 1, 1)), twin=Twin.of("pairwise heads, too", b=np.ones_like(found)))
