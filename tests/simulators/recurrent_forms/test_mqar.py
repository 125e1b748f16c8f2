"""Multi-query recall: layers against loops over a state, tasks against their law, and trainings that must move."""

import math

import numpy as np
import pytest
import torch

from attnlab.simulators.recurrent_forms.mqar import FORMS, Layer, Mqar, MqarSetting, mqar


def seeds(n):
    return [np.random.SeedSequence(3, spawn_key=(k,)) for k in range(n)]


def prompts(task, seed=1, n=2):
    numbers = torch.rand(n, task.numbers_per_step, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return task.prompts(numbers)


def stepped(layer, p, tokens, n_queries):
    """Logits of the last tokens by one pass with a state, one replica and prompt."""
    x = tokens.numpy()
    p = {name: value[0].numpy() for name, value in p.items()}
    out = []
    if layer.form == "gated":
        h = np.zeros(layer.n_channels)
        for u in x:
            forget, write, read = (
                1 / (1 + np.exp(-(u @ p[name] + (p["kept"] if name == "forget" else 0))))
                for name in ("forget", "input", "output")
            )
            h = forget * h + write * (u @ p["value"])
            out.append(read * h)
    elif layer.form == "softmax":
        for i, u in enumerate(x):
            w = np.exp(x[: i + 1] @ p["key"] @ (u @ p["query"]) / layer.n_state**0.5)
            out.append(w @ (x[: i + 1] @ p["value"]) / w.sum())
    else:
        H, z = np.zeros((layer.n_state, layer.n_channels)), np.zeros(layer.n_state)
        for u in x:
            q, k, v = u @ p["query"], u @ p["key"], u @ p["value"]
            if layer.form == "linear":
                q, k = (np.where(y > 0, y + 1, np.exp(np.minimum(y, 0))) for y in (q, k))
                H, z = H + np.outer(k, v), z + k
                out.append(q @ H / (q @ z))
            else:
                step = np.log1p(np.exp(u @ p["step"] + p["pace"]))
                H = np.exp(-np.exp(p["log_rate"]) * step) * H + step * np.outer(k, v)
                out.append(q @ H)
    return np.array(out)[-n_queries:] @ p["read"]


@pytest.mark.parametrize("form", FORMS)
def test_a_layer_is_its_recurrence_on_every_query(form):
    task, layer = Mqar(4, 2, 5, 3), Layer(form, 3, 6, 5)
    tokens, _ = prompts(task)
    start = layer.initialise([torch.Generator().manual_seed(k) for k in (1, 2)], torch.float64)
    if form == "ssd":
        start["log_rate"] += 0.7
    found = layer(start, tokens, 2)
    first = {name: value[:1] for name, value in start.items()}
    assert found.shape == (2, 3, 2, 5)
    assert found[0, 1].numpy() == pytest.approx(stepped(layer, first, tokens[0, 1], 2), abs=1e-12)


def test_prompts_store_different_keys_and_ask_for_stored_ones():
    task = Mqar(4, 3, 6, 50)
    tokens, answers = prompts(task)
    keys, values, is_query = tokens[..., :6].argmax(-1), tokens[..., 6:12].argmax(-1), tokens[..., 12]
    assert (is_query == torch.tensor([0] * 4 + [1] * 3)).all() and (tokens[:, :, 4:, 6:12] == 0).all()
    for row, value, answer in zip(keys.flatten(0, 1), values.flatten(0, 1), answers.flatten(0, 1), strict=True):
        stored, asked = row[:4].tolist(), row[4:].tolist()
        assert len(set(stored)) == 4 and len(set(asked)) == 3
        assert [value[stored.index(k)].item() for k in asked] == answer.tolist()


def test_the_loss_of_a_silent_layer_is_that_of_a_guess():
    task, layer = Mqar(4, 2, 5, 3), Layer("linear", 3, 6, 5)
    start = layer.initialise([torch.Generator().manual_seed(k) for k in (1, 2)], torch.float32)
    numbers = torch.rand(2, task.numbers_per_step)
    silent = start | {"read": torch.zeros_like(start["read"])}
    assert task.loss(layer, silent, numbers).tolist() == pytest.approx([math.log(5)] * 2)


@pytest.mark.parametrize("form", FORMS)
def test_training_lowers_the_loss(form):
    few = mqar(MqarSetting(form=form, n_pairs=2, n_queries=1, n_words=3, n_steps=20, n_test=20), seeds(2), "cpu")
    more = mqar(MqarSetting(form=form, n_pairs=2, n_queries=1, n_words=3, n_steps=150, n_test=20), seeds(2), "cpu")
    assert (more["loss"] < few["loss"]).all() and more["accuracy"].shape == more["start"].shape == (2,)


def test_settings_that_ask_for_more_than_is_stored_are_refused():
    with pytest.raises(ValueError, match="n_queries"):
        MqarSetting(n_queries=9)
    with pytest.raises(ValueError, match="form"):
        MqarSetting(form="rnn")
