"""Claims on memories that correct errors: the delta rule in one pass, least squares, and the signs that a linear map realises."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import Twin, Verdict, agrees, all_of, budget, follows, identical, ordered, relative, rounding
from attnlab.papers.lab.conditions import at_least, at_most, outside
from attnlab.papers.lab.declare import Scales
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.pavlovian_associative_memory.paper import mean_over_pairs, noise, over, paper, scaled
from attnlab.papers.pavlovian_associative_memory.sums import REAL, SPHERICAL, STORED, hebb
from attnlab.simulators.associative_memory.recall import Setting, retrieve
from attnlab.simulators.associative_memory.separation import SeparationSetting, dichotomies
from attnlab.theory.associative_memory import error_correcting as theory
from attnlab.theory.associative_memory import sums

ONE_PASS = Setting(n_pairs=40, rule="delta", n_draws=1_200, n_replicas=32)
SHORT = {"dim": 4, "n_pairs": 4, "rate": 1.5}  # where the fourth moments matter most: a seventh of the error


@paper.claim(
    "delta_rule",
    source="plasticity rules",
    statements=[4],
    setting=scaled(ONE_PASS),
    parts=4,
    formula="X <- X (1 - 2 b/d + 2 b^2/(d (d+2))) + b^2 A/(d (d+2)) + b^2/d, C <- C (1 - b/d); error X - 2 C + 1",
    judged="largest distance of the mean errors of eight pairs, and of all at d = 4, n = 4, b = 1.5, within what replicas leave "
    "open; at rate 1 the last pair is exact (64 roundings), at others as predicted; mean error below Hebb's by nine tenths of "
    "the predicted difference",
    reads=("n_pairs", "dim", "rate"),
    covers={
        **hebb("delta"),
        **SPHERICAL,
        **STORED,
        **REAL,
        "rate": at_most(1.999, "the delta rule diverges at 2"),
        "n_pairs": at_least(8),
    },
)
def delta_rule(setting: Setting, lab: Lab) -> Verdict:
    """One pass of the delta rule errs by an exact recursion: at rate 1 the last pair is stored exactly, interference forgets the
    old ones.

    Twins: overlaps taken as independent, without fourth moments (at d = 4; at the profile's d the best scaled Hebbian memory);
    a last pair that errs like the one before; an advantage over Hebb larger by a tenth.
    """
    n, d, rate = setting.n_pairs, setting.dim, setting.rate
    law, hebbian = theory.delta_rule_errors(n, d, rate), float(sums.hebbian_error(n, d))
    if law.mean() >= hebbian:
        return outside(f"n_pairs={n}, dim={d}: at so few pairs the Hebbian memory errs less ({hebbian:.3g})")
    runs, plain, few = lab.simulate(
        retrieve, setting, replace(setting, rule="hebb"), replace(setting, **SHORT, n_draws=8 * setting.n_draws)
    )
    of = f"mean trajectory of {setting.n_draws} draws"
    at = np.unique(np.linspace(0, n - 2, 8).astype(int))
    profile = follows(
        runs["error"][:, at],
        law[at],
        within=budget(noise("delta profile", setting, ONE_PASS.n_draws, law.max(), points=len(at), of=of)),
        of=of,
        times=at.astype(float),
        twin=Twin.of("scaled Hebbian", predicted=np.full(len(at), float(sums.scaled_hebbian_error(n, d)))),
    )
    sizes = SHORT["n_pairs"], SHORT["dim"], SHORT["rate"]
    moments = follows(
        few["error"],
        theory.delta_rule_errors(*sizes),
        within=budget(noise("delta short", setting, ONE_PASS.n_draws, points=SHORT["n_pairs"], of=of)),
        of=of,
        times=np.arange(SHORT["n_pairs"], dtype=float),
        twin=Twin.of("without fourth moments", predicted=theory.delta_rule_errors(*sizes, fourth_moments=False)),
    )
    if rate == 1:
        last = identical(runs["error"][:, -1], np.zeros(runs.n), rounding=64, scale=1.0, twin=runs["error"][:, -2])
    else:
        last = agrees(
            runs["error"][:, -1],
            float(law[-1]),
            within=budget(
                relative(
                    float(law[-1] / law.max()),
                    noise("delta profile", setting, ONE_PASS.n_draws, law.max()).size,
                    "replicas",
                )
            ),
            of=over(setting),
            twin=Twin.of("like the one before", predicted=float(law[-2])),
        )
    gain = hebbian - float(law.mean())
    better = ordered(
        mean_over_pairs(runs),
        mean_over_pairs(plain),
        by=0.9 * gain,
        of=over(setting),
        twin=Twin.of("a tenth more", by=1.1 * gain),
    )
    return all_of(
        profile.named("profile"),
        moments.named("fourth moments"),
        last.named("last pair"),
        better.named("better than Hebb"),
    )


def cue(setting, s):
    """Gaussian keys, half as many as dimensions, and noisy cues; more draws, for the errors are skewed."""
    return replace(setting, n_pairs=setting.dim // 2, keys="gaussian", cue_noise=s, n_draws=4 * setting.n_draws)


WORST = 1e11  # condition number that no draw exceeds: P(condition > x) < 5.6 d/x (Edelman 1988), 10^5 draws of d = 16
LEAST = Setting(n_pairs=32, rule="least_squares", n_draws=400, n_replicas=32)


@paper.claim(
    "least_squares",
    source="converged delta rule",
    statements=[4, 5],
    setting=scaled(LEAST),
    parts=3,
    formula="error 0 for n <= d, else 1 - d/n; noisy cue, Gaussian keys, n < d - 1: s^2 n/(d - n - 1)",
    judged="mean error of every replica at n = d within the square of rounding times the condition number of the worst draw, "
    "10^11; mean errors beyond d and with noise (n = d/2, s = 0.3) within what replicas leave open",
    reads=("n_pairs", "dim"),
    covers={
        **hebb("least_squares"),
        **SPHERICAL,
        **STORED,
        **REAL,
        "dim": at_least(8, "the noisy error has no spread below"),
    },
)
def least_squares(setting: Setting, lab: Lab) -> Verdict:
    """The converged delta rule stores exactly d real values, and errs by 1 - d/n beyond.

    Twins: capacity d - 1, and d + 1 beyond; noise amplified by n/(d - n), without the one.
    """
    n, d, s = setting.n_pairs, setting.dim, 0.3
    if n <= d:
        return outside(f"n_pairs={n}, dim={d}: the claim is about more pairs than dimensions, and d of them")
    full, more, noisy = lab.simulate(retrieve, replace(setting, n_pairs=d), setting, cue(setting, s))
    exact = agrees(
        mean_over_pairs(full),
        0.0,
        within=budget(rounding(1, scale=WORST**2, eps=np.finfo(float).eps ** 2)),
        scale=1.0,
        of="every replica",
        twin=Twin.of("capacity d - 1", predicted=float(theory.least_squares_error(d, d - 1))),
    )
    beyond = agrees(
        mean_over_pairs(more),
        float(theory.least_squares_error(n, d)),
        within=budget(noise("least squares", setting, LEAST.n_draws, float(theory.least_squares_error(n, d)))),
        of=over(setting),
        twin=Twin.of("capacity d + 1", predicted=float(theory.least_squares_error(n, d + 1))),
    )
    amplified = agrees(
        mean_over_pairs(noisy),
        float(theory.least_squares_noisy_error(d // 2, d, s)),
        within=budget(
            noise(
                "noisy cue of least squares",
                setting,
                LEAST.n_draws,
                float(theory.least_squares_noisy_error(d // 2, d, s)),
            )
        ),
        of=over(setting),
        twin=Twin.of("n/(d - n)", predicted=s**2 * (d // 2) / (d - d // 2)),
    )
    return all_of(exact.named("up to d"), beyond.named("beyond d"), amplified.named("noisy cue"))


SEPARATION = Scales(
    smoke=SeparationSetting(n_replicas=8), desk=SeparationSetting(), paper=SeparationSetting(dim=6, n_pairs=12)
)


@paper.claim(
    "sign_capacity",
    source="sign capacity of the best linear memory",
    statements=[5],
    setting=SEPARATION,
    formula="realisable patterns of n signs: 2 sum_{k<d} C(n-1, k) of 2^n, half of them at n = 2 d",
    judged="number of patterns that linear programs solve, exactly, for the keys of every replica",
    reads=("n_pairs", "dim"),
)
def sign_capacity(setting: SeparationSetting, lab: Lab) -> Verdict:
    """The best linear memory realises signs up to twice its width: Cover's number of patterns, whatever the keys.

    Twin: a memory of one dimension less.
    """
    n, d = setting.n_pairs, setting.dim
    if n <= d:
        return outside(f"n_pairs={n} independent keys in dim={d} realise all signs; the law begins with more pairs")
    runs = lab.simulate(dichotomies, setting)
    law, rival = (np.full(runs.n, theory.dichotomies(n, width)) for width in (d, d - 1))
    return identical(runs["dichotomies"], law, twin=Twin.of("d - 1", b=rival))
