"""Claims on the reduced model: the factor e, the Bayes risk, growth, drift and where it ends (statements 5 to 7)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import Twin, Verdict, agrees, all_of, bounded, converges, follows, ordered, share
from attnlab.papers.he2025_icl_regression.paper import best_one_head, best_pair, needs_two_heads, paper, sizes, weighted
from attnlab.papers.lab.conditions import too_few
from attnlab.papers.lab.declare import Scales
from attnlab.papers.lab.run.workbench import Lab
from attnlab.simulators.in_context_regression.reduced_flow import FlowSetting, train_reduced
from attnlab.simulators.in_context_regression.reduced_risk import (
    OptimumSetting,
    ReducedSetting,
    RidgeSetting,
    reduced_optimum,
    reduced_risk,
    ridge_risk,
)
from attnlab.theory.in_context_regression import dynamics
from attnlab.theory.in_context_regression import effective_loss as theory
from attnlab.theory.in_context_regression import gradient_descent_risks as risks

GROWING = Scales(
    smoke=OptimumSetting(dims=(5, 10, 20), n_sequences=2_000, n_replicas=16),
    desk=OptimumSetting(dims=(5, 10, 20, 40), n_sequences=4_000, n_replicas=16),
    paper=OptimumSetting(n_sequences=10_000, n_replicas=32),
)


@paper.claim(
    "factor_e",
    source="Corollary on sample complexity",
    statements=[5],
    parts=1,
    setting=GROWING,
    formula="risk(H=1) -> 1 + sigma^2 - 1 / (1 + e xi (1 + sigma^2)), risk(H>=2): the same without e, d/L -> xi",
    assumptions=["reduced model", "best scales for each sample"],
    judged="measured optima follow the exact finite-size optimum within a third of the distance between factors e "
    "and 3; the exact gap to the limit falls like 1 / d (every slope up to d = 320 within 0.1)",
)
def factor_e(setting: OptimumSetting, lab: Lab) -> Verdict:
    """In the limit d / L -> xi one head has the risk of two or more heads at e times the ratio.

    Two steps: measured optima agree with the exact risk at each size, and the exact risk tends to the limit. Twins: the
    limit itself at finite size; a factor of 3 in place of e.
    """
    runs = lab.simulate(reduced_optimum, setting)
    L, sigma = runs["n_context"][0], setting.noise_std
    ratio = setting.dims[-1] / L[-1]

    def limit(factor):
        return float(risks.debiased_gd_risk_limit(factor * ratio, sigma))

    def best(d):
        return best_one_head(int(d), round(d / ratio), sigma).risk

    descent = np.array(
        [risks.debiased_gd_best_risk_exact(d, int(n), sigma) for d, n in zip(setting.dims, L, strict=True)]
    )
    measured = runs["one_head_risk"] - runs["limit_risk"] + descent  # paired with debiased GD: less noise
    finite = follows(
        measured,
        np.array([best(d) for d in setting.dims]),
        within=(limit(3.0) - limit(np.e)) / 3,
        of="mean trajectory",
        times=np.array(setting.dims, float),
        twin=Twin.of("the limit at finite size", predicted=np.full(len(setting.dims), limit(np.e))),
    )
    sizes = np.array([40, 80, 160, 320])
    risk = np.array([best(d) for d in sizes])
    infinite = converges(
        sizes, risk - limit(np.e), rate=1.0, within=0.1, twin=Twin.of("factor 3", gaps=risk - limit(3.0))
    )
    return all_of(finite.named("measured = exact"), infinite.named("exact -> limit"))


RATIOS = Scales(
    smoke=RidgeSetting(dim=20, lengths=(5, 10, 20, 40, 80, 160), n_sequences=200, n_replicas=8),
    desk=RidgeSetting(dim=20, lengths=(5, 10, 20, 40, 80, 160, 320), n_sequences=1_000),
    paper=RidgeSetting(dim=80, lengths=(20, 40, 80, 160, 320, 640, 1280), n_sequences=2_000),
)


@paper.claim(
    "near_bayes",
    source="Section 4, comparison with the Bayes risk",
    statements=[6],
    parts=2,
    setting=RATIOS,
    formula="sup over xi of R_DGD(xi) / R_Bayes(xi) < infinity (2.53 at sigma^2 = 0.1)",
    assumptions=["sigma > 0", "isotropic covariates"],
    judged="the measured ratio stays below the supremum of its limit at every length, with 2/d for finite size; "
    "it follows the limit curve within 2/d relative",
)
def near_bayes(setting: RidgeSetting, lab: Lab) -> Verdict:
    """Debiased gradient descent loses at most a bounded factor to the Bayes estimator, whatever the context length.

    The Bayes risk is measured (ridge, the posterior mean); that of debiased gradient descent is exact. Twins: the bound
    that ten times the noise would allow; a loss that is the same at all lengths.
    """
    d, sigma = setting.dim, setting.noise_std
    runs = lab.simulate(ridge_risk, setting)
    lengths = np.array(setting.lengths)
    descent = np.array([risks.debiased_gd_best_risk_exact(d, int(L), sigma) for L in lengths])
    ratio, xi = descent / runs["risk"], d / lengths
    bound, _ = risks.debiased_gd_over_bayes_supremum_limit(sigma)
    rival, _ = risks.debiased_gd_over_bayes_supremum_limit(10**0.5 * sigma)
    below = bounded(
        ratio.max(-1), bound, within=2 / d * bound, twin=Twin.of("bound of ten times the noise", bound=rival)
    )
    limit = risks.debiased_gd_risk_limit(xi, sigma) / risks.bayes_risk_limit(xi, sigma)
    curve = follows(
        np.log(ratio),
        np.log(limit),
        within=2 / d,
        twin=Twin.of("the same at all lengths", predicted=np.full(len(xi), np.log(limit).mean())),
    )
    return all_of(below.named("bound"), curve.named("curve"))


FLOW = Scales(
    smoke=FlowSetting(init_scale=1e-3, n_steps=1_000, n_replicas=64),
    desk=FlowSetting(init_scale=1e-3, n_steps=1_000, n_replicas=64),
    paper=FlowSetting(init_scale=1e-4, n_steps=2_000, n_replicas=64),
)


@paper.claim(
    "growth",
    source="Section 5, stage I",
    statements=[7, 3],
    parts=2,
    setting=FLOW,
    formula="d mu/dt = omega, d omega/dt = mu: mu + omega ~ e^t, mu - omega ~ e^{-t}; sign = sign(mu + omega)(0)",
    assumptions=["small initial scales", "time of the flow dz/dt = -(1/2) grad loss"],
    judged="growth rate of the spread of mu + omega over heads is 1 within 0.05; share of replicas in which every "
    "head keeps the predicted sign above the middle between 1 and (3/4)^H, the rival's",
)
def growth(setting: FlowSetting, lab: Lab) -> Verdict:
    """From small scales mu + omega grows like e^t while mu - omega dies out, so the start decides the sign of a head.

    The mean over heads is damped by the noise of the context, so the growth is read off the spread over heads. Twins: the
    flow of the full gradient (rate 2); signs decided by omega alone.
    """
    if (verdict := needs_two_heads(setting)) is not None:
        return verdict
    runs = lab.simulate(train_reduced, setting)
    time, omega, mu = 2 * runs["time"][0], runs["omega"], runs["mu"]  # the simulator's time is of -grad loss
    size = np.abs(mu).max(-1)
    small = (size.max(0) < 0.1) & (time > 0.5)
    spread = np.log((mu + omega).std(-1))[:, small]
    rates = np.array([np.polyfit(time[small], row, 1)[0] for row in spread])
    rate = agrees(rates, 1.0, within=0.05, twin=Twin.of("full gradient", predicted=2.0))
    late = np.flatnonzero(size.max(0) < 0.1)[-1]

    def kept(signs):
        return (np.sign(omega[:, late]) == signs).all(-1)

    signs = share(
        kept(np.sign(omega[:, 0] + mu[:, 0])),
        at_least=(1 + 0.75**setting.n_heads) / 2,
        twin=Twin.of("sign of omega alone", successes=kept(np.sign(omega[:, 0]))),
    )
    return all_of(rate.named("rate"), signs.named("signs"))


LATE = FlowSetting(init_scale=0.05, learning_rate=0.05, n_steps=60_000, n_replicas=16)
LATE_SCALES = Scales(smoke=replace(LATE, n_steps=10_000), desk=LATE, paper=replace(LATE, n_steps=1_000_000))


@paper.claim(
    "drift_exponents",
    source="Section 5, stage III",
    statements=[7],
    parts=2,
    setting=LATE_SCALES,
    undecided_at_smoke="10 000 steps end before the last heads have crossed zero",
    formula="d omega / dt = -C omega^7, so omega ~ t^(-1/6), for free (omega, mu); -C omega^6, t^(-1/5), for products",
    assumptions=["effective loss", "replicas past the one-head plateau", "last factor of 5 in time"],
    judged="power of the speed in omega within 1/2, half of the distance between the two",
)
def drift_exponents(setting: FlowSetting, lab: Lab) -> Verdict:
    """On the effective loss omega drifts with a power of itself: 7, or 6 where scales are products of balanced factors.

    The power of the speed does not depend on when a replica arrived in the valley, as that of the time does. Twin of
    each: the other.
    """
    if (verdict := needs_two_heads(setting)) is not None:
        return verdict
    both = lab.simulate(
        train_reduced, replace(setting, parametrisation="direct"), replace(setting, parametrisation="product")
    )
    verdicts = []
    powers = [1 - 1 / float(dynamics.late_drift_exponent_limit(factorised)) for factorised in (False, True)]
    single = theory.one_head_optimum_approx(*sizes(setting)).risk
    several = float(risks.debiased_gd_risk_limit(setting.dim / setting.n_context, setting.noise_std))
    for runs, name, power, other in zip(both, ("free", "products"), powers, powers[::-1], strict=True):
        time = 2 * runs["time"][0]  # the simulator's time is of -grad loss
        late = time >= time[-1] / 5
        past = runs["effective_loss"][:, np.argmax(late)] < (single + several) / 2
        if (verdict := too_few(past, "are past the plateau")) is not None:
            return verdict
        size = weighted(np.abs(runs["mu"]), np.abs(runs["omega"]))[past][:, late]
        speed, middle = -np.diff(size) / np.diff(time[late]), np.sqrt(size[:, 1:] * size[:, :-1])
        slopes = np.array([np.polyfit(np.log(x), np.log(np.abs(y)), 1)[0] for x, y in zip(middle, speed, strict=True)])
        verdicts.append(agrees(slopes, power, within=abs(power - other) / 2, twin=other).named(name))
    return all_of(*verdicts)


SHALLOW = ReducedSetting(dim=3, lengths=(16,), n_sequences=100_000, n_replicas=16)
SHALLOW_SCALES = Scales(smoke=SHALLOW, desk=SHALLOW, paper=replace(SHALLOW, n_sequences=400_000))


def valley(setting, lab: Lab):
    """Measured risks ``(replica,)`` of debiased gradient descent (omega -> 0) and of the exact best symmetric pair."""
    d, L, sigma = setting.dim, setting.lengths[0], setting.noise_std
    pair = best_pair(d, L, sigma)
    runs = lab.simulate(
        reduced_risk,
        replace(
            setting,
            lengths=(L,),
            omega=(tuple(pair.omega.tolist()),),
            mu=(tuple(pair.mu.tolist()),),
            step_size=risks.debiased_gd_best_step_exact(d, L, sigma),
        ),
    )
    return runs["risk_debiased_gd"][:, 0], runs["risk"][:, 0, 0], pair


@paper.claim(
    "drift_without_end",
    source="Section 5, stage III",
    statements=[7],
    setting=SHALLOW_SCALES,
    expected="REFUTED",
    formula="inf over the valley of the risk is at omega -> 0",
    assumptions=["reduced model", "finite d and L", "common random numbers"],
    judged="paired difference of measured risks",
    note="True of the effective loss, which is the leading order in 1 / L. At finite L the risk along the valley has "
    "a minimum at omega^2 = 12 / (L (d + 4) ((1 + sigma^2) d + 3)) to leading order; see drift_ends.",
)
def drift_without_end(setting: ReducedSetting, lab: Lab) -> Verdict:
    """The drift along the valley goes on for ever, for the risk is least as omega -> 0. False at every finite length."""
    limit, best, _ = valley(setting, lab)
    return ordered(limit, best, twin=Twin.of("the minimum is inside the valley", smaller=best, larger=limit))


@paper.claim(
    "drift_ends",
    source="corrects Section 5, stage III",
    statements=[7],
    setting=SHALLOW_SCALES,
    formula="R(omega_*) < R(0), omega_*^2 = 12 / (L (d + 4) ((1 + sigma^2) d + 3)) (1 + O(d / L))",
    assumptions=["reduced model", "finite d and L", "common random numbers"],
    judged="measured gain equals the exact one within a third of it",
)
def drift_ends(setting: ReducedSetting, lab: Lab) -> Verdict:
    """At finite length the risk along the valley has its minimum at a finite scale omega, where the drift ends.

    Twin: the published picture, no gain at any omega > 0.
    """
    limit, best, pair = valley(setting, lab)
    d, L, sigma = setting.dim, setting.lengths[0], setting.noise_std
    gain = risks.debiased_gd_best_risk_exact(d, L, sigma) - pair.risk
    return agrees(limit - best, gain, within=gain / 3, twin=Twin.of("no gain", predicted=0.0))
