"""Claims on solvers: bursts of solutions, best steps, what adaptive steps follow (statements 1 and 8 to 10)."""

from __future__ import annotations

import numpy as np

from attnlab.analysis import Twin, Verdict, agrees, all_of, bounded, budget, ordered, relative, replicas, trend
from attnlab.analysis.verdicts.budget import Piece
from attnlab.papers.huang2023_stiffness.paper import paper, without
from attnlab.papers.lab.conditions import at_least, at_most, outside
from attnlab.papers.lab.declare import Scales
from attnlab.papers.lab.run.workbench import Lab
from attnlab.simulators.stiffness.euler_chains import EulerSetting, euler_rules
from attnlab.simulators.stiffness.solvers import KeplerSetting, VanDerPolSetting, kepler_steps, van_der_pol_steps
from attnlab.theory.stiffness import euler_steps as steps
from attnlab.theory.stiffness import orbits

KEPLER = Scales(smoke=KeplerSetting(), desk=KeplerSetting(), paper=KeplerSetting(tolerance=1e-10, n_replicas=64))
VAN_DER_POL = Scales(
    smoke=VanDerPolSetting(n_replicas=8),
    desk=VanDerPolSetting(),
    paper=VanDerPolSetting(mu=(1.0, 10.0, 30.0, 100.0, 300.0), tolerance=1e-8, n_cycles=3.0),
)
ECCENTRIC = 0.6  # what counts as an eccentric orbit
BURST_STD, STEP_TIMES_INDEX = 0.009, 0.1
"""Of the first eight replicas at seed 1: largest spread of the log of the share, and step times index of the solver at
tolerance 1e-8."""
INSIDE = {
    "height": at_least(1, "a speed that varies: otherwise all rules are the same"),
    "width": at_most(
        0.05, "the speed is that of both ends at the bump's feet: 7 widths away for centres in (0.35, 0.65)"
    ),
}
EULER = Scales(
    smoke=EulerSetting(n_replicas=8),
    desk=EulerSetting(),
    paper=EulerSetting(n_steps=(25, 100, 400, 1600, 6400), n_replicas=32),
)


@paper.claim(
    "solution_bursts",
    source="Introduction; index of Liang, Huang and Zhang 2022",
    statements=[1],
    parts=3,
    reads=("eccentricities",),
    setting=KEPLER,
    formula="least share of the period with half of int |u'| / |u| dt: 0.220, 0.070, 0.0115 at e = 0.6, 0.9, 0.99",
    assumptions=["Kepler orbit, e >= 0.6"],
    judged="log of the share within what the replicas leave open, and the share of one of the solver's steps squared",
)
def solution_bursts(setting: KeplerSetting, lab: Lab) -> Verdict:
    """The solution of an eccentric Kepler orbit makes half of its relative change in a small share of the period.

    On the circle it takes half of the period. Twin: half of the absolute change, which is briefer still.
    """
    if (
        verdict := without(setting.eccentricities, [max(*setting.eccentricities, ECCENTRIC)], "eccentricities")
    ) is not None:
        return verdict
    runs = lab.simulate(kepler_steps, setting)
    parts = []
    for k, e in enumerate(setting.eccentricities):
        if e >= ECCENTRIC:
            exact, rival = (np.log(orbits.kepler_burst_share(e, relative=relative)) for relative in (True, False))
            within = budget(replicas(BURST_STD, runs.n), Piece("steps of the solver", STEP_TIMES_INDEX**2))
            parts.append(
                agrees(
                    np.log(runs["burst_share"][:, k]),
                    exact,
                    within=within,
                    twin=Twin.of("absolute change", predicted=rival),
                ).named(f"e = {e:g}")
            )
    return all_of(*parts)


def speed_of(setting, centre):
    """The speed of rotation in theory's terms."""
    return steps.Speed(setting.base, setting.height, float(centre), setting.width)


def second_order(setting, centre, power):
    """The error of the longest chain to second order in 1 / N, and what is left out as a share of it: its reason and size.

    Each order is smaller than the one before by (h omega)^2 or (h omega' / omega)^2, which is below 1/4 where the
    second order is below 5 % of the first; 1e-6 is the error of an index measured by differences along 100 000 steps.
    """
    speed, n = speed_of(setting, centre), setting.n_steps[-1]
    share = steps.second_order_share(speed, n, power)
    leading = steps.euler_error_approx(speed, n, power)
    return leading * (1 + share), (("third order", abs(share) / 4), ("measured index", 1e-6))


