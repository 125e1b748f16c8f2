"""Claims on gates, slots, branches and global queries: timescales, what a mean keeps, one kernel, growth with the length."""

from __future__ import annotations

import math

import numpy as np

from attnlab.analysis import Twin, Verdict, agrees, all_of, budget, finite_size, identical, relative, replicas
from attnlab.papers.lab.conditions import at_least, that
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.linear_family_2.paper import BRANCHES, GATES, GLOBALS, SLOTS, paper
from attnlab.simulators.linear_variants.gates import (
    BranchSetting,
    GateSetting,
    GlobalSetting,
    SlotSetting,
    branches,
    gates,
    global_queries,
    slots,
)
from attnlab.theory.linear_variants import additive_global_query, orthogonal_memory, refined_gate


@paper.claim(
    "refined_gates_saturate_sooner",
    source="section 3.2 of Lu et al. (refining gate); the laws are derived, and correct ln T and eps of the sheet",
    statements=[10],
    setting=GATES,
    parts=3,
    kind="extrapolation",
    reads=("timescales",),
    formula="plain logit ln(T - 1), refined ln(sqrt T - 1); ratio of gradients at the same gate 2/(1 + sqrt eps), eps = 1/T",
    judged="logits by bisection and gradients by autograd on the operator's gate: equal within 10^-9, since 1 - g has lost "
    "three of sixteen digits at T = 1000",
)
def refined_gates_saturate_sooner(setting: GateSetting, lab: Lab) -> Verdict:
    """A refined gate reaches a timescale at about half the logit, with a gradient that is at most twice the plain one's.

    Twins: ln T; half of the plain logit; the limit 2.
    """
    runs = lab.simulate(gates, setting)
    plain, refined, ratio, limit, half, two = (
        np.tile([f(T) for T in setting.timescales], (runs.n, 1))
        for f in (
            refined_gate.plain_logit,
            refined_gate.refined_logit,
            lambda T: refined_gate.gradient_ratio(1 / T),
            math.log,
            lambda T: math.log(T) / 2,
            lambda T: 2.0,
        )
    )
    digits = 1e-9 / np.finfo(float).eps
    return all_of(
        identical(runs["plain"], plain, rounding=digits, scale=1.0, twin=Twin.of("ln T", b=limit)).named("plain"),
        identical(runs["refined"], refined, rounding=digits, scale=1.0, twin=Twin.of("half", b=half)).named("refined"),
        identical(runs["ratio"], ratio, rounding=digits, scale=1.0, twin=Twin.of("limit 2", b=two)).named("gradients"),
    )


@paper.claim(
    "states_fill_by_their_gate",
    source="section 3.3 of Lu et al. (normalisation of the state); the law is derived",
    statements=[11],
    setting=GATES,
    kind="extrapolation",
    reads=("timescales", "n_tokens"),
    formula="sum of squared weights of t tokens = (1 - g^2t)/(1 - g^2), g = 1 - 1/T",
    judged="the operator's map with all features alike, equal within 10^-9 of t",
)
def states_fill_by_their_gate(setting: GateSetting, lab: Lab) -> Verdict:
    """Independent unit inputs leave a state of variance (1 - g^2t)/(1 - g^2), about T/2 in the end.

    Twin: its end 1/(1 - g^2) at every number of tokens.
    """
    runs, t = lab.simulate(gates, setting), setting.n_tokens
    law, end = (
        np.tile([refined_gate.state_variance(1 - 1 / T, m) for T in setting.timescales], (runs.n, 1))
        for m in (t, 10**7)
    )
    return identical(
        runs["energy"], law, rounding=1e-9 / np.finfo(float).eps, scale=float(t), twin=Twin.of("the end", b=end)
    )


@paper.claim(
    "slots_know_the_mean",
    source="abstract of Zhang et al. (orthogonal memory), in our reading",
    statements=[12],
    setting=SLOTS,
    kind="construction",
    formula="global part of a context = that of the same tokens in any order",
    judged="first query's answer, equal within 1000 roundings of the largest",
)
def slots_know_the_mean(setting: SlotSetting, lab: Lab) -> Verdict:
    """The slots answer alike for a context in any order.

    Twin: a context whose mean is larger by a thousandth.
    """
    runs = lab.simulate(slots, setting)
    return identical(
        runs["reordered"], runs["here"], rounding=1000, twin=Twin.of("another mean", a=runs["others"], b=runs["here"])
    )


