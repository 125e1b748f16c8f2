"""Claims on the optimum: one preconditioned step, gradient flow to it, risks at other lengths and covariances (1, 2, 11)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import Twin, Verdict, agrees, all_of, converges, follows
from attnlab.papers.lab.conditions import outside, too_few
from attnlab.papers.lab.declare import Scales
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.linear_attention_icl.paper import levels, paper, tends
from attnlab.simulators.linear_attention import training as simulator
from attnlab.simulators.linear_attention.risk import RiskSetting, risk
from attnlab.simulators.linear_attention.training import Setting
from attnlab.theory.linear_attention import one_step as theory

WHOLE = Setting(
    kind="whole", n_heads=1, init_scale=0.3, n_sequences=10_000, learning_rate=0.2, n_steps=20_000, n_records=50
)
WHOLE_SCALES = Scales(
    smoke=replace(WHOLE, n_steps=10_000), desk=WHOLE, paper=replace(WHOLE, n_sequences=80_000, n_steps=100_000)
)


def relative_distance(matrices, target):
    """Relative Frobenius distance of ``(..., d, d)`` to a matrix."""
    return np.linalg.norm(matrices - target, axis=(-2, -1)) / np.linalg.norm(target)


def risk_on_test(runs, weights):
    """Mean squared error ``(replica,)`` on each replica's fresh sequences, of weights ``(replica, feature)``."""
    image = (runs["test_gram"] @ weights[..., None])[..., 0]
    return runs["test_label"] + ((image - 2 * runs["test_cross"]) * weights).sum(-1)


def as_whole_layer(matrix, n):
    """Weights ``(n, feature)`` of the whole layer that reads labels as values and has this key-query block."""
    d = len(matrix)
    weights = np.zeros((d + 1, d + 1, d))
    weights[d, :d] = matrix
    return np.tile(weights.ravel(), (n, 1))


@paper.claim(
    "one_step_is_best",
    source="Zhang, Frei, Bartlett, Theorem 4.1; Ahn et al., Theorem 1",
    statements=[1],
    parts=2,
    setting=WHOLE_SCALES,
    formula="G = Gamma^{-1}, Gamma = (1 + 1/N) S + (tr S / N) I",
    assumptions=[
        "W = I, no noise",
        "a whole layer, all blocks random at the start",
        "its own sampled training set",
        "replicas past the saddles: risk below the middle of the last drop",
    ],
    judged="risk on fresh sequences above that of Gamma^{-1} by 0 within a third of what S^{-1} loses; relative "
    "distance of the effective matrix to Gamma^{-1} is 0 within a third of the distance of S^{-1}",
)
def one_step_is_best(setting: Setting, lab: Lab) -> Verdict:
    """A whole layer of linear attention, trained from a random start, ends at one step of preconditioned gradient descent.

    Nothing it could do with its other blocks is better. Twin of both: the inverse covariance, the best preconditioner of an
    infinite context.
    """
    runs = lab.simulate(simulator.train, setting)
    S = np.diag(setting.spectrum)
    best, rival = theory.best_matrix_exact(S, setting.n_context), np.linalg.inv(S)
    learnt = np.einsum("ra,rbc->rabc", runs["p"][:, -1], runs["W"][:, -1]).reshape(runs.n, -1)
    risk_of_learnt = risk_on_test(runs, learnt)
    past = risk_of_learnt < levels(setting.spectrum, setting.n_context)[-2:].mean()
    if (verdict := too_few(past, "are past the last saddle", least=8)) is not None:
        return verdict
    excess = (risk_of_learnt - risk_on_test(runs, as_whole_layer(best, runs.n)))[past]
    loss = theory.risk_exact(rival, S, setting.n_context) - theory.best_risk_exact(S, setting.n_context)
    no_better = agrees(excess, 0.0, within=loss / 3, twin=Twin.of("inverse covariance", predicted=loss))
    apart = float(relative_distance(rival, best))
    learnt = runs["matrix"][past, -1]
    matrix = agrees(
        relative_distance(learnt, best),
        0.0,
        within=apart / 3,
        twin=Twin.of("inverse covariance", measured=relative_distance(learnt, rival)),
    )
    return all_of(no_better.named("risk"), matrix.named("matrix"))