def shares_of(predicted, left):
    """Pieces of a margin: shares of the smallest prediction."""
    return [relative(share, float(np.min(predicted)), why) for why, share in left]


def too_coarse(setting, runs, powers):
    """VACUOUS where the second order is no small correction."""
    worst = max(
        abs(steps.second_order_share(speed_of(setting, c), setting.n_steps[-1], p))
        for c in runs["centre"]
        for p in powers
    )
    if worst <= 0.05:
        return None
    return outside(f"n_steps={setting.n_steps[-1]}: the second order in 1 / N is {worst:.2g} of the first, over 0.05")


@paper.claim(
    "adaptive_steps",
    source="derived for the paper's analogy",
    statements=[8],
    kind="extrapolation",
    parts=3,
    setting=EULER,
    reads=("base", "height", "width", "n_steps"),
    covers=INSIDE,
    formula="E_uniform = int omega^2 / 2N, E_1/index = (int omega)^2 / 2N, ratio int omega^2 / (int omega)^2 = 3.852, "
    "and what "
    "the next order in 1/N adds",
    assumptions=["rotation of varying speed, whose index is omega", "longest chain"],
    judged="both errors, and their ratio, in every replica: their second-order prediction within a quarter of the second order",
)
def adaptive_steps(setting: EulerSetting, lab: Lab) -> Verdict:
    """Euler steps proportional to 1 / index have a known smaller error than equal steps.

    Twins: steps proportional to 1 / sqrt(index), which lie between the two; the ratio to leading order alone.
    """
    if (verdict := without(setting.powers, (0.0, 1.0), "powers")) is not None:
        return verdict
    runs = lab.simulate(euler_rules, setting)
    if (verdict := too_coarse(setting, runs, (0.0, 1.0))) is not None:
        return verdict
    log_norm, parts = runs["log_norm"][:, :, -1], []
    found = {p: [second_order(setting, c, p) for c in runs["centre"]] for p in (0.0, 1.0)}
    halfway = np.array([second_order(setting, c, 0.5)[0] for c in runs["centre"]])
    predicted = {p: np.array([value for value, _ in rows]) for p, rows in found.items()}
    left = {p: rows[0][1] for p, rows in found.items()}
    for p, name in ((0.0, "equal steps"), (1.0, "1 / index")):
        parts.append(
            agrees(
                log_norm[:, setting.powers.index(p)],
                predicted[p],
                within=budget(*shares_of(predicted[p], left[p])),
                of="every replica",
                twin=Twin.of("1 / sqrt(index)", predicted=halfway),
            ).named(name)
        )
    gain = predicted[0.0] / predicted[1.0]
    parts.append(
        agrees(
            log_norm[:, setting.powers.index(0.0)] / log_norm[:, setting.powers.index(1.0)],
            gain,
            within=budget(*shares_of(gain, left[0.0] + left[1.0])),
            of="every replica",
            twin=Twin.of("leading order", predicted=steps.equal_steps_loss(speed_of(setting, runs["centre"][0]))),
        ).named("ratio")
    )
    return all_of(*parts)


@paper.claim(
    "best_power",
    source="derived: Cauchy-Schwarz",
    statements=[8],
    kind="extrapolation",
    parts=3,
    setting=EULER,
    reads=("base", "height", "width", "n_steps"),
    covers=INSIDE,
    formula="E_p = E_(2-p) = int omega^p int omega^(2-p) / 2N >= E_1 for steps h ~ omega^-p, to leading order in 1/N",
    assumptions=["rotation of varying speed", "longest chain"],
    judged="in every replica: the ratios of the errors of p = 2 and 0, 3/2 and 1/2, 1/2 and 1 are their prediction to second "
    "order within a quarter of the second orders",
)
def best_power(setting: EulerSetting, lab: Lab) -> Verdict:
    """The exponent one of 1 / index is the best; exponents as far above as below it are equally bad, two as bad as
    none.

    Twins: the pairs crossed; errors that do not depend on the exponent between 1/2 and 1.
    """
    powers = (0.0, 0.5, 1.0, 1.5, 2.0)
    if (verdict := without(setting.powers, powers, "powers")) is not None:
        return verdict
    runs = lab.simulate(euler_rules, setting)
    if (verdict := too_coarse(setting, runs, powers)) is not None:
        return verdict
    log_norm = {p: runs["log_norm"][:, setting.powers.index(p), -1] for p in powers}
    found = {p: [second_order(setting, c, p) for c in runs["centre"]] for p in powers}
    predicted = {p: np.array([value for value, _ in rows]) for p, rows in found.items()}
    parts = []
    for a, b, rival, name in (
        (2.0, 0.0, Twin.of("pairs crossed", measured=log_norm[2.0] / log_norm[0.5]), "p = 2 and 0"),
        (1.5, 0.5, Twin.of("pairs crossed", measured=log_norm[1.5] / log_norm[0.0]), "p = 3/2 and 1/2"),
        (0.5, 1.0, Twin.of("equally good", predicted=1.0), "p = 1/2 and 1"),
    ):
        ratio = predicted[a] / predicted[b]
        parts.append(
            agrees(
                log_norm[a] / log_norm[b],
                ratio,
                within=budget(*shares_of(ratio, found[a][0][1] + found[b][0][1])),
                of="every replica",
                twin=rival,
            ).named(name)
        )
    return all_of(*parts)