@paper.claim(
    "slots_lose_their_complement",
    source="abstract of Zhang et al. (orthogonal memory), in our reading; the shares are derived, and correct t < |b.x|/s",
    statements=[12],
    setting=SLOTS,
    parts=2,
    kind="extrapolation",
    reads=("n_slots", "width", "marker", "noise_std"),
    covers={"n_slots": that(lambda r: r >= 4, "at least 4", "the twin is a slot fewer")},
    formula="energy lost 1 - r/d; a marked token is as large as its noise at t = (b.x/s)^2",
    judged="means over replicas; kept energy of m draws scatters by sqrt(2 (r/d)(1 - r/d)/(d m)), a sample variance by "
    "sqrt(2/m), "
    "its inverse is biased by 2/m",
)
def slots_lose_their_complement(setting: SlotSetting, lab: Lab) -> Verdict:
    """Slots lose a share 1 - r/d of an isotropic mean, and see a marked token for (b.x/s)^2 tokens: the mean's noise shrinks too.

    Twins: a slot fewer; noise that is a tenth larger.
    """
    runs, m = lab.simulate(slots, setting), setting.n_draws
    r, d, of = setting.n_slots, setting.width, f"mean over replicas of {setting.n_draws} draws"
    lost, fewer = (orthogonal_memory.lost_energy(k, d) for k in (r, r - 1))
    until, louder = (orthogonal_memory.detectable_until(setting.marker, x * setting.noise_std) for x in (1, 1.1))
    spread = math.sqrt(2 * lost * (1 - lost) / (d * m))
    return all_of(
        agrees(
            runs["lost"],
            lost,
            within=budget(replicas(spread, runs.n, of=of)),
            of=of,
            twin=Twin.of("a slot fewer", predicted=fewer),
        ).named("energy lost"),
        agrees(
            runs["until"],
            until,
            within=budget(
                relative(2 / m, until, "inverse of a variance"), replicas(until * math.sqrt(2 / m), runs.n, of=of)
            ),
            of=of,
            twin=Twin.of("louder noise", predicted=louder),
        ).named("detectable until"),
    )


@paper.claim(
    "branches_are_one_kernel",
    source="section 3.1 of Liu et al. (structural reparameterisation)",
    statements=[13],
    setting=BRANCHES,
    parts=2,
    kind="construction",
    formula="K_short * x + K_long * x = (K_short + K_long) * x, directly and by the Fourier transform",
    judged="tokens after the convolution, equal within 1000 roundings of the largest",
)
def branches_are_one_kernel(setting: BranchSetting, lab: Lab) -> Verdict:
    """Two linear branches side by side are the operator's one kernel.

    Twin: a silu inside the short branch.
    """
    runs = lab.simulate(branches, setting)
    return all_of(
        *(
            identical(runs[name], runs["apart"], rounding=1000, twin=Twin.of("bent", b=runs["bent"])).named(name)
            for name in ("merged", "fourier")
        )
    )


@paper.claim(
    "global_queries_iterate_once",
    source="equations 4 and 5 of Shaker et al.; the identity is derived",
    statements=[15],
    setting=GLOBALS,
    parts=2,
    kind="extrapolation",
    reads=("n_tokens", "width"),
    covers={
        "n_tokens": at_least(1000, "the limit is that of many tokens"),
        "width": that(lambda D: D <= 12, "at most 12"),
    },
    formula="G = sqrt(n) C w/sqrt(w.C w), C the Gram matrix of unit queries; |G| = sqrt(n/D) for queries in all directions",
    judged="read off the operator's outputs, equal within 10^6 roundings (a division by a key's entry); lengths as a mean over "
    "replicas, bias D/n of it, spread sqrt(1/(2 n)), half that of (q.w)^2",
)
def global_queries_iterate_once(setting: GlobalSetting, lab: Lab) -> Verdict:
    """The global query is one step of power iteration on the Gram matrix, and its length counts the tokens.

    Twins: w itself in place of C w; a channel more.
    """
    runs, n, D = lab.simulate(global_queries, setting), setting.n_tokens, setting.width
    cells = list(zip(runs["queries"], runs["weight"], strict=True))
    law = np.array([additive_global_query.global_query(q, w) for q, w in cells])
    size = np.linalg.norm(law, axis=1, keepdims=True)
    rival = np.array([w / np.linalg.norm(w) for _, w in cells]) * size
    limit, more = (additive_global_query.isotropic_size_limit(n, k) for k in (D, D + 1))
    of = f"mean over replicas of {n} draws"
    within = budget(finite_size(n / D, limit, of="(n/D)"), replicas(limit * math.sqrt(1 / (2 * n)), runs.n, of=of))
    return all_of(
        identical(runs["few"], law, rounding=1e6, twin=Twin.of("w", b=rival)).named("identity"),
        agrees(runs["size"], limit, within=within, of=of, twin=Twin.of("D + 1", predicted=more)).named("length"),
    )
