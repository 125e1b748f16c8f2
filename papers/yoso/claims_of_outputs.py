"""Claims on outputs: mean, exact variance, covariance between queries, fall with the hashes, norm, sampled gradients."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from attnlab.analysis import Twin, Verdict, agrees, all_of, budget, exponent, relative, replicas
from attnlab.papers.lab.conditions import at_least, one_of, that
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.yoso.paper import BITS, FALLS, MANY, NORMALISED, OUTPUTS, paper
from attnlab.simulators.hashing.draws import HashSetting, given, outputs
from attnlab.theory.hashing import bernoulli as theory
from attnlab.theory.hashing.yoso import collision

#: Spread of one squared deviation of an output from its mean, summed over coordinates, relative to the variance: 200 replicas of
#: 4000 draws of np.random.SeedSequence(77), at 1, 4 and 8 bits, with this data.
SPREAD_OF_A_SQUARE = {1: 0.706, 4: 0.955, 8: 1.737}
SINGLE = {"n_hashes": one_of(1), "n_bits": one_of(4, why="the claim is judged at 1, 4 and 8 bits")}
READS = ("n_keys", "n_queries", "dim", "n_values", "value_mean", "data")


def weights(setting: HashSetting) -> np.ndarray:
    """Expected weights (query, key)."""
    q, k, _, _ = given(setting)
    return collision(theory.angles(q, k), setting.n_bits)


def covariance(setting: HashSetting) -> np.ndarray:
    """Exact covariance of the output of query 0."""
    q, k, v, _ = given(setting)
    return theory.output_covariance_exact(q[0], k, v, setting.n_bits, setting.n_hashes)


def several(setting: HashSetting) -> list[HashSetting]:
    """The setting at each number of bits."""
    return [replace(setting, n_bits=bits) for bits in BITS]


@paper.claim(
    "unbiased_output",
    source="section 3",
    statements=[2],
    parts=3,
    setting=OUTPUTS,
    formula="E[B V] = W V",
    judged="mean over replicas of the output of query 0 along the mean of all values, at 1, 4 and 8 bits; "
    "its spread from the exact variance",
    reads=READS,
    covers=SINGLE,
)
def unbiased_output(setting: HashSetting, lab: Lab) -> Verdict:
    """Hashed outputs have the mean W V. Twin: weights e^(tau (q . k - 1))."""
    every = lab.simulate(outputs, *several(setting))
    q, k, v, _ = given(setting)
    u = v.mean(0) / np.linalg.norm(v.mean(0))
    of, parts = f"mean over replicas of {setting.n_draws} draws", []
    for at, runs in zip(several(setting), every, strict=True):
        mean = weights(at)[0] @ v
        std = math.sqrt(float(u @ covariance(at) @ u) / at.n_draws)
        rival = np.exp(at.n_bits * (k @ q[0] - 1)) @ v
        parts.append(
            agrees(
                runs["mean"][:, 0] @ u,
                float(mean @ u),
                within=budget(replicas(std, runs.n, of=of)),
                of=of,
                twin=Twin.of("exponentials", predicted=float(rival @ u)),
            ).named(f"{at.n_bits} bits")
        )
    return all_of(*parts)


@paper.claim(
    "variance_of_an_output",
    source="derived here, from the collisions of three vectors",
    statements=[4],
    kind="extrapolation",
    parts=3,
    setting=OUTPUTS,
    formula="sum_jl v_j . v_l ((1 - (theta_j + theta_l + theta_jl) / (2 pi))^tau - W_j W_l)",
    judged="variance over draws, summed over coordinates of query 0, mean over replicas at 1, 4 and 8 "
    "bits; the spread of a square is "
    "that of another seed",
    reads=READS,
    covers=SINGLE,
)
def variance_of_an_output(setting: HashSetting, lab: Lab) -> Verdict:
    """Entries of a row are dependent, and the variance of an output is known with their covariances.

    Twin: independent entries.
    """
    every = lab.simulate(outputs, *several(setting))
    v = given(setting)[2]
    of, parts = f"mean over replicas of {setting.n_draws} draws", []
    for at, runs in zip(several(setting), every, strict=True):
        law, W = float(np.trace(covariance(at))), weights(at)[0]
        std = SPREAD_OF_A_SQUARE[at.n_bits] * law / math.sqrt(at.n_draws)
        parts.append(
            agrees(
                runs["variance"][:, 0].sum(1),
                law,
                within=budget(replicas(std, runs.n, of=of)),
                of=of,
                twin=Twin.of("independent entries", predicted=float((v**2).sum(1) @ (W * (1 - W)))),
            ).named(f"{at.n_bits} bits")
        )
    return all_of(*parts)


@paper.claim(
    "queries_share_hashes",
    source="derived here, from the collisions of three vectors",
    statements=[2],
    kind="extrapolation",
    setting=OUTPUTS,
    formula="Cov(B_1j, B_2j) = (1 - (theta_1 + theta_2 + theta_12) / (2 pi))^tau - W_1 W_2",
    judged="covariance over draws of a key's collisions with two queries, at the key where it is "
    "largest, mean over replicas; its spread "
    "from the four outcomes of two Bernoulli numbers",
    reads=("n_keys", "n_queries", "dim", "n_bits", "data"),
    covers={"n_hashes": one_of(1), "n_queries": at_least(2, "two queries are compared")},
)
def queries_share_hashes(setting: HashSetting, lab: Lab) -> Verdict:
    """All queries use the same hashes, so their errors are correlated, by the law of one row. Twin: a tenth less."""
    runs = lab.simulate(outputs, setting)
    q, k, _, _ = given(setting)
    at, between = theory.angles(q, k), float(theory.angles(q[:1], q[1:2])[0, 0])
    laws = [theory.shared_hash_covariance_exact(*pair, between, setting.n_bits) for pair in at[:2].T]
    key = int(np.argmax(laws))
    law, (one, two) = laws[key], weights(setting)[:2, key]
    both = law + one * two
    outcomes = ((both, 1, 1), (one - both, 1, 0), (two - both, 0, 1), (1 - one - two + both, 0, 0))
    square = sum(p * ((a - one) * (b - two)) ** 2 for p, a, b in outcomes) - law**2
    of = f"mean over replicas of {setting.n_draws} draws"
    return agrees(
        runs["shared"][:, key],
        law,
        within=budget(replicas(math.sqrt(square / setting.n_draws), runs.n, of=of)),
        of=of,
        twin=Twin.of("a tenth less", predicted=0.9 * law),
    )


@paper.claim(
    "error_falls_with_hashes",
    source="section 3",
    statements=[4],
    setting=FALLS,
    formula="|o - W V| / |W V| ~ m^(-1/2)",
    judged="slope of the root of the variance, summed over coordinates, over the length of the mean "
    "output, for m = 8 to 128; a square "
    "spreads less than at m = 1",
    reads=(),
    covers={"n_bits": one_of(4, why="the spread of a square is known there")},
)
def error_falls_with_hashes(setting: HashSetting, lab: Lab) -> Verdict:
    """The error of an output falls like the inverse root of the number of hashes. Twin: exponent -0.45."""
    every = lab.simulate(outputs, *(replace(setting, n_hashes=m) for m in MANY))
    errors = np.stack([np.sqrt(r["variance"][:, 0].sum(1)) / np.linalg.norm(r["mean"][:, 0].mean(0)) for r in every], 1)
    u, of = np.log(MANY), f"mean over replicas of {setting.n_draws} draws"
    std = SPREAD_OF_A_SQUARE[4] / 2 / math.sqrt(setting.n_draws * float(((u - u.mean()) ** 2).sum()))
    return exponent(
        np.array(MANY, dtype=float),
        errors,
        -0.5,
        within=budget(replicas(1.2 * std, len(errors), of=of)),  # 1.2: the length of the mean errs, too
        of=of,
        twin=-0.45,
    )


@paper.claim(
    "norm_biases_the_output",
    source="section 3.4; derived here",
    statements=[6],
    kind="extrapolation",
    setting=NORMALISED,
    formula="1 - E[u . o / |o|] = (tr C - u^T C u) / (2 |W V|^2), C = covariance of the output, first order in 1/m",
    judged="mean over draws of the normalised output along the direction of the mean output; margin: "
    "the spread of a Gaussian turn, "
    "and three relative variances for the next order",
    reads=("n_bits", "n_hashes", "n_keys", "n_queries", "dim", "n_values", "value_mean", "data"),
    covers={"n_hashes": at_least(32, "the law is that of many hashes")},
)
def norm_biases_the_output(setting: HashSetting, lab: Lab) -> Verdict:
    """After the norm the estimate is biased: noise across the output shortens its mean direction. Twin: noise along it, too."""
    q, k, v, _ = given(setting)
    sizes = q[0], k, v, setting.n_bits, setting.n_hashes
    law, error2 = theory.angle_loss_approx(*sizes), theory.relative_error_exact(*sizes) ** 2
    runs = lab.simulate(outputs, setting)
    C, mean = covariance(setting), weights(setting)[0] @ v
    u = mean / np.linalg.norm(mean)
    across = (np.eye(len(u)) - np.outer(u, u)) @ C @ (np.eye(len(u)) - np.outer(u, u))
    std = math.sqrt(2 * float((across**2).sum())) / (2 * float(mean @ mean)) / math.sqrt(setting.n_draws)
    of = f"mean over replicas of {setting.n_draws} draws"
    return agrees(
        1 - runs["cosine"],
        law,
        within=budget(replicas(std, runs.n, of=of), relative(3 * error2, law, "next order in 1/m")),
        of=of,
        twin=Twin.of("noise along", predicted=float(np.trace(C)) / (2 * float(mean @ mean))),
    )


@paper.claim(
    "surrogate_gradient_is_sampled",
    source="section 3, backward pass",
    statements=[5],
    parts=3,
    setting=OUTPUTS,
    formula="E[(tau/2) [B o (dY V^T)] K] = (tau/2) [W o (dY V^T)] K",
    judged="mean over replicas of the sampled gradient of query 0 along that of weights e^(tau (q . k - 1)), at 1, 4 and 8 bits; "
    "its spread from the exact variance of a hashed sum",
    reads=READS,
    covers=SINGLE | {"n_values": that(lambda n: n >= 1, "at least 1", "the values carry the gradient")},
)
def surrogate_gradient_is_sampled(setting: HashSetting, lab: Lab) -> Verdict:
    """The surrogate gradient is the mean of one that the same hashes sample. Twin: the gradient with the true slopes."""
    every = lab.simulate(outputs, *several(setting))
    q, k, v, dY = given(setting)
    of, parts = f"mean over replicas of {setting.n_draws} draws", []
    for at, runs in zip(several(setting), every, strict=True):
        law = theory.surrogate_gradients(q, k, v, dY, at.n_bits)[0]
        rival = theory.exact_gradients(q, k, v, dY, at.n_bits)[0]
        u = (np.exp(at.n_bits * (k @ q[0] - 1)) * (v @ dY[0])) @ k
        u /= np.linalg.norm(u)
        pull = (at.n_bits / 2 * (v @ dY[0]) * (k @ u))[:, None]
        std = math.sqrt(float(theory.output_covariance_exact(q[0], k, pull, at.n_bits, 1)[0, 0]) / at.n_draws)
        parts.append(
            agrees(
                runs["gradient"][:, 0] @ u,
                float(law @ u),
                within=budget(replicas(std, runs.n, of=of)),
                of=of,
                twin=Twin.of("true slopes", predicted=float(rival @ u)),
            ).named(f"{at.n_bits} bits")
        )
    return all_of(*parts)
