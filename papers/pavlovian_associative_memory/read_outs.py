"""Claims on softmax memories: their error, the weight on the target, capacity, and the published storage theorem."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import Twin, Verdict, agrees, all_of, bounded, budget, converges
from attnlab.analysis.verdicts.budget import Piece
from attnlab.papers.lab.conditions import at_least, outside
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.pavlovian_associative_memory.paper import mean_over_pairs, noise, over, paper, scaled
from attnlab.papers.pavlovian_associative_memory.sums import REAL, SPHERICAL, STORED, hebb
from attnlab.simulators.associative_memory.recall import Setting, retrieve
from attnlab.theory.associative_memory import softmax, sums

SOFT = Setting(n_pairs=64, rule="softmax", rate=4.0, n_draws=400, n_replicas=32)


@paper.claim(
    "softmax_error",
    source="modern Hopfield read-out",
    statements=[1, 5],
    setting=scaled(SOFT),
    parts=3,
    formula="error = E[(1 - a_j)^2 + sum_{i != j} a_i^2]; E a_j >= 1/(1 + (n - 1) e^{-b} m_d(b)), with kappa_2 / (1 + x)^3 more "
    "to second order",
    judged="paired difference of both sides 0 within what replicas leave open; mean weight above the bound, and equal to its "
    "second order within the third",
    reads=("n_pairs", "dim", "rate"),
    covers={**hebb("softmax"), **SPHERICAL, **STORED, **REAL, "n_pairs": at_least(8)},
)
def softmax_error(setting: Setting, lab: Lab) -> Verdict:
    """A softmax memory errs by its weights alone, and the weight on the target is bounded below, nearly attained.

    Twins: the target's part only; the bound of a memory with a tenth less pairs; the bound itself as the weight.
    """
    n, d, b = setting.n_pairs, setting.dim, setting.rate
    least = float(softmax.target_weight_bound(n, d, b))
    weight, third = softmax.target_weight_approx(n, d, b)
    if third > 0.25 * (weight - least):
        return outside(f"n_pairs={n}, dim={d}, rate={b:g}: the third order is no small part of the second")
    runs = lab.simulate(retrieve, setting)
    both = agrees(
        mean_over_pairs(runs) - runs["weight_error"].mean(-1),
        0.0,
        within=budget(noise("softmax identity", setting, SOFT.n_draws)),
        of=over(setting),
        twin=Twin.of("target only", measured=mean_over_pairs(runs) - runs["target_error"].mean(-1)),
    )
    found = runs["target_weight"].mean(-1)
    jensen = bounded(
        found,
        least,
        side="below",
        of=over(setting),
        twin=Twin.of("a tenth less pairs", bound=float(softmax.target_weight_bound(round(0.9 * n), d, b))),
    )
    second = agrees(
        found,
        weight,
        within=budget(noise("target weight", setting, SOFT.n_draws, weight), Piece("third order", third)),
        of=over(setting),
        twin=Twin.of("a tenth less pairs", predicted=softmax.target_weight_approx(round(0.9 * n), d, b)[0]),
    )
    return all_of(both.named("identity"), jensen.named("bound"), second.named("target weight"))


NEAREST = Setting(n_pairs=200, rule="nearest", cue_noise=1.0, value_dim=1, n_draws=160, n_replicas=32)


@paper.claim(
    "nearest_key",
    source="modern Hopfield read-out, infinite inverse temperature",
    statements=[5],
    setting=scaled(NEAREST),
    formula="P(wrong) = 1 - E_s[F_d(s)^{n-1}], s the cosine between cue and key",
    judged="mean share of wrong keys within what replicas leave open",
    reads=("n_pairs", "dim", "cue_noise"),
    covers={
        **hebb("nearest"),
        **SPHERICAL,
        "cue_noise": at_least(0.1, "without noise the nearest key is the right one"),
    },
)
def nearest_key(setting: Setting, lab: Lab) -> Verdict:
    """From a noisy cue the nearest key is the right one with a probability in closed form.

    Twin: the cosine at its mean value, without fluctuation of the noise.
    """
    runs = lab.simulate(retrieve, setting)
    n, d, s = setting.n_pairs, setting.dim, setting.cue_noise
    fixed = float(1 - sums.overlap_distribution(d, 1 / np.sqrt(1 + s**2)) ** (n - 1))
    return agrees(
        1 - runs["target_weight"].mean(-1),
        softmax.nearest_key_error(n, d, s),
        within=budget(noise("nearest", setting, NEAREST.n_draws, softmax.nearest_key_error(n, d, s))),
        of=over(setting),
        twin=Twin.of("fixed cosine", predicted=fixed),
    )


WIDTHS = (4, 6, 8, 10)
HALF = Setting(rule="softmax", value_dim=1, n_draws=48, n_replicas=32)


@paper.claim(
    "exponential_capacity",
    source="modern Hopfield capacity",
    statements=[5],
    setting=scaled(HALF),
    parts=len(WIDTHS),
    formula="at n = 1 + e^b/m_d(b), b = d, the target keeps weight 1/2 + kappa_2 / 8; n = 12, 40, 136, 469",
    judged="mean weight of the target at d = 4, 6, 8, 10 within the third order and what replicas leave open",
    note="Jensen's bound is 1/2; the second order is 0.04 at d = 4 and 0.008 at d = 10.",
    covers={**hebb("softmax"), **SPHERICAL, **STORED},
)
def exponential_capacity(setting: Setting, lab: Lab) -> Verdict:
    """The number of pairs at which the target keeps half of the weight grows exponentially with the width.

    Twin: a number that is larger by a quarter.
    """
    count = [round(softmax.half_weight_pairs(d, float(d))) for d in WIDTHS]
    runs = lab.simulate(
        retrieve, *(replace(setting, dim=d, rate=float(d), n_pairs=n) for d, n in zip(WIDTHS, count, strict=True))
    )
    parts = []
    for d, n, each in zip(WIDTHS, count, runs, strict=True):
        law, third = softmax.target_weight_approx(n, d, float(d))
        rival, _ = softmax.target_weight_approx(round(n / 1.25), d, float(d))
        parts.append(
            agrees(
                each["target_weight"].mean(-1),
                law,
                within=budget(noise(f"half weight {d}", setting, HALF.n_draws), Piece("third order", third)),
                of=over(setting),
                twin=Twin.of("a capacity larger by a quarter", predicted=rival),
            ).named(f"d = {d}")
        )
    return all_of(*parts)


@paper.claim(
    "exponent_limit",
    source="modern Hopfield capacity",
    statements=[5],
    setting=scaled(HALF),
    kind="identity",
    formula="(1/d) ln(1 + e^b/m_d(b)) -> b - b t* - ln(1 - t*^2)/2 at b = d: 0.6226",
    judged="gap to the limit falls with power 1 of d within 1/50 from d = 16 to 512: the saddle point's next order is 1/d",
)
def exponent_limit(setting: Setting, lab: Lab) -> Verdict:
    """The capacity of the softmax memory grows like e^{0.6226 d} at b = d.

    Twin: gaps to a limit that is larger by 2 %.
    """
    sizes = np.array([16.0, 32, 64, 128, 256, 512])
    rates = np.array([np.log(softmax.half_weight_pairs(int(d), d)) / d for d in sizes])
    limit = softmax.capacity_exponent_limit(1.0)
    return converges(
        sizes, rates - limit, rate=1.0, within=0.02, twin=Twin.of("another limit", gaps=rates - 1.02 * limit)
    )


@paper.claim(
    "storage_theorem",
    source="Ramsauer et al. 2021, Theorem 3: c = 3.1546 (beta = 1, K = 3, d = 20, p = 0.001), 1.3719 (K = 1, d = 75)",
    statements=[5],
    setting=scaled(HALF),
    kind="anchor",
    formula="c = b / W_0(e^{a + ln b}), a = 2/(d - 1) (1 + ln(2 beta K^2 p (d - 1))), b = 2 K^2 beta/5",
    judged="both constants to their last printed digit",
)
def storage_theorem(setting: Setting, lab: Lab) -> Verdict:
    """The base of the published storage theorem has the values that its paper gives.

    Twin: spheres of one dimension more.
    """
    cases = ((20, 3.0, 3.1546), (75, 1.0, 1.3719))
    ours, rival = (
        np.array([softmax.stored_patterns_bound(d + more, K, 1.0, 0.001)[1] for d, K, _ in cases]) for more in (0, 1)
    )
    return agrees(
        ours,
        np.array([printed for *_, printed in cases]),
        within=budget(Piece("last printed digit", 5e-5)),
        of="every replica",
        unit="constant",
        twin=Twin.of("one dimension more", measured=rival),
    )
