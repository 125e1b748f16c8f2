"""Figures: entropies and distances of known and random heads; areas of contrasts and votes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import figures
from attnlab.papers.instruments_maps.measured import (
    KERNELS,
    ImageSetting,
    KnownSetting,
    RandomSetting,
    VoteSetting,
    contrasts,
    known,
    random_heads,
    votes,
)
from attnlab.papers.instruments_maps.paper import paper
from attnlab.papers.lab.declare import Scales
from attnlab.papers.lab.run.workbench import Lab
from attnlab.theory.instruments import maps as theory

_RANDOM = RandomSetting(causal=False, n_prompts=32, n_replicas=8)
_IMAGES = ImageSetting(n_prompts=50, n_replicas=8)


@paper.figure(
    "fig1",
    caption="(a) Mean entropy of random heads over ln n, n = 32, against the spread of scores (line: exact; dashed: ln n - "
    "s²/2; points: 32 prompts of two heads per replica). (b) Mean distance of exponential kernels on n tokens, over that on an "
    "infinite line (lines: exact; points: the instrument, without noise)",
    source="sections 1 and 2",
    setting=Scales(_RANDOM, _RANDOM, replace(_RANDOM, n_prompts=256)),
    claims=("random_entropies", "distances"),
)
def entropies(setting: RandomSetting, lab: Lab) -> figures.Plate:
    plate = figures.Plate(columns=2, width="double")
    left, right = plate[0, 0], plate[0, 1]
    at, fine, n = np.array([0.0, 0.5, 1.0, 1.5, 2.0, 3.0]), np.linspace(0, 3, 16), setting.n_tokens
    runs = lab.simulate(random_heads, *(replace(setting, sd=float(s)) for s in at))
    figures.prediction(left, fine, [theory.mean_entropy_exact(n, float(s)) / np.log(n) for s in fine], "exact")
    figures.measurement(left, at, np.stack([r["entropy"] for r in runs], 1) / np.log(n), "exact")
    figures.prediction(left, fine, [theory.mean_entropy_approx(n, float(s)) / np.log(n) for s in fine], "ln n - s²/2")
    left.labels(x="spread of scores s (nats)", y="entropy / ln n")
    lengths, fine = np.array([8, 16, 32, 64, 128]), np.arange(8, 129, 4)
    made = lab.simulate(known, *(KnownSetting(n_tokens=int(t)) for t in lengths))
    for k, lam in enumerate(KERNELS):
        line = theory.distance_of_kernel_limit(lam)
        figures.prediction(
            right, fine, [theory.distance_of_kernel_exact(int(t), lam) / line for t in fine], f"λ = {lam:g}"
        )
        figures.measurement(right, lengths, np.stack([r["kernels"][:, k] for r in made], 1) / line, f"λ = {lam:g}")
    right.scale(x="log")
    right.ticks(x=[8, 16, 32, 64, 128])
    right.labels(x="tokens n", y="distance / infinite line")
    plate.legend("below")
    return plate


@paper.figure(
    "fig2",
    caption="(a) Chance that a marked token (signal 4) outranks another, by the task's map and by its quotient with a general "
    "map, against the log noise of the maps; the image's own is 1 (lines: exact; points: 50 prompts per replica). (b) How often "
    "the maximum attention score is right, against the number of heads, each right with probability p (lines: exact; points: "
    "500 prompts per replica)",
    source="sections 6 and 7",
    setting=Scales(_IMAGES, _IMAGES, replace(_IMAGES, n_prompts=400)),
    claims=("areas", "votes"),
)
def areas_and_votes(setting: ImageSetting, lab: Lab) -> figures.Plate:
    plate = figures.Plate(columns=2, width="double")
    left, right = plate[0, 0], plate[0, 1]
    at, fine = np.array([0.1, 0.3, 0.6, 1.0, 1.5, 2.0]), np.linspace(0.05, 2.1, 42)
    runs = lab.simulate(contrasts, *(replace(setting, map_sd=float(s)) for s in at))
    for name, label, law in (("area", "quotient", theory.area_of_contrast), ("raw", "map", theory.area_of_raw_map)):
        figures.prediction(left, fine, [law(setting.gain, float(s)) for s in fine], label)
        figures.measurement(left, at, np.stack([r[name] for r in runs], 1), label)
    left.labels(x="log noise of the maps σ", y="area under the curve")
    heads, fine = np.array([1, 5, 15, 31, 61]), np.arange(1, 62, 4)
    for number, chance in enumerate((0.55, 0.6)):
        base = VoteSetting(chance=chance, n_prompts=500, n_replicas=8)
        found = lab.simulate(votes, *(replace(base, n_heads=int(h)) for h in heads))
        figures.prediction(right, fine, [theory.majority_exact(chance, int(h)) for h in fine], f"p = {chance:g}")
        share = np.stack([r["right"].mean(1) for r in found], 1)
        figures.measurement(right, heads, share, f"p = {chance:g}", dodge=2 * number)
    right.labels(x="heads", y="share of right answers")
    plate.legend("below")
    return plate
