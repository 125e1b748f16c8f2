"""Figures 1 to 8: the published ones in their order, the decoder's speed and the gain, and the reduced flow against training."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import figures
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.tian2023_scan_snap.paper import MEDIUM, PUBLISHED_SMALL, SMALL, direction, entropy, paper, scales
from attnlab.papers.tian2023_scan_snap.snapping import observed, predicted, without_feedback
from attnlab.papers.tian2023_scan_snap.token import POPULATION
from attnlab.simulators.token_selection.decoder import DecoderSetting, train_decoder
from attnlab.simulators.token_selection.scan import ScanSetting, scan_flow
from attnlab.simulators.token_selection.training import Setting, train_tokens
from attnlab.theory.token_selection import attention, decoder

GROWTH = scales(
    ScanSetting(
        scales=(1.0, 1.0),
        vocabularies=(1000.0, 1000.0),
        n_classes=(10.0, 10.0),
        attention_rates=(0.5, 0.5),
        n_steps=2_000,
        n_records=10,
        n_replicas=1,
    )
)


@paper.figure(
    "fig1",
    caption="Growth factor of attention, e^{2B}, against time for K = 10, M = 1000, eta_Z = 0.5 and four decoder "
    "rates; grey lines: t_0 = 2 K ln M / eta_Y. Lines: closed form; points: the integrated scalar flow",
    source="Figure 3",
    setting=GROWTH,
    claims=("scan_growth",),
)
def growth_factor(setting: ScanSetting, lab: Lab) -> figures.Plate:
    plate = figures.Plate(1, 2, width="double", height=2.9)
    rates, times = (0.5, 1.0, 2.0, 5.0), np.linspace(0, 700, 400)
    for panel, scale in zip(plate.panels, (1.0, 0.1), strict=True):
        at = [
            replace(setting, scales=(scale, scale), decoder_rates=(rate, rate), end=700 * rate / (10 * np.log(1000)))
            for rate in rates
        ]
        for rate, runs in zip(rates, lab.simulate(scan_flow, *at), strict=True):
            name = rf"$\eta_Y = {rate:g}$"
            line = np.exp(
                2 * attention.exposure_exact(attention.speed_integral_exact(times, 10, 1000, rate, 0.5), scale)
            )
            figures.prediction(panel, times, line, name, series=name)
            figures.measurement(
                panel, runs["time"][0][1:], np.exp(2 * runs["exposure"])[:1, 1:], f"{name}, integrated", series=name
            )
            figures.reference(
                panel, f"{attention.snap_time_limit(10, 1000, rate):.3g}", x=attention.snap_time_limit(10, 1000, rate)
            )
        panel.labels(x="time t (steps)", y=r"growth factor $\chi = e^{2B}$")
        panel.heading(rf"$C_0 = {scale:g}$")
    plate.legend("below", columns=4)
    return plate


@paper.figure(
    "fig2",
    caption="Attention c over the 20 tokens of class 1 (10 common ones left of the dashed line, then the distinct ones "
    "by frequency) along training, mean over replicas",
    source="Figure 4",
    setting=scales(PUBLISHED_SMALL),
    claims=("figure_4_map",),
)
def attention_maps(setting: Setting, lab: Lab) -> figures.Plate:
    plate = figures.Plate(2, 1, width="double", height=5.2, letters=True)
    chosen = (0, 2, 4, 6, 8, 10, 20, 40, 60, 100)
    runs = lab.simulate(train_tokens, *(replace(setting, decoder_rate=rate) for rate in (1.0, 10.0)))
    maps = [run["c"].mean(0)[np.searchsorted(run["steps"][0], chosen), 0] for run in runs]
    scale = figures.colour_scale(*maps, symmetric=False)
    for panel, values, rate in zip(plate.panels, maps, (1, 10), strict=True):
        figures.heat_map(panel, values, "attention c", scale=scale, symmetric=False, square=False)
        panel.axes.axvline(setting.n_common - 0.5, color="white", linewidth=1.0, linestyle=(0, (3, 2)))
        panel.axes.set_yticks(range(len(chosen)), [str(step) for step in chosen])
        panel.axes.set_xticks(range(0, setting.n_common + setting.n_distinct, 5))
        panel.labels(x="token l of class 1: common, then distinct by frequency", y="training step")
        panel.heading(rf"$\eta_Y = {rate}$, $\eta_Z = 1$")
    return plate


RATES, RATIOS = (0.5, 1.0, 2.0, 3.0), (1.0, 2.0, 5.0, 10.0)


@paper.figure(
    "fig3",
    caption="Entropy of the attention on a class's distinct tokens, renormalised, after 100 steps, against the ratio "
    "of the learning rates",
    source="Figure 6",
    setting=scales(replace(MEDIUM, n_replicas=8)),
    claims=("sparser_at_fixed_ratio", "denser_decoder"),
)
def sparsity(setting: Setting, lab: Lab) -> figures.Plate:
    queries = (1, 3, 5, 10) if lab.scale == "paper" else (1, 3)
    plate = figures.Plate(len(queries) // 2, 2, width="double", height=1.45 * len(queries), share_y=True)
    cells = [(q, z, ratio) for q in queries for z in RATES for ratio in RATIOS]
    runs = lab.simulate(
        train_tokens,
        *(replace(setting, n_classes=2 * q, attention_rate=z, decoder_rate=z * ratio) for q, z, ratio in cells),
    )
    found = {cell: entropy(setting, run["c"][:, -1]) for cell, run in zip(cells, runs, strict=True)}
    for panel, q in zip(plate.panels, queries, strict=True):
        for k, z in enumerate(RATES):
            values = np.stack([found[q, z, ratio] for ratio in RATIOS], axis=1)
            figures.measurement(panel, RATIOS, values, rf"$\eta_Z = {z:g}$", dodge=(k - 1.5) * 2)
            panel.axes.plot(
                RATIOS, values.mean(0), color=panel.look(rf"$\eta_Z = {z:g}$").colour, linewidth=0.6, zorder=1.4
            )
        panel.scale(x="log")
        panel.ticks(x=RATIOS)
        panel.labels(x=r"ratio of rates $\eta_Y / \eta_Z$", y="entropy of attention (nats)")
        panel.heading(f"{q} {'query' if q == 1 else 'queries'}, {2 * q} next tokens")
    plate.legend("below", columns=4)
    return plate


STEPPED = scales(
    DecoderSetting(n_classes=2, vocabulary=50, overlap=0.0, rate=1.0, n_steps=80, n_records=80, n_replicas=8)
)


@paper.figure(
    "fig4",
    caption="Growth h of the decoder against the visits a class has had: gradient descent (points) and its flow (lines)",
    source="Figure 8",
    setting=STEPPED,
    claims=("discrete_steps",),
)
def decoder_growth(setting: DecoderSetting, lab: Lab) -> figures.Plate:
    plate = figures.Plate(1, 2, width="double", height=2.9)
    for panel, M, rates, end in zip(
        plate.panels, (50, 1000), ((0.1, 0.5, 1.0, 2.0), (0.2, 1.0, 2.0, 4.0)), (80, 70), strict=True
    ):
        settings = [replace(setting, vocabulary=M, rate=rate * setting.n_classes, n_steps=end) for rate in rates]
        for rate, runs in zip(rates, lab.simulate(train_decoder, *settings), strict=True):
            visits, left, name = runs["steps"][0], runs["residual"][:, :, 0], rf"$\eta_Y = {rate:g}$"
            fine = np.linspace(0, end, 300)
            figures.prediction(
                panel, fine, decoder.decoder_growth_exact(fine, M, rate), name, series=f"rate {rates.index(rate)}"
            )
            some = np.unique(np.searchsorted(visits, np.linspace(1, end, 14)).clip(max=len(visits) - 1))
            h = np.log((M - 1) * (1 - left[:1]) / left[:1]) / M
            figures.measurement(panel, visits[some], h[:, some], name, series=f"rate {rates.index(rate)}")
        panel.labels(x="visits s = t / K of a class", y="growth h of the decoder")
        panel.heading(f"M = {M}")
        panel.legend("lower right")
    return plate


EQUAL_RATIO = scales(ScanSetting(scales=(1.0, 1.0), n_classes=(2.0, 2.0), n_steps=2_000, n_records=12, n_replicas=1))


@paper.figure(
    "fig5",
    caption="Exposure B at a fixed ratio of the rates, K = 2, C_0 = 1: rates only rescale time. Lines: closed form; "
    "points: the integrated flow; the ring on each curve is at t_0",
    source="Figure 9",
    setting=EQUAL_RATIO,
    claims=("scan_growth",),
)
def fixed_ratio(setting: ScanSetting, lab: Lab) -> figures.Plate:
    plate = figures.Plate(1, 2, width="double", height=2.9)
    for panel, ratio, M, end in zip(plate.panels, (10.0, 1.0), (100, 10_000), (5.0, 50.0), strict=True):
        rates = (0.5, 1.0, 2.0, 4.0, 8.0)
        settings = [
            replace(
                setting,
                vocabularies=(float(M),) * 2,
                decoder_rates=(ratio * z,) * 2,
                attention_rates=(z, z),
                end=end * ratio * z / (2 * np.log(M)),
            )
            for z in rates
        ]
        times = np.linspace(0, end, 400)
        for z, runs in zip(rates, lab.simulate(scan_flow, *settings), strict=True):
            name = rf"$\eta_Z = {z:g}$"
            figures.prediction(
                panel,
                times,
                attention.exposure_exact(attention.speed_integral_exact(times, 2, M, ratio * z, z), 1.0),
                name,
                series=name,
            )
            figures.measurement(panel, runs["time"][0][1:], runs["exposure"][:1, 1:], name, series=name)
            t_0 = attention.snap_time_limit(2, M, ratio * z)
            if t_0 <= end:
                height = attention.exposure_exact(attention.speed_integral_exact(t_0, 2, M, ratio * z, z), 1.0)
                panel.axes.plot(
                    t_0, height, "o", markersize=8, markerfacecolor="none", color="black", markeredgewidth=0.8, zorder=4
                )
                panel.record(figures.Mark(panel.name, "ring at t_0", name, np.array([t_0]), np.array([height])))
        panel.labels(x="time t (steps)", y="exposure B")
        panel.heading(rf"$\eta_Y / \eta_Z = {ratio:g}$, M = {M}")
    plate.legend("below", columns=5)
    return plate


@paper.figure(
    "fig6",
    caption="(a) Speed of the gradient sent back to attention, K = 10, M = 1000, with its peak. (b) Growth factor of "
    "attention in the scalar model, C_0 = 0.01. (c) Relative gain of the two most frequent tokens in trained networks "
    "against its law r(t) / r(0) = chi",
    source="Sections 4 and 5",
    setting=scales(replace(POPULATION, n_classes=2, classes_per_query=1, n_replicas=16)),
    claims=("backward_speed", "relative_gain"),
)
def speed_growth_gain(setting: Setting, lab: Lab) -> figures.Plate:
    plate = figures.Plate(1, 3, width="double", height=2.7)
    runs = lab.simulate(train_decoder, DecoderSetting(overlap=0.0, rate=0.5, n_steps=1_500, n_replicas=8))
    K, M, rate = 10, 1000, 0.5
    times = np.geomspace(1, 1_500, 300)
    figures.prediction(plate[0], times, decoder.backward_speed_exact(times / K, M, rate), "flow", series="speed")
    own = np.einsum("rtnn->rt", runs["coefficients"])[:1, 1:] / K
    figures.measurement(plate[0], runs["steps"][0][1:], own, "descent", series="speed")
    figures.reference(plate[0], "peak", x=decoder.backward_speed_peak_exact(M, rate)[0] * K, where="bottom")
    plate[0].scale(x="log", y="log")
    plate[0].labels(x="time t (steps)", y="speed of the gradient sent back")
    wide = np.geomspace(1, 1e5, 300)
    gamma = attention.speed_integral_exact(wide, K, M, rate, rate)
    figures.prediction(plate[1], wide, np.exp(2 * attention.exposure_exact(gamma, 0.01)), r"$\chi = e^{2B}$")
    figures.reference(plate[1], r"$t_0$", x=attention.snap_time_limit(K, M, rate), where="bottom")
    figures.power_law(plate[1], 1.0, (20.0, 100.0), (8.0, 60.0), "slope 1")
    plate[1].scale(x="log", y="log")
    plate[1].labels(x="time t (steps)", y=r"growth factor $\chi$")
    several = lab.simulate(
        train_tokens, *(replace(setting, attention_rate=setting.decoder_rate / ratio) for ratio in (1, 10))
    )
    for ratio, run in zip((1, 10), several, strict=True):
        f = direction(run["c"])[:, :, 0, setting.n_common :]
        gain, chi = (f[..., -1] / f[..., -2]) ** 2 - 1, np.exp(2 * run["z"][:, :, 0, -1])
        grid = np.linspace(1, np.quantile(chi[:, -1], 0.1), 12)
        curves = np.stack([np.interp(grid, x, y / y[0]) for x, y in zip(chi, gain, strict=True)])
        figures.band(plate[2], grid, curves, r"$\eta_Y = \eta_Z$" if ratio == 1 else rf"$\eta_Y = {ratio} \eta_Z$")
    end = plate[2].axes.get_xlim()[1]
    figures.prediction(plate[2], [1.0, end], [1.0, end], r"law, $r(t)/r(0) = \chi$")
    plate[2].labels(x=r"growth factor $\chi = e^{2 \Delta z}$", y="relative gain r(t) / r(0)")
    return plate


@paper.figure(
    "fig7",
    caption="Fraction of distinct tokens whose attention exceeds a threshold, in units of 1 / M, after 100 steps of "
    "the two-class runs",
    source="Figures 11 and 12",
    setting=scales(PUBLISHED_SMALL),
)
def recall(setting: Setting, lab: Lab) -> figures.Plate:
    plate = figures.Plate(1, 2, width="double", height=2.9, share_y=True)
    thresholds = np.geomspace(0.05, 8, 60)
    for panel, ratio in zip(plate.panels, (1.0, 10.0), strict=True):
        settings = [replace(setting, attention_rate=z, decoder_rate=z * ratio) for z in (0.5, 1.0, 2.0, 4.0)]
        for one, run in zip(settings, lab.simulate(train_tokens, *settings), strict=True):
            distinct = run["c"][:, -1, :, setting.n_common :] * setting.vocabulary
            curves = (distinct[:, None] > thresholds[:, None, None]).mean((-1, -2))
            figures.band(panel, thresholds, curves, rf"$\eta_Z = {one.attention_rate:g}$")
        panel.scale(x="log")
        panel.ticks(x=(0.1, 0.3, 1, 3))
        panel.labels(x="threshold of c (units of 1 / M)", y="fraction of distinct tokens above")
        panel.heading(rf"$\eta_Y / \eta_Z = {ratio:g}$")
    plate.legend("below", columns=4)
    return plate


FIGURE = scales(
    replace(SMALL, batch=1, decoder_rate=0.1, attention_rate=0.1, n_steps=1_000, n_records=50, n_replicas=16),
    smoke={"n_steps": 400},
)
NAMES = ("most frequent token", "middle token", "common token")


@paper.figure(
    "fig8",
    caption="Attention logits of networks trained by SGD on one sampled sequence of T tokens a step (bands) and the "
    "reduced equations for endless sequences, two classes, eta_Y = eta_Z = 0.1. No feedback: first order in eta_Z / "
    "eta_Y. Vertical line: t_0 = 2 K ln M / eta_Y. The gap at T = 128 is that of short sequences; it falls like 1 / T",
    source="Section 3",
    setting=FIGURE,
    claims=("reduced_dynamics",),
)
def reduced_against_trained(setting: Setting, lab: Lab) -> figures.Plate:
    lengths = (1025, 128)
    several = lab.simulate(train_tokens, *(replace(setting, sequence_length=length) for length in lengths))
    fine = np.linspace(1, setting.n_steps, 120)
    line, rival = (each(setting, several[0]["profile"][0, 0], fine) for each in (predicted, without_feedback))
    top, bottom = 1.35 * line[-1, 0], 1.6 * line[-1, 2]
    plate = figures.Plate(1, 2, width="double", height=3.4, share_y=True)
    for panel, runs, length in zip(plate.panels, several, lengths, strict=True):
        for k, name in enumerate(NAMES):
            figures.band(panel, runs["steps"][0], observed(setting, runs)[..., k], name, series=name)
        for k in range(len(NAMES)):
            figures.prediction(panel, fine, line[:, k], "reduced equations", series="reduced equations")
            inside = np.where((rival[:, k] < top) & (rival[:, k] > bottom), rival[:, k], np.nan)
            figures.prediction(panel, fine, inside, "no feedback", series="no feedback")
        figures.reference(
            panel, r"$t_0$", x=attention.snap_time_limit(setting.n_classes, setting.vocabulary, setting.decoder_rate)
        )
        panel.labels(x="training step t", y="attention logit z" if length == lengths[0] else None)
        panel.heading(f"T = {length}")
    plate.legend("below", columns=5)
    return plate
