"""The papers, their settings, and the certified solutions that trained weights are compared with."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import numpy as np

from attnlab.analysis import Outcome, Verdict
from attnlab.analysis.judges.training import PATIENCE
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
        1: "Trained attention weights W diverge in the direction of the Frobenius-norm machine of the selected tokens.",
        2: "Trained key and query matrices diverge in the direction of the nuclear-norm machine, whose rank is lower.",
        3: "The regularisation path tends to the same two directions, built on the globally optimal tokens.",
        4: "Gradient descent can end at locally optimal tokens that do not score best; what it selects is locally optimal.",
        5: "If d >= max(T - 1, n), every selection of tokens is feasible for almost all data.",
        6: "Over-parametrisation helps: the probability of the globally optimal tokens grows with d.",
        7: "Both solutions have a rank of at most min(n, d); that of the nuclear norm is much smaller in practice.",
        8: "With a non-linear head several tokens may be kept; W is a finite part plus a multiple of a generalised machine.",
        9: "A trained prompt vector obeys the same laws; trained with the head, it is relaxed where an input does not support "
        "it.",
        10: "Laws behind these limits: exponential loss gap, angle like one over the norm, and the exact finite part.",
    },
)
DESK = Setting(n_steps=10_000, n_records=60, n_replicas=64)
paper.scales(
    smoke=replace(DESK, n_steps=2_000, n_records=40, n_replicas=16),
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
    """What trained attention selected, replica by replica, and the machines built on it.

    ``selected (replica, input)``; ``frobenius``, ``nuclear (replica, dim, query_dim)``; ``locally``, ``globally`` optimal
    ``(replica,)``; ``residual`` of the Frobenius and ``gap`` of the nuclear solutions, ``(replica,)``.
    """

    selected: np.ndarray
    frobenius: np.ndarray
    nuclear: np.ndarray | None
    locally: np.ndarray
    globally: np.ndarray
    residual: np.ndarray
    gap: np.ndarray | None


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
        np.array(local),
        (selected == best).all(-1),
        np.array([each.residual for each in found]),
        None if nuclear_found is None else np.array([each.residual for each in nuclear_found]),
    )


def solved(norm: str, keys: np.ndarray, queries: np.ndarray, selected: np.ndarray) -> svm.MaxMargin:
    """The solution of one program, solved once and refused if its certificate is worse than 1e-7."""
    arrays = [np.ascontiguousarray(array) for array in (keys, queries, selected)]
    return _solved(norm, *(part for array in arrays for part in (array.tobytes(), array.shape)), str(arrays[2].dtype))


@functools.lru_cache(maxsize=4096)
def _solved(norm, keys, keys_shape, queries, queries_shape, selected, selected_shape, kind) -> svm.MaxMargin:
    arrays = (
        np.frombuffer(keys).reshape(keys_shape),
        np.frombuffer(queries).reshape(queries_shape),
        np.frombuffer(selected, dtype=kind).reshape(selected_shape),
    )
    found = (svm.frobenius_svm if norm == "frobenius" else nuclear.nuclear_svm)(*arrays)
    if found.residual > RESIDUAL:
        raise RuntimeError(
            f"the {norm}-norm program is solved to {found.residual:.2g} only, above {RESIDUAL:g}; scale the "
            "tokens "
            "to length one"
        )
    return found


def third_of_angle(right: np.ndarray, rival: np.ndarray) -> float:
    """The margin of directions, fixed by theory: a third of the mean angle between the right direction and its rival."""
    return float(np.mean(svm.angle(right, rival))) / 3


def angles(runs, direction: np.ndarray) -> np.ndarray:
    """Angle of the trained weights to one direction a replica along training, ``(replica, record)``, in radians."""
    return svm.angle(runs["W"], direction[:, None])


def slopes_of_decades(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least-squares slope of y ``(replica, point)`` against ln x over the decade that ends at each point, from the third on.

    Returns the x at which decades end and the slopes ``(replica, end)``; decades with fewer than three points are left out.
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
    """A refutation turned into UNDECIDED where the largest distance ``(case, record)`` still falls, by the rule of ``settles``.

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
