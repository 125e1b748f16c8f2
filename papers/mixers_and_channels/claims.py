"""Claims on Fourier filters, large kernels, hyper-kernels, bands and cosines of channels."""

from __future__ import annotations

import math

import numpy as np

from attnlab.analysis import Twin, Verdict, agrees, all_of, budget, finite_size, identical, replicas
from attnlab.papers.lab.conditions import DECLARED, at_least, that
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.mixers_and_channels.paper import BANDS, COSINES, SUPPORTS, WAVES, paper
from attnlab.simulators.mixers_and_channels.grids import (
    BandSetting,
    CosineSetting,
    SupportSetting,
    WaveSetting,
    bands,
    cosines,
    supports,
    waves,
)
from attnlab.theory.mixers_and_channels import (
    channel_band,
    channel_frequencies,
    fft_mixer,
    hyper_kernel,
    large_kernel,
    large_kernel_gate,
)


@paper.claim(
    "waves_shift_round",
    source="section 3 of Fein-Ashley et al., as known to us; the facts are derived",
    statements=[1],
    setting=WAVES,
    parts=2,
    kind="extrapolation",
    formula="y(x moved round) = y(x) moved round; threshold 0 and a fixed filter: circular convolution with its transform",
    judged="the operator's outputs, equal within 10^4 roundings of the largest",
)
def waves_shift_round(setting: WaveSetting, lab: Lab) -> Verdict:
    """Sizes of frequencies and the mean token do not change under circular shifts, so the mixer moves with its tokens.

    Twins: the other order, which is no shift; the convolution moved by a token.
    """
    runs = lab.simulate(waves, setting)
    beside = np.roll(runs["convolved"], 1, axis=1)
    return all_of(
        identical(
            runs["shifted"],
            runs["output"],
            rounding=1e4,
            twin=Twin.of("reversed", a=runs["reversed"], b=runs["output"]),
        ).named("shifts"),
        identical(runs["filtered"], runs["convolved"], rounding=1e4, twin=Twin.of("a token beside", b=beside)).named(
            "convolution"
        ),
    )


@paper.claim(
    "thresholds_prune_by_an_exponential",
    source="section 3 of Fein-Ashley et al. (modReLU); the share is derived",
    statements=[2],
    setting=WAVES,
    kind="extrapolation",
    reads=("threshold",),
    covers={
        "threshold": that(
            lambda b: 0.3 <= b <= 1.5, ".3 to 1.5", "the twin is near for smaller ones, all are pruned by larger"
        )
    },
    formula="1 - exp(-b^2/s^2)",
    judged="mean over replicas; n/2 frequencies are independent per channel, two of n are real numbers",
)
def thresholds_prune_by_an_exponential(setting: WaveSetting, lab: Lab) -> Verdict:
    """The squared size of a frequency of white tokens is exponential, so a threshold of half a standard deviation prunes 22 %.

    Twin: its first term, b^2.
    """
    runs, n, D = lab.simulate(waves, setting), setting.n_tokens, setting.width
    p = fft_mixer.pruned_share_limit(-setting.threshold, n, 1.0)
    of = f"mean over replicas of {n * D // 2} draws"
    within = budget(finite_size(n, 2.0, of="n"), replicas(math.sqrt(2 * p * (1 - p) / (n * D)), runs.n, of=of))
    return agrees(runs["pruned"], p, within=within, of=of, twin=Twin.of("b^2", predicted=setting.threshold**2))


