"""Figures 1 to 7."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import figures
from attnlab.papers.lab.declare import Scales
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.reddy2024_abrupt_icl.data_dependence import (
    EXPONENTS,
    FACTORS,
    MIXES,
    NOISES,
    SWEEPS,
    circuit_cells,
    class_counts,
)
from attnlab.papers.reddy2024_abrupt_icl.paper import (
    DESK,
    PAPER,
    SMOKE,
    circuit_for,
    first_time,
    learners,
    paper,
    rescaled,
    sizes,
    trained,
)
from attnlab.papers.reddy2024_abrupt_icl.sampled_flow import FLOWS
from attnlab.papers.reddy2024_abrupt_icl.transition import as_many_labels
from attnlab.simulators.induction_heads import training as simulator
from attnlab.simulators.induction_heads.circuit import CircuitSetting, train_circuit
from attnlab.theory.induction_heads import dynamics
from attnlab.theory.induction_heads import reduced_loss as theory

NEAR = np.linspace(0.05, 1.6, 63)  # times in units of the half-time
MEASURES = {
    "item_attention": "ILA1: label to its item",
    "match_attention": "TILA2: target to matching label",
    "label_attention": "TLA2: target to all labels",
    "context_mass": "CLA: mass on labels of the context",
}


@paper.figure(
    "fig1",
    caption="Accuracy on sequences of novel classes and training loss along training, each thin line one "
    "network; dashed: chance among the labels of the context",
    source="Figure 1",
)
def accuracy_and_loss(setting: simulator.Setting, lab: Lab) -> figures.Plate:
    runs = lab.simulate(simulator.train, setting)
    N, _ = sizes(setting)
    steps = runs["steps"][0]
    plate = figures.Plate(1, 2, width="double", height=2.6)
    for panel, name, label, chance, text in (
        (plate[0], "accuracy_context", "in-context accuracy", 1 / N, "1/N"),
        (plate[1], "loss", "training loss (nats)", np.log(N), "ln N"),
    ):
        figures.band(panel, steps, runs[name], "networks", individuals=True)
        figures.reference(panel, text, y=chance)
        panel.labels(x="training step", y=label)
    plate.legend("below")
    return plate


@paper.figure(
    "fig2",
    caption="Attention before and after training, mean over test sequences and over the networks that have learnt: of "
    "layer 1, and of the target in layer 2 given which item it matches. Tokens are item, label, ..., target",
    source="Figure 3",
)
def attention_maps(setting: simulator.Setting, lab: Lab) -> figures.Plate:
    _, runs, _, early = trained(setting, lab)
    kept = lab.simulate(simulator.train, setting) if early is not None else runs
    plate = figures.Plate(2, 2, width="double", height=4.6, letters=False)
    for column, when in enumerate(("before training", "after training")):
        for row, (name, y) in enumerate((("layer_1", "layer 1: from token"), ("layer_2", "layer 2: matching item"))):
            panel = plate[row, column]
            figures.heat_map(
                panel,
                kept[name][:, column].mean(0),
                "attention",
                symmetric=False,
                scale=figures.colour_scale(np.array([0.0, 1.0]), symmetric=False),
            )
            n_tokens = kept[name].shape[-1]
            if n_tokens <= 25:
                letters = ["xy"[k % 2] for k in range(n_tokens - 1)] + ["t"]
                panel.axes.set_xticks(range(n_tokens), letters)
                if row == 0:
                    panel.axes.set_yticks(range(n_tokens), letters)
            panel.labels(x="to token (x item, y label, t target)" if row else "", y=y if column == 0 else "")
            if row == 0:
                panel.heading(when)
    return plate


@paper.figure(
    "fig3",
    caption="Progress of trained networks, of the minimal circuit with three numbers trained on the same data, "
    "and of the exact flow of its loss in infinite dimension with a linear readout, which lags behind. "
    "Time in units of the half-time: accuracy 1/2, for the flow TILA2 half of its way to 1",
    source="Figures 3 and 4",
)
def laid_over(setting: simulator.Setting, lab: Lab) -> figures.Plate:
    N, L = sizes(setting)
    steps, runs, half, early = trained(setting, lab)
    circuits = lab.simulate(train_circuit, circuit_for(setting, lab))
    rates = (1.0, 1.0, 1.0, dynamics.readout_rate(L))
    end = 2.0 * dynamics.transition_time(dynamics.circuit_flow, (0, 0, 0, 0), N, L, rates)
    flow = dynamics.circuit_flow((0, 0, 0, 0), np.linspace(0, end, 1_001), N, L, rates)
    exact = theory.circuit_measures_limit(flow.beta1, flow.alpha, flow.beta2, flow.xi, N, L)
    unit = first_time(flow.times, exact.match_attention[None], (1 + exact.match_attention[0]) / 2)[0]
    plate = figures.Plate(2, 2, width="double", height=4.6, share_x=True)
    for index, (name, label) in enumerate(MEASURES.items()):
        panel = plate[index // 2, index % 2]
        inside = flow.times / unit <= NEAR[-1]
        figures.prediction(panel, flow.times[inside] / unit, getattr(exact, name)[inside], "exact flow")
        if early is None:
            figures.band(panel, NEAR, rescaled(steps, runs[name], half, NEAR), "trained networks")
        each_steps, each, each_half, late = learners(circuits)
        if late is None:
            figures.band(panel, NEAR, rescaled(each_steps, each[name], each_half, NEAR), "trained circuits")
        panel.labels(x=r"time $t / t_{1/2}$" if index > 1 else "", y=label)
        panel.limits(y=(-0.02, 1.05))
    plate.legend("below")
    return plate


@paper.figure(
    "fig4",
    caption="In-context accuracy with as many labels as the context holds (L = N) and with four times as many; "
    "dashed: 1/N",
    source="Figure 6",
    setting=Scales(smoke=SMOKE, desk=DESK, paper=PAPER),
)
def labels_and_context(setting: simulator.Setting, lab: Lab) -> figures.Plate:
    counts = (2, setting.n_context) if lab.scale != "paper" else (2, 4, 8)
    plate = figures.Plate(1, len(counts), width="double", height=2.6)
    for panel, N in zip(plate, counts, strict=True):
        more = (
            setting
            if N == setting.n_context
            else replace(setting, n_context=N, n_labels=4 * N, n_records=50, n_replicas=8)
        )
        runs = lab.simulate(simulator.train, as_many_labels(more), more)
        for each, label in zip(runs, ("L = N", "L = 4 N"), strict=True):
            figures.band(panel, each["steps"][0], each["accuracy_context"], label, individuals=True)
        figures.reference(panel, "1/N", y=1 / N)
        panel.heading(f"N = {N}")
        panel.labels(x="training step", y="in-context accuracy" if N == counts[0] else "")
        panel.limits(y=(-0.02, 1.05))
    plate.legend("below")
    return plate


@paper.figure(
    "fig5",
    caption="Loss of the nested logits for N = 8: over the numbers of the attention at a readout of 5, and over alpha "
    "and the readout at beta1 = 0. At L = 8 the origin is a saddle, at L = 32 it is no critical point",
    source="Figure 5",
)
def landscape(setting: simulator.Setting, lab: Lab) -> figures.Plate:
    plate = figures.Plate(2, 2, width="double", height=5.0)
    fine = np.linspace(-1.0, 8.0, 91)
    for row, L in enumerate((32, 8)):
        for column, (x, y, z) in enumerate(
            (
                (fine, fine, lambda a, b, L=L: theory.nested_logit_loss_approx(b, a, 5.0, 8, L)),
                (fine, np.linspace(-2.0, 12.0, 91), lambda a, b, L=L: theory.nested_logit_loss_approx(0.0, a, b, 8, L)),
            )
        ):
            panel = plate[row, column]
            loss = z(x[None, :], y[:, None])
            figures.contour(panel, x, y, loss, f"loss, L = {L}", levels=10)
            panel.labels(
                x=r"$\alpha$" if row else "",
                y=r"$\beta_1$ (at $\xi = 5$)" if column == 0 else r"$\xi$ (at $\beta_1 = 0$)",
            )
    return plate


@paper.figure(
    "fig6",
    caption="Final accuracies of networks (points) and of the two-number circuit (lines: means over circuits) "
    "against what the data are made of; the circuit has fewer classes, about as many as make its two "
    "ways of reading labels compete",
    source="Figures 2 and 5",
    setting=MIXES,
    scales=("desk", "paper"),
    why_these_scales="the four sweeps of both models take a minute",
)
def data_dependence(setting: simulator.Setting, lab: Lab) -> figures.Plate:
    plate = figures.Plate(2, 2, width="double", height=4.8)
    counts = f"classes, in units of {class_counts(setting)[1]} (network), {4 * setting.n_labels} (circuit)"
    axes = {
        "classes": (np.array(FACTORS), counts),
        "noise": (np.array(NOISES), r"noise within classes $\epsilon$"),
        "burstiness": (np.array([0.0, 1.0, 2.0]), "burstiness B (0: independent items)"),
        "rank exponent": (np.array(EXPONENTS), r"rank-frequency exponent $\alpha_Z$"),
    }
    for panel, (name, (x, label)) in zip(plate, axes.items(), strict=True):
        cells = SWEEPS[name](setting)
        runs = lab.simulate(simulator.train, *cells)
        circuits = lab.simulate(train_circuit, *circuit_cells(setting, lab, name))
        least = min(len(each["steps"]) for each in runs)
        for k, (measure, text) in enumerate((("context", "in context"), ("weights", "in weights"))):
            values = [each[f"accuracy_{measure}"][:, -1].mean() for each in circuits]
            figures.prediction(panel, x, values, f"{text}, circuit", series=text)
            figures.measurement(
                panel,
                x,
                np.stack([each[f"accuracy_{measure}"][:least, -1] for each in runs], axis=-1),
                f"{text}, network",
                series=text,
                dodge=2 * k - 1,
            )
        if name == "classes":
            panel.scale(x="log")
        panel.ticks(x=list(x))
        panel.labels(x=label, y="final accuracy")
        panel.limits(y=(-0.04, 1.08))
    plate.legend("below")
    return plate


@paper.figure(
    "fig7",
    caption="Circuit of two numbers trained by stochastic gradient descent on sampled sequences of large "
    "dimension, and the exact flow of its loss; time is the learning rate times the steps",
    source="Section 4",
    setting=FLOWS,
)
def flow_and_training(setting: CircuitSetting, lab: Lab) -> figures.Plate:
    N, L = sizes(setting)
    runs = lab.simulate(train_circuit, setting)
    time = setting.learning_rate * runs["steps"][0]
    rate = dynamics.readout_rate(L)
    flow = dynamics.circuit_flow((0, 0, 0, 0), time, N, L, (1, 1, 0, rate))
    plate = figures.Plate(1, 2, width="double", height=2.8)
    seen = slice(0, None, max(1, len(time) // 16))
    for name, label in (("beta1", r"$\beta_1$"), ("alpha", r"$\alpha$"), ("xi", r"$\xi$")):
        figures.prediction(plate[0], time, getattr(flow, name), f"{label}, flow", series=label)
        figures.measurement(plate[0], time[seen], runs[name][:, seen], f"{label}, trained", series=label)
    figures.prediction(plate[1], time, flow.loss, "loss, flow", series="loss")
    figures.measurement(plate[1], time[seen], runs["test_loss"][:, seen], "loss, trained", series="loss")
    figures.prediction(plate[1], time, dynamics.slow_phase_loss(time, N, L, rate), "loss, uniform attention")
    plate[0].labels(x="time", y="numbers of the circuit")
    plate[1].labels(x="time", y="loss (nats)")
    plate.legend("below")
    return plate
