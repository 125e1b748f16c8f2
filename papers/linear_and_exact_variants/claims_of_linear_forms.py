"""Claims on efficient and cosine attention: equal forms, rows of the implied map, how flat they are, growth with the length."""

from __future__ import annotations

import math

import numpy as np

from attnlab.analysis import (
    Twin,
    Verdict,
    agrees,
    all_of,
    bounded,
    budget,
    exhaustive,
    finite_size,
    identical,
    replicas,
)
from attnlab.kernels.operators.operator import Sizes
from attnlab.papers.lab.conditions import at_least, at_most
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.linear_and_exact_variants.paper import FLAT, GROWTH, ORDERS, paper
from attnlab.simulators.linear_variants.exact_forms import (
    FlatSetting,
    GrowthSetting,
    OrderSetting,
    cosine_growth,
    flat_rows,
    orders,
)
from attnlab.theory.linear_variants import cosine_linear, efficient
from attnlab.theory.score_maps import random_rows as laws


@paper.claim(
    "scaled_products_in_any_order",
    source="equations 2 to 4 of Shen et al.",
    statements=[1],
    kind="construction",
    setting=ORDERS,
    formula="(Q/sqrt n)((K/sqrt n)^T V) = (Q K^T / n) V",
    judged="within 8 (n + d) roundings of the mean absolute sum, at most d n max|q k v| / n",
)
def scaled_products_in_any_order(setting: OrderSetting, lab: Lab) -> Verdict:
    """With scaling for both normalisations the linear form is dot-product attention. Twin: rows of softmax."""
    runs = lab.simulate(orders, setting)
    return identical(
        runs["scaled"],
        runs["dense"],
        rounding=8 * (setting.n_tokens + setting.dim),
        scale=5.0 * setting.dim,
        twin=Twin.of("softmax's map", a=runs["softmax"] @ runs["dense"]),
    )


@paper.claim(
    "rows_of_the_implied_map",
    source="section 3.3 of Shen et al.",
    statements=[2],
    setting=ORDERS,
    parts=3,
    formula="P = softmax_features(Q) softmax_tokens(K)^T >= 0, P 1 = 1, rank d_k",
    judged="row sums within 8 (n + d) roundings; the least weight; singular values above 10^-9 of the largest",
    covers={"n_tokens": at_least(64), "dim": at_most(32, "the rank must be below the number of tokens")},
)
def rows_of_the_implied_map(setting: OrderSetting, lab: Lab) -> Verdict:
    """The implied map is row-stochastic and positive and has rank d_k; it is not softmax(Q K^T).

    Twins: columns sum to 1; weights of at least 1/(2 n); full rank, as softmax has.
    """
    runs, n = lab.simulate(orders, setting), setting.n_tokens
    P = runs["map"]
    sums = P.sum(-1)
    return all_of(
        identical(sums, np.ones_like(sums), rounding=8 * (n + setting.dim), twin=Twin.of("columns", a=P.sum(-2))).named(
            "row sums"
        ),
        bounded(P.min((1, 2)), 0.0, side="below", of="every replica", twin=Twin.of("1/(2n)", bound=1 / (2 * n))).named(
            "positive"
        ),
        identical(runs["rank"], np.full(runs.n, min(setting.dim, n)), twin=Twin.of("full", b=np.full(runs.n, n))).named(
            "rank"
        ),
    )


@paper.claim(
    "linear_memory_of_efficient_attention",
    source="section 3.4 of Shen et al.",
    statements=[3],
    kind="identity",
    setting=ORDERS,
    formula="2 n d_k d_v multiply-adds and d_k d_v numbers between the two products",
    judged="counts at four lengths: a doubled length doubles the one and leaves the other",
)
def linear_memory_of_efficient_attention(setting: OrderSetting, lab: Lab) -> Verdict:
    """The cost is linear in the length, and what lies between the products does not grow. Twin: the dense count n^2 (d_k +
    d_v)."""
    d, lengths = setting.dim, (64, 128, 1024, 4096)

    def linear(n: int) -> bool:
        once, twice = (efficient.multiply_adds(Sizes(n=m, d=d, d_v=d)) for m in (n, 2 * n))
        return twice == 2 * once == 4 * n * d * d

    def dense(n: int) -> bool:
        return (2 * n) ** 2 * 2 * d == 2 * n**2 * 2 * d

    return exhaustive(lengths, linear, twin=Twin.of("dense", check=dense))