@paper.claim(
    "large_kernels_are_one_map",
    source="section 3 of Li et al.; share and rank are derived",
    statements=[3],
    setting=SUPPORTS,
    parts=3,
    kind="extrapolation",
    reads=("side", "sizes"),
    formula="map times values = convolution; non-zero share ((H (2 r + 1) - r (r + 1))/H^2)^2; rank n",
    judged="outputs within 10^4 roundings; shares within 10 roundings, ranks exactly",
)
def large_kernels_are_one_map(setting: SupportSetting, lab: Lab) -> Verdict:
    """A large kernel is a map that no input changes, of full rank, with as many entries as borders leave.

    Twins: outputs one per cent larger; windows without borders; a rank less.
    """
    runs, H = lab.simulate(supports, setting), setting.side
    halves = [size // 2 for size in setting.sizes]
    law = np.tile([large_kernel.visible_share(H, r) for r in halves], (runs.n, 1))
    free = np.tile([min(1.0, (2 * r + 1) ** 2 / H**2) for r in halves], (runs.n, 1))
    whole = np.full(runs.n, 81.0)
    return all_of(
        identical(
            runs["matrix"], runs["layer"], rounding=1e4, twin=Twin.of("one per cent", b=1.01 * runs["layer"])
        ).named("map"),
        identical(runs["share"], law, rounding=10, twin=Twin.of("no borders", b=free)).named("share"),
        identical(runs["rank"].astype(float), whole, rounding=0, twin=Twin.of("one less", b=whole - 1)).named("rank"),
    )


@paper.claim(
    "gates_and_hyper_kernels_see_and_grow",
    source="section 3.1 of Guo et al. and the public code of Zhang; supports and degrees are derived",
    statements=[4, 5],
    setting=SUPPORTS,
    parts=4,
    kind="extrapolation",
    reads=("kernel", "dilation"),
    covers={"kernel": DECLARED, "dilation": DECLARED},
    formula="(2 d - 1) + (ceil(K/d) - 1) d = 23 cells per side, all seen; column of 8 cells, cross of 15; outputs at 3 x: "
    "9, 9, 3 times",
    judged="cells with a gradient and parameters exactly, sizes within 1000 roundings",
)
def gates_and_hyper_kernels_see_and_grow(setting: SupportSetting, lab: Lab) -> Verdict:
    """The published kernels see 23 cells, not 21; a hyper-kernel sees a column or a cross; both gates square what they read.

    Twins: 21 cells; the whole grid; a dense kernel's parameters; degree one for all.
    """
    runs, K, d = lab.simulate(supports, setting), setting.kernel, setting.dilation
    side = large_kernel_gate.receptive_field(K, d)
    cells = [hyper_kernel.cells_seen(8, 8, version) for version in (1, 2)]
    powers = [9.0] + [3.0 ** hyper_kernel.degree(version) for version in (1, 2)]
    weights = float(large_kernel_gate.parameters(2, K, d))
    parts = []
    for name, law, rival, rounding in (
        ("gate", [side, side**2], [K, K**2], 0),
        ("cells", cells, [64, 64], 0),
        ("weights", weights, 2 * K**2 + 4.0, 0),
        ("powers", powers, [3.0, 3.0, 3.0], 1000),
    ):
        shape = runs[name].shape
        rows = [np.broadcast_to(np.array(x, float), shape) for x in (law, rival)]
        parts.append(
            identical(runs[name].astype(float), rows[0], rounding=rounding, twin=Twin.of("rival", b=rows[1])).named(
                name
            )
        )
    return all_of(*parts)


@paper.claim(
    "bands_need_an_order",
    source="equations 6 to 9 of Wang et al.; the shares are derived",
    statements=[6],
    setting=BANDS,
    parts=5,
    kind="extrapolation",
    reads=("taps", "sizes"),
    covers={"taps": DECLARED, "sizes": DECLARED},
    formula="sum_{|l| <= (k-1)/2} w_l^2/sum w_l^2; shuffled w_0^2/sum w_l^2 for every k",
    judged="means over replicas of fits to m C numbers; a share p scatters by at most 2 p (1 - p)/sqrt(m C), k taps add k/(m C); "
    "borders and pairs that a shuffle leaves together move it by 2 k/C",
)
def bands_need_an_order(setting: BandSetting, lab: Lab) -> Verdict:
    """What a band of channels explains is decided by the planted band; after a shuffle a wide one explains what one tap does.

    Twins: shares of absolute taps; for a shuffle a tenth more.
    """
    runs, taps = lab.simulate(bands, setting), np.array(setting.taps)
    C, numbers = setting.n_channels, setting.n_channels * setting.n_samples
    of, middle, parts = f"mean over replicas of {setting.n_samples} draws", len(taps) // 2, []
    for i, k in enumerate(setting.sizes):
        for name in ("ordered", "shuffled"):
            p = (
                channel_band.explained_by_band(taps, k)
                if name == "ordered"
                else channel_band.explained_after_shuffle(taps)
            )
            if name == "ordered" and p == 1.0:
                continue
            absolute = np.abs(taps)[middle - k // 2 : middle + k // 2 + 1].sum() / np.abs(taps).sum()
            within = budget(
                finite_size(C, 2 * k * p * (1 - p), of="C"),
                finite_size(numbers, k, of="(m C)"),
                replicas(2 * p * (1 - p) / math.sqrt(numbers), runs.n, of=of),
            )
            rival = float(absolute) if name == "ordered" else 1.1 * p
            parts.append(
                agrees(runs[name][:, i], p, within=within, of=of, twin=Twin.of("rival", predicted=rival)).named(
                    f"{name}, k = {k}"
                )
            )
    return all_of(*parts)


@paper.claim(
    "cosines_see_what_the_mean_does_not",
    source="equations 8 to 11 of Qin et al.; the coefficients are derived",
    statements=[7],
    setting=COSINES,
    parts=4,
    kind="extrapolation",
    reads=("amplitude", "noise_std", "side", "frequency"),
    covers={
        "n_draws": at_least(100),
        "amplitude": that(lambda A: A <= 0.5, "at most .5", "stronger patterns are always told"),
    },
    formula="coefficient A sqrt(HW)/2 in its own filter, 0 in the mean's and in others', -A sqrt(HW)/2 moved by half a "
    "period; AUC "
    "Phi(A sqrt(HW)/(2 sqrt 2 s)), by the mean 1/2",
    judged="coefficients within 1000 roundings; shares as means over replicas, sqrt(p (1 - p)/draws)",
)
def cosines_see_what_the_mean_does_not(setting: CosineSetting, lab: Lab) -> Verdict:
    """A pattern without a mean is invisible to pooling and visible to its own cosine, until it moves by half a period.

    Twins: the coefficient A sqrt(HW)/2 everywhere; no sign; noise of one grid alone; a mean that knows a tenth.
    """
    runs, s, A = lab.simulate(cosines, setting), setting.side, setting.amplitude
    own = channel_frequencies.response(A, s, s)
    p = channel_frequencies.presence_auc(A, setting.noise_std, s, s)
    alone = 0.5 * math.erfc(-own / setting.noise_std / math.sqrt(2))
    law, everywhere = (np.tile(row, (runs.n, 1)) for row in ([own, 0.0, 0.0], [own, own, own]))
    of, parts = f"mean over replicas of {setting.n_draws} draws", []
    for name, share, rival in (("told", p, alone), ("by_mean", 0.5, 0.55)):
        within = budget(replicas(math.sqrt(share * (1 - share) / setting.n_draws), runs.n, of=of))
        parts.append(
            agrees(runs[name], share, within=within, of=of, twin=Twin.of("rival", predicted=rival)).named(name)
        )
    turned = np.full(runs.n, -own)
    return all_of(
        identical(runs["clean"], law, rounding=1000, twin=Twin.of("everywhere", b=everywhere)).named("coefficients"),
        identical(runs["moved"], turned, rounding=1000, twin=Twin.of("no sign", b=-turned)).named("half a period"),
        *parts,
    )
