"""Figures: which decays linear attention has; truncated exponentials; recall against states."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import figures
from attnlab.papers.dsf_ssm_equivalence.paper import DECAYS, FEATURES, MQAR, RECALL, paper
from attnlab.papers.lab.run.workbench import Lab
from attnlab.simulators.recurrent_forms.forms import DecaySetting, TruncationSetting, decays, truncations
from attnlab.simulators.recurrent_forms.mqar import MqarSetting, mqar
from attnlab.simulators.recurrent_forms.recall import RecallSetting, recall
from attnlab.theory.attention_ablation.principles import bag_of_values_accuracy
from attnlab.theory.recurrent_forms import gates
from attnlab.theory.recurrent_forms import state as theory


@paper.figure(
    "fig1",
    caption="Share of steps at which the decay of linear attention exceeds 1, averaged over positions from a to 4a, against "
    "a, for one "
    "and six features elu + 1. Lines: 1/2 - f_0 ln 4 / (3 a)",
    source="conditions of the equivalence",
    setting=DECAYS,
    claims=("decays_above_one",),
)
def falls(setting: DecaySetting, lab: Lab) -> figures.Plate:
    starts, plate = (10, 20, 40, 80), figures.Plate()
    panel, fine = plate[0, 0], np.arange(8, 101)
    for n in (1, 6):
        cases = [replace(setting, n_features=n, first=a, last=4 * a, n_rows=400) for a in starts]
        shares = np.stack([runs["above"] for runs in lab.simulate(decays, *cases)], 1)
        line = [gates.share_of_decays_above_one_approx(n, int(a), int(4 * a)) for a in fine]
        name = f"{n} feature" + "s" * (n > 1)
        figures.prediction(panel, fine, line, name)
        figures.measurement(panel, np.array(starts), shares, f"{name}, drawn")
    figures.reference(panel, "1/2", y=0.5)
    panel.labels(x="first position a", y="share of decays above 1")
    plate.legend("below")
    return plate


@paper.figure(
    "fig2",
    caption="Errors of truncated exponentials of a score against the order, largest over pairs with |s| <= 1 (line: "
    "Lagrange's bound at "
    "1), and of the causal weights that they make, largest over all pairs, with the number of features that they need for "
    "keys of width 3",
    source="approximation of softmax attention by feature maps",
    setting=FEATURES,
    claims=("truncated_features", "odd_orders_are_negative"),
)
def orders(setting: TruncationSetting, lab: Lab) -> figures.Plate:
    runs = lab.simulate(truncations, setting)
    plate = figures.Plate(columns=2, width="double")
    left, right = plate[0, 0], plate[0, 1]
    p = np.array(setting.orders)
    error = np.abs(np.exp(runs["scores"])[:, None] - runs["kernel"])
    near = np.abs(runs["scores"])[:, None] <= 1
    figures.prediction(left, p, [float(theory.truncation_error_bound(1.0, int(k))) for k in p], "bound at s = 1")
    figures.measurement(left, p, np.where(near, error, 0).max((2, 3)), "kernel")
    left.scale(y="log")
    left.labels(x="order p", y="largest error")
    figures.measurement(right, runs["features"][0].astype(float), runs["error"], "weights")
    right.scale(x="log", y="log")
    right.labels(x="features of a key", y="largest error of a weight")
    plate.legend("below")
    return plate


@paper.figure(
    "fig3",
    caption="Accuracy of recall after training, twelve pairs of 32 keys, against the states n of a query: softmax, linear "
    "attention (elu + 1 "
    "over its sum), normalised attention (q.k over exp(w.u)), and elu + 1 over exp(w.u)",
    source="MQAR, accuracy against state expansion",
    setting=RECALL,
    claims=("recall_rises_with_state", "learnt_normaliser_wins", "signs_win"),
    scales=("desk", "paper"),
    why_these_scales="networks are trained for 60 steps at smoke",
)
def accuracies(setting: RecallSetting, lab: Lab) -> figures.Plate:
    plate = figures.Plate()
    panel, states = plate[0, 0], (2, 4, 8)
    names = {
        "softmax": "softmax",
        "signed": "q.k over exp(w.u)",
        "linear": "elu + 1 over its sum",
        "positive": "elu + 1 over exp(w.u)",
    }
    for form, name in names.items():
        cases = [replace(setting, form=form, n_state=n) for n in states]
        accuracy = np.stack([runs["accuracy"] for runs in lab.simulate(recall, *cases)], 1)
        figures.measurement(panel, np.array(states), accuracy, name)
    panel.labels(x="states n of a query", y="accuracy")
    plate.legend("below")
    return plate


@paper.figure(
    "fig4",
    caption="Multi-query recall after training against the number of pairs stored (points: means and 95 % intervals over "
    "replicas): one layer of softmax attention and of linear attention with 4 numbers of a query, of a selective model with 2 "
    "and 8 states per channel, and of gates with one. Lines: all, and the accuracy of naming the most frequent value",
    source="MQAR, accuracy against load",
    setting=MQAR,
    claims=("softmax_recalls_any_load", "finite_states_fill_up", "expansion_beats_gates"),
    scales=("desk", "paper"),
    why_these_scales="networks are trained for 100 steps at smoke",
)
def recall_by_load(setting: MqarSetting, lab: Lab) -> figures.Plate:
    plate, loads = figures.Plate(), (4, 8, 16)
    panel = plate[0, 0]
    figures.prediction(panel, loads, np.ones(3), "all")
    bag = [bag_of_values_accuracy(N, setting.n_words) for N in loads]
    figures.prediction(panel, loads, bag, "most frequent value")
    kinds = {
        "softmax": ("softmax", 4, (8, 16)),
        "linear, 4 states": ("linear", 4, loads),
        "selective, 8 states": ("ssd", 8, (8,)),
        "selective, 2 states": ("ssd", 2, (8,)),
        "gates": ("gated", 1, (8,)),
    }
    for number, (name, (form, n, shown)) in enumerate(kinds.items()):
        cases = [replace(setting, form=form, n_state=n, n_pairs=N) for N in shown]
        accuracy = np.stack([lab.simulate(mqar, case)["accuracy"] for case in cases], 1)
        figures.measurement(panel, np.array(shown), accuracy, name, dodge=3 * number)
    panel.scale(x="log")
    panel.ticks(x=loads)
    panel.labels(x="pairs stored", y="accuracy")
    plate.legend("below")
    return plate
