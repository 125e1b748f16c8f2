"""Figures on trained weights: convergence, over-parametrisation, several tokens, rank, and the laws behind them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import figures
from attnlab.analysis.statistics.intervals import clopper_pearson
from attnlab.papers.lab.declare import Scales
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.tarzanagh2023_att_svm.directions import DIMS, WIDE
from attnlab.papers.tarzanagh2023_att_svm.paper import factored, paper, selection
from attnlab.papers.tarzanagh2023_att_svm.programs import ranks
from attnlab.papers.tarzanagh2023_att_svm.rates import FLOWS, PATHS, flows, norms, paths
from attnlab.papers.tarzanagh2023_att_svm.several_tokens import RELU, several
from attnlab.simulators.max_margin_attention import training as simulator
from attnlab.simulators.max_margin_attention.training import Setting
from attnlab.theory.max_margin_attention import frobenius as svm

HEAD_DIMS = {"smoke": (4, 6), "desk": (4, 6, 8, 10), "paper": (4, 6, 8, 10)}
RANK_DIMS = {"smoke": (2, 4, 8), "desk": (2, 3, 4, 5, 10, 15, 20), "paper": (1, 2, 3, 4, 5, 10, 15, 20)}
RANKS = Scales(*(Setting(n_inputs=5, n_tokens=5, dim=10, n_replicas=n) for n in (8, 16, 100)))


@paper.figure(
    "fig1",
    caption="Local convergence from random starts (n = 6, T = 8, d = 10). a: largest attention weight, averaged over "
    "inputs. b, c: correlation with the two SVM solutions of the selected tokens, weights W and factors K, Q",
    source="local-convergence figure",
)
def local_convergence(setting: Setting, lab: Lab) -> figures.Plate:
    single, joint = lab.simulate(simulator.train, replace(setting, inner_dim=0), factored(setting))
    plate = figures.Plate(1, 3, width="double", height=2.7)
    for name, runs in (("W", single), ("K, Q", joint)):
        steps = runs["steps"][0][1:]
        figures.band(plate[0], steps, runs["saturation"][:, 1:], f"trained {name}")
    for column, (name, runs) in enumerate((("W", single), ("K, Q", joint)), 1):
        chosen, panel = selection(runs, with_nuclear=True), plate[column]
        for label, direction in (("Frobenius norm", chosen.frobenius), ("nuclear norm", chosen.nuclear)):
            figures.band(
                panel,
                runs["steps"][0][1:],
                svm.correlation(runs["W"], direction[:, None])[:, 1:],
                f"SVM of the {label}",
            )
        panel.heading(f"trained {name}")
    for panel, label in zip(plate, ("largest attention weight", "correlation", ""), strict=True):
        panel.scale(x="log")
        panel.labels(x="training step", y=label)
        panel.limits(y=(0, 1.05))
    plate.legend("below")
    return plate


@paper.figure(
    "fig2",
    caption="Share of runs that select the globally optimal tokens, and of those that select locally optimal "
    "ones (the global ones included), against the dimension (n = 6, T = 8)",
    source="over-parametrisation figure",
    setting=WIDE,
)
def overparametrisation_shares(setting: Setting, lab: Lab) -> figures.Plate:
    dims = DIMS[lab.scale]
    plate = figures.Plate(1, 2, width="double", height=2.7, share_y=True)
    for panel, query in zip(plate, ("cross", "self"), strict=True):
        settings = [replace(setting, dim=d, query=query) for d in dims]
        chosen = [selection(runs) for runs in lab.simulate(simulator.train, *settings)]
        for shift, label, name in ((0.97, "globally optimal", "globally"), (1.03, "locally optimal", "locally")):
            hits = [getattr(each, name) for each in chosen]
            low, high = np.array([clopper_pearson(int(hit.sum()), len(hit), 0.95) for hit in hits]).T
            figures.estimate(
                panel,
                shift * np.array(dims),
                [hit.mean() for hit in hits],
                low,
                high,
                label,
                interval="95 % Clopper-Pearson intervals of the share",
            )
        panel.heading(f"{query}-attention")
        panel.labels(x="dimension d", y="share of runs" if query == "cross" else "")
        panel.scale(x="log")
        panel.ticks(x=dims)
        panel.limits(y=(0, 1.03))
    plate.legend("below")
    return plate


@paper.figure(
    "fig3",
    caption="ReLU head, several kept tokens (n = 3, T = 4). Above: one minus the correlation of W with its predictors, "
    "replicas accepted as in the claims. Below: the same at the end, for the relaxed SVM and for finite part plus "
    "SVM, against the largest masked attention weight, one point a replica",
    source="figure on non-linear heads",
    setting=Scales(
        replace(RELU, n_steps=2_000, n_replicas=64), replace(RELU, n_replicas=128), replace(RELU, n_replicas=3_200)
    ),
)
def several_token_curves(setting: Setting, lab: Lab) -> figures.Plate:
    dims = HEAD_DIMS[lab.scale]
    plate = figures.Plate(2, len(dims), width="double", height=4.6, share_y=True)
    for column, (d, runs) in enumerate(
        zip(dims, lab.simulate(simulator.train, *(replace(setting, dim=d) for d in dims)), strict=True)
    ):
        chosen, steps = several(runs), runs["steps"][0]
        above, below = plate[0, column], plate[1, column]
        rows = (
            ("one-token SVM", chosen.single),
            ("SVM, several tokens", chosen.generalised),
            ("finite part + SVM", chosen.combined),
            ("relaxed SVM", chosen.relaxed),
        )
        for label, curves in rows:
            if len(curves):
                figures.band(above, steps[1:], np.maximum(curves[:, 1:], 1e-12), label)
        for label, curves in rows[:1:-1]:
            if len(curves):
                order = np.argsort(chosen.leak)
                figures.measurement(
                    below,
                    np.maximum(chosen.leak[order], 1e-60),
                    np.maximum(curves[order, -1], 1e-12)[None],
                    f"{label}, at the end",
                    series=label,
                )
        above.heading(f"d = {d}, {len(chosen.index)} of {runs.n}")
        above.scale(x="log", y="log")
        below.scale(x="log", y="log")
        below.limits(x=(1e-40, 1e-4))
        above.labels(x="training step", y="1 − correlation" if column == 0 else "")
        below.labels(x="largest masked weight", y="final 1 − correlation" if column == 0 else "")
    plate.legend("below")
    return plate


@paper.figure(
    "fig4",
    caption="Rank of the two SVM solutions on the best-scoring tokens against the dimension (T = 5; feasible data "
    "sets only). Lines: the bound min(n, d). Rank counts singular values above 1e-5 of the largest",
    source="rank figure",
    setting=RANKS,
)
def rank_against_dimension(setting: Setting, lab: Lab) -> figures.Plate:
    dims = np.array(RANK_DIMS[lab.scale])
    plate = figures.Plate(1, 3, width="double", height=2.7, share_y=True)
    for panel, n in zip(plate, (5, 10, 15), strict=True):
        rows = {"Frobenius norm": [], "nuclear norm": []}
        for runs in lab.simulate(simulator.data_sets, *(replace(setting, n_inputs=n, dim=int(d)) for d in dims)):
            found = ranks(runs)
            for values, own in zip(rows.values(), found, strict=True):
                values.append(np.concatenate([own, np.full(runs.n - len(own), np.nan)]))
        fine = np.arange(dims[0], dims[-1] + 1)
        figures.prediction(panel, fine, np.minimum(n, fine), "bound min(n, d)")
        seen = ~np.isnan(rows["nuclear norm"]).all(1)
        for k, (label, values) in enumerate(rows.items()):
            figures.measurement(panel, dims[seen], np.stack(values, 1)[:, seen], label, dodge=2 * k - 1)
        panel.heading(f"n = {n}")
        panel.labels(x="dimension d", y="rank" if n == 5 else "")
    plate.legend("below")
    return plate


@paper.figure(
    "fig6",
    caption="Laws of convergence with trained models. a: one minus the correlation of trained weights with their "
    "SVM (n = 3, T = 4, d = 5) against the norm; line: median of the reduced flow of the logits, integrated for "
    "each replica. b: loss gap of the best weights of one norm R, less its value at R = 10, in units of R over the "
    "norm of the SVM; W with the Frobenius, (K, Q) with the nuclear norm, points moved apart; line: slope −1",
    source="derived laws",
    setting=FLOWS,
)
def laws(setting: Setting, lab: Lab) -> figures.Plate:
    runs = lab.simulate(simulator.train, setting)
    measured, predicted, *_ = flows(setting, runs)
    norm = np.median(np.linalg.norm(runs["W"][:, 1:], axis=(-2, -1)), axis=0)
    plate = figures.Plate(1, 2, width="double", height=3.0)
    left, right = plate
    late = norm > norm[-1] / 100
    figures.band(left, norm[late], measured[:, late], "trained", individuals=True)
    figures.prediction(left, norm[late], np.median(predicted, 0)[late], "reduced flow")
    figures.power_law(
        left,
        -2.0,
        (norm[-1] / 10, 6 * np.median(predicted, 0)[np.argmin(np.abs(norm - norm[-1] / 10))]),
        (norm[-1] / 20, norm[-1]),
        "slope −2",
    )
    left.scale(x="log", y="log")
    left.labels(x="norm of the weights $\\|W\\|_F$", y="1 − correlation with $W_\\alpha$")
    lengths = None
    for name, (found, frobenius, nuclear) in zip(("W", "K, Q"), paths(PATHS.at(lab.scale), lab), strict=True):
        own = norms(frobenius if name == "W" else nuclear)
        radii = found["radii"][0]
        use = (radii >= 10) & (radii <= 100)
        lengths = radii[use]
        gap = found["log_gap"][:, use] - found["log_gap"][:, use][:, :1]
        figures.measurement(right, lengths, gap * own[:, None], f"best {name}", dodge=-2 if name == "W" else 2)
    figures.prediction(right, lengths, -(lengths - lengths[0]), "predicted slope −1")
    right.labels(x="radius R", y="log loss gap × norm of the SVM")
    left.legend("lower left")
    right.legend("upper right")
    return plate
