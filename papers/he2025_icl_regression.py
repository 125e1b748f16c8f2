"""He, Pan, Chen and Yang 2025: multi-head softmax attention learns debiased gradient descent in context.

Letters of the paper: omega and mu are the key-query and output-value scales of a head, d the dimension of the covariates,
L the number of examples, sigma^2 the noise variance. Risks include the noise of the query once.
"""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np

from attnlab.analysis import (
    Outcome,
    Twin,
    Verdict,
    agrees,
    all_of,
    bounded,
    converges,
    figures,
    follows,
    ordered,
    settles,
    share,
)
from attnlab.analysis.verdict import TRAIN_LONGER
from attnlab.papers.lab.paper import Paper, Scales, Source
from attnlab.simulators import in_context_regression as simulator
from attnlab.simulators.in_context_regression import Setting
from attnlab.simulators.in_context_regression_flow import FlowSetting, train_reduced
from attnlab.simulators.in_context_regression_multitask import MultiTaskSetting, train_multitask
from attnlab.simulators.in_context_regression_reduced import (
    OptimumSetting,
    ReducedSetting,
    RidgeSetting,
    reduced_optimum,
    reduced_risk,
    ridge_risk,
)
from attnlab.theory import in_context_regression as theory
from attnlab.theory import in_context_regression_dynamics as dynamics
from attnlab.theory import in_context_regression_exact as exact
from attnlab.theory import in_context_regression_multi_task as multi_task
from attnlab.theory import in_context_regression_preconditioned as preconditioned
from attnlab.theory import in_context_regression_risks as risks

paper = Paper(
    key="he2025_icl_regression",
    title="In-Context Linear Regression Demystified: Training Dynamics and Mechanistic Interpretability of Multi-Head "
          "Softmax Attention",
    sources=[Source(authors="Jianliang He, Xintian Pan, Siyu Chen, Zhuoran Yang", year=2025, arxiv="2503.12734",
                    title="In-Context Linear Regression Demystified: Training Dynamics and Mechanistic Interpretability "
                          "of Multi-Head Softmax Attention",
                    venue="International Conference on Machine Learning")],
    statements={
        1: "Key-query blocks of active heads become multiples of the identity, of one common size.",
        2: "Output-value rows keep only the label entry, and these entries sum to zero over heads (H >= 2).",
        3: "mu and omega of a head have the same sign; positive heads act as one head, and so do negative heads.",
        4: "For H >= 2 the learnt predictor is one step of gradient descent on centred covariates.",
        5: "A single head needs e times the context length of two or more heads.",
        6: "The risk of two or more heads is within a bounded factor of the Bayes risk, uniformly in d / L.",
        7: "Training has phases: exponential growth with sign matching, overshoot, a slow drift along a flat valley.",
        8: "A trained model keeps improving on longer prompts; un-normalised linear attention does not.",
        9: "On non-isotropic covariates the learnt map is preconditioned debiased gradient descent.",
        10: "With several tasks heads split among the tasks or, when they are few, superpose them.",
    })

DESK = Setting(n_replicas=24, n_records=300, n_steps=40_000)
paper.scales(
    smoke=replace(DESK, n_steps=3_000, n_replicas=8, n_test=4_000, snapshot_steps=(1, 500, 1_000)),
    desk=DESK,
    paper=replace(DESK, batch=256, n_steps=500_001, n_test=50_000, n_records=500))

SHORT = "3 000 steps leave the slowest heads on their way; 40 000 steps (desk) decide"


def sizes(setting):
    """``(d, L, sigma)``: what every prediction needs."""
    return setting.dim, setting.n_context, setting.noise_std


def one_head_optimum(setting):
    """The best single head at these sizes, exact."""
    return _best_one_head(*sizes(setting))


_best_one_head = functools.cache(functools.partial(theory.best_one_head, exact.heads_form_exact))
_best_pair = functools.cache(functools.partial(theory.best_symmetric_pair, exact.heads_form_exact))


