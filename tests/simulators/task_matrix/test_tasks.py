"""The eight tasks: what is asked has one right answer, which a solver by hand finds; targets hold no accident."""

from dataclasses import replace
from itertools import permutations

import pytest
import torch

from attnlab.simulators.task_matrix.symbols import products_of_three
from attnlab.simulators.task_matrix.tasks import TASKS
from attnlab.simulators.task_matrix.vectors import Match


def batch_of(name, seed=0, **changes):
    task = replace(TASKS[name], **changes)
    if name == "grid":
        task = task.with_taps([torch.Generator().manual_seed(5)], torch.float64)
    numbers = torch.empty(3, task.numbers_per_step, dtype=torch.float64)
    task.fill(numbers, torch.Generator().manual_seed(seed))
    return task, task.made(*task.arrays(numbers[:1])), numbers


@pytest.mark.parametrize("name", ["recall_4", "recall_32"])
def test_every_query_of_recall_is_a_key_that_was_shown_with_its_value(name):
    task, batch, _ = batch_of(name)
    m = task.n_pairs
    assert batch.symbols.shape == (1, task.batch, 2 * m, 2)
    for tokens, target in zip(batch.symbols[0].tolist(), batch.target[0].tolist(), strict=True):
        shown = {key: value for key, value in tokens[:m]}
        assert len(shown) == m and {key for key, _ in tokens[m:]} == set(shown)
        assert [shown[key] for key, _ in tokens[m:]] == target and {value for _, value in tokens[m:]} == {16}


def test_the_successor_of_a_symbol_is_the_one_that_came_after_it_and_positions_do_not_tell():
    task, batch, _ = batch_of("successor")
    for tokens, target in zip(batch.symbols[0, ..., 0].tolist(), batch.target[0].tolist(), strict=True):
        row = tokens[:12]
        assert len(set(row)) == 12 and [row[row.index(each) + 1] for each in tokens[12:]] == target
    first = batch.symbols[0, :, 12, 0][:, None] == batch.symbols[0, :, :11, 0]
    assert len(set(first.nonzero()[:, 1].tolist())) > 2  # the first query's place differs between sequences
    assert task.asked == slice(12, None)


def test_the_score_of_offset_is_that_of_the_farthest():
    task, _, numbers = batch_of("offset")

    def right_at(*lags):
        def model(parameters, symbols, features, draw):
            codes = symbols[..., 0].long()
            said = torch.zeros(*codes.shape, 48, dtype=torch.float64)
            for index, lag in enumerate(task.offsets):
                moved = codes.roll(lag if lag in lags else lag + 1, -1)
                said[..., 16 * index : 16 * index + 16].scatter_(-1, moved[..., None], 20.0)
            return said

        return model

    assert task.score(right_at(1, 4, 12), {}, numbers).tolist() == [1.0] * 3
    assert (task.score(right_at(1, 4), {}, numbers) < 0.2).all()
    assert (task.loss(right_at(1, 4, 12), {}, numbers) < 1e-3).all()


@pytest.mark.parametrize("n", [16, 64])
def test_the_nearest_key_of_match_carries_the_value_asked_for(n):
    task, batch, _ = batch_of("match", n=n)
    keys, query = batch.features[0, :, :-1], batch.features[0, :, -1]
    assert (keys.norm(dim=-1) - 4).abs().max() < 1e-5
    nearest = (keys @ query[..., None])[..., 0].argmax(-1)
    found = batch.symbols[0, :, :-1, 0].gather(-1, nearest[:, None])[:, 0]
    assert (found == batch.target[0, :, 0]).double().mean() > 0.85
    assert isinstance(task, Match) and (batch.symbols[0, :, -1, 0] == 8).all()


def test_least_squares_solves_regression_and_the_last_y_is_not_shown():
    _, batch, _ = batch_of("regression")
    x, y = batch.features[0, :, :-1, :5], batch.features[0, :, :-1, 5]
    w = torch.linalg.lstsq(x, y[..., None]).solution
    assert torch.allclose((batch.features[0, :, -1:, :5] @ w)[..., 0, 0], batch.target[0, :, 0])
    assert (batch.features[0, :, -1, 5] == 0).all() and (batch.features[0, :, -1, 6] == 1).all()


def test_the_target_of_the_grid_is_its_filter_of_unit_norm():
    task, batch, _ = batch_of("grid")
    x = batch.features[0, :, :, 0].view(-1, 1, 6, 6)
    by_torch = torch.nn.functional.conv2d(x, task.taps.view(1, 1, 3, 3), padding=1)
    assert torch.allclose(by_torch.flatten(1), batch.target[0])
    assert abs(task.taps.norm() - 1) < 1e-12


def test_products_of_the_group_are_those_of_permutations_and_do_not_commute():
    _, batch, _ = batch_of("group")
    every = list(permutations(range(3)))
    for given, target in zip(batch.symbols[0, ..., 0].tolist(), batch.target[0].tolist(), strict=True):
        state = every[int(given[0])]
        for element, said in zip(given[1:], target[1:], strict=True):
            state = tuple(state[i] for i in every[int(element)])
            assert every[int(said)] == state
    table = torch.tensor(products_of_three())
    assert not torch.equal(table, table.T)


def test_count_shows_one_to_eight_copies_of_one_token_and_nothing_else():
    task = TASKS["count"]
    seen = []

    def model(parameters, symbols, features, draw):
        seen.append(symbols.shape[-2])
        return torch.zeros(1, 1, symbols.shape[-2], 8)

    said, target = task.answers(model, {"any": torch.zeros(1, 1)}, torch.empty(1, 0))
    assert seen == list(range(1, 9)) and target.tolist() == [[list(range(8))]] and said.shape == (1, 1, 8, 8)


@pytest.mark.parametrize("name", [name for name in TASKS if name != "count"])
def test_replicas_see_what_their_stream_gives_and_steps_differ(name):
    _, _, numbers = batch_of(name, seed=3)
    _, _, again = batch_of(name, seed=3)
    assert torch.equal(numbers, again) and not torch.equal(numbers[0], numbers[1])
