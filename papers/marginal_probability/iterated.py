"""Claims: iterated attention climbs a bound, by how much per step, how fast, and which slots do."""

from __future__ import annotations

import numpy as np

from attnlab.analysis import Twin, Verdict, agrees, all_of, bounded, budget, identical, relative, rounding
from attnlab.papers.lab.conditions import that
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.marginal_probability.paper import ANTIPODAL, RETRIEVAL, SLOTS, paper
from attnlab.simulators.latent_structures.iterations import (
    AntipodalSetting,
    RetrievalSetting,
    SlotSetting,
    antipodal,
    retrieval,
    slots,
)
from attnlab.theory.latent_structures import iterations as theory


@paper.claim(
    "retrieval_descends",
    source="Hopfield networks as inference; the constant is derived here",
    statements=[4],
    setting=RETRIEVAL,
    formula="F(q) - F(q') >= |q' - q|^2 / 2, q' = K^T softmax(beta K q)",
    judged="the least ratio over steps longer than 1e-4, of every replica and inverse temperature; roundings of F over 1e-8",
    covers={
        "inverse_temperatures": that(lambda b: max(b) >= 8, "up to 8 at least", "it is reached where rows saturate")
    },
)
def retrieval_descends(setting: RetrievalSetting, lab: Lab) -> Verdict:
    """A step of iterated attention lowers its energy by at least half its squared length, whatever keys, query and temperature.

    Twin: 0.51 for one half.
    """
    runs = lab.simulate(retrieval, setting)
    law = theory.descent_per_squared_step_bound()
    return bounded(
        runs["descent"].min(1),
        law,
        side="below",
        within=budget(rounding(200, 1 / 1e-8)),
        of="every replica",
        twin=Twin.of("0.51", bound=0.51),
    )


@paper.claim(
    "retrieval_rate",
    source="derived here",
    statements=[4],
    kind="extrapolation",
    setting=ANTIPODAL,
    formula="between keys k and -k: factor b (1 - m^2) per step, m = tanh(b m), b = beta |k|^2; at b = 1 m^-2 grows by 2/3 a "
    "step",
    judged="factor of step lengths at the end of every replica, overlap there, and overlap at b = 1",
    reads=("gains", "critical_steps", "start"),
    covers={"gains": that(lambda g: len(g) == 5 and min(abs(x - 1) for x in g) > 0.15, "five, none near 1", "near 1 no rate is "
                          "reached within the steps")},
    parts=7,
)  # fmt: skip
def retrieval_rate(setting: AntipodalSetting, lab: Lab) -> Verdict:
    """Retrieval converges by a factor that one fixed point gives, slowest at beta |k|^2 = 1, where it is a power of the steps.

    Twins: b^(-2) above 1 and b^(1.02) below; sqrt(3 (1 - 1/b)) for m; 0.7 for 2/3.
    """
    runs = lab.simulate(antipodal, setting)
    parts = []
    for k, gain in enumerate(setting.gains):
        law = theory.antipodal_rate(gain)
        rival = gain**-2 if gain > 1 else gain**1.02
        # the factor at distance e from the fixed point is off by at most 2 b^2 e, at the fixed point 0 by b^3 e^2; the last
        # quarter of the steps begins at e = factor^(3/4 of them), or where a replica that stops at 1e-7 has its last quarter
        near = max(law, 1e-7 ** (1 / setting.n_steps)) ** (0.75 * setting.n_steps) / (1 - law)
        bend = 2 * gain**2 * near if gain > 1 else gain**3 * near**2
        parts.append(
            agrees(
                runs["factor"][:, k],
                law,
                within=budget(relative(1, bend, "distance from the fixed point"), rounding(64, 1 / 1e-7)),
                of="every replica",
                twin=Twin.of("b^-2 or b^1.02", predicted=rival),
            ).named(f"b = {gain:g}")
        )
    above = [k for k, gain in enumerate(setting.gains) if gain > 1.3]
    fixed = np.array([theory.antipodal_fixed_point(setting.gains[k]) for k in above])
    slack = max(theory.antipodal_rate(setting.gains[k]) for k in above)
    ends = identical(
        runs["overlap"][:, above],
        np.broadcast_to(fixed, (runs.n, len(above))),
        rounding=max(1e-7 / (1 - slack), 0.5 * slack**setting.n_steps / (1 - slack)) / np.finfo(float).eps,
        scale=1.0,
        twin=Twin.of("the cubic's root", b=np.broadcast_to(np.sqrt(3 * (1 - 1 / np.array(setting.gains)[above])), (runs.n,
        len(above)))),
    )  # fmt: skip
    t = setting.critical_steps
    law = theory.critical_overlap_approx(t, setting.start)
    log = 0.1 * np.log1p(2 * t * setting.start**2 / 3) * law**2 / 2  # half the relative change of m^-2 by its next term
    critical = agrees(
        runs["critical"],
        law,
        within=budget(relative(1.5 * log, law, "next term")),
        of="every replica",
        twin=Twin.of("0.7 for 2/3", predicted=(setting.start**-2 + 0.7 * t) ** -0.5),
    )
    return all_of(*parts, ends.named("overlap"), critical.named("b = 1"))


@paper.claim(
    "slots_need_norms",
    source="slot attention as expectation-maximisation; derived here",
    statements=[4],
    kind="extrapolation",
    setting=SLOTS,
    formula="with -|s_j|^2 / 2 in the logits: gain >= sum_j n_j |s_j' - s_j|^2 / 2 sigma^2; without, slots of larger norm "
    "take all",
    judged="least gain per squared step of every replica; slots and likelihood after one step from two clusters, to rounding",
    note="Responsibilities softmax_j(x_i.s_j) are those of no spherical mixture with fixed weights unless all slots have one "
    "norm.",
    reads=("noise_std", "low", "high"),
    covers={"noise_std": that(lambda s: s == 1, "1", "clusters have spread 1")},
    parts=3,
)
def slots_need_norms(setting: SlotSetting, lab: Lab) -> Verdict:
    """Slots are expectation-maximisation if responsibilities carry the slots' norms, and their likelihood then never falls.

    With plain dot products it falls even from slots that sit on their clusters. Twins: twice the gain; the other kind's slots;
    dot products that climb as well.
    """
    runs = lab.simulate(slots, setting)
    law = theory.likelihood_per_squared_step_bound(setting.noise_std)
    gain = bounded(
        runs["gain"][:, 0],
        law,
        side="below",
        within=budget(rounding(20 * setting.n_points, setting.n_points / 1e-6)),
        of="every replica",
        twin=Twin.of("twice as much", bound=2 * law),
    )
    ends = setting.low, setting.high
    two = [theory.two_cluster_slots(*ends, setting.noise_std, norms) for norms in (True, False)]
    start = theory.two_slot_log_likelihood(ends, *ends, setting.noise_std)
    change = np.array([theory.two_slot_log_likelihood(s, *ends, setting.noise_std) - start for s in two])
    places = identical(
        runs["two"][0],
        np.array(two),
        rounding=64,
        scale=setting.high,
        twin=Twin.of("the other logits", b=np.array(two[::-1])),
    )
    falls = identical(
        runs["change"][0], change, rounding=64, scale=1.0, twin=Twin.of("dot products climb as well", b=np.abs(change))
    )
    return all_of(gain.named("gain"), places.named("two clusters"), falls.named("their likelihood"))
