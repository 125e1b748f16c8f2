"""Figures: what a bonus is worth and what is read of it; power of two tests; secondary sinks and their lifetimes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import figures
from attnlab.papers.instruments_sinks.measured import HeadSetting, MapSetting, outliers, ranks, strengths
from attnlab.papers.instruments_sinks.measured_states import StreamSetting, streams
from attnlab.papers.instruments_sinks.paper import paper
from attnlab.papers.lab.declare import Scales
from attnlab.papers.lab.run.workbench import Lab
from attnlab.theory.instruments import column_tests, sink_states, sink_weights

_MAPS = MapSetting(n_tokens=64, n_prompts=64, n_replicas=8)
_HEADS = HeadSetting(n_heads=200, n_replicas=8)
_STREAMS = StreamSetting(dim=128, n_layers=60, n_prompts=2, n_replicas=8)


@paper.figure(
    "fig1",
    caption="(a) Mean weight of a first key with bonus b at T = 64, for score noise s (lines: exact means; points: 64 maps per "
    "replica). (b) Strength read of a bonus of 2 against the length: by the contrast, which is free of the length, and by "
    "inverting the law of equal scores, without and with effects of keys (lines: predicted)",
    source="sections 1 and 6",
    setting=Scales(_MAPS, _MAPS, replace(_MAPS, n_prompts=256)),
    claims=("bonus_law", "noisy_bonus", "strengths"),
)
def bonuses(setting: MapSetting, lab: Lab) -> figures.Plate:
    plate = figures.Plate(columns=2, width="double")
    left, right = plate[0, 0], plate[0, 1]
    at, fine = np.arange(0.0, 5.5), np.linspace(0, 5, 21)
    for number, sd in enumerate((0.0, 1.0, 2.0)):
        runs = lab.simulate(strengths, *(replace(setting, sd=sd, bonus=float(b)) for b in at))
        label = f"s = {sd:g}"
        figures.prediction(
            left, fine, [sink_weights.mean_weight_noisy_exact(b, setting.n_tokens, sd) for b in fine], label
        )
        figures.measurement(left, at, np.stack([r["alpha"] for r in runs], 1), label, dodge=2 * number)
    left.labels(x="score bonus b (nats)", y="mean weight of the first key")
    lengths = (16, 32, 64, 128)
    for world, whole, name in (("iid scores", 1.0, "scores alone"), ("column effects", 2**0.5, "keys with effects")):
        runs = lab.simulate(strengths, *(replace(setting, world=world, bonus=2.0, n_tokens=t) for t in lengths))
        law = [
            sink_weights.bonus_of_mean_weight(sink_weights.mean_weight_noisy_exact(2.0, t, whole), t) for t in lengths
        ]
        figures.prediction(right, np.array(lengths), law, f"inverted, {name}")
        figures.measurement(right, np.array(lengths), np.stack([r["inverted"] for r in runs], 1), f"inverted, {name}")
        figures.measurement(right, np.array(lengths), np.stack([r["contrast"] for r in runs], 1), f"contrast, {name}")
    figures.prediction(right, np.array(lengths), np.full(len(lengths), 2.0), "planted")
    right.scale(x="log")
    right.ticks(x=list(lengths))
    right.labels(x="tokens T", y="strength read (nats)")
    plate.legend("below")
    return plate


@paper.figure(
    "fig2",
    caption="Share of planted sinks found at 5 %, against the bonus in spreads of a column (lines: exact power; points: heads "
    "or maps per replica). Ranks of the first column over 4, 8 and 16 prompts of 24 tokens; studentised columns of one map of "
    "64 tokens, 49 columns",
    source="sections 1 and 5",
    setting=Scales(_HEADS, _HEADS, replace(_HEADS, n_heads=1000)),
    claims=("power_of_ranks", "outlying_columns"),
)
def powers(setting: HeadSetting, lab: Lab) -> figures.Plate:
    plate = figures.Plate()
    panel = plate[0, 0]
    m = setting.n_tokens - setting.n_tokens // 4 + 1
    at, fine = np.array([0.0, 0.5, 1.0, 1.5, 2.0]), np.linspace(0, 2.2, 23)
    for n in (4, 8, 16):
        runs = lab.simulate(ranks, *(replace(setting, n_prompts=n, bonus=float(b)) for b in at))
        figures.prediction(panel, fine, [column_tests.rank_test_power_exact(b, n, m) for b in fine], f"ranks, N = {n}")
        figures.measurement(panel, at, np.stack([r["found"].mean(1) for r in runs], 1), f"ranks, N = {n}")
    at, fine = np.array([2.0, 3.0, 4.0, 5.0, 6.0]), np.linspace(0, 6.5, 40)
    one = replace(setting, n_tokens=64, column=20)
    runs = lab.simulate(outliers, *(replace(one, bonus=float(b)) for b in at))
    figures.prediction(panel, fine, [column_tests.outlier_test_power_exact(b, 49) for b in fine], "columns, one map")
    figures.measurement(panel, at, np.stack([r["right"].mean(1) for r in runs], 1), "columns, one map")
    panel.labels(x="bonus / spread of a column", y="share found")
    plate.legend("below")
    return plate


@paper.figure(
    "fig3",
    caption="(a) Weights of the first token and of one of two secondary sinks against the written norm m, in units of an "
    "update, b = 6, T = 24 (lines: exact; points: replicas). (b) Layers for which the written component is found (line: exact "
    "for orthogonal updates; points: orthogonal and random updates, D = 128)",
    source="section 2",
    setting=Scales(_STREAMS, _STREAMS, replace(_STREAMS, n_prompts=8)),
    claims=("weights_of_secondary_sinks", "lifetimes"),
)
def secondary(setting: StreamSetting, lab: Lab) -> figures.Plate:
    plate = figures.Plate(columns=2, width="double")
    left, right = plate[0, 0], plate[0, 1]
    at, fine = np.array([0.0, 1.0, 2.0, 4.0, 7.0, 10.0, 13.0]), np.linspace(0, 13, 53)
    exact, rough = (
        lab.simulate(streams, *(replace(setting, written=float(m), updates=kind) for m in at))
        for kind in ("orthogonal", "random")
    )
    rest, n = (setting.start + 1) ** 0.5, setting.n_tokens
    law = []
    for m in fine:
        c = sink_states.cosine_of_written(float(m), rest)
        law.append(sink_states.weights_of_sinks(setting.bonus, (1.0, c, c), n - 3))
    for k, label in enumerate(("first token", "secondary sink")):
        figures.prediction(left, fine, np.array(law)[:, k], label)
        figures.measurement(left, at, np.stack([r["weights"][..., k].mean(1) for r in exact], 1), label)
    left.labels(x="written norm m / update", y="weight")
    figures.prediction(
        right, fine, [sink_states.lifetime_exact(float(m), 1.0, setting.start) for m in fine], "orthogonal updates"
    )
    figures.measurement(right, at, np.stack([r["lifetime"].mean(1) for r in exact], 1), "orthogonal updates")
    figures.measurement(right, at, np.stack([r["lifetime"].mean(1) for r in rough], 1), "random updates", dodge=3)
    right.labels(x="written norm m / update", y="layers found")
    plate.legend("below")
    return plate
