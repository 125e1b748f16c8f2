"""Claims on rows of independent Gaussian scores: sums, zeros, sizes, participation, and the hull of the values."""

from __future__ import annotations

import math
from collections.abc import Callable

from attnlab.analysis import Twin, Verdict, agrees, all_of, budget, finite_size, relative, replicas
from attnlab.papers.lab.conditions import at_least, that
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.normalisers.paper import HULL, NOTHING, ROWS, SUMS, paper
from attnlab.simulators.score_maps.random_rows import HullSetting, NothingSetting, RowSetting, hull, nothing, rows
from attnlab.theory.score_maps import clipped, length_scaled_softplus, rectified, signed, softpick, standardised
from attnlab.theory.score_maps import random_rows as theory

#: The delta method is to order 1/n; beyond sigma = 1 a row of a few thousand log-normal sizes is too skewed for it.
MODERATE = {
    "spreads": that(
        lambda s: max(s) <= 1, "at most 1", "single rows of wider scores are too skewed for the delta method"
    ),
    "n_keys": at_least(256, "limits of many keys"),
}


def laws(
    setting: RowSetting,
    lab: Lab,
    name: str,
    law: Callable[[float], theory.RowLaw],
    published: Callable[[float], float],
    rival: Callable[[float], float],
    label: str,
) -> Verdict:
    """A mean over rows against its limit at every spread: margins of replicas and of the term of order 1/n, both from theory."""
    runs, parts, of = lab.simulate(rows, setting), [], f"mean over replicas of {setting.n_rows} draws"
    for k, s in enumerate(setting.spreads):
        found = law(s)
        pieces = [replicas(found.std / math.sqrt(setting.n_rows), runs.n, of=of)]
        if found.dropped:
            pieces.append(finite_size(setting.n_keys, found.dropped * setting.n_keys, of="n"))
        verdict = agrees(
            runs[name][:, k], published(s), within=budget(*pieces), of=of, twin=Twin.of(label, predicted=rival(s))
        )
        parts.append(verdict.named(f"sigma = {s:g}"))
    return all_of(*parts)


def _over(law: theory.RowLaw, n: int) -> theory.RowLaw:
    """The law of a statistic divided by n."""
    return theory.RowLaw(law.limit / n, law.std / n, law.dropped / n)


@paper.claim(
    "softpick_row_sum",
    source="equation 3 of Zuhri et al.; the law is derived here",
    statements=[3, 8],
    kind="extrapolation",
    setting=ROWS,
    parts=3,
    formula="A / (A + B), A = e^(sigma^2/2) Phi(sigma) - 1/2, B = 1/2 - e^(sigma^2/2) Phi(-sigma)",
    judged="mean row sum; spread of a row and the term of order 1/n by the delta method",
    reads=("n_keys", "spreads"),
    covers=MODERATE,
)
def softpick_row_sum(setting: RowSetting, lab: Lab) -> Verdict:
    """A softpick row of Gaussian scores keeps a share of its mass known in closed form.

    Twin: Phi(sigma), what softmax puts on positive scores (the ones not taken off).
    """
    return laws(
        setting,
        lab,
        "softpick_sum",
        lambda s: theory.softpick_row_sum_law(s, setting.n_keys),
        softpick.row_sum,
        lambda s: 0.5 * math.erfc(-s / math.sqrt(2)),
        "Phi(sigma)",
    )


@paper.claim(
    "half_of_the_weights_vanish",
    source="equation 3 of Zuhri et al.; section 3 of Zhang et al.",
    statements=[3, 5],
    setting=ROWS,
    parts=2,
    formula="share of exact zeros 1/2 at symmetric scores",
    judged="mean share over rows at the first spread; binomial spread",
    reads=("n_keys", "spreads"),
)
def half_of_the_weights_vanish(setting: RowSetting, lab: Lab) -> Verdict:
    """At symmetric scores softpick and rectified scores set half of the weights to exactly zero.

    Twin: 0.47, the published maps'.
    """
    runs, of = lab.simulate(rows, setting), f"mean over replicas of {setting.n_rows} draws"
    within = budget(replicas(0.5 / math.sqrt(setting.n_keys * setting.n_rows), runs.n, of=of))
    laws_of = {"softpick": softpick.zero_share(), "relu": rectified.zero_share()}
    twin = Twin.of("0.47", predicted=0.47)
    return all_of(
        *[
            agrees(runs[f"{name}_zeros"][:, 0], law, within=within, of=of, twin=twin).named(name)
            for name, law in laws_of.items()
        ]
    )


