"""Claims on the reduced model: the factor e, the Bayes risk, growth, drift and where it ends (statements 5 to 7)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import (
    Twin,
    Verdict,
    agrees,
    all_of,
    bounded,
    budget,
    converges,
    finite_size,
    ordered,
    relative,
    replicas,
    rounding,
    sampling,
    share,
    step_size,
)
from attnlab.analysis.verdicts.budget import Piece
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
from attnlab.theory.in_context_regression import dynamics, exact_risk
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
    parts=3,
    setting=GROWING,
    formula="min risk(H=1) and min risk(H>=2) at finite d and L = d / xi, exact",
    assumptions=["reduced model", "best scales for each sample"],
    judged="measured optima equal the exact finite-size optima within the bias of a minimum over a sample (two fitted "
    "scales: the risk's spread over the size of the sample) and four standard errors of the sample",
)
def factor_e(setting: OptimumSetting, lab: Lab) -> Verdict:
    """At each size the best single head, and the best pair of heads, have the risk that the exact integral gives.

    In the limit their ratio of sample sizes is e (factor_e_limit). Twins: the limit itself at finite size; plain gradient
    descent.
    """
    runs = lab.simulate(reduced_optimum, setting)
    L, sigma = runs["n_context"][0], setting.noise_std
    dims = np.array(setting.dims)
    single = np.array([best_one_head(int(d), int(n), sigma).risk for d, n in zip(dims, L, strict=True)])
    several = np.array([risks.debiased_gd_best_risk_exact(int(d), int(n), sigma) for d, n in zip(dims, L, strict=True)])
    plain = np.array([risks.plain_gd_best_risk_exact(int(d), int(n), sigma) for d, n in zip(dims, L, strict=True)])
    limit = float(risks.debiased_gd_risk_limit(np.e * dims[-1] / L[-1], sigma))
    spread = (2 / dims.min()) ** 0.5  # of |x_q|^2 / d, to which the risk given the query is proportional
    verdicts, of = [], f"mean over replicas of {setting.n_sequences} draws"
    for name, law, rival in (("one_head", single, np.full(len(dims), limit)), ("limit", several, plain)):
        within = budget(
            sampling(spread * float(law.max()), setting.n_sequences * setting.n_replicas),
            Piece("two fitted scales", 2 * spread**2 * float(law.max()) / setting.n_sequences),
        )
        k = 0 if name == "one_head" else int(np.argmax(np.abs(several - plain)))
        verdicts.append(
            agrees(runs[f"{name}_risk"][:, k], float(law[k]), within=within, of=of, twin=float(rival[k])).named(
                f"{'one head' if name == 'one_head' else 'two heads'} at d = {dims[k]}"
            )
        )
    last = agrees(
        runs["one_head_risk"][:, -1],
        float(single[-1]),
        within=within,
        of=of,
        twin=Twin.of(
            "factor 3", predicted=float(single[-1] + risks.debiased_gd_risk_limit(3 * dims[-1] / L[-1], sigma) - limit)
        ),
    )
    return all_of(*verdicts, last.named(f"one head at d = {dims[-1]}"))


@paper.claim(
    "factor_e_limit",
    source="Corollary on sample complexity",
    statements=[5],
    kind="identity",
    setting=GROWING,
    assumptions=["d / L -> xi"],
    formula="risk(H=1) -> 1 + sigma^2 - 1 / (1 + e xi (1 + sigma^2)), risk(H>=2): the same without e, d/L -> xi",
    judged="the gap of the exact finite-size risk to the limit falls like 1 / d: every slope up to d = 320 within 0.1",
)
def factor_e_limit(setting: OptimumSetting, lab: Lab) -> Verdict:
    """In the limit d / L -> xi one head has the risk of two or more heads at e times the ratio. Twin: a factor of 3."""
    sigma, ratio = setting.noise_std, 1 / setting.context_per_dim
    sizes = np.array([40, 80, 160, 320])
    risk = np.array([best_one_head(int(d), round(d / ratio), sigma).risk for d in sizes])

    def limit(factor):
        return float(risks.debiased_gd_risk_limit(factor * ratio, sigma))

    return converges(sizes, risk - limit(np.e), rate=1.0, within=0.1, twin=Twin.of("factor 3", gaps=risk - limit(3.0)))


RATIOS = Scales(
    smoke=RidgeSetting(dim=20, lengths=(5, 10, 20, 40, 80, 160), n_sequences=200, n_replicas=8),
    desk=RidgeSetting(dim=20, lengths=(5, 10, 20, 40, 80, 160, 320), n_sequences=1_000),
    paper=RidgeSetting(dim=80, lengths=(20, 40, 80, 160, 320, 640, 1280), n_sequences=2_000),
)


@paper.claim(
    "near_bayes",
    source="Section 4, comparison with the Bayes risk",
    statements=[6],
    parts=4,
    setting=RATIOS,
    formula="sup over xi of R_DGD(xi) / R_Bayes(xi) < infinity (2.53 at sigma^2 = 0.1)",
    assumptions=["sigma > 0", "isotropic covariates"],
    judged="where debiased descent loses most, the measured Bayes risk lies above the exact risk of descent over the supremum, "
    "up to 1/(2d); measured Bayes risks equal their limit within 1/(2d) relative",
)
def near_bayes(setting: RidgeSetting, lab: Lab) -> Verdict:
    """Debiased gradient descent loses at most a bounded factor to the Bayes estimator, whatever the context length.

    The Bayes risk is measured (ridge, the posterior mean); that of debiased gradient descent is exact. Twins: the bound of
    5 % more noise; debiased gradient descent in place of Bayes.
    """
    d, sigma = setting.dim, setting.noise_std
    runs = lab.simulate(ridge_risk, setting)
    lengths = np.array(setting.lengths)
    xi = d / lengths
    descent = np.array([risks.debiased_gd_best_risk_exact(d, int(L), sigma) for L in lengths])
    bound, _ = risks.debiased_gd_over_bayes_supremum_limit(sigma)
    rival, _ = risks.debiased_gd_over_bayes_supremum_limit(1.05 * sigma)
    # risk(debiased GD) <= bound * risk(Bayes), read as a lower bound of the measured Bayes risk
    worst = int(np.argmax(descent / risks.bayes_risk_limit(xi, sigma)))
    below = bounded(
        runs["risk"][:, worst],
        descent[worst] / bound,
        side="below",
        within=budget(finite_size(d, descent[worst] / bound / 2, of="d")),
        twin=Twin.of("bound of 1.1 times the noise", bound=descent[worst] / rival * (1 + 1 / d)),
    )
    law = risks.bayes_risk_limit(xi, sigma)
    parts = [below.named("bound")]
    for k in sorted({0, worst, len(lengths) - 1}):
        parts.append(
            agrees(
                runs["risk"][:, k],
                float(law[k]),
                within=budget(finite_size(d, float(law[k]) / 2, of="d")),
                twin=Twin.of("debiased gradient descent", predicted=float(descent[k])),
            ).named(f"Bayes risk at L = {lengths[k]}")
        )
    return all_of(*parts)


SMALL = 0.1  # scales below which the flow is linear, up to its square
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
    judged="growth rate of the spread of mu + omega over heads is 1 within the quadratic terms and the step; share of "
    "replicas in which every head keeps the predicted sign above the middle between 1 and (3/4)^H, the rival's",
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
    small = (size.max(0) < SMALL) & (time > 0.5)
    spread = np.log((mu + omega).std(-1))[:, small]
    rates = np.array([np.polyfit(time[small], row, 1)[0] for row in spread])
    step = 2 * setting.learning_rate
    rate = agrees(
        rates,
        1.0,
        within=budget(Piece("quadratic terms at size 0.1", SMALL**2), step_size(1.0, 1.0 + step / 4)),
        twin=Twin.of("full gradient", predicted=2.0),
    )
    late = np.flatnonzero(size.max(0) < SMALL)[-1]

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


def floor_slope(omega, setting, factorised):
    """Power of the speed in omega that the exact floor of the valley has over the same range."""
    speed = dynamics.valley_speed_approx(omega, *sizes(setting), factorised)
    return float(np.polyfit(np.log(omega), np.log(np.abs(speed)), 1)[0])


@paper.claim(
    "drift_exponents",
    source="Section 5, stage III",
    statements=[7],
    parts=4,
    setting=LATE_SCALES,
    undecided_at_smoke="10 000 steps end before the last heads have crossed zero",
    formula="d omega / dt = -C omega^7, so omega ~ t^(-1/6), for free (omega, mu); -C omega^6, t^(-1/5), for products",
    assumptions=["effective loss", "replicas past the one-head plateau", "last factor of 5 in time"],
    judged="power of the speed in omega equals that of the floor of the valley over the same range, within d^2 omega^4, by "
    "which the flow runs beside it; and the leading power within what the floor itself differs from it",
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
        exact = np.array([floor_slope(x, setting, name == "products") for x in middle])
        next_order = float(np.max(np.abs(exact - power)))
        ratio = float((middle[:, 0] / middle[:, -1]).max())
        beside = (
            setting.dim**2 * float(middle.max()) ** 4 / np.log(ratio)
        )  # the flow runs beside the floor of the valley
        verdicts.append(
            agrees(
                slopes,
                exact,
                within=budget(relative(beside, 1.0, "flow beside the floor"), rounding(1e4)),
                twin=Twin.of(
                    "the leading power alone" if next_order > beside else "the other power",
                    predicted=np.full(len(slopes), power) if next_order > beside else exact - power + other,
                ),
            ).named(name)
        )
        verdicts.append(
            agrees(
                slopes,
                power,
                within=budget(
                    Piece("next order in d^2 omega^4", next_order), relative(beside, 1.0, "flow beside the floor")
                ),
                twin=Twin.of("the other power", predicted=other),
            ).named(f"{name}, leading")
        )
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
    formula="R(omega_*) - R(0), exact at finite size",
    assumptions=["reduced model", "finite d and L", "common random numbers"],
    judged="measured gain equals the exact one within the replicas' interval of a spread read off earlier runs at seed 0",
)
def drift_ends(setting: ReducedSetting, lab: Lab) -> Verdict:
    """At finite length the risk along the valley has its minimum at a finite scale omega, where the drift ends.

    Twin: the published picture, no gain at any omega > 0.
    """
    limit, best, pair = valley(setting, lab)
    d, L, sigma = setting.dim, setting.lengths[0], setting.noise_std
    gain = risks.debiased_gd_best_risk_exact(d, L, sigma) - pair.risk
    spread = (
        2e-4 * (100_000 / setting.n_sequences) ** 0.5
    )  # read off earlier runs at seed 0: not independent of that seed
    return agrees(
        limit - best, gain, within=budget(replicas(spread, setting.n_replicas)), twin=Twin.of("no gain", predicted=0.0)
    )


PLATEAU = Scales(*(ReducedSetting(),) * 3)


@paper.claim(
    "plateau_scale",
    source="corrects Section 5, stage III",
    statements=[7],
    kind="identity",
    setting=PLATEAU,
    assumptions=["reduced model", "L >> d"],
    formula="omega_*^2 = 12 / (L (d + 4) ((1 + sigma^2) d + 3)) (1 + O(d / L))",
    judged="the minimiser of the exact risk (parabola in omega^2 through three points around it) over the printed formula "
    "tends to 1 like 1 / L at d = 5: every slope within 0.15",
)
def plateau_scale(setting: ReducedSetting, lab: Lab) -> Verdict:
    """To leading order in d / L the drift ends at the printed scale. Twin: 11 in place of 12."""
    d, sigma = setting.dim, setting.noise_std
    lengths, ratios = np.array([80, 160, 320]), []
    for n in map(int, lengths):
        printed = exact_risk.symmetric_pair_plateau_approx(d, n, sigma) ** 2
        squares = printed * np.array([0.5, 1.0, 1.5])
        risk = [exact_risk.heads_form_exact(np.array([w, -w]), d, n, sigma).best_risk() for w in squares**0.5]
        curvature, slope, _ = np.polyfit(squares, risk, 2)  # the risk is quadratic in omega^2 to this order
        ratios.append(-slope / (2 * curvature) / printed)
    gaps = np.array(ratios) - 1
    return converges(
        lengths, gaps, rate=1.0, within=0.15, twin=Twin.of("11 in place of 12", gaps=(gaps + 1) * 12 / 11 - 1)
    )
