"""Claims on whole attention: cost counted and weighed, causal sums, errors of outputs, signs of row sums."""

from __future__ import annotations

import math

import numpy as np

from attnlab.analysis import Twin, Verdict, agrees, all_of, budget, exponent, finite_size, identical, relative, replicas
from attnlab.kernels.operators.operator import Sizes
from attnlab.papers.lab.conditions import that
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.performers.paper import COSTS, MEMORY, OUTPUTS, SIGNS, paper
from attnlab.simulators.positive_features.attention import ATTENTION_KINDS, AttentionSetting, given, outputs
from attnlab.simulators.positive_features.cost import CostSetting, MemorySetting, causal, counts, memory
from attnlab.theory.positive_features import attention_error as theory
from attnlab.theory.positive_features.performer import crossover_length, multiply_adds

ONE = {"numbers_of_features": that(lambda m: len(m) == 1, "one number", "the claim has as many parts")}


@paper.claim(
    "linear_cost",
    source="section 2.2",
    statements=[8],
    parts=2,
    setting=COSTS,
    formula="2 n m d + 2 n m (d_v + 1) multiply-adds, less than softmax's from n = 2 m (d + d_v + 1) / (d + d_v) on",
    judged="counted by torch on the running operator, equal in every cell; the least length at which softmax costs more, "
    "found by counting",
    reads=("cells",),
)
def linear_cost(setting: CostSetting, lab: Lab) -> Verdict:
    """The cost is linear in the length and below softmax's from about two lengths per feature on. Twins: no row sums; 2 m."""
    runs = lab.simulate(counts, setting)
    law = np.array([[multiply_adds(Sizes(n=n, d=d, d_v=v), n_features=m) for n, d, v, m in setting.cells]])
    bare = np.array([[2 * n * m * (d + v) for n, d, v, m in setting.cells]])
    cost = identical(runs["features"][:1], law, twin=Twin.of("no row sums", b=bare))
    first = np.array([[math.floor(crossover_length(d, v, m)) + 1 for n, d, v, m in setting.cells]])
    rival = np.array([[2 * m + 1 for n, d, v, m in setting.cells]])
    crossing = identical(runs["crossover"][:1], first, twin=Twin.of("n = 2 m", b=rival))
    return all_of(cost.named("count"), crossing.named("crossover"))


@paper.claim(
    "linear_memory",
    source="section 2.2",
    statements=[8],
    setting=MEMORY,
    formula="the most memory that lives at once grows like L",
    judged="bytes of all living tensors during one call, after every operation: slopes between neighbouring lengths; what does "
    "not grow, m (2 d + 3) numbers at most, is a share (2 d + 3) / L of the least, m L",
    reads=("lengths", "dim"),
)
def linear_memory(setting: MemorySetting, lab: Lab) -> Verdict:
    """Memory grows linearly with the length. Twin: like L log L (the slope at the middle of the window)."""
    runs = lab.simulate(memory, setting)
    lengths = np.array(setting.lengths, dtype=float)
    middle = float(np.exp(np.log(lengths).mean()))
    within = budget(finite_size(lengths.min(), 2 * setting.dim + 3, of="L"))
    return exponent(lengths, runs["peak"][0], 1.0, within=within, bend=float(within), twin=1 + 1 / math.log(middle))


@paper.claim(
    "prefix_sums",
    source="section 2.2, unidirectional attention",
    statements=[8],
    kind="construction",
    setting=COSTS,
    formula="causal outputs from running sums of phi(k_j) v_j^T and phi(k_j)",
    judged="against all pairs, within 64 n roundings of the outputs' size",
)
def prefix_sums(setting: CostSetting, lab: Lab) -> Verdict:
    """Running sums give causal attention exactly. Twin: sums that end before the current token."""
    runs = lab.simulate(causal, setting)
    return identical(
        runs["state"],
        runs["pairs"],
        rounding=64 * setting.cells[0][0],
        twin=Twin.of("one token behind", b=runs["behind"]),
    )


@paper.claim(
    "errors_of_outputs",
    source="figure 4; the law is derived here",
    statements=[2],
    kind="extrapolation",
    parts=2,
    setting=OUTPUTS,
    formula="E|o' - o|^2 = 1/m sum p_j p_l c_jl (v_j - o) . (v_l - o); c = e^(a_j . a_l) - 1 or cosh(b_j . b_l) - 1",
    judged="mean over replicas of the squared error of all outputs; margin: the spread of a Gaussian vector with the predicted "
    "covariance, and three relative variances of a row sum for the next order",
    reads=("n_queries", "n_keys", "dim", "n_values", "spread", "numbers_of_features", "data"),
    covers=ONE,
)
def errors_of_outputs(setting: AttentionSetting, lab: Lab) -> Verdict:
    """The error of an attention output is known from covariances of pairs of keys, to first order in 1/m.

    Twin: keys that err independently.
    """
    runs = lab.simulate(outputs, setting)
    q, k, v = given(setting)
    of, m = f"mean over replicas of {setting.n_draws} draws", setting.numbers_of_features[0]
    parts = []
    for row, kind in enumerate(ATTENTION_KINDS):
        covariance = theory.output_covariance_approx(q, k, v, kind, m)
        law, std = float(np.trace(covariance)), math.sqrt(2 * float((covariance**2).sum()) / setting.n_draws)
        next_order = 3 * float(theory.normaliser_variance(q, k, kind, m).max())
        parts.append(
            agrees(
                runs["error"][:, row, 0],
                law,
                within=budget(replicas(std, runs.n, of=of), relative(next_order, law, "next order in 1/m")),
                of=of,
                twin=Twin.of("independent keys", predicted=theory.output_error_of_independent_keys(q, k, v, kind, m)),
            ).named(kind)
        )
    return all_of(*parts)


@paper.claim(
    "signs_of_row_sums",
    source="section 2.3",
    statements=[3],
    parts=2,
    setting=SIGNS,
    formula="no row sum of positive features is negative; of trigonometric ones Phi(-t) - gamma (t^2 - 1) phi(t) / (6 sqrt m)",
    judged="shares over draws and queries; margin: the spread of a share, and 0.034/m for the next term (a "
    "cosine of uniform phase "
    "has excess kurtosis -3/2)",
    reads=("n_queries", "n_keys", "dim", "spread", "numbers_of_features", "data"),
    covers=ONE,
)
def signs_of_row_sums(setting: AttentionSetting, lab: Lab) -> Verdict:
    """Trigonometric features give a known share of row sums the wrong sign, positive ones none.

    Twins: the share of a fifth fewer projections; those of trigonometric features.
    """
    runs = lab.simulate(outputs, setting)
    q, k, _ = given(setting)
    of, m = f"mean over replicas of {setting.n_draws} draws", setting.numbers_of_features[0]
    law = float(theory.negative_row_sums_approx(q, k, m).mean())
    waves = agrees(
        runs["negative"][:, 0, 0],
        law,
        within=budget(
            replicas(math.sqrt(law * (1 - law) / setting.n_draws), runs.n, of=of), finite_size(m, 0.034, of="m")
        ),
        of=of,
        twin=Twin.of("a fifth fewer", predicted=float(theory.negative_row_sums_approx(q, k, 4 * m // 5).mean())),
    )
    none = identical(
        runs["negative"][:, 1, 0],
        np.zeros(runs.n),
        twin=Twin.of("those of trigonometric features", a=runs["negative"][:, 0, 0]),
    )
    return all_of(waves.named("trigonometric"), none.named("positive"))
