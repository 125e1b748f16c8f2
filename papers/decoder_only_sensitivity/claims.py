"""Claims: one softmax as a gate, the source's share of it, what holds that share, sensitivity, and what depth repairs."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from attnlab.analysis import Twin, Verdict, agrees, all_of, budget, identical, relative, replicas
from attnlab.papers.decoder_only_sensitivity.paper import FLOWS, GATES, MASSES, SENSITIVITIES, paper
from attnlab.papers.lab.conditions import at_least, at_most, that
from attnlab.papers.lab.run.workbench import Lab
from attnlab.simulators.source_attention.layers import (
    FlowSetting,
    GateSetting,
    MassSetting,
    SensitivitySetting,
    flows,
    gates,
    masses,
    sensitivities,
)
from attnlab.theory.score_statistics.log_sum import mean_participation_exact
from attnlab.theory.source_attention import flow, mass, sensitivity

HALF = 0.5
THREE = {"target_lengths": that(lambda t: len(t) == 3, "three lengths", "the claim has as many parts")}


@paper.claim(
    "one_softmax_is_a_gate",
    source="regularised encoder-decoder; the identity is derived here",
    statements=[1],
    setting=GATES,
    formula="LM(q) = m cross(q) + (1 - m) self(q), m = Z_S / (Z_S + Z_T)",
    judged="the repository's attention over source and target together against a gated sum of the two alone, to rounding",
)
def one_softmax_is_a_gate(setting: GateSetting, lab: Lab) -> Verdict:
    """Attention to source and target in one softmax is cross-attention and self-attention, gated by their partition functions.

    Twin: the gate of equal scores, n / (n + t).
    """
    runs = lab.simulate(gates, setting)
    gate = (runs["sums"][:, 0] / runs["sums"].sum(1))[..., None]
    flat = mass.source_mass_limit(setting.n_source, setting.n_target, 0.0)
    law, rival = (g * runs["source"] + (1 - g) * runs["target"] for g in (gate, flat))
    most = 8 * (setting.n_source + setting.n_target + setting.dim)  # sums over keys, in both
    return identical(runs["joint"], law, rounding=most, twin=Twin.of("n / (n + t)", b=rival))


def _mass(setting: MassSetting, measured: np.ndarray, k: int, margin: float, twin: Twin) -> Verdict:
    n, t, s = setting.n_source, setting.target_lengths[k], setting.spread
    law = mass.source_mass_approx(n, t, margin, s)
    std = mass.source_mass_std(n, t, margin, s)
    draws = f"mean over replicas of {setting.n_rows} draws"
    v = math.expm1(s * s)
    within = budget(
        replicas(1.2 * std / math.sqrt(setting.n_rows), len(measured), of=draws),  # 1.2: next order of the spread
        relative(4 * (v / n) ** 2, law, "next order"),
    )
    return agrees(measured, law, within=within, of=draws, twin=twin)


@paper.claim(
    "source_mass",
    source="attention degeneration; the law is derived here",
    statements=[2],
    kind="extrapolation",
    setting=MASSES,
    parts=3,
    formula="m = n / (n + t e^-D), less m^2 (1-m) v/n, plus m (1-m)^2 v/t, v = e^(s^2) - 1",
    judged="mean over rows of Gaussian scores at three target lengths; the spread over rows from theory",
    reads=("n_source", "target_lengths", "margin", "spread", "n_rows"),
    covers=THREE | {"spread": at_most(1, "an expansion in v / n"), "biases": that(lambda b: b == (), "none")},
)
def source_mass(setting: MassSetting, lab: Lab) -> Verdict:
    """Where source scores are higher by D, the source keeps n / (n + t e^-D) of one softmax: half until t = n e^D. Twin: D +
    0.1."""
    runs = lab.simulate(masses, setting)
    parts = []
    for k, t in enumerate(setting.target_lengths):
        rival = mass.source_mass_approx(setting.n_source, t, setting.margin + 0.1, setting.spread)
        verdict = _mass(setting, runs["mass"][:, k], k, setting.margin, Twin.of("D + 0.1", predicted=rival))
        parts.append(verdict.named(f"t = {t}"))
    return all_of(*parts)


@paper.claim(
    "a_bias_holds_the_source",
    source="derived here",
    statements=[2, 3],
    kind="extrapolation",
    setting=MASSES,
    parts=3,
    formula="b = ln(t/n) + ln(m / (1-m)) - D",
    judged="mean over rows of Gaussian scores at three target lengths, with the bias for m = 1/2",
    reads=("n_source", "target_lengths", "margin", "spread", "n_rows"),
    covers=THREE | {"spread": at_most(1, "an expansion in v / n"), "biases": that(lambda b: b == (), "none")},
)
def a_bias_holds_the_source(setting: MassSetting, lab: Lab) -> Verdict:
    """A bias on source scores that grows like ln t keeps the source's share whatever the length: no second softmax is needed
    for that.

    Twin: a bias smaller by 0.1.
    """
    n, D = setting.n_source, setting.margin
    biases = tuple(mass.holding_bias(n, t, HALF, D) for t in setting.target_lengths)
    runs = lab.simulate(masses, replace(setting, biases=biases))
    parts = []
    for k, (t, bias) in enumerate(zip(setting.target_lengths, biases, strict=True)):
        rival = mass.source_mass_approx(n, t, D + bias - 0.1, setting.spread)
        # the prediction is one half, up to v / n: the law at the mass that the bias is made for
        margin = math.log(t / n)
        verdict = _mass(setting, runs["mass"][:, k], k, margin, Twin.of("0.1 less", predicted=rival))
        parts.append(verdict.named(f"t = {t}"))
    return all_of(*parts)


def _sensitivity_std(setting: SensitivitySetting, t: int) -> float:
    """Relative spread of one draw's squared norm: of the sum of squared weights, of its normaliser, of |W_V|^2 and of n
    values."""
    v2, v4 = math.expm1(setting.spread**2), math.expm1(4 * setting.spread**2)
    n, d = setting.n_source, setting.dim
    return math.sqrt(v4 / n + 4 * v2 / (n + t) + 2 / d**2 + 2 / (d * n))


@paper.claim(
    "sensitivity_falls",
    source="sensitivity of the output to the source; the laws are derived here",
    statements=[2],
    setting=SENSITIVITIES,
    parts=6,
    formula="|J|^2: values d n P / (n+t); values and scores 1 + s^2 + (2 s^2 + s^4) / d times that; P -> e^(s^2) / (n+t)",
    judged="mean over drawn layers at three target lengths, map fixed and with scores; next order 4 e^(2 s^2) / (n+t) of the "
    "latter",
    reads=("n_source", "target_lengths", "dim", "spread", "n_draws"),
    covers=THREE
    | {"spread": at_most(1, "the next order grows like e^(2 s^2)"), "n_source": at_least(64, "an expansion in 1/n")},
)
def sensitivity_falls(setting: SensitivitySetting, lab: Lab) -> Verdict:
    """One layer's sensitivity to the source falls like one over the length of the row, through values and through scores.

    Twins: P of flat maps, 1 / (n + t); no path through scores.
    """
    runs = lab.simulate(sensitivities, setting)
    n, d, s = setting.n_source, setting.dim, setting.spread
    draws = f"mean over replicas of {setting.n_draws} draws"
    parts = []
    for k, t in enumerate(setting.target_lengths):
        P = mean_participation_exact(n + t, s)
        fixed = sensitivity.value_path_exact(n, t, d, P)
        both = sensitivity.both_paths_approx(n, t, d, s, P)
        std = _sensitivity_std(setting, t) / math.sqrt(setting.n_draws)
        flat = sensitivity.value_path_exact(n, t, d, 1 / (n + t))
        order = relative(4 * math.exp(2 * s * s) / (n + t), both, "next order")
        parts.append(
            agrees(
                runs["values"][:, k],
                fixed,
                within=budget(replicas(std * fixed, runs.n, of=draws)),
                of=draws,
                twin=Twin.of("flat", predicted=flat),
            ).named(f"values, t = {t}")
        )
        parts.append(
            agrees(
                runs["both"][:, k],
                both,
                within=budget(replicas(std * both, runs.n, of=draws), order),
                of=draws,
                twin=Twin.of("values only", predicted=fixed),
            ).named(f"both, t = {t}")
        )
    return all_of(*parts)


@paper.claim(
    "a_branch_keeps_it",
    source="partial attention (a separate softmax over the source, with values of its own)",
    statements=[3],
    setting=SENSITIVITIES,
    parts=3,
    formula="|J|^2 of joint layer plus branch: that of the joint layer at t plus that at t = 0",
    judged="mean over drawn layers at three target lengths; the two value matrices are independent, so cross terms average out",
    reads=("n_source", "target_lengths", "dim", "spread", "n_draws"),
    covers=THREE
    | {"spread": at_most(1, "the next order grows like e^(2 s^2)"), "n_source": at_least(64, "an expansion in 1/n")},
)
def a_branch_keeps_it(setting: SensitivitySetting, lab: Lab) -> Verdict:
    """With a softmax over the source alone beside it, the sensitivity does not fall below that branch's own, at any length.

    Twin: the branch shares the joint softmax's normaliser, n + t.
    """
    runs = lab.simulate(sensitivities, setting)
    n, d, s = setting.n_source, setting.dim, setting.spread
    draws = f"mean over replicas of {setting.n_draws} draws"
    alone = sensitivity.both_paths_approx(n, 0, d, s, mean_participation_exact(n, s))
    parts = []
    for k, t in enumerate(setting.target_lengths):
        joint = sensitivity.both_paths_approx(n, t, d, s, mean_participation_exact(n + t, s))
        law = joint + alone
        std = _sensitivity_std(setting, 0) * law / math.sqrt(setting.n_draws)
        verdict = agrees(
            runs["branch"][:, k],
            law,
            within=budget(replicas(std, runs.n, of=draws), relative(4 * math.exp(2 * s * s) / n, law, "next order")),
            of=draws,
            twin=Twin.of("one normaliser", predicted=2 * joint if t > n else alone / 2 + joint),
        )
        parts.append(verdict.named(f"t = {t}"))
    return all_of(*parts)


@paper.claim(
    "depth_repairs",
    source="derived here",
    statements=[2],
    kind="extrapolation",
    setting=FLOWS,
    formula="f_L = P(N <= L-1), N a sum of geometric variables of parameters 1/i, i = n+1, ..., n+t",
    judged="means upon means of positions, as matrices, at every target length and depth, to rounding",
    reads=("n_source", "target_lengths", "depths"),
    covers={"mixing": that(lambda x: x == 1, "1", "residual mixing is another claim")},
)
def depth_repairs(setting: FlowSetting, lab: Lab) -> Verdict:
    """In flat causal attention the source's share of the flow after L layers is the chance of at most L - 1 hops, exactly.

    Twin: the Poisson law of ln(1 + t/n), its limit of long sources.
    """
    runs = lab.simulate(flows, setting)
    law, rival = (
        np.array([[f(t, depth) for depth in setting.depths] for t in setting.target_lengths])
        for f in (
            lambda t, depth: flow.source_flow_exact(setting.n_source, t, depth),
            lambda t, depth: flow.source_flow_limit(t / setting.n_source, depth),
        )
    )
    most = 4 * max(setting.depths) * (setting.n_source + max(setting.target_lengths))
    return identical(runs["source"][0], law, rounding=most, scale=1.0, twin=Twin.of("Poisson", b=rival))


@paper.claim(
    "residuals_need_more_depth",
    source="derived here",
    statements=[2],
    kind="extrapolation",
    setting=FLOWS,
    formula="the mean of f_K over K binomial(L, lambda)",
    judged="the same with layers (1 - lambda) x + lambda A x, lambda = 1/2, to rounding",
    reads=("n_source", "target_lengths", "depths"),
    covers={"mixing": that(lambda x: x == 1, "1", "the other mixing is derived from this setting")},
)
def residuals_need_more_depth(setting: FlowSetting, lab: Lab) -> Verdict:
    """With a residual of one half the number of hops is binomial, and the same flow takes about twice the layers.

    Twin: half of the layers, all of them hops.
    """
    runs = lab.simulate(flows, replace(setting, mixing=HALF))
    law = np.array([
        [flow.lazy_flow_exact(setting.n_source, t, depth, HALF) for depth in setting.depths] for t in setting.target_lengths
    ])  # fmt: skip
    rival = np.array([
        [flow.source_flow_exact(setting.n_source, t, max(depth // 2, 1)) for depth in setting.depths]
        for t in setting.target_lengths
    ])  # fmt: skip
    most = 4 * max(setting.depths) * (setting.n_source + max(setting.target_lengths))
    return identical(runs["source"][0], law, rounding=most, scale=1.0, twin=Twin.of("half the layers", b=rival))
