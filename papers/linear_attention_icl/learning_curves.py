"""Claims on pretraining with finite data: learning curves, double descent, task diversity, the joint limit (7, 8, 9)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import Twin, Verdict, agrees, all_of, budget, converges, exponent, finite_size, follows, ordered
from attnlab.analysis import replicas as spread_of
from attnlab.analysis.verdicts.budget import Piece
from attnlab.papers.lab.conditions import DECLARED, one_of, that
from attnlab.papers.lab.declare import Scales
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.linear_attention_icl.paper import paper
from attnlab.simulators.linear_attention.pretraining import PretrainingSetting, pretrain
from attnlab.theory.linear_attention import pretraining as theory

CURVE = PretrainingSetting(dims=(12, 24), alpha=10.0, kappa=0.5, taus=(0.25, 3.0), n_replicas=256)
CURVE_SCALES = Scales(
    smoke=replace(CURVE, n_replicas=128), desk=CURVE, paper=replace(CURVE, dims=(40, 80), n_replicas=64)
)
ERRORS = {"ICL": ("icl_error", theory.icl_error_limit), "IDG": ("idg_error", theory.idg_error_limit)}
# Logarithms of errors extrapolated from sizes d and e are off by c / (d e) and scatter by s / sqrt(d e); c (with four standard
# errors of it) and s from 300 data sets at (8, 16) and another seed, at (alpha, kappa, tau, ridge):
LEFT = {
    ("ICL", 10.0, 0.5, 0.25, 1e-9): (4.3, 1.2),
    ("ICL", 10.0, 0.5, 3.0, 1e-9): (17.5, 3.9),
    ("IDG", 10.0, 0.5, 0.25, 1e-9): (14.0, 4.3),
    ("IDG", 10.0, 0.5, 3.0, 1e-9): (7.7, 1.6),
    ("ICL", 50.0, 0.5, 4.0, 1e-9): (18.0, 3.9),
    ("ICL", 50.0, 1.5, 4.0, 1e-9): (14.5, 5.2),
    ("ICL", 50.0, 4.0, 4.0, 1e-9): (5.0, 1.5),
    ("ICL", 1.0, 0.5, 1.0, 1.0): (4.2, 0.8),
    ("ICL", 1.0, 0.5, 1.0, 0.1): (12.0, 2.1),
}
COVERED = {
    "dims": that(lambda dims: len(dims) >= 2 and dims[-1] > dims[-2], "two or more growing sizes"),
    "alpha": DECLARED,
    "noise_variance": DECLARED,
    "sequence_power": one_of(2.0, why="the limit has n = tau d^2 sequences"),
    "infinite_tasks": one_of(False, why="the limit has kappa d tasks"),
}


def extrapolated(setting, errors):
    """Log errors ``(replica, tau)`` at infinite size from the two largest sizes, whose corrections are of order 1 / d.

    Errors of single data sets have heavy tails upwards, which the logarithm tames; both have the same limit.
    """
    small, large = setting.dims[-2:]
    return (large * np.log(errors[:, -1]) - small * np.log(errors[:, -2])) / (large - small)


def at_infinite_size(kind, setting, runs, tau, rival, label):
    """The extrapolated logarithm of an error against that of its limit; ``rival``: the error of the twin."""
    key, limit = ERRORS[kind]
    left, spread = LEFT[kind, setting.alpha, setting.kappa, tau, setting.ridge]
    size = float(np.sqrt(setting.dims[-1] * setting.dims[-2]))
    more = (setting.ridge,) if setting.ridge > 1e-6 else ()
    predicted = limit(setting.alpha, setting.kappa, tau, setting.noise_variance, *more)
    measured = extrapolated(setting, runs[key])[:, setting.taus.index(tau)]
    return agrees(
        measured,
        np.log(predicted),
        within=budget(finite_size(size, left, power=2, of="d"), spread_of(spread / size, runs.n)),
        scale=1.0,
        twin=Twin.of(label, predicted=np.log(rival)),
    )


@paper.claim(
    "learning_curve",
    source="Lu et al., Results 4 and 5",
    statements=[7, 9],
    parts=4,
    setting=CURVE_SCALES,
    formula="e_ICL(tau, alpha, kappa, rho), e_IDG(...) of the joint limit, without ridge",
    assumptions=["l = alpha d, k = kappa d, n = tau d^2", "extrapolated from two sizes, corrections of order 1 / d"],
    judged="extrapolated logarithms at tau = 1/4 and 3, means over data sets (scale: a relative error); margin: the "
    "correction of order 1 / d^2 and the spread, both from smaller sizes",
    reads=("alpha", "kappa", "noise_variance", "taus"),
    covers=COVERED | {"kappa": DECLARED, "taus": DECLARED, "ridge": DECLARED},
)
def learning_curve(setting: PretrainingSetting, lab: Lab) -> Verdict:
    """The errors on new and on seen tasks follow their limits on both sides of the peak.

    Twin of each: the error on the other kind of tasks, as if new and seen ones were alike.
    """
    runs = lab.simulate(pretrain, setting)
    other, rest = {"ICL": theory.idg_error_limit, "IDG": theory.icl_error_limit}, setting.noise_variance
    return all_of(
        *(
            at_infinite_size(
                kind, setting, runs, tau, other[kind](setting.alpha, setting.kappa, tau, rest), "the other error"
            ).named(f"{kind}, tau = {tau:g}")
            for kind in ERRORS
            for tau in setting.taus
        )
    )


PEAK = PretrainingSetting(dims=(12, 24), alpha=1.0, kappa=0.5, taus=(0.4, 1.0, 2.5), n_replicas=64)
PEAK_SCALES = Scales(smoke=replace(PEAK, dims=(8, 16)), desk=PEAK, paper=replace(PEAK, dims=(40, 80), n_replicas=64))
RIDGES = (1.0, 0.1)


@paper.claim(
    "double_descent",
    source="Lu et al., Section on sample-wise double descent",
    statements=[7],
    parts=4,
    setting=PEAK_SCALES,
    formula="e_ICL(0.4) < e_ICL(1) > e_ICL(2.5); e_ICL(1) with a ridge follows its limit",
    assumptions=["no ridge but where it is named"],
    judged="without ridge the error at the largest size is more than five times as large at tau = 1 as at 0.4 and 2.5, medians "
    "over data sets; at tau = 1 with ridge 1 and 0.1 the extrapolated logarithm has the limit's (scale: a relative error)",
    reads=("alpha", "kappa", "noise_variance", "taus"),
    covers=COVERED | {"kappa": DECLARED, "taus": DECLARED, "ridge": DECLARED},
)
def double_descent(setting: PretrainingSetting, lab: Lab) -> Verdict:
    """The error rises to a peak at tau = 1 and falls again; with a ridge the peak has the height of its limit.

    Twins: a peak a hundred times as high; the peak at the other ridge.
    """
    ridged = [replace(setting, ridge=ridge, taus=(1.0,)) for ridge in RIDGES]
    shared, *found = lab.simulate(pretrain, setting, *ridged)
    few, peak, many = np.log(shared["icl_error"])[:, -1].T
    five, hundred = float(np.log(5)), Twin.of("a hundred times", by=float(np.log(100)))
    verdicts = [
        ordered(side, peak, by=five, of="median over replicas", twin=hundred).named(name)
        for side, name in ((few, "ascent"), (many, "second descent"))
    ]
    heights = [theory.icl_error_limit(each.alpha, each.kappa, 1.0, each.noise_variance, each.ridge) for each in ridged]
    for each, runs, rival in zip(ridged, found, heights[::-1], strict=True):
        verdict = at_infinite_size("ICL", each, runs, 1.0, rival, "the other ridge")
        verdicts.append(verdict.named(f"ridge {each.ridge:g}"))
    return all_of(*verdicts)


@paper.claim(
    "divergence",
    source="Lu et al., Section on sample-wise double descent",
    statements=[7],
    kind="identity",
    setting=PEAK_SCALES,
    formula="e_ICL(1) ~ ridge^(-1/2) as ridge -> 0",
    assumptions=["the limit formula with ridge, below 1e-6"],
    judged="local exponents of the limit formula within 0.01 of -1/2, no simulation; corrections are of relative order "
    "ridge^(1/2), 0.001 at 1e-6",
    reads=("alpha", "kappa", "noise_variance"),
)
def divergence(setting: PretrainingSetting, lab: Lab) -> Verdict:
    """At tau = 1 the limit with a ridge grows like its inverse root as the ridge vanishes: the ridgeless error diverges.

    Twin: a simple pole.
    """
    small = np.geomspace(1e-10, 1e-6, 5)
    limit = np.array(
        [theory.icl_error_limit(setting.alpha, setting.kappa, 1.0, setting.noise_variance, r) for r in small]
    )
    return exponent(small, limit, -0.5, within=0.01, bend=0.01, twin=Twin.of("simple pole", predicted=-1.0))


THRESHOLD = PretrainingSetting(
    dims=(8, 12, 16, 20), taus=tuple(np.geomspace(0.9, 1.3, 25).round(4).tolist()), n_replicas=32
)
THRESHOLD_SCALES = Scales(
    smoke=replace(THRESHOLD, dims=(6, 8, 12, 16)), desk=THRESHOLD, paper=replace(THRESHOLD, dims=(8, 16, 32, 64))
)


@paper.claim(
    "peak_at_d_squared",
    source="Lu et al., joint limit",
    statements=[9, 7],
    setting=THRESHOLD_SCALES,
    formula="n_peak = d (d + 1), the number of weights, ~ d^2",
    assumptions=["no ridge", "alpha, kappa fixed"],
    judged="median over data sets of the largest distance between the logarithm of the number of sequences at the largest error "
    "and that of d (d + 1), over sizes; margin: half a step of the grid, two sequences at the smallest size, the spread",
    reads=("dims", "taus"),
    covers={
        "sequence_power": one_of(2.0, why="the grid of tau counts d^2"),
        "ridge": DECLARED,
        "infinite_tasks": one_of(False),
        "dims": that(lambda dims: len(dims) > 1 and min(dims) >= 6, "sizes from 6 on", "the grid reaches 1.3 d^2"),
        "taus": that(
            lambda taus: len(taus) > 4 and min(taus) < 1 and max(taus) > 1.2, "a grid around 1", "the peak is inside"
        ),
    },
)
def peak_at_d_squared(setting: PretrainingSetting, lab: Lab) -> Verdict:
    """The error peaks where the sequences are as many as the weights, d (d + 1), so like the square of the dimension.

    Twin: d^2 sequences.
    """
    runs = lab.simulate(pretrain, setting)
    at = runs["icl_error"].argmax(-1)
    n = np.take_along_axis(runs["n_sequences"], at[..., None], -1)[..., 0]
    dims = np.array(setting.dims)
    weights = np.array([theory.interpolation_threshold_exact(d) for d in setting.dims], float)
    step = float(np.max(np.diff(np.log(np.sort(setting.taus)))))
    return follows(
        np.log(n),
        np.log(weights),
        within=budget(
            Piece("half a grid step", step / 2),
            Piece("two sequences", 2 / (min(dims) * (min(dims) + 1))),
            spread_of(0.012, runs.n, of="median over replicas"),
        ),
        of="median over replicas",
        twin=Twin.of("d^2 sequences", predicted=2 * np.log(dims)),
    )


DIVERSITY = PretrainingSetting(dims=(12, 24), alpha=50.0, taus=(4.0,), n_replicas=256)
DIVERSITY_SCALES = Scales(
    smoke=replace(DIVERSITY, n_replicas=64), desk=DIVERSITY, paper=replace(DIVERSITY, dims=(32, 64), n_replicas=64)
)
KAPPAS = (0.5, 1.5, 4.0)


@paper.claim(
    "task_diversity",
    source="Lu et al., Section on task diversity",
    statements=[8],
    parts=3,
    setting=DIVERSITY_SCALES,
    formula="e_ICL(tau, alpha, kappa, rho) at kappa = 0.5, 1.5, 4, on both sides of kappa = 1",
    assumptions=["k = kappa d tasks on the sphere", "no ridge"],
    judged="extrapolated logarithms at alpha = 50, tau = 4, means over data sets (scale: a relative error); margin: the "
    "correction of order 1 / d^2 and the spread, both from smaller sizes",
    reads=("alpha", "noise_variance", "taus"),
    covers=COVERED | {"taus": DECLARED, "ridge": DECLARED},
)
def task_diversity(setting: PretrainingSetting, lab: Lab) -> Verdict:
    """With fewer than d tasks the model memorises them, and new tasks cost what no seen task spans; with more it generalises.

    Twins: unlimited tasks, below kappa = 1; the smooth decay 1 / (1 + kappa) of what is not learnt, above.
    """
    each = [replace(setting, kappa=kappa) for kappa in KAPPAS]
    tau, rho = setting.taus[-1], setting.noise_variance
    verdicts = []
    for one, runs in zip(each, lab.simulate(pretrain, *each), strict=True):
        rival, label = theory.icl_error_limit(setting.alpha, np.inf, tau, rho), "unlimited tasks"
        if one.kappa > 1:
            rival, label = rho + 1 / (1 + one.kappa), "smooth decay"
        verdicts.append(at_infinite_size("ICL", one, runs, tau, rival, label).named(f"kappa = {one.kappa:g}"))
    return all_of(*verdicts)


@paper.claim(
    "memorisation_limit",
    source="Lu et al., Section on task diversity",
    statements=[8],
    kind="identity",
    parts=2,
    setting=DIVERSITY_SCALES,
    formula="e_ICL -> rho + (1 - kappa)_+ as tau -> infinity, then alpha -> infinity",
    assumptions=["the limit formulas without ridge"],
    judged="gap of the finite formula to the limit falls like 1 / alpha (rate within 0.02) at kappa = 0.25 and 2, no simulation",
    reads=("noise_variance",),
)
def memorisation_limit(setting: PretrainingSetting, lab: Lab) -> Verdict:
    """With unlimited sequences and context the excess error on new tasks is the share of directions that no task spans.

    Twin: the limit of a diversity that is 2 % larger (0.25), or an error of 0.001 that is left (2).
    """
    alphas, rho = np.array([1600.0, 3200.0, 6400.0, 12800.0]), setting.noise_variance
    verdicts = []
    for kappa, rival in ((0.25, theory.memorisation_error_limit(0.255)), (2.0, 1e-3)):
        gaps = np.array([theory.icl_error_limit(alpha, kappa, np.inf, rho) for alpha in alphas]) - rho
        limit, twin = theory.memorisation_error_limit(kappa), Twin.of("another limit", gaps=gaps - rival)
        verdicts.append(converges(alphas, gaps - limit, rate=1.0, within=0.02, twin=twin).named(f"kappa = {kappa}"))
    return all_of(*verdicts)
