"""Claims on memories that sum their pairs: Hebbian, decaying, polynomial and exponential read-outs; signs and guarantees."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import Twin, Verdict, agrees, all_of, exponent, follows
from attnlab.papers.lab.declare import Scales
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.pavlovian_associative_memory.paper import mean_over_pairs, over, paper, scaled
from attnlab.simulators.associative_memory.recall import OverlapSetting, Setting, guarantee, retrieve
from attnlab.theory.associative_memory import signs
from attnlab.theory.associative_memory import sums as theory

SMALL = Setting(dim=16, n_pairs=8, n_draws=1_600)


@paper.claim(
    "hebbian",
    source="attention as Hebbian memory",
    statements=[1],
    setting=scaled(SMALL),
    parts=4,
    formula="error (n - 1)/d; Gaussian keys (n + 1)/d; noisy cue (n - 1)(1 + s^2)/d + s^2/d; "
    "best factor (n - 1)/(d + n - 1)",
    judged="within 1/(2 d), half of what one more pair adds; the scaled read-out within half of its distance "
    "to n/(d + n)",
)
def hebbian(setting: Setting, lab: Lab) -> Verdict:
    """The Hebbian memory errs by its interference, (n - 1)/d per value entry at every finite size.

    Twins: the target counted as interference, n/d; for Gaussian keys, the law of spherical ones; for noisy cues,
            noise that hits the
    target only.
    """
    n, d = setting.n_pairs, setting.dim
    half = 1 / (2 * d)
    noise = 0.7
    kinds = {
        "spherical": ({}, theory.hebbian_error(n, d), half, theory.hebbian_error(n + 1, d)),
        "gaussian": ({"keys": "gaussian"}, theory.hebbian_error(n, d, "gaussian"), half, theory.hebbian_error(n, d)),
        "noisy cue": (
            {"cue_noise": noise},
            theory.hebbian_error(n, d, cue_noise=noise),
            half,
            theory.hebbian_error(n, d) + noise**2 / d,
        ),
        "scaled": (
            {"rule": "scaled"},
            theory.scaled_hebbian_error(n, d),
            d / (d + n) ** 2 / 2,
            theory.scaled_hebbian_error(n + 1, d),
        ),
    }
    runs = lab.simulate(retrieve, *(replace(setting, **changes) for changes, *_ in kinds.values()))
    return all_of(
        *(
            agrees(mean_over_pairs(each), float(law), within=float(within), of=over(setting), twin=float(twin)).named(
                name
            )
            for each, (name, (_, law, within, twin)) in zip(runs, kinds.items(), strict=True)
        )
    )


FEW = replace(SMALL, dim=8, n_pairs=3, values="sign", value_dim=64, n_draws=16_000)


@paper.claim(
    "sign_error",
    source="average-case capacity",
    statements=[2],
    setting=scaled(FEW),
    parts=2,
    formula="spherical: 1/2 - (1/pi) int sin(s) phi(s)^{n-1} ds / s; binary: binomial with ties counted half",
    judged="within half of the distance to the Gaussian approximation Phi(-sqrt(d/(n-1)))",
    undecided_at_smoke="a quarter of the draws leaves intervals as wide as the distance to the approximation",
)
def sign_error(setting: Setting, lab: Lab) -> Verdict:
    """Signs are retrieved with an error in closed form for spherical and for binary keys.

    Twin: the Gaussian approximation.
    """
    n, d = setting.n_pairs, setting.dim
    rival = float(signs.sign_error_approx(n, d))
    parts = []
    for keys, runs in zip(
        ("spherical", "binary"), lab.simulate(retrieve, setting, replace(setting, keys="binary")), strict=True
    ):
        law = signs.sign_error(n, d, keys)
        parts.append(
            agrees(
                mean_over_pairs(runs, "wrong_sign"),
                law,
                within=abs(law - rival) / 2,
                of=over(setting),
                twin=Twin.of("Gaussian", predicted=rival),
            ).named(keys)
        )
    return all_of(*parts)


WIDTHS = (16, 64, 256)


@paper.claim(
    "average_capacity",
    source="average-case capacity",
    statements=[2],
    setting=scaled(replace(SMALL, values="sign", value_dim=8, n_draws=240)),
    parts=len(WIDTHS),
    formula="at n = 1 + d/z^2, z = Phi^{-1}(0.9), a tenth of the signs is wrong: n is linear in d",
    judged="share of wrong signs 1/10 within 1/50 at d = 16, 64, 256 (corrections to the Gaussian law are below 0.002)",
)
def average_capacity(setting: Setting, lab: Lab) -> Verdict:
    """On average a head stores a number of signs linear in its width, at a fixed share of errors.

    Twin: a number that grows with the square root of the width, through the same point at d = 16.
    """

    def pairs(d):
        return round(float(signs.average_capacity_approx(d, 0.1)))

    first = pairs(WIDTHS[0]) - 1
    cells = lab.simulate(retrieve, *(replace(setting, dim=d, n_pairs=pairs(d)) for d in WIDTHS))
    parts = []
    for d, runs in zip(WIDTHS, cells, strict=True):
        # under the rival law this many pairs would leave the error of a head whose width is larger by the ratio of the two
        rival_n = 1 + first * np.sqrt(d / WIDTHS[0])
        rival = (
            0.5
            if d == WIDTHS[0]
            else float(signs.sign_error_approx(1 + (pairs(d) - 1) * (pairs(d) - 1) / (rival_n - 1), d))
        )
        label = "no memory" if d == WIDTHS[0] else "square root of the width"
        parts.append(
            agrees(
                mean_over_pairs(runs, "wrong_sign"),
                0.1,
                within=0.02,
                of=over(setting),
                twin=Twin.of(label, predicted=rival),
            ).named(f"d={d}")
        )
    return all_of(*parts)


REACH = Scales(
    smoke=OverlapSetting(n_draws=50, n_pairs=72, n_replicas=8),
    desk=OverlapSetting(n_draws=100, n_pairs=72),
    paper=OverlapSetting(n_draws=1_000, n_pairs=200),
)
REACH_WIDTHS = (64, 256, 1024)


@paper.claim(
    "guaranteed_capacity",
    source="worst-case capacity",
    statements=[2],
    setting=REACH,
    parts=2,
    formula="guaranteed for all values iff sum_{i != j} |k_i . k_j| < 1; a mean row reaches 1 at 1/E|t| ~ sqrt(pi d/2)",
    judged="pairs until the row reaches 1, less the overshoot pi/4 of a renewal process, grow with power 1/2 of d "
    "within 1/10; they equal 1/E|t| within 1/4 at the largest width",
)
def guaranteed_capacity(setting: OverlapSetting, lab: Lab) -> Verdict:
    """With a guarantee for every assignment of values a head stores a number that grows with the square root of its width.

    A sum of independent steps passes 1 after 1/E|t| + E t^2/(2 (E|t|)^2) steps on average. Twins: growth linear in the width; the
    count without the factor sqrt(pi/2).
    """
    runs = lab.simulate(guarantee, *(replace(setting, dim=d) for d in REACH_WIDTHS))
    reach = np.stack([each["reach"] for each in runs], axis=1) - np.pi / 4
    growth = exponent(
        np.array(REACH_WIDTHS, float), reach, predicted=0.5, within=0.1, twin=Twin.of("linear", predicted=1.0)
    )
    d = REACH_WIDTHS[-1]
    level = agrees(
        reach[:, -1] / signs.guaranteed_capacity(d),
        1.0,
        within=0.1,
        of=over(setting),
        twin=Twin.of("sqrt d", predicted=float(np.sqrt(d) / signs.guaranteed_capacity(d))),
    )
    return all_of(growth.named("growth"), level.named("level"))


@paper.claim(
    "decay",
    source="plasticity rules",
    statements=[4],
    setting=scaled(Setting(n_pairs=60, rule="decay", rate=0.95, n_draws=1_200)),
    formula="error of age a: (1 - gamma^a)^2 + (1/d) sum_{b != a} gamma^{2b}",
    judged="sup-norm over ages within 0.1, less than a tenth of the spread over ages",
)
def decay(setting: Setting, lab: Lab) -> Verdict:
    """With decay old pairs fade and new ones suffer less interference, by an exact law of the age.

    Twin: interference of all pairs alike, (n - 1)/d, with the same fading.
    """
    runs = lab.simulate(retrieve, setting)
    ages = np.arange(setting.n_pairs)[::-1]
    law = theory.decaying_hebbian_error(ages, setting.n_pairs, setting.dim, setting.rate)
    fading = (1 - setting.rate**ages) ** 2
    return follows(
        runs["error"],
        law,
        within=0.1,
        of=f"mean trajectory of {setting.n_draws} draws",
        times=ages[::-1].astype(float),
        twin=Twin.of("uniform interference", predicted=fading + (setting.n_pairs - 1) / setting.dim),
    )


@paper.claim(
    "kernel_capacity",
    source="kernel memories",
    statements=[5],
    setting=scaled(Setting(dim=8, n_pairs=50, n_draws=2_400)),
    parts=4,
    formula="error (n - 1) E t^{2p} for g = t^p; (n - 1) e^{-2b} m_d(2b) for g = e^{b (t - 1)}",
    judged="relative error within 1/20, p = 1, 2, 3 and b = 2",
)
def kernel_capacity(setting: Setting, lab: Lab) -> Verdict:
    """Powers of the overlap store about d^p pairs, by an exact law; exponentials of it more.

    Twins: the same power of the mean overlap, d^-p; for the exponential, the moment of a Gaussian overlap.
    """
    n, d = setting.n_pairs, setting.dim
    cells = [
        ("p=1", {"rule": "polynomial", "rate": 1.0}, theory.polynomial_error(n, d, 1), (n - 1) / d * 0.9),
        *(
            (f"p={p}", {"rule": "polynomial", "rate": float(p)}, theory.polynomial_error(n, d, p), (n - 1) / d**p)
            for p in (2, 3)
        ),
        (
            "b=2",
            {"rule": "exponential", "rate": 2.0},
            theory.exponential_error(n, d, 2.0),
            (n - 1) * np.exp(-4 + 16 / (2 * d)),
        ),
    ]
    labels = {"p=1": "nine tenths", "p=2": "power of the mean", "p=3": "power of the mean", "b=2": "Gaussian overlap"}
    runs = lab.simulate(retrieve, *(replace(setting, **changes) for _, changes, *_ in cells))
    return all_of(
        *(
            agrees(
                mean_over_pairs(each) / float(law),
                1.0,
                within=0.05,
                of=over(setting),
                twin=Twin.of(labels[name], predicted=float(rival / law)),
            ).named(name)
            for each, (name, _, law, rival) in zip(runs, cells, strict=True)
        )
    )
