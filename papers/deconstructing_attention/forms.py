"""Claims on maps with one score per key, and on mixtures of heads: exact, without training."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import Twin, Verdict, agrees, all_of, budget, exhaustive, identical, replicas
from attnlab.papers.deconstructing_attention.paper import BALANCES, FORMS, NEWEST, ORDERS, paper
from attnlab.papers.lab.conditions import one_of
from attnlab.papers.lab.run.workbench import Lab
from attnlab.simulators.attention_ablation.maps import (
    BalanceSetting,
    FormSetting,
    NewestSetting,
    OrderSetting,
    balance,
    forms,
    newest,
    orders,
)
from attnlab.theory.attention_ablation import principles

STDS = (0.5, 2.0)


@paper.claim(
    "newest_token",
    source="appendix on non-approximate attention; derived by exchangeability",
    statements=[3],
    setting=NEWEST,
    kind="extrapolation",
    parts=2 * 2,
    formula="E[weight of the newest of i] = 1/i",
    judged="mean weights at each position and spread of scores, within what replicas leave open (spreads from another seed)",
    reads=("positions",),
    covers={"positions": one_of((4, 16), why="spreads of weights are known there")},
)
def newest_token(setting: NewestSetting, lab: Lab) -> Verdict:
    """With one score per key the newest token's weight is 1/i on average, at any spread of the scores: what is recent does not
    count.

    Twin: 1/(i - 1) before the newest is counted, so 1/(i + 1) after.
    """
    parts, of = [], f"mean over replicas of {setting.n_draws} draws"
    for std, runs in zip(STDS, lab.simulate(newest, *(replace(setting, score_std=std) for std in STDS)), strict=True):
        for k, i in enumerate(setting.positions):
            law = principles.newest_weight_exact(i)
            spread = SPREADS[std, i] / setting.n_draws**0.5
            parts.append(
                agrees(
                    runs["weight"][:, k],
                    law,
                    within=budget(replicas(spread, setting.n_replicas, of=of)),
                    of=of,
                    twin=Twin.of("1/(i + 1)", predicted=1 / (i + 1)),
                ).named(f"i = {i}, sd {std:g}")
            )
    return all_of(*parts)


#: Standard deviations of one weight by spread of scores and position, from eight replicas of another seed.
SPREADS = {(0.5, 4): 0.112, (0.5, 16): 0.026, (2.0, 4): 0.285, (2.0, 16): 0.111}


@paper.claim(
    "one_state",
    source="appendix on non-approximate attention",
    statements=[3],
    setting=FORMS,
    parts=1,
    formula="n_i = n_(i-1) + e^(s_i) v_i, z_i = z_(i-1) + e^(s_i), output n_i / z_i",
    judged="outputs by the whole map and by the recurrence with a running maximum, within 4 roundings per token of the "
    "largest value",
)
def one_state(setting: FormSetting, lab: Lab) -> Verdict:
    """Attention with one score per key is a recurrence of one vector and one number. Twin: read before the newest token is
    added."""
    runs = lab.simulate(forms, setting)
    late = Twin.of("newest left out", b=runs["newest_left_out"])
    return identical(runs["direct"], runs["recurrent"], rounding=4 * setting.n_tokens, twin=late)


@paper.claim(
    "sum_of_heads",
    source="Jin et al. 2024, equation 3",
    statements=[6],
    setting=FORMS,
    formula="Concat(H_1 .. H_h) W_O = sum_i H_i W_O^i",
    judged="both, within 4 roundings per entry of a head",
)
def sum_of_heads(setting: FormSetting, lab: Lab) -> Verdict:
    """Multi-head attention is the sum of its heads, each times its rows of the output matrix. Twin: a mean over heads times h -
    1."""
    runs = lab.simulate(forms, setting)
    rival = runs["summed"] * (setting.n_heads - 1) / setting.n_heads
    return identical(
        runs["concatenated"], runs["summed"], rounding=4 * setting.dim, twin=Twin.of("one head less", b=rival)
    )


@paper.claim(
    "pointing_back",
    source="derived: what one score per key cannot do",
    statements=[3],
    setting=ORDERS,
    kind="extrapolation",
    parts=2,
    formula="at most ceil((n - D)/(D + 1)) rows have their largest weight D tokens back",
    judged="every order of the scores, every lag; the bound is met at every lag",
    reads=("n_tokens", "lags"),
)
def pointing_back(setting: OrderSetting, lab: Lab) -> Verdict:
    """With one score per key a head cannot point D tokens back in two rows that are D or less apart, so it cannot copy at an
    offset.

    Twin: one row less.
    """
    rows = lab.simulate(orders, setting)["rows"][0]
    bounds = np.array([principles.pointing_rows_bound(setting.n_tokens, lag) for lag in setting.lags])
    cases = [(lag, int(found[k])) for found in rows for k, lag in enumerate(range(len(setting.lags)))]

    def within(case) -> bool:
        return case[1] <= bounds[case[0]]

    def fewer(case) -> bool:
        return case[1] <= bounds[case[0]] - 1

    every = exhaustive(cases, within, twin=Twin.of("one row less", check=fewer), of="every order and lag")
    sharp = identical(rows.max(0), bounds, twin=Twin.of("one row less", b=bounds - 1))
    return all_of(every.named("bound"), sharp.named("sharp"))


@paper.claim(
    "uneven_balance",
    source="corrects the minimum of the load-balance loss, Jin et al. 2024, equation 8",
    statements=[6],
    setting=BALANCES,
    kind="extrapolation",
    parts=2,
    formula="even 1/m; a share 1/(2m) of certain tokens: 1/m - 1/(4 m^2)",
    judged="loss of both routers within 1e4 roundings (the preference of the other tokens is 1e-12)",
    reads=("n_heads",),
)
def uneven_balance(setting: BalanceSetting, lab: Lab) -> Verdict:
    """Even routing does not minimise the load-balance loss: routers that are certain of some tokens go below 1/m.

    Twins: the even value for the uneven router, and the reverse.
    """
    runs = lab.simulate(balance, setting)
    low, even = (np.full(runs.n, x) for x in (principles.uneven_balance(setting.n_heads), 1 / setting.n_heads))
    return all_of(
        identical(runs["loss"], low, rounding=1e5, scale=1.0, twin=Twin.of("even", b=even)).named("uneven"),
        identical(runs["even"], even, rounding=1e4, scale=1.0, twin=Twin.of("uneven", b=low)).named("even"),
    )
