"""Claims that hold to rounding or on special systems: layers, merged stacks, fixed attention, depth-dependent weights, counts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from attnlab.analysis import Twin, Verdict, agrees, all_of, budget, exhaustive, exponent, identical, replicas, rounding
from attnlab.analysis.verdicts.budget import Piece
from attnlab.papers.lab.declare import Scales
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.lu2019_multiparticle.constants import LIMIT, named, tends_to
from attnlab.papers.lu2019_multiparticle.paper import NEXT, UNNORMALISED, bend, paper, systems, with_depths
from attnlab.simulators.particle_flow.identities import (
    TIMED_SCHEMES,
    fixed_attention_errors,
    merged_stacks,
    time_dependent_errors,
)
from attnlab.simulators.particle_flow.splitting_errors import Setting
from attnlab.simulators.particle_flow.stacks import StackSetting, random_stacks
from attnlab.theory.particle_flow.fields import ParticleSystem
from attnlab.theory.particle_flow.fixed_attention import lie_trotter_term, strang_term
from attnlab.theory.particle_flow.parameters import layer_parameters
from attnlab.theory.particle_flow.splitting import SCHEMES as STAGES
from attnlab.theory.particle_flow.splitting import error_constant, euler_layer

LAYERS = Scales(
    smoke=StackSetting(n_heads=2, n_replicas=8),
    desk=StackSetting(n_heads=2, n_replicas=16),
    paper=StackSetting(n_heads=4, dim=512, hidden=1_024, n_replicas=16),
)


def as_scheme(runs, setting, kind, stages):
    """The stacks of a run computed by theory, each layer a sequence of Euler sub-steps: ``(replica, layer + 1, n, d)``."""
    step, nets = setting.horizon / setting.depths[0], runs["W_1"].shape[2]
    path = [runs["path"][:, 0]]
    for layer in range(setting.depths[0]):
        layers = [
            ParticleSystem(
                *(runs[name][:, layer] for name in ("W_Q", "W_K", "W_V", "W_O")),
                *(runs[name][:, layer, net] for name in ("W_1", "b_1", "W_2")),
                np.zeros((len(path[0]), setting.dim)),
                setting.n_heads,
                setting.activation,
            )
            for net in range(nets)
        ]
        X, used = path[-1], 0
        for stage in stages:
            X = euler_layer(layers[used], X, step, [stage])
            used = min(used + (stage[0] == 0), nets - 1)  # each feed-forward stage has a network of its own
        path.append(X)
    return np.stack(path, axis=1)


@paper.claim(
    "layer_is_a_splitting_step",
    source="Section 3.2, equations of the Transformer layer; Section 4, the Macaron layer",
    statements=[1],
    parts=2,
    setting=LAYERS,
    formula="X <- X + gamma F(X), X <- X + gamma G(X); and X <- X + gamma/2 G_1, X + gamma F, X + gamma/2 G_2",
    kind="construction",
    assumptions=["random weights", "residual layers without normalisation (with it inside F and G: normalised_orders)"],
    judged="float64, at most 16 L (n + d + m) roundings: sums of n, d and m terms in 8 products a layer, both sides",
)
def layer_is_a_splitting_step(setting: StackSetting, lab: Lab) -> Verdict:
    """A residual Transformer stack is Lie-Trotter splitting with Euler sub-steps, a Macaron stack Strang-Marchuk splitting.

    Twins: the parallel layer, whose feed-forward network reads what attention reads; the Macaron stack with its attention first.
    """
    verdicts = []
    roundings = 16 * setting.depths[0] * (setting.n_particles + setting.dim + setting.hidden)
    for kind, label, rival in (
        ("transformer", "parallel layers", STAGES["parallel"]),
        ("macaron", "attention first", (STAGES["macaron"][1], *STAGES["macaron"][::2])),
    ):
        own = replace(setting, kind=kind)
        runs = lab.simulate(random_stacks, own)
        verdicts.append(
            identical(
                runs["path"],
                as_scheme(runs, own, kind, STAGES[kind]),
                rounding=roundings,
                twin=Twin.of(label, b=as_scheme(runs, own, kind, rival)),
            ).named(kind)
        )
    return all_of(*verdicts)


@paper.claim(
    "merged_stack",
    source="structure of Strang-Marchuk splitting, Section 4",
    statements=[7],
    parts=2,
    formula="(S_G^{g/2} S_F^g S_G^{g/2})^L = S_G^{g/2} (S_F^g S_G^g)^L S_G^{-g/2} = S_G^{g/2} S_F^g S_G^g ... "
    "S_G^{g/2}",
    assumptions=["exact sub-flows", "weights shared by all layers"],
    covers=UNNORMALISED,
    kind="extrapolation",
    judged="every system: largest difference of the ends is 0 within the error of 256 Runge-Kutta steps in each "
    "sub-flow, of relative "
    "size (2.3 h)^4 / 120 per unit of time, and the roundings of these steps",
)
def merged_stack(setting: Setting, lab: Lab) -> Verdict:
    """With exact sub-flows a Macaron stack of shared weights is a Transformer stack with half feed-forward steps at its ends.

    So Lie-Trotter needs only two half-steps more, in all, to be second order. Twin: the Transformer stack as it is.
    """
    runs = lab.simulate(merged_stacks, setting)
    depth = min(setting.depths)
    size = float(np.abs(runs["macaron_end"]).max())
    runge_kutta = (NEXT * setting.horizon / depth / 256) ** 4 / 120 * size * setting.horizon
    within = budget(Piece("Runge-Kutta steps", runge_kutta), rounding(3 * 256 * depth, scale=size))

    def gap(name):
        return np.abs(runs[name] - runs["macaron_end"]).max((-2, -1))

    return all_of(
        *(
            agrees(
                gap(name),
                0.0,
                within=within,
                scale=size,
                of="every system",
                unit="system",
                twin=Twin.of("no half-steps at the ends", measured=gap("transformer_end")),
            ).named(label)
            for name, label in (("merged_end", "merged"), ("conjugate_end", "conjugate"))
        )
    )


@paper.claim(
    "cost_of_merging",
    source="structure of Strang-Marchuk splitting, Section 4",
    statements=[7, 4],
    formula="(X_Macaron - X_merged) / gamma -> E(T), dE/dt = (F' + G') E + G'G / 4",
    assumptions=["Euler sub-steps", "weights shared by all layers", "smooth activation"],
    kind="extrapolation",
    parts=2,
    judged=LIMIT,
    covers=UNNORMALISED,
)
def cost_of_merging(setting: Setting, lab: Lab) -> Verdict:
    """With Euler sub-steps merging two half-steps changes a layer by (gamma^2 / 4) G'G, and the stack by what that adds up to.

    Twins: (gamma^2 / 2) G'G, the whole error of an Euler step; changes that add up without being carried along by the flow.
    """
    runs = lab.simulate(merged_stacks, setting)
    steps, system = runs["steps"][0], systems(runs, setting)
    merged = {"FF": 0, "FG": 0, "GF": 0, "GG": 0.25}
    constant, added = (
        error_constant(system, runs["start"], setting.horizon, merged, transported=carried) for carried in (True, False)
    )
    size, direction = tends_to(
        runs["merging"] / steps[:, None, None],
        steps,
        constant,
        added,
        "without being carried along",
        "the whole Euler error",
    )
    return all_of(size.named("size"), direction.named("direction"))


FIXED = Scales(
    smoke=paper.default.smoke, desk=paper.default.desk, paper=Setting(n_particles=16, dim=16)
)  # matrices of size n d


@paper.claim(
    "fixed_attention",
    source="appendix, the commutator terms on a linear system",
    statements=[8, 3],
    kind="extrapolation",
    parts=5,
    setting=FIXED,
    formula="Lie-Trotter: (gamma^2 / 2) P X [C, V]; Strang: gamma^3 (P X [K, C] / 24 + P^2 X [K, V] / 12), K = [V, C]",
    assumptions=["fixed row-stochastic attention P", "linear feed-forward map C", "exact sub-flows"],
    judged=LIMIT
    + "; commuting: every system 0 within the rounding of exponentials of matrices of size n d, 4 n d roundings",
)
def fixed_attention(setting: Setting, lab: Lab) -> Verdict:
    """With fixed attention the leading errors are commutators of V and C, and both schemes are exact if these commute.

    Twins: no factor 1/2; Lie-Trotter with C V alone for the commutator; Strang without its second nested
    commutator; C that does not commute.
    """
    runs = lab.simulate(fixed_attention_errors, setting)
    P, V, C, X = parts = (runs["P"], runs["V"], runs["C"], runs["start"])
    steps, K = runs["steps"][0], V @ C - C @ V
    verdicts = []
    for name, power, term, label, rival in (
        ("transformer", 2, lie_trotter_term(*parts), "C V alone", P @ X @ C @ V / 2),
        ("macaron", 3, strang_term(*parts), "one nested commutator", P @ X @ (K @ C - C @ K) / 24),
    ):
        verdicts += named(tends_to(runs[name] / steps[:, None, None] ** power, steps, term, rival, label), name)
    exact = agrees(
        np.abs(runs["commuting"][:, 0]).max((-2, -1)),
        0.0,
        within=budget(rounding(4 * setting.n_particles * setting.dim, scale=float(np.abs(X).max()))),
        scale=1.0,
        of="every system",
        unit="system",
        twin=Twin.of("V and C do not commute", measured=np.abs(runs["transformer"][:, 0]).max((-2, -1))),
    )
    return all_of(*verdicts, exact.named("commuting"))


SPREAD = 0.013  # of single slopes over systems: the largest of the four at desk scale, seed 1
TIMED = with_depths(paper.default, depths=(16, 32, 64, 128), n_replicas=32)


@paper.claim(
    "depth_dependent_weights",
    source="Section 3.2 and appendix, reduction to the autonomous case",
    statements=[9],
    parts=4,
    setting=TIMED,
    formula="printed (F at t): order 1; clock on G (F at t + gamma/2), true time, all at t + gamma/2: order 2",
    assumptions=["exact sub-flows", "smooth weights W(t)"],
    kind="extrapolation",
    judged="slope of the global error over the four smallest steps equals the order, and is straight, within what a "
    "next term of "
    "relative size 2.3 gamma (fact sheet) bends it, 0.95 times the largest of these steps, and the replicas' interval",
    covers=UNNORMALISED,
)
def depth_dependent_weights(setting: Setting, lab: Lab) -> Verdict:
    """Weights that depend on depth cost Strang-Marchuk its order if attention is frozen at the start of the step.

    The reduction to an autonomous system moves the clock with one of the fields; attached to G it freezes F at the middle of
    the step, which keeps the second order. Twin of each: the other order.
    """
    runs = lab.simulate(time_dependent_errors, setting)
    steps, verdicts = runs["steps"][0, -4:], []
    sizes = runs["global_error"][:, :, -4:]
    sizes = sizes / np.exp(
        np.log(sizes).mean(-1, keepdims=True)
    )  # systems differ in size, which is no noise along a curve
    for row, name in enumerate(TIMED_SCHEMES):
        order = 1 if name == "printed" else 2
        within = budget(bend(steps), replicas(SPREAD, len(runs["global_error"])))
        verdicts.append(
            exponent(
                steps,
                sizes[:, row],
                order,
                within=within,
                bend=float(within),
                twin=Twin.of(f"order {3 - order}", predicted=3 - order),
            ).named(name)
        )
    return all_of(*verdicts)


def torch_parameters(kind, dim, hidden):
    """Parameters of a layer built from torch's modules, norms and biases included."""
    widths = [hidden] if kind == "transformer" else [hidden // 2] * 2
    modules = [torch.nn.MultiheadAttention(dim, 1, device="meta"), torch.nn.LayerNorm(dim, device="meta")]
    for width in widths:
        modules += [
            torch.nn.Linear(dim, width, device="meta"),
            torch.nn.Linear(width, dim, device="meta"),
            torch.nn.LayerNorm(dim, device="meta"),
        ]
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


@paper.claim(
    "equal_parameter_counts",
    source="Section 4",
    statements=[5],
    parts=1,
    formula="both 4 d^2 + 2 d m weights (12 d^2 at m = 4 d); with biases and one norm a sub-layer Macaron has 3 d more",
    assumptions=["two half-steps of inner width m / 2 each"],
    judged="exact, for layers built from torch modules at all even m up to 8 d for 10 widths d",
)
def equal_parameter_counts(setting: Setting, lab: Lab) -> Verdict:
    """Both layers have 4 d^2 + 2 d m weights; biases and norms add 3 d to the Macaron layer, 0.05 % at d = 512.

    Twin: exactly equal counts, with biases and norms.
    """
    cases = [
        (d, m) for d in (2, 3, 4, 8, 16, 32, 64, 128, 512, 1024) for m in sorted({2, d + d % 2, 2 * d, 4 * d, 8 * d})
    ]

    def right(case):
        d, m = case
        weights = {kind: layer_parameters(kind, d, m, biases=False, norms=False) for kind in ("transformer", "macaron")}
        full = {kind: layer_parameters(kind, d, m) for kind in weights}
        built = {kind: torch_parameters(kind, d, m) for kind in weights}
        return (
            full == built
            and full["macaron"] - full["transformer"] == 3 * d
            and set(weights.values()) == {4 * d * d + 2 * d * m}
        )

    def equal(case):
        return torch_parameters("macaron", *case) == torch_parameters("transformer", *case)

    return exhaustive(
        cases, right, twin=Twin.of("no biases, no norms", check=equal), of="every layer size", unit="size"
    )
