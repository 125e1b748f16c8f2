"""Trained lookups of a source: the layer against loops, sequences against their law, tables against sums over tokens."""

import math

import numpy as np
import pytest
import torch

from attnlab.simulators.source_attention.trained import LAYERS, Lookup, LookupSetting, SourceLayer, lookup


def seeds(n):
    return [np.random.SeedSequence(3, spawn_key=(k,)) for k in range(n)]


def drawn(task, every_key=False):
    numbers = torch.rand(2, task.numbers_per_step, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return task.sequences(numbers, every_key)


@pytest.mark.parametrize("layer", LAYERS)
def test_the_last_token_attends_to_all_before_it_in_one_softmax(layer):
    n, t = 3, 4
    model, task = SourceLayer(layer, n, 5), Lookup(n, t, 2, t)
    tokens, _ = drawn(task)
    p = model.initialise([torch.Generator().manual_seed(k) for k in (1, 2)], torch.float64)
    whole, last = model(p, tokens, t), model(p, tokens, 1)
    assert whole[:, :, -1:].numpy() == pytest.approx(last.numpy())
    q, k, v, out, read = (p[name][0].numpy() for name in ("query", "key", "value", "out", "read"))
    for i in (n + 1, n + t - 1):  # a target token sees the source and targets up to itself
        e = tokens[0, 0, : i + 1].numpy() @ p["token"][0].numpy()
        s = e @ k @ (e[i] @ q) / 5**0.5
        if layer == "biased":
            s[:n] += math.log(i + 1)
        w = np.exp(s)
        y = e[i] + (w @ (e @ v) / w.sum()) @ out
        if layer == "branch":
            y = y + (w[:n] @ (e[:n] @ v) / w[:n].sum()) @ p["branch"][0].numpy()
        assert whole[0, 0, i - n].numpy() == pytest.approx(y @ read)


def test_every_target_asks_for_the_value_that_the_source_stores_with_its_key():
    n, t = 4, 6
    tokens, answers = drawn(Lookup(n, t, 8, t))
    key, value = tokens[..., :n].argmax(-1), tokens[..., n : 2 * n]
    stored = value[:, :, :n].argmax(-1)
    assert (key[:, :, :n] == torch.arange(n)).all() and (value[:, :, n:] == 0).all()
    assert (stored.gather(-1, key[:, :, n:]) == answers).all()
    assert (tokens[..., 2 * n].sum(-1) == n).all() and (tokens[..., 2 * n + 1].sum(-1) == t).all()
    last = drawn(Lookup(n, t, 8, 1), every_key=True)[0][:, :, -1, :n].argmax(-1)
    assert (last == torch.arange(8) % n).all()


def test_tables_give_the_odds_of_a_target_of_one_token_and_training_moves():
    setting = LookupSetting(n_source=4, n_target=4, target_lengths=(1, 64), dim=6, n_steps=40, n_test=8)
    found = lookup(setting, seeds(2), "cpu")
    assert found["odds"][:, 0] == pytest.approx((found["own"] * found["inverse"][:, 0]).mean(1), rel=1e-5)
    assert (found["nats"][:, 0] < found["start_nats"][:, 0]).all()
    assert (found["mass"][:, 1] < found["mass"][:, 0]).all() and (found["middle"] < found["target"]).all()
    with pytest.raises(ValueError, match="n_test"):
        LookupSetting(n_test=100)
