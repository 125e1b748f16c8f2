"""How often are the judges wrong, and how far off must a claim be before they see it? Measured on synthetic claims.

Each trial draws data whose true value is known and judges a claim at the edge of its margin, where a judge is worst: on
the edge the claim is true and REFUTED is wrong, a hair beyond it the claim is false and HOLDS is wrong. Each may happen
with at most half of the stated error, the other half belonging to the other end of the interval. Away from the edge
both are rarer. Power is the share of claims refuted that are false by a stated amount.

``python -m attnlab.analysis.calibration.table --out docs/measured`` writes ``judges_calibration.md`` and ``.csv`` again.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from scipy import special

from attnlab.analysis.judges.limits import converges
from attnlab.analysis.judges.order import ordered, share
from attnlab.analysis.judges.paths import aligned, follows
from attnlab.analysis.judges.rates import exponent, trend
from attnlab.analysis.judges.resolution import unresolved
from attnlab.analysis.judges.training import settles
from attnlab.analysis.judges.values import agrees, bounded
from attnlab.analysis.statistics.intervals import skew_guard
from attnlab.analysis.verdicts.ledger import ErrorLedger
from attnlab.analysis.verdicts.verdict import Outcome, Twin, Verdict

REPLICAS = (8, 16, 32)
FAR = 1e3  # where the twins of all trials lie, in standard deviations
HAIR = 1e-6  # how far beyond the edge a claim is just false, in standard deviations
SUSPICIOUS = 1e-3  # a trial errs too often if so many errors had less than this probability

_SIZES = np.array([16.0, 32.0, 64.0, 128.0, 256.0])
_TIMES = np.linspace(0.0, 2.0, 11)


@dataclass(frozen=True)
class Law:
    """A distribution of replicas: how to draw n of them, its mean, its median and its standard deviation."""

    name: str
    draw: Callable[[np.random.Generator, Any], np.ndarray]
    mean: float
    median: float
    std: float


LAWS = {
    law.name: law
    for law in (
        Law("normal", lambda rng, n: rng.standard_normal(n), 0.0, 0.0, 1.0),
        Law("uniform", lambda rng, n: rng.random(n), 0.5, 0.5, 12**-0.5),
        Law(
            "lognormal 0.5",
            lambda rng, n: np.exp(0.5 * rng.standard_normal(n)),
            math.exp(0.125),
            1.0,
            math.exp(0.125) * math.sqrt(math.expm1(0.25)),
        ),
        Law("exponential", lambda rng, n: rng.standard_exponential(n), 1.0, math.log(2), 1.0),
        Law("Student t, 3 dof", lambda rng, n: rng.standard_t(3, n), 0.0, 0.0, math.sqrt(3)),
        Law("Poisson, mean 3", lambda rng, n: rng.poisson(3, n).astype(float), 3.0, 3.0, math.sqrt(3)),
        Law("coin, 20 % heads", lambda rng, n: (rng.random(n) < 0.2).astype(float), 0.2, 0.0, 0.4),
    )
}


@dataclass(frozen=True)
class Trial:
    """One judge on one kind of data.

    ``verdict(data, beyond, side, confidence)`` judges a claim that is false by ``beyond`` standard deviations of a
    replica (0: true, on the edge) towards ``side``, +1 or -1. ``exact`` says that the interval promises its level on
    such data; on the others it is an approximation, and the table shows how good.
    """

    judge: str
    data: str
    draw: Callable[[np.random.Generator, int], Any]
    verdict: Callable[[Any, float, int, float | None], Verdict]
    sides: tuple[int, ...] = (1, -1)
    exact: bool = True


@dataclass(frozen=True)
class Row:
    """Measured fractions of one trial at one n; ``sees_k`` is the share refuted of claims false by k deviations."""

    judge: str
    data: str
    n: int
    runs: int
    stated: float
    wrongly_refuted: float
    wrongly_holds: float
    too_often: bool
    sees_1: float
    sees_2: float
    sees_3: float


def trials() -> list[Trial]:
    """All trials of the committed table."""
    means = [_equivalence("agrees, mean", LAWS[name], "mean over replicas", exact=name == "normal") for name in LAWS]
    medians = [
        _equivalence("agrees, median", LAWS[name], "median over replicas")
        for name in ("normal", "exponential", "Student t, 3 dof", "Poisson, mean 3")
    ]
    bounds = [_bound(LAWS[name], exact=name == "normal") for name in ("normal", "exponential")]
    orders = [
        _order(LAWS[name], paired, exact=name == "normal")
        for paired in (True, False)
        for name in ("normal", "exponential")
    ]
    return [
        *means,
        *medians,
        *bounds,
        *orders,
        _share(0.2),
        _share(0.5),
        _exponent("mean over replicas"),
        _exponent("mean curve"),
        _trend(),
        _limit(),
        _distance("mean over replicas"),
        _distance("mean trajectory"),
        _direction(),
        _looks(),
        _rest(),
    ]


def measure(
    trial: Trial, n: int, *, runs: int, seed: int, confidence: float = 0.99, power_runs: int | None = None
) -> Row:
    """Error fractions at the edge, the worse side of the two, and the power beyond it."""
    rng = np.random.default_rng([seed, n, *trial.judge.encode(), *trial.data.encode()])
    refuted, holds, seen = dict.fromkeys(trial.sides, 0), dict.fromkeys(trial.sides, 0), np.zeros(3)
    power_runs = runs if power_runs is None else power_runs
    with unresolved():  # outcomes are counted: what each verdict would have resolved is not asked
        for run in range(runs):
            data = trial.draw(rng, n)
            for side in trial.sides:
                refuted[side] += trial.verdict(data, 0.0, side, confidence).outcome is Outcome.REFUTED
                holds[side] += trial.verdict(data, HAIR, side, confidence).outcome is Outcome.HOLDS
            if run < power_runs:
                side = trial.sides[run % len(trial.sides)]
                seen += [trial.verdict(data, k, side, confidence).outcome is Outcome.REFUTED for k in (1.0, 2.0, 3.0)]
    tail = round((1 - confidence) / 2, 12)
    worse = max(*refuted.values(), *holds.values())
    # the worse of up to four counts is looked at, hence the four
    too_often = worse > 0 and 4 * float(special.bdtrc(worse - 1, runs, tail)) < SUSPICIOUS
    return Row(
        trial.judge,
        trial.data,
        n,
        runs,
        tail,
        max(refuted.values()) / runs,
        max(holds.values()) / runs,
        too_often,
        *(float(x) for x in seen / power_runs),
    )


def normal_power(n: int, beyond: float, confidence: float = 0.99) -> float:
    r"""Exact probability that a mean of normal replicas, ``beyond`` deviations outside the margin, is refuted.

    .. math:: P(T_{n-1}(\delta) > \kappa\, t_{n-1, 1-\alpha/2}), \qquad \delta = \text{beyond} \sqrt n,

    with :math:`\kappa` the guard of the interval for skewed replicas.
    """
    quantile = -float(special.stdtrit(n - 1, (1 - confidence) / 2)) * skew_guard(n, confidence)
    return 1 - float(special.nctdtr(n - 1, beyond * math.sqrt(n), quantile))


def _equivalence(judge: str, law: Law, of: str, exact: bool = True) -> Trial:
    truth, within = law.median if "median" in of else law.mean, 3 * law.std

    def verdict(data: np.ndarray, beyond: float, side: int, confidence: float | None) -> Verdict:
        claim = truth + side * (within + beyond * law.std)
        return agrees(data, claim, within=within, twin=FAR * law.std, of=of, confidence=confidence)

    return Trial(judge, law.name, law.draw, verdict, exact=exact)


def _bound(law: Law, exact: bool) -> Trial:
    def verdict(data: np.ndarray, beyond: float, side: int, confidence: float | None) -> Verdict:
        bound = law.mean - side * beyond * law.std
        return bounded(data, bound, side="above" if side > 0 else "below", twin=-side * FAR, confidence=confidence)

    return Trial("bounded, mean", law.name, law.draw, verdict, exact=exact)


def _order(law: Law, paired: bool, exact: bool) -> Trial:
    def draw(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
        common = 10 * rng.standard_normal(n) if paired else 0.0
        return common + rng.standard_normal(n), common + law.draw(rng, n if paired else 2 * n) - law.mean

    def verdict(data: tuple, beyond: float, side: int, confidence: float | None) -> Verdict:
        return ordered(*data, by=beyond * math.hypot(1, law.std), twin=FAR, paired=paired, confidence=confidence)

    return Trial(f"ordered, {'paired' if paired else 'Welch'}", f"normal, {law.name}", draw, verdict, (1,), exact)


def _share(p: float) -> Trial:
    def verdict(data: np.ndarray, beyond: float, side: int, confidence: float | None) -> Verdict:
        never = Twin.of("the opposite", successes=np.full(data.size + 64, side < 0))
        claim = min(max(p + side * beyond * math.sqrt(p * (1 - p)), 1e-6), 1 - 1e-6)
        if side > 0:
            return share(data, at_least=claim, twin=never, confidence=confidence)
        return share(data, at_most=claim, twin=never, confidence=confidence)

    return Trial("share", f"coin, {p:.0%} heads", lambda rng, n: rng.random(n) < p, verdict)


def _exponent(of: str) -> Trial:
    level = 0.1 if of == "mean curve" else 0.3  # noise of a replica at each point, relative
    spread = level / float(np.linalg.norm(np.log(_SIZES) - np.log(_SIZES).mean()))

    def draw(rng: np.random.Generator, n: int) -> np.ndarray:
        noise = level * rng.standard_normal((n, _SIZES.size))
        return (1 + noise) / _SIZES if of == "mean curve" else np.exp(noise) / _SIZES

    def verdict(data: np.ndarray, beyond: float, side: int, confidence: float | None) -> Verdict:
        claim = -1 + side * (3 + beyond) * spread
        return exponent(_SIZES, data, claim, within=3 * spread, bend=FAR, twin=FAR, of=of, confidence=confidence)

    return Trial(
        f"exponent, {of.removesuffix(' over replicas')}",
        "power law, normal noise",
        draw,
        verdict,
        exact=of != "mean curve",
    )


def _trend() -> Trial:
    x = np.arange(5.0)
    spread = 1 / math.sqrt(10)  # of a least-squares slope at unit noise

    def verdict(data: np.ndarray, beyond: float, side: int, confidence: float | None) -> Verdict:
        return trend(x, data, "rising", by=1 + beyond * spread, twin=FAR, confidence=confidence)

    return Trial("trend", "line, normal noise", lambda rng, n: x + rng.standard_normal((n, 5)), verdict, (1,))


def _limit() -> Trial:
    spread = 0.1 / float(np.linalg.norm(np.log(_SIZES) - np.log(_SIZES).mean()))

    def draw(rng: np.random.Generator, n: int) -> np.ndarray:
        return (1 + 0.1 * rng.standard_normal((n, _SIZES.size))) / _SIZES

    def verdict(data: np.ndarray, beyond: float, side: int, confidence: float | None) -> Verdict:
        claim = 1 + side * (3 + beyond) * spread
        return converges(_SIZES, data, rate=claim, within=3 * spread, floor=0.99, twin=FAR, confidence=confidence)

    return Trial("converges", "1/size, normal noise", draw, verdict, exact=False)


def _distance(of: str) -> Trial:
    curve = np.exp(-_TIMES)
    offset = 0.5 * (_TIMES == _TIMES[-1])  # the mean path misses the curve at the end

    def draw(rng: np.random.Generator, n: int) -> np.ndarray:
        return curve + offset + 0.1 * rng.standard_normal((n, _TIMES.size))

    @cache
    def truth() -> tuple[float, float]:
        if of == "mean trajectory":
            return 0.5, 0.1
        largest = np.abs(draw(np.random.default_rng(0), 200_000) - curve).max(axis=1)
        return float(largest.mean()), float(largest.std())

    def verdict(data: np.ndarray, beyond: float, side: int, confidence: float | None) -> Verdict:
        mean, spread = truth()
        return follows(data, curve, within=mean - beyond * spread, twin=curve + FAR, of=of, confidence=confidence)

    return Trial(
        f"follows, {of.removesuffix(' over replicas')}",
        "decay, normal noise",
        draw,
        verdict,
        (1,),
        exact=of == "mean trajectory",
    )


def _direction() -> Trial:
    axis = np.array([1.0, 0.0, 0.0, 0.0])

    def draw(rng: np.random.Generator, n: int) -> np.ndarray:
        return axis + 0.2 * rng.standard_normal((n, 4))

    @cache
    def truth() -> tuple[float, float]:
        v = draw(np.random.default_rng(0), 200_000)
        angles = np.arccos(v[:, 0] / np.linalg.norm(v, axis=1))
        return float(angles.mean()), float(angles.std())

    def verdict(data: np.ndarray, beyond: float, side: int, confidence: float | None) -> Verdict:
        mean, spread = truth()
        limit = max(mean - beyond * spread, 1e-3)
        return aligned(data, axis, within_angle=limit, twin=-axis, confidence=confidence)

    return Trial("aligned, mean", "axis, normal noise", draw, verdict, (1,), exact=False)


def _looks() -> Trial:
    """Replicas are doubled until the verdict decides, four looks at most, with the ledger's looks."""

    def verdict(data: np.ndarray, beyond: float, side: int, confidence: float | None) -> Verdict:
        ledger = ErrorLedger(budget=0.5)
        for look in (1, 2, 3, 4):
            part = data[: data.size // 8 * 2 ** (look - 1)]
            with ledger.claim("claim", share=1 - confidence, look=look):
                found = agrees(part, side * (3 + beyond), within=3.0, twin=FAR)
            if found.outcome is not Outcome.UNDECIDED:
                break
        return found

    return Trial(
        "agrees, mean, looked at 4 times (n to 8 n)", "normal", lambda rng, n: rng.standard_normal(8 * n), verdict
    )


def _rest() -> Trial:
    """Curves that came to rest, at a level of each replica; a tenth of its spread is noise of a record."""
    steps = np.array([100.0, 200.0, 400.0, 800.0])

    def draw(rng: np.random.Generator, n: int) -> np.ndarray:
        return math.sqrt(0.99) * rng.standard_normal((n, 1)) + 0.1 * rng.standard_normal((n, 4))

    def verdict(data: np.ndarray, beyond: float, side: int, confidence: float | None) -> Verdict:
        return settles(steps, data, side * (3 + beyond), within=3.0, twin=FAR, confidence=confidence)

    return Trial("settles", "curves at rest, normal replicas", draw, verdict)
