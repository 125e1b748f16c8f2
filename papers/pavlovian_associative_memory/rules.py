"""Claims on memories that correct errors, on softmax memories, and on redundancy and depth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import Outcome, Twin, Verdict, agrees, all_of, bounded, follows, identical, ordered
from attnlab.papers.lab.declare import Scales
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.pavlovian_associative_memory.paper import mean_over_pairs, over, paper, scaled
from attnlab.simulators.associative_memory.recall import (
    SPLITS,
    ChainSetting,
    DepthSetting,
    Setting,
    depth,
    propagate,
    retrieve,
)
from attnlab.simulators.associative_memory.separation import SeparationSetting, separability
from attnlab.theory.associative_memory import error_correcting as theory
from attnlab.theory.associative_memory import signs, softmax, sums


@paper.claim(
    "delta_rule",
    source="plasticity rules",
    statements=[4],
    setting=scaled(Setting(n_pairs=40, rule="delta", n_draws=1_200)),
    parts=3,
    formula="X <- X (1 - 2 b/d + 2 b^2/(d (d+2))) + b^2 A/(d (d+2)) + b^2/d, C <- C (1 - b/d); error X - 2 C + 1",
    judged="profile over pairs within 0.1 in sup norm; the last pair exact at rate 1 (64 roundings); mean error below "
    "Hebb's",
)
def delta_rule(setting: Setting, lab: Lab) -> Verdict:
    """One pass of the delta rule errs by an exact recursion: the last pair is stored exactly, interference forgets the old.

    Twins: interference without the fourth moment's extra terms (independent directions); a last pair that errs like the one
    before; a Hebbian memory that is better.
    """
    runs, plain = lab.simulate(retrieve, setting, replace(setting, rule="hebb"))
    n, d, rate = setting.n_pairs, setting.dim, setting.rate
    law = theory.delta_rule_errors(n, d, rate)
    profile = follows(
        runs["error"],
        law,
        within=0.1,
        of=f"mean trajectory of {setting.n_draws} draws",
        times=np.arange(n, dtype=float),
        twin=Twin.of("Hebbian interference", predicted=np.full(n, float(sums.scaled_hebbian_error(n, d)))),
    )
    last = identical(runs["error"][:, -1], np.zeros(runs.n), rounding=64, scale=1.0, twin=runs["error"][:, -2])
    better = ordered(
        mean_over_pairs(runs),
        mean_over_pairs(plain),
        of=over(setting),
        twin=Twin.of("reversed", smaller=mean_over_pairs(plain), larger=mean_over_pairs(runs)),
    )
    return all_of(profile.named("profile"), last.named("last pair"), better.named("better than Hebb"))


@paper.claim(
    "least_squares",
    source="converged delta rule",
    statements=[4, 5],
    setting=scaled(Setting(n_pairs=32, rule="least_squares", n_draws=400)),
    parts=3,
    formula="error 0 for n <= d, else 1 - d/n; noisy cue, Gaussian keys, n < d - 1: s^2 n/(d - n - 1)",
    judged="below 10^-6 up to d (rounding, times the squared condition number of the worst draw); within 1/(2 n) "
    "above; noise within a tenth",
)
def least_squares(setting: Setting, lab: Lab) -> Verdict:
    """The converged delta rule stores exactly d real values, and errs by 1 - d/n beyond.

    Twins: capacity d + 1; noise that is not amplified, s^2 n/d.
    """
    n, d = setting.n_pairs, setting.dim
    full, over, noisy = lab.simulate(
        retrieve, replace(setting, n_pairs=d), setting, replace(setting, n_pairs=d // 2, keys="gaussian", cue_noise=0.3)
    )
    exact = bounded(
        full["error"].max(-1), 1e-6, of="every replica", twin=Twin.of("beyond d", measured=over["error"].max(-1))
    )
    beyond = agrees(
        mean_over_pairs(over),
        float(theory.least_squares_error(n, d)),
        within=1 / (2 * n),
        of=over(setting),
        twin=float(theory.least_squares_error(n, d + 1)),
    )
    law = float(theory.least_squares_noisy_error(d // 2, d, 0.3))
    noise = agrees(
        mean_over_pairs(noisy),
        law,
        within=0.1 * law,
        of=over(setting),
        twin=Twin.of("not amplified", predicted=0.3**2 * (d // 2) / d),
    )
    return all_of(exact.named("up to d"), beyond.named("beyond d"), noise.named("noisy cue"))


SEPARATION = Scales(
    smoke=SeparationSetting(), desk=SeparationSetting(n_draws=200), paper=SeparationSetting(dim=20, n_pairs=40)
)


@paper.claim(
    "sign_capacity",
    source="sign capacity of the best linear memory",
    statements=[5],
    setting=SEPARATION,
    formula="P(all n signs realisable) = 2^{1-n} sum_{k<d} C(n-1, k), 1/2 at n = 2 d",
    judged="share of solvable assignments within 1/10, by linear programming",
)
def sign_capacity(setting: SeparationSetting, lab: Lab) -> Verdict:
    """The best linear memory realises random signs up to twice its width, with Cover's probability.

    Twin: a memory of one dimension less.
    """
    if setting.n_pairs <= setting.dim:
        return Verdict(
            Outcome.VACUOUS,
            "assumption",
            reason=f"n_pairs={setting.n_pairs} independent keys in dim={setting.dim} "
            "realise all signs; the law begins with more pairs than dimensions",
        )
    runs = lab.simulate(separability, setting)
    law = theory.separable_probability(setting.n_pairs, setting.dim)
    return agrees(
        runs["separable"],
        law,
        within=0.1,
        of=over(setting),
        twin=Twin.of("d - 1", predicted=theory.separable_probability(setting.n_pairs, setting.dim - 1)),
    )


SOFT = scaled(Setting(n_pairs=64, rule="softmax", rate=4.0, n_draws=400))


@paper.claim(
    "softmax_error",
    source="modern Hopfield read-out",
    statements=[1, 5],
    setting=SOFT,
    parts=2,
    formula="error = E[(1 - a_j)^2 + sum_{i != j} a_i^2]; E a_j >= 1/(1 + (n - 1) e^{-b} m_d(b))",
    judged="paired difference of both sides within half of the other weights' part; mean weight above the bound",
)
def softmax_error(setting: Setting, lab: Lab) -> Verdict:
    """A softmax memory errs by its weights alone, and the weight on the target is bounded below.

    Twins: the target's part only; the bound of half as many pairs.
    """
    runs = lab.simulate(retrieve, setting)
    n, d, b = setting.n_pairs, setting.dim, setting.rate
    law = float(softmax.target_weight_bound(n, d, b))
    others = float(sums.exponential_error(n, d, b)) * law**2  # sum of the other weights squared, to leading order
    both = agrees(
        mean_over_pairs(runs) - runs["weight_error"].mean(-1),
        0.0,
        within=others / 2,
        of=over(setting),
        twin=Twin.of("target only", measured=mean_over_pairs(runs) - runs["target_error"].mean(-1)),
    )
    jensen = bounded(
        runs["target_weight"].mean(-1),
        law,
        side="below",
        of=over(setting),
        twin=Twin.of("half of the others", bound=float(softmax.target_weight_bound(n // 2, d, b))),
    )
    return all_of(both.named("identity"), jensen.named("target weight"))


@paper.claim(
    "nearest_key",
    source="modern Hopfield read-out, infinite inverse temperature",
    statements=[5],
    setting=scaled(Setting(n_pairs=200, rule="nearest", cue_noise=1.0, value_dim=1, n_draws=160)),
    formula="P(wrong) = 1 - E_s[F_d(s)^{n-1}], s the cosine between cue and key",
    judged="within 1/50, less than half of the distance to a memory of half as many pairs",
)
def nearest_key(setting: Setting, lab: Lab) -> Verdict:
    """From a noisy cue the nearest key is the right one with a probability in closed form.

    Twin: the cosine at its mean value, without fluctuation of the noise.
    """
    runs = lab.simulate(retrieve, setting)
    n, d, noise = setting.n_pairs, setting.dim, setting.cue_noise
    law = softmax.nearest_key_error(n, d, noise)
    fixed = float(1 - sums.overlap_distribution(d, 1 / np.sqrt(1 + noise**2)) ** (n - 1))
    return agrees(
        1 - runs["target_weight"].mean(-1),
        law,
        within=0.02,
        of=over(setting),
        twin=Twin.of("fixed cosine", predicted=fixed),
    )


WIDTHS = (4, 6, 8, 10)


@paper.claim(
    "exponential_capacity",
    source="modern Hopfield capacity",
    statements=[5],
    setting=scaled(Setting(rule="softmax", value_dim=1, n_draws=24)),
    parts=len(WIDTHS),
    formula="at n = 1 + e^b/m_d(b), b = d, the target keeps weight 1/2; (1/d) ln n -> 0.6226",
    judged="mean weight of the target within 1/10 of 1/2 at d = 4, 6, 8, 10, while n grows from 9 to 300",
    note="Jensen's bound is below the mean weight; the gap is inside the margin at these sizes.",
)
def exponential_capacity(setting: Setting, lab: Lab) -> Verdict:
    """The number of pairs at which the target keeps half of the weight grows exponentially with the width.

    Twin: a number linear in the width, through the same point at the first width: its weight stays near one.
    """
    count = [round(softmax.half_weight_pairs(d, float(d))) for d in WIDTHS]
    runs = lab.simulate(
        retrieve, *(replace(setting, dim=d, rate=float(d), n_pairs=n) for d, n in zip(WIDTHS, count, strict=True))
    )
    parts = []
    for d, n, each in zip(WIDTHS, count, runs, strict=True):
        linear = round(count[0] * d / WIDTHS[0])
        rival = 1.0 if d == WIDTHS[0] else float(1 / (1 + (n - 1) / (linear - 1)))
        parts.append(
            agrees(
                each["target_weight"].mean(-1),
                0.5,
                within=0.1,
                of=over(setting),
                twin=Twin.of("no interference" if d == WIDTHS[0] else "linear capacity", predicted=rival),
            ).named(f"d={d}")
        )
    return all_of(*parts)


DEPTH = Scales(smoke=DepthSetting(), desk=DepthSetting(n_draws=800), paper=DepthSetting(dim=64, n_pairs=40))


@paper.claim(
    "redundancy",
    source="redundancy of heads",
    statements=[3],
    setting=DEPTH,
    parts=3,
    formula="H heads of width d/H: (n - 1)/d; H heads of width d: (n - 1)/(H d); majority: P(Bin(H, p) > H/2)",
    judged="relative errors within a tenth; majority of 3 and 7 within 1/100 of the binomial law, p measured on the "
    "same heads",
)
def redundancy(setting: DepthSetting, lab: Lab) -> Verdict:
    """Splitting a width among heads changes nothing, more heads of full width divide the error, and their majority is binomial.

    Twins: heads that repeat each other (no gain); splitting that multiplies the error by the heads.
    """
    runs = lab.simulate(depth, setting)
    alone = float(sums.hebbian_error(setting.n_pairs, setting.dim))
    heads = np.array(setting.n_heads)
    split = agrees(
        (runs["split_error"] / alone).mean(-1),
        1.0,
        within=0.1,
        of=over(setting),
        twin=Twin.of("times heads", predicted=float(np.mean(SPLITS))),
    )
    full = agrees(
        (runs["mean_error"] * heads / alone).mean(-1),
        1.0,
        within=0.1,
        of=over(setting),
        twin=Twin.of("no gain", predicted=float(heads.mean())),
    )
    p = runs["head_error"]
    law = np.array([[signs.majority_error(int(h), float(each)) for h in setting.n_heads] for each in p])
    three = setting.n_heads.index(3)
    vote = agrees(
        runs["majority_error"][:, three],
        law[:, three],
        within=0.01,
        of=over(setting),
        twin=Twin.of("single head", predicted=p),
    )
    return all_of(split.named("split"), full.named("full width"), vote.named("majority"))


@paper.claim(
    "depth",
    source="error propagation",
    statements=[3],
    setting=DEPTH,
    parts=2,
    formula="success (1 - p_H)^L; p_H <= exp(-2 H (1/2 - p)^2), so H >= ln(L/delta) / (2 (1/2 - p)^2) heads suffice",
    judged="success over depth within 1/20 in sup norm for three heads; majority error of three heads below its bound",
)
def success_over_depth(setting: DepthSetting, lab: Lab) -> Verdict:
    """Chains of voting layers succeed with the power law of independent layers, so that redundancy grows with the log of depth.

    Twins: layers of one head; a bound with four times the exponent.
    """
    runs = lab.simulate(depth, setting)
    L = np.arange(1, setting.n_layers + 1)
    three, p = setting.n_heads.index(3), signs.sign_error(setting.n_pairs, setting.dim)
    law = signs.chain_success(L, 3, p)
    curve = follows(
        runs["success"][:, three],
        law,
        within=0.05,
        of="mean trajectory",
        times=L.astype(float),
        twin=Twin.of("no redundancy", predicted=signs.chain_success(L, 1, p)),
    )
    bound = bounded(
        runs["majority_error"][:, three],
        signs.majority_error_bound(3, p),
        of=over(setting),
        twin=Twin.of("exponent 8", bound=signs.majority_error_bound(3, p) ** 4),
    )
    return all_of(curve.named("three heads"), bound.named("majority bound"))


CHAIN = Scales(smoke=ChainSetting(), desk=ChainSetting(), paper=ChainSetting(n_layers=100, n_draws=80_000))


@paper.claim(
    "propagation",
    source="error propagation",
    statements=[3],
    setting=CHAIN,
    formula="variance s^2 sum_{k=1}^{L} g^{2k}",
    judged="log variance over depth within 1/20 in sup norm",
)
def propagation(setting: ChainSetting, lab: Lab) -> Verdict:
    """Noise of every layer is amplified by all later ones: variances add up geometrically.

    Twin: noise that enters after the gain, s^2 sum_{k<L} g^{2k}.
    """
    runs = lab.simulate(propagate, setting)
    L = np.arange(1, setting.n_layers + 1)
    law = signs.propagated_variance(L, setting.gain, setting.noise_std**2)
    return follows(
        np.log(runs["variance"]),
        np.log(law),
        within=0.05,
        of="mean trajectory",
        times=L.astype(float),
        twin=Twin.of("noise after the gain", predicted=np.log(law / setting.gain**2)),
    )
