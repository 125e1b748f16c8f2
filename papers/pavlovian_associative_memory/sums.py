"""Claims on memories that sum their pairs: Hebbian, decaying, polynomial and exponential read-outs; signs, labels, guarantees."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import Twin, Verdict, agrees, all_of, budget, exponent, finite_size, follows, relative
from attnlab.analysis.verdicts.budget import Piece
from attnlab.papers.lab.conditions import at_least, one_of, outside
from attnlab.papers.lab.declare import Scales
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.pavlovian_associative_memory.paper import mean_over_pairs, noise, over, paper, scaled
from attnlab.simulators.associative_memory.recall import OverlapSetting, Setting, guarantee, retrieve
from attnlab.theory.associative_memory import signs
from attnlab.theory.associative_memory import sums as theory

SPHERICAL = {"keys": one_of("spherical", why="the law is that of keys on the sphere")}
STORED = {"cue_noise": one_of(0.0, why="the law is that of stored cues")}
REAL = {"values": one_of("gaussian", "sign", why="the law is that of values of mean 0 and variance 1")}
SMALL = Setting(dim=16, n_pairs=8, n_draws=1_600, n_replicas=32)


def hebb(name: str):
    """The rule that a claim is about."""
    return {"rule": one_of(name, why="the law is that of this rule")}


@paper.claim(
    "hebbian",
    source="attention as Hebbian memory",
    statements=[1],
    setting=scaled(SMALL),
    parts=5,
    formula="error (n - 1)/d; Gaussian keys (n + 1)/d; noisy cue (n - 1)(1 + s^2)/d + s^2/d; "
    "best factor d/(d + n - 1), error with it (n - 1)/(d + n - 1)",
    judged="mean errors, and the least-squares factor of all draws of a replica, within what the replicas leave open",
    reads=("n_pairs", "dim"),
    covers={**hebb("hebb"), **SPHERICAL, **STORED, **REAL},
)
def hebbian(setting: Setting, lab: Lab) -> Verdict:
    """The Hebbian memory errs by its interference, (n - 1)/d per value entry at every finite size.

    Twins: the target counted as interference, n/d; for Gaussian keys, the law of spherical ones; for noisy cues, noise that
    hits the target only.
    """
    n, d, s = setting.n_pairs, setting.dim, 0.7
    plain, gaussian, noisy, best = lab.simulate(
        retrieve,
        setting,
        replace(setting, keys="gaussian"),
        replace(setting, cue_noise=s),
        replace(setting, rule="scaled"),
    )
    cases = (
        ("spherical", mean_over_pairs(plain), theory.hebbian_error(n, d), theory.hebbian_error(n + 1, d)),
        ("gaussian", mean_over_pairs(gaussian), theory.hebbian_error(n, d, "gaussian"), theory.hebbian_error(n, d)),
        (
            "noisy cue",
            mean_over_pairs(noisy),
            theory.hebbian_error(n, d, cue_noise=s),
            theory.hebbian_error(n, d) + s**2 / d,
        ),
        ("factor", best["factor"], theory.hebbian_factor(n, d), theory.hebbian_factor(n + 1, d)),
        ("scaled", mean_over_pairs(best), theory.scaled_hebbian_error(n, d), theory.scaled_hebbian_error(n + 1, d)),
    )
    return all_of(
        *(
            agrees(
                found,
                float(law),
                within=budget(noise(name, setting, SMALL.n_draws, float(law))),
                of=over(setting),
                twin=float(twin),
            ).named(name)
            for name, found, law, twin in cases
        )
    )


FEW = replace(SMALL, dim=8, n_pairs=3, values="sign", value_dim=64, n_draws=32_000)


@paper.claim(
    "sign_error",
    source="average-case capacity",
    statements=[2],
    setting=scaled(FEW),
    parts=2,
    formula="spherical: 1/2 - (1/pi) int sin(s) phi(s)^{n-1} ds / s; binary: binomial with ties counted half",
    judged="mean share of wrong signs within what the replicas leave open",
    undecided_at_smoke="a quarter of the draws leaves intervals as wide as the distance to the approximation",
    reads=("n_pairs", "dim"),
    covers={**hebb("hebb"), **SPHERICAL, **STORED, "values": one_of("sign"), "n_pairs": at_least(2)},
)
def sign_error(setting: Setting, lab: Lab) -> Verdict:
    """Signs are retrieved with an error in closed form for spherical and for binary keys.

    Twin: the Gaussian approximation.
    """
    n, d = setting.n_pairs, setting.dim
    rival = float(signs.sign_error_approx(n, d))
    runs = lab.simulate(retrieve, setting, replace(setting, keys="binary"))
    return all_of(
        *(
            agrees(
                mean_over_pairs(each, "wrong_sign"),
                signs.sign_error(n, d, keys),
                within=budget(noise(f"sign {keys}", setting, FEW.n_draws, signs.sign_error(n, d, keys))),
                of=over(setting),
                twin=Twin.of("Gaussian", predicted=rival),
            ).named(keys)
            for keys, each in zip(("spherical", "binary"), runs, strict=True)
        )
    )


WIDTHS = (16, 64, 256)
MANY = replace(SMALL, values="sign", value_dim=8, n_draws=480)
BRACKET = 0.15  # numbers of pairs on both sides of the capacity, relative to it


def brackets(d):
    """Numbers of pairs below and above the one at which a tenth of the signs is wrong."""
    n = float(signs.average_capacity_approx(d, 0.1))
    return round((1 - BRACKET) * n), round((1 + BRACKET) * n)


@paper.claim(
    "average_capacity",
    source="average-case capacity",
    statements=[2],
    setting=scaled(MANY),
    parts=2,
    formula="a tenth of the signs is wrong at n = 1 + d/z^2, z = Phi^{-1}(0.9): linear in d",
    judged="the n at which the measured share of wrong signs passes 1/10, interpolated between 0.85 and 1.15 of the formula's, "
    "at d = 16, 64, 256: power 1 of d for n - 1, and the formula at the largest width",
    covers={**hebb("hebb"), **SPHERICAL, **STORED, "values": one_of("sign")},
)
def average_capacity(setting: Setting, lab: Lab) -> Verdict:
    """On average a head stores a number of signs linear in its width, at a fixed share of errors.

    What the Gaussian law leaves out is of order 1/(n d): the sum of n - 1 overlaps has excess -6/((d + 2)(n - 1)). Twins: growth
    with the power 0.9 of the width; the number for z^2 = d/n, without the one.
    """
    cells = [(d, n) for d in WIDTHS for n in brackets(d)]
    draws = {d: max(1, setting.n_draws * WIDTHS[0] // d) for d in WIDTHS}
    runs = lab.simulate(retrieve, *(replace(setting, dim=d, n_pairs=n, n_draws=draws[d]) for d, n in cells))
    wrong = {cell: mean_over_pairs(each, "wrong_sign") for cell, each in zip(cells, runs, strict=True)}
    reached = []
    for d in WIDTHS:
        low, high = brackets(d)
        reached.append(low + (0.1 - wrong[d, low]) / (wrong[d, high] - wrong[d, low]) * (high - low))
    found = np.stack(reached, axis=-1)
    law = np.array([float(signs.average_capacity_approx(d, 0.1)) for d in WIDTHS])
    bend = [interpolation(d) for d in WIDTHS]
    last = WIDTHS[-1]
    few = replace(setting, n_draws=draws[last])
    growth = exponent(
        np.array(WIDTHS, float),
        found - 1,
        1.0,
        within=budget(
            noise("capacity growth", setting, MANY.n_draws),
            Piece("interpolation", (max(bend) - min(bend)) / np.log(WIDTHS[-1] / WIDTHS[0])),
            relative(0.5 / (WIDTHS[0] * (law[0] - 1)), 1.0, "next order of the Gaussian"),
        ),
        of=over(setting),
        twin=Twin.of("power 0.9", predicted=0.9),
    )
    level = agrees(
        found[:, -1],
        law[-1],
        within=budget(
            noise("capacity", few, MANY.n_draws * WIDTHS[0] // last, law[-1], of=over(setting)),
            Piece("interpolation", bend[-1] * law[-1]),
            relative(0.5 / (last * law[-1]), law[-1], "next order of the Gaussian"),
        ),
        of=over(setting),
        twin=Twin.of("at 0.12", predicted=float(signs.average_capacity_approx(last, 0.12))),
    )
    return all_of(growth.named("growth"), level.named(f"d = {last}"))


def interpolation(d):
    """Relative error of a straight line between the brackets for an error that is Phi(-sqrt(d / (n - 1)))."""
    low, high = brackets(d)
    p = [float(signs.sign_error_approx(n, d)) for n in (low, high)]
    n = float(signs.average_capacity_approx(d, 0.1))
    return abs(low + (0.1 - p[0]) / (p[1] - p[0]) * (high - low) - n) / n


REACH = Scales(
    smoke=OverlapSetting(n_draws=200, n_pairs=72, n_replicas=16),
    desk=OverlapSetting(n_draws=200, n_pairs=72, n_replicas=32),
    paper=OverlapSetting(n_draws=1_000, n_pairs=200, n_replicas=32),
)
REACH_WIDTHS = (16, 64, 256, 1024)


@paper.claim(
    "guaranteed_capacity",
    source="worst-case capacity",
    statements=[2],
    setting=REACH,
    parts=len(REACH_WIDTHS) + 1,
    formula="guaranteed for all values iff sum_{i != j} |k_i . k_j| < 1; a mean row reaches 1 after 1/E|t| + "
    "E t^2 / (2 (E|t|)^2) ~ sqrt(pi d/2) + pi/4 other pairs",
    judged="mean number of pairs until the row reaches 1 within what replicas leave open, at d = 16, 64, 256, 1024; its power "
    "of d is 1/2 within what the constant pi/4 bends and what replicas leave open",
    covers={"n_pairs": at_least(72, "rows must be long enough to reach 1 at the largest width")},
)
def guaranteed_capacity(setting: OverlapSetting, lab: Lab) -> Verdict:
    """With a guarantee for every assignment of values a head stores a number that grows with the square root of its width.

    A sum of independent steps passes 1 after 1/E|t| + E t^2/(2 (E|t|)^2) steps on average. Twins: the count without the
    factor sqrt(pi/2); growth with the power 0.6.
    """
    runs = lab.simulate(guarantee, *(replace(setting, dim=d) for d in REACH_WIDTHS))
    reach = np.stack([each["reach"] for each in runs], axis=1)
    parts = [
        agrees(
            reach[:, k],
            signs.guaranteed_reach(d),
            within=budget(noise(f"reach {d}", setting, REACH.desk.n_draws)),
            of=over(setting),
            twin=Twin.of(
                "sqrt d", predicted=signs.guaranteed_reach(d) - signs.guaranteed_capacity(d) + float(np.sqrt(d))
            ),
        ).named(f"d = {d}")
        for k, d in enumerate(REACH_WIDTHS)
    ]
    first = np.sqrt(np.pi * REACH_WIDTHS[0] / 2)
    growth = exponent(
        np.array(REACH_WIDTHS, float),
        reach,
        predicted=0.5,
        within=budget(
            noise("reach growth", setting, REACH.desk.n_draws),
            finite_size(first / (np.pi / 4), 0.5, of="number of pairs"),
        ),
        of=over(setting),
        bend=0.05,
        twin=Twin.of("power 0.6", predicted=0.6),
    )
    return all_of(*parts, growth.named("growth"))


FADING = Setting(n_pairs=60, rule="decay", rate=0.95, n_draws=1_200, n_replicas=32)
YOUNG, OLD = (0, 1, 3, 9), (20, 40)


@paper.claim(
    "decay",
    source="plasticity rules",
    statements=[4],
    setting=scaled(FADING),
    parts=2,
    formula="error of age a: (1 - gamma^a)^2 + (1/d) sum_{b != a} gamma^{2b}",
    judged="largest distance of the mean errors at the ages 0, 1, 3, 9, and at 20, 40 and the oldest, within what "
    "replicas leave open",
    reads=("n_pairs", "dim", "rate"),
    covers={**hebb("decay"), **SPHERICAL, **STORED, **REAL, "n_pairs": at_least(45)},
)
def decay(setting: Setting, lab: Lab) -> Verdict:
    """With decay old pairs fade and new ones suffer less interference, by an exact law of the age.

    Twins: the pair's own trace counted as interference, too; for old pairs, interference that does not fade, (n - 1)/d.
    """
    runs = lab.simulate(retrieve, setting)
    n = setting.n_pairs
    of = f"mean trajectory of {setting.n_draws} draws"
    parts = []
    for name, which in (("young", YOUNG), ("old", (*OLD, n - 1))):
        ages = np.array(which)
        law = theory.decaying_hebbian_error(ages, n, setting.dim, setting.rate)
        rival = law + setting.rate ** (2.0 * ages) / setting.dim
        if name == "old":
            rival = (1 - setting.rate**ages) ** 2 + (n - 1) / setting.dim
        parts.append(
            follows(
                runs["error"][:, n - 1 - ages],
                law,
                within=budget(noise(f"decay, {name}", setting, FADING.n_draws, law.max(), points=len(ages), of=of)),
                of=of,
                times=ages.astype(float),
                twin=Twin.of("own trace counted" if name == "young" else "interference stays", predicted=rival),
            ).named(name)
        )
    return all_of(*parts)


POWERS = Setting(dim=8, n_pairs=50, n_draws=1_200, n_replicas=32)


@paper.claim(
    "kernel_capacity",
    source="kernel memories",
    statements=[5],
    setting=scaled(POWERS),
    parts=4,
    formula="error (n - 1) E t^{2p} for g = t^p; (n - 1) e^{-2b} m_d(2b) for g = e^{b (t - 1)}",
    judged="mean error within what replicas leave open, p = 1, 2, 3 and b = 2",
    reads=("n_pairs", "dim"),
    covers={**hebb("hebb"), **SPHERICAL, **STORED, **REAL},
)
def kernel_capacity(setting: Setting, lab: Lab) -> Verdict:
    """Powers of the overlap store about d^p pairs, by an exact law; exponentials of it more.

    Twins: the own pair counted for p = 1; overlaps taken as normal, (2p - 1)!!/d^p and e^{2 b^2/d}, for the others.
    """
    n, d = setting.n_pairs, setting.dim
    normal = {2: 3 / d**2, 3: 15 / d**3}
    cells = [("p = 1", "polynomial", 1.0, theory.polynomial_error(n, d, 1), n / d)]
    cells += [
        (f"p = {p}", "polynomial", float(p), theory.polynomial_error(n, d, p), (n - 1) * normal[p]) for p in normal
    ]
    cells += [("b = 2", "exponential", 2.0, theory.exponential_error(n, d, 2.0), (n - 1) * np.exp(-4 + 16 / (2 * d)))]
    runs = lab.simulate(retrieve, *(replace(setting, rule=rule, rate=rate) for _, rule, rate, *_ in cells))
    return all_of(
        *(
            agrees(
                mean_over_pairs(each),
                float(law),
                within=budget(noise(name, setting, POWERS.n_draws, float(law))),
                of=over(setting),
                twin=Twin.of("own pair counted" if name == "p = 1" else "normal overlaps", predicted=float(rival)),
            ).named(name)
            for each, (name, _, _, law, rival) in zip(runs, cells, strict=True)
        )
    )


LABELS = Setting(dim=64, n_pairs=100, value_dim=10, values="class", n_draws=100, n_replicas=32)


@paper.claim(
    "class_labels",
    source="average-case capacity for shared labels",
    statements=[2],
    setting=scaled(LABELS),
    formula="P(right) = int phi(z - a) Phi(z)^{C-1} dz, a = sqrt(d C/(n - 1)), with binomial numbers of keys per class",
    judged="mean share of right labels within 0.11/d, the gap of the formula at d = 16 (n = 40, C = 10) carried over, and what "
    "replicas leave open",
    reads=("n_pairs", "dim", "value_dim"),
    covers={
        **hebb("hebb"),
        **SPHERICAL,
        **STORED,
        "values": one_of("class"),
        "dim": at_least(16, "overlaps are taken as normal"),
        "value_dim": at_least(2, "one class is always right"),
    },
)
def class_labels(setting: Setting, lab: Lab) -> Verdict:
    """Labels shared by several keys are read off the largest entry with a probability that one integral gives.

    Twin: every class suffers the interference of all keys.
    """
    n, d, C = setting.n_pairs, setting.dim, setting.value_dim
    if n < 2 * C:
        return outside(f"n_pairs={n}, value_dim={C}: the law is for labels that keys share, n >= 2 C")
    runs = lab.simulate(retrieve, setting)
    return agrees(
        mean_over_pairs(runs, "right_label"),
        signs.label_accuracy(n, d, C),
        within=budget(noise("labels", setting, LABELS.n_draws), finite_size(d, 0.11, of="d")),
        of=over(setting),
        twin=Twin.of("all keys interfere", predicted=signs.label_accuracy_approx(C * (n - 1) + 1, d, C)),
    )
