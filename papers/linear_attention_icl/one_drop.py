"""Claims on merged key and query: fixed points, one drop, its time and shape, and what kind of network it is (3, 4, 6)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import Twin, Verdict, agrees, all_of, budget, euler_step, follows, identical, replicas, rounding
from attnlab.analysis.verdicts.budget import Piece
from attnlab.papers.lab.conditions import at_most, not_yet, one_of, that, too_few
from attnlab.papers.lab.declare import Scales
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.linear_attention_icl.paper import (
    STAIRS,
    between_records,
    components,
    crossing_times,
    half_times,
    longest_stay,
    paper,
    shifted,
    stair_sizes,
    too_large_steps,
)
from attnlab.simulators.linear_attention import training as simulator
from attnlab.simulators.linear_attention.stationary_points import StationarySetting, stationary_points
from attnlab.simulators.linear_attention.tokens import TokenSetting, train_both
from attnlab.simulators.linear_attention.training import Setting
from attnlab.theory.linear_attention import dynamics

WHITE = Setting(spectrum=(0.25,) * 4, init_scale=1e-3, learning_rate=0.01, n_steps=10_000, n_records=1_000)
WHITE_SCALES = Scales(
    smoke=WHITE, desk=replace(WHITE, n_replicas=32), paper=replace(WHITE, init_scale=1e-6, n_steps=20_000)
)
MERGED = replace(WHITE, spectrum=(0.4, 0.3, 0.2, 0.1))
MERGED_SCALES = Scales(
    smoke=MERGED, desk=replace(MERGED, n_replicas=32), paper=replace(MERGED, init_scale=1e-6, n_steps=20_000)
)
GRID = np.linspace(-3.0, 4.5, 61)  # time since the half rise, in units of 1 / rate
SMALL_START = {
    "kind": one_of("merged"),
    "start": one_of("random", why="a balanced start is one head"),
    "init_scale": at_most(0.05, "the formulas are for small starts, with errors of the order of the start"),
    "n_sequences": one_of(0, why="the flow is that of the population loss"),
    "normalised": one_of(True, why="without the factor 1 / N rates are N times as large"),
}


def growth(setting, rate):
    """The verdict where steps are too large, or too few for the drop to end; None where neither."""
    if (verdict := too_large_steps(setting, 4 * rate)) is not None:
        return verdict
    needed = (np.log(1 / setting.init_scale) + 6) / dynamics.descent_pace(rate, 2 * setting.learning_rate)
    if 2 * setting.learning_rate * setting.n_steps < needed:
        return not_yet(f"n_steps={setting.n_steps}: from this start the drop ends at a time of about {needed:.3g}")
    return None


def path_margin(setting, rate, n):
    """What a rise at twice the rate may be off by: steps, the start (parts that do not grow), records, replicas.

    Heights are at most 1; replicas differ by the parts of the start that do not grow, a tenth of its size.
    """
    return budget(
        euler_step(2 * setting.learning_rate, 2 * rate),
        Piece("start", setting.init_scale),
        between_records(setting, 2 * rate),
        replicas(setting.init_scale / 10, n),
    )


@paper.claim(
    "sigmoid",
    source="Zhang, Singh, Latham, Saxe, Section 3",
    statements=[3],
    parts=3,
    setting=WHITE_SCALES,
    formula="s(t) = e^E / (l A (e^E - 1) + sqrt(d) / w0^2), E = 2 l^2 sqrt(d) t; w0 = ||(v + tr U / sqrt d) / 2||",
    assumptions=[
        "white covariance l I",
        "small random start",
        "descent: E grows by 2 ln(1 + h l^2 sqrt d) a step of time h",
    ],
    judged="time at which each replica passes half of its last value, within a step and what the start leaves; curves in the "
    "time since then, within steps, start and records; the last value of every replica",
    reads=("spectrum", "n_context", "init_scale", "learning_rate"),
    covers=SMALL_START
    | {"spectrum": that(lambda s: len(set(s)) == 1, "equal eigenvalues", "the sigmoid is that of white inputs")},
)
def sigmoid(setting: Setting, lab: Lab) -> Verdict:
    """For white covariance the scale of the model follows the exact sigmoid from the growing component of its start.

    Twins: the norm of all initial weights in place of the growing component, as the paper writes; growth at the rate l^2 of
    one direction; N + 1 examples in place of N.
    """
    d, lam, N = len(setting.spectrum), setting.spectrum[0], setting.n_context
    rate, step = dynamics.merged_growth_rate(setting.spectrum), 2 * setting.learning_rate
    if (verdict := growth(setting, rate)) is not None:
        return verdict
    runs = lab.simulate(simulator.train, setting)
    time, scale = runs["time"][0], np.trace(runs["matrix"], axis1=-2, axis2=-1) / d * lam
    half = half_times(time, scale)
    own, whole = (dynamics.merged_half_time_exact(runs[name], d, N, lam, step) for name in ("growing", "start_norm"))
    wait = agrees(
        half,
        own,
        within=budget(Piece("a step", step), Piece("start", setting.init_scale / rate)),
        of="every replica",
        twin=Twin.of("norm of all weights", predicted=whole),
        null=np.zeros(runs.n),
    )
    middle = float(dynamics.merged_half_time_exact(setting.init_scale, d, N, lam))
    curve, slow = (
        lam * dynamics.merged_scale_exact(middle + GRID / each, setting.init_scale, d, N, lam)
        for each in (rate, rate * d**0.5)
    )
    found = shifted(time, scale, half, GRID / rate)
    shape = follows(
        found,
        curve,
        within=path_margin(setting, rate, runs.n),
        times=GRID,
        twin=Twin.of("rate of one direction", predicted=slow),
        null=np.repeat(scale[:, :1], GRID.size, axis=1),
    )
    end = float(time[-1])
    height, other = (lam * dynamics.merged_scale_exact(end, setting.init_scale, d, n, lam) for n in (N, N + 1))
    last = agrees(
        scale[:, -1],
        height,
        within=budget(Piece("time left", float(np.exp(-2 * rate * (end - half.max())))), rounding(1e4)),
        of="every replica",
        twin=Twin.of("N + 1 examples", predicted=other),
        null=scale[:, 0],
    )
    return all_of(wait.named("wait"), shape.named("shape"), last.named("height"))


@paper.claim(
    "reduced_flow",
    source="Zhang, Singh, Latham, Saxe, Section 3",
    statements=[3],
    setting=MERGED_SCALES,
    formula="ds/dt = sum_d r_d (lam_d^2 - s lam_d^3 A_d r_d), dr_d/dt = s (lam_d^2 - s lam_d^3 A_d r_d)",
    assumptions=["any covariance but white", "small random start", "small steps"],
    judged="all components in units of the inverse eigenvalues, in the time since the leading one passed half of its last value, "
    "within steps, start and records",
    reads=("spectrum", "n_context", "init_scale", "learning_rate"),
    covers=SMALL_START
    | {"spectrum": that(lambda s: len(set(s)) > 1, "unequal eigenvalues", "see sigmoid for white inputs")},
)
def reduced_flow(setting: Setting, lab: Lab) -> Verdict:
    """For any covariance all heads act as one: d + 1 equations started along S^2 give the path of the whole drop.

    Twin: all eigen-components rise together, as they do for white covariance.
    """
    lam, N = stair_sizes(setting)
    rate = dynamics.merged_growth_rate(lam)
    if (verdict := growth(setting, rate)) is not None:
        return verdict
    runs = lab.simulate(simulator.train, setting)
    time, first = runs["time"][0], int(np.argmax(lam))
    found = components(setting, runs)
    since = shifted(time, found, half_times(time, found[..., first]), GRID / rate)
    flow = lam * dynamics.merged_flow(time[1:], setting.init_scale, lam, N)
    half = half_times(time[1:], flow[None, :, first])
    predicted = shifted(time[1:], flow[None], half, GRID / rate)[0]
    together = predicted[:, [first]] * flow[-1] / flow[-1, first]
    return follows(
        since,
        predicted,
        within=path_margin(setting, rate, runs.n),
        times=GRID,
        twin=Twin.of("components rise together", predicted=together),
        null=np.repeat(found[:, :1], GRID.size, axis=1),
    )


INIT_SCALES = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
FALL = 0.25  # of the loss, well within the drop at any context
STEP = 0.1  # time of a step: twice its learning rate


@paper.claim(
    "escape_time",
    source="Zhang, Singh, Latham, Saxe, Section 3",
    statements=[3],
    setting=MERGED_SCALES,
    formula="t = ln(1 / w0) / ||S^2||_F + const; with steps h of descent h ln(1 / w0) / ln(1 + h ||S^2||_F)",
    assumptions=["small random starts, 1e-2 to 1e-6", "steps of the time 0.1, whatever the setting's"],
    judged="slope of the time at which the loss has fallen by a quarter on ln(1 / w0), every replica; margin: the largest start, "
    "in the logarithm, over their range",
    reads=("spectrum",),
    covers=SMALL_START
    | {
        "spectrum": that(
            lambda s: STEP * float(np.linalg.norm(np.square(s))) < 0.2, "rates below 2", "the step is fixed"
        )
    },
    note="Descent multiplies a growing weight by 1 + h r a step, so at h = 0.1 it waits longer than the flow, by h / 2 "
    "a unit of ln(1 / w0).",
)
def escape_time(setting: Setting, lab: Lab) -> Verdict:
    """The time until the drop grows with the logarithm of the start, at the rate ||S^2||_F of all eigenvectors together.

    Twin: the flow's 1 / ||S^2||_F, without the step.
    """
    rate = dynamics.merged_growth_rate(setting.spectrum)
    pace = dynamics.descent_pace(rate, STEP)
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
    half = np.stack(
        [crossing_times(r["time"][0], 1 - r["population_loss"] / r["population_loss"][:, :1], FALL) for r in runs],
        axis=-1,
    )
    if (verdict := too_few(np.isfinite(half).all(1), f"fall by {FALL:.0%}", least=len(half))) is not None:
        return verdict
    wait = np.log(1 / np.stack([run["aligned_growing"] for run in runs], axis=-1))
    slopes = np.array([np.polyfit(x, y, 1)[0] for x, y in zip(wait, half, strict=True)])
    return agrees(
        slopes,
        1 / pace,
        within=budget(Piece("start", max(INIT_SCALES) / pace / np.log(max(INIT_SCALES) / min(INIT_SCALES)))),
        of="every replica",
        twin=Twin.of("the flow", predicted=1 / dynamics.descent_pace(rate)),
        null=np.zeros(len(slopes)),
    )


@paper.claim(
    "one_drop",
    source="Zhang, Singh, Latham, Saxe, Section 3",
    statements=[3],
    setting=MERGED_SCALES,
    formula="longest time within 5 % of the drop, at inner levels of 20 to 80 %, as in the reduced flow",
    assumptions=["small random start"],
    judged="every replica agrees with the reduced flow, within what steps and start change of a time",
    reads=("spectrum", "n_context", "init_scale", "learning_rate"),
    covers=SMALL_START,
)
def one_drop(setting: Setting, lab: Lab) -> Verdict:
    """With merged key and query the loss falls in one drop and rests nowhere in between.

    Twin: separate rank-one key and query, whose loss is a staircase.
    """
    lam, N = stair_sizes(setting)
    rate = dynamics.merged_growth_rate(lam)
    if (verdict := growth(setting, rate)) is not None:
        return verdict
    merged, separate = lab.simulate(
        simulator.train, setting, replace(STAIRS, spectrum=setting.spectrum, n_context=N, n_replicas=setting.n_replicas)
    )
    time = merged["time"][0, 1:]
    flow = dynamics.loss_of_diagonal_exact(dynamics.merged_flow(time, setting.init_scale, lam, N), lam, N)
    predicted = float(longest_stay(time, flow[None])[0])
    stays = [longest_stay(runs["time"][0], runs["population_loss"]) for runs in (merged, separate)]
    # rates are changed by steps by a share h r of themselves at most, and the part of the path by the start
    changed = predicted * (2 * setting.learning_rate * 2 * rate + setting.init_scale)
    still = np.full(len(stays[0]), time[-1])  # a loss that does not fall rests all the time
    return agrees(
        stays[0],
        predicted,
        within=budget(
            Piece("steps and start", changed),
            Piece("records", 2 * between_records(setting, 2 * rate).size / (0.16 * rate)),
        ),
        of="every replica",
        twin=Twin.of("separate key and query", measured=np.minimum(stays[1], separate["time"][0, -1])),
        null=still,
    )


GRADIENT = 1e-9
FIXED = StationarySetting(spectrum=(0.5, 0.3, 0.2), n_heads=3, init_scale=4.0, max_evaluations=100, n_replicas=64)
FIXED_SCALES = Scales(smoke=replace(FIXED, n_replicas=32), desk=FIXED, paper=replace(FIXED, n_replicas=512))


@paper.claim(
    "fixed_points",
    source="Zhang, Singh, Latham, Saxe, Sections 3 and 4",
    statements=[3, 4],
    parts=2,
    setting=FIXED_SCALES,
    formula="merged: L in {L(0), L(M_d)}; separate rank-one: L = tr S - sum over a set of lam_d / A_d, 2^d sets",
    assumptions=["population loss", "rank-one heads", "points where the gradient is below 1e-9"],
    judged="every stationary point found from a random start has the nearest of the predicted losses; where the gradient g is "
    "below 1e-9 the loss is within g^(3/2) of it, for it vanishes like a cube at worst",
    reads=("spectrum", "n_context"),
    covers={"rank": one_of(1, why="with heads of higher rank the stationary points are others")},
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
        still = runs["gradient"] < GRADIENT
        if (verdict := too_few(still, "end at a stationary point", least=8, unit="start")) is not None:
            return verdict
        loss = runs["loss"][still]
        nearest, rival = (each[np.abs(loss[:, None] - each).argmin(1)] for each in (predicted, rivals))
        verdicts.append(
            agrees(
                loss,
                nearest,
                within=budget(Piece("gradient left", GRADIENT**1.5), rounding(1e3, scale=float(sizes[0].sum()))),
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
    judged="predictions along the whole path equal up to 200 roundings of the largest per step, as many as a "
    "prediction and a step make",
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
                rounding=200 * setting.n_steps,
                twin=Twin.of("divided by N + 1", a=runs["attention_over_all_tokens"]),
            ).named(name)
            for runs, name in ((merged, "merged"), (separate, "separate"))
        )
    )
