"""Claims on single weights: collisions, entries' variances, exponentials, slopes and their surrogate, buckets and cost."""

from __future__ import annotations

import math

import numpy as np
import torch

from attnlab.analysis import Twin, Verdict, agrees, all_of, budget, exponent, finite_size, for_all, identical, replicas
from attnlab.analysis.theorems.statement.domains import Real
from attnlab.kernels.operators.operator import Sizes
from attnlab.papers.lab.conditions import that
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.yoso.paper import NEAR, PAIRS, SEARCHES, SLOPES, TABLES, SearchSetting, paper
from attnlab.simulators.hashing.draws import PairSetting, pairs
from attnlab.simulators.hashing.slopes import SlopeSetting, slopes
from attnlab.simulators.hashing.tables import TableSetting, against_pairs, counts
from attnlab.theory.hashing import bernoulli as theory
from attnlab.theory.hashing.yoso import collision, published_multiply_adds

FOUR = {"angles": that(lambda a: len(a) == 4, "four angles", "the claim has as many parts")}


@paper.claim(
    "collision_probability",
    source="equation 3",
    statements=[1],
    parts=4,
    setting=PAIRS,
    formula="P(same hash) = (1 - theta/pi)^tau",
    judged="mean over replicas of the share of hashes in which two unit vectors meet, at four angles; the spread is that of a "
    "Bernoulli number",
    reads=("angles", "n_bits", "n_hashes"),
    covers=FOUR,
)
def collision_probability(setting: PairSetting, lab: Lab) -> Verdict:
    """Two unit vectors share a hash with the stated probability. Twin: e^(tau (q . k - 1))."""
    runs = lab.simulate(pairs, setting)
    of, n = f"mean over replicas of {setting.n_draws} draws", setting.n_draws * setting.n_hashes
    parts = []
    for k, angle in enumerate(setting.angles):
        W = float(collision(angle, setting.n_bits))
        parts.append(
            agrees(
                runs["mean"][:, k],
                W,
                within=budget(replicas(math.sqrt(W * (1 - W) / n), runs.n, of=of)),
                of=of,
                twin=Twin.of("exponential", predicted=math.exp(setting.n_bits * (math.cos(angle) - 1))),
            ).named(f"theta = {angle:g}")
        )
    return all_of(*parts)


@paper.claim(
    "variance_of_an_entry",
    source="section 3",
    statements=[4],
    parts=4,
    setting=PAIRS,
    formula="Var = W (1 - W) / m",
    judged="mean over replicas of the variance over draws, at four angles; its spread from the fourth "
    "moment of a binomial number",
    reads=("angles", "n_bits", "n_hashes"),
    covers=FOUR,
)
def variance_of_an_entry(setting: PairSetting, lab: Lab) -> Verdict:
    """An entry varies by W (1 - W) / m, little for near keys and for far ones. Twin: W / m, that of a Poisson number."""
    runs = lab.simulate(pairs, setting)
    of, m, n = f"mean over replicas of {setting.n_draws} draws", setting.n_hashes, setting.n_draws
    parts = []
    for k, angle in enumerate(setting.angles):
        W = float(collision(angle, setting.n_bits))
        law = W * (1 - W) / m
        fourth = law**2 * (3 + (1 - 6 * W * (1 - W)) / (m * W * (1 - W)))  # kurtosis of a binomial number
        parts.append(
            agrees(
                runs["variance"][:, k],
                law,
                within=budget(replicas(math.sqrt((fourth - law**2) / n), runs.n, of=of)),
                of=of,
                twin=Twin.of("W / m", predicted=W / m),
            ).named(f"theta = {angle:g}")
        )
    return all_of(*parts)


@paper.claim(
    "weights_against_exponentials",
    source="figure 1; derived here",
    statements=[1],
    kind="extrapolation",
    parts=2,
    setting=SLOPES,
    formula="W > e^(tau (q . k - 1)) exactly for -0.889 < q . k < 0.720, the same for every tau",
    judged="sign of W - e^(tau (q . k - 1)) on weights computed at all values and numbers of bits, and on grids of step 5e-5 "
    "about both ends",
    reads=("inners", "bits"),
)
def weights_against_exponentials(setting: SlopeSetting, lab: Lab) -> Verdict:
    """The weight exceeds the exponential between two values of q . k that do not depend on tau, and nowhere else.

    Twins: between -1 and 0.720; between -0.889 and 0.73.
    """
    low, high = theory.exponential_crossings()
    ends = (np.linspace(middle - 0.01, middle + 0.01, 401).round(6).tolist() for middle in (-0.89, 0.72))
    inners = tuple(sorted({*setting.inners, *(x for end in ends for x in end), -0.95}))
    runs = lab.simulate(slopes, SlopeSetting(inners, setting.bits, setting.n_replicas))
    x = np.array(inners)
    above = runs["weight"][0] > np.exp(np.array(setting.bits)[:, None] * (x - 1))
    inside = np.broadcast_to((x > low) & (x < high), above.shape)
    return all_of(
        identical(above, inside, twin=Twin.of("from -1 on", b=np.broadcast_to(x < high, above.shape))).named("low end"),
        identical(
            above, inside, twin=Twin.of("up to 0.73", b=np.broadcast_to((x > low) & (x < 0.73), above.shape))
        ).named("high end"),
    )


