"""Trained stacks: layers against plain formulas, equal parameters, teachers, and that training teaches."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from attnlab.simulators.ensemble.random_streams import generators
from attnlab.simulators.particle_flow.stacks import (
    KINDS,
    FlowTask,
    ParticleStack,
    StackSetting,
    random_stacks,
    train_stacks,
)

TINY = StackSetting(
    n_particles=3,
    dim=2,
    hidden=4,
    teacher_hidden=4,
    depths=(2, 4),
    n_states=64,
    n_test=16,
    batch=8,
    n_steps=40,
    n_records=4,
    n_replicas=2,
)


def stack(seeds, n=2, **changes):
    model = ParticleStack(**{"kind": "macaron", "dim": 4, "hidden": 6, "n_layers": 3, "n_heads": 2, **changes})
    return model, model.initialise(generators(seeds(n), "parameters"), torch.float64)


def attention(p, layer, x, n_heads):
    width, out = x.shape[-1] // n_heads, 0
    for h in range(n_heads):
        part = slice(h * width, (h + 1) * width)
        Q, K, V = (x @ p[name][0, layer][:, part] for name in ("W_Q", "W_K", "W_V"))
        out = out + torch.softmax(Q @ K.T / width**0.5, -1) @ V @ p["W_O"][0, layer][part]
    return out


def feed_forward(p, layer, net, x):
    return torch.tanh(x @ p["W_1"][0, layer, net] + p["b_1"][0, layer, net]) @ p["W_2"][0, layer, net]


@pytest.mark.parametrize("kind", KINDS)
def test_a_stack_is_its_formula(seeds, kind):
    model, p = stack(seeds, kind=kind)
    X = torch.randn(2, 5, 6, 4, dtype=torch.float64)
    x, step = X[0, 0], 1 / 3
    for layer in range(3):
        if kind == "transformer":
            x = x + step * attention(p, layer, x, 2)
            x = x + step * feed_forward(p, layer, 0, x)
        else:
            x = x + step / 2 * feed_forward(p, layer, 0, x)
            x = x + step * attention(p, layer, x, 2)
            x = x + step / 2 * feed_forward(p, layer, 1, x)
    assert torch.allclose(model(p, X)[0, 0], x, atol=1e-13)
    assert len(model.path(p, X)) == 4 and torch.equal(model.path(p, X)[0], X)


def test_both_kinds_have_the_same_number_of_parameters_and_shared_stacks_a_layer_of_them(seeds):
    counts = {
        (kind, shared): sum(v[0].numel() for v in stack(seeds, kind=kind, shared=shared)[1].values())
        for kind in KINDS
        for shared in (False, True)
    }
    assert counts["transformer", False] == counts["macaron", False] == 3 * (4 * 16 + 2 * 4 * 6 + 6)
    assert counts["transformer", True] == counts["macaron", True] == counts["macaron", False] // 3


def test_shared_weights_run_at_any_depth_and_others_do_not(seeds):
    model, p = stack(seeds, shared=True)
    X = torch.randn(2, 1, 6, 4, dtype=torch.float64)
    assert len(model.path(p, X, 12)) == 13
    with pytest.raises(ValueError, match="n_layers=12 differs"):
        stack(seeds)[0](stack(seeds)[1], X, 12)


def test_the_loss_is_the_relative_mean_square_and_zero_for_a_perfect_model():
    start, target = torch.randn(2, 10, 3, 2), torch.randn(2, 10, 3, 2)
    task, numbers = FlowTask(start, target, 4), torch.tensor([[0.0, 0.35, 0.999, 1.0]] * 2)
    chosen = [0, 3, 9, 9]
    still = task.loss(lambda _, X: X, {}, numbers)
    assert torch.allclose(still, torch.ones(2))
    perfect = task.loss(lambda _, X: target[:, chosen], {}, numbers)
    assert torch.equal(perfect, torch.zeros(2))
    part = task.part(slice(1, 2))
    assert torch.equal(part.start, start[1:]) and part.numbers_per_step == 4


@pytest.mark.slow
def test_training_brings_the_end_nearer_and_a_replica_does_not_depend_on_those_beside_it(seeds):
    runs = train_stacks(TINY, seeds(2))
    longer = train_stacks(replace(TINY, n_steps=400), seeds(2))
    assert np.all(longer["error"] < runs["error"]) and np.all(longer["loss"][:, -1] < 0.5 * longer["loss"][:, 0])
    alone = train_stacks(TINY, seeds(1))
    assert np.allclose(runs["error"][:1], alone["error"], rtol=1e-4)  # float32 training, other chunk
    assert np.array_equal(runs["W_Q"][:1], alone["W_Q"])


def test_what_is_measured_of_a_student_fits_together(seeds):
    runs = train_stacks(replace(TINY, shared=True, teacher_seed=3), seeds(2))
    assert np.array_equal(runs["W_1"][0], runs["W_1"][1]) and np.array_equal(runs["probe"][0], runs["probe"][1])
    assert np.allclose(runs["path_error"][:, 0], 0) and np.allclose(runs["path_error"][:, -1], runs["error"])
    assert np.allclose(runs["depth_error"][:, 0], runs["error"]) and runs["depth_error"].shape == (2, 2)
    assert np.allclose(runs["straight_error"][:, [0, -1]], 0, atol=1e-12) and np.all(runs["straight_error"][:, 1] > 0)
    assert np.all(
        runs["exact_weights_error"][:, 1] < runs["exact_weights_error"][:, 0]
    )  # twice the layers, half the error
    own = train_stacks(TINY, seeds(2))
    assert not np.array_equal(own["W_1"][0], own["W_1"][1]) and own["depth_error"].shape == (2, 1)


def test_the_two_kinds_learn_from_the_same_teachers_and_states(seeds):
    runs = [train_stacks(replace(TINY, kind=kind, n_steps=2), seeds(2)) for kind in KINDS]
    assert np.array_equal(runs[0]["probe"], runs[1]["probe"]) and np.array_equal(runs[0]["W_V"], runs[1]["W_V"])
    assert np.array_equal(runs[0]["n_parameters"], runs[1]["n_parameters"])


def test_random_stacks_return_what_their_layers_make_of_a_state(seeds):
    runs = random_stacks(replace(TINY, kind="macaron"), seeds(2))
    model = ParticleStack("macaron", 2, 4, 2)
    p = {name: torch.from_numpy(runs[name]) for name in ("W_Q", "W_K", "W_V", "W_O", "W_1", "b_1", "W_2")}
    X = torch.from_numpy(runs["path"][:, :1])
    assert np.allclose(model(p, X)[:, 0].numpy(), runs["path"][:, -1], atol=1e-14)


def test_settings_that_make_no_sense_are_errors():
    for changes, message in (
        ({"hidden": 7}, "hidden=7 is odd"),
        ({"kind": "conformer"}, "kind='conformer'"),
        ({"depths": ()}, "depths=()"),
        ({"n_heads": 3}, "n_heads=3 does not divide"),
        ({"teacher_seed": -2}, "teacher_seed=-2"),
    ):
        with pytest.raises(ValueError, match=message.replace("(", r"\(").replace(")", r"\)")):
            replace(TINY, **changes)
