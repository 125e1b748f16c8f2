"""Claims on learning curves: predicted and measured errors, numbers of samples, lower bounds that no model beats."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import Twin, Verdict, agrees, all_of, bounded, budget, exponent, finite_size, follows, replicas
from attnlab.papers.fu2023_random_features.paper import (
    DESK,
    SMOKE,
    half_crossing,
    measured_curve,
    paper,
    predicted_curve,
    spectrum_of,
    with_changes,
)
from attnlab.papers.lab.conditions import at_least, one_of, that
from attnlab.papers.lab.declare import Scales
from attnlab.papers.lab.run.workbench import Lab
from attnlab.simulators.random_feature_heads.learning_curves import Setting, learning_curves
from attnlab.theory.random_feature_heads.learning_curves import (
    half_samples,
    noise_error,
    norm_error_bound,
    rank_error_bound,
)
from attnlab.theory.random_feature_heads.spectrum import squared_norm, variance

CURVES = ("b1", "b2", "s1", "s2")
CURVE_STD = {"b1": 0.08, "b2": 0.031, "s1": 0.031, "s2": 0.029}
NOISE_STD, HALF_STD, KEYS_STD = 0.05, {"b1": 0.063, "b2": 0.03, "s1": 0.016}, 0.033
"""Largest spreads over the first eight replicas at seed 1: of an error and of the noise over their predictions, of log
n_1/2, of its difference between one key and four."""
SMALL = that(
    lambda ridges: 0 < ridges[0] <= 0.01, "0.01 at most, the first one is read", "a large one leaves nothing to inflate"
)


def holding(*needed):
    """Settings whose targets hold the needed ones."""
    return that(lambda targets: set(needed) <= set(targets), f"with {', '.join(needed)}")


ATTENTION = {"kind": one_of("attention", why="the spectrum is that of zero-mean heads"), "ridges": SMALL}
PREDICTED = {
    "sizes": that(lambda sizes: max(sizes) >= 100, "up to 100 samples at least", "the limit of many samples"),
    "ridges": SMALL,
    "targets": holding(*CURVES),
}
LEAST_SAMPLES = 50  # the learning curve is a limit of many samples: judged from here on
WIDTHS = Scales(smoke=SMOKE, desk=DESK, paper=with_changes(paper.default, dim=16).paper)
LEARNED = Scales(
    smoke=replace(SMOKE, sizes=(50, 100, 200), ridges=DESK.ridges[:1], targets=CURVES, n_replicas=32),
    desk=replace(DESK, sizes=(50, 100, 200, 400), ridges=DESK.ridges[:1], targets=CURVES, n_replicas=96),
    paper=paper.default.paper,
)
HALVES = with_changes(
    Scales(replace(SMOKE, n_replicas=32), replace(DESK, n_replicas=32), WIDTHS.paper),
    ridges=DESK.ridges[:1],
    targets=("b1", "b2", "s1"),
)
SHARP = Scales(smoke=replace(SMOKE, dim=8), desk=DESK, paper=with_changes(paper.default, dim=16).paper)
KEYS = Scales(
    smoke=replace(SMOKE, dim=8, sizes=(50, 100, 200, 400, 800), ridges=DESK.ridges[:1], targets=("b2",), n_replicas=16),
    desk=replace(
        DESK, dim=8, sizes=(50, 100, 200, 400, 800), n_test=500, ridges=DESK.ridges[:1], targets=("b2",), n_replicas=32
    ),
    paper=replace(DESK, dim=8, sizes=(50, 100, 200, 400, 800, 1600)),
)
LARGE = (64, 128, 256, 512)


@paper.claim(
    "learning_curve",
    source="not in the paper; the limit of kernel ridge regression",
    statements=[6, 8],
    kind="extrapolation",
    parts=8,
    covers=PREDICTED,
    setting=LEARNED,
    undecided_at_smoke="8 replicas leave intervals wider than the margin",
    formula="error = E_0 sum_a v_a (1 - L_a)^2 / Var f, L_a = lambda_a/(lambda_a + kappa_n), E_0 = n/(n - sum L_a^2)",
    assumptions=["50 samples or more", "ridge 0.001 on the Gram matrix, no label noise"],
    judged="ratio of measured to predicted error at all numbers of samples at once, for b_1, b_2, s_1, s_2 under "
    "attention and "
    "perceptron: 1 within 1/n at the least n, the order that the limit drops, and what the replicas leave open",
)
def learning_curve(setting: Setting, lab: Lab) -> Verdict:
    """Test errors of attention and of the perceptron follow the learning curve of their spectrum at every sample size.

    Twin: the bias alone, without the factor E_0 from fitting finite data. Null control: the constant predictor, of
    error one.
    """
    parts = []
    keep = np.array(setting.sizes) >= LEAST_SAMPLES
    kinds = [replace(setting, kind=kind) for kind in ("attention", "perceptron")]
    for each, runs in zip(kinds, lab.simulate(learning_curves, *kinds), strict=True):
        for target in CURVES:
            predicted = predicted_curve(each, target)[keep]
            ratio = measured_curve(runs, each, target)[:, keep] / predicted
            rival = Twin.of("bias alone", predicted=predicted_curve(each, target, inflated=False)[keep] / predicted)
            parts.append(
                follows(
                    ratio,
                    np.ones(keep.sum()),
                    within=budget(
                        finite_size(np.array(setting.sizes)[keep][0], of="n"),
                        replicas(CURVE_STD[target], runs.n, of="mean trajectory", points=int(keep.sum())),
                    ),
                    times=np.array(setting.sizes)[keep],
                    of="mean trajectory",
                    twin=rival,
                    null=ratio / predicted,  # error one, with the scatter of the runs
                ).named(f"{each.kind} {target}")
            )
    return all_of(*parts)


@paper.claim(
    "label_noise",
    source="not in the paper; the limit of kernel ridge regression",
    statements=[8],
    kind="extrapolation",
    parts=2,
    covers=PREDICTED,
    setting=LEARNED,
    undecided_at_smoke="8 replicas leave intervals wider than the margin",
    formula="noise of variance sigma^2 adds (E_0 - 1) sigma^2, E_0 = n/(n - sum L_a^2)",
    assumptions=["50 samples or more", "ridge 0.001 on the Gram matrix"],
    judged="ratio of measured to predicted error at all numbers of samples at once, for attention and perceptron: 1 "
    "within 1/n at the "
    "least n and what the replicas leave open",
)
def label_noise(setting: Setting, lab: Lab) -> Verdict:
    """Noise in the labels adds its variance times E_0 - 1 to the error of any target.

    Twin: the variance of a fixed filter, 1 - 1 / E_0, which fitting its own data does not inflate.
    """
    sizes, parts = np.array(setting.sizes), []
    keep = sizes >= LEAST_SAMPLES
    kinds = [replace(setting, kind=kind) for kind in ("attention", "perceptron")]
    for each, runs in zip(kinds, lab.simulate(learning_curves, *kinds), strict=True):
        predicted, rival = (
            noise_error(
                spectrum_of(each.kind, each.dim, each.n_keys), sizes[keep], ridge=each.ridges[0], inflated=inflated
            )
            for inflated in (True, False)
        )
        parts.append(
            follows(
                runs["noise"][:, 0, keep] / predicted,
                np.ones(keep.sum()),
                within=budget(
                    finite_size(sizes[keep][0], of="n"),
                    replicas(NOISE_STD, runs.n, of="mean trajectory", points=int(keep.sum())),
                ),
                times=sizes[keep],
                of="mean trajectory",
                twin=Twin.of("a fixed filter", predicted=rival / predicted),
            ).named(each.kind)
        )
    return all_of(*parts)


@paper.claim(
    "norm_bounds_error",
    source="from the learning curve; sharpens the part in n of the excess-risk bound",
    statements=[3],
    kind="extrapolation",
    parts=2,
    setting=SHARP,
    covers=ATTENTION | {"targets": holding("b2", "s1")},
    formula="error <= E_0 ||f||_K^2 kappa_n / 4 <= E_0 ||f||_K^2 (E K(x, x) + ridge) / (4 n)",
    assumptions=["infinitely many heads", "no label noise"],
    judged="at the number of samples where the bound is sharpest, mean error over the bound at most 1, and 1/n more, "
    "the order that the "
    "limit drops, and what the replicas leave open",
)
def norm_bounds_error(setting: Setting, lab: Lab) -> Verdict:
    """The error in n samples is bounded by the norm times 1/n, with no other power of the dimension, and the bound is
    sharp.

    Twin: half of the bound.
    """
    runs, parts = lab.simulate(learning_curves, setting), []
    spectrum = spectrum_of("attention", setting.dim, setting.n_keys)
    for target in ("b2", "s1"):
        bound = norm_error_bound(spectrum, squared_norm(target, setting.dim), setting.sizes, ridge=setting.ridges[0])
        bound = bound / variance(target, setting.dim, setting.n_keys)
        at = int(np.argmax(predicted_curve(setting, target) / bound))
        ratio = measured_curve(runs, setting, target)[:, at] / bound[at]
        within = float(budget(finite_size(setting.sizes[at], of="n"), replicas(CURVE_STD[target], runs.n)))
        parts.append(bounded(ratio, 1.0, within=within, twin=Twin.of("half of it", bound=0.5)).named(target))
    return all_of(*parts)


@paper.claim(
    "rank_bound",
    source="not in the paper; follows from the rotations of tokens",
    statements=[3, 8],
    kind="extrapolation",
    covers=ATTENTION
    | {"targets": holding("b1", "s2"), "dim": at_least(4, "the prediction needs three dimensions at half of it")},
    parts=2,
    setting=WIDTHS,
    formula="E error >= sum_a v_a (1 - r_a/D_a) / Var f, sum r_a <= n, D = N(d, l0) N(d, l)",
    assumptions=["zero-mean Gaussian weights"],
    judged="least gap to the bound over targets, ridges and numbers of samples at least 0, mean over replicas",
)
def rank_bound(setting: Setting, lab: Lab) -> Verdict:
    """No ridge and no number of heads lets zero-mean heads learn a mode of D dimensions from fewer than about D
    samples.

    Twins: biased heads, which the bound does not cover and which pass it on s_2; the bound of kernels that do not know
    that keys may be exchanged, on b_1 in the doubled dimension.
    """
    small = replace(setting, dim=8, sizes=(50, 100, 200), n_test=500)
    wide = replace(setting, dim=2 * setting.dim, sizes=(12, 25, 50, 100), n_test=500)
    zero_mean, biased, doubled = lab.simulate(learning_curves, small, replace(small, kind="biased"), wide)

    def gap(runs, each, targets, exchangeable=True):
        bounds = [
            [rank_error_bound(t, each.dim, each.n_keys, n, exchangeable=exchangeable) for t in targets]
            for n in each.sizes
        ]
        chosen = runs["error"][..., [each.targets.index(t) for t in targets]]
        return (chosen - np.array(bounds)).min((1, 2, 3))

    even = ("s2",)
    first = bounded(
        gap(zero_mean, small, even), 0.0, side="below", twin=Twin.of("biased heads", measured=gap(biased, small, even))
    )
    second = bounded(
        gap(doubled, wide, ("b1",)),
        0.0,
        side="below",
        twin=Twin.of("keys not exchangeable", measured=gap(doubled, wide, ("b1",), exchangeable=False)),
    )
    return all_of(first.named("s2"), second.named("b1"))


@paper.claim(
    "half_samples",
    source="Examples of Section 3, Section 5",
    statements=[4, 6],
    setting=HALVES,
    parts=6,
    covers=ATTENTION
    | {"targets": holding("b1", "b2", "s1"), "dim": at_least(8, "a quarter of the dimension is the smallest rival's")},
    formula="n_1/2, where the learning curve crosses one half, zero-mean heads",
    judged="measured log n_1/2 wherever the grid of samples reaches it: the predicted one within 1/n and what the "
    "replicas leave open",
)
def half_samples_in_d(setting: Setting, lab: Lab) -> Verdict:
    """Half of the variance of b_p and s_p takes the number of samples at which the learning curve of the spectrum
    crosses one half.

    Twin: the number at three quarters of the dimension.
    """
    cells = [("b1", 1), ("b1", 2), ("b2", 0.5), ("s1", 0.5)]
    if max(setting.sizes) >= 800:
        cells += [("b2", 1), ("s1", 1)]
    parts = []
    for target, factor in cells:
        each = replace(setting, dim=int(setting.dim * factor))
        runs = lab.simulate(learning_curves, each)
        found = half_crossing(each.sizes, measured_curve(runs, each, target))
        predicted = half_crossing(each.sizes, predicted_curve(each, target))[0]
        rival = half_crossing(each.sizes, predicted_curve(replace(each, dim=each.dim * 3 // 4), target))[0]
        within = budget(finite_size(np.exp(predicted), of="n"), replicas(HALF_STD[target], runs.n))
        parts.append(
            agrees(found, predicted, within=within, scale=1.0, twin=Twin.of("3/4 of d", predicted=rival)).named(
                f"{target}, d = {each.dim}"
            )
        )
    return all_of(*parts)


@paper.claim(
    "half_samples_growth",
    source="Examples of Section 3, Section 5",
    statements=[4, 6],
    setting=WIDTHS,
    parts=5,
    kind="identity",
    covers=ATTENTION,
    formula="n_1/2 ~ d^p for b_p, d^{2p} for s_p; N^2 of the perceptron for b_2 and many keys",
    judged="local exponents of the predicted numbers at d = 64 to 512, N = 32 to 256, within the first term that is "
    "dropped: 4 p / d of "
    "the number of harmonics, 8 / N of the keys",
)
def half_samples_growth(setting: Setting, lab: Lab) -> Verdict:
    """Half of the variance of b_p takes of the order of d^p samples, of s_p d^{2p}: the number of harmonics to be told
    apart.

    Twins: the powers of the norms, d^0 for b_p and d^p for s_p; one power less of N.
    """
    parts = []
    for target, power, norm in (("b1", 1, 0), ("b2", 2, 0), ("s1", 2, 1), ("s2", 4, 2)):
        found = [
            half_samples(
                spectrum_of("attention", d, setting.n_keys), target, d, setting.n_keys, ridge=setting.ridges[0]
            )
            for d in LARGE
        ]
        within = budget(finite_size(LARGE[0], 4 * power, of="d"))
        parts.append(
            exponent(LARGE, found, power, within=within, twin=Twin.of("power of the norm", predicted=norm)).named(
                target
            )
        )
    counts = (32, 64, 128, 256)
    found = [half_samples(spectrum_of("perceptron", 8, n), "b2", 8, n, ridge=setting.ridges[0]) for n in counts]
    within = budget(finite_size(counts[0], 8, of="N"))
    parts.append(exponent(counts, found, 2, within=within, twin=1).named("perceptron, many keys"))
    return all_of(*parts)


@paper.claim(
    "keys",
    source="Examples of Section 3, comparison with the perceptron",
    statements=[4, 6],
    setting=KEYS,
    parts=2,
    covers={
        "n_keys": one_of(KEYS.desk.n_keys, why="one key is compared with four"),
        "ridges": SMALL,
        "targets": holding("b2"),
    },
    formula="log n_1/2(N = 4) - log n_1/2(N = 1) for b_2",
    judged="measured log ratio: the predicted one within 1/n of each and what the replicas leave open",
)
def keys(setting: Setting, lab: Lab) -> Verdict:
    """The perceptron pays for keys: its number of samples for b_2 grows by a factor of five from one key to four, that
    of attention hardly.

    Twin: the prediction of the other model.
    """
    logs, measured = {}, {}
    kinds = ("attention", "perceptron")
    each = [replace(setting, kind=kind, n_keys=n) for kind in kinds for n in (1, 4)]
    runs = lab.simulate(learning_curves, *each)
    for k, kind in enumerate(kinds):
        few, many = (
            half_crossing(s.sizes, measured_curve(r, s, "b2"))
            for s, r in zip(each[2 * k : 2 * k + 2], runs[2 * k : 2 * k + 2], strict=True)
        )
        measured[kind] = many - few
        few, many = (half_crossing(s.sizes, predicted_curve(s, "b2"))[0] for s in each[2 * k : 2 * k + 2])
        logs[kind] = (few, many)
    parts = []
    for kind, other in (kinds, kinds[::-1]):
        few, many = logs[kind]
        within = budget(
            finite_size(np.exp(few), of="n"), finite_size(np.exp(many), of="n"), replicas(KEYS_STD, len(measured[kind]))
        )
        rival = Twin.of(f"the {other}'s", predicted=logs[other][1] - logs[other][0])
        parts.append(agrees(measured[kind], many - few, within=within, scale=1.0, twin=rival).named(kind))
    return all_of(*parts)
