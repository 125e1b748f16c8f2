"""Claims on pretraining with finite data: learning curves, double descent, task diversity, the joint limit (7, 8, 9)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import Twin, Verdict, all_of, converges, exponent, follows, ordered, trend
from attnlab.papers.lab.declare import Scales
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.linear_attention_icl.paper import paper
from attnlab.simulators.linear_attention.pretraining import PretrainingSetting, pretrain
from attnlab.theory.linear_attention import pretraining as theory

CURVE = PretrainingSetting(dims=(16, 32), alpha=10.0, kappa=0.5, taus=(0.25, 0.5, 2.0, 3.0), n_replicas=24)
CURVE_SCALES = Scales(
    smoke=replace(CURVE, dims=(12, 24)), desk=CURVE, paper=replace(CURVE, dims=(40, 80), n_replicas=32)
)


def extrapolated(setting, errors):
    """Log errors ``(replica, tau)`` at infinite size from the two largest sizes, whose corrections are of order 1 / d.

    Errors of single data sets have heavy tails upwards, which the logarithm tames; both have the same limit.
    """
    small, large = setting.dims[-2:]
    return (large * np.log(errors[:, -1]) - small * np.log(errors[:, -2])) / (large - small)


@paper.claim(
    "learning_curve",
    source="Lu et al., Results 4 and 5",
    statements=[7, 9],
    parts=2,
    setting=CURVE_SCALES,
    formula="e_ICL(tau, alpha, kappa, rho), e_IDG(...) of the joint limit, without ridge",
    assumptions=["l = alpha d, k = kappa d, n = tau d^2", "extrapolated from two sizes, corrections of order 1 / d"],
    judged="extrapolated logarithm, mean over data sets, follows that of the limit within a third of its largest "
    "distance to the rival",
)
def learning_curve(setting: PretrainingSetting, lab: Lab) -> Verdict:
    """The errors on new and on seen tasks follow their limits over the number of sequences, on both sides of the peak.

    Twin of both: unlimited tasks (kappa infinite), for which the two errors are one.
    """
    runs = lab.simulate(pretrain, setting)
    arguments = setting.alpha, setting.kappa, setting.noise_variance
    verdicts = []
    for name, limit in (("icl_error", theory.icl_error_limit), ("idg_error", theory.idg_error_limit)):
        predicted, rival = (
            np.log([limit(arguments[0], kappa, tau, arguments[2]) for tau in setting.taus])
            for kappa in (setting.kappa, np.inf)
        )
        verdicts.append(
            follows(
                extrapolated(setting, runs[name]),
                predicted,
                within=float(np.abs(rival - predicted).max()) / 3,
                of="mean trajectory",
                times=np.array(setting.taus),
                twin=Twin.of("unlimited tasks", predicted=rival),
            ).named(name[:3].upper())
        )
    return all_of(*verdicts)


PEAK = PretrainingSetting(dims=(8, 16, 32), alpha=1.0, kappa=0.5, taus=(0.4, 1.0, 2.5), n_replicas=24)
PEAK_SCALES = Scales(
    smoke=replace(PEAK, dims=(6, 12, 24)), desk=PEAK, paper=replace(PEAK, dims=(10, 20, 40, 80), n_replicas=64)
)
RIDGES = (1.0, 0.1, 0.01)


@paper.claim(
    "double_descent",
    source="Lu et al., Section on sample-wise double descent",
    statements=[7],
    parts=4,
    setting=PEAK_SCALES,
    formula="e_ICL(0.4) < e_ICL(1) > e_ICL(2.5); e_ICL(1) ~ ridge^(-1/2) as ridge -> 0",
    assumptions=["no ridge but where it is named"],
    judged="differences of the logarithm at the largest size, medians over data sets; at tau = 1 the mean logarithm "
    "rises at every step of the ridge from 1 to 0.01, and the limit formula has the exponent -1/2 within 0.05 "
    "for ridges below 1e-4",
)
def double_descent(setting: PretrainingSetting, lab: Lab) -> Verdict:
    """The error rises to a peak at tau = 1 and falls again; the peak grows without limit as the ridge vanishes.

    Twins: the error falls with every sequence; more sequences do not help; the ridge raises the error; a simple pole.
    """
    shared, *ridged = lab.simulate(
        pretrain, setting, *(replace(setting, ridge=ridge, dims=setting.dims[-1:], taus=(1.0,)) for ridge in RIDGES)
    )
    errors = np.log(shared["icl_error"])
    highest = np.log(np.concatenate([runs["icl_error"][:, 0] for runs in ridged], axis=-1))
    few, peak, many = errors[:, -1].T
    rises = ordered(
        few, peak, of="median over replicas", twin=Twin.of("falls with every sequence", smaller=peak, larger=few)
    )
    falls = ordered(many, peak, of="median over replicas", twin=Twin.of("no second descent", smaller=peak, larger=many))
    grows = trend(np.log(RIDGES), highest, "falling", of="every step", twin=Twin.of("ridge raises", direction="rising"))
    small = np.geomspace(1e-8, 1e-4, 5)
    limit = np.array(
        [theory.icl_error_limit(setting.alpha, setting.kappa, 1.0, setting.noise_variance, r) for r in small]
    )
    diverges = exponent(small, limit, -0.5, within=0.05, twin=Twin.of("simple pole", predicted=-1.0))
    return all_of(
        rises.named("ascent"), falls.named("second descent"), grows.named("peak"), diverges.named("divergence")
    )


THRESHOLD = PretrainingSetting(
    dims=(6, 8, 12, 16, 24), taus=tuple(np.geomspace(0.5, 2.0, 17).round(4).tolist()), n_replicas=16
)
THRESHOLD_SCALES = Scales(
    smoke=replace(THRESHOLD, dims=(6, 8, 12, 16)),
    desk=THRESHOLD,
    paper=replace(THRESHOLD, dims=(8, 16, 32, 64), n_replicas=32),
)


@paper.claim(
    "peak_at_d_squared",
    source="Lu et al., joint limit",
    statements=[9, 7],
    setting=THRESHOLD_SCALES,
    formula="n_peak ~ d^2 (the number of weights, d (d + 1))",
    assumptions=["no ridge", "alpha, kappa fixed"],
    judged="log-log slope of the number of sequences at the largest error within 1/4 of 2 (d (d + 1) has 1.9 here)",
)
def peak_at_d_squared(setting: PretrainingSetting, lab: Lab) -> Verdict:
    """The number of sequences at which the error peaks grows like the square of the dimension, context and tasks like d.

    Twin: n = tau d^(3/2), half-way to the proportional limit of regression.
    """
    runs = lab.simulate(pretrain, setting)
    at = runs["icl_error"].argmax(-1)
    n = np.take_along_axis(runs["n_sequences"], at[..., None], -1)[..., 0]
    return exponent(
        np.array(setting.dims, float), n.astype(float), 2.0, within=0.25, twin=Twin.of("d^(3/2)", predicted=1.5)
    )


DIVERSITY = PretrainingSetting(dims=(16, 32), alpha=50.0, taus=(4.0,), n_replicas=24)
DIVERSITY_SCALES = Scales(
    smoke=replace(DIVERSITY, dims=(12, 24)), desk=DIVERSITY, paper=replace(DIVERSITY, dims=(32, 64))
)
KAPPAS = (0.25, 0.5, 0.75, 1.5, 2.0, 4.0)


def over_tasks(setting, lab: Lab):
    """Runs at every kappa of ``KAPPAS``."""
    return lab.simulate(pretrain, *(replace(setting, kappa=kappa) for kappa in KAPPAS))


@paper.claim(
    "task_diversity",
    source="Lu et al., Section on task diversity",
    statements=[8],
    parts=4,
    setting=DIVERSITY_SCALES,
    formula="e_ICL -> rho + (1 - kappa)_+ as tau -> infinity, then alpha -> infinity",
    assumptions=["k = kappa d tasks on the sphere", "no ridge"],
    judged="extrapolated log errors at alpha = 50, tau = 4 follow the finite formula over kappa within a third of the "
    "distance to the rival; the formula tends to (1 - kappa)_+ like 1 / alpha at kappa = 0.25 and 2; seen tasks "
    "are solved with an error below half of that on new ones at kappa = 0.25",
)
def task_diversity(setting: PretrainingSetting, lab: Lab) -> Verdict:
    """With fewer than d tasks the model memorises them, and new tasks cost what no seen task spans; with more it generalises.

    Twins: the smooth decay 1 / (1 + kappa); the limit of another diversity; errors on new and seen tasks exchanged.
    """
    runs = over_tasks(setting, lab)
    tau, rho = setting.taus[-1], setting.noise_variance
    measured = np.stack([extrapolated(setting, run["icl_error"])[:, -1] for run in runs], axis=-1)
    predicted = np.log([theory.icl_error_limit(setting.alpha, kappa, tau, rho) for kappa in KAPPAS])
    smooth = np.log(rho + 1 / (1 + np.array(KAPPAS)))
    curve = follows(
        measured,
        predicted,
        within=float(np.abs(smooth - predicted).max()) / 3,
        of="mean trajectory",
        times=np.array(KAPPAS),
        twin=Twin.of("smooth decay", predicted=smooth),
    )
    alphas, parts = np.array([100.0, 200.0, 400.0, 800.0]), []
    for kappa in (0.25, 2.0):
        error = np.array([theory.icl_error_limit(alpha, kappa, np.inf, rho) for alpha in alphas]) - rho
        limit, other = theory.memorisation_error_limit(kappa), theory.memorisation_error_limit(kappa / 2 - 0.1)
        parts.append(
            converges(
                alphas, error - limit, rate=1.0, within=0.1, twin=Twin.of("another diversity", gaps=error - other)
            ).named(f"kappa = {kappa}")
        )
    new, seen = (np.log(runs[0][name][:, -1, -1]) for name in ("icl_error", "idg_error"))
    memory = ordered(seen, new, by=float(np.log(2)), twin=Twin.of("seen tasks are no easier", smaller=new, larger=seen))
    return all_of(curve.named("curve"), *parts, memory.named("memorisation"))
