"""Claims on variants of attention, on planted runs of the truth and of errors, and the exact ones on real runs."""

from dataclasses import replace

import numpy as np
import pytest

from attnlab.papers.lab.registry import load
from attnlab.papers.lab.run.planted import LiveLab, PlantedLab
from attnlab.theory.attention_ablation import principles

paper = load("deconstructing_attention")


def judged(name, lab, **changes):
    claim = paper.claims[name]
    return claim.judge(replace(claim.setting.desk, **changes), lab)


def planted(factor=1.0, solved=0.99, spread=0.004):
    """Sixteen replicas at the predicted level times a factor."""
    z = np.linspace(-1.5, 1.5, 16)
    z = z / z.std(ddof=1)

    def make(s):
        if s.task == "regression":
            level = 0.5 if s.layers[0] == "standard" else factor - 1
        elif s.task == "copy":
            level = 1 / s.n_values if s.layers[0] == "mlp" else 1.0
        else:
            level = principles.recall_accuracy(*s.layers, s.size, s.n_values)
        low = factor * level + spread * z
        found = solved - abs(spread * z) if level == 1 else low
        skipped = np.stack([0.3 * np.ones(16) * factor + spread * z] * len(s.layers), 1)
        start = np.full(16, 1 / s.n_values) + spread * z
        hybrid = s.layers[-1] == "standard"
        if s.task == "regression" and hybrid:
            found = found[::-1]  # replicas of different variants are not alike
        return {
            "accuracy": found,
            "start": start,
            "skipped": skipped,
            "logit": (3 + z / 2) if hybrid else 5 * factor + z,
        }

    return PlantedLab(make)


TRAINED = (
    "who_recalls",
    "bag_of_values",
    "without_mixing",
    "who_copies",
    "regression_needs_the_input",
    "skipping",
    "logits",
)


@pytest.mark.parametrize("name", TRAINED)
def test_predicted_levels_hold(name):
    spread = 0.002 if name == "without_mixing" else 0.004
    assert judged(name, planted(spread=spread)).holds


@pytest.mark.parametrize(
    ("name", "lab"),
    [
        ("who_recalls", planted(solved=0.5)),
        ("bag_of_values", planted(0.86)),
        ("bag_of_values", planted(1.14)),
        ("without_mixing", planted(1.14)),
        ("who_copies", planted(solved=0.7)),
        ("regression_needs_the_input", planted(1.08)),
        ("skipping", planted(1.5)),
        ("logits", planted(0.3)),
    ],
)
def test_other_levels_are_refuted(name, lab):
    assert judged(name, lab).outcome.value == "REFUTED"


@pytest.mark.parametrize("name", ["one_state", "sum_of_heads", "pointing_back", "uneven_balance"])
def test_exact_claims_hold_live(name):
    claim = paper.claims[name]
    assert claim.judge(claim.setting.smoke, LiveLab()).holds


@pytest.mark.parametrize(
    ("name", "array"),
    [("one_state", "recurrent"), ("sum_of_heads", "summed"), ("uneven_balance", "loss"), ("pointing_back", "rows")],
)
def test_errors_of_exact_claims_are_seen(name, array):
    claim = paper.claims[name]

    def spoil(runs):
        x = runs[array]
        return runs | {array: x + 1 if x.dtype.kind == "i" else x * (1 + 1e-6)}

    assert claim.judge(claim.setting.smoke, LiveLab(spoil)).outcome.value == "REFUTED"


@pytest.mark.parametrize(("factor", "outcome"), [(1.0, "HOLDS"), (0.94, "REFUTED")])
def test_the_newest_weight(factor, outcome):
    def make(s):
        z = np.linspace(-1, 1, 16)[:, None]
        return {"weight": factor / np.array(s.positions) * (1 + 1e-4 * z)}

    assert judged("newest_token", PlantedLab(make)).outcome.value == outcome


def test_short_trainings_are_outside():
    assert judged("who_recalls", planted(), n_steps=100).outcome.value == "VACUOUS"