@paper.claim(
    "kepler_steps",
    source="derived: step control by relative error",
    statements=[9],
    kind="extrapolation",
    parts=4,
    setting=KEPLER,
    formula="h ~ index^-1 for the steps of the pair of Dormand and Prince; rank correlation -> -1 as e -> 1",
    assumptions=["Kepler orbit; the slope for e >= 0.6"],
    judged="slope of log step on log index -1 within 0.05, stated before any run: the error of a step of order five "
    "is no pure power of "
    "the index away from pericentre; rank correlation falls with log 1 / (1 - e)",
)
def kepler_steps_follow_the_index(setting: KeplerSetting, lab: Lab) -> Verdict:
    """On eccentric Kepler orbits an adaptive solver takes steps proportional to 1 / index, the more closely the more
    eccentric.

    Twins: steps proportional to the inverse of the absolute speed, index^(-4/3) near pericentre; a correlation that
    falls by 0.1.
    """
    if (
        verdict := without(setting.eccentricities, [max(*setting.eccentricities, ECCENTRIC)], "eccentricities")
    ) is not None:
        return verdict
    runs = lab.simulate(kepler_steps, setting)
    es = np.array(setting.eccentricities)
    parts = [
        agrees(runs["slope"][:, k], -1.0, within=0.05, twin=Twin.of("absolute speed", predicted=-4 / 3)).named(
            f"e = {e:g}"
        )
        for k, e in enumerate(es)
        if e >= ECCENTRIC
    ]
    closer = trend(-np.log(1 - es), runs["rank_correlation"], "falling", twin=0.1)
    return all_of(*parts, closer.named("correlation"))


@paper.claim(
    "index_is_not_stiffness",
    source="derived: stability of explicit steps",
    statements=[10],
    kind="extrapolation",
    parts=5,
    setting=VAN_DER_POL,
    formula="rank correlation of step and index < 0 at mu = 10, > 0 at mu = 30; median h |lambda| <= 3.3066 on the "
    "slow "
    "branch at mu = 100",
    assumptions=["van der Pol's equation", "pair of Dormand and Prince"],
    judged="correlations beyond 0.1 in size; h |lambda| at most the end of the method's stability interval, and how "
    "near; the "
    "eigenvalue's correlation below -1/2",
)
def index_is_not_stiffness(setting: VanDerPolSetting, lab: Lab) -> Verdict:
    """On stiff van der Pol oscillations steps grow with the index: they follow the largest eigenvalue, through
    stability.

    Twins: correlations beyond 0.9; the stability interval of the classical method of order four; an eigenvalue that
    orders all steps.
    """
    if (verdict := without(setting.mu, (10.0, 30.0, 100.0), "mu")) is not None:
        return verdict
    runs = lab.simulate(van_der_pol_steps, setting)
    correlation, eigenvalue = (
        {mu: runs[name][:, k] for k, mu in enumerate(setting.mu)}
        for name in ("index_correlation", "eigenvalue_correlation")
    )
    zero = np.zeros(runs.n)
    accurate, stable = correlation[10.0], correlation[30.0]
    limit, rival = steps.real_stability_limit(), steps.real_stability_limit((1, 1, 1 / 2, 1 / 6, 1 / 24))
    product = bounded(
        runs["slow_product"][:, setting.mu.index(100.0)], limit, twin=Twin.of("classical method", bound=rival)
    )
    return all_of(
        ordered(accurate, zero, by=0.1, twin=0.9).named("index at mu = 10"),
        ordered(zero, stable, by=0.1, twin=0.9).named("index at mu = 30"),
        product.named("step times eigenvalue"),
        *(ordered(eigenvalue[mu], zero, by=0.5, twin=0.99).named(f"eigenvalue at mu = {mu:g}") for mu in (10.0, 100.0)),
    )
