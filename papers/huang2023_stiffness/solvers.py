"""Claims on solvers: bursts of solutions, best steps, what adaptive steps follow (statements 1 and 8 to 10)."""

from __future__ import annotations

import numpy as np

from attnlab.analysis import Outcome, Twin, Verdict, agrees, all_of, ordered, trend
from attnlab.papers.huang2023_stiffness.paper import paper, without
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
    setting=KEPLER,
    formula="least share of the period with half of int |u'| / |u| dt: 0.220, 0.070, 0.0115 at e = 0.6, 0.9, 0.99",
    assumptions=["Kepler orbit, e >= 0.6"],
    judged="log of the share within a quarter of its distance to the twin's",
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
            parts.append(
                agrees(
                    np.log(runs["burst_share"][:, k]),
                    exact,
                    within=abs(rival - exact) / 4,
                    twin=Twin.of("absolute change", predicted=rival),
                ).named(f"e = {e:g}")
            )
    return all_of(*parts)


def relative_errors(setting, lab: Lab):
    """Log of the norm over its leading order, ``(replica, power, length)``."""
    runs = lab.simulate(euler_rules, setting)
    exact = [
        [[steps.euler_error_approx(speed_of(setting, c), n, p) for n in setting.n_steps] for p in setting.powers]
        for c in runs["centre"]
    ]
    return runs["log_norm"] / np.array(exact), runs


def speed_of(setting, centre):
    """The speed of rotation in theory's terms."""
    return steps.Speed(setting.base, setting.height, float(centre), setting.width)


@paper.claim(
    "adaptive_steps",
    source="derived for the paper's analogy",
    statements=[8],
    parts=3,
    setting=EULER,
    formula="E_uniform = int omega^2 / 2N, E_1/index = (int omega)^2 / 2N, ratio int omega^2 / (int omega)^2 = 3.852",
    assumptions=["rotation of varying speed, whose index is omega", "longest chain"],
    judged="both errors within 1 % and their ratio within 0.5 % in every replica, next order in 1 / N: h omega = "
    "0.004 and less",
)
def adaptive_steps(setting: EulerSetting, lab: Lab) -> Verdict:
    """Euler steps proportional to 1 / index have a known smaller error than equal steps.

    Twins: steps proportional to 1 / sqrt(index), which lie between the two.
    """
    if (verdict := without(setting.powers, (0.0, 1.0), "powers")) is not None:
        return verdict
    relative, runs = relative_errors(setting, lab)
    speed = speed_of(setting, runs["centre"][0])
    halfway, exact = (
        steps.euler_error_approx(speed, 1, 0.5),
        [steps.euler_error_approx(speed, 1, p) for p in (0.0, 1.0)],
    )
    parts = [
        agrees(
            relative[:, setting.powers.index(p), -1],
            1.0,
            within=0.01,
            of="every replica",
            twin=Twin.of("1 / sqrt(index)", predicted=halfway / e),
        ).named(name)
        for p, e, name in ((0.0, exact[0], "equal steps"), (1.0, exact[1], "1 / index"))
    ]
    log_norm = runs["log_norm"][:, :, -1]
    gain = log_norm[:, setting.powers.index(0.0)] / log_norm[:, setting.powers.index(1.0)]
    predicted = steps.equal_steps_loss(speed)
    parts.append(
        agrees(
            gain,
            predicted,
            within=0.005 * predicted,
            of="every replica",
            twin=Twin.of("1 / sqrt(index)", predicted=exact[0] / halfway),
        ).named("ratio")
    )
    return all_of(*parts)


