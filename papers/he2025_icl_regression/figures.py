"""Figures 1 to 7."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import figures
from attnlab.papers.he2025_icl_regression.paper import (
    best_pair,
    one_head_optimum,
    paper,
    past_plateau,
    single_head,
    sizes,
)
from attnlab.papers.he2025_icl_regression.reduced_model import RATIOS
from attnlab.papers.he2025_icl_regression.several_tasks import (
    LONG_SCALES,
    ONLY_LONG,
    SPLIT,
    TWO_SCALES,
    long_runs,
    sharing,
    solved,
)
from attnlab.papers.lab.run.workbench import Lab
from attnlab.simulators.in_context_regression import training as simulator
from attnlab.simulators.in_context_regression.reduced_risk import (
    OptimumSetting,
    ReducedSetting,
    RidgeSetting,
    reduced_optimum,
    reduced_risk,
    ridge_risk,
)
from attnlab.simulators.in_context_regression.several_tasks import MultiTaskSetting
from attnlab.theory.in_context_regression import dynamics
from attnlab.theory.in_context_regression import effective_loss as theory
from attnlab.theory.in_context_regression import exact_risk as exact
from attnlab.theory.in_context_regression import gradient_descent_risks as risks


def two_heads(setting):
    """The setting of the runs with two heads."""
    return replace(setting, n_heads=2)


def one_replica(runs):
    """Index of the first replica with heads of both signs that ends below the median loss."""
    both = np.isfinite(runs["group_mu"][:, -1]).all(-1) & (runs["loss"][:, -1] <= np.median(runs["loss"][:, -1]))
    return int(np.argmax(both))


@paper.figure(
    "fig1",
    caption="Key-query matrices KQ of each head and output-value rows OV (columns at the right) of one "
    "trained model along training; dashed lines set off the label. Each head becomes a multiple "
    "of the identity that reads the label only",
    source="Figure 1",
)
def key_query_maps(setting: simulator.Setting, lab: Lab) -> figures.Plate:
    runs = lab.simulate(simulator.train, setting)
    chosen, d = one_replica(runs), setting.dim
    steps, KQ, OV = runs["snapshot_steps"][0], runs["KQ"][chosen], runs["OV"][chosen]
    KQ = KQ.copy()
    KQ[..., d] = np.nan  # the query has no label: never used
    plate = figures.Plate(KQ.shape[1], len(steps), width="double", letters=False)
    scales = figures.colour_scale(*KQ[..., :d]), figures.colour_scale(*OV)
    for s, step in enumerate(steps):
        for h in range(KQ.shape[1]):
            panel = plate[h, s]
            figures.heat_map(panel, KQ[s, h], "key-query entry", scale=scales[0], dividers=(d,))
            figures.heat_map(
                panel.beside(width=1 / (d + 1), gap=0.07, name="OV"),
                OV[s, h][:, None],
                "output-value entry",
                scale=scales[1],
                dividers=(d,),
                square=False,
            )
            panel.labels(x="", y=f"head {h + 1}" if s == 0 else "")
            if h == 0:
                panel.heading(f"step {step:,}".replace(",", " "))
    return plate


@paper.figure(
    "fig2",
    caption="Scales of the heads along training with 4 and with 2 heads: positive and negative heads grow apart, "
    "overshoot, and drift along the valley. Groups of one sign: omega is the mean weighted by mu, mu the sum",
    source="Figure 2",
)
def scales_along_training(setting: simulator.Setting, lab: Lab) -> figures.Plate:
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
    return float(np.abs(best_pair(*sizes(setting)).omega[0]))


PUBLISHED_PAIR = 0.13, 3.45  # omega and mu of the two heads in Figure 3


def prompts(setting):
    """Prompt lengths, omega and mu of the reduced models of Figure 3 as a setting of the reduced simulation."""
    d, L, sigma = sizes(setting)
    single = theory.one_head_optimum_approx(d, L, sigma)
    omega, mu = PUBLISHED_PAIR
    if (d, L) != (5, 40):  # the published pair is that of the default sizes; elsewhere the floor of the valley
        mu = float(theory.symmetric_pair_valley_mu_approx(omega, d, L, sigma))
    return ReducedSetting(
        dim=d,
        noise_std=sigma,
        lengths=tuple(range(2 * d, 20 * d + 1, 2 * d)),
        omega=((omega, -omega), tuple(single.omega.tolist())),
        mu=((mu, -mu), tuple(single.mu.tolist())),
        step_size=2 * mu * omega,
        trained_length=L,
        n_sequences=setting.n_test,
        n_replicas=8,
    )


def few_of(lengths):
    """Enough prompt lengths for a smooth curve of an exact risk that takes long: dense where it bends."""
    return np.unique(np.geomspace(lengths[0], lengths[-1], 40).astype(int))


@paper.figure(
    "fig3",
    caption="Risk of the reduced models and of their rivals against the prompt length: two heads with the published "
    "scales (0.13, 3.45), all others tuned at the training length. Lines: exact risks; the Bayes line is its "
    "proportional limit",
    source="Figure 3",
)
def risk_of_reduced_models(setting: simulator.Setting, lab: Lab) -> figures.Plate:
    reduced = prompts(setting)
    runs = lab.simulate(reduced_risk, reduced)
    ridge = lab.simulate(
        ridge_risk,
        RidgeSetting(
            dim=setting.dim,
            noise_std=setting.noise_std,
            lengths=reduced.lengths,
            n_sequences=max(200, setting.n_test // 5),
            n_replicas=8,
        ),
    )
    lengths = np.array(reduced.lengths)
    fine = np.arange(lengths[0], lengths[-1] + 1)
    bent = few_of(fine)
    d, sigma, eta = setting.dim, setting.noise_std, reduced.step_size
    plate = figures.Plate(1, 1, width=4.8, height=4.2)
    panel = plate[0]
    rows = [
        (
            "one head",
            [
                float(exact.heads_risk_exact(np.array(reduced.omega[1]), np.array(reduced.mu[1]), d, int(n), sigma))
                for n in bent
            ],
            runs["risk"][:, 1],
            bent,
        ),
        (
            "two heads",
            [
                float(exact.heads_risk_exact(np.array(reduced.omega[0]), np.array(reduced.mu[0]), d, int(n), sigma))
                for n in bent
            ],
            runs["risk"][:, 0],
            bent,
        ),
        (
            "debiased GD",
            [risks.debiased_gd_risk_exact(eta, d, int(n), sigma) for n in fine],
            runs["risk_debiased_gd"],
            fine,
        ),
        ("plain GD", [risks.plain_gd_risk_exact(eta, d, int(n), sigma) for n in fine], runs["risk_plain_gd"], fine),
        ("Bayes (ridge)", risks.bayes_risk_limit(d / fine, sigma), ridge["risk"], fine),
    ]
    for k, (label, line, points, x) in enumerate(rows):
        figures.prediction(panel, x, line, f"{label}, predicted", series=label)
        figures.measurement(panel, lengths, points, f"{label}, measured", series=label, dodge=(k - 2) * 0.8)
    panel.labels(x=r"prompt length $L^\prime$ (examples)", y="risk (mean squared error)")
    panel.scale(y="log")
    panel.ticks(y=[0.1, 0.2, 0.3, 0.5, 0.7, 1.0])
    plate.legend("below", columns=2)
    return plate


@paper.figure(
    "fig4",
    caption="Risk of trained models against the prompt length at test; trained at the length of the dashed "
    "line. Lines: exact risk of debiased gradient descent with the best step at the training "
    "length, and of the best single head",
    source="Figure 4",
)
def risk_of_trained_models(setting: simulator.Setting, lab: Lab) -> figures.Plate:
    counts = {1: single_head(setting), 2: two_heads(setting), setting.n_heads: setting}
    if lab.scale == "paper":
        counts[8] = replace(setting, n_heads=8)
    results = dict(zip(counts, lab.simulate(simulator.train, *counts.values()), strict=True))
    d, L, sigma = sizes(setting)
    lengths = np.array(setting.test_lengths)
    fine = np.arange(lengths.min(), lengths.max() + 1)
    best, single = risks.debiased_gd_best_step_exact(d, L, sigma), one_head_optimum(setting)
    plate = figures.Plate(1, 1, width=4.8, height=3.2)
    panel = plate[0]
    bent = few_of(fine)
    figures.prediction(
        panel,
        bent,
        [float(exact.heads_risk_exact(single.omega, single.mu, d, int(n), sigma)) for n in bent],
        "best single head, exact",
        series="1 head",
    )
    figures.prediction(
        panel,
        fine,
        [risks.debiased_gd_risk_exact(best, d, int(n), sigma) for n in fine],
        "debiased GD, exact",
        series="2 heads",
    )
    for k, (n_heads, runs) in enumerate(sorted(results.items())):
        good = np.ones(runs.n, bool) if n_heads == 1 else past_plateau(setting, runs)
        if good.any():
            name = "1 head" if n_heads == 1 else f"{n_heads} heads"
            figures.measurement(
                panel, lengths, runs["risk_by_length"][good], f"{name}, trained", series=name, dodge=(k - 1) * 2
            )
    figures.reference(panel, "training length", x=L)
    panel.labels(x=r"prompt length $L^\prime$ (examples)", y="risk (mean squared error)")
    plate.legend("below", columns=3)
    return plate


@paper.figure(
    "fig5",
    caption="Effective loss of a symmetric pair of heads with its valley, the best output-value scale at each "
    "key-query scale, and the gradient flow from small scales",
    source="Figure 5",
)
def valley_and_flow(setting: simulator.Setting, lab: Lab) -> figures.Plate:
    d, L, sigma = sizes(setting)
    omega, mu = np.linspace(0.01, 0.8, 120), np.linspace(0.02, 6.0, 140)
    loss = theory.symmetric_pair_loss_approx(omega[None, :], mu[:, None], d, L, sigma)
    plate = figures.Plate(1, 1, width="single", height=3.0)
    panel = plate[0]
    low = float(loss.min())
    figures.contour(
        panel, omega, mu, np.minimum(loss, 2.0), "effective loss", levels=np.geomspace(low, 2.0, 13), log=True
    )
    times = np.concatenate([[0.0], np.geomspace(0.01, 1e5, 300)])
    flow = dynamics.reduced_flow((np.array([0.02, -0.02]), np.array([0.05, -0.05])), times, d, L, sigma)
    ridge_line = theory.symmetric_pair_valley_mu_approx(omega, d, L, sigma)
    figures.prediction(panel, omega[ridge_line < 6], ridge_line[ridge_line < 6], "valley")
    figures.path(panel, flow.omega[:, 0], flow.mu[:, 0], "gradient flow")
    panel.limits(x=(0, 0.8), y=(0, 6))
    panel.labels(x=r"key-query scale $\omega$", y=r"output-value scale $\mu$")
    plate.legend("below")
    return plate


@paper.figure(
    "fig6",
    caption="Risks in the proportional limit (lines) and at finite size (points): ridge and debiased "
    "gradient descent on the same dimension, the best single head where it was fitted",
    source="proportional limit",
    setting=RATIOS,
)
def proportional_limit(setting: RidgeSetting, lab: Lab) -> figures.Plate:
    d, sigma = setting.dim, setting.noise_std
    ridge = lab.simulate(ridge_risk, setting)
    fitted = lab.simulate(
        reduced_optimum,
        *(
            OptimumSetting(
                dims=(d,),
                context_per_dim=L / d,
                noise_std=sigma,
                n_sequences=setting.n_sequences,
                n_replicas=setting.n_replicas,
            )
            for L in setting.lengths
        ),
    )
    xi, fine = (
        d / np.array(setting.lengths),
        np.geomspace(d / max(setting.lengths) / 1.5, d / min(setting.lengths) * 1.5, 200),
    )
    plate = figures.Plate(1, 1, width="single", height=2.8)
    panel = plate[0]
    rows = [
        ("one head", risks.one_head_risk_limit, np.concatenate([f["one_head_risk"] for f in fitted], axis=1)),
        ("two or more heads", risks.debiased_gd_risk_limit, np.concatenate([f["limit_risk"] for f in fitted], axis=1)),
        ("Bayes (ridge)", risks.bayes_risk_limit, ridge["risk"]),
    ]
    for k, (name, limit, points) in enumerate(rows):
        figures.prediction(panel, fine, limit(fine, sigma), f"{name}, limit", series=name)
        figures.measurement(panel, xi, points, f"{name}, d = {d}", series=name, dodge=k - 1)
    panel.scale(x="log")
    panel.labels(x=r"aspect ratio $\xi = d / L$", y=r"risk $R(\xi)$")
    plate.legend("below")
    return plate


@paper.figure(
    "fig7",
    caption="Diagonals of the key-query matrices (above) and output-value weights of each task (below) for "
    "two tasks on overlapping supports, one replica each: three heads; four heads in the replica "
    "that shares them least; four heads in the one that shares them most",
    source="Figure 7",
    setting=TWO_SCALES,
)
def task_diagonals(setting: MultiTaskSetting, lab: Lab) -> figures.Plate:
    (three, left, *_), (four, there, *_) = (solved(setting, lab, n) for n in (3, 4))
    shared = np.where(there, sharing(four)[:, -1], np.nan)
    order = np.argsort(np.nan_to_num(shared, nan=0.5))
    shown = [
        (three, int(np.argmax(left)), "3 heads"),
        (four, int(order[0]), "4 heads, split"),
        (four, int(order[-1]), "4 heads, shared"),
    ]
    plate = figures.Plate(2, 3, width="double", height=3.4, letters=True)
    for column, (runs, chosen, title) in enumerate(shown):
        top, bottom = plate[0, column], plate[1, column]
        heads = range(runs["mu"].shape[2])
        figures.bars(
            top,
            [f"$x_{i + 1}$" for i in range(setting.dim)],
            {f"head {h + 1}": runs["KQ_diagonal"][chosen, -1, h][None] for h in heads},
        )
        figures.bars(
            bottom,
            [str(t + 1) for t in range(len(setting.supports))],
            {f"head {h + 1}": runs["mu"][chosen, -1, h][None] for h in heads},
        )
        top.heading(title)
        top.labels(x="covariate", y="key-query diagonal" if column == 0 else "")
        bottom.labels(x="task", y=r"output-value weight $\mu$" if column == 0 else "")
    plate.legend("below")
    return plate


@paper.figure(
    "fig8",
    caption="Part of the heads' work that goes to a second task, with two heads per task, one line per replica that has solved "
    "the tasks: most heads part in the end, a few starts end wholly shared",
    source="Section 6, multiple tasks",
    setting=LONG_SCALES,
    scales=("paper",),
    why_these_scales=ONLY_LONG,
)
def sharing_along_training(setting: MultiTaskSetting, lab: Lab) -> figures.Plate:
    runs, arrived = long_runs(setting, lab)
    steps = runs["steps"][0]
    seen = steps > 100
    plate = figures.Plate(1, 1, width="single", height=2.8)
    panel = plate[0]
    figures.band(panel, steps[seen], sharing(runs)[arrived][:, seen], "replicas", individuals=True)
    figures.reference(panel, "split: below 1/5", y=SPLIT)
    panel.scale(x="log")
    panel.labels(x="training step", y="work on a second task (share)")
    plate.legend("below")
    return plate
