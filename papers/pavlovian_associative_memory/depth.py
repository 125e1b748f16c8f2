"""Claims on redundancy and depth: heads that average or vote, chains that clean up, and chains that do not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import Twin, Verdict, agrees, all_of, bounded, budget, follows, replicas
from attnlab.papers.lab.conditions import at_least, at_most, one_of, that
from attnlab.papers.lab.declare import Scales
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.pavlovian_associative_memory.paper import noise, over, paper, scaled
from attnlab.simulators.associative_memory.recall import (
    SPLITS,
    ChainSetting,
    DeepSetting,
    DepthSetting,
    deep_chain,
    depth,
    propagate,
)
from attnlab.theory.associative_memory import signs, sums

VOTES = DepthSetting(n_draws=400, n_replicas=32)
DEPTH = Scales(smoke=replace(VOTES, n_replicas=16), desk=VOTES, paper=replace(VOTES, dim=64, n_pairs=40))
ODD = {"n_heads": that(lambda heads: {3, 7, 15} <= set(heads), "lists with 3, 7 and 15", "these votes are judged")}
SHALLOW = {"n_layers": at_least(4, "curves over depth are judged at four depths")}


@paper.claim(
    "redundancy",
    source="redundancy of heads",
    statements=[3],
    setting=DEPTH,
    parts=4,
    formula="H heads of width d/H: (n - 1)/d; H heads of width d: (n - 1)/(H d); majority: P(Bin(H, p) > H/2), p the exact error",
    judged="mean errors of 1, 2, 4, 8 split heads and of the first three full heads, majorities of 3 and 7, within what replicas "
    "leave open",
    reads=("n_pairs", "dim"),
    covers=ODD,
)
def redundancy(setting: DepthSetting, lab: Lab) -> Verdict:
    """Splitting a width among heads changes nothing, more heads of full width divide the error, and their majority is binomial.

    Twins: the target counted among what interferes; majorities of two heads fewer.
    """
    runs = lab.simulate(depth, setting)
    n, d = setting.n_pairs, setting.dim
    p = signs.sign_error(n, d)
    first = setting.n_heads.index(3)
    cases = [
        ("split", runs["split_error"][:, : len(SPLITS)].mean(-1), float(sums.hebbian_error(n, d)), n / d),
        ("full width", runs["mean_error"][:, first], float(sums.hebbian_error(n, d)) / 3, n / (3 * d)),
    ]
    cases += [
        (f"majority of {H}", runs["majority_error"][:, setting.n_heads.index(H)], signs.majority_error(H, p), rival)
        for H, rival in ((3, p), (7, signs.majority_error(5, p)))
    ]
    return all_of(
        *(
            agrees(
                found,
                law,
                within=budget(noise(name, setting, VOTES.n_draws, law)),
                of=over(setting),
                twin=Twin.of("two heads fewer" if "majority" in name else "target counted", predicted=rival),
            ).named(name)
            for name, found, law, rival in cases
        )
    )


@paper.claim(
    "depth",
    undecided_at_smoke="16 replicas cannot tell the heads that suffice from a success of four times the exponent",
    source="error propagation",
    statements=[3],
    setting=DEPTH,
    kind="construction",
    parts=3,
    formula="success (1 - p_H)^L; p_H <= exp(-2 H (1/2 - p)^2), so H >= ln(L/delta) / (2 (1/2 - p)^2) heads suffice",
    judged="success of three heads at four depths within what replicas leave open; majority error of three heads below its "
    "bound; the most failures among chains of 15 heads for which 15 heads suffice",
    reads=("n_pairs", "dim", "n_layers"),
    covers={**ODD, **SHALLOW},
)
def success_over_depth(setting: DepthSetting, lab: Lab) -> Verdict:
    """Chains of voting layers, each with fresh keys and a stored cue, succeed with the power law of independent layers, so that
    redundancy grows with the log of depth.

    By construction: nothing of an error is handed on but the failure; `chain` hands on the read-out. Twins: five heads;
    bounds with four times the exponent.
    """
    runs = lab.simulate(depth, setting)
    at = np.unique(np.linspace(1, setting.n_layers, 4).astype(int))
    three, most, p = setting.n_heads.index(3), setting.n_heads.index(15), signs.sign_error(setting.n_pairs, setting.dim)
    law = signs.chain_success(at, 3, p)
    of = f"mean trajectory of {setting.n_draws} draws"
    spread = float(np.sqrt(law * (1 - law) / setting.n_draws).max())  # chains are independent
    curve = follows(
        runs["success"][:, three][:, at - 1],
        law,
        within=budget(replicas(spread, setting.n_replicas, of=of, points=len(at))),
        of=of,
        times=at.astype(float),
        twin=Twin.of("five heads", predicted=signs.chain_success(at, 5, p)),
    )
    bound = signs.majority_error_bound(3, p)
    votes = bounded(
        runs["majority_error"][:, three], bound, of=over(setting), twin=Twin.of("exponent 8", bound=bound**4)
    )
    # the failure delta for which 15 heads are just as many as the bound asks: heads_needed_bound(L, delta, p) = 15
    unit = signs.heads_needed_bound(setting.n_layers, setting.n_layers / np.e, p)
    delta = setting.n_layers * float(np.exp(-15 / unit))
    failures = bounded(
        1 - runs["success"][:, most, -1],
        min(delta, 1.0),
        of=over(setting),
        twin=Twin.of("four times the exponent", bound=min(delta, 1.0) ** 4),
    )
    return all_of(curve.named("three heads"), votes.named("majority bound"), failures.named("heads that suffice"))


DEEP = DeepSetting(n_draws=240, n_replicas=32)
LAYERS = (1, 2, 3, 4)


@paper.claim(
    "chain",
    undecided_at_smoke="16 replicas leave the errors of the last layers a margin that reaches the twin",
    source="error propagation",
    statements=[3],
    setting=scaled(DEEP),
    parts=len(LAYERS) + 3,
    formula="error after L layers whose cue is the read-out of the one before: (1 + (n - 1)/(H d))^L - 1; if it were normal, "
    "Phi(-1/sqrt(error)) of the signs were wrong",
    judged="mean errors of layers 1 to 4 of one head and of layer 6 of three within what replicas leave open; share of chains of "
    "one head right in six layers: above the product of the layers' shares by the normal law, below the power law of fresh cues",
    reads=("n_pairs", "dim"),
    covers={
        "n_layers": at_least(6, "six layers are judged"),
        "n_pairs": at_most(24, "with more pairs few draws carry the mean error"),
        "n_heads": one_of(1, why="chains of one head and of three are judged"),
    },
)
def chain(setting: DeepSetting, lab: Lab) -> Verdict:
    """Where every read-out is the next cue errors multiply through depth, and redundancy must grow in proportion to depth.

    Voting layers that clean up (`depth`) need heads like the logarithm of the depth only. Twins: errors that add up, at first
    order for the later layers, L (n - 1)/(H d); two more pairs for the first; each bound in the place of the other.
    """
    n, d = setting.n_pairs, setting.dim
    one, three = lab.simulate(deep_chain, setting, replace(setting, n_heads=3))
    cases = [(f"layer {L}", one["error"][:, L - 1], L, 1) for L in LAYERS]
    cases.append(("layer 6, three heads", three["error"][:, 5], 6, 3))
    parts = [
        agrees(
            found,
            float(signs.chained_error(L, n, d, heads)),
            within=budget(noise(f"chain {name}", setting, DEEP.n_draws, float(signs.chained_error(L, n, d, heads)))),
            of=over(setting),
            twin=Twin.of(
                "two more pairs" if L == 1 else "errors add", predicted=(L * (n - 1) + 2 * (L == 1)) / (heads * d)
            ),
        ).named(name)
        for name, found, L, heads in cases
    ]
    right = one["success"][:, 5]
    product = float(np.prod(1 - signs.chained_sign_error_approx(np.arange(1, 7), n, d)))
    fresh = float(signs.chain_success(6, 1, signs.sign_error(n, d)))
    for name, bound, side, rival in (
        ("right, least", product, "below", fresh),
        ("right, most", fresh, "above", product),
    ):
        parts.append(
            bounded(right, bound, side=side, of=over(setting), twin=Twin.of("the other bound", bound=rival)).named(name)
        )
    return all_of(*parts)


CHAIN = ChainSetting(n_draws=20_000, n_replicas=32)
CHAINS = Scales(smoke=replace(CHAIN, n_replicas=16), desk=CHAIN, paper=replace(CHAIN, n_layers=100))


@paper.claim(
    "propagation",
    source="error propagation",
    statements=[3],
    setting=CHAINS,
    kind="construction",
    formula="variance s^2 sum_{k=1}^{L} g^{2k}",
    judged="logarithm of the mean square at five depths within what replicas leave open, sqrt(2 / draws) being the spread",
    reads=("n_layers", "gain", "noise_std"),
    covers={"n_layers": at_least(4)},
)
def propagation(setting: ChainSetting, lab: Lab) -> Verdict:
    """Noise of every layer is amplified by all later ones: variances add up geometrically.

    Twin: noise that enters after the gain, s^2 sum_{k<L} g^{2k}.
    """
    runs = lab.simulate(propagate, setting)
    at = np.unique(np.linspace(1, setting.n_layers, 5).astype(int))
    law = signs.propagated_variance(at, setting.gain, setting.noise_std**2)
    of = f"mean trajectory of {setting.n_draws} draws"
    spread = (2 / setting.n_draws) ** 0.5  # of the logarithm of a mean of so many squares of normal values
    return follows(
        np.log(runs["variance"][:, at - 1]),
        np.log(law),
        within=budget(replicas(spread, setting.n_replicas, of=of, points=len(at))),
        of=of,
        times=at.astype(float),
        twin=Twin.of("noise after the gain", predicted=np.log(law / setting.gain**2)),
    )