FLOW = Setting(
    kind="merged", n_heads=1, start="balanced", init_scale=0.5, learning_rate=0.1, n_steps=5_000, n_records=100
)
FLOW_SCALES = Scales(smoke=FLOW, desk=FLOW, paper=replace(FLOW, init_scale=0.05, learning_rate=0.01, n_steps=100_000))


@paper.claim(
    "gradient_flow",
    source="Zhang, Frei, Bartlett, Theorem 4.1",
    statements=[2],
    parts=2,
    setting=FLOW_SCALES,
    formula="v -> (tr Gamma^{-2})^{1/4}, U -> Gamma^{-1} / v",
    assumptions=["balanced start sigma, sigma M M^T / ||M M^T|| with sigma^2 ||Gamma|| sqrt(d) < 2", "population loss"],
    judged="both within a third of the distance to the rival",
)
def gradient_flow(setting: Setting, lab: Lab) -> Verdict:
    """Gradient flow from a small balanced start converges to the optimum, split evenly between value and key-query weights.

    Twin: the optimum of an infinite context, split in the same way.
    """
    S = np.diag(setting.spectrum)
    if setting.start != "balanced" or setting.init_scale >= theory.small_start_bound(S, setting.n_context):
        return outside(
            f"start={setting.start!r}, init_scale={setting.init_scale}: the "
            f"theorem is about balanced starts below {theory.small_start_bound(S, setting.n_context):.3g}"
        )
    runs = lab.simulate(simulator.train, setting)
    (value, block), (other, rival) = (theory.balanced_limit_weights_exact(S, n) for n in (setting.n_context, 10**9))
    v = tends(
        runs["steps"][0],
        runs["v"][..., 0],
        value,
        within=abs(other - value) / 3,
        twin=Twin.of("infinite context", predicted=other),
    )
    U = runs["matrix"] / runs["v"][..., None]
    key_query = tends(
        runs["steps"][0],
        relative_distance(U, block),
        0.0,
        within=float(relative_distance(rival, block)) / 3,
        twin=Twin.of("infinite context", curves=relative_distance(U, rival)),
    )
    return all_of(v.named("value"), key_query.named("key-query"))


TESTED = RiskSetting(spectrum=(0.4, 0.3, 0.2, 0.1), noise_std=0.3, lengths=(5, 10, 20, 40, 80), n_sequences=5_000)
TESTED_SCALES = Scales(
    smoke=TESTED, desk=replace(TESTED, n_sequences=20_000), paper=replace(TESTED, n_sequences=100_000)
)
TRAINED_AT = 20


def nested(matrix):
    """A matrix as nested tuples, as settings hold it."""
    return tuple(tuple(float(x) for x in row) for row in np.asarray(matrix))


def prior_of(setting):
    """The covariance of the task vector: the setting's, or one that shares no axes with the covariates."""
    d = len(setting.spectrum)
    if setting.prior:
        return np.array(setting.prior)
    return np.diag(np.linspace(0.5, 2.0, d)) + 0.25 * (np.eye(d, k=1) + np.eye(d, k=-1))


