"""The papers, their statements and settings, and what the claims share: plateaus, drops and alignment in time."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np

from attnlab.analysis.verdicts.budget import Piece
from attnlab.papers.lab.conditions import outside
from attnlab.papers.lab.declare import Paper, Source
from attnlab.simulators.linear_attention.training import Setting
from attnlab.theory.linear_attention import dynamics

paper = Paper(
    key="linear_attention_icl",
    title="Linear attention on in-context linear regression: optimal weights, training dynamics, learning curves",
    sources=[
        Source(
            authors="Ruiqi Zhang, Spencer Frei, Peter L. Bartlett",
            year=2024,
            arxiv="2306.09927",
            title="Trained Transformers Learn Linear Models In-Context",
            venue="Journal of Machine Learning Research",
        ),
        Source(
            authors="Kwangjun Ahn, Xiang Cheng, Hadi Daneshmand, Suvrit Sra",
            year=2023,
            arxiv="2306.00297",
            title="Transformers Learn to Implement Preconditioned Gradient Descent for In-Context Learning",
            venue="Advances in Neural Information Processing Systems",
        ),
        Source(
            authors="Yue M. Lu, Mary I. Letey, Jacob A. Zavatone-Veth, Anindita Maiti, Cengiz Pehlevan",
            year=2025,
            arxiv="2405.11751",
            title="Asymptotic Theory of In-Context Learning by Linear Attention",
            venue="Proceedings of the National Academy of Sciences",
        ),
        Source(
            authors="Yedi Zhang, Aaditya K. Singh, Peter E. Latham, Andrew Saxe",
            year=2025,
            arxiv="2501.16265",
            title="Training Dynamics of In-Context Learning in Linear Attention",
            venue="International Conference on Machine Learning",
        ),
    ],
    statements={
        1: "The best single layer of linear attention is one step of gradient descent, preconditioned by Gamma^{-1}.",
        2: "Gradient flow from a small structured start converges to this optimum, though the loss is not convex.",
        3: "Merged key and query: two manifolds of fixed points, one abrupt drop; for white covariance an exact sigmoid.",
        4: "Separate rank-one key and query: 2^D fixed points in function space, D + 1 of them visited in order of decreasing "
        "eigenvalue; one head aligns at each drop; principal-component regression in between.",
        5: "Heads of rank R: conspicuous plateaus only after every R-th eigenvector.",
        6: "Merged: a two-layer linear network on cubic features; separate rank-one: a sum of three-layer ones.",
        7: "The ridgeless error diverges at n = tau d^2 sequences with tau = 1: double descent.",
        8: "Task diversity: excess ICL error (1 - kappa)_+ with k = kappa d tasks, unlimited sequences and context.",
        9: "The joint limit is context alpha d, tasks kappa d, sequences tau d^2.",
        10: "Softmax attention shows the single drop and the several drops, too.",
        11: "A trained model keeps the covariance of its training: biased at another one, whatever the context length.",
        12: "Several layers: critical points are preconditioned gradient descent, and GD++ at depth.",
        13: "With a share of the sequences on one fixed task, in-context and in-weights learning mix.",
    },
)
paper.not_testable(
    12, "the fact sheet has no formula for several layers: critical points and GD++ are named, not stated"
)
paper.not_testable(13, "the fact sheet gives the published setting of mixed tasks and no prediction for it")

STAIRS = Setting(kind="separate", n_heads=5, init_scale=0.03, learning_rate=0.2, n_steps=50_000, n_records=2_000)
STAIR_SCALES = paper.scales(
    smoke=replace(STAIRS, n_replicas=32),
    desk=replace(STAIRS, n_replicas=64),
    paper=replace(STAIRS, init_scale=0.0314, learning_rate=0.197, n_replicas=64),
)
"""The published run divides nothing by N, starts at 0.01 and takes steps of 0.02: in normalised units a start N^(1/3) and steps
N^(2/3) times as large, 0.0314 and 0.197. It trains on 5 000 sequences and stops after 10 001 steps, in the middle of the
staircase; this one trains on the moments of all sequences and goes on."""


def stair_sizes(setting):
    """``(spectrum, N)``: what the predictions of the dynamics need."""
    return np.array(setting.spectrum), setting.n_context


@functools.cache
def levels(spectrum, n_context):
    """Predicted plateau losses L(M_0), ..., L(M_d)."""
    return dynamics.plateau_losses_exact(spectrum, n_context)


def plateaus(setting, runs):
    """The slowest record of every replica at every plateau, ``(replica, d)`` for m = 0 to d - 1; -1 where there is none.

    A record belongs to plateau m if its loss lies between the middles of the neighbouring drops. A plateau counts where it has
    at least 5 records and the next drop has begun. Which records these are hardly depends on the levels: the middles are far.
    """
    loss, time = runs["population_loss"], runs["time"][0]
    L = levels(setting.spectrum, setting.n_context)
    middles = np.concatenate([[np.inf], (L[1:] + L[:-1]) / 2])
    speed = np.abs(np.gradient(loss, time, axis=1))
    found = np.full((len(loss), len(L) - 1), -1)
    for m in range(len(L) - 1):
        inside = (loss < middles[m]) & (loss > middles[m + 1])
        for r in np.flatnonzero((inside.sum(1) >= 5) & (loss.min(1) < middles[m + 1])):
            at = np.flatnonzero(inside[r])
            found[r, m] = at[np.argmin(speed[r, at])]
    return found


def components(setting, runs):
    """Diagonal of the effective matrix in units of the inverse eigenvalues, ``(replica, record, d)``; 1 / A_d once learnt."""
    return np.diagonal(runs["matrix"], axis1=-2, axis2=-1) * np.array(setting.spectrum)


def learnt(setting, values):
    """Which components ``(..., d)`` are learnt: above nine tenths of the prediction, a condition and no measurement."""
    return values > 0.9 / dynamics.finite_context_factors(*stair_sizes(setting))


def half_times(time, curves):
    """The time at which each curve ``(..., record)`` first exceeds half of its own last value."""
    return crossing_times(time, curves / curves[..., -1:], 0.5)


def crossing_times(time, curves, level=0.5):
    """The first time at which each curve ``(..., record)`` exceeds the level, interpolated; infinite where it does not."""
    above = curves > level
    at = np.argmax(above, axis=-1)
    reached = above.any(-1) & (at > 0)
    at = np.where(reached, at, 1)
    low, high = (np.take_along_axis(curves, i[..., None], -1)[..., 0] for i in (at - 1, at))
    share = np.clip((level - low) / np.where(high > low, high - low, 1.0), 0, 1)
    return np.where(reached, time[at - 1] + share * (time[at] - time[at - 1]), np.inf)


INNER = np.linspace(0.2, 0.8, 25)


def longest_stay(time, loss):
    """Longest time within a twentieth of the whole drop at inner levels (20 to 80 %), of falling losses ``(replica, record)``.

    Read between the interpolated crossings; infinite where a loss falls nowhere. Waits before the drop do not enter.
    """
    with np.errstate(invalid="ignore"):  # a loss that does not fall has no levels
        done = 1 - (loss - loss[:, -1:]) / (loss[:, :1] - loss[:, -1:])
        stays = [crossing_times(time, done, c + 0.025) - crossing_times(time, done, c - 0.025) for c in INNER]
    return np.nan_to_num(np.max(stays, axis=0), nan=np.inf)


def longest_rest(setting, time, loss, best):
    r"""As `longest_stay` for noisy losses, by counting records, in units of ``1 / ||S^2||_F``; ``best``: the loss in the end.

    The unit is the time of the growth that makes a drop. A sigmoid passes every inner level in a fraction of it. A loss that
    never comes below 20 % of its drop has rested all the time.
    """
    rest = (loss - best) / (loss[:, :1] - best)
    longest = np.max([((rest > c - 0.025) & (rest < c + 0.025)).sum(1) for c in INNER], axis=0)
    longest = np.where((rest < INNER[0]).any(1), longest, len(time))
    return longest * (time[1] - time[0]) * float(np.linalg.norm(np.square(setting.spectrum)))


REST = 3.0
"""In the units of `longest_rest`: what grows through a drop would grow twentyfold meanwhile."""


def shifted(time, curves, shifts, grid):
    """Curves ``(replica, record, ...)`` at the times ``grid + shift`` of each replica, linearly interpolated."""
    flat = curves.reshape(*curves.shape[:2], -1)
    moved = np.stack(
        [
            np.stack([np.interp(grid + s, time, column) for column in rows.T], axis=-1)
            for rows, s in zip(flat, shifts, strict=True)
        ]
    )
    return moved.reshape(len(curves), len(grid), *curves.shape[2:])


def between_records(setting, rate):
    """What linear interpolation between records loses on a logistic rise of the given rate: ``dt^2 max |p''| / 8``."""
    interval = 2 * setting.learning_rate * setting.n_steps / setting.n_records
    return Piece("records", interval**2 * rate**2 / (6 * 3**0.5) / 8)


def too_large_steps(setting, rate):
    """The verdict where a step of descent is no small part of the time in which the fastest direction changes."""
    if not 2 * setting.learning_rate * rate < 0.5:
        return outside(
            f"learning_rate={setting.learning_rate:g}: the flow is a limit of small steps, and 2 learning_rate times the "
            f"fastest rate {rate:.3g} is to be below 0.5"
        )
    return None
