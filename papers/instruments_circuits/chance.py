"""Claims on chance: overlaps of random circuits and scores of codes without a signal."""

from __future__ import annotations

from dataclasses import replace

from attnlab.analysis import Twin, Verdict, agrees, all_of, budget, replicas, share
from attnlab.papers.instruments_circuits.measured import CodeSetting, SetSetting, codes, overlaps
from attnlab.papers.instruments_circuits.paper import CODES, SETS, paper
from attnlab.papers.lab.conditions import one_of
from attnlab.papers.lab.run.workbench import Lab
from attnlab.theory.instruments import circuits as theory


@paper.claim(
    "overlap",
    source="section 3, head overlap; the tail of the 78 % figure is corrected by ERRATA 10",
    statements=[4],
    setting=SETS,
    kind="extrapolation",
    parts=2,
    formula="mean ab/N, variance ab(N-a)(N-b)/(N^2(N-1)): 1.898 and 1.645 at N = 384, a = b = 27",
    judged="mean and variance over random pairs, within what replicas leave open: sd/sqrt(n), and sd^2 sqrt(2.5/n) for a "
    "kurtosis below 3.5",
    reads=("n_layers", "n_heads", "n_first", "n_second"),
    covers={"late": one_of(False)},
)
def overlap(setting: SetSetting, lab: Lab) -> Verdict:
    """Random circuits share heads as the hypergeometric law says.

    Twins: N - a heads to fall on, as if the first were excluded; drawn with replacement, the variance ab(N-a)/N^2.
    """
    runs = lab.simulate(overlaps, setting)
    n, a, b = setting.n_layers * setting.n_heads, setting.n_first, setting.n_second
    mean, var = theory.overlap_mean(n, a, b), theory.overlap_variance(n, a, b)
    of = f"mean over replicas of {setting.n_pairs} draws"
    sd = (var / setting.n_pairs) ** 0.5, var * (2.5 / setting.n_pairs) ** 0.5
    within = [budget(replicas(each, setting.n_replicas, of=of)) for each in sd]
    return all_of(
        agrees(runs["mean"], mean, within=within[0], of=of, twin=Twin.of("N - a", predicted=a * b / (n - a))).named(
            "mean"
        ),
        agrees(
            runs["variance"],
            var,
            within=within[1],
            of=of,
            twin=Twin.of("with replacement", predicted=a * b * (n - a) / n**2),
        ).named("variance"),
    )


@paper.claim(
    "depth_alone",
    source="section 3: report a null within layers; derived",
    statements=[4],
    setting=SETS,
    kind="extrapolation",
    parts=2,
    formula="P(p <= .05) <= .05 within layers; with all heads alike it is P(Hyp(N/2, a, b) >= smallest k with P(Hyp(N, a, b) >= "
    "k) <= .05)",
    judged="share of pairs of random circuits in the late half of a model, 200 per replica",
    reads=("n_layers", "n_heads", "n_first", "n_second"),
    covers={"late": one_of(False, why="the claim runs the late ones")},
)
def depth_alone(setting: SetSetting, lab: Lab) -> Verdict:
    """Circuits that only have their depth in common overlap "significantly" against a null of all heads alike, and not against
    one within layers.

    Twins: within layers, at most 1 %, which the exact law exceeds; all alike, the chance of sets from the whole model.
    """
    runs = lab.simulate(overlaps, replace(setting, late=True))
    n, a, b = setting.n_layers * setting.n_heads, setting.n_first, setting.n_second
    critical = next(k for k in range(min(a, b) + 1) if theory.overlap_tail(n, a, b, k) <= 0.05)
    law, whole = theory.overlap_tail(n // 2, a, b, critical), theory.overlap_tail(n, a, b, critical)
    count = runs["pooled"].size
    return all_of(
        share(runs["within"].ravel(), at_most=0.05, twin=Twin.of("1 %", at_most=0.01), unit="pair").named("within layers"),
        share(
            runs["pooled"].ravel(), predicted=law, within=7 * (law * (1 - law) / count) ** 0.5, unit="pair",
            twin=Twin.of("the whole model", predicted=whole),
        ).named("all heads alike"),
    )  # fmt: skip


COUNTS = (4, 8, 16)  # with 2 codes the score is .001, beyond any resolution here


@paper.claim(
    "null_of_codes",
    source="section 4, null",
    statements=[5],
    setting=CODES,
    kind="extrapolation",
    parts=len(COUNTS) + 1,
    formula="E score = sum_k p_k (1 - p_k)^n; (1 - 1/K)^n for K alike: .0563, .263, .524 at K = 4, 8, 16, n = 10",
    judged="means over heads, within what replicas leave open; the spread of a head's score is exact",
    reads=("n_negative", "n_positive"),
)
def null_of_codes(setting: CodeSetting, lab: Lab) -> Verdict:
    """Without any signal a head's score is set by how many codes it uses, and grows to half at 16 codes and 10 negatives.

    Twins: one negative fewer; uneven codes, the law of as many even ones.
    """
    uneven = (0.4, 0.3, 0.1, 0.1, 0.05, 0.05)
    cells = [(f"K = {k}", (1 / k,) * k) for k in COUNTS] + [("uneven", uneven)]
    of = f"mean over replicas of {setting.n_heads} draws"
    every = lab.simulate(codes, *(replace(setting, shares=shares) for _, shares in cells))
    parts = []
    for (name, shares), runs in zip(cells, every, strict=True):
        law = theory.codes_null(shares, setting.n_negative)
        rival = theory.codes_null(shares, setting.n_negative - 1)
        if name == "uneven":
            rival = theory.codes_null((1 / len(shares),) * len(shares), setting.n_negative)
        sd = theory.codes_null_sd(shares, setting.n_positive, setting.n_negative) / setting.n_heads**0.5
        parts.append(
            agrees(
                runs["score"], law, within=budget(replicas(sd, setting.n_replicas, of=of)), of=of,
                twin=Twin.of("one negative fewer, or even codes", predicted=rival),
            ).named(name)
        )  # fmt: skip
    return all_of(*parts)