@paper.claim(
    "clipped_zero_share",
    source="equation 4 of Bondarenko et al.; the law is derived here",
    statements=[4, 8],
    kind="extrapolation",
    setting=ROWS,
    parts=3,
    formula="Phi((ln a + sigma^2/2) / sigma), a = -n gamma / (zeta - gamma)",
    judged="mean share of exact zeros; spread of a row, with that of its normaliser, and the term of order 1/n by the delta "
    "method",
    reads=("n_keys", "spreads", "cut"),
    covers=MODERATE,
)
def clipped_zero_share(setting: RowSetting, lab: Lab) -> Verdict:
    """Clipped softmax sets a known share of the weights of Gaussian scores to zero. Twin: Phi(ln a / sigma)."""
    gamma = -setting.cut / setting.n_keys
    a = clipped.threshold(setting.n_keys, gamma)
    return laws(
        setting,
        lab,
        "clipped_zeros",
        lambda s: theory.clipped_zero_share_law(s, setting.n_keys, gamma),
        lambda s: clipped.zero_share(s, setting.n_keys, gamma),
        lambda s: 0.5 * math.erfc(-math.log(a) / s / math.sqrt(2)),
        "Phi(ln a / sigma)",
    )


@paper.claim(
    "clipped_kept_mass",
    source="equation 4 of Bondarenko et al.; the law is derived here",
    statements=[4, 8],
    kind="extrapolation",
    setting=ROWS,
    parts=3,
    formula="(zeta - gamma) [Phi(d) - a Phi(d - sigma)], d = (sigma^2/2 - ln a) / sigma",
    judged="mean row sum; spread of a row by the delta method, the term of order 1/n by its bound",
    reads=("n_keys", "spreads", "cut"),
    covers=MODERATE,
)
def clipped_kept_mass(setting: RowSetting, lab: Lab) -> Verdict:
    """A clipped row keeps what a call option on a log-normal weight is worth. Twin: 5 % more."""
    gamma = -setting.cut / setting.n_keys

    def law(s: float) -> float:
        return clipped.kept_mass(s, setting.n_keys, gamma)

    return laws(
        setting,
        lab,
        "clipped_sum",
        lambda s: theory.clipped_kept_mass_law(s, setting.n_keys, gamma),
        law,
        lambda s: 1.05 * law(s),
        "5 % more",
    )


@paper.claim(
    "softplus_is_flat",
    source="equation 9 of Gao and Spratling; the law is derived here",
    statements=[1, 8],
    kind="extrapolation",
    setting=ROWS,
    parts=6,
    formula="n sum W^2 = E f^2 / (E f)^2; ln n - H = E[f ln f] / E f - ln E f, f = ln(1 + e^s)",
    judged="means over rows; spread of a row and the term of order 1/n by the delta method",
    reads=("n_keys", "spreads"),
    covers=MODERATE,
)
def softplus_is_flat(setting: RowSetting, lab: Lab) -> Verdict:
    """Softplus rows have a known participation and entropy, far flatter than those of softmax.

    Twins: a tenth less excess over 1; for the entropy 5 % more, and at the widest its first term, sigma^2 / (8 ln(2)^2).
    """
    n = setting.n_keys
    first = 1 / (2 * math.log(2)) ** 2  # f(s) = ln 2 + s / 2 + ...
    square = laws(
        setting,
        lab,
        "softplus_square",
        lambda s: _over(theory.participation_law("softplus", theory.gaussian_scores(s), n), n),
        lambda s: length_scaled_softplus.participation(s) / n,
        lambda s: (1 + 0.9 * (length_scaled_softplus.participation(s) - 1)) / n,
        "a tenth less excess",
    )
    deficit = laws(
        setting,
        lab,
        "softplus_deficit",
        lambda s: theory.entropy_deficit_law("softplus", theory.gaussian_scores(s), n),
        lambda s: theory.entropy_deficit_law("softplus", theory.gaussian_scores(s), n).limit,
        lambda s: (
            first * s**2 / 2
            if s > 0.5
            else 1.05 * theory.entropy_deficit_law("softplus", theory.gaussian_scores(s), n).limit
        ),
        "its first term, 5 % more below",
    )
    return all_of(square.named("participation"), deficit.named("entropy"))


