"""He, Pan, Chen and Yang 2025: multi-head softmax attention learns debiased gradient descent in context.

Letters of the paper: omega and mu are the key-query and output-value scales of a head, d the dimension of the covariates,
L the number of examples, sigma^2 the noise variance. Risks include the noise of the query once.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import Outcome, Twin, Verdict, agrees, all_of, follows, ordered, settles, share
from attnlab.papers.lab.paper import Paper, Source
from attnlab.simulators import in_context_regression as simulator
from attnlab.simulators.in_context_regression import Setting
from attnlab.theory import in_context_regression as theory
from attnlab.theory import in_context_regression_exact as exact
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

DESK = Setting()
paper.scales(
    smoke=replace(DESK, n_steps=3_000, n_replicas=8, n_test=4_000, snapshot_steps=(1, 500, 1_000)),
    desk=DESK,
    paper=replace(DESK, batch=256, n_steps=500_001, n_test=50_000, n_records=200))

SHORT = "3 000 steps leave the slowest heads on their way; 20 000 steps (desk) decide"


def sizes(setting):
    """``(d, L, sigma)``: what every prediction needs."""
    return setting.dim, setting.n_context, setting.noise_std


def past_plateau(setting, runs):
    """Which replicas have heads of both signs and have left the one-head solution: nearer to the two-head risk.

    A model whose heads all have one sign is a single head in function; two heads may stay there for thousands of steps.
    """
    one_head = theory.best_one_head(exact.heads_form_exact, *sizes(setting)).risk
    two_heads = risks.debiased_gd_best_risk_exact(*sizes(setting))
    return np.isfinite(runs["group_mu"][:, -1]).all(-1) & (runs["loss"][:, -1] < (one_head + two_heads) / 2)


def trained(setting, lab):
    """The shared run: replicas past the one-head plateau, as ``(steps, runs restricted to them)``."""
    runs = lab.simulate(simulator.train, setting)
    past = past_plateau(setting, runs)
    return runs["steps"][0], {name: values[past] for name, values in runs.items()}


def needs_two_heads(setting):
    """The verdict on a single head, where the statement says nothing."""
    if setting.n_heads < 2:
        return Verdict(Outcome.VACUOUS, "assumption", reason=f"n_heads={setting.n_heads}: the statement is about H >= 2")
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
    steps, runs = trained(setting, lab)
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
    steps, runs = trained(setting, lab)
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
             judged="share of replicas in which all active heads match is at least 1/2")
def sign_matching(setting, lab):
    """In a trained model every active head has mu and omega of the same sign.

    Twin: signs match across heads as well as within them (each mu is compared with the omega of the next head).
    """
    if verdict := needs_two_heads(setting):
        return verdict
    _, runs = trained(setting, lab)
    omega, mu = runs["omega"][:, -1], runs["mu"][:, -1]
    active = np.abs(mu) > 0.05 * np.abs(mu).max(-1, keepdims=True)

    def match(other):
        return (~active | (np.sign(other) == np.sign(mu))).all(-1)
    return share(match(omega), at_least=0.5, twin=Twin.of("no match within a head", successes=match(np.roll(omega, 1, -1))))


@paper.claim("debiased_gd", source="Theorem 4.1", statements=[4, 3], parts=3, undecided_at_smoke=SHORT,
             formula="y_hat = (eta / L) sum_l y_l (x_l - x_mean)^T x_q, eta = sum_h mu^(h) omega^(h)",
             assumptions=["H >= 2", "replicas past the one-head plateau"],
             judged="share of the mean left in the covariates is 0 within 1/3; eta tends to its best value, and the risk to "
                    "the exact risk of one positive and one negative head, within the distance to the rivals")
def debiased_gd(setting, lab):
    """Two or more heads compute one step of gradient descent on centred covariates, with the best step size.

    The output is regressed on the difference of plain and debiased gradient descent: coefficient 0 is debiased, 1 is
    plain. The step is compared with eta* = 1 / (1 + d (1 + sigma^2) / L), the risk with the exact risk of the pair that
    merges the heads of each sign. Twins: plain gradient descent (coefficient and risk), the product mu omega of one head.
    """
    if verdict := needs_two_heads(setting):
        return verdict
    steps, runs = trained(setting, lab)
    d, L, sigma = sizes(setting)
    apart = runs["step_size"][:, -1] ** 2 * (d + 2 + sigma**2 * d) / L**2     # E (plain - debiased)^2, exact
    left = (runs["distance_to_debiased_gd"] + apart - runs["distance_to_plain_gd"]) / (2 * apart)
    debiased = agrees(left, 0.0, within=1 / 3, twin=Twin.of("plain gradient descent", predicted=1.0))
    best = risks.debiased_gd_best_step_exact(d, L, sigma)
    single = theory.best_one_head(exact.heads_form_exact, d, L, sigma)
    product = float(single.omega @ single.mu)
    step = settles(steps, trailing_mean(steps, runs["step_size"]), best, within=abs(best - product) / 3,
                   twin=Twin.of("one head", predicted=product))
    pair = exact.heads_risk_exact(runs["group_omega"][:, -1], runs["group_mu"][:, -1], d, L, sigma)
    plain = risks.plain_gd_best_risk_exact(d, L, sigma)
    reached = settles(steps, runs["loss"], pair, within=risks.debiased_gd_best_risk_exact(d, L, sigma) - plain,
                      twin=Twin.of("plain gradient descent", predicted=plain))
    return all_of(debiased.named("centred"), step.named("step size"), reached.named("risk"))


if __name__ == "__main__":
    raise SystemExit(paper.main())
