"""Claims on merged key and query: fixed points, one drop, its time and shape, and what kind of network it is (3, 4, 6)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import Twin, Verdict, agrees, all_of, bounded, follows, identical
from attnlab.papers.lab.conditions import outside
from attnlab.papers.lab.declare import Scales
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.linear_attention_icl.paper import (
    REST,
    STAIRS,
    components,
    crossing_times,
    levels,
    longest_rest,
    paper,
    shifted,
    stair_sizes,
)
from attnlab.simulators.linear_attention import training as simulator
from attnlab.simulators.linear_attention.stationary_points import StationarySetting, stationary_points
from attnlab.simulators.linear_attention.tokens import TokenSetting, train_both
from attnlab.simulators.linear_attention.training import Setting
from attnlab.theory.linear_attention import dynamics

WHITE = Setting(spectrum=(0.25,) * 4, init_scale=1e-3, learning_rate=0.01, n_steps=10_000, n_records=1_000)
WHITE_SCALES = Scales(smoke=WHITE, desk=WHITE, paper=replace(WHITE, init_scale=1e-6, n_steps=20_000))
MERGED = replace(WHITE, spectrum=(0.4, 0.3, 0.2, 0.1))
MERGED_SCALES = Scales(smoke=MERGED, desk=MERGED, paper=replace(MERGED, init_scale=1e-6, n_steps=20_000))
GRID = np.linspace(-25, 35, 61)


def not_small(setting):
    """The verdict on starts at which the exact formulas do not hold."""
    if setting.init_scale > 0.05:
        return outside(
            f"init_scale={setting.init_scale}: the formulas are for small starts, up to 0.05, with errors of its square"
        )
    return None


def white_half_time(setting, growing):
    """Time at which the sigmoid reaches half of its height."""
    d, lam = len(setting.spectrum), setting.spectrum[0]
    A = 1 + (1 + d) / setting.n_context
    return np.log(d**0.5 / (lam * A * growing**2) - 1) / (2 * lam**2 * d**0.5)


@paper.claim(
    "sigmoid",
    source="Zhang, Singh, Latham, Saxe, Section 3",
    statements=[3],
    setting=WHITE_SCALES,
    formula="s(t) = e^E / (l A (e^E - 1) + sqrt(d) / w0^2), E = 2 l^2 sqrt(d) t; w0 = ||(v + tr U / sqrt d) / 2||",
    assumptions=["white covariance l I", "small random start (terms of order w0^2)", "small steps"],
    judged="curves of all replicas, in the time since their own predicted half rise, within 2 % of the height of the "
    "prediction at all times (discrete steps: relative error of times is learning rate times rate, 0.3 % here)",
)
def sigmoid(setting: Setting, lab: Lab) -> Verdict:
    """For white covariance the scale of the model follows the exact sigmoid from the growing component of its start.

    Twin: the norm of all initial weights in place of the growing component: the curve comes too early.
    """
    if len(set(setting.spectrum)) > 1:
        return outside(f"spectrum={setting.spectrum} is not white")
    if (verdict := not_small(setting)) is not None:
        return verdict
    runs = lab.simulate(simulator.train, setting)
    d, lam = len(setting.spectrum), setting.spectrum[0]
    rate = lam**2 * d**0.5
    grid = GRID * 0.125 / rate
    height = 1 / (lam * (1 + (1 + d) / setting.n_context))
    scale = np.trace(runs["matrix"], axis1=-2, axis2=-1) / d / height
    reference = setting.init_scale
    half = white_half_time(setting, reference)
    predicted = dynamics.merged_scale_exact(half + grid, reference, d, setting.n_context, lam) / height

    def since_half(growing):
        return shifted(runs["time"][0], scale, white_half_time(setting, growing), grid)

    return follows(
        since_half(runs["growing"]),
        predicted,
        within=0.02,
        times=grid,
        twin=Twin.of("norm of all weights", trajectories=since_half(runs["start_norm"])),
    )


@paper.claim(
    "reduced_flow",
    source="Zhang, Singh, Latham, Saxe, Section 3",
    statements=[3],
    setting=MERGED_SCALES,
    formula="ds/dt = sum_d r_d (lam_d^2 - s lam_d^3 A_d r_d), dr_d/dt = s (lam_d^2 - s lam_d^3 A_d r_d)",
    assumptions=["any covariance", "small random start", "small steps"],
    judged="all components, relative to their limits, in the time since the start shifted by the logarithm of each "
    "replica's growing component, within 2 % of the reduced flow",
)
def reduced_flow(setting: Setting, lab: Lab) -> Verdict:
    """For any covariance all heads act as one: d + 1 equations started along S^2 give the path of the whole drop.

    Twin: all eigen-components rise together, as they do for white covariance.
    """
    if (verdict := not_small(setting)) is not None:
        return verdict
    if len(set(setting.spectrum)) == 1:
        return outside("white covariance: see sigmoid")
    runs = lab.simulate(simulator.train, setting)
    grid, predicted, shifts = since_start(setting, runs)
    found = shifted(runs["time"][0], components(setting, runs), shifts, grid)
    together = np.repeat(predicted.mean(-1, keepdims=True), predicted.shape[-1], axis=-1)
    return follows(
        found, predicted, within=0.02, times=grid, twin=Twin.of("components rise together", predicted=together)
    )


def since_start(setting, runs):
    """Times, the reduced flow's components there (relative to their limits), and every replica's shift in time.

    The reduced flow starts at ``init_scale``; a replica with another growing component is at the same point later or earlier.
    """
    sizes = stair_sizes(setting)
    rate = dynamics.merged_growth_rate(sizes[0])
    shifts = np.log(setting.init_scale / runs["aligned_growing"]) / rate
    last = runs["time"][0, -1]
    grid = np.linspace(max(0.0, -shifts.min()) + 0.3 * last, last - max(0.0, shifts.max()), 60)
    limit = np.diag(dynamics.plateau_matrix_exact(len(setting.spectrum), *sizes))
    return grid, dynamics.merged_flow(grid, setting.init_scale, *sizes) / limit, shifts


INIT_SCALES = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
STEP = 0.1  # time of a step: twice its learning rate


@paper.claim(
    "escape_time",
    source="Zhang, Singh, Latham, Saxe, Section 3",
    statements=[3],
    setting=MERGED_SCALES,
    formula="t_half = ln(1 / w0) / ||S^2||_F + const; with steps h of descent h ln(1 / w0) / ln(1 + h ||S^2||_F)",
    assumptions=["small random starts, 1e-2 to 1e-6"],
    judged="slope of the time of half the drop on ln(1 / w0) within a third of the distance to the rival's",
    note="Descent multiplies a growing weight by 1 + h r a step, so at h = 0.1 it waits longer than the flow, by h / 2 "
    "a unit of ln(1 / w0). The spectrum (0.6, 0.3, 0.1) tells the two apart.",
)
def escape_time(setting: Setting, lab: Lab) -> Verdict:
    """The time until the drop grows with the logarithm of the start, at the rate ||S^2||_F of all eigenvectors together.

    Twin: the rate lam_1^2 of the largest eigenvalue alone.
    """
    sizes = stair_sizes(setting)
    rate = dynamics.merged_growth_rate(sizes[0])
    settings = [
        replace(
            setting,
            init_scale=scale,
            learning_rate=STEP / 2,
            n_records=1_000,
            n_steps=int(np.ceil((np.log(1 / scale) + 5) / rate / STEP)),
        )
        for scale in INIT_SCALES
    ]
    runs = lab.simulate(simulator.train, *settings)
    best = levels(setting.spectrum, setting.n_context)[-1]
    half = np.stack(
        [
            crossing_times(run["time"][0], 1 - (run["population_loss"] - best) / (run["population_loss"][:, :1] - best))
            for run in runs
        ],
        axis=-1,
    )
    wait = np.log(1 / np.stack([run["aligned_growing"] for run in runs], axis=-1))
    slopes = np.array([np.polyfit(x, y, 1)[0] for x, y in zip(wait, half, strict=True)])
    predicted, rival = (STEP / np.log1p(STEP * r) for r in (rate, float(np.max(sizes[0]) ** 2)))
    return agrees(
        slopes, predicted, within=abs(rival - predicted) / 3, twin=Twin.of("largest eigenvalue alone", predicted=rival)
    )


@paper.claim(
    "one_drop",
    source="Zhang, Singh, Latham, Saxe, Section 3",
    statements=[3],
    setting=MERGED_SCALES,
    formula="longest time within 5 % of the drop, at 20 to 80 %, times ||S^2||_F",
    assumptions=["small random start"],
    judged="at most 3 in the median: what makes the drop would grow twentyfold meanwhile",
)
def one_drop(setting: Setting, lab: Lab) -> Verdict:
    """With merged key and query the loss falls in one drop and rests nowhere in between.

    Twin: the same measure of separate rank-one key and query, whose loss is a staircase.
    """
    merged, separate = lab.simulate(
        simulator.train, setting, replace(STAIRS, spectrum=setting.spectrum, n_context=setting.n_context)
    )
    best = levels(setting.spectrum, setting.n_context)[-1]
    rests = [longest_rest(setting, runs["time"][0], runs["population_loss"], best) for runs in (merged, separate)]
    return bounded(rests[0], REST, of="median over replicas", twin=Twin.of("separate key and query", measured=rests[1]))


FIXED = StationarySetting(spectrum=(0.5, 0.3, 0.2), n_heads=3, init_scale=4.0, max_evaluations=100, n_replicas=64)
FIXED_SCALES = Scales(smoke=replace(FIXED, n_replicas=32), desk=FIXED, paper=replace(FIXED, n_replicas=512))


@paper.claim(
    "fixed_points",
    source="Zhang, Singh, Latham, Saxe, Sections 3 and 4",
    statements=[3, 4],
    parts=2,
    setting=FIXED_SCALES,
    formula="merged: L in {L(0), L(M_d)}; separate rank-one: L = tr S - sum over a set of lam_d / A_d, 2^d sets",
    assumptions=["population loss", "points where the gradient is below 1e-9"],
    judged="every stationary point found from a random start has one of the predicted losses, within 1e-8 tr S",
)
def fixed_points(setting: StationarySetting, lab: Lab) -> Verdict:
    """All stationary points of the merged model have the loss of zero or of the optimum; with separate heads, of 2^d sets.

    Found by least squares on the gradient, without a flow. Twins: the optimum is the only stationary point; only the d + 1
    sets of leading eigenvectors, which training visits.
    """
    separate, merged = lab.simulate(
        stationary_points, setting, replace(setting, kind="merged", n_heads=2, init_scale=2.0)
    )
    sizes = stair_sizes(setting)
    visited = dynamics.plateau_losses_exact(*sizes)
    verdicts = []
    for runs, name, predicted, label, rivals in (
        (merged, "merged", visited[[0, -1]], "the optimum only", visited[-1:]),
        (separate, "separate", dynamics.stationary_losses_exact(*sizes), "leading eigenvectors only", visited),
    ):
        loss = runs["loss"][runs["gradient"] < 1e-9]
        nearest, rival = (each[np.abs(loss[:, None] - each).argmin(1)] for each in (predicted, rivals))
        verdicts.append(
            agrees(
                loss,
                nearest,
                within=1e-8 * sizes[0].sum(),
                of="every point",
                unit="point",
                twin=Twin.of(label, predicted=rival),
            ).named(name)
        )
    return all_of(*verdicts)


TOKENS = TokenSetting()
TOKEN_SCALES = Scales(
    smoke=TOKENS, desk=replace(TOKENS, n_sequences=200), paper=replace(TOKENS, n_sequences=2_000, n_steps=500)
)


@paper.claim(
    "cubic_network",
    source="Zhang, Singh, Latham, Saxe, Sections 3 and 4",
    statements=[6],
    parts=2,
    setting=TOKEN_SCALES,
    formula="sum_i (1/N) V_i X X^T W_i X = w2^T W1 vec(beta x_q^T); separate: sum of three-layer networks",
    assumptions=["float64", "same start, same sequences, gradient descent"],
    judged="predictions along the whole path equal up to 10^4 roundings of the largest (about 200 a prediction and "
    "step, 50 steps)",
)
def cubic_network(setting: TokenSetting, lab: Lab) -> Verdict:
    """The attention layer on tokens and the linear network on cubic features are one function, all along their training.

    Merged key and query are two layers, separate ones of any rank are sums of three. Twin: attention divided by all N + 1
    tokens.
    """
    merged, separate = lab.simulate(
        train_both, replace(setting, kind="merged"), replace(setting, kind="separate", rank=2)
    )
    return all_of(
        *(
            identical(
                runs["attention"],
                runs["network"],
                rounding=1e4,
                twin=Twin.of("divided by N + 1", a=runs["attention_over_all_tokens"]),
            ).named(name)
            for runs, name in ((merged, "merged"), (separate, "separate"))
        )
    )
