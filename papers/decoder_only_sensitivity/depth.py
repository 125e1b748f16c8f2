"""Claims on more than one layer: sensitivity of flat stacks, of random ones, and what trained decoders do with depth."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from attnlab.analysis import Twin, Verdict, agrees, all_of, budget, ordered, replicas
from attnlab.papers.decoder_only_sensitivity.paper import DEPTHS, FLAT_STACKS, STACKS, paper
from attnlab.papers.lab.conditions import at_least, one_of, that
from attnlab.papers.lab.run.workbench import Lab
from attnlab.simulators.source_attention.depth import DepthSetting, deep_lookup
from attnlab.simulators.source_attention.stacks import StackSetting, flat_stacks, stacks
from attnlab.theory.source_attention import flow

MEDIAN = "median over replicas"
DOUBLED, LESS = math.log(2), 0.1
GROWS = that(lambda t: len(t) > 1 and t[-1] >= 16 * t[0], "the last at least 16 times the first")
TWO_DEPTHS = {"depths": that(lambda x: len(x) == 2 and x[0] == 1 < x[1], "one layer and several")}


@paper.claim(
    "depth_slows_the_decay",
    source="sensitivity of the output to the source; the law at more than one layer is derived here",
    statements=[2],
    kind="extrapolation",
    setting=FLAT_STACKS,
    parts=4,
    formula="E|J|^2 = d sum_{k=1..L} C(L, k) sum_{s <= n} ((A^k)_{n+t, s})^2, A the means over tokens up to each one",
    judged="mean over drawn stacks of flat layers with a residual, at both depths, at the first and the last target length; the "
    "spread of one draw is that of a matrix's squared norm, sqrt(2) / d, times the layers",
    reads=("n_source", "target_lengths", "depths", "dim", "n_draws"),
    covers=TWO_DEPTHS,
)
def depth_slows_the_decay(setting: StackSetting, lab: Lab) -> Verdict:
    """In flat layers with a residual the sensitivity to the source is that of all paths through the layers.

    Twin: direct paths alone, L d n / (n + t)^2; at one layer, where all are direct, a row longer by an eighth.
    """
    runs = lab.simulate(flat_stacks, setting)
    n, d = setting.n_source, setting.dim
    draws = f"mean over replicas of {setting.n_draws} draws"
    parts = []
    for at, depth in enumerate(setting.depths):
        for k in (0, len(setting.target_lengths) - 1):
            t = setting.target_lengths[k]
            law = flow.stack_sensitivity_exact(n, t, depth, d)
            std = math.sqrt(2) * depth / d / math.sqrt(setting.n_draws)
            if depth == 1:
                twin = Twin.of("an eighth longer", predicted=flow.stack_sensitivity_exact(n, t + (n + t) // 8, 1, d))
            else:
                twin = Twin.of("direct paths", predicted=depth * flow.stack_sensitivity_exact(n, t, 1, d))
            within = budget(replicas(std * law, runs.n, of=draws))
            verdict = agrees(runs["square"][:, at, k], law, within=within, of=draws, twin=twin)
            parts.append(verdict.named(f"L = {depth}, t = {t}"))
    return all_of(*parts)


@paper.claim(
    "random_stacks_forget_slower",
    source="sensitivity of the output to the source, at more than one layer",
    statements=[2, 3],
    kind="extrapolation",
    setting=STACKS,
    parts=2,
    formula="|J|^2 at the shortest target over that at the longest: one layer above twice several; without a branch above twice "
    "with one",
    judged="median over replicas of logarithms of ratios, random layers with norms, softmax and a residual",
    reads=("n_source", "target_lengths", "depths", "dim", "n_draws"),
    covers=TWO_DEPTHS | {"target_lengths": GROWS},
)
def random_stacks_forget_slower(setting: StackSetting, lab: Lab) -> Verdict:
    """Random stacks lose sensitivity to the source with the target's length: several layers by less than half the factor of one,
    and with a branch by less than half of theirs.

    Twins: by a factor of a hundred thousand.
    """
    runs = lab.simulate(stacks, setting)

    def lost(name: str) -> np.ndarray:
        return np.log(runs[name][:, :, 0] / runs[name][:, :, -1])

    far = Twin.of("a hundred thousand", by=math.log(1e5))
    one, several = lost("joint").T
    depth = ordered(several, one, by=DOUBLED, of=MEDIAN, twin=far)
    branch = ordered(lost("branch")[:, 1], several, by=DOUBLED, of=MEDIAN, twin=far)
    return all_of(depth.named("one layer loses more"), branch.named("a branch loses less"))


@paper.claim(
    "trained_depth_does_not_repair",
    source="derived here against the linear flow; lengths to 64 times the trained one",
    statements=[2],
    kind="extrapolation",
    setting=DEPTHS,
    parts=2,
    undecided_at_smoke="180 steps at a rate of 0.02 leave decoders that differ more among themselves than by their depth",
    formula="loss at the longest target over that at the trained length: with four layers above twice that with one; the "
    "source's share at the longest target: in each of four layers below that of one layer by 0.1",
    judged="medians over pairs of replicas, of differences of logarithms of mean cross-entropies and of masses on fresh "
    "sequences",
    covers={
        "n_layers": one_of(1, why="four layers are derived from it"),
        "target_lengths": GROWS,
        "n_steps": at_least(180, "networks must be trained"),
    },
)
def trained_depth_does_not_repair(setting: DepthSetting, lab: Lab) -> Verdict:
    """Trained on short targets, a decoder of four layers loses the source of a long target sooner than one of a single layer,
    though the linear flow through flat layers says that depth repairs.

    Twins: a hundred-thousandfold; less by 0.95. Null: before training.
    """
    one, four = lab.simulate(deep_lookup, setting, replace(setting, n_layers=4))

    def rise(nats: np.ndarray) -> np.ndarray:
        return np.log(nats[:, -1] / nats[:, 0])

    def most(mass: np.ndarray) -> np.ndarray:
        return mass[:, -1].max(-1)

    loss = ordered(
        rise(one["nats"]),
        rise(four["nats"]),
        by=DOUBLED,
        of=MEDIAN,
        twin=Twin.of("a hundred-thousandfold", by=math.log(1e5)),
        null=Twin.of("before training", smaller=rise(one["start_nats"]), larger=rise(four["start_nats"])),
    )
    share = ordered(
        most(four["mass"]),
        most(one["mass"]),
        by=LESS,
        of=MEDIAN,
        twin=Twin.of("by 0.95", by=0.95),
        null=Twin.of("before training", smaller=most(four["start_mass"]), larger=most(one["start_mass"])),
    )
    return all_of(loss.named("four layers rise more"), share.named("mass"))
