"""Claims on trained layers that look up a source: odds of the target grow affinely, a bias stops them, and what the loss says."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from attnlab.analysis import Twin, Verdict, agrees, all_of, bounded, budget, ordered, relative, replicas
from attnlab.papers.decoder_only_sensitivity.paper import LOOKUPS, paper
from attnlab.papers.lab.conditions import at_least, one_of, that
from attnlab.papers.lab.run.workbench import Lab, Runs
from attnlab.simulators.source_attention.trained import LookupSetting, lookup
from attnlab.theory.source_attention import mass

COVERS = {
    "layer": one_of("joint", why="the other layers are derived from it"),
    "target_lengths": that(lambda t: len(t) == 4 and t[-1] >= 64 * t[0], "four, the last at least 64 times the first"),
}
TRAINED = COVERS | {"n_steps": at_least(180, "networks must be trained")}
MEDIAN = "median over replicas"
DOUBLED, LESS = math.log(2), 0.1


def _odds(setting: LookupSetting, runs: Runs, k: int, label: str) -> Verdict:
    """Logarithms of mean odds at the k-th length against the law, replica by replica."""
    t, inverse = setting.target_lengths[k], runs["inverse"][:, k]
    law = mass.mean_odds_exact(runs["own"], runs["target"], inverse, t)
    std = mass.mean_odds_std(runs["target"], runs["square"], runs["inverse2"][:, k], t, setting.n_test) / law
    spread = float(np.sqrt((std**2).mean()))
    draws = f"mean over replicas of {setting.n_test} draws"
    # the nearest rival where it can be told: a token's own key is as good as any; for long targets scores are averaged first
    own, mean = (runs["target"], runs["target"]) if k == 0 else (runs["own"], runs["middle"])
    other = mass.mean_odds_exact(own, mean, inverse, t)
    return agrees(
        np.log(runs["odds"][:, k]),
        np.log(law),
        within=budget(replicas(spread, runs.n, of=draws), relative(spread**2, 1.0, "logarithm of a mean")),
        of=draws,
        scale=1.0,
        twin=Twin.of("own key like any" if k == 0 else "scores averaged first", predicted=np.log(other)),
    ).named(f"{label}, t = {t}")


@paper.claim(
    "odds_are_affine",
    source="attention degeneration in trained layers; the law is derived here",
    statements=[2],
    kind="extrapolation",
    setting=LOOKUPS,
    parts=5,
    formula="E[(1-m)/m] = mean over keys a of (w_aa + (t-1) mean_b w_ab) E[1/Z_S(a)], w exponentials of scores",
    judged="logarithm of mean odds on fresh sequences at four lengths, to 64 times the trained one, and at the longest with a "
    "bias; the spread over drawn targets from theory",
    covers=COVERS,
)
def odds_are_affine(setting: LookupSetting, lab: Lab) -> Verdict:
    """In a trained layer the odds of target against source are affine in the target's length, with a slope from its scores;
    with a bias ln(n + t) they stop growing.

    Twins: a token attends to itself as to others; the exponential of mean scores.
    """
    joint, biased = lab.simulate(lookup, setting, replace(setting, layer="biased"))
    parts = [_odds(setting, joint, k, "one softmax") for k in range(len(setting.target_lengths))]
    return all_of(*parts, _odds(setting, biased, len(setting.target_lengths) - 1, "with a bias"))


@paper.claim(
    "a_bias_is_enough",
    source="derived here; lengths to 64 times the trained one",
    statements=[2, 3],
    kind="extrapolation",
    setting=LOOKUPS,
    parts=3,
    formula="loss at the longest target over that at the trained length: above 2 with one softmax, and twice that with a bias; "
    "with a branch twice that with a bias, too",
    judged="median over pairs of replicas of differences of logarithms of mean cross-entropies on fresh sequences",
    covers=TRAINED,
)
def a_bias_is_enough(setting: LookupSetting, lab: Lab) -> Verdict:
    """Trained on short targets the loss of one softmax rises with the target; a bias of ln(n + t) on source scores prevents it,
    better than a second softmax over the source.

    Twins: a thousandfold. Null: before training.
    """
    joint, biased, branch = lab.simulate(
        lookup, *(replace(setting, layer=each) for each in ("joint", "biased", "branch"))
    )

    def rise(runs: Runs, name: str) -> np.ndarray:
        return np.log(runs[name][:, -1] / runs[name][:, 0])

    far = Twin.of("a thousandfold", by=math.log(1000))
    start = Twin.of(
        "before training", smaller=np.log(joint["start_nats"][:, 0]), larger=np.log(joint["start_nats"][:, -1])
    )
    low, high = np.log(joint["nats"][:, 0]), np.log(joint["nats"][:, -1])
    parts = [ordered(low, high, by=DOUBLED, of=MEDIAN, twin=far, null=start).named("one softmax rises")]
    for label, runs in (("one softmax rises more than with a bias", joint), ("a branch, too", branch)):
        start = Twin.of("before training", smaller=rise(biased, "start_nats"), larger=rise(runs, "start_nats"))
        more = ordered(rise(biased, "nats"), rise(runs, "nats"), by=DOUBLED, of=MEDIAN, twin=far, null=start)
        parts.append(more.named(label))
    return all_of(*parts)


@paper.claim(
    "low_mass_is_not_lost",
    source="partial attention (a softmax over the source beside the joint one)",
    statements=[3],
    kind="extrapolation",
    setting=LOOKUPS,
    parts=2,
    formula="at the longest target: mass with a branch below that without by 0.1; loss with a branch at most a tenth of ln n",
    judged="medians over replicas, of the difference of masses and of the mean cross-entropy",
    covers=TRAINED,
)
def low_mass_is_not_lost(setting: LookupSetting, lab: Lab) -> Verdict:
    """With a branch over the source the joint softmax gives the source less, and still the source is read: its mass does not
    tell.

    Twins: less by 0.9; a loss of a ten-thousandth of ln n. Null: before training.
    """
    joint, branch = lab.simulate(lookup, setting, replace(setting, layer="branch"))
    guess = math.log(setting.n_source)
    less = ordered(
        branch["mass"][:, -1],
        joint["mass"][:, -1],
        by=LESS,
        of=MEDIAN,
        twin=Twin.of("by 0.9", by=0.9),
        null=Twin.of("before training", smaller=branch["start_mass"][:, -1], larger=joint["start_mass"][:, -1]),
    )
    read = bounded(
        branch["nats"][:, -1],
        guess / 10,
        of=MEDIAN,
        twin=Twin.of("a ten-thousandth", bound=guess / 1e4),
        null=branch["start_nats"][:, -1],
    )
    return all_of(less.named("mass"), read.named("loss"))
