"""Claims on offsets, disentangled scores, waves and alternating layers."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from attnlab.analysis import Twin, Verdict, agrees, all_of, bounded, budget, identical, replicas
from attnlab.papers.lab.conditions import DECLARED, at_least
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.positions_and_geometry.paper import ALTERNATIONS, OFFSETS, SCORES, SHIFTS, WAVES, paper
from attnlab.simulators.positional_attention.places import (
    AlternationSetting,
    OffsetSetting,
    ScoreSetting,
    ShiftSetting,
    WaveSetting,
    alternations,
    disentangled_scores,
    extrapolations,
    offsets,
    shifts,
)
from attnlab.theory.positional_attention import (
    alternating_positions,
    disentangled,
    fourier_positions,
    relative_positions,
)

#: Periods and ridges beside the setting's, each with the floor whose law is its twin.
FLOORS = ((0.0, 1e-2, 1.0), (4.0, 1e-6, 1.0))


@paper.claim(
    "offsets_dilute",
    source="equations 3 and 4 of Shaw et al.; the mass is derived",
    statements=[1],
    setting=OFFSETS,
    parts=2,
    kind="extrapolation",
    reads=("farthest", "bonus", "lengths"),
    formula="gathered tables = a vector per pair; mass of k = 2 m - 1 near keys k e^b/(k e^b + n - k)",
    judged="outputs within 1000 roundings; masses within 10^4 roundings (sums of n weights)",
)
def offsets_dilute(setting: OffsetSetting, lab: Lab) -> Verdict:
    """Beyond its reach a table of offsets is a constant, so what it prefers is diluted by the length alone.

    Twins: offsets of the other sign; one near key more.
    """
    runs, k = lab.simulate(offsets, setting), 2 * setting.farthest - 1
    law, rival = (
        np.tile([relative_positions.near_mass(near, setting.bonus, n) for n in setting.lengths], (runs.n, 1))
        for near in (k, k + 1)
    )
    return all_of(
        identical(runs["operator"], runs["naive"], rounding=1000, twin=Twin.of("other sign", b=runs["swapped"])).named(
            "tables"
        ),
        identical(runs["near"], law, rounding=1e4, twin=Twin.of("a key more", b=rival)).named("near mass"),
    )


@paper.claim(
    "three_terms_make_one",
    source="equations 2 to 4 of He et al. (the factor 1/sqrt(3 d)); the variances are derived",
    statements=[2],
    setting=SCORES,
    parts=3,
    kind="extrapolation",
    reads=("width",),
    covers={"width": at_least(16, "the spread is that of wide heads")},
    formula="variance of a row's scores 1 with all three terms, 1/3 of content alone; map without tables = "
    "softmax(q.k/sqrt(3 d))",
    judged="means over replicas of variances within rows; spread 2/sqrt(n d), twice that of the length of n queries (48 "
    "runs at another "
    "seed: .050 of 1, .058 of 1/3); maps within 1000 roundings",
)
def three_terms_make_one(setting: ScoreSetting, lab: Lab) -> Verdict:
    """Three independent terms of variance d make scores of variance one, so a layer without positions is a third as sharp.

    Twins: two terms; scores over sqrt(2 d); a map over sqrt d, from twice the logarithm.
    """
    runs, n, d = lab.simulate(disentangled_scores, setting), setting.n_tokens, setting.width
    parts, two = [], disentangled.score_variance(d, 2)
    for name, law, rival in (
        ("all", disentangled.score_variance(d), two),
        ("content", disentangled.score_variance(d, 1), 0.5),
    ):
        within = budget(replicas(2 * law / math.sqrt(n * d), runs.n))
        parts.append(agrees(runs[name], law, within=within, twin=Twin.of("rival", predicted=rival)).named(name))
    scale = math.sqrt(3 * d) * disentangled.scale_without_positions(d)
    plain = runs["plain"] ** scale
    law = plain / plain.sum(-1, keepdims=True)
    sharp = runs["plain"] ** math.sqrt(3)
    return all_of(
        *parts,
        identical(
            runs["map"], law, rounding=1000, scale=1.0, twin=Twin.of("1/sqrt d", b=sharp / sharp.sum(-1, keepdims=True))
        ).named("map without tables"),
    )


@paper.claim(
    "slow_waves_amplify",
    source="section 3 of Hua et al. (undertrained frequencies); the amplification is derived",
    statements=[3, 4],
    setting=WAVES,
    parts=4,
    kind="extrapolation",
    reads=("periods", "ridge", "trained_length", "width"),
    covers={"trained_length": DECLARED, "periods": DECLARED},
    formula="mean square beyond = tr(B_out G G^T B_out^T)/n_out, G = (B^T B + lam)^-1 B^T; frequencies kept d/2 less the "
    "undertrained",
    judged="means over replicas of m draws; a square of a Gaussian field scatters by at most sqrt(2/m) of its mean; counts "
    "exactly",
)
def slow_waves_amplify(setting: WaveSetting, lab: Lab) -> Verdict:
    """Noise of a fit grows beyond its range by the frequencies that made less than a few periods, and by too little ridge.

    Twins: the law of the neighbouring floor; a frequency more.
    """
    cells = [(setting, 4.0), *((replace(setting, periods=p, ridge=lam), other) for p, lam, other in FLOORS)]
    of, parts, L = f"mean over replicas of {setting.n_draws} draws", [], setting.trained_length
    every = lab.simulate(extrapolations, *(cell for cell, _ in cells))
    for (cell, other), runs in zip(cells, every, strict=True):
        law, rival = (
            fourier_positions.noise_beyond_exact(kept(cell, p), L, 4 * L, cell.ridge) ** 2
            for p in (cell.periods, other)
        )
        within = budget(replicas(law * math.sqrt(2 / cell.n_draws), runs.n, of=of))
        parts.append(
            agrees(runs["beyond"], law, within=within, of=of, twin=Twin.of("next floor", predicted=rival)).named(
                f"from {cell.periods:g} periods, ridge {cell.ridge:g}"
            )
        )
    runs, d = every[0], setting.width
    count = np.full(runs.n, float(d // 2 - fourier_positions.undertrained_frequencies(d, L)))
    return all_of(
        *parts,
        identical(runs["kept"].astype(float), count, rounding=0, twin=Twin.of("one more", b=count + 1)).named(
            "frequencies"
        ),
    )


def kept(setting: WaveSetting, periods: float) -> np.ndarray:
    """Rotary frequencies of at least so many periods on the trained length, base 10 000."""
    w = 10_000.0 ** (-2 * np.arange(setting.width // 2) / setting.width)
    return w[w >= periods * 2 * math.pi / setting.trained_length]


@paper.claim(
    "free_pairs_count_twice",
    source="section 4 of Hua et al. and their code; the facts are derived",
    statements=[5],
    setting=SHIFTS,
    parts=2,
    kind="extrapolation",
    formula="gain 0: s(i + 1, j + 1) = s(i, j); map of pairs without a frequency = softmax(2 q.k/sqrt d)",
    judged="scores and maps, equal within 1000 roundings of the largest",
)
def free_pairs_count_twice(setting: ShiftSetting, lab: Lab) -> Verdict:
    """Without a gain Fourier positions depend on i - j alone; pairs without a frequency are multiplied by 1 + J, of square
    length 2.

    Twins: scores at the published gain; weight one.
    """
    runs = lab.simulate(shifts, setting)
    return all_of(
        identical(
            runs["later"], runs["sooner"], rounding=1000, twin=Twin.of("with a gain", a=runs["moved"], b=runs["sooner"])
        ).named("shift"),
        identical(runs["free"], runs["twice"], rounding=1000, scale=1.0, twin=Twin.of("once", b=runs["once"])).named(
            "free pairs"
        ),
    )


@paper.claim(
    "windows_save_cache_and_needles_drown",
    source="section 4 of Yang et al. (layers, window); the counts are derived",
    statements=[6, 7],
    setting=ALTERNATIONS,
    parts=4,
    kind="extrapolation",
    reads=("window", "period", "n_tokens", "n_layers", "gap", "gain"),
    covers={"n_tokens": at_least(32, "the windowed layers must not see all")},
    formula="keys kept 1/p + (1 - 1/p) w/n; field L (w - 1) + 1; needle 1/(1 + (n - 1) e^-D); unit vectors: D <= 2 g",
    judged="the operators' maps; counts within 10 roundings, needles within 100",
)
def windows_save_cache_and_needles_drown(setting: AlternationSetting, lab: Lab) -> Verdict:
    """One full layer in p bounds what is saved, windows bound what is seen, and a fixed gap drowns at 1 + e^D tokens.

    Twins: the full layers alone; fields of L w; a token more; gains that count once.
    """
    runs, n, w, p = lab.simulate(alternations, setting), setting.n_tokens, setting.window, setting.period
    share, alone = alternating_positions.cache_share(n, w, p), 1 / p
    field = 1.0 + setting.n_layers * (w - 1)
    needle, more = (alternating_positions.needle_mass(setting.gap, m) for m in (n, n + 1))
    bound, once = (alternating_positions.needle_mass(x * setting.gain, n) for x in (2, 1))
    return all_of(
        *(
            identical(
                runs[name].astype(float), np.full(runs.n, law), rounding=100, twin=Twin.of(of, b=np.full(runs.n, rival))
            ).named(name)
            for name, law, of, rival in (
                ("kept", share, "full layers alone", alone),
                ("field", field, "L w", float(setting.n_layers * w)),
                ("needle", needle, "a token more", more),
            )
        ),
        bounded(runs["normed"], bound, of="every replica", within=1e-12, twin=Twin.of("g once", bound=once)).named(
            "normed"
        ),
    )
