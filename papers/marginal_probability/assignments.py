"""Claims: exact one-to-one marginals against Sinkhorn's plan and belief propagation, warm, cold, on rings, and in evidence."""

from __future__ import annotations

import numpy as np

from attnlab.analysis import Twin, Verdict, agrees, all_of, bounded, budget, identical, relative, rounding
from attnlab.papers.lab.conditions import at_most, that
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.marginal_probability.paper import COLD, EVIDENCE, RINGS, WARM, paper
from attnlab.simulators.latent_structures.assignment import (
    ROUNDS,
    AssignmentSetting,
    RingSetting,
    assignments,
    freezing,
    rings,
)
from attnlab.theory.latent_structures import permutations as theory

NEAR = 0.05  # radii this near to 1 are not judged: beliefs move by less than their distance to 0 or 1 within the rounds


def centred(scores: np.ndarray) -> np.ndarray:
    """Scores with the means of rows and columns taken out, (replica, query, key)."""
    return scores - scores.mean(1, keepdims=True) - scores.mean(2, keepdims=True) + scores.mean((1, 2), keepdims=True)


@paper.claim(
    "warm_slopes",
    source="doubly stochastic attention; the slopes are derived here",
    statements=[3],
    kind="extrapolation",
    setting=WARM,
    formula="d P_ij / d beta at beta = 0, per centred score: 1/(n-1), Sinkhorn 1/n, Bethe (n-1)/(n(n-2))",
    judged="regression on centred scores in every replica; the next order is at most beta R^2 of the largest energy gap R",
    note="Sinkhorn's plan is often called the Bethe or mean-field approximation of one-to-one marginals; Bethe's is another "
    "matrix.",
    reads=("n_tokens",),
    covers={"inverse_temperatures": that(lambda b: len(b) == 1 and b[0] <= 1e-3, "one, at most 0.001", "slopes at 0")},
    parts=3,
)
def warm_slopes(setting: AssignmentSetting, lab: Lab) -> Verdict:
    """At high temperature Sinkhorn's plan is too flat by a factor 1 - 1/n, belief propagation too steep by 1 + 1/(n (n-2)).

    Twins: each other's slopes.
    """
    runs = lab.simulate(assignments, setting)
    n, beta = setting.n_tokens, setting.inverse_temperatures[0]
    S = centred(runs["scores"])
    square = np.square(S).sum((1, 2))
    gap = np.ptp(S, axis=2).sum(1)
    next_order = float(np.max(beta * gap**2 * np.abs(S).sum((1, 2)) / square))
    stop = setting.tolerance * n * n / beta
    laws = {
        "exact": (theory.slope_exact(n), theory.slope_of_sinkhorn(n)),
        "sinkhorn": (theory.slope_of_sinkhorn(n), theory.slope_exact(n)),
        "bethe": (theory.slope_of_bethe(n), theory.slope_exact(n)),
    }
    parts = []
    for name, (law, rival) in laws.items():
        slope = ((runs[name][:, 0] - 1 / n) * S).sum((1, 2)) / square / beta
        parts.append(
            agrees(
                slope,
                law,
                within=budget(relative(next_order, law, "next order"), rounding(1, stop, eps=1.0)),
                of="every replica",
                twin=Twin.of("Sinkhorn's slope" if name == "exact" else "the exact slope", predicted=rival),
            ).named(name)
        )
    return all_of(*parts)


@paper.claim(
    "rings",
    source="derived here",
    statements=[3],
    kind="extrapolation",
    setting=RINGS,
    formula="own key on a ring of n: exact sigma(n D), Sinkhorn sigma(D)",
    judged="all permutations summed, and Sinkhorn's iteration, to rounding",
    reads=("sizes", "gaps"),
    parts=2,
)
def ring_marginals(setting: RingSetting, lab: Lab) -> Verdict:
    """Where only a full turn competes with the identity, the exact posterior is n times sharper in logits than Sinkhorn's plan.

    So Sinkhorn's plan errs by up to nearly one half. Twins: n - 1 for n; 2 D for D.
    """
    runs = lab.simulate(rings, setting)
    exact, fewer = (
        np.array([[theory.ring_marginal_exact(max(n - k, 1), g) if n - k > 1 else theory.ring_marginal_of_sinkhorn(g)
                   for g in setting.gaps] for n in setting.sizes])
        for k in (0, 1)
    )  # fmt: skip
    flat, twice = (
        np.array([[theory.ring_marginal_of_sinkhorn(k * g) for g in setting.gaps] for _ in setting.sizes])
        for k in (1, 2)
    )
    most = 4 * max(setting.sizes) * (1 + max(setting.gaps))  # roundings of a log weight, its exponential, and the sum
    first = identical(runs["exact"][0], exact, rounding=most, scale=1.0, twin=Twin.of("n - 1 for n", b=fewer))
    second = identical(runs["sinkhorn"][0], flat, rounding=most, scale=1.0, twin=Twin.of("2 D for D", b=twice))
    return all_of(first.named("exact"), second.named("Sinkhorn"))


