"""The papers, their settings, and the certified solutions that trained weights are compared with."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import numpy as np

from attnlab.analysis import Outcome, Verdict
from attnlab.analysis.judges.training import PATIENCE
from attnlab.analysis.verdicts.budget import Piece
from attnlab.papers.lab.conditions import not_yet
from attnlab.papers.lab.declare import Paper, Source
from attnlab.simulators.max_margin_attention.training import Setting
from attnlab.theory.max_margin_attention import frobenius as svm
from attnlab.theory.max_margin_attention import nuclear

paper = Paper(
    key="tarzanagh2023_att_svm",
    title="Transformers as Support Vector Machines",
    sources=[
        Source(
            authors="Davoud Ataee Tarzanagh, Yingcong Li, Christos Thrampoulidis, Samet Oymak",
            year=2023,
            arxiv="2308.16898",
            title="Transformers as Support Vector Machines",
        ),
        Source(
            authors="Davoud Ataee Tarzanagh, Yingcong Li, Xuechen Zhang, Samet Oymak",
            year=2023,
            arxiv="2306.13596",
            title="Max-Margin Token Selection in Attention Mechanism",
            venue="Advances in Neural Information Processing Systems",
        ),
    ],
    statements={
        1: "Trained attention weights W diverge in the direction of the Frobenius-norm support vector machine (SVM) of the "
        "selected tokens, in cross-attention and in self-attention.",
        2: "Trained key and query matrices diverge in the direction of the nuclear-norm SVM, whose rank is lower.",
        3: "The regularisation path tends to the same two directions, built on the globally optimal tokens.",
        4: "Gradient descent can end at locally optimal tokens that do not score best; what it selects is locally optimal.",
        5: "If d >= max(T - 1, n), every selection of tokens is feasible for almost all data.",
        6: "Over-parametrisation helps: the probability of the globally optimal tokens grows with d.",
        7: "The row space of the Frobenius solution is spanned by the queries, so its rank is at most min(n, d); the nuclear "
        "solution obeys the same bound, and its rank is much smaller in practice.",
        8: "With a non-linear head several tokens may be kept; W is a finite part plus a multiple of a generalised SVM.",
        9: "A trained prompt vector obeys the same laws; trained with the head, it is relaxed where an input does not support "
        "it.",
        10: "Laws behind these limits: exponential loss gap, angle like one over the norm, and the exact finite part.",
        11: "Key and query matrices of a width m < d: the same limit, with the constraint rank W <= m.",
        12: "Started in a cone of large norm around the SVM direction of locally optimal tokens, W converges to it.",
        13: "The same with a loss on every output token.",
    },
)
paper.not_testable(
    11,
    "the program with rank W <= m is not convex, so no solution comes with a certificate that a direction could be "
    "judged by",
)
paper.not_testable(
    12,
    "the norm and the opening of the cone for W are constants of the theorem that the material here does not give; "
    "for a "
    "prompt vector the cone is derived and judged (statement 9), and limits at locally optimal tokens are (statement "
    "4)",
)
paper.not_testable(
    13, "the extension to sequences is not stated with the constants and conditions that a check would need"
)
DESK = Setting(n_steps=10_000, n_records=60, n_replicas=128)
paper.scales(
    smoke=replace(DESK, n_steps=2_000, n_records=40, n_replicas=32),
    desk=DESK,
    paper=replace(DESK, n_steps=50_000, n_records=100, n_replicas=100),
)
SHORT = "after 2 000 steps the slowest replicas are on their way; 10 000 steps (desk) decide"
RESIDUAL = 1e-7  # largest certified violation of optimality that a reference solution may have


def factored(setting: Setting) -> Setting:
    """The same problem with trained key and query matrices of full width."""
    return replace(setting, inner_dim=setting.dim)


@dataclass(frozen=True)
class Selection:
    """What trained attention selected, replica by replica, and the SVM solutions built on it.

    ``selected (replica, input)``; ``frobenius``, ``nuclear (replica, dim, query_dim)``; ``solutions`` of the Frobenius
    norm with their multipliers; ``locally``, ``globally`` optimal ``(replica,)``.
    """

    selected: np.ndarray
    frobenius: np.ndarray
    nuclear: np.ndarray | None
    solutions: list[svm.MaxMargin]
    locally: np.ndarray
    globally: np.ndarray


def selection(runs, with_nuclear: bool = False) -> Selection:
    """The tokens with the largest final weights, and the certified solutions on them."""
    selected = runs["log_attention"].argmax(-1)
    cases = list(zip(runs["keys"], runs["queries"], runs["scores"], selected, strict=True))
    found = [solved("frobenius", keys, queries, chosen) for keys, queries, _, chosen in cases]
    local = [svm.locally_optimal(*case, solution) for case, solution in zip(cases, found, strict=True)]
    best = runs["scores"].argmax(-1)
    nuclear_found = (
        [solved("nuclear", keys, queries, chosen) for keys, queries, _, chosen in cases] if with_nuclear else None
    )
    return Selection(
        selected,
        np.array([each.weights for each in found]),
        None if nuclear_found is None else np.array([each.weights for each in nuclear_found]),
        found,
        np.array(local),
        (selected == best).all(-1),
    )


def solved(norm: str, keys: np.ndarray, queries: np.ndarray, selected: np.ndarray) -> svm.MaxMargin:
    """The solution of one program, solved once and refused if its certificate is worse than 1e-7."""
    found = attempted(norm, keys, queries, selected)
    if found.residual > RESIDUAL:
        raise RuntimeError(
            f"the {norm}-norm program is solved to {found.residual:.2g} only, above {RESIDUAL:g}; scale the tokens to "
            f"length one"
        )
    return found


def attempted(norm: str, keys: np.ndarray, queries: np.ndarray, selected: np.ndarray) -> svm.MaxMargin:
    """The solution of one program, whatever its certificate says."""
    arrays = [np.ascontiguousarray(array) for array in (keys, queries, selected)]
    return _solved(norm, *(part for array in arrays for part in (array.tobytes(), array.shape)), str(arrays[2].dtype))


@functools.lru_cache(maxsize=4096)
def _solved(norm, keys, keys_shape, queries, queries_shape, selected, selected_shape, kind) -> svm.MaxMargin:
    arrays = (
        np.frombuffer(keys).reshape(keys_shape),
        np.frombuffer(queries).reshape(queries_shape),
        np.frombuffer(selected, dtype=kind).reshape(selected_shape),
    )
    return (svm.frobenius_svm if norm == "frobenius" else nuclear.nuclear_svm)(*arrays)


def last_half(runs) -> np.ndarray:
    """What the last half of the steps adds to the trained weights, ``(replica, dim, query_dim)``: the finite part drops
    out."""
    steps = runs["steps"][0]
    half = int(np.searchsorted(steps, steps[-1] / 2, side="right")) - 1
    return runs["W"][:, -1] - runs["W"][:, half]


def started(runs) -> np.ndarray:
    """Weights at their start, or after the first step where they start at zero: the null control of directions."""
    W = runs["W"]
    return np.where(W[:, :1].any((-2, -1), keepdims=True), W[:, :1], W[:, 1:2])[:, 0]


def still_moving(setting: Setting, length: float) -> Piece:
    """How far constraints that are nearly active turn what is added over a path from ``length`` / 2 to ``length``, in
    radians.

    At W = R W_alpha / |W_alpha| + O(1) a constraint of excess e weighs exp(-x) against the support, x = e R /
    |W_alpha|, and shifts its logit by log(1 + exp(-x)) at most. Between R / 2 and R that changes by 0.19 or less, so W
    by 0.19 / sqrt 2 across for unit tokens; all n (T - 1) constraints together, over R / 2.
    """
    x = np.linspace(0, 20, 2_001)
    shift = float(np.max(np.log1p(np.exp(-x / 2)) - np.log1p(np.exp(-x))))
    number = setting.n_inputs * (setting.n_tokens - 1)
    return Piece("nearly active constraints", number * shift / 2**0.5 / (length / 2))


def angles(runs, direction: np.ndarray) -> np.ndarray:
    """Angle of the trained weights to one direction a replica along training, ``(replica, record)``, in radians."""
    return svm.angle(runs["W"], direction[:, None])


def slopes_of_decades(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least-squares slope of y ``(replica, point)`` against ln x over the decade that ends at each point, from the
    third on.

    Returns the x at which decades end and the slopes ``(replica, end)``; decades with fewer than three points are left
    out.
    """
    ends, slopes = [], []
    for last in x[x >= 10 * x[x > 0][0]]:
        inside = (x >= last / 10) & (x <= last)
        if inside.sum() >= 3:
            u = np.log(x[inside]) - np.log(x[inside]).mean()
            ends.append(last)
            slopes.append(y[:, inside] @ u / (u @ u))
    return np.array(ends), np.array(slopes).T


def unless_moving(verdict: Verdict, steps: np.ndarray, distances: np.ndarray, within: float) -> Verdict:
    """A refutation turned into UNDECIDED where the largest distance ``(case, record)`` still falls, by the rule of
    ``settles``.

    Ten more doublings of the training time at the pace of the last one would bring it to the margin.
    """
    half = int(np.searchsorted(steps, steps[-1] / 2, side="right")) - 1
    last, before = float(distances[:, -1].max()), float(distances[:, half].max())
    if verdict.outcome is not Outcome.REFUTED or PATIENCE * (before - last) < last - within:
        return verdict
    return replace(
        verdict,
        outcome=Outcome.UNDECIDED,
        witness=None,
        reason=f"the largest distance fell from {before:.3g} to {last:.3g} in the last doubling",
        wants="training",
    )


def too_short(length: float, needed: float) -> Verdict | None:
    """UNDECIDED for a path of normalised descent (steps times rate) that is too short for its limit to be read off."""
    if length >= needed:
        return None
    return not_yet(f"n_steps x learning rate = {length:g} is below {needed:g}")
