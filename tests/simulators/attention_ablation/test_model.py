"""Variants of attention where their outputs are known."""

import numpy as np
import pytest
import torch

from attnlab.simulators.attention_ablation.model import VARIANTS, Stack
from attnlab.simulators.attention_ablation.tasks import Copy, Recall, Regression

TASK = Recall(3, 5, 4, 6)


def made(layers, task=TASK, width=8, n_heads=2):
    model = Stack(layers, task.n_inputs, task.n_positions, task.n_outputs, width, n_heads)
    return model, model.initialise([torch.Generator().manual_seed(s) for s in (1, 2)], torch.float64)


def tokens(task=TASK, seed=0):
    numbers = torch.rand(2, task.numbers_per_step, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return task.sequences(numbers)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_is_causal_and_only_mlps_do_not_mix(variant):
    model, parameters = made((variant, variant))
    x, _ = tokens()
    changed = x.clone()
    changed[:, :, 2] = x[:, :, 3]
    before, after = (model.forward(parameters, each, TASK.n_positions) for each in (x, changed))
    assert torch.allclose(before[:, :, :2], after[:, :, :2])
    assert torch.allclose(before[:, :, -1], after[:, :, -1]) == (variant == "mlp")


@pytest.mark.parametrize("variant", ["random", "fixed"])
def test_maps_without_the_input_are_linear_in_it(variant):
    model, parameters = made((variant, variant))
    a, b = tokens(seed=1)[0], tokens(seed=2)[0]
    out = [model.forward(parameters, x, 1) for x in (a, b, (a + b) / 2)]
    assert torch.allclose((out[0] + out[1]) / 2, out[2])
    model, parameters = made(("standard", "standard"))
    out = [model.forward(parameters, x, 1) for x in (a, b, (a + b) / 2)]
    assert not torch.allclose((out[0] + out[1]) / 2, out[2], atol=1e-3)


def test_one_layer_by_hand():
    model, parameters = made(("standard",), n_heads=1)
    x, _ = tokens()
    p = {name: value[0] for name, value in parameters.items()}
    h = x[0, 0] @ p["token"] + p["position"]
    weights = torch.softmax(h[-1] @ p["query0"] @ (h @ p["key0"]).T / 8**0.5, -1)
    by_hand = (h[-1] + weights @ (h @ p["value0"]) @ p["out0"]) @ p["read"]
    assert torch.allclose(model.forward(parameters, x, 1)[0, 0, 0], by_hand)


def test_a_skipped_layer_adds_nothing():
    model, parameters = made(("standard", "static"))
    x, _ = tokens()
    zero = parameters | {"out0": torch.zeros_like(parameters["out0"])}
    assert torch.allclose(model.forward(parameters, x, 1, skip=0), model.forward(zero, x, 1))


def test_tasks_are_what_they_say():
    x, answers = tokens()
    ids = x.argmax(-1)
    for row, answer in zip(ids[0], answers[0, :, 0], strict=True):
        keys = row[:-1:2].tolist()
        assert len(set(keys)) == 3 and row[1::2].min() >= 5
        assert row[2 * keys.index(int(row[-1])) + 1] - 5 == answer
    copy = Copy(2, 6, 4, 3)
    x, answers = tokens(copy)
    assert (x.argmax(-1)[:, :, :4] == answers).all() and copy.n_last == 4
    regression = Regression(3, 5, 7)
    numbers = torch.randn(2, regression.numbers_per_step, dtype=torch.float64)
    x, y = regression.sequences(numbers)
    weights = torch.linalg.lstsq(x[:, :, :-1, :3], x[:, :, :-1, 3:4]).solution
    assert torch.allclose((x[:, :, -1, :3] * weights[..., 0]).sum(-1), y) and not x[:, :, -1, 3].any()


def test_answers_do_not_tell_of_their_place():
    _, answers = tokens(Recall(3, 5, 4, 2_000))
    counts = np.bincount(answers.flatten().numpy(), minlength=4) / answers.numel()
    assert abs(counts - 0.25).max() < 5 * (0.25 * 0.75 / answers.numel()) ** 0.5
