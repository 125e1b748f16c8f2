"""Figures 1 to 6."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import figures
from attnlab.papers.lab.declare import Scales
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.pavlovian_associative_memory.depth import DEEP, DEPTH
from attnlab.papers.pavlovian_associative_memory.paper import mean_over_pairs, paper, scaled
from attnlab.simulators.associative_memory.recall import (
    DepthSetting,
    OverlapSetting,
    Setting,
    deep_chain,
    depth,
    guarantee,
    retrieve,
)
from attnlab.theory.associative_memory import error_correcting as rules
from attnlab.theory.associative_memory import signs, softmax
from attnlab.theory.associative_memory import sums as theory

LOADS = scaled(Setting(n_draws=160, n_replicas=8))


@paper.figure(
    "fig1",
    caption="Error of one value entry against the load n/d, d = 16 (lines: theory; the softmax memory has "
    "none in closed form). The delta rule is the mean over pairs after one pass",
    setting=LOADS,
)
def errors_by_load(setting: Setting, lab: Lab) -> figures.Plate:
    d, counts = setting.dim, np.array([2, 4, 8, 16, 24, 32, 48, 64])
    rows = {
        "Hebb": ({"rule": "hebb"}, lambda n: theory.hebbian_error(n, d)),
        "Hebb, scaled": ({"rule": "scaled"}, lambda n: theory.scaled_hebbian_error(n, d)),
        "delta rule, rate 1/2": ({"rule": "delta", "rate": 0.5}, lambda n: rules.delta_rule_errors(n, d, 0.5).mean()),
        "decay 0.95": (
            {"rule": "decay", "rate": 0.95},
            lambda n: theory.decaying_hebbian_error(np.arange(n), n, d, 0.95).mean(),
        ),
        "least squares": ({"rule": "least_squares"}, lambda n: rules.least_squares_error(n, d)),
        "polynomial, p = 2": ({"rule": "polynomial", "rate": 2.0}, lambda n: theory.polynomial_error(n, d, 2)),
        "polynomial, p = 3": ({"rule": "polynomial", "rate": 3.0}, lambda n: theory.polynomial_error(n, d, 3)),
        "softmax, b = 8": ({"rule": "softmax", "rate": 8.0}, None),
    }
    plate = figures.Plate(columns=2, width="double", share_x=True)
    for number, (label, (changes, law)) in enumerate(rows.items()):
        panel = plate[0, number // 5]
        runs = lab.simulate(retrieve, *(replace(setting, n_pairs=int(n), **changes) for n in counts))
        error = np.stack([mean_over_pairs(each) for each in runs], axis=1)
        error = np.where(error < 1e-9, np.nan, error)  # exact below capacity: no place on a log axis
        figures.measurement(panel, counts / d, error, label)
        if law is not None:
            fine = np.arange(2, 65)
            values = np.array([float(law(int(n))) for n in fine])
            figures.prediction(panel, fine / d, np.where(values > 0, values, np.nan), label)
    for panel, heading in ((plate[0, 0], "linear read-out"), (plate[0, 1], "kernels")):
        panel.scale(x="log", y="log")
        panel.ticks(x=[0.125, 0.25, 0.5, 1, 2, 4])
        panel.labels(x="load n / d", y="error per value entry")
        panel.heading(heading)
    plate.legend("below")
    return plate


@paper.figure(
    "fig2",
    caption="Error of every pair after one pass of the delta rule, by how many pairs were written after it, d = 16, n "
    "= 40 (lines: exact recursion)",
    setting=scaled(Setting(rule="delta", n_draws=400)),
)
def delta_profile(setting: Setting, lab: Lab) -> figures.Plate:
    plate = figures.Plate()
    panel, n = plate[0, 0], setting.n_pairs
    some = np.unique(np.round(np.linspace(0, n - 1, 14)).astype(int))
    for rate in (0.3, 0.5, 1.0):
        runs = lab.simulate(retrieve, replace(setting, rate=rate))
        label = f"rate {rate:g}"
        figures.prediction(panel, np.arange(n), rules.delta_rule_errors(n, setting.dim, rate)[::-1], label)
        figures.measurement(panel, some, runs["error"][:, ::-1][:, some], label)
    panel.labels(x="pairs written later (lag)", y="error per value entry")
    plate.legend("below")
    return plate


@paper.figure(
    "fig3",
    caption="Share of wrong signs against the number of pairs, d = 8 (lines: exact laws and the Gaussian approximation)",
    setting=scaled(Setting(dim=8, values="sign", value_dim=32, n_draws=800)),
)
def sign_errors(setting: Setting, lab: Lab) -> figures.Plate:
    plate = figures.Plate()
    panel, counts, d = plate[0, 0], np.array([3, 5, 8, 13, 21, 34]), setting.dim
    for number, keys in enumerate(("spherical", "binary")):
        runs = lab.simulate(retrieve, *(replace(setting, keys=keys, n_pairs=int(n)) for n in counts))
        figures.measurement(
            panel,
            counts,
            np.stack([mean_over_pairs(each, "wrong_sign") for each in runs], axis=1),
            f"{keys} keys",
            dodge=3 * number,
        )
        figures.prediction(panel, counts, [signs.sign_error(int(n), d, keys) or np.nan for n in counts], f"{keys} keys")
    fine = np.arange(3, 35)
    figures.prediction(panel, fine, signs.sign_error_approx(fine, d), "Gaussian approximation")
    panel.scale(x="log", y="log")
    panel.ticks(x=[3, 5, 8, 13, 21, 34])
    panel.labels(x="pairs n", y="share of wrong signs")
    plate.legend("below")
    return plate


GUARANTEE = Scales(
    smoke=OverlapSetting(n_draws=50, n_pairs=32, n_replicas=8),
    desk=OverlapSetting(n_draws=200, n_pairs=32),
    paper=OverlapSetting(n_draws=1_000, n_pairs=64),
)


@paper.figure(
    "fig4",
    caption="Probability that all signs are retrieved for every assignment of values, against the number of pairs. "
    "Grey: other pairs after which a mean row of overlaps reaches 1",
    setting=GUARANTEE,
)
def guarantees(setting: OverlapSetting, lab: Lab) -> figures.Plate:
    plate = figures.Plate()
    panel, counts = plate[0, 0], np.arange(2, setting.n_pairs + 1)
    for d in (16, 64, 256):
        runs = lab.simulate(guarantee, replace(setting, dim=d))
        figures.measurement(panel, counts, runs["guaranteed"], f"d = {d}")
        figures.reference(panel, f"d = {d}", x=1 + signs.guaranteed_capacity(d))
    panel.limits(y=(-0.05, 1.3))  # room for the names of the lines
    panel.labels(x="pairs n", y="probability of a guarantee")
    plate.legend("below")
    return plate


@paper.figure(
    "fig5",
    caption="Pairs stored at an error of one (linear, powers), at half of the target's weight (softmax, b = d), and "
    "with a guarantee, against the width: theory (lines), and the number of pairs at which simulated memories reach "
    "the same error, by interpolation (points)",
    setting=scaled(Setting(n_draws=80, n_replicas=8)),
)
def capacities(setting: Setting, lab: Lab) -> figures.Plate:
    plate = figures.Plate()
    panel, fine = plate[0, 0], np.arange(3, 33)
    laws = {
        "guarantee": lambda d: 1 + signs.guaranteed_capacity(int(d)),
        "linear": lambda d: 1 + d,
        "p = 2": lambda d: 1 + 1 / theory.overlap_moment(int(d), 4),
        "p = 3": lambda d: 1 + 1 / theory.overlap_moment(int(d), 6),
        "softmax": lambda d: softmax.half_weight_pairs(int(d), float(d)),
    }
    for label, law in laws.items():
        figures.prediction(panel, fine, [float(law(d)) for d in fine], label)
    widths = (4, 6, 8, 10)
    for label, rule, rate in (
        ("linear", "hebb", 1.0),
        ("p = 2", "polynomial", 2.0),
        ("p = 3", "polynomial", 3.0),
        ("softmax", "softmax", None),
    ):
        found = []
        for d in widths:
            n = round(laws[label](d))
            few, many = max(2, n // 2), 2 * n
            pair = lab.simulate(
                retrieve,
                *(
                    replace(setting, dim=d, n_pairs=m, value_dim=4, rule=rule, rate=float(d) if rate is None else rate)
                    for m in (few, many)
                ),
            )
            low, high = (
                each["target_weight"].mean(-1) if label == "softmax" else mean_over_pairs(each) for each in pair
            )
            if label == "softmax":  # weight about 1/(1 + (n - 1) c): the odds are linear in n
                low, high = 1 / low - 1, 1 / high - 1
            found.append(few + (many - few) * (1 - low) / (high - low))
        figures.measurement(panel, widths, np.stack(found, axis=1), label)
    panel.scale(x="log", y="log")
    panel.limits(y=(2, 3e4))
    panel.ticks(x=[4, 6, 8, 10, 16, 32])
    panel.labels(x="width d", y="pairs stored")
    plate.legend("below")
    return plate


@paper.figure(
    "fig6",
    caption="Share of chains that are right in all layers so far, heads of width 16 with 12 pairs each voting in every "
    "layer (lines: independent layers, exact error of a head), and chains of one head whose read-out is the next cue",
    setting=DEPTH,
)
def success_by_depth(setting: DepthSetting, lab: Lab) -> figures.Plate:
    runs = lab.simulate(depth, setting)
    plate = figures.Plate()
    panel, L = plate[0, 0], np.arange(1, setting.n_layers + 1)
    p = signs.sign_error(setting.n_pairs, setting.dim)
    for index, heads in enumerate(setting.n_heads):
        label = f"{heads} head{'s' * (heads > 1)}"
        figures.prediction(panel, L, signs.chain_success(L, heads, p), label)
        figures.measurement(panel, L, runs["success"][:, index], label)
    deep = lab.simulate(deep_chain, replace(DEEP, dim=setting.dim, n_pairs=setting.n_pairs, n_draws=setting.n_draws))
    figures.measurement(panel, np.arange(1, DEEP.n_layers + 1), deep["success"], "1 head, read-out as cue")
    panel.labels(x="layers L", y="share of right chains")
    plate.legend("below")
    return plate