@paper.claim(
    "slope_of_the_weight",
    source="section 3, backward pass",
    statements=[5],
    setting=SLOPES,
    formula="dW / d(q . k) = tau (1 - theta/pi)^(tau - 1) / (pi sin theta)",
    judged="against automatic differentiation of the weight, within 64 tau roundings",
    reads=("inners", "bits"),
)
def slope_of_the_weight(setting: SlopeSetting, lab: Lab) -> Verdict:
    """The slope of a weight in q . k is the stated one. Twin: with the power tau."""
    runs = lab.simulate(slopes, setting)
    law = np.array([theory.weight_slope_exact(setting.inners, bits) for bits in setting.bits])[None]
    rival = law * (1 - np.arccos(setting.inners) / math.pi)
    return identical(
        runs["slope"][:1], law, rounding=64 * max(setting.bits), scale=law, twin=Twin.of("power tau", b=rival)
    )


@paper.claim(
    "slope_diverges",
    source="section 3, backward pass",
    statements=[5],
    setting=NEAR,
    formula="dW / d(q . k) ~ tau / (pi sqrt(2 (1 - q . k))) as q . k -> 1",
    judged="local slopes of the logarithms between 1 - q . k = 1e-5 and 1e-8; the next term is (tau - "
    "1) sqrt(2 (1 - q . k)) / pi",
    reads=("inners", "bits"),
    covers={"bits": that(lambda b: len(b) == 1, "one", "one curve is judged")},
)
def slope_diverges(setting: SlopeSetting, lab: Lab) -> Verdict:
    """The slope of a weight grows without bound as a key comes near the query, like an inverse square root. Twin: bounded."""
    runs = lab.simulate(slopes, setting)
    apart = 1 - np.array(setting.inners)
    next_order = (setting.bits[0] - 1) * math.sqrt(2 * apart.max()) / math.pi
    return exponent(apart, runs["slope"][0, 0], -0.5, within=budget(finite_size(1, next_order, of="sqrt")), twin=0.0)


@paper.for_all(
    "surrogate_is_below",
    source="section 3, backward pass",
    statements=[5],
    setting=SEARCHES,
    formula="(tau/2) W <= dW / d(q . k), that is (pi - theta) sin theta <= 2",
)
def surrogate_is_below(setting: SearchSetting):
    """The surrogate lies below the slope at every angle and number of bits. Twin: (tau / 1.8) W."""
    return {
        "searched": for_all(t=Real(0.0, math.pi)).bound(
            lambda t: (math.pi - t) * torch.sin(t), at_most=2.0, twin=Twin.of("tau / 1.8", at_most=1.8)
        )
    }


@paper.claim(
    "largest_surrogate",
    source="sharpens section 3; derived here",
    statements=[5],
    kind="extrapolation",
    parts=2,
    setting=SLOPES,
    formula="min of slope / (tau W) = 1 / max phi sin phi = 0.54954, at q . k = 0.4421, for every tau",
    judged="the least over 2001 values of q . k about the predicted one, on slopes from automatic "
    "differentiation, for all bits; the "
    "grid leaves a second-order error below 1e-6, and its step for the place",
    reads=("bits",),
)
def largest_surrogate(setting: SlopeSetting, lab: Lab) -> Verdict:
    """No constant above 0.54954 keeps the surrogate below the slope, for any number of bits. Twins: 0.55; a place 1 % off."""
    best, where = theory.largest_surrogate_constant()
    grid = np.linspace(0.2, 0.7, 2001)
    runs = lab.simulate(slopes, SlopeSetting(tuple(grid.tolist()), setting.bits, setting.n_replicas))
    ratio = runs["slope"][0] / (np.array(setting.bits)[:, None] * runs["weight"][0])
    least = agrees(
        ratio.min(1), best, within=1e-6, of="every replica", unit="number of bits", twin=Twin.of("0.55", predicted=0.55)
    )
    place = agrees(
        grid[ratio.argmin(1)],
        where,
        within=1.01 * (grid[1] - grid[0]),
        of="every replica",
        unit="number of bits",
        twin=Twin.of("1 % off", predicted=1.01 * where),
    )
    return all_of(least.named("constant"), place.named("place"))


@paper.claim(
    "buckets_are_collisions",
    source="algorithm 1",
    statements=[2],
    kind="construction",
    setting=TABLES,
    formula="H[f(k_j)] += v_j, output H[f(q_i)]: the matrix of all collisions times V",
    judged="outputs by buckets against the operator's explicit pairs, within 4 n roundings",
)
def buckets_are_collisions(setting: TableSetting, lab: Lab) -> Verdict:
    """Buckets of summed values give all collisions of a hash at once. Twin: hashes of one bit less."""
    runs = lab.simulate(against_pairs, setting)
    return identical(
        runs["buckets"],
        runs["pairs"],
        rounding=4 * setting.cells[0][0],
        twin=Twin.of("one bit less", b=runs["coarser"]),
    )


@paper.claim(
    "linear_cost",
    source="section 3.3",
    statements=[3],
    parts=2,
    setting=TABLES,
    formula="2 n m tau d multiply-adds for hashes, 2 n m d_v additions to and from tables, none quadratic in n",
    judged="multiply-adds counted by torch, additions counted where they are made; equal in every cell",
    reads=("cells",),
)
def linear_cost(setting: TableSetting, lab: Lab) -> Verdict:
    """The cost of hashed attention is linear in the length. Twins: hashes for the queries only; a sum for the keys only."""
    runs = lab.simulate(counts, setting)
    products = np.array(
        [
            [
                published_multiply_adds(Sizes(n=n, d=d, d_v=v), n_hashes=m, n_bits=bits)
                for n, d, v, bits, m in setting.cells
            ]
        ]
    )
    sums = np.array([[2 * n * m * v for n, d, v, bits, m in setting.cells]])
    return all_of(
        identical(runs["multiply_adds"][:1], products, twin=Twin.of("queries only", b=products // 2)).named("hashes"),
        identical(runs["additions"][:1], sums, twin=Twin.of("keys only", b=sums // 2)).named("sums"),
    )
