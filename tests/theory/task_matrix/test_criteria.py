"""The criteria: softmax, a window, a linear map and a mean are told apart as they should be, each by its own fact."""

from dataclasses import replace

import pytest

from attnlab.theory.task_matrix.criteria import CRITERIA, match
from attnlab.theory.task_matrix.facts import FAILS, OPEN, SUCCEEDS, ModelSizes, OperatorFacts
from attnlab.theory.task_matrix.mixture import read_through_rank

SOFTMAX = OperatorFacts("pair", row_sum=1.0, symmetries=frozenset({"permutation"}))
SIZES = ModelSizes()


def said(facts):
    return {column: criterion(facts, SIZES).says for column, criterion in CRITERIA.items()}


def test_softmax_does_all_but_count_keep_a_state_and_stay_sharp_among_more_keys():
    assert said(SOFTMAX) == dict.fromkeys(CRITERIA, SUCCEEDS) | dict.fromkeys(("match_long", "count", "group"), FAILS)


def test_a_map_that_reads_no_token_recalls_nothing_and_copies_only_if_it_knows_order():
    mean = replace(SOFTMAX, content="none")
    assert {column for column, each in said(mean).items() if each != FAILS} == set()
    convolution = OperatorFacts("none", symmetries=frozenset({"interior shift", "shift"}), masked=False)
    assert said(convolution)["grid"] == SUCCEEDS and said(convolution)["offset"] == OPEN
    assert said(convolution)["recall_4"] == FAILS


@pytest.mark.parametrize(("reach", "fails"), [(5, True), (6, False)])
def test_two_layers_copy_from_twice_their_reach(reach, fails):
    assert (said(replace(SOFTMAX, reach=reach))["offset"] == FAILS) is fails


@pytest.mark.parametrize(("reach", "fails"), [(2, True), (3, False)])
def test_regression_needs_a_handful_of_pairs_in_reach(reach, fails):
    assert (said(replace(SOFTMAX, reach=reach))["regression"] == FAILS) is fails  # 6/(k + 6) < 1/2 from k = 6 pairs on


def test_rank_forbids_many_pairs_and_few_pairs_are_not_promised():
    linear = said(replace(SOFTMAX, rank=4))
    assert linear["recall_32"] == linear["successor"] == linear["offset"] == FAILS
    assert linear["recall_4"] == OPEN
    assert said(replace(SOFTMAX, rank=16))["recall_32"] == OPEN


def test_every_free_row_sum_leaves_counting_open_and_every_fixed_one_forbids_it():
    assert said(replace(SOFTMAX, row_sum=None))["count"] == OPEN
    assert said(replace(SOFTMAX, row_sum=0.5))["count"] == FAILS


def test_a_state_that_sees_order_is_not_forbidden_to_multiply():
    state = OperatorFacts("nonlinear", masked=False)
    assert said(state)["group"] == OPEN
    assert said(replace(state, masked=True))["group"] == FAILS
    assert said(replace(state, symmetries=frozenset({"permutation"})))["group"] == FAILS


def test_selection_and_free_rows_are_not_said_to_dilute():
    assert said(replace(SOFTMAX, smooth=False))["match_long"] == OPEN
    assert said(replace(SOFTMAX, row_sum=None))["match_long"] == OPEN


def test_every_prediction_has_a_reason_and_every_bound_is_a_score():
    for facts in (SOFTMAX, replace(SOFTMAX, reach=2), replace(SOFTMAX, rank=2)):
        for criterion in CRITERIA.values():
            found = criterion(facts, SIZES)
            assert found.why and (found.bound is None or 0 < found.bound < 0.9)


def test_bounds_are_those_of_the_maps_and_distances_of_the_task():
    linear = replace(SOFTMAX, rank=4)
    assert CRITERIA["successor"](linear, SIZES).bound == pytest.approx(
        read_through_rank(12, 4, 4, 16, 4)
    )  # one layer's maps
    assert CRITERIA["offset"](linear, SIZES).bound == pytest.approx(read_through_rank(20, 4, 4, 16, 8))
    window = CRITERIA["recall_4"](replace(SOFTMAX, reach=2), SIZES)
    assert window.bound == pytest.approx(
        10 / 16 + 6 / 16 / 16
    )  # 10 of 16 pairs lie at most 4 tokens before their query


def test_a_task_is_solved_above_nine_tenths():
    rank = replace(SOFTMAX, rank=4)
    assert 0.9 < read_through_rank(17, 4, 4, 8, 8) < 0.945 and match(rank, SIZES, n=17).says == OPEN
    assert 0.85 < read_through_rank(20, 4, 4, 8, 8) < 0.9 and match(rank, SIZES, n=20).says == FAILS
