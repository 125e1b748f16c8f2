"""Claims on one kernel value: means, errors, where each kind of features wins, and what hyperbolic ones gain."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from attnlab.analysis import Twin, Verdict, agrees, all_of, bounded, budget, finite_size, identical, replicas
from attnlab.papers.lab.conditions import at_most, that
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.performers.paper import CROSSINGS, DRAWN, GROWTH, PLANES, paper
from attnlab.simulators.positive_features.draws import DrawSetting, squared_errors
from attnlab.simulators.positive_features.features import KINDS
from attnlab.simulators.positive_features.planes import PlaneSetting, crossings, errors
from attnlab.theory.positive_features import estimators as theory
from attnlab.theory.positive_features.performer import positive_error, trigonometric_error
from attnlab.theory.positive_features.regularised import regularised_ratio_exact

#: Roundings of one term of a sum over the grid, in units of its size: an exponent of up to 200 is rounded to 200 eps of the
#: power, five times over.
ROUNDINGS = 1000
PAST = {
    "angles": that(lambda a: all(90 < t < 180 for t in a), "between 90 and 180", "the kernel must vanish as r grows")
}
WAVES, POSITIVE, HYPERBOLIC = range(len(KINDS))


def table(setting: PlaneSetting, law: Callable[[float, float], float]) -> np.ndarray:
    """A function of z^2 and delta^2 for x and y of equal length, shape (length, angle)."""
    cosines = np.cos(np.deg2rad(setting.angles))
    return np.array([[law(2 * r * r * (1 + c), 2 * r * r * (1 - c)) for c in cosines] for r in setting.lengths])


def published(z2: float, delta2: float) -> tuple[float, float, float]:
    """The three errors of one projection by equation 8, over the squared kernel."""
    kernel, z = math.exp((z2 - delta2) / 4), math.sqrt(z2)
    positive = positive_error(kernel, z, 1) / kernel**2
    waves = trigonometric_error(kernel, z, math.sqrt(delta2), 1) / kernel**2
    return waves, positive, -math.expm1(-z2) / 2 * positive


@paper.claim(
    "unbiased",
    source="lemma 1 and section 2.3",
    statements=[1],
    parts=3,
    setting=PLANES,
    formula="E[phi(x) . phi(y)] = e^(x . y) for the three kinds of features",
    judged="the features evaluated on a grid of projections in the plane of x and y and summed with Gaussian weights, within "
    "1000 roundings of the mean size of a term",
    reads=("lengths", "angles"),
)
def unbiased(setting: PlaneSetting, lab: Lab) -> Verdict:
    """Trigonometric, positive and hyperbolic features estimate the kernel without bias. Twin: the bias of rows of length sqrt(d)
    in 64 dimensions."""
    runs = lab.simulate(errors, setting)
    one = np.ones_like(runs["inner"])
    biased = table(setting, lambda z2, delta2: regularised_ratio_exact(math.sqrt(z2), 64))[None]
    return all_of(
        *(
            identical(
                runs["mean"][:, k],
                one,
                rounding=ROUNDINGS,
                scale=runs["size"][:, k],
                twin=Twin.of("rows on the sphere", b=biased),
            ).named(kind)
            for k, kind in enumerate(KINDS)
        )
    )


@paper.claim(
    "errors_of_one_projection",
    source="lemma 2, equation 8",
    statements=[2],
    parts=3,
    setting=PLANES,
    formula="over SM^2: e^(z^2) SM^-4 (1 - e^(-delta^2))^2 / 2; e^(z^2) (1 - e^(-z^2)); (1 - e^(-z^2)) / 2 times that",
    judged="the same sums of squared errors, within 1000 roundings of 1 + the error",
    reads=("lengths", "angles"),
)
def errors_of_one_projection(setting: PlaneSetting, lab: Lab) -> Verdict:
    """The mean squared errors of the three kinds have the published closed forms. Twins: the sizes 2 % larger."""
    runs = lab.simulate(errors, setting)
    parts = []
    for k, kind in enumerate(KINDS):
        law = table(setting, lambda z2, delta2, k=k: published(z2, delta2)[k])[None]
        parts.append(
            identical(
                runs["error"][:, k], law, rounding=ROUNDINGS, scale=1 + law, twin=Twin.of("2 % more", b=1.02 * law)
            ).named(kind)
        )
    return all_of(*parts)


@paper.claim(
    "errors_of_drawn_rows",
    source="lemma 2, equation 8, with m projections",
    statements=[2],
    parts=3,
    setting=DRAWN,
    formula="(cosh delta^2 - 1) / m; (e^(z^2) - 1) / m; (cosh z^2 - 1) / m, over SM^2",
    judged="mean over replicas of the squared relative error of m Gaussian rows; the spread of one draw is exact",
    reads=("square", "n_features"),
    covers={"square": at_most(1.0, "beyond, few draws carry the mean of positive features")},
)
def errors_of_drawn_rows(setting: DrawSetting, lab: Lab) -> Verdict:
    """m independent rows err by 1/m of one row. Twins: m - 1 rows; for positive features without the last term, e^(z^2)."""
    runs = lab.simulate(squared_errors, setting)
    of, s, m = f"mean over replicas of {setting.n_draws} draws", setting.square, setting.n_features
    both = {"trigonometric": ("even", -s), "positive": ("positive", s), "hyperbolic": ("even", s)}
    parts = []
    for k, kind in enumerate(KINDS):
        form, square = both[kind]
        law = (theory.positive_relative_error_exact if form == "positive" else theory.even_relative_error_exact)(
            square, m
        )
        std = theory.squared_error_std_exact(form, square, m) / math.sqrt(setting.n_draws)
        rival = math.exp(s) / m if form == "positive" else law * m / (m - 1)
        parts.append(
            agrees(
                runs["independent"][:, k],
                law,
                within=budget(replicas(std, runs.n, of=of)),
                of=of,
                twin=Twin.of("the nearest rival", predicted=rival),
            ).named(kind)
        )
    return all_of(*parts)


@paper.claim(
    "positive_error_vanishes_with_the_kernel",
    source="the sentence after equation 8",
    statements=[3],
    setting=GROWTH,
    expected="REFUTED",
    formula="MSE(positive) -> 0 as SM -> 0",
    judged="at each angle past 90 degrees, the error at the smallest kernel (length 4) is at most that at the largest (length 1)",
    note="e^(x . y) vanishes past 90 degrees, the error e^(2 z^2 - |x|^2 - |y|^2) only past 120: see growth_of_errors.",
    covers=PAST,
)
def positive_error_vanishes_with_the_kernel(setting: PlaneSetting, lab: Lab) -> Verdict:
    """The error of positive features vanishes whenever the kernel does. Twin: it falls to a hundredth."""
    runs = lab.simulate(errors, setting)
    absolute = np.log(runs["error"][0, POSITIVE]) + 2 * runs["inner"][0]  # (length, angle)
    return bounded(
        absolute[-1],
        absolute[0],
        twin=Twin.of("to a hundredth", bound=absolute[0] - math.log(100)),
        of="every replica",
        unit="angle",
    )


@paper.claim(
    "trigonometric_error_diverges",
    source="the sentence after equation 8",
    statements=[3],
    setting=GROWTH,
    parts=4,
    formula="MSE(trigonometric) -> infinity as SM -> 0: its logarithm grows like 2 r^2",
    judged="slope in r^2 between the two largest lengths at each angle, within what (1 - e^(-delta^2))^2 leaves of it",
    reads=("lengths", "angles"),
    covers=PAST | {"lengths": that(lambda x: len(x) == 3, "three lengths", "the last two give the slope")},
)
def trigonometric_error_diverges(setting: PlaneSetting, lab: Lab) -> Verdict:
    """The error of trigonometric features diverges as the kernel vanishes, like e^(|x|^2 + |y|^2).

    Twin: like SM^-2.
    """
    return _growth(setting, lab, WAVES, lambda t: 2.0, lambda t: -2 * math.cos(t))


@paper.claim(
    "growth_of_errors",
    source="corrects the sentence after equation 8; derived here",
    statements=[3],
    kind="extrapolation",
    setting=GROWTH,
    parts=4,
    formula="log MSE(positive) ~ r^2 (2 + 4 cos t): it vanishes past 120 degrees only",
    judged="slope in r^2 between the two largest lengths at each angle, within what 1 - e^(-z^2) leaves of it",
    reads=("lengths", "angles"),
    covers=PAST | {"lengths": that(lambda x: len(x) == 3, "three lengths", "the last two give the slope")},
)
def growth_of_errors(setting: PlaneSetting, lab: Lab) -> Verdict:
    """With the kernel the error of positive features vanishes past 120 degrees and diverges before. Twin: like SM^2, past 90."""
    return _growth(setting, lab, POSITIVE, theory.positive_error_growth_limit, lambda t: 2 * math.cos(t))


def _growth(setting: PlaneSetting, lab: Lab, kind: int, law: Callable, rival: Callable) -> Verdict:
    runs = lab.simulate(errors, setting)
    absolute = np.log(runs["error"][:, kind]) + 2 * runs["inner"]  # (replica, length, angle)
    r2 = np.square(setting.lengths)
    slopes = (absolute[:, 2] - absolute[:, 1]) / (r2[2] - r2[1])
    parts = []
    for column, degrees in enumerate(setting.angles):
        t = math.radians(degrees)
        sign, power = (1, 1) if kind == POSITIVE else (-1, 2)
        left = math.log1p(
            -math.exp(-2 * r2[1] * (1 + sign * math.cos(t)))
        )  # what the limit drops, at the smaller length
        within = budget(finite_size(r2[2] - r2[1], power * abs(left) + 1e-9, of="(r^2 - r'^2)"))
        parts.append(
            agrees(
                slopes[:, column],
                law(t),
                within=within,
                of="every replica",
                twin=Twin.of("a power of the kernel", predicted=rival(t)),
            ).named(f"{degrees:g} degrees")
        )
    return all_of(*parts)


@paper.claim(
    "where_each_wins",
    source="figure 2; the angles are derived here",
    statements=[3],
    kind="extrapolation",
    setting=CROSSINGS,
    parts=2,
    formula="positive features win past e^(z^2) = cosh delta^2, hyperbolic ones past 90 degrees",
    judged="angles of equal summed errors by bisection, within 1e5 roundings (the error's, over the slope of its logarithm in "
    "the angle, above r^2 / 2)",
    reads=("lengths",),
)
def where_each_wins(setting: PlaneSetting, lab: Lab) -> Verdict:
    """Positive features beat trigonometric ones only well past a right angle; hyperbolic ones from a right angle on, exactly.

    Twins: cos t = -ln 2 / (4 r^2), the limit of long vectors; positive features from 2 degrees later.
    """
    runs = lab.simulate(crossings, setting)
    law = np.array([[theory.crossover_angle_exact(r) for r in setting.lengths]])
    limit = np.arccos(np.maximum(-1, -math.log(2) / (4 * np.square(setting.lengths))))[None]
    right = np.full_like(law, math.pi / 2)
    one = identical(runs["positive"][:1], law, rounding=1e5, scale=law, twin=Twin.of("long vectors", b=limit))
    two = identical(
        runs["hyperbolic"][:1],
        right,
        rounding=1e5,
        scale=right,
        twin=Twin.of("2 degrees later", b=right + math.pi / 90),
    )
    return all_of(one.named("positive"), two.named("hyperbolic"))


@paper.claim(
    "hyperbolic_gain",
    source="lemma 2, equation 8, third line",
    statements=[4],
    parts=2,
    setting=PLANES,
    formula="MSE(hyperbolic, m) = (1 - e^(-z^2)) / 2 MSE(positive, m) = (1 - e^(-z^2)) MSE(positive, 2 m)",
    judged="ratio of the two summed errors wherever z > 0, within 1000 roundings of (1 + error) / error; against as many columns "
    "of features, every ratio below 1",
    reads=("lengths", "angles"),
)
def hyperbolic_gain(setting: PlaneSetting, lab: Lab) -> Verdict:
    """Hyperbolic features err by less than half of positive ones, and less than twice as many positive ones.

    Twins: exactly half; below 0.9 of as many columns.
    """
    runs = lab.simulate(errors, setting)
    z2 = table(setting, lambda s, t: s)
    seen = z2 > 1e-9
    positive, hyperbolic = (runs["error"][0, k][seen] for k in (POSITIVE, HYPERBOLIC))
    ratio, law = hyperbolic / positive, -np.expm1(-z2[seen]) / 2
    half = identical(
        ratio,
        law,
        rounding=2 * ROUNDINGS,
        scale=(1 + positive) / positive,
        twin=Twin.of("half", b=np.full_like(law, 0.5)),
    )
    as_many = bounded(2 * ratio, 1.0, twin=Twin.of("0.9", bound=0.9), of="every replica", unit="pair of vectors")
    return all_of(half.named("as many projections"), as_many.named("as many columns"))
