"""Decoders of several layers: against loops over tokens, the last token against the whole, one layer at its start, training."""

import numpy as np
import pytest
import torch

from attnlab.simulators.source_attention.depth import Decoder, DeepLookup, DepthSetting, deep_lookup

N, T, D = 3, 4, 5


def drawn(layers):
    task, model = DeepLookup(N, T, 2, T), Decoder(layers, N, D)
    numbers = torch.rand(2, task.numbers_per_step, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    streams = [torch.Generator().manual_seed(k) for k in (1, 2)]
    return task, model, numbers, model.initialise(streams, torch.float64)


@pytest.mark.parametrize("layers", [1, 3])
def test_every_token_attends_to_all_before_it_in_each_layer(layers):
    task, model, numbers, p = drawn(layers)
    tokens, _ = task.sequences(numbers)
    x = tokens[1, 0].numpy() @ p["token"][1].numpy()
    mass = []
    for layer in range(layers):
        query, key, value, out = (p[name][1, layer].numpy() for name in ("query", "key", "value", "out"))
        z = x / np.sqrt((x**2).mean(1, keepdims=True))
        new = x.copy()
        for i in range(N + T):
            w = np.exp((z[: i + 1] @ key) @ (z[i] @ query) / D**0.5)
            new[i] += w / w.sum() @ z[: i + 1] @ value @ out
        mass.append(w[:N].sum() / w.sum())
        x = new
    logits = x[N:] @ p["read"][1].numpy()
    assert model(p, tokens)[1, 0].numpy() == pytest.approx(logits, rel=1e-5)  # 1e-6 under the root of the norm
    last, share = model.last(p, tokens)
    assert last[1, 0, 0].numpy() == pytest.approx(logits[-1], rel=1e-5)
    assert share[:, 1, 0].numpy() == pytest.approx(np.array(mass), rel=1e-5)


def test_the_loss_is_the_mean_over_target_tokens():
    task, model, numbers, p = drawn(2)
    tokens, answers = task.sequences(numbers)
    logits = model(p, tokens)
    chosen = torch.log_softmax(logits, -1).gather(-1, answers[..., None])
    assert task.loss(model, p, numbers).numpy() == pytest.approx(-chosen.mean((1, 2, 3)).numpy())


def test_training_moves_and_sizes_are_checked():
    setting = DepthSetting(2, n_source=4, n_target=6, target_lengths=(6, 24), dim=8, n_steps=60, n_test=8)
    found = deep_lookup(setting, np.random.SeedSequence(3).spawn(2), "cpu")
    assert (found["nats"][:, 0] < found["start_nats"][:, 0]).all()
    assert found["mass"].shape == found["start_mass"].shape == (2, 2, 2)
    assert ((found["mass"] > 0) & (found["mass"] < 1)).all()
    with pytest.raises(ValueError, match="n_layers"):
        DepthSetting(0)
    with pytest.raises(ValueError, match="n_test"):
        DepthSetting(n_test=100)