def single_head(setting):
    """The setting of the single-head run, which converges in half of the steps."""
    return replace(setting, n_heads=1, n_steps=max(setting.n_steps // 2, min(setting.n_steps, 3_000)), n_test=2 * setting.n_test,
                   n_replicas=min(setting.n_replicas, 16))


def past_plateau(setting, runs):
    """Which replicas have heads of both signs and have left the one-head solution: nearer to the two-head risk.

    A model whose heads all have one sign is a single head in function; two heads may stay there for thousands of steps.
    """
    one_head = one_head_optimum(setting).risk
    two_heads = risks.debiased_gd_best_risk_exact(*sizes(setting))
    return np.isfinite(runs["group_mu"][:, -1]).all(-1) & (runs["loss"][:, -1] < (one_head + two_heads) / 2)


def trained(setting, lab):
    """The shared run: ``(steps, runs restricted to replicas past the one-head plateau, verdict if there are too few)``."""
    runs = lab.simulate(simulator.train, setting)
    past = past_plateau(setting, runs)
    return runs["steps"][0], {name: values[past] for name, values in runs.items()}, not_yet(past, "are past the plateau")


def needs_two_heads(setting):
    """The verdict on a single head, where the statement says nothing."""
    if setting.n_heads < 2:
        return Verdict(Outcome.VACUOUS, "assumption", reason=f"n_heads={setting.n_heads}: the statement is about H >= 2")
    return None


def not_yet(condition, what):
    """The verdict if fewer than two replicas meet a condition that longer training may bring about."""
    if condition.sum() < 2:
        return Verdict(Outcome.UNDECIDED, "condition", n=int(condition.sum()),
                       reason=f"{condition.sum()} of {len(condition)} replicas {what}; {TRAIN_LONGER}")
    return None


def weighted(weights, values):
    """Mean over heads (the last axis) with the given weights."""
    return (weights * values).sum(-1) / weights.sum(-1)


def relative_spread(values, weights):
    """Weighted standard deviation over heads, relative to the weighted mean."""
    mean = weighted(weights, values)[..., None]
    return np.sqrt(weighted(weights, (values - mean) ** 2)) / mean[..., 0]


def trailing_mean(steps, curves):
    """Each record replaced by the mean over the records of the last half of the steps before it."""
    return np.stack([curves[:, (steps >= t / 2) & (steps <= t)].mean(-1) for t in steps], axis=-1)


@paper.claim("diagonal_kq", source="Section 4, Figure 1", statements=[1], parts=2, undecided_at_smoke=SHORT,
             formula="KQ^(h) -> omega^(h) I_d, |omega^(h)| -> omega",
             assumptions=["H >= 2", "replicas past the one-head plateau", "heads weighted by |mu|"],
             judged="diagonal energy share of KQ tends to 1 within 0.1; relative spread of |omega| over heads tends to 0 "
                    "within 0.2 (finite-size shifts of omega are 10 to 15 %)")
def diagonal_kq(setting, lab):
    """Each head's key-query matrix becomes a multiple of the identity, and the heads agree on its size.

    Twins: a head reads one direction (a rank-one block has diagonal energy 3 / (d + 2) in the mean); the sizes of omega
    are as free as those of mu.
    """
    if verdict := needs_two_heads(setting):
        return verdict
    steps, runs, early = trained(setting, lab)
    if early:
        return early
    size = np.abs(runs["mu"])
    diagonal = settles(steps, weighted(size, runs["diagonal_energy"]), 1.0, within=0.1,
                       twin=Twin.of("rank-one heads", predicted=3 / (setting.dim + 2)))
    spread = settles(steps, relative_spread(np.abs(runs["omega"]), size), 0.0, within=0.2,
                     twin=Twin.of("omega as free as mu", curves=relative_spread(size, np.ones_like(size))))
    return all_of(diagonal.named("diagonal"), spread.named("one size"))


@paper.claim("zero_sum_ov", source="Section 4, Figure 1", statements=[2], parts=2, undecided_at_smoke=SHORT,
             formula="OV^(h) -> (0_d, mu^(h)), sum_h mu^(h) -> 0",
             assumptions=["H >= 2", "replicas past the one-head plateau", "OV summed over heads of one sign"],
             judged="energy share of the label entry tends to 1 within 0.1; |sum mu| / max |mu| tends to 0 within 0.15")
def zero_sum_ov(setting, lab):
    """The output-value rows keep only the label entry, and these entries sum to zero over the heads.

    Redundant heads of one sign keep compensating covariate entries for long, so rows are summed over the sign group.
    Twins: a generic row (energy share 1 / (d + 1)); heads that draw their signs independently.
    """
    if verdict := needs_two_heads(setting):
        return verdict
    steps, runs, early = trained(setting, lab)
    if early:
        return early
    energy = np.nanmean(runs["group_last_entry_energy"], axis=-1)
    label = settles(steps, np.nan_to_num(energy), 1.0, within=0.1,
                    twin=Twin.of("generic rows", predicted=1 / (setting.dim + 1)))
    size = np.abs(runs["mu"])
    signs = np.array(np.meshgrid(*[[-1, 1]] * min(setting.n_heads, 10))).reshape(min(setting.n_heads, 10), -1)
    independent = np.abs(size[..., :len(signs)] @ signs).mean(-1) / size.max(-1)
    zero = settles(steps, runs["zero_sum"], 0.0, within=0.15, twin=Twin.of("independent signs", curves=independent))
    return all_of(label.named("label entry"), zero.named("zero sum"))


@paper.claim("sign_matching", source="Section 4", statements=[3], formula="sign mu^(h) = sign omega^(h)",
             assumptions=["H >= 2", "replicas past the one-head plateau", "heads with |mu| above 5 % of the largest"],
             undecided_at_smoke="8 replicas that all match show a share of 0.4, not of 1/2",
             judged="share of replicas in which all active heads match is at least 1/2 (two heads of independent signs: 1/4)")
def sign_matching(setting, lab):
    """In a trained model every active head has mu and omega of the same sign.

    Twin: signs match across heads as well as within them (each mu is compared with the omega of the next head).
    """
    if verdict := needs_two_heads(setting):
        return verdict
    _, runs, early = trained(setting, lab)
    if early:
        return early
    omega, mu = runs["omega"][:, -1], runs["mu"][:, -1]
    active = np.abs(mu) > 0.05 * np.abs(mu).max(-1, keepdims=True)

    def match(other):
        return (~active | (np.sign(other) == np.sign(mu))).all(-1)
    return share(match(omega), at_least=0.5, twin=Twin.of("no match within a head", successes=match(np.roll(omega, 1, -1))))


@paper.claim("debiased_gd", source="Theorem 4.1", statements=[4, 3], parts=3, undecided_at_smoke=SHORT,
             formula="y_hat = (eta / L) sum_l y_l (x_l - x_mean)^T x_q, eta = sum_h mu^(h) omega^(h)",
             assumptions=["H >= 2", "replicas past the one-head plateau"],
             judged="share of the mean left in the covariates is 0 within 1/3; eta tends to its best value within half of "
                    "the distance to the product mu omega of one head; the risk is that of debiased gradient descent "
                    "within a tenth of the distance to the risk of one head")
def debiased_gd(setting, lab):
    """Two or more heads compute one step of gradient descent on centred covariates, with the best step size.

    The output is regressed on the difference of plain and debiased gradient descent: coefficient 0 is debiased, 1 is
    plain. This tells the two apart; their risks, 1 % apart at d = 5 and L = 40 (plain is the lower one), do not before
    the last heads have aligned. Twins: plain gradient descent (coefficient), one head (step size and risk).
    """
    if verdict := needs_two_heads(setting):
        return verdict
    steps, runs, early = trained(setting, lab)
    if early:
        return early
    d, L, sigma = sizes(setting)
    eta = runs["step_size"][:, -1]
    apart = eta**2 * (d + 2 + sigma**2 * d) / L**2                            # E (plain - debiased)^2, exact
    left = (runs["distance_to_debiased_gd"] + apart - runs["distance_to_plain_gd"]) / (2 * apart)
    debiased = agrees(left, 0.0, within=1 / 3, twin=Twin.of("plain gradient descent", predicted=1.0))
    best, single = risks.debiased_gd_best_step_exact(d, L, sigma), one_head_optimum(setting)
    product = float(single.omega @ single.mu)
    step = settles(steps, trailing_mean(steps, runs["step_size"]), best, within=abs(best - product) / 2,
                   twin=Twin.of("one head", predicted=product))
    risk = runs["gap_to_debiased_gd"] + risks.debiased_gd_risk_exact(eta, d, L, sigma)    # paired: less noise
    lowest = risks.debiased_gd_best_risk_exact(d, L, sigma)
    reached = agrees(risk, lowest, within=(single.risk - lowest) / 10, twin=Twin.of("one head", predicted=single.risk))
    return all_of(debiased.named("centred"), step.named("step size"), reached.named("risk"))


@paper.claim("one_head", source="Section 4, equation for H = 1", statements=[5],
             undecided_at_smoke="after 3 000 steps a replica may still be leaving the null solution",
             formula="min over (omega, mu) of the exact risk of y_hat = mu y^T softmax(omega X x_q)",
             assumptions=["H = 1", "replicas that have left the null solution"],
             judged="risk within a tenth of the distance between one head and debiased gradient descent")
def one_head(setting, lab):
    """A single trained head reaches the exact finite-size risk of the best single head, not that of two.

    Twin: debiased gradient descent, the risk of two or more heads.
    """
    d, L, sigma = sizes(setting)
    runs = lab.simulate(simulator.train, single_head(setting))
    best, rival = one_head_optimum(setting).risk, risks.debiased_gd_best_risk_exact(d, L, sigma)
    awake = runs["loss"][:, -1] < (1 + sigma**2 + best) / 2
    risk = runs["gap_to_debiased_gd"] + risks.debiased_gd_risk_exact(runs["step_size"][:, -1], d, L, sigma)
    return agrees(risk[awake], best, within=(best - rival) / 10, twin=Twin.of("two heads", predicted=rival))


GROWING = Scales(smoke=OptimumSetting(dims=(5, 10, 20), n_sequences=2_000, n_replicas=16), desk=OptimumSetting(
    dims=(5, 10, 20, 40), n_sequences=4_000, n_replicas=16), paper=OptimumSetting(n_sequences=10_000, n_replicas=32))


@paper.claim("factor_e", source="Corollary on sample complexity", statements=[5], parts=1, setting=GROWING,
             formula="risk(H=1) -> 1 + sigma^2 - 1 / (1 + e xi (1 + sigma^2)), risk(H>=2): the same without e, d/L -> xi",
             assumptions=["reduced model", "best scales for each sample"],
             judged="measured optima follow the exact finite-size optimum within a third of the distance between factors e "
                    "and 3; the exact gap to the limit falls like 1 / d (every slope up to d = 320 within 0.1)")
def factor_e(setting, lab):
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
        return _best_one_head(int(d), round(d / ratio), sigma).risk
    descent = np.array([risks.debiased_gd_best_risk_exact(d, int(n), sigma) for d, n in zip(setting.dims, L, strict=True)])
    measured = runs["one_head_risk"] - runs["limit_risk"] + descent          # paired with debiased GD: less noise
    finite = follows(measured, np.array([best(d) for d in setting.dims]), within=(limit(3.0) - limit(np.e)) / 3,
                     of="mean trajectory", times=np.array(setting.dims, float),
                     twin=Twin.of("the limit at finite size", predicted=np.full(len(setting.dims), limit(np.e))))
    sizes = np.array([40, 80, 160, 320])
    risk = np.array([best(d) for d in sizes])
    infinite = converges(sizes, risk - limit(np.e), rate=1.0, within=0.1, twin=Twin.of("factor 3", gaps=risk - limit(3.0)))
    return all_of(finite.named("measured = exact"), infinite.named("exact -> limit"))


RATIOS = Scales(smoke=RidgeSetting(dim=20, lengths=(5, 10, 20, 40, 80, 160), n_sequences=200, n_replicas=8),
                desk=RidgeSetting(dim=20, lengths=(5, 10, 20, 40, 80, 160, 320), n_sequences=1_000),
                paper=RidgeSetting(dim=80, lengths=(20, 40, 80, 160, 320, 640, 1280), n_sequences=2_000))


@paper.claim("near_bayes", source="Section 4, comparison with the Bayes risk", statements=[6], parts=2, setting=RATIOS,
             formula="sup over xi of R_DGD(xi) / R_Bayes(xi) < infinity (2.53 at sigma^2 = 0.1)",
             assumptions=["sigma > 0", "isotropic covariates"],
             judged="the measured ratio stays below the supremum of its limit at every length, with 2/d for finite size; "
                    "it follows the limit curve within 2/d relative")
def near_bayes(setting, lab):
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
    below = bounded(ratio.max(-1), bound, within=2 / d * bound, twin=Twin.of("bound of ten times the noise", bound=rival))
    limit = risks.debiased_gd_risk_limit(xi, sigma) / risks.bayes_risk_limit(xi, sigma)
    curve = follows(np.log(ratio), np.log(limit), within=2 / d,
                    twin=Twin.of("the same at all lengths", predicted=np.full(len(xi), np.log(limit).mean())))
    return all_of(below.named("bound"), curve.named("curve"))


FLOW = Scales(smoke=FlowSetting(init_scale=1e-3, n_steps=1_000, n_replicas=64), desk=FlowSetting(
    init_scale=1e-3, n_steps=1_000, n_replicas=64), paper=FlowSetting(init_scale=1e-4, n_steps=2_000, n_replicas=64))


@paper.claim("growth", source="Section 5, stage I", statements=[7, 3], parts=2, setting=FLOW,
             formula="d mu/dt = omega, d omega/dt = mu: mu + omega ~ e^t, mu - omega ~ e^{-t}; sign = sign(mu + omega)(0)",
             assumptions=["small initial scales", "time of the flow dz/dt = -(1/2) grad loss"],
             judged="growth rate of the spread of mu + omega over heads is 1 within 0.05; share of replicas in which every "
                    "head keeps the predicted sign above the middle between 1 and (3/4)^H, the rival's")
def growth(setting, lab):
    """From small scales mu + omega grows like e^t while mu - omega dies out, so the start decides the sign of a head.

    The mean over heads is damped by the noise of the context, so the growth is read off the spread over heads. Twins: the
    flow of the full gradient (rate 2); signs decided by omega alone.
    """
    if verdict := needs_two_heads(setting):
        return verdict
    runs = lab.simulate(train_reduced, setting)
    time, omega, mu = 2 * runs["time"][0], runs["omega"], runs["mu"]          # the simulator's time is of -grad loss
    size = np.abs(mu).max(-1)
    small = (size.max(0) < 0.1) & (time > 0.5)
    spread = np.log((mu + omega).std(-1))[:, small]
    rates = np.array([np.polyfit(time[small], row, 1)[0] for row in spread])
    rate = agrees(rates, 1.0, within=0.05, twin=Twin.of("full gradient", predicted=2.0))
    late = np.flatnonzero(size.max(0) < 0.1)[-1]

    def kept(signs):
        return (np.sign(omega[:, late]) == signs).all(-1)
    signs = share(kept(np.sign(omega[:, 0] + mu[:, 0])), at_least=(1 + 0.75**setting.n_heads) / 2,
                  twin=Twin.of("sign of omega alone", successes=kept(np.sign(omega[:, 0]))))
    return all_of(rate.named("rate"), signs.named("signs"))


@paper.claim("drift", source="Section 5, stage III; Figure 2", statements=[7], parts=2, undecided_at_smoke=SHORT,
             formula="mu omega = const while |omega| falls and |mu| rises",
             assumptions=["H >= 2", "replicas past the one-head plateau", "last doubling of the training time"],
             judged="log |omega| of the median replica falls in the last doubling of the steps; log of sum mu omega changes by "
                    "less than half as much as log |omega|")
def drift(setting, lab):
    """Late in training omega shrinks and mu grows along the valley, the product staying what it is.

    Twins: omega still grows to its limit; omega shrinks alone, and the product with it.
    """
    if verdict := needs_two_heads(setting):
        return verdict
    steps, runs, early = trained(setting, lab)
    if early:
        return early
    omega = trailing_mean(steps, np.log(np.abs(runs["group_omega"]).mean(-1)))
    product = trailing_mean(steps, np.log(np.abs(runs["step_size"])))
    half = np.searchsorted(steps, steps[-1] / 2)
    falls = ordered(omega[:, -1], omega[:, half], of="median over replicas",
                    twin=Twin.of("omega still grows", smaller=omega[:, half], larger=omega[:, -1]))
    fall, change = omega[:, -1] - omega[:, half], product[:, -1] - product[:, half]
    stays = agrees(change, 0.0, within=float(np.abs(np.median(fall))) / 2, of="median over replicas",
                   twin=Twin.of("omega alone", measured=fall))
    return all_of(falls.named("omega falls"), stays.named("product stays"))


LATE = FlowSetting(init_scale=0.05, learning_rate=0.05, n_steps=60_000, n_replicas=16)
LATE_SCALES = Scales(smoke=replace(LATE, n_steps=10_000), desk=LATE, paper=replace(LATE, n_steps=1_000_000))


@paper.claim("drift_exponents", source="Section 5, stage III", statements=[7], parts=2, setting=LATE_SCALES,
             undecided_at_smoke="10 000 steps end before the last heads have crossed zero",
             formula="d omega / dt = -C omega^7, so omega ~ t^(-1/6), for free (omega, mu); -C omega^6, t^(-1/5), for products",
             assumptions=["effective loss", "replicas past the one-head plateau", "last factor of 5 in time"],
             judged="power of the speed in omega within 1/2, half of the distance between the two")
def drift_exponents(setting, lab):
    """On the effective loss omega drifts with a power of itself: 7, or 6 where scales are products of balanced factors.

    The power of the speed does not depend on when a replica arrived in the valley, as that of the time does. Twin of
    each: the other.
    """
    if verdict := needs_two_heads(setting):
        return verdict
    both = lab.simulate(train_reduced, replace(setting, parametrisation="direct"),
                        replace(setting, parametrisation="product"))
    verdicts = []
    powers = [1 - 1 / float(dynamics.late_drift_exponent_limit(factorised)) for factorised in (False, True)]
    single = theory.one_head_optimum_approx(*sizes(setting)).risk
    several = float(risks.debiased_gd_risk_limit(setting.dim / setting.n_context, setting.noise_std))
    for runs, name, power, other in zip(both, ("free", "products"), powers, powers[::-1], strict=True):
        time = 2 * runs["time"][0]                                            # the simulator's time is of -grad loss
        late = time >= time[-1] / 5
        past = runs["effective_loss"][:, np.argmax(late)] < (single + several) / 2
        if verdict := not_yet(past, "are past the plateau"):
            return verdict
        size = weighted(np.abs(runs["mu"]), np.abs(runs["omega"]))[past][:, late]
        speed, middle = -np.diff(size) / np.diff(time[late]), np.sqrt(size[:, 1:] * size[:, :-1])
        slopes = np.array([np.polyfit(np.log(x), np.log(np.abs(y)), 1)[0] for x, y in zip(middle, speed, strict=True)])
        verdicts.append(agrees(slopes, power, within=abs(power - other) / 2, twin=other).named(name))
    return all_of(*verdicts)


SHALLOW = ReducedSetting(dim=3, lengths=(16,), n_sequences=40_000, n_replicas=16)
SHALLOW_SCALES = Scales(smoke=SHALLOW, desk=SHALLOW, paper=replace(SHALLOW, n_sequences=400_000))


def valley(setting, lab):
    """Measured risks ``(replica,)`` of debiased gradient descent (omega -> 0) and of the exact best symmetric pair."""
    d, L, sigma = setting.dim, setting.lengths[0], setting.noise_std
    pair = _best_pair(d, L, sigma)
    runs = lab.simulate(reduced_risk, replace(
        setting, lengths=(L,), omega=(tuple(pair.omega.tolist()),), mu=(tuple(pair.mu.tolist()),),
        step_size=risks.debiased_gd_best_step_exact(d, L, sigma)))
    return runs["risk_debiased_gd"][:, 0], runs["risk"][:, 0, 0], pair


@paper.claim("drift_without_end", source="Section 5, stage III", statements=[7], setting=SHALLOW_SCALES, expected="REFUTED",
             formula="inf over the valley of the risk is at omega -> 0",
             assumptions=["reduced model", "finite d and L", "common random numbers"],
             judged="paired difference of measured risks",
             note="True of the effective loss, which is the leading order in 1 / L. At finite L the risk along the valley has "
                  "a minimum at omega^2 = 12 / (L (d + 4) ((1 + sigma^2) d + 3)) to leading order; see drift_ends.")
def drift_without_end(setting, lab):
    """The drift along the valley goes on for ever, for the risk is least as omega -> 0. False at every finite length."""
    limit, best, _ = valley(setting, lab)
    return ordered(limit, best, twin=Twin.of("the minimum is inside the valley", smaller=best, larger=limit))


@paper.claim("drift_ends", source="corrects Section 5, stage III", statements=[7], setting=SHALLOW_SCALES,
             formula="R(omega_*) < R(0), omega_*^2 = 12 / (L (d + 4) ((1 + sigma^2) d + 3)) (1 + O(d / L))",
             assumptions=["reduced model", "finite d and L", "common random numbers"],
             judged="measured gain equals the exact one within a third of it")
def drift_ends(setting, lab):
    """At finite length the risk along the valley has its minimum at a finite scale omega, where the drift ends.

    Twin: the published picture, no gain at any omega > 0.
    """
    limit, best, pair = valley(setting, lab)
    d, L, sigma = setting.dim, setting.lengths[0], setting.noise_std
    gain = risks.debiased_gd_best_risk_exact(d, L, sigma) - pair.risk
    return agrees(limit - best, gain, within=gain / 3, twin=Twin.of("no gain", predicted=0.0))


@paper.claim("longer_prompts", source="Section 4, length generalisation", statements=[8],
             formula="R(L') = 1 + sigma^2 - 2 eta n/L' + eta^2 [n (n + 1 + d) + sigma^2 d n] / L'^2, n = L' - 1",
             assumptions=["H >= 2", "replicas past the one-head plateau", "fixed weights, prompts of 10 to 100 examples"],
             judged="largest distance of the measured curve to the prediction within a third of the predicted gain from L "
                    "to the longest prompt")
def longer_prompts(setting, lab):
    """A trained model tested on longer prompts keeps improving, as debiased gradient descent with its fixed step does.

    Twin: linear attention without normalisation, tuned at the training length, whose risk grows with the square of L'.
    """
    if verdict := needs_two_heads(setting):
        return verdict
    if max(setting.test_lengths) <= setting.n_context:
        return Verdict(Outcome.VACUOUS, "assumption",
                       reason=f"test_lengths={setting.test_lengths} holds none beyond n_context={setting.n_context}")
    _, runs, early = trained(setting, lab)
    if early:
        return early
    d, L, sigma = sizes(setting)
    lengths, eta = np.array(setting.test_lengths), runs["step_size"][:, -1]

    def descent(step):
        return np.stack([risks.debiased_gd_risk_exact(step, d, int(n), sigma) for n in lengths], axis=-1)
    curves = runs["gap_to_debiased_gd_by_length"] + descent(eta)              # paired: less noise
    best = risks.debiased_gd_best_step_exact(d, L, sigma)
    gain = float(risks.debiased_gd_risk_exact(best, d, L, sigma) - descent(best).min())
    linear = [risks.linear_attention_length_risk_exact(best, d, int(n), sigma, L) for n in lengths]
    longer = lengths >= L
    return follows(curves[:, longer], descent(best)[longer], within=gain / 3, of="mean trajectory", times=lengths[longer],
                   twin=Twin.of("un-normalised linear attention", predicted=np.array(linear)[longer]))


@paper.claim("preconditioned", source="Section 6, non-isotropic covariates", statements=[9], undecided_at_smoke=SHORT,
             setting=Scales(*(replace(paper.default.at(scale), covariance_decay=0.5, n_steps=n_steps, n_replicas=n_replicas)
                              for scale, n_steps, n_replicas in (("smoke", 3_000, 8), ("desk", 20_000, 16),
                                                                 ("paper", 500_001, 16)))),
             formula="sum_h mu^(h) KQ^(h) -> (Sigma + ((tr Sigma + d sigma^2) / L) I)^{-1}",
             assumptions=["H >= 2", "heads of both signs", "Sigma_ij = rho^|i-j|"],
             judged="relative Frobenius distance tends to 0 within a third of the distance to the rival")
def preconditioned_gd(setting, lab):
    """On correlated covariates the heads together apply a ridge-like inverse covariance.

    Twin: the plain inverse covariance, without the term that the finite context adds.
    """
    if verdict := needs_two_heads(setting):
        return verdict
    runs = lab.simulate(simulator.train, setting)
    covariance = preconditioned.autoregressive_covariance(setting.dim, setting.covariance_decay)
    best = preconditioned.best_debiased_preconditioner_exact(covariance, setting.n_context, setting.noise_std)
    rival = np.linalg.inv(covariance)
    both = np.isfinite(runs["group_mu"][:, -1]).all(-1)
    d = setting.dim
    learnt = np.einsum("rsh,rshij->rsij", runs["OV"][..., -1], runs["KQ"][..., :d, :d])[both]

    def distance(target):
        return np.linalg.norm(learnt - target, axis=(-2, -1)) / np.linalg.norm(target)
    apart = float(np.linalg.norm(rival - best) / np.linalg.norm(best))
    return settles(runs["snapshot_steps"][0], distance(best), 0.0, within=apart / 3,
                   twin=Twin.of("inverse covariance", curves=distance(rival)))


TWO_TASKS = MultiTaskSetting(n_steps=12_000, n_test=4_000)
TWO_SCALES = Scales(smoke=replace(TWO_TASKS, n_steps=2_000, n_replicas=8), desk=TWO_TASKS,
                    paper=replace(TWO_TASKS, batch=256, n_steps=100_000, n_test=50_000))
THREE_TASKS = MultiTaskSetting(supports=((0, 1), (2, 3), (4, 5)), coefficient_std=0.5**0.5, learning_rate=2e-3,
                               n_steps=8_000, n_test=4_000)
THREE_SCALES = Scales(smoke=replace(THREE_TASKS, n_steps=2_000, n_replicas=8), desk=THREE_TASKS,
                      paper=replace(THREE_TASKS, batch=256, n_steps=100_000, n_test=50_000))


def task_sizes(setting):
    """``(d_t, L, sigma_t, s_t)`` of each task: support, context, absolute noise and signal standard deviations."""
    signal = [setting.coefficient_std * len(s) ** 0.5 for s in setting.supports]
    return [(len(s), setting.n_context, setting.noise_std * b, b) for s, b in zip(setting.supports, signal, strict=True)]


def tasks_risk(setting, runs):
    """Mean measured risk over tasks ``(replica,)``, paired with debiased gradient descent of the same steps."""
    own = runs["step_size"][:, -1]
    descent = np.stack([s**2 * (1 + (risks.debiased_gd_risk_exact(own[:, t], k, L, sigma / s) - 1 - (sigma / s) ** 2))
                        for t, (k, L, sigma, s) in enumerate(task_sizes(setting))], axis=-1)
    return (runs["gap_to_debiased_gd"] + descent).mean(-1)


def sharing(runs):
    """Part of the heads' work that goes to a second task, (replica, record): 0 if each head serves one task, at most 1."""
    work = np.abs(runs["mu"] * runs["omega"])                                 # (replica, record, head, task)
    return (work / work.sum(2, keepdims=True)).min(-1).sum(2)


def solved(setting, lab, n_heads):
    """Runs with ``n_heads`` heads and which of them have left the saddle, where all tasks get one preconditioner."""
    runs = lab.simulate(train_multitask, replace(setting, n_heads=n_heads))
    best = np.mean([multi_task.multi_task_best_risk_exact(*a) for a in task_sizes(setting)])
    saddle = multi_task.multi_task_common_preconditioner_risk_exact(
        setting.supports, setting.dim, *task_sizes(setting)[0][1:])
    return runs, runs["loss"][:, -1] < (best + saddle) / 2, best, saddle


SADDLE = "2 000 steps are not enough to leave the saddle where one preconditioner serves all tasks"


@paper.claim("superposition", source="Section 6, multiple tasks", statements=[10], parts=4, setting=TWO_SCALES,
             undecided_at_smoke=SADDLE,
             formula="M_t = sum_h mu_t^(h) KQ^(h) -> eta_t P_t, sum_h mu_t^(h) -> 0, with N < H < 2N heads",
             assumptions=["N = 2 tasks on overlapping supports, H = N + 1", "replicas that have left the saddle"],
             judged="relative distance of M_t to its projector and zero sum tend to 0 (within 0.2 and 0.15); risk nearer to "
                    "the best than to the saddle's; half of the heads' work is shared, within a quarter")
def superposition(setting, lab):
    """Three heads solve two tasks in superposition: each task gets its own projector, by heads that serve both.

    Twins: one preconditioner for both tasks (distance and risk), independent signs, heads that serve one task each.
    """
    runs, left, best, saddle = solved(setting, lab, len(setting.supports) + 1)
    if verdict := not_yet(left, "have left the saddle"):
        return verdict
    steps, runs = runs["steps"][0], {k: v[left] for k, v in runs.items()}
    outside = [(setting.dim / len(s) - 1) ** 0.5 for s in setting.supports]   # |I - P| / |P|
    projector = settles(steps, runs["projector_distance"].mean(-1), 0.0, within=0.2,
                        twin=Twin.of("one preconditioner", predicted=float(np.mean(outside))))
    size = np.abs(runs["mu"])
    signs = np.array(np.meshgrid(*[[-1, 1]] * size.shape[2])).reshape(size.shape[2], -1)
    independent = np.abs(np.einsum("rsht,hk->rstk", size, signs)).mean(-1) / size.max(2)
    zero = settles(steps, runs["zero_sum"].mean(-1), 0.0, within=0.15,
                   twin=Twin.of("independent signs", curves=independent.mean(-1)))
    risk = agrees(tasks_risk(setting, runs), best, within=(saddle - best) / 2,
                  twin=Twin.of("one preconditioner", predicted=saddle))
    shared = agrees(sharing(runs)[:, -1], 0.5, within=0.25, twin=Twin.of("one task a head", predicted=0.0))
    return all_of(projector.named("projectors"), zero.named("zero sum"), risk.named("risk"), shared.named("shared heads"))


@paper.claim("heads_split", source="Section 6, multiple tasks", statements=[10], setting=TWO_SCALES, expected="REFUTED",
             undecided_at_smoke=SADDLE,
             formula="H >= 2N: every active head serves one task",
             assumptions=["N = 2, H = 2N", "generic random start", "M_t within 0.15 of its projector"],
             judged="share of replicas whose heads give less than a fifth of their work to a second task, at least 9/10",
             note="A split solution exists, and some seeds reach it; others settle at shared heads with the same risk, for "
                  "the solutions form a connected family and the start selects one. See heads_share_or_split.")
def heads_split(setting, lab):
    """With two heads per task the heads split: each serves one task. False for most random starts.

    Twin: the same for 99 of 100 replicas.
    """
    runs, left, _, _ = solved(setting, lab, 2 * len(setting.supports))
    arrived = left & (runs["projector_distance"][:, -1].mean(-1) < 0.15)
    if verdict := not_yet(arrived, "have solved the tasks"):
        return verdict
    return share(sharing(runs)[arrived, -1] < 0.2, at_least=0.9, twin=0.99)


@paper.claim("heads_share_or_split", source="corrects Section 6, multiple tasks", statements=[10], parts=2,
             setting=TWO_SCALES, undecided_at_smoke=SADDLE,
             formula="M_t -> eta_t P_t for N = 2, H = 4, by shared or by separate heads",
             assumptions=["replicas that have left the saddle"],
             judged="relative distance of M_t to its projector tends to 0 within 0.2; risk nearer to the best than to the "
                    "saddle's")
def heads_share_or_split(setting, lab):
    """With two heads per task both tasks are solved, whether the heads split or share.

    Twin: one preconditioner for both tasks.
    """
    runs, left, best, saddle = solved(setting, lab, 2 * len(setting.supports))
    if verdict := not_yet(left, "have left the saddle"):
        return verdict
    steps, runs = runs["steps"][0], {k: v[left] for k, v in runs.items()}
    outside = [(setting.dim / len(s) - 1) ** 0.5 for s in setting.supports]
    projector = settles(steps, runs["projector_distance"].mean(-1), 0.0, within=0.2,
                        twin=Twin.of("one preconditioner", predicted=float(np.mean(outside))))
    risk = agrees(tasks_risk(setting, runs), best, within=(saddle - best) / 2,
                  twin=Twin.of("one preconditioner", predicted=saddle))
    return all_of(projector.named("projectors"), risk.named("risk"))


@paper.claim("fewest_heads", source="derived from Section 6", statements=[10], parts=3, setting=THREE_SCALES,
             undecided_at_smoke="2 000 steps leave some replicas on the way down",
             formula="N tasks need N + 1 heads; with N the best targets are M_t = a (P_t - mean of P_s)",
             assumptions=["N >= 2 tasks on disjoint supports of one size", "replicas off the saddles: loss nearer to the "
                          "prediction than half of the gain of one more head"],
             judged="distance of M_t to its projector tends to 0 with N + 1 heads and to 1 / sqrt(N - 1) with N, within a third; "
                    "no replica with N heads has less risk than predicted, up to a tenth of the gain of one more head")
def fewest_heads(setting, lab):
    """N + 1 heads reach debiased gradient descent on N tasks; N heads stop at the best targets of rank N - 1.

    Twin of each: the other; for the risk, the bound of N - 1 heads.
    """
    n, size = len(setting.supports), task_sizes(setting)[0]
    risk = {heads: multi_task.multi_task_few_heads_risk_exact(n, heads, *size) for heads in (n - 1, n, n + 1)}
    both = lab.simulate(train_multitask, replace(setting, n_heads=n + 1), replace(setting, n_heads=n))
    verdicts = []
    for runs, heads, other in zip(both, (n + 1, n), (n, n + 1), strict=True):
        there = runs["loss"][:, -1] < risk[heads] + (risk[n] - risk[n + 1]) / 2
        if verdict := not_yet(there, f"have reached the risk of {heads} heads"):
            return verdict
        distance, rival = (multi_task.multi_task_few_heads_distance_exact(n, h) for h in (heads, other))
        verdicts.append(settles(runs["steps"][0], runs["projector_distance"][there].mean(-1), distance,
                                within=abs(distance - rival) / 3,
                                twin=Twin.of(f"{other} heads", predicted=rival)).named(f"{heads} heads"))
    least = bounded(tasks_risk(setting, both[1]), risk[n], side="below", within=(risk[n] - risk[n + 1]) / 10,
                    of="every replica", twin=Twin.of(f"bound of {n - 1} heads", bound=risk[n - 1]))
    return all_of(*verdicts, least.named(f"risk of {n} heads"))


def two_heads(setting):
    """The runs with two heads that only figures show."""
    return replace(setting, n_heads=2, n_replicas=8)


def one_replica(runs):
    """Index of the first replica with heads of both signs that ends below the median loss."""
    both = np.isfinite(runs["group_mu"][:, -1]).all(-1) & (runs["loss"][:, -1] <= np.median(runs["loss"][:, -1]))
    return int(np.argmax(both))


@paper.figure("fig1", caption="Key-query matrices KQ of each head and output-value rows OV (columns at the right) of one "
                              "trained model along training; dashed lines set off the label. Each head becomes a multiple "
                              "of the identity that reads the label only", source="Figure 1")
def key_query_maps(setting, lab):
    runs = lab.simulate(simulator.train, setting)
    chosen, d = one_replica(runs), setting.dim
    steps, KQ, OV = runs["snapshot_steps"][0], runs["KQ"][chosen], runs["OV"][chosen]
    KQ = KQ.copy()
    KQ[..., d] = np.nan                                                       # the query has no label: never used
    plate = figures.Plate(KQ.shape[1], len(steps), width="double", letters=False)
    scales = figures.colour_scale(*KQ[..., :d]), figures.colour_scale(*OV)
    for s, step in enumerate(steps):
        for h in range(KQ.shape[1]):
            panel = plate[h, s]
            figures.heat_map(panel, KQ[s, h], "key-query entry", scale=scales[0], dividers=(d,))
            figures.heat_map(panel.beside(width=1 / (d + 1), gap=0.07, name="OV"), OV[s, h][:, None],
                             "output-value entry", scale=scales[1], dividers=(d,), square=False)
            panel.labels(x="", y=f"head {h + 1}" if s == 0 else "")
            if h == 0:
                panel.heading(f"step {step:,}".replace(",", " "))
    return plate


@paper.figure("fig2", caption="Scales of the heads along training with 4 and with 2 heads: positive and negative heads grow "
                              "apart, overshoot, and drift along the valley. Groups of one sign: omega is the mean weighted "
                              "by mu, mu the sum", source="Figure 2")
def scales_along_training(setting, lab):
    many, two = lab.simulate(simulator.train, setting, two_heads(setting))
    plate = figures.Plate(2, 2, width="double", height=4.4, share_x=True)
    for column, (runs, n_heads) in enumerate(((many, setting.n_heads), (two, 2))):
        steps = runs["steps"][0]
        seen = steps > 0
        past = past_plateau(setting, runs)
        for row, name in enumerate(("group_omega", "group_mu")):
            panel, values = plate[row, column], runs[name][past][:, seen]
            for group, label in enumerate(("positive heads", "negative heads")):
                figures.band(panel, steps[seen], values[..., group], label, individuals=True)
            panel.scale(x="log")
            symbol = r"$\omega$" if row == 0 else r"$\sum\mu$"
            panel.labels(x="training step", y=f"{'key-query' if row == 0 else 'output-value'} scale {symbol}")
            if row == 0:
                plateau = exact_plateau(setting)
                figures.reference(panel, r"$\omega_*$ of the exact risk", y=plateau)
                panel.heading(f"{n_heads} heads")
    plate.legend("below")
    return plate


def exact_plateau(setting):
    """The scale at which the exact risk of a symmetric pair is least."""
    return float(np.abs(_best_pair(*sizes(setting)).omega[0]))


def prompts(setting):
    """Prompt lengths, omega and mu of the reduced models of Figure 3 as a setting of the reduced simulation."""
    d, L, sigma = sizes(setting)
    single = theory.one_head_optimum_approx(d, L, sigma)
    omega = 0.13
    mu = float(theory.symmetric_pair_valley_mu_approx(omega, d, L, sigma))
    return ReducedSetting(dim=d, noise_std=sigma, lengths=tuple(range(2 * d, 20 * d + 1, d)), omega=(
        (omega, -omega), tuple(single.omega.tolist())), mu=((mu, -mu), tuple(single.mu.tolist())),
        step_size=2 * mu * omega, trained_length=L, n_sequences=setting.n_test, n_replicas=setting.n_replicas)


@paper.figure("fig3", caption="Risk of the reduced models and of their rivals against the prompt length, all tuned at the "
                              "training length. Lines: exact risks; the Bayes line is its proportional limit",
              source="Figure 3")
def risk_of_reduced_models(setting, lab):
    reduced = prompts(setting)
    runs = lab.simulate(reduced_risk, reduced)
    ridge = lab.simulate(ridge_risk, RidgeSetting(dim=setting.dim, noise_std=setting.noise_std, lengths=reduced.lengths,
                                                  n_sequences=max(200, setting.n_test // 5), n_replicas=setting.n_replicas))
    lengths = np.array(reduced.lengths)
    fine = np.arange(lengths[0], lengths[-1] + 1)
    d, sigma, eta = setting.dim, setting.noise_std, reduced.step_size
    plate = figures.Plate(1, 1, width="double", height=3.2)
    panel = plate[0]
    rows = [("one head", [float(exact.heads_risk_exact(np.array(reduced.omega[1]), np.array(reduced.mu[1]), d, int(n), sigma))
                          for n in lengths], runs["risk"][:, 1], lengths),
            ("two heads", [float(exact.heads_risk_exact(np.array(reduced.omega[0]), np.array(reduced.mu[0]), d, int(n), sigma))
                           for n in lengths], runs["risk"][:, 0], lengths),
            ("debiased GD", [risks.debiased_gd_risk_exact(eta, d, int(n), sigma) for n in fine], runs["risk_debiased_gd"],
             fine),
            ("plain GD", [risks.plain_gd_risk_exact(eta, d, int(n), sigma) for n in fine], runs["risk_plain_gd"], fine),
            ("Bayes (ridge)", risks.bayes_risk_limit(d / fine, sigma), ridge["risk"], fine)]
    for k, (label, line, points, x) in enumerate(rows):
        figures.prediction(panel, x, line, f"{label}, predicted", series=label)
        figures.measurement(panel, lengths, points, f"{label}, measured", series=label, dodge=(k - 2) * 0.8)
    panel.labels(x=r"prompt length $L^\prime$ (examples)", y="risk (mean squared error)")
    panel.scale(y="log")
    panel.ticks(y=[0.1, 0.2, 0.3, 0.5, 0.7, 1.0])
    plate.legend("right")
    return plate


@paper.figure("fig4", caption="Risk of trained models against the prompt length at test; trained at the length of the dashed "
                              "line. Lines: exact risk of debiased gradient descent with the best step at the training "
                              "length, and of the best single head", source="Figure 4")
def risk_of_trained_models(setting, lab):
    counts = {1: single_head(setting), 2: two_heads(setting), setting.n_heads: setting}
    if lab.scale == "paper":
        counts[8] = replace(setting, n_heads=8)
    results = dict(zip(counts, lab.simulate(simulator.train, *counts.values()), strict=True))
    d, L, sigma = sizes(setting)
    lengths = np.array(setting.test_lengths)
    fine = np.arange(lengths.min(), lengths.max() + 1)
    best, single = risks.debiased_gd_best_step_exact(d, L, sigma), one_head_optimum(setting)
    plate = figures.Plate(1, 1, width="double", height=3.2)
    panel = plate[0]
    bent = np.unique(np.concatenate([np.linspace(fine[0], fine[-1] / 3, 10).astype(int), lengths]))
    figures.prediction(panel, bent, [float(exact.heads_risk_exact(single.omega, single.mu, d, int(n), sigma)) for n in bent],
                       "best single head, exact", series="1 head")
    figures.prediction(panel, fine, [risks.debiased_gd_risk_exact(best, d, int(n), sigma) for n in fine],
                       "debiased GD, exact", series="2 heads")
    for k, (n_heads, runs) in enumerate(sorted(results.items())):
        good = np.ones(runs.n, bool) if n_heads == 1 else past_plateau(setting, runs)
        if good.any():
            name = "1 head" if n_heads == 1 else f"{n_heads} heads"
            figures.measurement(panel, lengths, runs["risk_by_length"][good], f"{name}, trained", series=name,
                                dodge=(k - 1) * 2)
    figures.reference(panel, "training length", x=L)
    panel.labels(x=r"prompt length $L^\prime$ (examples)", y="risk (mean squared error)")
    plate.legend("right")
    return plate


@paper.figure("fig5", caption="Effective loss of a symmetric pair of heads with its valley, the best output-value scale at each "
                              "key-query scale, and the gradient flow from small scales", source="Figure 5")
def valley_and_flow(setting, lab):
    d, L, sigma = sizes(setting)
    omega, mu = np.linspace(0.01, 0.8, 120), np.linspace(0.02, 6.0, 140)
    loss = theory.symmetric_pair_loss_approx(omega[None, :], mu[:, None], d, L, sigma)
    plate = figures.Plate(1, 1, width="single", height=3.0)
    panel = plate[0]
    low = float(loss.min())
    figures.contour(panel, omega, mu, np.minimum(loss, 2.0), "effective loss", levels=np.geomspace(low, 2.0, 13), log=True)
    times = np.concatenate([[0.0], np.geomspace(0.01, 1e5, 300)])
    flow = dynamics.reduced_flow((np.array([0.02, -0.02]), np.array([0.05, -0.05])), times, d, L, sigma)
    ridge_line = theory.symmetric_pair_valley_mu_approx(omega, d, L, sigma)
    figures.prediction(panel, omega[ridge_line < 6], ridge_line[ridge_line < 6], "valley")
    figures.path(panel, flow.omega[:, 0], flow.mu[:, 0], "gradient flow")
    panel.limits(x=(0, 0.8), y=(0, 6))
    panel.labels(x=r"key-query scale $\omega$", y=r"output-value scale $\mu$")
    plate.legend("below")
    return plate


@paper.figure("fig6", caption="Risks in the proportional limit (lines) and at finite size (points): ridge and debiased "
                              "gradient descent on the same dimension, the best single head where it was fitted",
              source="proportional limit", setting=RATIOS)
def proportional_limit(setting, lab):
    d, sigma = setting.dim, setting.noise_std
    ridge = lab.simulate(ridge_risk, setting)
    fitted = lab.simulate(reduced_optimum, *(OptimumSetting(
        dims=(d,), context_per_dim=L / d, noise_std=sigma, n_sequences=setting.n_sequences, n_replicas=setting.n_replicas)
        for L in setting.lengths))
    xi, fine = d / np.array(setting.lengths), np.geomspace(d / max(setting.lengths) / 1.5, d / min(setting.lengths) * 1.5, 200)
    plate = figures.Plate(1, 1, width="single", height=2.8)
    panel = plate[0]
    rows = [("one head", risks.one_head_risk_limit, np.concatenate([f["one_head_risk"] for f in fitted], axis=1)),
            ("two or more heads", risks.debiased_gd_risk_limit, np.concatenate([f["limit_risk"] for f in fitted], axis=1)),
            ("Bayes (ridge)", risks.bayes_risk_limit, ridge["risk"])]
    for k, (name, limit, points) in enumerate(rows):
        figures.prediction(panel, fine, limit(fine, sigma), f"{name}, limit", series=name)
        figures.measurement(panel, xi, points, f"{name}, d = {d}", series=name, dodge=k - 1)
    panel.scale(x="log")
    panel.labels(x=r"aspect ratio $\xi = d / L$", y=r"risk $R(\xi)$")
    plate.legend("below")
    return plate


@paper.figure("fig7", caption="Diagonals of the key-query matrices (above) and output-value weights of each task (below) for "
                              "two tasks on overlapping supports, one replica each: three heads; four heads in the replica "
                              "that shares them least; four heads in the one that shares them most",
              source="Figure 7", setting=TWO_SCALES)
def task_diagonals(setting, lab):
    (three, left, *_), (four, there, *_) = (solved(setting, lab, n) for n in (3, 4))
    shared = np.where(there, sharing(four)[:, -1], np.nan)
    order = np.argsort(np.nan_to_num(shared, nan=0.5))
    shown = [(three, int(np.argmax(left)), "3 heads"), (four, int(order[0]), "4 heads, split"),
             (four, int(order[-1]), "4 heads, shared")]
    plate = figures.Plate(2, 3, width="double", height=3.4, letters=True)
    for column, (runs, chosen, title) in enumerate(shown):
        top, bottom = plate[0, column], plate[1, column]
        heads = range(runs["mu"].shape[2])
        figures.bars(top, [f"$x_{i + 1}$" for i in range(setting.dim)],
                     {f"head {h + 1}": runs["KQ_diagonal"][chosen, -1, h][None] for h in heads})
        figures.bars(bottom, [str(t + 1) for t in range(len(setting.supports))],
                     {f"head {h + 1}": runs["mu"][chosen, -1, h][None] for h in heads})
        top.heading(title)
        top.labels(x="covariate", y="key-query diagonal" if column == 0 else "")
        bottom.labels(x="task", y=r"output-value weight $\mu$" if column == 0 else "")
    plate.legend("below")
    return plate


if __name__ == "__main__":
    raise SystemExit(paper.main())
