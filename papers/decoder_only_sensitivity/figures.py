"""Figures: flow from the source through depth; sensitivity to the source against the target's length."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import figures
from attnlab.papers.decoder_only_sensitivity.paper import (
    DEPTHS,
    FLAT_STACKS,
    FLOWS,
    LOOKUPS,
    SENSITIVITIES,
    STACKS,
    paper,
)
from attnlab.papers.lab.run.workbench import Lab
from attnlab.simulators.source_attention.depth import DepthSetting, deep_lookup
from attnlab.simulators.source_attention.layers import FlowSetting, SensitivitySetting, flows, sensitivities
from attnlab.simulators.source_attention.stacks import StackSetting, flat_stacks, stacks
from attnlab.simulators.source_attention.trained import LookupSetting, lookup
from attnlab.theory.score_statistics.log_sum import mean_participation_exact
from attnlab.theory.source_attention import flow, mass, sensitivity


@paper.figure(
    "fig1",
    caption="Share of the linear flow to the last target token that started in the source, flat causal attention over twenty "
    "source "
    "tokens, against t/n for three depths; matrices (points), the exact law (lines)",
    source="indirect flow",
    setting=FLOWS,
    claims=("depth_repairs",),
)
def repair(setting: FlowSetting, lab: Lab) -> figures.Plate:
    runs = lab.simulate(flows, setting)
    plate, n = figures.Plate(), setting.n_source
    panel, fine = plate[0, 0], np.unique(np.geomspace(3, max(setting.target_lengths), 40).astype(int))
    for depth in (1, 2, 4):
        line = [flow.source_flow_exact(n, int(t), depth) for t in fine]
        name = f"{depth} layer" + "s" * (depth > 1)
        figures.prediction(panel, fine / n, line, name)
        at = setting.depths.index(depth)
        figures.measurement(panel, np.array(setting.target_lengths) / n, runs["source"][:, :, at], f"{name}, matrices")
    panel.scale(x="log")
    panel.labels(x="target over source, t/n", y="share from the source")
    plate.legend("below")
    return plate


@paper.figure(
    "fig2",
    caption="Squared norm of the derivative of one layer's output with respect to all source tokens against the number of "
    "target tokens, "
    "random layers: one softmax over source and target, and with a softmax over the source alone beside it. Lines: theory",
    source="sensitivity to the source",
    setting=SENSITIVITIES,
    claims=("sensitivity_falls", "a_branch_keeps_it"),
)
def sensitivity_against_length(setting: SensitivitySetting, lab: Lab) -> figures.Plate:
    runs = lab.simulate(sensitivities, setting)
    plate, n, d, s = figures.Plate(), setting.n_source, setting.dim, setting.spread
    panel, lengths = plate[0, 0], np.array(setting.target_lengths)
    fine = np.unique(np.geomspace(lengths.min(), lengths.max(), 12).astype(int))

    def law(t: int) -> float:
        return sensitivity.both_paths_approx(n, t, d, s, mean_participation_exact(n + t, s))

    joint = np.array([law(int(t)) for t in fine])
    for name, key, line in (("one softmax", "both", joint), ("with a branch", "branch", joint + law(0))):
        figures.prediction(panel, fine, line, name)
        figures.measurement(panel, lengths, runs[key], f"{name}, drawn")
    panel.scale(x="log", y="log")
    panel.labels(x="target tokens t", y=r"$|\partial o / \partial S|^2$")
    plate.legend("below")
    return plate


@paper.figure(
    "fig3",
    caption="Trained layers on targets longer than in training (16 tokens): (a) odds of the target against the source in the "
    "joint softmax, means of logarithms over replicas with 95 % intervals, and the affine law with the scores of each replica "
    "(lines); (b) cross-entropy of the value that is looked up",
    source="attention degeneration",
    setting=LOOKUPS,
    claims=("odds_are_affine", "a_bias_is_enough", "low_mass_is_not_lost"),
)
def trained_layers(setting: LookupSetting, lab: Lab) -> figures.Plate:
    plate = figures.Plate(columns=2, width="double")
    names = {"joint": "one softmax", "biased": "with a bias ln(n + t)", "branch": "with a branch"}
    every = lab.simulate(lookup, *(replace(setting, layer=each) for each in names))
    for number, (name, runs) in enumerate(zip(names.values(), every, strict=True)):
        rows = [
            np.log10(mass.mean_odds_exact(runs["own"], runs["target"], runs["inverse"][:, k], t)).mean()
            for k, t in enumerate(setting.target_lengths)
        ]
        figures.prediction(plate[0, 0], setting.target_lengths, rows, name)
        figures.measurement(plate[0, 0], setting.target_lengths, np.log10(runs["odds"]), name, dodge=3 * number)
        figures.measurement(plate[0, 1], setting.target_lengths, np.log10(runs["nats"]), name, dodge=3 * number)
    for panel in (plate[0, 0], plate[0, 1]):
        panel.scale(x="log")
    plate[0, 0].labels(x="target tokens t", y=r"$\log_{10}$ of mean odds (1 - m)/m")
    plate[0, 1].labels(x="target tokens t", y=r"$\log_{10}$ of cross-entropy (nats)")
    plate.legend("below")
    return plate


@paper.figure(
    "fig4",
    caption="Squared norm of the derivative of the last target token's output with respect to all source tokens: (a) flat layers "
    "with a residual, drawn values (points), all paths (lines); (b) random layers with norms and softmax, with and without a "
    "softmax over the source alone",
    source="sensitivity to the source, at one layer and at four",
    setting=FLAT_STACKS,
    claims=("depth_slows_the_decay", "random_stacks_forget_slower"),
)
def stacks_against_length(setting: StackSetting, lab: Lab) -> figures.Plate:
    plate = figures.Plate(columns=2, width="double")
    flat, lengths = lab.simulate(flat_stacks, setting), np.array(setting.target_lengths)
    fine = np.unique(np.geomspace(lengths.min(), lengths.max(), 30).astype(int))
    for at, depth in enumerate(setting.depths):
        name = f"{depth} layer" + "s" * (depth > 1)
        law = [flow.stack_sensitivity_exact(setting.n_source, int(t), depth, setting.dim) for t in fine]
        figures.prediction(plate[0, 0], fine, law, name)
        figures.measurement(plate[0, 0], lengths, flat["square"][:, at], f"{name}, drawn")
    other = STACKS.at(lab.scale)
    drawn = lab.simulate(stacks, other)
    for at, depth in enumerate(other.depths):
        for number, (key, words) in enumerate((("joint", "one softmax"), ("branch", "with a branch"))):
            name = f"{depth} layer{'s' * (depth > 1)}, {words}"
            figures.measurement(plate[0, 1], other.target_lengths, drawn[key][:, at], name, dodge=2 * at + number)
    for panel in (plate[0, 0], plate[0, 1]):
        panel.scale(x="log", y="log")
        panel.labels(x="target tokens t", y=r"$|\partial o / \partial S|^2$")
    plate.legend("below")
    return plate


@paper.figure(
    "fig5",
    caption="Trained decoders of one, two and four layers on targets longer than in training: (a) logarithm of the "
    "cross-entropy of the value that is looked up; (b) the source's share of the softmax, in the layer where it is largest",
    source="attention degeneration, at several depths",
    setting=DEPTHS,
    claims=("trained_depth_does_not_repair",),
)
def trained_depths(setting: DepthSetting, lab: Lab) -> figures.Plate:
    plate, depths = figures.Plate(columns=2, width="double"), (1, 2, 4)
    every = lab.simulate(deep_lookup, *(replace(setting, n_layers=each) for each in depths))
    for number, (depth, runs) in enumerate(zip(depths, every, strict=True)):
        name = f"{depth} layer" + "s" * (depth > 1)
        for panel, values in ((plate[0, 0], np.log10(runs["nats"])), (plate[0, 1], runs["mass"].max(-1))):
            figures.measurement(panel, setting.target_lengths, values, name, dodge=3 * number)
    for panel in (plate[0, 0], plate[0, 1]):
        panel.scale(x="log")
    plate[0, 0].labels(x="target tokens t", y=r"$\log_{10}$ of cross-entropy (nats)")
    plate[0, 1].labels(x="target tokens t", y="largest share of the source")
    plate.legend("below")
    return plate