@paper.claim(
    "efficient_rows_are_flat",
    source="closed form for Gaussian inputs; the sheet's average, (e - 1) e/d_k, is its limit of wide heads",
    statements=[2],
    kind="extrapolation",
    setting=FLAT,
    formula="n E sum P^2 - 1 = sum_c rho_c^2 (n E sum w^2 - 1), w one softmax over keys of the same spread, rho the query's",
    judged="mean over queries and replicas; spread of one query by the delta method; the softmax's excess with its term of "
    "order 1/n, "
    "whose square is the margin's",
    reads=("n_keys", "key_std"),
    covers={"key_std": at_most(0.8, "for wider keys the expansion needs more of them"), "n_keys": at_least(4096)},
)
def efficient_rows_are_flat(setting: FlatSetting, lab: Lab) -> Verdict:
    """The implied map keeps the share sum rho^2 of softmax's excess over uniform weights, less than a fifth at d = 24.

    Twin: e/d for that share, its limit of wide heads.
    """
    runs, n, s = lab.simulate(flat_rows, setting), setting.n_keys, setting.key_std
    law = laws.participation_law("softmax", laws.gaussian_scores(s), n)
    one = law.limit + law.dropped - 1
    predicted = np.array([np.mean([efficient.row_excess_exact(rho, one) for rho in each]) for each in runs["features"]])
    std = float(np.mean([[efficient.row_excess_std(rho, s, n) for rho in each] for each in runs["features"][:4]]))
    of = "mean over replicas"
    within = budget(replicas(std, runs.n, of=of), finite_size(n, (law.dropped * n) ** 2, power=2, of="n"))
    return agrees(
        runs["excess"].mean(1),
        predicted,
        within=within,
        of=of,
        twin=Twin.of("e/d", predicted=math.e / setting.dim * one),
    )


@paper.claim(
    "cosine_attention_is_a_recurrence",
    source="equations 6 and 9 of Mongaras et al.",
    statements=[4],
    kind="construction",
    setting=ORDERS,
    formula="H_t = H_(t-1) + k_t v_t^T / n_t^sigma, y_t = H_t^T q_t",
    judged="the operator's steps against its masked products, within 8 (n + d) roundings of sqrt(n) values",
)
def cosine_attention_is_a_recurrence(setting: OrderSetting, lab: Lab) -> Verdict:
    """A state d_k x d_v gives causal cosine attention exactly. Twin: rows divided by their count after the sum."""
    runs = lab.simulate(orders, setting)
    return identical(
        runs["steps"],
        runs["parallel"],
        rounding=8 * (setting.n_tokens + setting.dim),
        scale=5 * math.sqrt(setting.n_tokens),
        twin=Twin.of("counts after the sum", a=runs["of_rows"]),
    )


@paper.claim(
    "cosine_weights",
    source="section 3 of Mongaras et al.",
    statements=[5],
    setting=ORDERS,
    parts=2,
    formula="|q . k| <= 1; row sums of any sign",
    judged="largest size in every replica; the least row sum in every replica",
)
def cosine_weights(setting: OrderSetting, lab: Lab) -> Verdict:
    """Weights are cosines: at most 1 in size, with negative row sums among them. Twins: at most 0.7; no row sum below -n."""
    runs, n = lab.simulate(orders, setting), setting.n_tokens
    C = runs["cosines"]
    return all_of(
        bounded(np.abs(C).max((1, 2)), 1.0, of="every replica", within=1e-12, twin=Twin.of("0.7", bound=0.7)).named(
            "size"
        ),
        bounded(C.sum(-1).min(1), 0.0, of="every replica", twin=Twin.of("-n", bound=-float(n))).named("row sums"),
    )


@paper.claim(
    "growth_of_cosine_outputs",
    source="section 3.2 of Mongaras et al. (stabilisation); derived here",
    statements=[5],
    kind="extrapolation",
    setting=GROWTH,
    parts=6,
    formula="E y^2 = n^(1 - 2 sigma)/d without a mask; sum_(j <= t) j^(-2 sigma)/d in row t, which converges for sigma > 1/2",
    judged="mean square of a channel over draws; the spread of one draw is exact",
    reads=("lengths", "dim", "value_dim", "power"),
)
def growth_of_cosine_outputs(setting: GrowthSetting, lab: Lab) -> Verdict:
    """The power of the count makes outputs shrink like n^(-0.12) without a mask, and grow to a constant when causal.

    Twins: sigma = 0.6 in place of 0.622; counts after the sum.
    """
    runs, parts = lab.simulate(cosine_growth, setting), []
    of, mu = f"mean over replicas of {setting.n_draws} draws", setting.power
    sigma = 1 / (1 + math.exp(-mu))
    for k, n in enumerate(setting.lengths):
        cells = {
            "whole": (np.full(n, n), cosine_linear.output_size(n, setting.dim, mu), n ** (1 - 1.2) / setting.dim),
            "causal": (
                np.arange(1, n + 1),
                cosine_linear.causal_output_size(n, setting.dim, mu),
                n ** (1 - 2 * sigma) / setting.dim,
            ),
        }
        for name, (count, size, rival) in cells.items():
            std = cosine_linear.square_std_exact(count, setting.dim, setting.value_dim, mu)
            parts.append(
                agrees(
                    runs[name][:, k],
                    size**2,
                    within=budget(replicas(std / math.sqrt(setting.n_draws), runs.n, of=of)),
                    of=of,
                    twin=Twin.of("0.6, or after the sum", predicted=rival),
                ).named(f"{name}, {n} keys")
            )
    return all_of(*parts)
