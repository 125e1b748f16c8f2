"""Figures: trained transformers by rank (1 to 4), random heads (5, 6), heads needed (7), error over bound (8), vote (9)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import figures
from attnlab.papers.amsel2024_rank_heads.constructions import DEEPS
from attnlab.papers.amsel2024_rank_heads.paper import (
    BOUND,
    CELLS,
    CONTEXTS,
    PAIRS,
    SWEEPS,
    bound_of,
    copies_of,
    deep,
    pair_cells,
    paper,
    ranks_of,
)
from attnlab.papers.lab.declare import Scales
from attnlab.papers.lab.run.workbench import Lab
from attnlab.simulators.head_rank.farthest import FarthestSetting, train_farthest
from attnlab.simulators.head_rank.pairs import PairSetting, train_on_pairs
from attnlab.simulators.head_rank.random_heads import HeadsSetting, VoteSetting, majority_vote, random_heads
from attnlab.theory.head_rank import full_rank_head as target
from attnlab.theory.head_rank import lower_bounds as theory
from attnlab.theory.head_rank import majority_vote as vote
from attnlab.theory.head_rank import random_heads as kernels

RANK, ERROR = "rank r of a head", "error (squared distance)"


def errors(runs):
    """Errors ``(replica, cell)`` of runs at several settings."""
    n = min(each.n for each in runs)
    return np.stack([each["error"][:n] for each in runs], axis=1)


@paper.figure(
    "fig1",
    caption="Error of transformers trained on the farthest point against the rank of their heads, for one and four "
    "copies of the attention (d H = d^2 and 4 d^2 a layer), one and two layers; the line is the best linear predictor. "
    "Two layers of full rank are not trained to the end. The paper has d = 64 and the best of 5 seeds",
    source="error against rank",
    setting=SWEEPS,
)
def error_by_rank(setting: FarthestSetting, lab: Lab) -> figures.Plate:
    ranks, plate = ranks_of(setting), figures.Plate(columns=2, width="double", share_y=True)
    shallow = [replace(setting, rank=rank, copies=c) for c in copies_of(setting) for rank in ranks]
    two = [deep(replace(setting, rank=rank)) for rank in (ranks[0], ranks[-1])]
    runs = lab.simulate(train_farthest, *shallow, *two)
    n, names = len(ranks), [f"{c} {'copy' if c == 1 else 'copies'}" for c in copies_of(setting)]
    for number, name in enumerate(names):
        figures.measurement(plate[0], ranks, errors(runs[n * number : n * (number + 1)]), name, dodge=3 * number)
    figures.measurement(plate[1], [ranks[0], ranks[-1]], errors(runs[len(shallow) :]), names[0])
    for panel, heading in zip(plate, ("one layer", "two layers"), strict=True):
        baseline = np.full(n, target.linear_predictor_error(setting.dim, setting.n_points))
        figures.prediction(panel, ranks, baseline, "linear predictor")
        panel.heading(heading)
        panel.scale(x="log", y="log")
        panel.ticks(x=ranks, y=[0.1, 0.2, 0.3, 0.5, 0.7, 1])
    plate.labels(x=RANK, y=ERROR)
    plate.legend("below")
    return plate


@paper.figure(
    "fig2",
    caption="Error against the number N of points, for heads of rank one and of full rank, one layer, one "
    "copy; the line is the best linear predictor. The paper has 4 to 256 points and two layers",
    source="error against context length",
    setting=SWEEPS,
)
def error_by_context(setting: FarthestSetting, lab: Lab) -> figures.Plate:
    plate, fine = figures.Plate(), np.arange(CONTEXTS[0], CONTEXTS[-1] + 1)
    for rank in (1, setting.dim):
        runs = lab.simulate(train_farthest, *(replace(setting, n_points=n, rank=rank) for n in CONTEXTS))
        figures.measurement(plate[0], CONTEXTS, errors(runs), f"rank {rank}")
    linear = [target.linear_predictor_error(setting.dim, int(n)) for n in fine]
    figures.prediction(plate[0], fine, linear, "linear predictor")
    plate[0].scale(x="log", y="log")
    plate[0].ticks(x=CONTEXTS, y=[0.1, 0.2, 0.3, 0.5, 0.7])
    plate[0].labels(x="number of points N", y=ERROR)
    plate.legend("below")
    return plate


@paper.figure(
    "fig3",
    caption="Error against rank without positions, with a learnt table added to the points, and with learnt "
    "coordinates appended to them (then the width, and the full rank, is 2 d), one layer, one copy",
    source="positional encodings",
    setting=SWEEPS,
)
def error_by_positions(setting: FarthestSetting, lab: Lab) -> figures.Plate:
    plate, ranks = figures.Plate(), [1, setting.dim]
    for number, (positions, own) in enumerate((("none", ranks), ("added", ranks), ("appended", [1, 2 * setting.dim]))):
        runs = lab.simulate(train_farthest, *(replace(setting, positions=positions, rank=rank) for rank in own))
        figures.measurement(plate[0], own, errors(runs), positions, dodge=3 * (number - 1))
    figures.prediction(
        plate[0],
        [1, 2 * setting.dim],
        np.full(2, target.linear_predictor_error(setting.dim, setting.n_points)),
        "linear predictor",
    )
    plate[0].scale(x="log", y="log")
    plate[0].ticks(x=2.0 ** np.arange(own[-1].bit_length()), y=[0.1, 0.2, 0.3, 0.5, 0.7, 1])
    plate[0].labels(x=RANK, y=ERROR)
    plate.legend("below", columns=2)
    return plate


@paper.figure(
    "fig4",
    caption="Trained heads of one layer: (a) angle between Q K^T and I, mean over the heads of"
    " a replica; the line is the largest that rank r allows, reached by multiples of projections only."
    " (b) Error against the inverse temperature read off full-rank heads, with the near-tie law",
    source="alignment of trained heads",
    setting=SWEEPS,
)
def alignment(setting: FarthestSetting, lab: Lab) -> figures.Plate:
    ranks, plate = ranks_of(setting), figures.Plate(columns=2, width="double")
    fine = np.linspace(1, setting.dim, 500)
    figures.prediction(plate[0], fine, np.degrees(np.arccos(-np.sqrt(fine / setting.dim))), "−β times a projection")
    for number, copies in enumerate(reversed(copies_of(setting))):
        runs = lab.simulate(train_farthest, *(replace(setting, rank=rank, copies=copies) for rank in ranks))
        angles = np.stack([each["angle"].mean(-1) for each in runs], axis=1)
        figures.measurement(
            plate[0], ranks, angles, f"{copies} {'copy' if copies == 1 else 'copies'}", dodge=3 * (1 - number)
        )
    plate[0].scale(x="log")
    plate[0].ticks(x=ranks)
    plate[0].labels(x=RANK, y="angle between $QK^T$ and $I$ (degrees)")
    beta, error = runs[-1]["size"].mean(-1), runs[-1]["error"]
    order = np.argsort(beta)
    span = np.linspace(0.8 * beta.min(), 1.2 * beta.max(), 50)
    constant = target.near_tie_constant(setting.dim, setting.n_points - 1)
    figures.prediction(plate[1], span, constant / span, "C / β", series="full rank")
    figures.estimate(
        plate[1],
        beta[order],
        error[order],
        (error - 2 * runs[-1]["error_se"])[order],
        (error + 2 * runs[-1]["error_se"])[order],
        "trained, full rank",
        series="full rank",
        interval="two standard errors of one replica's test",
    )
    plate[1].labels(x=r"inverse temperature $\beta = \|QK^T\|_F / \sqrt{d r}$", y=ERROR)
    plate.legend("below", columns=3)
    return plate


DRAWN = HeadsSetting(n_samples=1, n_heads=2_048, n_replicas=5)
DRAWS = Scales(smoke=replace(DRAWN, n_heads=256), desk=DRAWN, paper=replace(DRAWN, n_heads=16_384))


@paper.figure(
    "fig5",
    caption="Random rank-one hard-max heads with the best scalar values on two orthonormal points: exact error"
    " of the first H heads of a draw. Lines: the lower bound for scalar values; grey: the plateau of "
    "degree one at the largest d",
    source="random construction",
    setting=DRAWS,
)
def random_construction(setting: HeadsSetting, lab: Lab) -> figures.Plate:
    plate, dims = figures.Plate(), (8, 16, 32)
    heads = 2 ** np.arange(setting.n_heads.bit_length())
    for dim, runs in zip(dims, lab.simulate(random_heads, *(replace(setting, dim=dim) for dim in dims)), strict=True):
        found = np.stack([kernels.best_errors(Q, K)[heads - 1] for Q, K in zip(runs["Q"], runs["K"], strict=True)])
        label = f"d = {dim}"
        fine = np.geomspace(1, setting.n_heads, 200)
        figures.prediction(
            plate[0],
            fine,
            [theory.error_lower_bound(dim, 1, H, "scalar") for H in fine],
            f"bound, {label}",
            series=label,
        )
        figures.measurement(plate[0], heads, found, label)
    figures.reference(plate[0], "plateau", y=theory.linear_plateau(dims[-1]))
    plate[0].scale(x="log", y="log")
    plate[0].ticks(y=[0.1, 0.2, 0.3, 0.5, 0.8])
    plate[0].labels(x="number of heads H", y=ERROR)
    plate.legend("below", columns=2)
    return plate


@paper.figure(
    "fig6",
    caption="Size of the density of values over heads at angle θ between query and key that gives the target up to "
    "degree 49, over its value at 0. It is peaked at 0 and 180 degrees; heights depend on the truncation",
    source="ideal continuous construction",
    setting=DRAWS,
)
def ideal_density(setting: HeadsSetting, lab: Lab) -> figures.Plate:
    plate, angles = figures.Plate(columns=3, width="double", share_y=True), np.linspace(0, np.pi, 721)
    for panel, dim in zip(plate, (4, 6, 8), strict=True):
        size = np.abs(kernels.ideal_weight(angles, dim, 49))
        figures.prediction(panel, np.degrees(angles), np.maximum(size / size.max(), 1e-6), "up to degree 49")
        panel.heading(f"d = {dim}")
        panel.scale(y="log")
        panel.limits(y=(1e-5, 2))
        panel.ticks(x=[0, 45, 90, 135, 180])
    plate.labels(x="angle θ between q and k (degrees)", y="|u(θ)| / |u(0)|")
    plate.legend("below")
    return plate


@paper.figure(
    "fig7",
    caption="Fewest heads that the lower bound for scalar values allows. (a) Against d/r at d = 4096, for "
    "several errors, whose powers tend to L. (b) Against d at rank one and error 0.1, for one layer, "
    "and heads of a two-layer vote of the same error",
    source="Theorem 2 with constants; not in the paper",
    setting=DRAWS,
)
def heads_by_ratio(setting: HeadsSetting, lab: Lab) -> figures.Plate:
    plate, dim = figures.Plate(columns=2, width="double"), 4_096
    ranks = 2 ** np.arange(12)
    for error in (0.15, 0.12, 0.1):
        needed = [theory.heads_needed(dim, int(rank), error, "scalar") for rank in ranks]
        figures.prediction(
            plate[0], dim / ranks, needed, f"error {error:g} (L = {theory.highest_degree_needed(error)})"
        )
    plate[0].scale(x="log", y="log")
    plate[0].labels(x="d / r", y="heads needed H")
    dims = 2 ** np.arange(3, 11)
    figures.prediction(
        plate[1], dims, [theory.heads_needed(int(d), 1, 0.1, "scalar") for d in dims], "one layer, scalar values"
    )
    figures.prediction(
        plate[1], dims, [theory.heads_needed(int(d), 1, 0.1, "matrix") for d in dims], "one layer, matrix values"
    )
    figures.prediction(plate[1], dims, dims * (np.pi / 2 / np.tan(np.pi / 2 * 0.1)) ** 2, "two layers, vote")
    plate[1].scale(x="log", y="log")
    plate[1].labels(x="dimension d", y="heads needed H at error 0.1")
    plate.legend("below", columns=3)
    return plate


NAMES = {"scalar": "scalar values", "matrix": "matrix values", "gated": "gated weights"}


@paper.figure(
    "fig8",
    caption="Trained sums of heads on two orthonormal points, d = 8: (a) error against the number of heads, lines: "
    "lower bounds at rank one; (b) error of every trained model over its own lower bound, which is never below 1",
    source="not in the paper",
    setting=PAIRS,
)
def error_over_bound(setting: PairSetting, lab: Lab) -> figures.Plate:
    plate = figures.Plate(columns=2, width="double")
    fine = np.geomspace(1, 16, 60)
    for number, (kind, label) in enumerate(NAMES.items()):
        cells = pair_cells(setting, kind)
        runs = lab.simulate(train_on_pairs, *cells)
        at = [index for index, (rank, _) in enumerate(CELLS[kind]) if rank == 1]
        heads = [cells[index].n_heads for index in at]
        bounds = [theory.error_lower_bound(setting.dim, 1, H, BOUND[kind]) for H in fine]
        figures.prediction(plate[0], fine, bounds, f"bound, {label}", series=label)
        figures.measurement(plate[0], heads, errors([runs[index] for index in at]), label, dodge=3 * (number - 1))
        ratio = np.concatenate([each["error"] / bound_of(cell) for each, cell in zip(runs, cells, strict=True)])
        size = np.concatenate(
            [np.full(each.n, cell.rank * cell.n_heads) for each, cell in zip(runs, cells, strict=True)]
        )
        low = ratio - 2 * np.concatenate(
            [each["error_se"] / bound_of(cell) for each, cell in zip(runs, cells, strict=True)]
        )
        shift = 1.06 ** (number - 1)
        figures.estimate(
            plate[1],
            size * shift,
            ratio,
            low,
            2 * ratio - low,
            label,
            series=label,
            interval="two standard errors of one replica's test",
        )
    figures.reference(plate[1], "bound", y=1.0)
    for panel in plate:
        panel.scale(x="log", y="log")
    plate[0].ticks(x=[1, 2, 4, 8, 16], y=[0.1, 0.15, 0.2, 0.3, 0.5])
    plate[1].ticks(x=[2, 4, 8, 16, 32], y=[1, 2, 3, 4])
    plate[0].labels(x="number of rank-one heads H", y=ERROR)
    plate[1].labels(x="total rank r H", y="error / lower bound")
    plate.legend("below", columns=3)
    return plate


@paper.figure(
    "fig9",
    caption="Two layers: error of the majority vote of rank-one heads, with the binomial mixture (line); the "
    "same heads in one layer, votes averaged; and the lower bound for any single layer of rank-one "
    "heads; d = 32 orthonormal pairs",
    source="Theorem 5; not drawn in the paper",
    setting=DEEPS,
)
def vote_error(setting: VoteSetting, lab: Lab) -> figures.Plate:
    counts = (1, 9, 65, 513, 4_097)
    runs = lab.simulate(majority_vote, replace(setting, n_heads=counts))
    plate = figures.Plate()
    mixture = [vote.vote_error_exact(setting.dim, H) for H in counts]
    figures.prediction(plate[0], counts, mixture, "binomial mixture", series="two layers")
    figures.measurement(plate[0], counts, runs["error"], "two layers, counted", series="two layers")
    figures.measurement(plate[0], counts, runs["averaged_error"], "one layer, averaged")
    fine = np.geomspace(1, counts[-1], 200)
    bound = [theory.error_lower_bound(setting.dim, 1, H + 1, "matrix") for H in fine]
    figures.prediction(plate[0], fine, bound, "bound for one layer")
    plate[0].scale(x="log", y="log")
    plate[0].ticks(y=[0.1, 0.2, 0.3, 0.5, 0.8])
    plate[0].labels(x="number of heads H", y=ERROR)
    plate.legend("below", columns=2)
    return plate
