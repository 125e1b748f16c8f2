"""Claims on the operator: two forms, rank, cost, standardised tokens, gradients, and searches over all scores."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch

from attnlab.analysis import Matrix, Real, Twin, Vector, Verdict, all_of, for_all, identical
from attnlab.kernels.operators.operator import Sizes
from attnlab.papers.fast_factorizable.paper import COSTS, SEARCHES, TOKENS, WIDE, SearchSetting, paper
from attnlab.papers.lab.conditions import at_least
from attnlab.papers.lab.run.workbench import Lab
from attnlab.simulators.polynomial_attention.fast import CostSetting, TokenSetting, counts, forms, gradients, moved
from attnlab.theory.polynomial_attention import fast as theory
from attnlab.theory.polynomial_attention import series_weights as weights
from attnlab.theory.polynomial_attention.tensor import truncated_exponential

#: Width beside the setting's at which ranks are counted.
NARROW = 4


def roundings(setting: TokenSetting, order: int) -> float:
    """Roundings of an output by features: sums over n keys and m features, whose sizes add up to f_p(sqrt d) per pair at most,
    over a row sum of n/2 at least (at higher orders n times the least weight)."""
    m = theory.n_features(setting.dim, order)
    amplified = truncated_exponential(math.sqrt(setting.dim), order) / theory.smallest_weight(order)
    return 4 * (setting.n_tokens + m + 20) * amplified


@paper.claim(
    "features_give_the_dense_form",
    source="section 2, equations 9 to 12",
    statements=[1],
    kind="construction",
    setting=TOKENS,
    parts=2,
    formula="phi(q)^T S / phi(q)^T z, S = sum phi(k) v^T, z = sum phi(k), also over prefixes",
    judged="the operator against map times values, both masks, within 4 (n + m + 20) f_p(sqrt d) / min f_p roundings of the "
    "largest "
    "value",
)
def features_give_the_dense_form(setting: TokenSetting, lab: Lab) -> Verdict:
    """C(d + p, p) features give the outputs of all pairs exactly, with and without a causal mask. Twin: the other order."""
    runs, parts = lab.simulate(forms, setting), []
    for k, p in enumerate(setting.orders):
        other = runs["dense"][:, 1 - k]
        parts.append(
            identical(
                runs["linear"][:, k],
                runs["dense"][:, k],
                rounding=roundings(setting, p),
                scale=float(runs["size"].max()),
                twin=Twin.of("the other order", b=other),
            ).named(f"p = {p}")
        )
    return all_of(*parts)


@paper.claim(
    "rank_of_standardised_tokens",
    source="corrects the count of features, C(d + p, p); derived here",
    statements=[1],
    kind="extrapolation",
    setting=WIDE,
    parts=2,
    formula="C(d - 2 + p, p) + C(d - 3 + p, p - 1), d (d + 1)/2 - 1 at p = 2",
    judged="singular values above 10^-9 of the largest, in every replica, two widths",
    reads=("dim", "orders"),
    covers={"n_tokens": at_least(128, "the matrix must have more rows than rank")},
)
def rank_of_standardised_tokens(setting: TokenSetting, lab: Lab) -> Verdict:
    """Standardised tokens lie on a sphere one dimension lower, so the map has fewer ranks than features.

    Twin: one per feature.
    """
    parts, n = [], setting.n_tokens
    cells = [setting, replace(setting, dim=NARROW)]
    for cell, runs in zip(cells, lab.simulate(forms, *cells), strict=True):
        law, rival = (
            np.tile([theory.rank(cell.dim, n, standard, p) for p in cell.orders], (runs.n, 1))
            for standard in (True, False)
        )
        parts.append(identical(runs["rank"], law, twin=Twin.of("features", b=rival)).named(f"d = {cell.dim}"))
    return all_of(*parts)


@paper.claim(
    "cost_is_linear_in_the_length",
    source="section 2, complexity",
    statements=[1],
    setting=COSTS,
    parts=2,
    formula="2 n C(d + p, p) (d_v + 1) multiply-adds; less than softmax's beyond n = 2 C(d + p, p) (d_v + 1)/(d + d_v)",
    judged="counted by torch on the running operator, equal in every cell; the least length at which softmax costs more, by "
    "counting",
    reads=("cells",),
)
def cost_is_linear_in_the_length(setting: CostSetting, lab: Lab) -> Verdict:
    """The cost is linear in the length and below softmax's from about d^p/p! tokens on.

    Twins: one feature per ordered product, 1 + d + ... + d^p; a crossover at d^p.
    """
    runs, cells = lab.simulate(counts, setting), setting.cells
    law = np.array([[theory.multiply_adds(Sizes(n=n, d=d, d_v=v), order=p) for n, d, v, p in cells]])
    ordered = np.array([[2 * n * sum(d**k for k in range(p + 1)) * (v + 1) for n, d, v, p in cells]])
    first = np.array([[math.floor(weights.crossover_length(d, v, p)) + 1 for n, d, v, p in cells]])
    power = np.array([[d**p for n, d, v, p in cells]])
    cost = identical(runs["features"][:1], law, twin=Twin.of("ordered products", b=ordered))
    crossing = identical(runs["crossover"][:1], first, twin=Twin.of("d^p", b=power))
    return all_of(cost.named("count"), crossing.named("crossover"))


@paper.for_all(
    "scores_are_bounded",
    source="section 2, standardised queries and keys",
    statements=[2],
    setting=SEARCHES,
    formula="|q^ . k^| / sqrt d <= sqrt d",
)
def scores_are_bounded(setting: SearchSetting):
    """Scores of standardised tokens are at most sqrt(d) in size. Twin: sqrt(d - 1)."""
    d = setting.dim

    def standard(x):
        x = x - x.mean()
        return x / torch.sqrt(x.square().mean() + 1e-12)

    return {
        "searched": for_all(q=Vector(d, low=-3.0, high=3.0), k=Vector(d, low=-3.0, high=3.0)).bound(
            lambda q, k: torch.abs(standard(q) @ standard(k)) / d**0.5,
            at_most=weights.score_bound(d) * (1 + 1e-12),
            twin=Twin.of("sqrt(d - 1)", at_most=math.sqrt(d - 1)),
        )
    }


@paper.claim(
    "outputs_know_no_length",
    source="section 2, standardised queries and keys",
    statements=[2],
    setting=TOKENS,
    parts=2,
    formula="q -> a q + b, a > 0, changes nothing",
    judged="outputs on tokens scaled by up to 1000 and shifted, each by its own numbers, against plain ones; standardising "
    "loses the "
    "digits of 1 + |b|/std",
)
def outputs_know_no_length(setting: TokenSetting, lab: Lab) -> Verdict:
    """Neither the length nor the mean of a query or key counts, however large: no scale of the inputs sharpens a row.

    Twin: tokens divided by their length only.
    """
    runs, parts = lab.simulate(moved, setting), []
    for k, p in enumerate(setting.orders):
        parts.append(
            identical(
                runs["moved"][:, k],
                runs["plain"][:, k],
                rounding=roundings(setting, p) * float(1 + 1 / runs["least"].min()),
                scale=float(runs["size"].max()),
                twin=Twin.of("divided by the length", a=runs["divided"][:, k]),
            ).named(f"p = {p}")
        )
    return all_of(*parts)


@paper.for_all(
    "even_orders_are_positive",
    source="section 2, positive weights; the least value is derived",
    statements=[3],
    setting=SEARCHES,
    formula="f_p(s) >= z^p / p!, z the only real zero of f_(p-1): 0.5, 0.2704, 0.1454 at p = 2, 4, 6",
)
def even_orders_are_positive(setting: SearchSetting):
    """Series of even order have a positive least value, and it is reached. Twin: 2 % more."""
    least = {p: theory.smallest_weight(p) for p in (2, 4, 6)}

    def ratio(s):
        values = [sum(s**k / math.factorial(k) for k in range(p + 1)) / z for p, z in least.items()]
        return torch.minimum(torch.minimum(values[0], values[1]), values[2])

    return {
        "searched": for_all(s=Real(-10.0, 10.0)).bound(
            ratio, at_least=1 - 1e-9, twin=Twin.of("2 % more", at_least=1.02)
        )
    }


@paper.for_all(
    "slopes_are_bounded",
    source="section 2.3, gradient bound; the constant is derived",
    statements=[4],
    kind="extrapolation",
    setting=SEARCHES,
    formula="|u^T (diag P - P P^T) diag(f_1/f_2) w| <= 1/2 for unit u, w; two keys",
)
def slopes_are_bounded(setting: SearchSetting):
    """The Jacobian of order-2 weights has spectral norm at most 1/2, as softmax's; two keys reach it. Twin: 0.48."""
    n = 2

    def size(s, x):
        f1 = 1 + s
        f2 = (1 + f1 * f1) / 2
        P, r = f2 / f2.sum(), f1 / f2
        u, w = x[0], x[1]
        form = (P * u * r * w).sum() - (P * u).sum() * (P * r * w).sum()
        return torch.abs(form) / torch.sqrt((u @ u) * (w @ w) + 1e-12)

    return {
        "searched": for_all(s=Vector(n, low=-6.0, high=6.0), x=Matrix(2, n, low=-1.0, high=1.0)).bound(
            size, at_most=weights.slope_bound() * (1 + 1e-12), twin=Twin.of("0.48", at_most=0.48)
        )
    }


