"""Claims on the index itself: bounds for all inputs, linear flows, and the random stack (statements 6 and 7)."""

from __future__ import annotations

import numpy as np
import torch

from attnlab.analysis import (
    Matrix,
    Real,
    Twin,
    Vector,
    Verdict,
    agrees,
    all_of,
    budget,
    finite_size,
    follows,
    for_all,
    identical,
    replicas,
)
from attnlab.analysis.theorems.statement.claim import Claim as ForAll
from attnlab.papers.huang2023_stiffness.paper import INPUTS, InputSetting, paper
from attnlab.papers.lab.conditions import at_least
from attnlab.papers.lab.declare import Scales
from attnlab.papers.lab.run.workbench import Lab
from attnlab.simulators.stiffness.depth import StackSetting, random_stack
from attnlab.simulators.stiffness.linear_flows import LinearSetting, linear_index
from attnlab.theory.stiffness import index as theory


def _gated(setting, **statement):
    inputs = for_all(a=Vector("n", 0.05, 0.95), f=Vector("n", -2, 2), x=Vector("n", 0.2, 2))
    return {"searched": inputs.bound(lambda a, f, x: (a * f).norm() / x.norm(), sizes={"n": setting.dim}, **statement)}


@paper.for_all(
    "gated_index_at_most",
    source="elementary",
    statements=[6],
    setting=INPUTS,
    kind="identity",
    formula="|a f| / |x| <= max(a) |f| / |x|",
)
def gated_index_at_most(setting: InputSetting) -> dict[str, ForAll]:
    """The index of a gated block is at most the largest gate times its raw index.

    Twin: the mean gate in place of the largest.
    """
    return _gated(
        setting,
        at_most=lambda a, f, x: a.max() * f.norm() / x.norm(),
        twin=Twin.of("the mean gate", at_most=lambda a, f, x: a.mean() * f.norm() / x.norm()),
    )


@paper.for_all(
    "gated_index_at_least",
    source="elementary",
    statements=[6],
    setting=INPUTS,
    kind="identity",
    formula="|a f| / |x| >= min(a) |f| / |x|",
)
def gated_index_at_least(setting: InputSetting) -> dict[str, ForAll]:
    """The index of a gated block is at least the smallest gate times its raw index.

    Twin: the mean gate in place of the smallest.
    """
    return _gated(
        setting,
        at_least=lambda a, f, x: a.min() * f.norm() / x.norm(),
        twin=Twin.of("the mean gate", at_least=lambda a, f, x: a.mean() * f.norm() / x.norm()),
    )


def _linear(setting, **statement):
    inputs = for_all(A=Matrix("n", "n", -1, 1), u=Vector("n", -1, 1))
    return {"searched": inputs.bound(lambda A, u: (A @ u).norm(), sizes={"n": setting.dim}, **statement)}


@paper.for_all(
    "linear_index_at_most",
    source="elementary",
    statements=[6],
    kind="identity",
    setting=INPUTS,
    formula="|A u| <= sigma_max(A) |u|",
)
def linear_index_at_most(setting: InputSetting) -> dict[str, ForAll]:
    """The index of a linear flow is at most the largest singular value of its matrix.

    Twin: the root mean square over directions, |A|_F / sqrt(n).
    """
    return _linear(
        setting,
        at_most=lambda A, u: torch.linalg.svdvals(A)[0] * u.norm(),
        twin=Twin.of("the mean over directions", at_most=lambda A, u: A.norm() / len(u) ** 0.5 * u.norm()),
    )


@paper.for_all(
    "linear_index_at_least",
    source="elementary",
    statements=[6],
    kind="identity",
    setting=INPUTS,
    formula="|A u| >= sigma_min(A) |u|",
)
def linear_index_at_least(setting: InputSetting) -> dict[str, ForAll]:
    """The index of a linear flow is at least the smallest singular value of its matrix.

    Twin: the root mean square over directions, |A|_F / sqrt(n).
    """
    return _linear(
        setting,
        at_least=lambda A, u: torch.linalg.svdvals(A)[-1] * u.norm(),
        twin=Twin.of("the mean over directions", at_least=lambda A, u: A.norm() / len(u) ** 0.5 * u.norm()),
    )


def _index(x, V, W, normalised=False):
    """Index of x -> x + W relu(V x), or of the same with x / |x| inside."""
    inner = x / x.norm() if normalised else x
    return (W @ (V @ inner).relu()).norm() / x.norm()


def _scaled(setting, left, **statement):
    inputs = for_all(x=Vector("n", 0.2, 2), V=Matrix("n", "n", -1, 1), W=Matrix("n", "n", -1, 1), c=Real(0.1, 10))
    return {"searched": inputs.identity(left, within=1e-10, sizes={"n": setting.dim}, **statement)}


@paper.for_all(
    "scale_invariance",
    source="elementary",
    statements=[6],
    kind="identity",
    setting=INPUTS,
    formula="S(c x) = S(x), f homogeneous",
)
def scale_invariance(setting: InputSetting) -> dict[str, ForAll]:
    """The index of a block without biases and normalisation does not change when its input is scaled.

    Twin: the same for a block that normalises its input.
    """
    return _scaled(
        setting,
        lambda x, V, W, c: _index(c * x, V, W),
        equals=lambda x, V, W: _index(x, V, W),
        twin=Twin.of(
            "normalised input",
            left=lambda x, V, W, c: _index(c * x, V, W, True),
            equals=lambda x, V, W: _index(x, V, W, True),
        ),
    )


