"""Index of sub-layers: random stacks and small transformers; the index of linear flows."""

import math

import numpy as np
import pytest
import torch

from attnlab.simulators.ensemble.random_streams import generators
from attnlab.simulators.stiffness.depth import (
    MarkedSymbol,
    StackSetting,
    Transformer,
    TransformerSetting,
    measure,
    random_stack,
    train_transformers,
)
from attnlab.simulators.stiffness.linear_flows import LinearSetting, linear_index

SIZES = (5, 6, 8, 2, 2)  # symbols, tokens, dim, heads, layers


def test_the_first_block_of_a_wide_random_stack_has_index_one(seeds):
    index = random_stack(StackSetting(n_tokens=16, dim=128, n_blocks=8, n_replicas=8), seeds(8))["index"]
    # a third of the output is shared by all tokens and has the relative fluctuation 1 / sqrt(128) of one vector
    assert abs(index[:, 0].mean() - 1) < 0.05 and abs(index[:, 7].mean() * 8**0.5 - 1) < 0.15
    assert np.all(np.diff(index.mean(0)) < 0)


def test_sub_layers_are_attention_and_feed_forward_head_by_head(seeds):
    model = Transformer(*SIZES)
    p = model.initialise(generators(seeds(1), "parameters"), torch.float64)
    x = torch.randn(1, 3, 6, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    z = x[0] / x[0].square().mean(-1, keepdim=True).sqrt()
    q, k, v = (z @ p["qkv"][0, 0]).split(8, dim=-1)
    heads = [torch.softmax(q[..., s] @ k[..., s].mT / 2, dim=-1) @ v[..., s] for s in (slice(0, 4), slice(4, 8))]
    torch.testing.assert_close(model.sublayer(p, 0, x)[0], torch.cat(heads, -1) @ p["out"][0, 0])
    torch.testing.assert_close(model.sublayer(p, 3, x)[0], torch.relu(z @ p["first"][0, 1]) @ p["second"][0, 1])


def test_the_answer_is_the_symbol_at_the_mark_and_the_mark_is_not_first():
    task = MarkedSymbol(6, 5, 4)
    symbols, place, answer = task.sequences(
        torch.rand(2, task.numbers(1000), generator=torch.Generator().manual_seed(0))
    )
    assert set(place.unique().tolist()) == {1, 2, 3, 4, 5} and set(symbols.unique().tolist()) == set(range(5))
    assert torch.equal(answer, torch.gather(symbols, 2, place[..., None])[..., 0])


def test_indices_are_ratios_of_norms_and_the_stream_adds_up(seeds):
    model, task = Transformer(*SIZES), MarkedSymbol(6, 5, 4)
    p = model.initialise(generators(seeds(2), "parameters"), torch.float32)
    found = measure(model, p, task, torch.rand(2, task.numbers(50), generator=torch.Generator().manual_seed(1)))
    assert found["index"].shape == (2, 4)
    rough = found["increment"] / found["stream"]
    assert (rough / found["index"] - 1).abs().max() < 0.1  # a ratio of means is near the mean of ratios


def test_a_small_transformer_learns_the_task(seeds):
    setting = TransformerSetting(
        n_tokens=4, n_symbols=4, dim=16, n_layers=1, n_steps=300, learning_rate=3e-3, n_test=200, n_replicas=2
    )
    runs = train_transformers(setting, seeds(2))
    assert np.all(runs["accuracy"][:, 0] < 0.6) and np.all(runs["accuracy"][:, 1] > 0.9)


def test_a_head_count_that_does_not_fit_is_an_error():
    with pytest.raises(ValueError, match="n_heads=3"):
        TransformerSetting(n_heads=3)


def test_linear_flows_are_measured_on_unit_directions_and_finite_steps(seeds):
    runs = linear_index(LinearSetting(dim=3, n_directions=5000, steps=(0.5,), n_replicas=2), seeds(2))
    for A, rms, (a, b), finite in zip(runs["matrix"], runs["rms"], runs["eigenvalue"], runs["finite"], strict=True):
        assert rms == pytest.approx(
            np.linalg.norm(A) / 3**0.5, rel=5 * 0.6 / 5000**0.5
        )  # relative sd of a square below 1.2
        growth = math.exp(a * 0.5)
        exact = math.sqrt(growth**2 - 2 * growth * math.cos(b * 0.5) + 1) / 0.5
        assert finite[0] == pytest.approx(exact, rel=1e-12)
