"""Claims on maps: exact readings of known ones, null means of random ones, areas of contrasts, and votes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import (
    Twin,
    Verdict,
    agrees,
    all_of,
    budget,
    identical,
    ordered,
    relative,
    replicas,
    sampling,
    share,
)
from attnlab.papers.instruments_maps.measured import (
    KERNELS,
    KEYS,
    MIXED,
    WEIGHTS,
    ImageSetting,
    KnownSetting,
    RandomSetting,
    VoteSetting,
    contrasts,
    known,
    random_heads,
    votes,
)
from attnlab.papers.instruments_maps.paper import IMAGES, RANDOM, VOTES, paper
from attnlab.papers.lab.conditions import at_least, at_most, one_of
from attnlab.papers.lab.run.workbench import Lab
from attnlab.theory.instruments import maps as theory

#: Standard deviations over prompts of the mean of two heads, T = 32: 8 replicas of 64 prompts, children of
#: np.random.SeedSequence(991), known to a quarter and so much larger here.
ENTROPY_SD = {0.5: 0.0035, 1.0: 0.0131, 2.0: 0.053}  # by the spread of scores
PREVIOUS_SD = {"iid scores": 0.022, "column effects": 0.024}
DIVERGENCE_SD = 3.3e-4  # at spread .1, 12 keys


def _same(found: np.ndarray, law, rival, name: str, part: str, rounding: float = 1000) -> Verdict:
    law, rival = (np.broadcast_to(np.asarray(x, dtype=float), found.shape).copy() for x in (law, rival))
    scale = max(1.0, float(np.abs(law).max()))
    return identical(found, law, rounding=rounding, scale=scale, twin=Twin.of(name, b=rival)).named(part)


@paper.claim(
    "known_entropies",
    source="section 1",
    statements=[1],
    kind="construction",
    parts=3,
    formula="ln(T!)/T; h2(w) + w ln k + (1 - w) ln(n - k); evenness 1 for a causal uniform head",
    judged="within 1000 roundings",
    reads=("n_tokens",),
)
def known_entropies(setting: KnownSetting, lab: Lab) -> Verdict:
    """The entropy of a causal uniform head and of a mixture on two keys is exact, and uniform rows are even whatever they see.

    Twins: ln T; weight spread over three keys; rows divided by ln T.
    """
    runs, n = lab.simulate(known, setting), setting.n_tokens
    law = theory.entropy_of_causal_uniform(n)
    mixed, three = ([theory.entropy_of_mixture(w, k, n) for w in MIXED] for k in (KEYS, KEYS + 1))
    return all_of(
        _same(runs["entropy"], law, np.log(n), "ln T", "causal uniform"),
        _same(runs["mixed"], mixed, three, "three keys", "mixtures"),
        _same(runs["evenness"], 1.0, law / np.log(n), "divided by ln T", "evenness"),
    )


@paper.claim(
    "random_entropies",
    source="section 1, null head; exact law derived here",
    statements=[1],
    setting=RANDOM,
    kind="extrapolation",
    parts=3,
    formula="E H = int (e^-u - phi^n)/u du - n int E[x e^x e^(-u e^x)] phi^(n-1) du; ln n - s^2/2 at large n",
    judged="means over prompts of maps without a mask, at s = .5, 1, 2; spreads from other seeds",
    reads=("n_tokens",),
    covers={"world": one_of("iid scores"), "n_tokens": one_of(32, why="spreads are known there")},
)
def random_entropies(setting: RandomSetting, lab: Lab) -> Verdict:
    """The mean entropy of random heads has an exact value at every length; ln n - s^2/2 misses it by 1 % at s = 1 and by more
    above.

    Twin: ln n - s^2/2.
    """
    parts = []
    every = lab.simulate(random_heads, *(replace(setting, sd=sd, causal=False) for sd in ENTROPY_SD))
    of = f"mean over replicas of {setting.n_prompts} draws"
    for (sd, size), runs in zip(ENTROPY_SD.items(), every, strict=True):
        within = budget(replicas(size / setting.n_prompts**0.5, setting.n_replicas, of=of))
        law, rival = (f(setting.n_tokens, sd) for f in (theory.mean_entropy_exact, theory.mean_entropy_approx))
        twin = Twin.of("ln n - s^2/2", predicted=rival)
        parts.append(agrees(runs["entropy"], law, within=within, of=of, twin=twin).named(f"s = {sd:g}"))
    return all_of(*parts)


@paper.claim(
    "distances",
    source="section 2",
    statements=[2],
    kind="construction",
    parts=2,
    formula="(n^2 - 1)/(3n), (n - 1)/4, g^-4 sum (g - |a|)(g - |b|) sqrt(a^2 + b^2); kernels by geometric sums of each row",
    judged="within 1000 roundings",
    reads=("n_tokens", "grid"),
)
def distances(setting: KnownSetting, lab: Lab) -> Verdict:
    """Distances of uniform heads and of exponential kernels are exact, and where rows end they fall short of the infinite line's.

    Twins: n in place of n^2 - 1 over n, and the grid's limit .5214 g; the infinite line.
    """
    runs, n, g = lab.simulate(known, setting), setting.n_tokens, setting.grid
    uniform = [theory.distance_of_uniform(n), theory.distance_of_uniform(n, causal=True), theory.distance_on_grid(g)]
    kernels, line = (
        [f(lam) for lam in KERNELS]
        for f in (lambda lam: theory.distance_of_kernel_exact(n, lam), theory.distance_of_kernel_limit)
    )
    return all_of(
        _same(runs["uniform"], uniform, [n / 3, n / 4, 0.5214 * g], "limits", "uniform"),
        _same(runs["kernels"], kernels, line, "the infinite line", "kernels"),
    )


@paper.claim(
    "templates",
    source="section 3",
    statements=[3],
    kind="construction",
    formula="||A - I||/sqrt(||A||^2 + ||I||^2) = (1 - w) sqrt((n - 1)/((n - 1) w^2 + n + 1)) for A = w I + (1 - w) U",
    judged="within 1000 roundings, w = 0, .25, .5, .9",
    reads=("n_tokens",),
)
def templates(setting: KnownSetting, lab: Lab) -> Verdict:
    """The distance of a mixture from its template is a closed form of the weight.

    Twin: 1 - w, the weight that is missing.
    """
    runs, n = lab.simulate(known, setting), setting.n_tokens
    law = [theory.template_distance_exact(w, n) for w in WEIGHTS]
    return _same(runs["template"], law, [1 - w for w in WEIGHTS], "1 - w", "template")


@paper.claim(
    "null_of_patterns",
    source="section 3, selector null and divergence; corrects |S|/n^2 on causal maps (ERRATA 11)",
    statements=[3],
    setting=RANDOM,
    kind="extrapolation",
    parts=3,
    formula="previous token (H_n - 1)/(n - 1) over rows that have one; divergence (s^2/4)(1 - 1/n)",
    judged="means over prompts; previous token with s = 1, and with column effects; divergence of heads of 12 keys without a "
    "mask at s = .1, and s^2 of it for the next order; spreads from other seeds",
    reads=("n_tokens",),
    covers={"n_tokens": one_of(32, why="spreads are known there"), "world": one_of("iid scores"), "sd": one_of(1.0)},
)
def null_of_patterns(setting: RandomSetting, lab: Lab) -> Verdict:
    """Random heads put the harmonic share on the previous token, with column effects too, and differ from each other by s^2/4
    nats.

    Twins: 1/n; the divergence without 1/n.
    """
    mixed = replace(setting, world="column effects")
    close = replace(setting, n_tokens=12, sd=0.1, causal=False)
    calm, columns, heads = lab.simulate(random_heads, setting, mixed, close)
    n, law = setting.n_tokens, theory.previous_mass_null(setting.n_tokens)
    near = theory.divergence_of_random_heads(12, 0.1)
    parts = []
    for runs, at in ((calm, setting), (columns, mixed)):
        of = f"mean over replicas of {at.n_prompts} draws"
        within = budget(replicas(PREVIOUS_SD[at.world] / at.n_prompts**0.5, at.n_replicas, of=of))
        parts.append(
            agrees(runs["previous"], law, within=within, of=of, twin=Twin.of("1/n", predicted=1 / n)).named(
                f"previous, {at.world}"
            )
        )
    of = f"mean over replicas of {close.n_prompts} draws"
    within = budget(
        replicas(DIVERGENCE_SD / close.n_prompts**0.5, close.n_replicas, of=of),
        relative(close.sd**2, near, "next order"),
    )
    parts.append(
        agrees(
            heads["divergence"], near, within=within, of=of, twin=Twin.of("without 1/n", predicted=close.sd**2 / 4)
        ).named("divergence")
    )
    return all_of(*parts)


@paper.claim(
    "trees",
    source="section 4, exact identities and traps",
    statements=[4],
    kind="construction",
    parts=2,
    formula="sums of bars: 0, 0, n - 1, (n - 1)(1 - 1/n), k - 1 + k (m - 1)(1 - 1/m); cycles e - v + b0 without loops: 0 and 1",
    judged="within 1000 roundings",
    reads=("n_tokens", "n_blocks"),
)
def trees(setting: KnownSetting, lab: Lab) -> Verdict:
    """Known heads have the bars and cycles of their trees.

    Twins: a spanning tree that takes distances of 0 for missing edges, run beside it; loops counted as cycles.
    """
    runs, n, k = lab.simulate(known, setting), setting.n_tokens, setting.n_blocks
    law = np.array([0.0, 0.0, n - 1, theory.bars_of_blocks(1, n), theory.bars_of_blocks(k, n // k)])
    wanted = np.broadcast_to(law, runs["bars"].shape).copy()
    bars = identical(runs["bars"], wanted, rounding=1000, scale=float(n), twin=Twin.of("sparse tree", a=runs["sparse"]))
    return all_of(bars.named("bars"), _same(runs["cycles"], [0.0, 1.0], [n, 1.0], "loops", "cycles"))


@paper.claim(
    "alignment",
    source="section 5",
    statements=[5],
    kind="construction",
    parts=2,
    formula="without a threshold 1, 1, 1/sqrt(n) for rows on one key, uniform, own token; with 2/n: 1, 0, 0",
    judged="within 1000 roundings",
    reads=("n_tokens",),
)
def alignment(setting: KnownSetting, lab: Lab) -> Verdict:
    """The published loss, which cuts weights below 2/n, cannot tell uniform rows, all alike, from rows that share nothing.

    Twins: 1/n for the own token; the threshold without effect.
    """
    runs, n = lab.simulate(known, setting), setting.n_tokens
    return all_of(
        _same(runs["aligned"], [1, 1, n**-0.5], [1, 1, 1 / n], "1/n", "no threshold"),
        _same(runs["published"], [1, 0, 0], [1, 1, n**-0.5], "no effect", "threshold"),
    )


NOISES = (0.3, 1.0, 1.5)


@paper.claim(
    "areas",
    source="section 6",
    statements=[6],
    setting=IMAGES,
    kind="extrapolation",
    parts=2 * len(NOISES) + 1,
    formula="Phi(ln g/(2 sigma)) for the quotient, Phi(ln g/sqrt(2 + 2 sigma^2)) for the map; equal at sigma = 1",
    judged="mean areas over prompts; the variance of an area is at most A (1 - A)/min(marked, others)",
    reads=("gain", "map_sd", "n_marked"),
    covers={"n_marked": at_most(98, why="the smaller class")},
)
def areas(setting: ImageSetting, lab: Lab) -> Verdict:
    """Dividing two maps ranks marked tokens by an exact law: it helps below the image's own noise and hurts above; an offset of
    20/n takes most of the gain back.

    Twins: noise on one of the maps only, sigma for 2 sigma; image noise alone; an offset that takes .3.
    """
    of = f"mean over replicas of {setting.n_prompts} draws"
    parts = []
    every = lab.simulate(contrasts, *(replace(setting, map_sd=sigma) for sigma in NOISES))
    for sigma, runs in zip(NOISES, every, strict=True):
        quotient = theory.area_of_contrast(setting.gain, sigma), theory.area_of_contrast(setting.gain, sigma / 2**0.5)
        raw = theory.area_of_raw_map(setting.gain, sigma), theory.area_of_raw_map(setting.gain, 0.0)
        for name, found, (law, rival) in (("quotient", runs["area"], quotient), ("map", runs["raw"], raw)):
            size = (law * (1 - law) / setting.n_marked / setting.n_prompts) ** 0.5
            within = budget(replicas(size, setting.n_replicas, of=of))
            twin = Twin.of("noise on one map, or none", predicted=rival)
            parts.append(agrees(found, law, within=within, of=of, twin=twin).named(f"{name}, sigma = {sigma:g}"))
    calm = every[0]
    parts.append(ordered(calm["shrunk"], calm["area"], by=0.05, twin=Twin.of("six times that", by=0.3)).named("offset"))
    return all_of(*parts)


@paper.claim(
    "votes",
    source="section 7, MAS; law of equal weights derived here",
    statements=[7],
    setting=VOTES,
    kind="extrapolation",
    parts=3,
    formula="P(right) = P(B(H, p) > H/2); 1/2 without preference by the mean over pieces; more by their maximum",
    judged="share of prompts within 7 standard errors; where nobody prefers anything one head prefers the larger of three "
    "pieces to one in 3/4 of the prompts, several together in more",
    reads=("n_heads", "chance"),
    covers={"n_heads": at_least(3), "n_pieces": one_of(3)},
)
def vote(setting: VoteSetting, lab: Lab) -> Verdict:
    """Heads of equal weight are right together as often as a majority of them, and counting a candidate by its largest piece
    favours the one of more pieces where nobody prefers any.

    Twins: two heads more; the mean over pieces for their maximum, and the other way round.
    """
    runs = lab.simulate(votes, setting)
    law, more = (theory.majority_exact(setting.chance, setting.n_heads + k) for k in (0, 2))
    n = runs["right"].size
    within = float(budget(sampling((law * (1 - law)) ** 0.5, n, 7.0)))
    return all_of(
        share(
            runs["right"].ravel(), predicted=law, within=within, unit="prompt", twin=Twin.of("two more", predicted=more)
        ).named("majority"),
        share(
            runs["most"].ravel(),
            at_least=0.75,
            unit="prompt",
            twin=Twin.of("mean over pieces", successes=runs["mean"].ravel()),
        ).named("largest piece"),
        share(
            runs["mean"].ravel(),
            at_most=0.6,
            unit="prompt",
            twin=Twin.of("largest piece", successes=runs["most"].ravel()),
        ).named("mean over pieces"),
    )