@paper.for_all(
    "normalised_scaling",
    source="elementary",
    statements=[6],
    kind="identity",
    setting=INPUTS,
    formula="S(c x) = S(x) / c, f(x / |x|)",
)
def normalised_scaling(setting: InputSetting) -> dict[str, ForAll]:
    """The index of a block that normalises its input falls like 1 / |x|.

    Twin: the same for a block without normalisation.
    """
    return _scaled(
        setting,
        lambda x, V, W, c: _index(c * x, V, W, True),
        equals=lambda x, V, W, c: _index(x, V, W, True) / c,
        twin=Twin.of(
            "no normalisation",
            left=lambda x, V, W, c: _index(c * x, V, W),
            equals=lambda x, V, W, c: _index(x, V, W) / c,
        ),
    )


LINEAR = Scales(
    smoke=LinearSetting(), desk=LinearSetting(), paper=LinearSetting(dim=32, n_directions=200_000, n_replicas=32)
)


@paper.claim(
    "linear_index",
    source="elementary",
    statements=[6],
    kind="extrapolation",
    parts=2,
    reads=("steps", "n_directions"),
    setting=LINEAR,
    formula="rms over directions |A|_F / sqrt d; on an eigenvector pair |exp(lambda h) - 1| / h",
    assumptions=["directions uniform on the sphere", "normal block for the eigenvector pair"],
    judged="root mean squares within what so many directions and replicas leave open, the spread from the matrix; finite "
    "steps to 200 roundings, those of the matrix exponential over the smallest step",
)
def linear_index_on_average(setting: LinearSetting, lab: Lab) -> Verdict:
    """The mean square of a linear flow's index over directions is |A|_F^2 / d, and on finite steps it is |exp(lambda h)
    - 1| / h.

    Twins: the arithmetic mean of the singular values; the limit |lambda| of small steps.
    """
    runs = lab.simulate(linear_index, setting)
    predicted = np.array([theory.linear_index_rms(A) for A in runs["matrix"]])
    mean = np.linalg.svd(runs["matrix"], compute_uv=False).mean(-1)
    spreads = predicted * [theory.linear_index_spread(A) for A in runs["matrix"]] / setting.n_directions**0.5
    of = f"mean over replicas of {setting.n_directions} draws"
    rms = agrees(
        runs["rms"],
        predicted,
        within=budget(replicas(float(np.sqrt((spreads**2).mean())), runs.n, of=of)),
        of=of,
        twin=Twin.of("mean singular value", predicted=mean),
    )
    pairs = [complex(*pair) for pair in runs["eigenvalue"]]
    finite = np.array([[theory.eigenvector_index(pair, h) for h in setting.steps] for pair in pairs])
    small = np.repeat(np.abs(pairs)[:, None], len(setting.steps), axis=1)
    exact = identical(
        runs["finite"],
        finite,
        rounding=200,
        scale=np.abs(finite) + 1 / np.array(setting.steps),
        twin=Twin.of("small steps", b=small),
    )
    return all_of(rms.named("directions"), exact.named("finite steps"))


DEPTH_STD, SLOPE_STD = 0.09, 0.01
"""Spreads over the first eight stacks of width 256 at seed 1: of the index over its prediction, and of its log-log slope."""
WIDE = StackSetting(n_replicas=256)
STACK = Scales(smoke=StackSetting(), desk=WIDE, paper=StackSetting(dim=1024, n_tokens=64))


@paper.claim(
    "random_depth",
    source="derived: orthogonal increments",
    statements=[7],
    kind="extrapolation",
    parts=2,
    setting=STACK,
    reads=("n_blocks",),
    covers={"n_blocks": at_least(8, "four points of the profile, t = 0, 1, 3, 7")},
    formula="|x_t|^2 = (1 + t) n d, so S_t = 1 / sqrt(1 + t)",
    assumptions=["independent random blocks on normalised inputs, output variance 1", "t < 64", "n = 32, d = 256"],
    judged="mean over replicas of S_t sqrt(1 + t) at t = 0, 1, 3, ..., 63, and its log-log slope against 1 + t: 1 and "
    "0 within what the "
    "replicas leave open, and 1/d",
)
def random_depth(setting: StackSetting, lab: Lab) -> Verdict:
    """Along a stack of random blocks with normalised inputs the index falls like 1 / sqrt(1 + t), with nothing learnt.

    Twins: increments that all point along the feature, whose index falls like 1 / (1 + t); a first feature that is left
    out, so that it falls like 1 / sqrt(t).
    """
    runs = lab.simulate(random_stack, setting)
    t = np.array([2**k - 1 for k in range(20) if 2**k <= setting.n_blocks])
    null, rival = (
        f(setting.n_blocks)[t] for f in (theory.orthogonal_increments_index, theory.aligned_increments_index)
    )
    root = np.sqrt(1.0 + t)
    narrow = (256 / setting.dim) ** 0.5
    level = follows(
        runs["index"][:, t] * root,
        null * root,
        within=budget(
            finite_size(setting.dim, of="d"), replicas(DEPTH_STD * narrow, runs.n, of="mean trajectory", points=t.size)
        ),
        of="mean trajectory",
        times=t.astype(float),
        twin=Twin.of("aligned increments", predicted=rival * root),
    )
    u = np.log(1 + t[1:]) - np.log(1 + t[1:]).mean()
    slopes = np.log(runs["index"][:, t[1:]]) @ u / (u @ u)
    late = agrees(
        slopes,
        float(np.log(null[1:]) @ u / (u @ u)),
        within=budget(finite_size(setting.dim, of="d"), replicas(SLOPE_STD * narrow, runs.n)),
        twin=Twin.of("first feature left out", predicted=float(-0.5 * np.log(t[1:]) @ u / (u @ u))),
    )
    return all_of(level.named("level"), late.named("slope"))