@paper.claim(
    "signed_rows",
    source="equation 4 of Lv et al.; the law is derived here",
    statements=[6, 8],
    kind="extrapolation",
    setting=ROWS,
    parts=3,
    formula="n E sum W^2 = 2 e^(2 sigma^2) Phi(2 sigma) / (2 e^(sigma^2/2) Phi(sigma))^2",
    judged="mean sum of squares; spread of a row and the term of order 1/n by the delta method",
    reads=("n_keys", "spreads"),
    covers=MODERATE,
)
def signed_rows(setting: RowSetting, lab: Lab) -> Verdict:
    """Signed rows have a known participation, below that of softmax. Twin: softmax's e^(sigma^2)."""
    n = setting.n_keys
    return laws(
        setting,
        lab,
        "signed_square",
        lambda s: _over(theory.participation_law("signed", theory.gaussian_scores(s), n), n),
        lambda s: signed.participation(s) / n,
        lambda s: math.exp(s**2) / n,
        "that of softmax",
    )


@paper.claim(
    "signs_cancel",
    source="section 3 of Lv et al.; derived here",
    statements=[6],
    kind="extrapolation",
    setting=SUMS,
    parts=3,
    formula="E (sum W)^2 = E sum W^2, as signs are independent of sizes",
    judged="mean squared row sum; its spread is that of a squared normal number",
    reads=("n_keys", "spreads"),
    covers=MODERATE,
)
def signs_cancel(setting: RowSetting, lab: Lab) -> Verdict:
    """Weights with signs add up to nothing on average: the mean squared row sum is the mean sum of squares.

    Twin: a tenth more.
    """
    n = setting.n_keys

    def law(s: float) -> theory.RowLaw:
        found = _over(theory.participation_law("signed", theory.gaussian_scores(s), n), n)
        return theory.RowLaw(found.limit, math.sqrt(2) * found.limit, found.dropped)

    return laws(
        setting,
        lab,
        "signed_sum_square",
        law,
        lambda s: signed.participation(s) / n,
        lambda s: 1.1 * signed.participation(s) / n,
        "a tenth more",
    )


@paper.claim(
    "sizes_at_initialisation",
    source="section 3 of Richter and Wattenhofer",
    statements=[2, 5],
    setting=ROWS,
    parts=9,
    formula="sum W^2 = e^(sigma^2) / n (softmax), n / (1 + eps / sigma)^2 (standardised), n sigma^2 / 2 (rectified)",
    judged="mean sum of squares, the mean square of an output over that of independent values; spreads by the delta method and "
    "from "
    "fourth moments",
    reads=("n_keys", "spreads"),
    covers=MODERATE,
)
def sizes_at_initialisation(setting: RowSetting, lab: Lab) -> Verdict:
    """Softmax of small scores shrinks a value by n^(-1/2); standardised scores blow it up by n^(1/2), rectified ones by sigma
    (n/2)^(1/2).

    Twins: a tenth less excess over 1/n for softmax; no eps for standardised; 5 % more for rectified.
    """
    n, runs, of = setting.n_keys, lab.simulate(rows, setting), f"mean over replicas of {setting.n_rows} draws"
    soft = laws(
        setting,
        lab,
        "softmax_square",
        lambda s: _over(theory.participation_law("softmax", theory.gaussian_scores(s), n), n),
        lambda s: math.exp(s**2) / n,
        lambda s: (1 + 0.9 * math.expm1(s**2)) / n,
        "a tenth less excess",
    )
    parts = []
    for k, s in enumerate(setting.spreads):
        shrink, size = (1 + 1e-3 / s) ** -2, standardised.output_size(n) ** 2
        # sd of sd^2 is sigma^2 sqrt(2/n), of (1 + eps/sd)^-2 therefore about 2 (eps/sigma) / sqrt(2 n)
        std = size * 2 * (1e-3 / s) / math.sqrt(2 * n)
        parts.append(
            agrees(
                runs["standardised_square"][:, k],
                size * shrink,
                within=budget(
                    replicas(std / math.sqrt(setting.n_rows), runs.n, of=of),
                    relative(3 * 1e-3 / s / n, size, "curvature of the root, 1/n"),
                ),
                of=of,
                twin=Twin.of("without eps", predicted=size),
            ).named(f"standardised, sigma = {s:g}")
        )
        law = rectified.output_size(s, n) ** 2
        std = s**2 * math.sqrt(n * (1.5 - 0.25))  # E relu^4 = 3/2, (E relu^2)^2 = 1/4
        parts.append(
            agrees(
                runs["relu_square"][:, k],
                law,
                within=budget(replicas(std / math.sqrt(setting.n_rows), runs.n, of=of)),
                of=of,
                twin=Twin.of("5 % more", predicted=1.05 * law),
            ).named(f"rectified, sigma = {s:g}")
        )
    return all_of(soft.named("softmax"), *parts)


