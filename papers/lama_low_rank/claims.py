"""Claims on pooling with rank-one scores: identities, ranks, counts, errors of truncation, bounds on weights, selection."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from attnlab.analysis import Twin, Vector, Verdict, agrees, all_of, bounded, exhaustive, follows, for_all, identical
from attnlab.analysis.theorems.statement.claim import Claim as ForAll
from attnlab.papers.lab.declare import Scales
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.lama_low_rank.paper import COUNTS, paper
from attnlab.simulators.ensemble.setting import checked, require_positive
from attnlab.simulators.low_rank.counts import CountSetting, count
from attnlab.simulators.low_rank.pooling import (
    PoolingSetting,
    RankErrorSetting,
    SelectionSetting,
    random_pooling,
    rank_error,
    selection,
)
from attnlab.theory.costs import linear_and_pooling as cost
from attnlab.theory.low_rank import pooling as theory


@paper.claim(
    "rank_one_identity",
    source="Section 3, factorised bilinear score",
    statements=[2, 3],
    formula="c^T (sum_j u_j v_j^T) h = sum_j (u_j^T c)(v_j^T h)",
    judged="equal within 2 d + rank roundings of the sum of absolute products, float64",
)
def rank_one_identity(setting: PoolingSetting, lab: Lab) -> Verdict:
    """A factorised bilinear score is a sum-pooled Hadamard product of two projections.

    Twin: the additive score, the sum of the two projections.
    """
    runs = lab.simulate(random_pooling, setting)
    scale = runs["size"]
    return identical(
        runs["hadamard"],
        runs["bilinear"],
        rounding=2 * setting.dim + setting.rank,
        scale=scale,
        twin=Twin.of("additive score", b=runs["additive"]),
    )


@paper.claim(
    "fixed_direction",
    source="consequence of the factorisation",
    statements=[3],
    formula="gradient of (p^T c)(q^T h) in h is parallel to q for every c",
    judged="|cosine| of the gradients in two contexts is 1 within 1e-10; at rank 3 it is not",
)
def fixed_direction(setting: PoolingSetting, lab: Lab) -> Verdict:
    """A rank-one head attends along one direction whatever the context is; only sign and sharpness depend on it.

    Twin: a head of higher rank, whose direction turns.
    """
    runs = lab.simulate(random_pooling, setting)
    return agrees(
        runs["direction"],
        1.0,
        within=1e-10,
        of="every replica",
        twin=Twin.of(f"rank {setting.rank}", measured=runs["free_direction"]),
    )


@paper.claim(
    "weight_rank",
    source="Section 3, structured embedding",
    statements=[3],
    parts=2,
    formula="rank A = min(m, T), rank A H = min(m, d, T)",
    judged="ranks at tolerance 1e-10, equal in every replica",
)
def weight_rank(setting: PoolingSetting, lab: Lab) -> Verdict:
    """Weights of m heads have rank m (if T allows), and so have the pooled states.

    Twin: heads that share one matrix have one rank less (their weights sum to a constant).
    """
    runs = lab.simulate(random_pooling, setting)
    d, m, T = setting.dim, setting.n_heads, setting.n_tokens
    parts = [
        identical(runs[name].astype(np.int64), np.full(runs.n, law), twin=np.full(runs.n, law - 1)).named(name)
        for name, law in (("rank", min(m, T)), ("pooled_rank", min(m, d, T)))
    ]
    return all_of(*parts)


@paper.claim(
    "fewer_parameters",
    source="Section 3, comparison of parameters",
    statements=[1, 2],
    setting=COUNTS,
    parts=5,
    assumptions=["hidden width a of additive pooling above 2 d m / (d + m)", "fewer than 2 d + 2 heads"],
    formula="2 d m (compact), m d^2 (bilinear), a d + m a (additive), 4 d^2 + 4 d (self-attention)",
    judged="counts of torch modules equal the formulas exactly, and the compact count is the least in every cell",
    note="Published accuracies need the published data and are not judged.",
)
def fewer_parameters(setting: CountSetting, lab: Lab) -> Verdict:
    """Compact pooling has 2 d m parameters, fewer than bilinear and additive pooling and than self-attention.

    Twins: one projection only; for self-attention, no biases; for additive pooling, no outer map.
    """
    runs = lab.simulate(count, setting)
    twins = {
        "compact": lambda d, m, a: d * m,
        "bilinear": lambda d, m, a: d * d,
        "additive": lambda d, m, a: a * d,
        "transformer": lambda d, m, a: 4 * d * d,
    }
    parts = []
    for kind, twin in twins.items():
        law = [cost.pooling_parameters(kind, d, m, hidden=a) for d, m, _, a in setting.pooling]
        parts.append(
            identical(
                runs[f"{kind}_parameters"],
                np.tile(law, (runs.n, 1)),
                twin=np.tile([twin(d, m, a) for d, m, _, a in setting.pooling], (runs.n, 1)),
            ).named(kind)
        )
    cells = [(kind, index) for kind in ("bilinear", "additive", "transformer") for index in range(len(setting.pooling))]

    def fewer(case):
        kind, index = case
        return bool(runs["compact_parameters"][0, index] < runs[f"{kind}_parameters"][0, index])

    order = exhaustive(cells, fewer, twin=Twin.of("more", check=lambda case: not fewer(case)))
    return all_of(*parts, order.named("least"))


@paper.claim(
    "fewer_operations",
    source="Section 3, comparison of operations",
    statements=[1, 2],
    setting=COUNTS,
    parts=3,
    formula="d m + 2 T d m (compact), T d a + T a m + T m d (additive), 4 T d^2 + 2 T^2 d (self-attention)",
    judged="multiply-accumulates counted in running modules equal the formulas exactly",
)
def fewer_operations(setting: CountSetting, lab: Lab) -> Verdict:
    """Compact pooling takes d m + 2 T d m multiply-accumulates, which is linear in T, where self-attention is quadratic.

    Twins: a free context; additive pooling without its pooling; self-attention without its projections.
    """
    runs = lab.simulate(count, setting)
    twins = {
        "compact": lambda T, d, m, a: 2 * T * d * m,
        "additive": lambda T, d, m, a: T * a * (d + m),
        "transformer": lambda T, d, m, a: 2 * T * T * d,
    }
    parts = []
    for kind, twin in twins.items():
        law = [cost.pooling_macs(kind, T, d, m, hidden=a) for d, m, T, a in setting.pooling]
        parts.append(
            identical(
                runs[f"{kind}_macs"],
                np.tile(law, (runs.n, 1)),
                twin=np.tile([twin(T, d, m, a) for d, m, T, a in setting.pooling], (runs.n, 1)),
            ).named(kind)
        )
    return all_of(*parts)


ERRORS = Scales(smoke=RankErrorSetting(dim=64, n_replicas=32), desk=RankErrorSetting(), paper=RankErrorSetting(dim=512))


@paper.claim(
    "rank_error",
    source="quarter-circle law of singular values",
    statements=[3],
    setting=ERRORS,
    formula="error(k) = (1/pi) int_0^x0 s^2 sqrt(4 - s^2) ds with (1/pi) int_x0^2 sqrt(4 - s^2) ds = k / d",
    judged="mean over matrices within 1 / d of the limit at every k: linear statistics of a Wishart matrix deviate "
    "by O(1 / d)",
)
def rank_k_error(setting: RankErrorSetting, lab: Lab) -> Verdict:
    """The share of a Gaussian bilinear form that rank k misses follows the quarter-circle law.

    Twin: (1 - k / d)^4, which agrees in value and slope at k = 0 and at k = d.
    """
    runs = lab.simulate(rank_error, setting)
    ratio = np.arange(setting.dim + 1) / setting.dim
    return follows(
        runs["error"],
        theory.gaussian_rank_error_limit(ratio),
        within=1 / setting.dim,
        of="mean trajectory",
        times=ratio,
        twin=Twin.of("(1 - k / d)^4", predicted=(1 - ratio) ** 4),
    )


@dataclass(frozen=True)
class BoundSetting:
    """Sizes of the for-all claim: ``dim`` is T, the number of states; ``n_heads`` heads."""

    dim: int = 8
    n_heads: int = 3
    budget: int = 100_000
    n_replicas: int = 8

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "dim", "n_heads", "budget", "n_replicas")


BOUND = Scales(
    smoke=BoundSetting(dim=4, budget=50_000), desk=BoundSetting(), paper=BoundSetting(dim=32, budget=1_000_000)
)


def _first_weight(x, T, m):
    """Weight of the first state in the first head, scores tanh and then of unit norm over heads; x has m T entries."""
    e = torch.tanh(x.reshape(m, T))
    e = e / (e * e).sum(0, keepdim=True).sqrt()
    return e.softmax(-1)[0, 0]


@paper.for_all(
    "flat_weights",
    source="consequence of bounded scores",
    statements=[3],
    setting=BOUND,
    formula="largest weight <= 1 / (1 + (T - 1) e^{-2})",
    judged="searched over all scores of all heads",
)
def flat_weights(setting: BoundSetting) -> dict[str, ForAll]:
    """Scores that are bounded by one can give no state a weight above 1 / (1 + (T - 1) e^-2), for any number of heads."""
    T, m = setting.dim, setting.n_heads
    bound = float(theory.largest_weight_bound(T))
    rival = 1 / (1 + (T - 1) * np.exp(-1.9))
    return {
        "searched": for_all(x=Vector(m * T, -4, 4)).bound(
            lambda x: _first_weight(x, T, m),
            at_most=bound,
            assuming={"no state has all scores zero": lambda x: x.reshape(m, T).square().sum(0) > 0},
            twin=Twin.of("ratio e^1.9", at_most=rival),
        )
    }


SELECT = SelectionSetting(n_tokens=50, n_steps=2_000)
SELECTING = Scales(
    smoke=replace(SELECT, n_tokens=20, n_steps=1_000, n_replicas=8),
    desk=SELECT,
    paper=replace(SELECT, n_tokens=500, n_steps=20_000),
)


@paper.claim(
    "one_head_cannot_select",
    source="consequence of bounded scores; not in the paper",
    statements=[3],
    setting=SELECTING,
    formula="accuracy <= Phi(e^2 / sqrt(T - 1)) for one head with scores in [-1, 1]",
    assumptions=["scores do not read the values", "values of unmarked states N(0, 1)"],
    judged="no trained replica above the bound (slack 1e-9 for rounding)",
)
def one_head_cannot_select(setting: SelectionSetting, lab: Lab) -> Verdict:
    """One head with bounded scores cannot read a single marked state out of many: no training beats the bound.

    Twin: scores of one sign, in [0, 1], whose bound Phi(e / sqrt(T - 1)) trained heads exceed.
    """
    runs = lab.simulate(selection, replace(setting, n_heads=1, bound="tanh"))
    one_sign = float(theory.ndtr(np.e / np.sqrt(setting.n_tokens - 1)))
    return bounded(
        runs["accuracy"],
        float(theory.selection_accuracy_bound(setting.n_tokens)),
        within=1e-9,
        of="every replica",
        twin=Twin.of("scores in [0, 1]", bound=one_sign),
    )


@paper.claim(
    "two_heads_select",
    source="not in the paper; corrects the reading that flat weights cannot select",
    statements=[3],
    setting=SELECTING,
    parts=2,
    formula="a_1 / r_1 - a_2 / r_2 vanishes on all states but the marked one: accuracy 1 for every T",
    judged="the construction selects exactly, within 8 T roundings; the median trained replica is nearer to 1 than to "
    "the bound of one head",
)
def two_heads_select(setting: SelectionSetting, lab: Lab) -> Verdict:
    """Two heads with bounded, normalised scores select one state among any number, by their difference; training finds it.

    Twins: one head of the two; the bound of one head.
    """
    T = setting.n_tokens
    scores, readout = theory.two_head_selection(T)
    weights = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    exact = identical(
        readout @ weights,
        np.eye(T)[0],
        rounding=8 * T,
        scale=np.abs(readout).max(),
        twin=Twin.of("first head", a=weights[0] / weights[0, 0]),
    )
    runs = lab.simulate(selection, replace(setting, n_heads=2, bound="l2"))
    bound = float(theory.selection_accuracy_bound(T))
    trained = agrees(
        runs["accuracy"],
        1.0,
        within=(1 - bound) / 2,
        of="median over replicas",
        twin=Twin.of("one head", predicted=bound),
    )
    return all_of(exact.named("construction"), trained.named("trained"))