@paper.for_all(
    "slopes_of_order_one_are_bounded",
    source="section 2.3, gradient bound, read for order 1",
    statements=[4],
    kind="extrapolation",
    expected="REFUTED",
    setting=SEARCHES,
    formula="|d P_1 / d s_1| = |Z - (1 + s_1)| / Z^2 <= 10, Z = sum (1 + s_j)",
    note="Row sums of order 1 pass through zero where scores are below -1, and the slope is infinite there.",
)
def slopes_of_order_one_are_bounded(setting: SearchSetting):
    """Slopes of order-1 weights stay below 10, too. Twin: with room, |Z - (1 + s_1)| <= 10 Z^2 - 0.05."""

    def size(s):
        w = 1 + s
        Z = w.sum()
        return torch.abs(Z - w[0]) - 10 * Z * Z

    return {
        "searched": for_all(s=Vector(setting.n_keys, low=-2.0, high=2.0)).bound(
            size, at_most=0.0, twin=Twin.of("more", at_most=-0.05)
        )
    }


@paper.claim(
    "gradients_by_features",
    source="section 2.3",
    statements=[4],
    kind="construction",
    setting=TOKENS,
    parts=2,
    formula="dx_i = sum_j (f_(p-1)(s_ij) / Z_i) (dP_ij - sum_l P_il dP_il) y_j",
    judged="autograd through the features against the formula on all pairs, roundings as of the outputs, of the sum of "
    "absolute terms",
)
def gradients_by_features(setting: TokenSetting, lab: Lab) -> Verdict:
    """The gradient through the features is that of the dense weights, with one order less in front. Twin: the same order."""
    runs, parts = lab.simulate(gradients, setting), []
    x, y, v = (runs["inputs"][:, k] for k in range(3))
    s, dP = x @ y.transpose(0, 2, 1), runs["outer"] @ v.transpose(0, 2, 1)
    for k, p in enumerate(setting.orders):
        lower, full = (sum(s**j / math.factorial(j) for j in range(q + 1)) for q in (p - 1, p))
        Z = full.sum(-1, keepdims=True)
        mean = (full / Z * dP).sum(-1, keepdims=True)
        law, rival = (w / Z * (dP - mean) @ y for w in (lower, full))
        size = np.abs(full / Z) * (np.abs(dP) + np.abs(dP).max()) @ np.abs(y)
        parts.append(
            identical(
                runs["by_query"][:, k],
                law,
                rounding=roundings(setting, p),
                scale=size.max(),
                twin=Twin.of("the same order", b=rival),
            ).named(f"p = {p}")
        )
    return all_of(*parts)


@paper.for_all(
    "one_key_has_at_most",
    source="derived from standardised tokens",
    statements=[2, 3],
    kind="extrapolation",
    setting=SEARCHES,
    formula="P_1 <= f_2(sqrt d) / (f_2(sqrt d) + (n - 1)/2)",
)
def one_key_has_at_most(setting: SearchSetting):
    """No key has more weight than at the largest score against keys at s = -1: 0.83 of three keys at d = 4. Twin: 2 % less."""
    d, n = setting.dim, setting.n_keys
    bound = weights.largest_weight_bound(d, n)

    def first(s):
        w = (1 + s + s * s / 2) / 1
        return w[0] / w.sum()

    return {
        "searched": for_all(s=Vector(n, low=-(d**0.5), high=d**0.5)).bound(
            first, at_most=bound * (1 + 1e-12), twin=Twin.of("2 % less", at_most=0.98 * bound)
        )
    }