@paper.claim(
    "belief_propagation_freezes",
    source="derived here",
    statements=[3],
    kind="extrapolation",
    setting=COLD,
    formula="beliefs become 0 and 1 iff rho(A) <= 1, A_ij = e^(S_ij - S_ii) off the best permutation; the rest shrinks by "
    "rho^2 a round",
    judged="every random score matrix and inverse temperature whose rho is not within 5 % of 1: whether beliefs off the best "
    "permutation go below 1e-6, and where rho is in [0.5, 0.95], by which factor per round",
    covers={"n_tokens": at_most(6, "all permutations are summed")},
    parts=2,
)
def belief_propagation_freezes(setting: AssignmentSetting, lab: Lab) -> Verdict:
    """Belief propagation on one-to-one structures commits to a single permutation at a finite temperature, that of rho(A) = 1.

    Exact marginals never do. Twins: the largest row sum of A for rho; rho for rho^2.
    """
    runs = lab.simulate(freezing, setting)
    radius = np.array([[theory.freezing_radius(b * S) for b in setting.inverse_temperatures] for S in runs["scores"]])
    sums = np.array([[_largest_row_sum(b * S) for b in setting.inverse_temperatures] for S in runs["scores"]])
    far = np.abs(radius - 1) > NEAR
    frozen = identical(
        (runs["left"][far] < 1e-6).astype(int),
        (radius[far] <= 1).astype(int),
        twin=Twin.of("the largest row sum of A for rho", b=(sums[far] <= 1).astype(int)),
    )
    mid = (radius > 0.5) & (radius < 1 - NEAR)
    factor, law = runs["factor"][mid], radius[mid] ** 2
    # a second eigenvalue -x rho of near opposite sign: an even number k of rounds later its part is smaller by x^2k only, and
    # over the last quarter of the rounds the logarithm moves by at most a (u^6 - u^8) <= 0.106 a, u = x^k, a its part, at most 1
    rate = agrees(
        factor,
        law,
        within=budget(relative(0.106 / (ROUNDS // 4), 1.0, "second eigenvalue")),
        of="every replica",
        unit="matrix",
        twin=Twin.of("rho, once a round", predicted=radius[mid]),
    )
    return all_of(frozen.named("frozen or not"), rate.named("rate"))


def _largest_row_sum(S: np.ndarray) -> float:
    A = np.exp(S - np.diag(S)[:, None])
    return float((A.sum(1) - 1).max())


@paper.claim(
    "evidence_bounds",
    source="van der Waerden, Gurvits 2011, Anari and Rezaei 2019",
    statements=[3],
    kind="extrapolation",
    setting=EVIDENCE,
    formula="ln (n!/n^n) <= ln perm - Sinkhorn's value <= 0 <= ln perm - Bethe's value <= (n/2) ln 2",
    judged="every random score matrix, over its inverse temperatures",
    reads=("n_tokens",),
    covers={"inverse_temperatures": that(lambda b: min(b) < 1e-3 and max(b) >= 3, "from below 0.001 to 3", "the floor is reached "
            "at equal scores, the ceiling of Bethe's value at cold ones")},
    parts=4,
)  # fmt: skip
def evidence_bounds(setting: AssignmentSetting, lab: Lab) -> Verdict:
    """Sinkhorn's value is never below the evidence of one-to-one structures and at most ln (n^n/n!) above it; Bethe's is
    below it.

    Twins: a floor 2 % nearer; half the floor above; a third of the ceiling below; half of it, which only pairs that swap reach.
    """
    runs = lab.simulate(assignments, setting)
    n = setting.n_tokens
    floor, ceiling = theory.log_evidence_floor(n), theory.bethe_evidence_ceiling(n)
    above, below = (runs["log_permanent"] - runs[name] for name in ("sinkhorn_value", "bethe_value"))
    slack = budget(
        rounding(100, setting.tolerance, eps=float(n * n))
    )  # values where iterations stop: second order in the stop
    parts = [
        bounded(above.min(1), floor, side="below", within=slack, of="every replica",
                twin=Twin.of("2 % nearer", bound=0.98 * floor)).named("floor of Sinkhorn's"),
        bounded(above.max(1), 0.0, within=slack, of="every replica",
                twin=Twin.of("half the floor", bound=0.5 * floor)).named("Sinkhorn's above"),
        bounded(below.min(1), 0.0, side="below", within=slack, of="every replica",
                twin=Twin.of("a third of the ceiling", bound=ceiling / 3)).named("Bethe's below"),
        bounded(below.max(1), ceiling, within=slack, of="every replica",
                twin=Twin.of("half the ceiling", bound=ceiling / 2)).named("ceiling of Bethe's"),
    ]  # fmt: skip
    return all_of(*parts)
