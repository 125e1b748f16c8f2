"""Figures 1 to 5: one drop, staircase, ranks, risks over length, learning curves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import figures
from attnlab.papers.lab.declare import Scales
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.linear_attention_icl.learning_curves import CURVE, DIVERSITY, extrapolated
from attnlab.papers.linear_attention_icl.one_drop import MERGED_SCALES, WHITE
from attnlab.papers.linear_attention_icl.one_step import SHIFT_SCALES, nested, shifted_spectrum
from attnlab.papers.linear_attention_icl.paper import (
    STAIRS,
    components,
    crossing_times,
    learnt,
    levels,
    paper,
    stair_sizes,
)
from attnlab.papers.linear_attention_icl.staircase import CLOCK, DROPS, drops, heads_of, predicted_drop
from attnlab.simulators.in_context_regression.reduced_risk import RidgeSetting, ridge_risk
from attnlab.simulators.linear_attention import training as simulator
from attnlab.simulators.linear_attention.pretraining import PretrainingSetting, pretrain
from attnlab.simulators.linear_attention.risk import RiskSetting, risk
from attnlab.theory.in_context_regression import gradient_descent_risks as proportional
from attnlab.theory.linear_attention import dynamics, pretraining
from attnlab.theory.linear_attention import one_step as theory

STARTS = (1e-1, 1e-2, 1e-3)


@paper.figure(
    "fig1",
    caption="Loss of merged key and query along gradient descent from three starts, for white and for "
    "anisotropic covariance. Lines: the exact sigmoid (white) and the reduced flow (anisotropic) from "
    "the median growing component of the starts. Time is twice the learning rate times steps",
    source="Zhang, Singh, Latham, Saxe, Figure 2",
    setting=MERGED_SCALES,
)
def one_drop(setting: simulator.Setting, lab: Lab) -> figures.Plate:
    plate = figures.Plate(1, 2, width="double", height=2.9)
    white = replace(setting, spectrum=(sum(setting.spectrum) / len(setting.spectrum),) * len(setting.spectrum))
    for panel, each, title in ((plate[0], white, "white covariance"), (plate[1], setting, "anisotropic covariance")):
        runs = lab.simulate(
            simulator.train,
            *(
                replace(each, init_scale=scale, learning_rate=WHITE.learning_rate, n_steps=WHITE.n_steps, n_records=500)
                for scale in STARTS
            ),
        )
        sizes = stair_sizes(each)
        for scale, run in zip(STARTS, runs, strict=True):
            time, name = run["time"][0], f"start {scale:g}"
            figures.band(panel, time, run["population_loss"], f"{name}, trained", series=name)
            if title.startswith("white"):
                path = dynamics.merged_scale_exact(
                    time, np.median(run["growing"]), len(sizes[0]), sizes[1], sizes[0][0]
                )
                path = np.repeat(path[:, None], len(sizes[0]), axis=1)
            else:
                path = dynamics.merged_flow(time, float(np.median(run["aligned_growing"])), *sizes)
            predicted = dynamics.loss_of_diagonal_exact(path, *sizes)
            few = np.linspace(0, len(time) - 1, 100).astype(int)
            figures.prediction(panel, time[few], predicted[few], "sigmoid (a), reduced flow (b)", series="predicted")
        panel.heading(title)
        panel.limits(x=(0, 125))
        panel.labels(x=r"time $t$ (units of $\tau$)", y=r"loss $L$" if panel is plate[0] else "")
    plate.legend("below", columns=4)
    return plate


@paper.figure(
    "fig2",
    caption="Separate rank-one key and query. (a) Loss of single replicas, with the predicted plateaus; (b) "
    "value weights of one replica, with the solution of the reduced equation through the moment of "
    "half weight; (c) drops of the two leading eigenvectors in their own units, with the same equation",
    source="Zhang, Singh, Latham, Saxe, Figures 1 and 4",
    setting=Scales(STAIRS, STAIRS, STAIRS),
)
def staircase(setting: simulator.Setting, lab: Lab) -> figures.Plate:
    runs, close = lab.simulate(simulator.train, setting, replace(DROPS, n_context=setting.n_context))
    plate = figures.Plate(1, 3, width="double", height=2.9)
    time, seen = runs["time"][0], runs["time"][0] > 200
    figures.replica_lines(plate[0], time[seen], runs["population_loss"][:6, seen], "trained")
    for m, level in enumerate(levels(setting.spectrum, setting.n_context)):
        figures.reference(plate[0], f"$L(M_{m})$", y=level)
    plate[0].labels(x=r"time $t$ (units of $\tau$)", y=r"loss $L$")
    sizes = stair_sizes(setting)
    A = dynamics.finite_context_factors(*sizes)
    limit = dynamics.final_weight_exact(sizes[0], A)
    head, part = heads_of(setting, runs)
    complete = learnt(setting, components(setting, runs)[:, -1]).all(-1) & (part > 0.9).all(-1)
    shown = int(np.argmax(complete))
    for d in range(len(limit)):
        weight = np.abs(runs["v"][shown, :, head[shown, d]])
        half = float(crossing_times(time, weight, limit[d] / 2))
        name = rf"$\lambda={sizes[0][d]:g}$"
        if np.isfinite(half):
            figures.prediction(
                plate[1],
                time[seen],
                dynamics.drop_weight_exact(time[seen] - half, np.full(seen.sum(), limit[d] / 2), sizes[0][d], A[d]),
                f"{name}, reduced",
                series=name,
            )
        points = np.flatnonzero(seen)[np.unique(np.geomspace(1, seen.sum() - 1, 26).astype(int))]
        figures.measurement(plate[1], time[points], weight[None, points], f"{name}, trained", series=name)
    plate[1].labels(x=r"time $t$ (units of $\tau$)", y=r"value weight $|v_i|$")
    curves = drops(replace(DROPS, n_context=setting.n_context), close)
    for d, lam in enumerate(DROPS.spectrum):
        figures.band(
            plate[2],
            CLOCK,
            curves[np.isfinite(curves[..., d]).all(1), :, d],
            rf"drop of $\lambda={lam:g}$, trained",
            show="quantiles",
            series=f"drop {d}",
        )
    figures.prediction(plate[2], CLOCK, predicted_drop(), "reduced equation", series="reduced equation")
    plate[2].labels(x=r"clock $\lambda^2 v_\infty (t - t_{1/2})$", y=r"weight $|v| / v_\infty$")
    for panel in (plate[0], plate[1]):
        panel.scale(x="log")
    plate.legend("below", columns=4)
    return plate


EIGHT = replace(
    STAIRS,
    spectrum=tuple(round((8 - i) / 36, 6) for i in range(8)),
    n_heads=9,
    init_scale=0.02,
    learning_rate=0.4,
    n_steps=16_000,
    n_records=1_000,
)
EIGHT_SCALES = Scales(
    smoke=EIGHT,
    desk=EIGHT,
    paper=replace(EIGHT, init_scale=0.0157, learning_rate=0.197, n_sequences=80_000, n_steps=20_001),
)


@paper.figure(
    "fig3",
    caption="Loss of separate keys and queries of rank R in eight dimensions (nine heads), single replicas, "
    "with the predicted levels after every R-th eigenvector",
    source="Zhang, Singh, Latham, Saxe, Figure 5",
    setting=EIGHT_SCALES,
)
def ranks(setting: simulator.Setting, lab: Lab) -> figures.Plate:
    chosen = (1, 2, 4, 8)
    runs = lab.simulate(simulator.train, *(replace(setting, rank=rank) for rank in chosen))
    plate = figures.Plate(2, 2, width="double", height=4.6, share_x=True)
    L = levels(setting.spectrum, setting.n_context)
    for panel, rank, run in zip(plate, chosen, runs, strict=True):
        seen = run["time"][0] > 1_000
        figures.replica_lines(panel, run["time"][0, seen], run["population_loss"][:6, seen], "trained")
        for m in range(0, len(L), rank):
            if m <= 4 or m % 4 == 0 or rank == 2:
                figures.reference(panel, f"$L(M_{m})$", y=L[m])
        panel.heading(f"rank R = {rank}")
        panel.labels(x=r"time $t$ (units of $\tau$)", y=r"loss $L$")
        panel.scale(x="log")
    plate.legend("below")
    return plate


@paper.figure(
    "fig4",
    caption="(a) Risk over the aspect ratio, noise variance 0.1: linear attention and the Bayes estimator "
    "(ridge), limits as lines and 20 dimensions as points. (b) Risk over the length of the test prompt "
    "of networks trained at the dashed length, at their covariance and with its eigenvalues reversed",
    source="Zhang, Frei, Bartlett, Section 4; Garg et al. 2022, comparison with least squares",
    setting=SHIFT_SCALES,
)
def risks(setting: simulator.Setting, lab: Lab) -> figures.Plate:
    plate = figures.Plate(1, 2, width="double", height=3.0)
    d, noise, lengths = 20, 0.1**0.5, (5, 10, 20, 40, 80, 160)
    ridge = lab.simulate(
        ridge_risk, RidgeSetting(dim=d, noise_std=noise, lengths=lengths, n_sequences=200, n_replicas=8)
    )
    best = [theory.best_matrix_exact(np.eye(d), n, noise, np.eye(d) / d) for n in lengths]
    layer = lab.simulate(
        risk,
        RiskSetting(
            matrices=tuple(map(nested, best)),
            spectrum=(1.0,) * d,
            prior=nested(np.eye(d) / d),
            noise_std=noise,
            lengths=lengths,
            n_sequences=500,
            n_replicas=8,
        ),
    )
    xi, fine = d / np.array(lengths), np.geomspace(d / max(lengths) / 1.3, d / min(lengths) * 1.3, 100)
    for name, limit, points in (
        ("linear attention", proportional.debiased_gd_risk_limit, np.diagonal(layer["risk"], axis1=1, axis2=2)),
        ("Bayes (ridge)", proportional.bayes_risk_limit, ridge["risk"]),
    ):
        figures.prediction(plate[0], fine, limit(fine, noise), f"{name}, limit", series=name)
        figures.measurement(plate[0], xi, points, f"{name}, d = {d}", series=name)
    plate[0].scale(x="log")
    plate[0].labels(x=r"aspect ratio $\xi = d / N$", y=r"risk $R$")
    trained = lab.simulate(simulator.train, setting)["matrix"][:, -1].mean(0).round(6)
    lengths, S = (5, 10, 20, 31, 60, 120, 250, 500), np.diag(setting.spectrum)
    G, fine = theory.best_matrix_exact(S, setting.n_context), np.geomspace(4, 600, 100)
    for name, spectrum in (("own covariance", setting.spectrum), ("reversed", shifted_spectrum(setting))):
        runs = lab.simulate(
            risk,
            RiskSetting(
                matrices=(nested(trained),), spectrum=spectrum, lengths=lengths, n_sequences=1_000, n_replicas=8
            ),
        )
        T = np.diag(spectrum)
        bias = theory.long_context_risk_limit(G, T)
        slope = 2 * (theory.risk_exact(G, T, 2) - bias)  # the risk is linear in 1 / M
        figures.prediction(plate[1], fine, bias + slope / fine, f"{name}, exact", series=name)
        figures.measurement(plate[1], np.array(lengths), runs["risk"][:, 0], f"{name}, trained", series=name)
        figures.reference(plate[1], r"$M \to \infty$", y=bias)
    figures.reference(plate[1], "training length", x=setting.n_context, where="bottom")
    plate[1].scale(x="log", y="log")
    plate[1].labels(x=r"test length $M$ (examples)", y=r"risk $R$")
    plate.legend("below", columns=4)
    return plate


CURVES = replace(DIVERSITY, n_replicas=16)
CURVES_SCALES = Scales(smoke=replace(CURVES, dims=(8, 16)), desk=CURVES, paper=replace(CURVES, dims=(32, 64)))


@paper.figure(
    "fig5",
    caption="Errors of ridgeless pretraining on new (ICL) and on seen tasks (IDG) over the number of sequences "
    "(a, b), the context (c) and the number of tasks (d). Lines: joint limit; points: extrapolated "
    "from two sizes. Noise variance 0.01; kappa = 0.5 in (a, b, c), tau = 4 in (c, d), alpha = 50 (d)",
    source="Lu et al., Figures 2 to 4",
    setting=CURVES_SCALES,
)
def learning_curves(setting: PretrainingSetting, lab: Lab) -> figures.Plate:
    plate = figures.Plate(2, 2, width="double", height=5.0)
    rho, tau = setting.noise_variance, setting.taus[-1]
    base = replace(setting, kappa=CURVE.kappa)
    taus, alphas = (0.25, 0.4, 0.6, 1.6, 2.5, 4.0), (1.0, 10.0, 100.0)
    errors = (("icl_error", "ICL", pretraining.icl_error_limit), ("idg_error", "IDG", pretraining.idg_error_limit))
    runs = lab.simulate(pretrain, *(replace(base, alpha=alpha, taus=taus) for alpha in alphas))
    fine = np.concatenate([np.linspace(0.1, 0.96, 60), [1.0], np.linspace(1.04, 4.4, 60)])
    for panel, (key, kind, limit) in zip((plate[0, 0], plate[0, 1]), errors, strict=True):
        for alpha, run in zip(alphas, runs, strict=True):
            name = rf"$\alpha={alpha:g}$"
            line = np.array([limit(alpha, base.kappa, t, rho) for t in fine])
            figures.prediction(panel, fine, np.where(fine == 1, np.nan, line), f"{name}, limit", series=name)
            figures.measurement(
                panel, np.array(taus), np.exp(extrapolated(base, run[key])), f"{name}, measured", series=name
            )
        panel.scale(y="log")
        panel.labels(x=r"sequences $\tau = n / d^2$", y=f"{kind} error")
    many, kappas = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0), (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0)
    over_alpha = lab.simulate(pretrain, *(replace(base, alpha=alpha, taus=(tau,)) for alpha in many))
    over_kappa = lab.simulate(pretrain, *(replace(setting, kappa=kappa) for kappa in kappas))
    fine, fine_kappa = np.geomspace(0.4, 40, 80), np.linspace(0.15, 4.5, 120)
    left, right = plate[1, 0], plate[1, 1]
    for key, name, limit in errors:
        figures.prediction(
            left, fine, [limit(alpha, base.kappa, tau, rho) for alpha in fine], f"{name}, limit", series=name
        )
        found = np.exp(np.concatenate([extrapolated(base, run[key]) for run in over_alpha], axis=1))
        figures.measurement(left, np.array(many), found, f"{name}, measured", series=name)
        line = [limit(setting.alpha, kappa, tau, rho) for kappa in fine_kappa]
        figures.prediction(right, fine_kappa, line, f"{name}, limit", series=name)
        found = np.exp(np.concatenate([extrapolated(setting, run[key]) for run in over_kappa], axis=1))
        figures.measurement(right, np.array(kappas), found, f"{name}, measured", series=name)
    figures.prediction(
        right,
        fine_kappa,
        rho + pretraining.memorisation_error_limit(fine_kappa),
        r"$\rho + (1-\kappa)_+$",
        series="unlimited",
    )
    left.scale(x="log", y="log")
    left.labels(x=r"context $\alpha = l / d$", y="error")
    right.labels(x=r"tasks $\kappa = k / d$", y="error")
    plate.legend("below", columns=4)
    return plate
