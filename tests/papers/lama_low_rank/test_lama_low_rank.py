"""The paper on pooling with rank-one scores: claims judged on planted runs whose truth is known."""

from dataclasses import replace

import numpy as np
import pytest

from attnlab.papers.lab.registry import load
from attnlab.papers.lab.run.planted import PlantedLab

paper = load("lama_low_rank")


def judged(name, make):
    claim = paper.claims[name]
    return claim.function(claim.setting.desk, PlantedLab(make))


def counted(accuracy, start=0.5, n=32, n_test=20_000):
    """Trained replicas that answer right with a given chance, counted on ``n_test`` sequences."""
    rng = np.random.default_rng(2)
    right = rng.binomial(n_test, accuracy, n) / n_test
    return lambda setting: {"counted": right, "counted_at_start": start + 0.02 * rng.normal(size=n)}


@pytest.mark.parametrize(
    ("accuracy", "start", "outcome"),
    [(0.85442, 0.5, "HOLDS"), (0.87, 0.5, "REFUTED"), (0.84, 0.5, "REFUTED"), (0.85442, 0.85442, "UNDECIDED")],
)
def test_one_head_ends_at_the_selection_bound_and_not_beyond(accuracy, start, outcome):
    assert judged("one_head_cannot_select", counted(accuracy, start)).outcome == outcome


@pytest.mark.parametrize(("accuracy", "outcome"), [(1.0, "HOLDS"), (0.999, "REFUTED"), (0.856, "REFUTED")])
def test_two_heads_must_answer_right_on_all(accuracy, outcome):
    assert judged("two_heads_select", counted(accuracy)).outcome == outcome


def test_the_rank_error_tells_a_sine_term_from_one_five_percent_smaller(monkeypatch):
    from attnlab.papers.lama_low_rank import claims

    def runs(setting):  # exact up to what finite matrices add
        ratio = np.arange(setting.dim + 1) / setting.dim
        noise = np.random.default_rng(setting.dim).normal(size=(256, 1)) * ratio * (1 - ratio)
        return {"error": law(ratio) - 0.2 / setting.dim * ratio * (1 - ratio) + 0.4 / setting.dim * noise}

    law = claims.theory.gaussian_rank_error_limit
    assert judged("rank_error", runs).outcome == "HOLDS"
    angle = claims.theory._angle
    monkeypatch.setattr(
        claims.theory,
        "gaussian_rank_error_limit",
        lambda ratio: np.array([(2 * t - np.sin(4 * t) / 2.1) / np.pi for t in map(angle, ratio)]),
    )
    assert judged("rank_error", runs).outcome == "REFUTED"


def test_the_written_heads_select_and_a_false_read_out_does_not(monkeypatch):
    from attnlab.papers.lama_low_rank import claims

    assert judged("two_heads_construction", None).outcome == "HOLDS"
    scores, readout = claims.theory.two_head_selection(50)
    monkeypatch.setattr(claims.theory, "two_head_selection", lambda T: (scores, readout * [1.0, 1.001]))
    assert judged("two_heads_construction", None).outcome == "REFUTED"


@pytest.mark.parametrize(
    "name, changes, words",
    [
        ("one_head_cannot_select", {"learning_rate": 1e30}, "learning_rate"),
        ("two_heads_select", {"learning_rate": 1e30}, "learning_rate"),
        ("rank_error", {"dim": 100}, "multiples of 32"),
        ("fewer_parameters", {"pooling": ((512, 8, 100, 8),)}, "compact pooling is not the smallest"),
        ("fixed_direction", {"rank": 1}, "higher rank"),
    ],
)
def test_outside_their_conditions_claims_say_so_before_anything_runs(name, changes, words):
    claim = paper.claims[name]
    found = claim.judge(replace(claim.setting.desk, **changes), PlantedLab([]))
    assert found.outcome == "VACUOUS" and words in found.reason
