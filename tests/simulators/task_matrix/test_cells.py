"""Cells of the matrix: the model's size, its frozen numbers, what is not applicable, and that training does what it says."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from attnlab.simulators.ensemble import random_streams
from attnlab.simulators.task_matrix import training
from attnlab.simulators.task_matrix.cells import (
    CellSetting,
    MatrixSetting,
    RatesSetting,
    cell,
    inapplicable,
    operators,
    rates,
)
from attnlab.simulators.task_matrix.model import WEIGHTS, MatrixModel
from attnlab.simulators.task_matrix.tasks import TASKS
from attnlab.simulators.task_matrix.training import built, schedule


def seeds(n=2):
    return [np.random.SeedSequence(3, spawn_key=(replica,)) for replica in range(n)]


@pytest.mark.parametrize("name", ["base_scores/dot_product", "gates_and_memory/mega", "controls/gated_recurrence"])
def test_mixer_and_perceptron_have_the_same_weights_together_whatever_the_mixer(name):
    model, _ = built(operators()[name], TASKS["recall_4"], seeds())
    start = model.initialise(random_streams.generators(seeds(), "parameters"), torch.float32)
    layer = sum(value[0].numel() for key, value in start.items() if key.startswith(("mixer0.", "up0", "down0")))
    assert WEIGHTS - 32 < layer <= WEIGHTS


def test_frozen_parameters_are_drawn_once_per_replica_and_not_trained():
    model, _ = built(operators()["positive_features/performer"], TASKS["recall_4"], seeds())
    start = model.initialise(random_streams.generators(seeds(), "parameters"), torch.float32)
    assert set(model.frozen) == {"mixer0.projection", "mixer1.projection"} and not set(model.frozen) & set(start)
    assert not torch.equal(model.frozen["mixer0.projection"][0], model.frozen["mixer0.projection"][1])
    assert torch.equal(model.part(slice(1, 2)).frozen["mixer0.projection"][0], model.frozen["mixer0.projection"][1])


def test_a_causal_model_says_nothing_of_later_tokens_and_a_model_of_one_token_nothing_of_others():
    for name, own in (("base_scores/dot_product", False), ("controls/one_token", True)):
        model, _ = built(operators()[name], TASKS["offset"], seeds(1))
        start = model.initialise(random_streams.generators(seeds(1), "parameters"), torch.float32)
        symbols = torch.randint(16, (1, 1, 32, 1), generator=torch.Generator().manual_seed(0)).float()
        other = symbols.clone()
        other[0, 0, 10] = 15 - other[0, 0, 10]
        same = (model(start, symbols, None) == model(start, other, None)).all(-1)[0, 0]
        assert same[:10].all() and not same[10] and bool(same[11:].all()) is own


def test_what_has_no_form_for_a_task_says_why():
    assert inapplicable("base_scores/dot_product", "recall_4") == ""
    assert "edges of a graph" in inapplicable("score_mixing/edge_scores[mixed]", "grid")
    assert "no causal form" in inapplicable("mixers_and_channels/large_kernel", "offset")
    assert "outputs for" in inapplicable("low_rank/perceiver", "grid")
    assert "at most 16 tokens" in inapplicable("positional_attention/group_transport[rotations]", "recall_32")


def test_the_rate_rises_for_fifty_steps_and_falls_in_the_last_thirty_per_cent():
    rate = [schedule(1000, step) for step in range(1000)]
    assert rate[0] == pytest.approx(1 / 50) and rate[49] == 1 == rate[699] and rate[-1] == pytest.approx(0.02)
    assert rate[849] == pytest.approx(0.51, abs=0.01) and (np.diff(rate[699:]) < 0).all()


@pytest.mark.slow
def test_what_counts_learns_to_count_and_a_mean_cannot_in_any_step():
    short = CellSetting("controls/sigmoid_sum", "count", 2e-2, budget=0.7, n_replicas=2)
    counted = cell(short, seeds(), "cpu")
    mean = cell(replace(short, operator="controls/mean"), seeds(), "cpu")
    assert (counted["loss"] < 1.2).all() and (mean["loss"] > np.log(8) - 1e-5).all() and (mean["score"] < 0.3).all()


def test_rates_are_told_apart_on_the_same_seeds():
    found = rates(RatesSetting("controls/sigmoid_sum", "count", (1e-4, 2e-2), budget=0.5), seeds(), "cpu")["loss"]
    assert found.shape == (2, 2) and (found[:, 0] > found[:, 1]).all()


def test_match_is_scored_among_more_keys_than_it_was_trained_on():
    found = cell(CellSetting("controls/mean", "match", budget=0.01, n_replicas=2), seeds(), "cpu")
    assert found["long"].shape == (2, 3) and np.isfinite(found["long"]).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CellSetting(operator="base_scores/dot"), "neither in the atlas nor a control"),
        (lambda: CellSetting(task="recal_4"), "task='recal_4' is unknown"),
        (lambda: CellSetting(rate=0), "rate=0.0 is not positive"),
        (lambda: MatrixSetting(tasks=("ofset",)), "there is no 'ofset'"),
        (lambda: MatrixSetting(rates_from="me"), "rates_from='me' is unknown"),
    ],
)
def test_a_misspelt_setting_is_an_error(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_draw_of_uniform_numbers_comes_with_the_batch():
    model, task = built(operators()["sparse_selection/random_keys"], replace(TASKS["recall_4"], batch=2), seeds(1))
    assert isinstance(model, MatrixModel) and task.n_uniform == model.n_uniform > 0
    assert task.numbers_per_step == task.own_numbers + task.n_uniform


@pytest.mark.slow
def test_a_long_training_takes_the_generated_step_and_learns_what_autograd_learns(needs_c):
    """Copies from the place before: both paths see numbers of the same law and end at a loss far below guessing, ln 16."""
    losses = []
    for path in ("auto", "autograd"):
        model, task = built(operators()["base_scores/dot_product"], TASKS["offset"], seeds(8))
        with pytest.MonkeyPatch.context() as patch:
            if path == "autograd":
                patch.setattr(training, "WORTH", 10**9)
            run = training.trained(model, task, [2e-2] * 8, seeds(8), 750)
        assert run.path.startswith("generated" if path == "auto" else "autograd")
        losses.append(run.loss[:, -1].mean())
    assert max(losses) < 0.5 * np.log(16) and abs(losses[0] - losses[1]) < 0.5
