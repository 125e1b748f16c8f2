"""Claims on convergence orders: exact sub-flows, those of a network, and what restores the second order (statements 2, 4)."""

from __future__ import annotations

import numpy as np

from attnlab.analysis import Twin, Verdict, all_of, budget, exponent, replicas
from attnlab.analysis.verdicts.budget import Piece
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.lu2019_multiparticle.paper import N_POINTS, bend, errors, norm, paper, with_depths
from attnlab.simulators.particle_flow.splitting_errors import Setting, splitting_errors
from attnlab.theory.particle_flow.splitting import SCHEMES as STAGES
from attnlab.theory.particle_flow.splitting import orders

JUDGED = (
    "log-log slope over the four smallest step sizes equals the order, and is straight, within what a next term of "
    "relative size "
    "2.3 gamma (fact sheet) bends it, 0.95 times the largest of these steps, and the replicas' interval; the rival "
    "is the next "
    "integer"
)
#: Spreads of single slopes over systems: the largest of their kind at desk scale, seed 1 (0.0098, 0.034, 0.047), rounded up.
SPREAD = {"smooth": 0.01, "relu": 0.035, "normalised": 0.05}
SMOOTH = ["smooth activation", "autonomous system", "solution by Runge-Kutta with 2 048 steps as reference"]
RELU = with_depths(paper.default, activation="relu")
KINKS = (Piece("kinks", 0.2),)
NORMALISED = with_depths(
    paper.default,
    normalisation="inside",
    activation="gelu",
    n_heads=2,
    schemes=("transformer exact", "macaron exact", "transformer euler", "macaron euler"),
)


def slope(runs, scheme, which, order, rival, spread="smooth", more=()):
    """The verdict on one order, against a rival one; ``more`` pieces of the budget."""
    steps, sizes = runs["steps"][0, -N_POINTS:], norm(errors(runs, which, scheme))[:, -N_POINTS:]
    sizes = sizes / np.exp(
        np.log(sizes).mean(1, keepdims=True)
    )  # systems differ in size, which is no noise along a curve
    within = budget(bend(steps), *more, replicas(SPREAD[spread], len(sizes)))
    found = exponent(
        steps, sizes, order, within=within, bend=float(within), twin=Twin.of(f"order {rival}", predicted=rival)
    )
    return found.named(f"{scheme}, {which}")


def both_orders(runs, schemes, spread="smooth"):
    """Local and global orders of several schemes; the twin of each is the order of the other kind of splitting."""
    verdicts = []
    for scheme in schemes:
        splitting, sub_flow = scheme.split()
        local, overall = orders(STAGES[splitting], sub_flow)
        rival = 3 - overall
        verdicts += [
            slope(runs, scheme, "local", local, rival + 1, spread),
            slope(runs, scheme, "global", overall, rival, spread),
        ]
    return all_of(*verdicts)


@paper.claim(
    "exact_orders",
    source="Theorem 1 and appendix",
    statements=[2],
    parts=8,
    assumptions=[*SMOOTH, "exact sub-flows"],
    formula="Lie-Trotter: tau = O(gamma^2), X(T) - X_L = O(gamma); Strang-Marchuk: O(gamma^3), O(gamma^2)",
    judged=JUDGED,
)
def exact_orders(setting: Setting, lab: Lab) -> Verdict:
    """With exact sub-flows Lie-Trotter is of local order 2 and global order 1, Strang-Marchuk of local 3 and global 2.

    Both orders of the fields are measured. Twin of each: the order of the other splitting.
    """
    return both_orders(
        lab.simulate(splitting_errors, setting),
        ("transformer exact", "reversed exact", "macaron exact", "macaron_swapped exact"),
    )


@paper.claim(
    "network_second_order",
    source="Section 4, the Macaron layer as Strang-Marchuk splitting",
    statements=[4, 2],
    expected="REFUTED",
    parts=2,
    assumptions=[*SMOOTH, "Euler sub-steps, as in a residual layer"],
    formula="Macaron layer: tau = O(gamma^3), X(T) - X_L = O(gamma^2)",
    judged=JUDGED,
    note="The truncation error of the splitting scheme does not carry over to the layer: an Euler sub-step leaves an "
    "error of order gamma^2 of its own, F'F/2 and G'G/4. See euler_orders.",
)
def network_second_order(setting: Setting, lab: Lab) -> Verdict:
    """The Macaron layer itself has local order 3 and global order 2. False: its sub-layers are Euler steps."""
    runs = lab.simulate(splitting_errors, setting)
    return all_of(slope(runs, "macaron euler", "local", 3, 2), slope(runs, "macaron euler", "global", 2, 1))