@paper.claim(
    "exact_risk",
    source="follows from Zhang, Frei, Bartlett, Section 4",
    statements=[1],
    setting=TESTED_SCALES,
    formula="R = s^2 + tr(S W) - 2 tr(G^T S W S) + tr(B_M G S G^T), B_M = (1 + 1/M) S W S + ((tr(W S) + s^2) / M) S",
    assumptions=["weights fixed, the best at 20 examples", "any prior W, noise s"],
    judged="largest distance of the mean curve over lengths within a third of its distance to the rival",
)
def exact_risk(setting: RiskSetting, lab: Lab) -> Verdict:
    """The risk of fixed weights is the same quadratic function of 1/M at every test length M, for any prior and noise.

    Twin: without the fourth moments of the covariates, as if the examples were noise around their mean (no 1/M in the first
    term of B_M).
    """
    S, W = np.diag(setting.spectrum), prior_of(setting)
    G = theory.best_matrix_exact(S, TRAINED_AT, setting.noise_std, W)
    runs = lab.simulate(risk, replace(setting, matrices=(nested(G),), prior=nested(W)))
    lengths = np.array(setting.lengths)
    predicted = np.array([theory.risk_exact(G, S, int(M), setting.noise_std, W) for M in lengths])
    rival = predicted - np.trace(S @ W @ S @ G @ S @ G.T) / lengths
    return follows(
        runs["risk"][:, 0],
        predicted,
        within=float(np.abs(rival - predicted).max()) / 3,
        of="mean trajectory",
        times=lengths.astype(float),
        twin=Twin.of("no fourth moments", predicted=rival),
    )


SHIFT = Setting(init_scale=1e-2, learning_rate=0.1, n_steps=8_000, n_records=10)
SHIFT_SCALES = Scales(smoke=SHIFT, desk=SHIFT, paper=replace(SHIFT, n_steps=50_000))
SHIFT_LENGTHS = (10, 20, 40, 80, 160)


def shifted_spectrum(setting):
    """Eigenvalues of the test: those of the training in reverse, so that directions change their size and the trace does not."""
    return tuple(reversed(setting.spectrum))


@paper.claim(
    "covariate_shift",
    source="Zhang, Frei, Bartlett, Section 4.3",
    statements=[11],
    parts=2,
    setting=SHIFT_SCALES,
    formula="R(G; S') -> tr((I - S' G) S' (I - S' G)^T) as M -> infinity, G = Gamma^{-1} of the training covariance S",
    assumptions=["trained at S, tested at S' with the eigenvalues in reverse order", "mean of the trained matrices"],
    judged="risk over lengths follows the formula within a third of its distance to the rival; the gap to the bias "
    "falls like 1/M (rate within 1/4)",
)
def covariate_shift(setting: Setting, lab: Lab) -> Verdict:
    """Tested at another covariance, a trained model keeps the inverse of its own, and no context length removes the bias.

    Twins: a model that adapts to the covariance it sees; a risk that vanishes with long contexts.
    """
    S, shift = np.diag(setting.spectrum), shifted_spectrum(setting)
    if shift == setting.spectrum:
        return outside(f"spectrum={setting.spectrum}: its reverse is no shift")
    trained = lab.simulate(simulator.train, setting)["matrix"][:, -1].mean(0)
    runs = lab.simulate(
        risk,
        RiskSetting(
            matrices=(nested(trained.round(6)),),
            spectrum=shift,
            lengths=SHIFT_LENGTHS,
            n_sequences=4_000,
            n_replicas=setting.n_replicas,
        ),
    )
    lengths, T = np.array(SHIFT_LENGTHS), np.diag(shift)
    G, adapted = (theory.best_matrix_exact(cov, setting.n_context) for cov in (S, T))
    predicted, rival = (np.array([theory.risk_exact(matrix, T, int(M)) for M in lengths]) for matrix in (G, adapted))
    curve = follows(
        runs["risk"][:, 0],
        predicted,
        within=float(np.abs(rival - predicted).max()) / 3,
        of="mean trajectory",
        times=lengths.astype(float),
        twin=Twin.of("adapts to the covariance", predicted=rival),
    )
    bias = theory.long_context_risk_limit(G, T)
    gaps = runs["risk"][:, 0] - runs["unlimited"]  # paired on the task vectors: less noise
    limit = converges(lengths[:4], gaps[:, :4], rate=1.0, within=0.25, twin=Twin.of("no bias", gaps=gaps[:, :4] + bias))
    return all_of(curve.named("curve"), limit.named("bias"))
