"""Gated residual networks on spirals."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from attnlab.simulators.ensemble.random_streams import generators
from attnlab.simulators.stiffness.gated_networks import (
    GATES,
    GatedNetwork,
    SpiralSetting,
    SpiralTask,
    measure,
    spirals,
    train_gated,
)

TINY = SpiralSetting(
    n_train=200, n_test=100, width=8, hidden=12, n_blocks=3, n_steps=12, batch=16, n_shown=5, n_replicas=2
)


def network(gate, seeds, n=2):
    model = GatedNetwork(8, 12, 3, 4, gate)
    return model, model.initialise(generators(seeds(n), "parameters"), torch.float64)


def test_points_lie_on_their_arms(seeds):
    points, arms = spirals(replace(TINY, angle_noise=0.0), 500, generators(seeds(1), "train"))
    radius, angle = points.norm(dim=-1), torch.atan2(points[..., 1], points[..., 0])
    expected = 2 * torch.pi * (TINY.turns * radius + arms / 3)
    assert torch.cos(angle - expected).min() > 1 - 1e-5
    assert radius.min() >= 0.02**0.5 and set(arms.unique().tolist()) == {0, 1, 2}


def test_a_network_is_what_modules_of_torch_compute(seeds):
    for gate in GATES:
        model, p = network(gate, seeds, 1)
        x = torch.randn(1, 7, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

        def layer(name, k, z, p=p):
            return torch.nn.functional.linear(z, p[name][0, k].mT, p[f"{name}_bias"][0, k, 0])

        h = layer("enter", 0, x[0])
        for k in range(3):
            f = layer("second", k, torch.relu(layer("first", k, h)))
            seen = f if gate == "f" else torch.cat([f, h], -1)
            a = torch.sigmoid(layer("excite", k, torch.relu(layer("squeeze", k, seen)))) if gate != "none" else 1
            h = h + a * f
        torch.testing.assert_close(model(p, x)[0], layer("leave", 0, h), rtol=1e-12, atol=1e-12)


def test_a_gated_network_starts_with_the_weights_of_the_plain_one(seeds):
    plain, gated = network("none", seeds)[1], network("f and x", seeds)[1]
    assert all(torch.equal(plain[name], gated[name]) for name in plain)


def test_the_gate_keeps_the_index_between_its_bounds_and_no_gate_is_one(seeds):
    points, arms = spirals(TINY, 50, generators(seeds(2), "test"))
    for gate in GATES:
        model, p = network(gate, seeds)
        found = measure(model, p, points.double(), arms, 50)
        below = found["index"] <= found["raw_index"] * (1 + 1e-12)  # sigmoid gates are below one
        assert (
            below.all()
            and (found["index_low"] <= found["index"]).all()
            and (found["index"] <= found["index_high"]).all()
        )
        if gate == "none":
            assert torch.equal(found["gate"], torch.ones_like(found["gate"]))
            torch.testing.assert_close(found["index"], found["raw_index"])
        else:
            assert (found["gate"] > 0.3).all() and (found["gate"] < 0.7).all()


def test_the_loss_is_the_cross_entropy_of_the_chosen_points(seeds):
    points, arms = spirals(TINY, 40, generators(seeds(2), "train"))
    model, p = network("f", seeds)
    numbers = torch.rand(2, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    losses = SpiralTask(points.double(), arms, 16).loss(model, p, numbers)
    scores = model(p, points.double())
    chosen = (numbers * 40).long()
    expected = torch.stack([-scores[r].log_softmax(-1)[chosen[r], arms[r, chosen[r]]].mean() for r in range(2)])
    torch.testing.assert_close(losses, expected)


def test_the_arrays_have_their_shapes_and_a_replica_its_own_numbers(seeds):
    both = train_gated(TINY, seeds(2))
    alone = train_gated(TINY, seeds(2)[1:])
    assert both["index"].shape == both["index_before"].shape == (2, 3, 3) and both["index_shown"].shape == (2, 3, 5, 3)
    assert both["accuracy"].shape == (2, 3) and (both["diverged_at"] == -1).all()
    np.testing.assert_allclose(both["index"][1], alone["index"][0], rtol=1e-3)  # batched products round otherwise
    np.testing.assert_allclose(both["index_before"][1], alone["index_before"][0], rtol=1e-5)


def test_untrained_gates_halve_the_index(seeds):
    runs = train_gated(replace(TINY, n_steps=1), seeds(2))
    ratio = runs["index_before"][:, 1:] / runs["index_before"][:, :1]
    assert np.all(np.abs(ratio - 0.5) < 0.15)  # sigmoids of small numbers


def test_settings_that_contradict_themselves_are_errors():
    for changes, word in (({"reduction": 99}, "reduction"), ({"n_shown": 10**6}, "n_shown"), ({"turns": 0.0}, "turns")):
        with pytest.raises(ValueError, match=word):
            replace(TINY, **changes)