@paper.claim(
    "euler_orders",
    source="corrects Section 4",
    statements=[4],
    kind="extrapolation",
    parts=8,
    assumptions=[*SMOOTH, "Euler sub-steps, as in a residual layer"],
    formula="any arrangement of Euler sub-steps: tau = O(gamma^2), X(T) - X_L = O(gamma), as c_FF = sum a_k^2 / 2 > 0",
    judged=JUDGED,
)
def euler_orders(setting: Setting, lab: Lab) -> Verdict:
    """With the Euler sub-steps of a network Transformer, Macaron and parallel layers are all of local order 2, global order 1.

    Twin of each: the orders of Strang-Marchuk splitting.
    """
    return both_orders(
        lab.simulate(splitting_errors, setting),
        ("transformer euler", "macaron euler", "macaron_swapped euler", "parallel euler"),
    )


@paper.claim(
    "midpoint_orders",
    source="corrects Section 4",
    statements=[4],
    kind="extrapolation",
    parts=6,
    assumptions=[*SMOOTH, "midpoint (second-order Runge-Kutta) sub-steps"],
    formula="midpoint sub-steps: Lie-Trotter 2 and 1, Strang-Marchuk 3 and 2, unsplit 3 and 2 (local and global)",
    judged=JUDGED,
)
def midpoint_orders(setting: Setting, lab: Lab) -> Verdict:
    """Second-order sub-steps give Strang-Marchuk its order back, and leave Lie-Trotter at first order.

    Two evaluations of each sub-layer suffice; without splitting they do, too. Twin of each: the other order.
    """
    return both_orders(
        lab.simulate(splitting_errors, setting), ("transformer midpoint", "macaron midpoint", "parallel midpoint")
    )


@paper.claim(
    "relu_orders",
    source="Theorem 1, without smoothness",
    statements=[2, 4],
    parts=6,
    setting=RELU,
    assumptions=["ReLU", "mean over random systems"],
    formula="global orders as for smooth activations: 1 and 2 with exact, 1 with Euler sub-steps",
    kind="extrapolation",
    judged="slope of the global error over the four smallest steps equals the order within its bend, 0.2 (fact "
    "sheet: kinks make "
    "second-order slopes fluctuate by as much, each adding O(gamma^2) times a factor of where it is crossed) and the "
    "replicas' "
    "interval",
)
def relu_orders(setting: Setting, lab: Lab) -> Verdict:
    """Kinks leave the global orders in place: crossings are few, and each costs O(gamma^2).

    Twin of each: the order of the other splitting.
    """
    runs = lab.simulate(splitting_errors, setting)
    verdicts = []
    for scheme in (
        "transformer exact",
        "macaron exact",
        "macaron midpoint",
        "transformer euler",
        "macaron euler",
        "parallel euler",
    ):
        splitting, sub_flow = scheme.split()
        order = orders(STAGES[splitting], sub_flow)[1]
        verdicts.append(slope(runs, scheme, "global", order, 3 - order, "relu", KINKS))
    return all_of(*verdicts)


@paper.claim(
    "normalised_orders",
    source="Section 3, with the layer normalisation of a pre-norm layer",
    statements=[2, 4],
    kind="extrapolation",
    parts=8,
    setting=NORMALISED,
    assumptions=["layer normalisation inside F and G", "gelu, two heads"],
    formula="Lie-Trotter and Euler sub-steps 2 and 1, Strang-Marchuk 3 and 2 (local and global), as without norms",
    judged=JUDGED,
    note="With the normalisation outside (post-norm) a layer is no small change of its input, and gamma -> 0 has no "
    "meaning.",
)
def normalised_orders(setting: Setting, lab: Lab) -> Verdict:
    """Layer normalisation inside the two fields leaves all orders as they are. Twin of each: the other order."""
    return both_orders(lab.simulate(splitting_errors, setting), setting.schemes, "normalised")
