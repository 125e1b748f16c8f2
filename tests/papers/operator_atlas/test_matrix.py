"""The claims on the task matrix, on planted trainings; and that what they read of operators is what these declare."""

import math

import numpy as np
import pytest

from attnlab.kernels.compiled.compiler import working_target
from attnlab.papers.lab.registry import load
from attnlab.papers.lab.run.planted import PlantedLab
from attnlab.papers.operator_atlas.matrix import (
    cells_of,
    control_of,
    facts_of,
    measured,
    predicted,
    representatives,
    scored,
)
from attnlab.papers.operator_atlas.matrix_figures import listed
from attnlab.papers.operator_atlas.matrix_steps import rows
from attnlab.simulators.task_matrix.cells import MatrixSetting
from attnlab.theory.operator_atlas import recall
from attnlab.theory.task_matrix import mixture
from attnlab.theory.task_matrix.criteria import CRITERIA
from attnlab.theory.task_matrix.facts import FAILS, OPEN, SUCCEEDS

paper = load("operator_atlas")
NAMES = (
    "base_scores/dot_product", "linear_variants/cosine_linear", "mixers_and_channels/large_kernel", "gates_and_memory/extractor",
    "positional_attention/alternating_positions[windowed]", "score_maps/clipped", "positive_features/performer",
    "base_scores/luong[general]", "score_maps/difference", "controls/mean", "controls/one_token", "controls/sigmoid_sum",
    "controls/gated_recurrence",
)  # fmt: skip
SETTING = MatrixSetting(operators=NAMES, retry=0.0)


GUESSING = math.log(8)


def planted(says, loss=GUESSING):
    """A lab in which an operator solves a task if ``says(operator, column)``; positive controls do."""

    def solved(operator, column):
        good = operator == control_of(column) if column != "match_long" else False
        return np.full(8, 1.0 if good or says(operator, column) else 0.0)

    def cell(setting):
        found = {
            "score": solved(setting.operator, setting.task),
            "loss": np.full(8, loss * (1 + 1e-5 * len(setting.operator))),
        }
        long = solved(setting.operator, "match_long")
        return found | {"long": np.stack([long] * 3, -1)}

    return PlantedLab(cell=cell, rates={"loss": np.array([[3.0, 2.0, 1.0, 2.0]] * 2)})


def truth(operator, column):
    return predicted(operator, column).says == SUCCEEDS


def judged(name, lab, setting=SETTING):
    return paper.claims[name].function(setting, lab)


def test_all_claims_hold_where_all_cells_are_as_predicted():
    for name in (
        "positive_controls_succeed",
        "predicted_failures_fail",
        "criteria_agree",
        "fixed_row_sums_cannot_count",
    ):
        assert judged(name, planted(truth)).holds, name


def test_operators_that_all_do_what_softmax_does_refute_the_criteria():
    lab = planted(lambda operator, column: predicted("base_scores/dot_product", column).says == SUCCEEDS)
    assert not judged("criteria_agree", lab).holds
    assert not judged("predicted_failures_fail", lab).holds


def test_controls_that_fail_are_seen_and_their_columns_not_scored():
    lab = PlantedLab(
        cell={"score": np.zeros(8), "loss": np.linspace(1, 1.1, 8), "long": np.zeros((8, 3))},
        rates={"loss": np.ones((2, 4))},
    )
    assert not judged("positive_controls_succeed", lab).holds
    assert scored(measured(SETTING, lab)) == set()


def test_a_count_told_apart_is_seen():
    assert not judged("fixed_row_sums_cannot_count", planted(truth, loss=7 / 8 * math.log(7))).holds
    assert not judged("fixed_row_sums_cannot_count", planted(truth, loss=0.97 * math.log(8))).holds


def test_a_predicted_success_that_fails_trains_longer_once_and_keeps_what_it_gives():
    def cell(setting):
        late = setting.operator == "score_maps/clipped" and setting.budget == 1
        return {
            "score": np.full(8, 0.0 if late else 1.0), "loss": np.linspace(1, 1.1, 8), "long": np.ones((8, 3)),
        }  # fmt: skip

    setting = MatrixSetting(operators=("base_scores/dot_product", "score_maps/clipped"), tasks=("offset",))
    lab = PlantedLab(cell=cell, rates={"loss": np.array([[3.0, 2.0, 1.0, 2.0]] * 2)})
    cells = measured(setting, lab)
    assert [(each.budget, each.solved.all(), each.rate) for each in cells] == [(1.0, True, 0.02), (4.0, True, 0.02)]


def test_one_solved_replica_contradicts_a_failure_and_the_table_lists_it_first():
    odd = ("linear_variants/cosine_linear", "recall_32")
    assert predicted(*odd).says == FAILS
    lab = planted(lambda operator, column: (operator, column) == odd or truth(operator, column))
    rows = listed(measured(SETTING, lab)).splitlines()
    assert "cosine_linear" in rows[2] and rows[2].endswith("DISAGREES |") and "DISAGREES" not in rows[3]


def test_facts_are_those_that_operators_declare_at_the_sizes_of_the_task():
    assert facts_of("linear_variants/cosine_linear", "recall_32").rank == 4
    assert facts_of("base_scores/dot_product", "recall_32").rank is None
    assert facts_of("base_scores/dot_product", "count").row_sum == 1
    assert facts_of("score_maps/clipped", "count").row_sum is None
    assert facts_of("positional_attention/alternating_positions[windowed]", "offset").reach == 2
    assert predicted("mixers_and_channels/large_kernel", "grid").says == SUCCEEDS


def test_no_positive_control_is_predicted_to_fail_and_no_null_control_to_succeed():
    for column in CRITERIA:
        if column != "match_long":
            assert predicted(control_of(column), column).says in (SUCCEEDS, OPEN)
        assert predicted("controls/one_token", column).says == FAILS


@pytest.mark.slow
def test_every_family_has_one_representative_with_cells_to_train():
    from attnlab.kernels.operators.listing import families

    found = representatives()
    assert set(found) == set(families())
    assert {name for name, _ in cells_of(MatrixSetting(operators=("representatives",)))} >= set(found.values())


@pytest.mark.parametrize(("m", "r", "d_v", "V", "maps"), [(32, 4, 4, 16, 8), (12, 4, 4, 16, 4), (8, 8, 4, 16, 1)])
def test_both_subjects_read_the_same_share_through_a_rank(m, r, d_v, V, maps):
    assert mixture.read_through_rank(m, r, d_v, V, maps) == pytest.approx(
        recall.best_map_recall(m, r, d_v, V, maps), rel=1e-6
    )


@pytest.mark.slow
def test_the_table_of_steps_gives_a_ratio_or_the_operation_that_refuses():
    names = ("base_scores/dot_product", "linear_variants/latent_mixture")
    known, refused = rows([f"operators={names!r}", 'tasks=("recall_4",)', "rounds=1"])
    assert "no build" in known if working_target()[0] is None else float(known.split("|")[5]) > 0
    assert "operation aten::logcumsumexp" in refused
