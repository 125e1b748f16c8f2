"""Claims on rows of growing length: what a scale of ln n keeps of the entropy, and how powers sharpen."""

from __future__ import annotations

import math

from attnlab.analysis import Twin, Verdict, agrees, all_of, budget, finite_size, ordered, replicas
from attnlab.papers.lab.conditions import at_most, that
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.normalisers.paper import LENGTHS, paper
from attnlab.simulators.score_maps.random_rows import LengthSetting, lengths
from attnlab.theory.score_maps import random_rows as theory


@paper.claim(
    "length_scale_keeps_entropy",
    source="section 3 of Gao and Spratling",
    statements=[1],
    expected="REFUTED",
    setting=LENGTHS,
    formula="H(n) constant in n with the scale c0 ln n",
    judged="mean entropy at the longest less that at the shortest length, within a tenth of the logarithm of their ratio",
    note="Softplus grows linearly, so no scale takes more than 0.977 nats off ln n at Gaussian scores: see "
    "entropy_of_length_scaled_rows.",
    reads=("lengths",),
)
def length_scale_keeps_entropy(setting: LengthSetting, lab: Lab) -> Verdict:
    """With a scale that grows like ln n the entropy of softplus rows does not depend on the length.

    Twin: it grows by half of ln n.
    """
    runs, of = lab.simulate(lengths, setting), f"mean over replicas of {setting.n_rows} draws"
    ratio = math.log(setting.lengths[-1] / setting.lengths[0])
    grown = runs["entropy"][:, -1] - runs["entropy"][:, 0]
    return agrees(grown, 0.0, within=0.1 * ratio, of=of, twin=Twin.of("half of ln n", predicted=0.5 * ratio))


@paper.claim(
    "entropy_of_length_scaled_rows",
    source="corrects section 3 of Gao and Spratling; derived here",
    statements=[1],
    kind="extrapolation",
    setting=LENGTHS,
    parts=3,
    formula="H = ln n - E[f ln f] / E f + ln E f, f = softplus(c0 ln(n) c), c the cosine of random directions",
    judged="entropy lost, ln n - H, mean over rows at each length; spread of a row and the term of order 1/n by the delta method",
    reads=("dim", "lengths", "constant"),
    covers={"lengths": that(lambda n: min(n) >= 256, "at least 256", "limits of many keys")},
)
def entropy_of_length_scaled_rows(setting: LengthSetting, lab: Lab) -> Verdict:
    """Rows of softplus attention with a scale of ln n lose a bounded entropy: the rest grows like ln n.

    Twin: what relu loses, the bound.
    """
    runs, of, parts = lab.simulate(lengths, setting), f"mean over replicas of {setting.n_rows} draws", []
    for k, n in enumerate(setting.lengths):
        law = theory.entropy_deficit_law(
            "softplus", theory.cosine_scores(setting.dim, setting.constant * math.log(n)), n
        )
        bound = theory.entropy_deficit_law("relu", theory.cosine_scores(setting.dim, 1.0), n).limit
        verdict = agrees(
            math.log(n) - runs["entropy"][:, k],
            law.limit,
            within=budget(
                replicas(law.std / math.sqrt(setting.n_rows), runs.n, of=of), finite_size(n, law.dropped * n, of="n")
            ),
            of=of,
            twin=Twin.of("that of relu", predicted=bound),
        )
        parts.append(verdict.named(f"n = {n}"))
    return all_of(*parts)


@paper.claim(
    "powers_sharpen",
    source="equation 12 of Gao and Spratling",
    statements=[1],
    setting=LENGTHS,
    parts=2,
    formula="n sum W^2 rises from plain rows to each power of relu(n A - o)",
    judged="paired differences of mean participations at the longest length, plain to the first power and from it to the last",
    reads=("dim", "lengths", "constant", "powers", "offset"),
    covers={"powers": that(lambda p: len(p) == 2 and p[0] < p[1], "two, rising"), "offset": at_most(1.0)},
)
def powers_sharpen(setting: LengthSetting, lab: Lab) -> Verdict:
    """Re-weighting by powers of what is above the offset sharpens rows, the more the higher the power.

    Twins: steps of 1.2 times that of many keys (first power), and up to the participation of many keys (last).
    """
    runs, n = lab.simulate(lengths, setting), setting.lengths[-1]
    scores = theory.cosine_scores(setting.dim, setting.constant * math.log(n))
    plain = theory.participation_law("softplus", scores, n).limit
    limits = [theory.reweighted_participation_limit(scores, p, setting.offset) for p in setting.powers]
    measured = runs["participation"][:, -1]
    first = ordered(measured[:, 0], measured[:, 1], twin=Twin.of("1.2 times the step", by=1.2 * (limits[0] - plain)))
    last = ordered(measured[:, 1], measured[:, 2], twin=Twin.of("that of many keys", by=limits[1] - limits[0]))
    return all_of(first.named(f"power {setting.powers[0]}"), last.named(f"power {setting.powers[1]}"))
