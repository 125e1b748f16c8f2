"""Figures: errors against outliers and load, gates and chunks, and where the printed map comes to rest."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import figures
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.miras.paper import CHUNKS, RESTS, paper, scaled
from attnlab.papers.miras.recall import L1_RATE, L2_RATE
from attnlab.simulators.associative_memory.maps import SizeSetting, sizes
from attnlab.simulators.associative_memory.recall import Setting, retrieve
from attnlab.simulators.associative_memory.tracking import ChunkSetting, StreamSetting, chunks, stream
from attnlab.theory.associative_memory import error_correcting, online_errors, retention, sums

SHORT = scaled(StreamSetting(n_draws=32, n_replicas=4), {"n_steps": 400}, {"n_draws": 64, "n_replicas": 16})
SHARES = (0.0, 0.025, 0.05, 0.1, 0.2)


@paper.figure(
    "fig1",
    caption="(a) Relative error |W - W*| / |W*| on streams with outliers of size 10, d = 16 (points: means and 95 % intervals "
    "over "
    "replicas; lines: stationary laws; cubic losses by the map printed for order 4 and by the exact one, points only). (b) "
    "Error of one "
    "pass over n spherical keys per value entry (lines: exact laws)",
    source="robustness of attentional biases",
    setting=SHORT,
    claims=("outliers",),
)
def errors(setting: StreamSetting, lab: Lab) -> figures.Plate:
    plate = figures.Plate(columns=2, width="double")
    left, right = plate[0, 0], plate[0, 1]
    d, fine = setting.dim, np.geomspace(0.004, 0.2, 9)
    cells = {
        "squared": {"loss": "squared", "rate": L2_RATE},
        "Huber": {"loss": "huber", "rate": L2_RATE},
        "l1": {"loss": "l1", "rate": L1_RATE},
        "l3, printed map": {"loss": "cubic", "rate": 0.02, "map": "printed", "gate": 0.995},
        "l3, mirror map": {"loss": "cubic", "rate": 0.002, "map": "mirror"},
    }
    for number, (label, changes) in enumerate(cells.items()):
        runs = lab.simulate(stream, *(replace(setting, outlier_rate=eps, **changes) for eps in SHARES))
        found = np.stack([each["error"] for each in runs], axis=1) ** 0.5
        found = np.where(found > 1e-2, found, np.nan)  # exact without outliers: no place on a log axis
        figures.measurement(left, np.array(SHARES), found, label, dodge=2 * number)
        if changes["loss"] == "squared":
            law = [online_errors.tracking_error_exact(d, L2_RATE, 10 * eps**0.5, 0.0) ** 0.5 for eps in fine]
        elif changes["loss"] in ("huber", "l1"):
            law = [
                online_errors.OutlierLaw(d, changes["rate"], changes["loss"], setting.scale, eps).mean() ** 0.5
                for eps in fine
            ]
        else:
            continue
        figures.prediction(left, fine, law, label)
    left.scale(y="log")
    left.limits(x=(-0.01, 0.22))
    left.labels(x="share of outliers", y="relative error")
    counts = np.array([2, 4, 8, 12, 16, 24, 32])
    base = Setting(dim=d, n_draws=20, n_replicas=4)
    few = np.arange(2, 33)
    for label, changes, law in (
        ("dot product", {"rule": "hebb"}, lambda n: float(sums.hebbian_error(n, d))),
        (
            "squared, rate 1",
            {"rule": "delta", "rate": 1.0},
            lambda n: error_correcting.delta_rule_errors(n, d, 1.0).mean(),
        ),
    ):
        runs = lab.simulate(retrieve, *(replace(base, n_pairs=int(n), **changes) for n in counts))
        figures.measurement(right, counts, np.stack([each["error"].mean(-1) for each in runs], axis=1), label)
        figures.prediction(right, few, [law(int(n)) for n in few], label)
    right.scale(x="log", y="log")
    right.ticks(x=[2, 4, 8, 16, 32])
    right.labels(x="stored pairs n", y="error per value entry")
    plate.legend("below")
    return plate


@paper.figure(
    "fig2",
    caption="(a) What chunks of b keys leave of a squared error, against the rate, d = 16 (points: means over replicas; "
    "lines: exact "
    "laws; above 1 memories get worse). (b) Size of a memory under the map printed for q = 4, target size 0.8, forget gate "
    "0.98, rate "
    "0.3 (points: replicas; line: where it rests)",
    source="chunked training and Moneta",
    setting=CHUNKS,
    claims=("chunks", "printed_map_rests_below"),
)
def chunks_and_sizes(setting: ChunkSetting, lab: Lab) -> figures.Plate:
    plate = figures.Plate(columns=2, width="double")
    left, right = plate[0, 0], plate[0, 1]
    rates, fine = np.array([0.1, 0.4, 0.7, 1.0, 1.3]), np.linspace(0.05, 1.4, 60)
    for b in (1, 4, 16):
        some = replace(setting, n_keys=b, n_draws=100, n_replicas=4)
        runs = lab.simulate(chunks, *(replace(some, rate=float(h)) for h in rates))
        found = np.stack([each["chunk"] for each in runs], axis=1)
        figures.measurement(left, rates, found ** (1 / b), f"b = {b}")
        law = [online_errors.chunk_factor_exact(b, setting.dim, h) ** (1 / b) for h in fine]
        figures.prediction(left, fine, law, f"b = {b}")
    left.labels(x="rate η", y="squared error left, per key")
    scale: SizeSetting = RESTS.desk
    runs = lab.simulate(sizes, scale)
    at = np.unique(np.round(np.geomspace(1, scale.n_steps, 14)).astype(int))
    figures.measurement(right, at, runs["sizes"][:, at], "printed map")
    rest = retention.quartic_size_exact(scale.size, scale.gate, scale.rate)
    figures.prediction(right, np.array([1, scale.n_steps]), np.full(2, rest), "printed map")
    right.scale(x="log")
    right.labels(x="step", y=r"size $|W|_4$, target 0.8")
    plate.legend("below")
    return plate
