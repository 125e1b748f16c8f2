"""Claims on effective ranks: what weighting the buffer and gating the output do to untrained maps."""

from __future__ import annotations

import numpy as np

from attnlab.analysis import Twin, Verdict, agrees, all_of, budget, finite_size, ordered
from attnlab.analysis import replicas as of_replicas
from attnlab.analysis.verdicts.budget import Piece
from attnlab.papers.lab.conditions import that
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.rala_low_rank.paper import paper
from attnlab.simulators.low_rank.augmentation import VARIANTS, Setting, matrix_ranks, token_ranks


@paper.claim(
    "effective_rank_gap",
    source="Section 3, Figure on feature ranks",
    statements=[1],
    parts=2,
    covers={
        "key_dims": that(
            lambda widths: max(widths) >= 8, "some width of 8 or more", "narrow heads are of full effective rank"
        )
    },
    formula="effective rank of softmax outputs > 2 x that of linear outputs, at d_k = d_v = d",
    assumptions=["independent Gaussian queries, keys and values", "widths 8 and above"],
    judged="log ratio of effective ranks above log 2 at every width, mean over replicas; matrix and output",
)
def effective_rank_gap(setting: Setting, lab: Lab) -> Verdict:
    """At equal exact rank, outputs and matrices of linear attention have less than half the effective rank of softmax's.

    A positive feature map makes rows nearly equal: the mean direction dominates. Twin: it is all there is, linear attention has
    effective rank one.
    """
    runs = lab.simulate(matrix_ranks, setting)
    wide = np.array(setting.key_dims) >= 8
    parts = []
    for what in ("matrix", "output"):
        linear, softmax = (np.log(runs[f"{kind}_{what}"][:, wide]) for kind in ("linear", "softmax"))
        parts.append(
            ordered(
                np.zeros(runs.n),
                (softmax - linear).min(-1),
                by=np.log(2),
                twin=Twin.of("effective rank one", smaller=softmax.min(-1) - np.log(2)),
            ).named(what)
        )
    return all_of(*parts)


@paper.claim(
    "gate_raises_rank",
    source="Section 3.3, augmentation of the output",
    statements=[3],
    formula="effective rank of Y * phi(X) > 2 x that of Y",
    assumptions=["untrained maps", "tokens with a common mean, spreads 3 to 0.1"],
    judged="every replica: log ratio of effective ranks above log 2 at every spread",
)
def gate_raises_rank(setting: Setting, lab: Lab) -> Verdict:
    """The gate lifts the effective rank of a linear output by more than a factor of two.

    Twin: up to the effective rank of the gate itself.
    """
    runs = lab.simulate(token_ranks, setting)
    linear, gated = (np.log(runs["effective"][..., VARIANTS.index(name)]) for name in ("linear", "gated"))
    return ordered(
        np.zeros(runs.n),
        (gated - linear).min(-1),
        by=np.log(2),
        of="every replica",
        twin=Twin.of("up to the gate's own", smaller=(np.log(runs["gate"]) - linear).min(-1) - np.log(2)),
    )


@paper.claim(
    "weights_concentrate",
    source="not in the paper; Section 3.2 before training",
    statements=[2],
    kind="extrapolation",
    formula="effective rank of the weighted buffer < that of the plain one, random weights, spread 3",
    assumptions=["untrained maps", "tokens with a common mean and spread 3"],
    covers={
        "spreads": that(
            lambda spreads: max(spreads) >= 1, "some spread of 1 or more", "tokens that are alike get even weights"
        )
    },
    judged="every replica",
    note="What weighting gains must come from training.",
)
def weights_concentrate(setting: Setting, lab: Lab) -> Verdict:
    """Without training the weights lower the buffer's effective rank: they concentrate on few keys.

    Twin: on a single key, to effective rank one.
    """
    runs = lab.simulate(token_ranks, setting)
    plain, weighted = np.log(runs["buffer"][:, int(np.argmax(setting.spreads))].T)
    return ordered(weighted, plain, of="every replica", twin=Twin.of("to rank one", larger=np.zeros(runs.n)))


#: Spreads over replicas at nu = 0.1, of the ratio of effective ranks and of the ungated one: 32 replicas at seed 1, desk.
SPREAD_OF_RATIO, SPREAD_OF_PLAIN = 8e-5, 2e-4


@paper.claim(
    "gate_rank",
    source="not in the paper",
    statements=[3],
    kind="extrapolation",
    parts=2,
    reads=("spreads",),
    covers={
        "spreads": that(
            lambda spreads: min(spreads) <= 0.1, "some spread of 0.1 or less", "attention is even for tokens alike"
        )
    },
    formula="Y * phi(X) has the effective rank of phi(X) diag(mean value) as attention becomes even",
    assumptions=["untrained maps", "least spread nu = 0.1"],
    judged="at the least spread the ratio is 1 and the ungated effective rank is 1, both within the unevenness nu^2 "
    "(weights times values; for an entropy nu^2 (1 + ln nu^-2)) and replicas",
)
def gate_rank(setting: Setting, lab: Lab) -> Verdict:
    """The rank of a gated output is the gate's own: the same as if attention only averaged the values.

    Twins: the effective rank of the gate itself; that of the ungated output at the largest spread.
    """
    runs = lab.simulate(token_ranks, setting)
    least, most, nu = int(np.argmin(setting.spreads)), int(np.argmax(setting.spreads)), min(setting.spreads)
    gated = runs["effective"][:, least, VARIANTS.index("gated")]
    same = agrees(
        gated / runs["uniform_gated"][:, least],
        1.0,
        within=budget(finite_size(1 / nu, power=2, of="1/nu"), of_replicas(SPREAD_OF_RATIO, len(gated))),
        twin=Twin.of("rank of the gate", measured=gated / runs["gate"][:, least]),
    )
    plain = runs["effective"][..., VARIANTS.index("linear")]
    alone = agrees(
        plain[:, least],
        1.0,
        within=budget(Piece("unevenness", nu**2 * (1 - 2 * np.log(nu))), of_replicas(SPREAD_OF_PLAIN, len(plain))),
        twin=Twin.of("at the largest spread", measured=plain[:, most]),
    )
    return all_of(same.named("gated"), alone.named("plain"))