@paper.claim(
    "best_power",
    source="derived: Cauchy-Schwarz",
    statements=[8],
    parts=3,
    setting=EULER,
    formula="E_p = E_(2-p) = int omega^p int omega^(2-p) / 2N >= E_1 for steps h ~ omega^-p",
    assumptions=["rotation of varying speed", "longest chain, with h omega at most 1/20 at p = 2"],
    judged="in every replica: errors of p = 2 and 0, and of 3/2 and 1/2, equal within 1 %; that of p = 1 less than that "
    "of 1/2",
    note="The equalities are of leading order in 1 / N, the next is (h omega)^2; shorter chains are VACUOUS.",
)
def best_power(setting: EulerSetting, lab: Lab) -> Verdict:
    """The exponent one of 1 / index is the best; exponents as far above as below it are equally bad, two as bad as none.

    Twins: the pairs crossed; the order reversed.
    """
    if (verdict := without(setting.powers, (0.0, 0.5, 1.0, 1.5, 2.0), "powers")) is not None:
        return verdict
    runs = lab.simulate(euler_rules, setting)
    square = 2 * steps.euler_error_approx(
        speed_of(setting, runs["centre"][0]), setting.n_steps[-1], 0.0
    )  # int omega^2 / N
    if (largest := square / setting.base) > 0.05:  # h omega of p = 2, where omega is least
        return Verdict(
            Outcome.VACUOUS,
            "assumption",
            reason=f"n_steps={setting.n_steps[-1]} has h omega = {largest:.2g}, over "
            "0.05: the statement is of leading order",
        )
    log_norm = runs["log_norm"][:, :, -1]
    none, half, one, more, two = (log_norm[:, setting.powers.index(p)] for p in (0.0, 0.5, 1.0, 1.5, 2.0))
    pairs = [
        agrees(a / b, 1.0, within=0.01, of="every replica", twin=Twin.of("pairs crossed", measured=a / c)).named(name)
        for a, b, c, name in ((two, none, half, "p = 2 and 0"), (more, half, none, "p = 3/2 and 1/2"))
    ]
    best = ordered(one, half, of="every replica", twin=Twin.of("reversed", smaller=half, larger=one))
    return all_of(*pairs, best.named("p = 1 and 1/2"))


@paper.claim(
    "kepler_steps",
    source="derived: step control by relative error",
    statements=[9],
    parts=4,
    setting=KEPLER,
    formula="h ~ index^-1 for the steps of the pair of Dormand and Prince; rank correlation -> -1 as e -> 1",
    assumptions=["Kepler orbit; the slope for e >= 0.6"],
    judged="slope of log step on log index -1 within 0.05, less than half of the distance of a pure absolute "
    "tolerance; rank correlation falls with log 1 / (1 - e)",
)
def kepler_steps_follow_the_index(setting: KeplerSetting, lab: Lab) -> Verdict:
    """On eccentric Kepler orbits an adaptive solver takes steps proportional to 1 / index, the more closely the more eccentric.

    Twins: steps proportional to the inverse of the absolute speed, index^(-4/3) near pericentre; a correlation that rises.
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
    closer = trend(-np.log(1 - es), runs["rank_correlation"], "falling", twin=Twin.of("rises", direction="rising"))
    return all_of(*parts, closer.named("correlation"))


@paper.claim(
    "index_is_not_stiffness",
    source="derived: stability of explicit steps",
    statements=[10],
    parts=5,
    setting=VAN_DER_POL,
    formula="rank correlation of step and index < 0 at mu = 10, > 0 at mu = 30; median h |lambda| = 3.3066 on the slow "
    "branch at mu = 100",
    assumptions=["van der Pol's equation", "pair of Dormand and Prince"],
    judged="signs of the correlations; h |lambda| within half of the distance to the classical method's interval "
    "2.785; the eigenvalue's correlation below -1/2",
)
def index_is_not_stiffness(setting: VanDerPolSetting, lab: Lab) -> Verdict:
    """On stiff van der Pol oscillations steps grow with the index: they follow the largest eigenvalue, through stability.

    Twins: the opposite signs; the stability interval of the classical method of order four; an eigenvalue that orders all steps.
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
    product = agrees(
        runs["slow_product"][:, setting.mu.index(100.0)],
        limit,
        within=(limit - rival) / 2,
        twin=Twin.of("classical method", predicted=rival),
    )
    return all_of(
        ordered(accurate, zero, twin=Twin.of("positive", smaller=zero, larger=accurate)).named("index at mu = 10"),
        ordered(zero, stable, twin=Twin.of("negative", smaller=stable, larger=zero)).named("index at mu = 30"),
        product.named("step times eigenvalue"),
        *(ordered(eigenvalue[mu], zero, by=0.5, twin=0.99).named(f"eigenvalue at mu = {mu:g}") for mu in (10.0, 100.0)),
    )