@paper.claim(
    "standardised_leaves_the_hull",
    source="section 3 of Richter and Wattenhofer; the law is derived here",
    statements=[2],
    kind="extrapolation",
    setting=HULL,
    parts=2,
    formula="P(outside | v) = P(n sigma_v t > max v) + P(n sigma_v t < min v), t^2 ~ Beta(1/2, (n - 2)/2)",
    judged="share of outputs outside the range of their values, less the law of each row's values; binomial spread; softmax: "
    "none",
    reads=("n_keys",),
)
def standardised_leaves_the_hull(setting: HullSetting, lab: Lab) -> Verdict:
    """Rows of standardised scores mix values to numbers outside their range with a known chance; softmax never does.

    Twins: outputs 5 % smaller; for softmax the share of standardised rows.
    """
    runs, of = lab.simulate(hull, setting), f"mean over replicas of {setting.n_rows} draws"
    given = runs["highest"], runs["lowest"], runs["mean_square"]
    law = theory.outside_hull_given_values_exact(*given, setting.n_keys).mean(1)
    smaller = theory.outside_hull_given_values_exact(*given[:2], given[2] * 0.95**2, setting.n_keys).mean(1)
    std = math.sqrt(float(law.mean()) * (1 - float(law.mean())) / setting.n_rows)
    outside = agrees(
        runs["standardised"],
        law,
        within=budget(replicas(std, runs.n, of=of)),
        of=of,
        twin=Twin.of("5 % smaller", predicted=smaller),
    )
    inside = agrees(
        runs["softmax"],
        0.0,
        within=1e-9,
        of="every replica",
        twin=Twin.of("that of standardised rows", measured=runs["standardised"]),
    )
    return all_of(outside.named("standardised"), inside.named("softmax"))


@paper.claim(
    "rows_of_nothing",
    source="section 3 of Zhang et al.; section 3 of Zuhri et al.",
    statements=[3, 5],
    setting=NOTHING,
    parts=4,
    formula="P(all weights are zero) = 2^(-n) at symmetric scores",
    judged="share of rows without any weight, at each n; binomial spread",
    reads=("n_keys",),
    covers={"n_keys": that(lambda n: len(n) == 2, "two lengths", "the claim has as many parts")},
)
def rows_of_nothing(setting: NothingSetting, lab: Lab) -> Verdict:
    """Rectified scores and softpick attend to nothing where all scores are negative, one row in 2^n at random.

    Twin: a tenth more.
    """
    runs, of, parts = lab.simulate(nothing, setting), f"mean over replicas of {setting.n_rows} draws", []
    for k, n in enumerate(setting.n_keys):
        law = 0.5**n
        within = budget(replicas(math.sqrt(law * (1 - law) / setting.n_rows), runs.n, of=of))
        twin = Twin.of("a tenth more", predicted=1.1 * law)
        for name in ("softpick", "relu"):
            parts.append(agrees(runs[name][:, k], law, within=within, of=of, twin=twin).named(f"{name}, n = {n}"))
    return all_of(*parts)
