"""Training linear attention: moments, gradients, the layers, and what training ends at."""

import numpy as np
import pytest
import torch

from attnlab.simulators.ensemble.generated import GeneratedSteps
from attnlab.simulators.ensemble.layout import Layout
from attnlab.simulators.ensemble.optimisers import GradientDescent
from attnlab.simulators.ensemble.random_streams import generators
from attnlab.simulators.ensemble.trainer import autograd_step
from attnlab.simulators.linear_attention import softmax
from attnlab.simulators.linear_attention.model import LinearAttention, MomentTask
from attnlab.simulators.linear_attention.moments import (
    Moments,
    context_features,
    moments_of,
    population_moments,
    sequences,
    token_features,
)
from attnlab.simulators.linear_attention.stationary_points import StationarySetting, loss_gradient, stationary_points
from attnlab.simulators.linear_attention.tokens import TokenSetting, train_both
from attnlab.simulators.linear_attention.training import Setting, train

SPECTRUM = (0.5, 0.3, 0.2)
EPS64 = np.finfo(np.float64).eps


def test_population_moments_are_those_of_many_sequences(seeds):
    exact, n = population_moments(SPECTRUM, 6), 100_000
    batch = sequences(n, SPECTRUM, 6, 0.0, generators(seeds(1), "data")[0])
    features = context_features(batch)
    for found, expected in (
        (features * batch.target[:, None], exact.cross[0]),
        (features[:, :, None] * features[:, None], exact.gram[0]),
    ):
        error = found.std(0) / n**0.5
        assert ((found.mean(0) - expected).abs() < 5.5 * error).all()
    rival = (
        exact.gram[0]
        - torch.kron(torch.diag(torch.tensor(SPECTRUM).double() ** 2), torch.diag(torch.tensor(SPECTRUM))) / 6
    )
    assert ((features.T @ features / n - rival).abs() > 5.5 * error).any()  # without the fourth moment


def test_moment_loss_is_the_mean_squared_error_of_the_sequences(seeds):
    batch = sequences(50, SPECTRUM, 6, 0.3, generators(seeds(1), "data")[0])
    weights = torch.randn(1, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    direct = ((context_features(batch) @ weights[0] - batch.target) ** 2).mean()
    assert moments_of(context_features(batch), batch.target).loss(weights)[0].item() == pytest.approx(
        direct.item(), rel=1e-13
    )


def test_token_features_give_the_prediction_of_the_layer_written_out(seeds):
    batch = sequences(4, SPECTRUM, 6, 0.0, generators(seeds(1), "data")[0])
    rng = torch.Generator().manual_seed(1)
    p, W = torch.randn(4, dtype=torch.float64, generator=rng), torch.randn(4, 3, dtype=torch.float64, generator=rng)
    found = token_features(batch) @ torch.einsum("a,bc->abc", p, W).flatten()
    for i in range(4):
        E = torch.cat(
            [torch.cat([batch.x[i], batch.y[i][:, None]], 1), torch.cat([batch.query[i], torch.zeros(1)])[None]]
        ).T
        expected = p @ (E @ E.T / 6) @ (W @ batch.query[i])
        assert found[i].item() == pytest.approx(expected.item(), rel=1e-12)


@pytest.mark.sampled(4)
@pytest.mark.parametrize(
    "kind, heads, rank", [("merged", 3, 1), ("separate", 3, 1), ("separate", 2, 2), ("whole", 1, 1)]
)
@pytest.mark.parametrize("own", [False, True])
def test_generated_gradient_is_that_of_autograd(seeds, needs_c, kind, heads, rank, own):
    model = LinearAttention(kind, 3, heads, rank, init_scale=2.0)
    size = 48 if kind == "whole" else 9
    rng = torch.Generator().manual_seed(2)
    root = torch.randn(2 if own else 1, size, size, dtype=torch.float64, generator=rng) / size**0.5
    moments = Moments(
        torch.ones(len(root)).double(), torch.randn(len(root), size, dtype=torch.float64, generator=rng), root @ root.mT
    )
    start = model.initialise(generators(seeds(2), "parameters"), torch.float64)
    layout = Layout(model.shapes)
    values = layout.join(start)
    task, descent = MomentTask(moments), GradientDescent(0.01)

    slow, fast = values.clone(), values.clone()
    step = autograd_step(model, task, descent, layout)
    losses = torch.stack([step(slow, {}, None, i) for i in range(5)], 1)
    made = GeneratedSteps(model, task, descent, layout, fast)
    found = made.run(fast, {}, None, 0, 5)
    assert (slow - fast).abs().max() < 1e4 * EPS64 and np.abs(losses.numpy() - found).max() < 1e4 * EPS64
    assert (slow - values).abs().max() > 1e-3


def test_merged_training_ends_at_the_minimum_of_its_moments(seeds):
    found = train(
        Setting(
            spectrum=SPECTRUM,
            n_context=12,
            n_heads=2,
            init_scale=0.1,
            n_sequences=400,
            learning_rate=0.2,
            n_steps=6_000,
            n_records=10,
        ),
        seeds(3),
    )
    for row, stream in enumerate(generators(seeds(3), "data")):
        batch = sequences(400, SPECTRUM, 12, 0.0, stream)
        best = torch.linalg.lstsq(context_features(batch), batch.target[:, None]).solution.view(3, 3)
        # the slowest direction decays at a rate above 0.01 over a time of 2400
        assert np.abs(found["matrix"][row, -1] - best.numpy()).max() < 1e-3
    assert np.abs(found["matrix"][0, -1] - found["matrix"][1, -1]).max() > 0.01  # each has its own sequences
    assert np.array_equal(found["time"], 0.4 * found["steps"])


def test_unnormalised_attention_learns_the_same_map_divided_by_the_length(seeds):
    base = dict(spectrum=SPECTRUM, n_context=12, n_heads=2, init_scale=0.1, n_steps=4_000, n_records=5)
    plain = train(Setting(**base, learning_rate=0.2), seeds(2))
    large = train(Setting(**base, learning_rate=0.02, normalised=False), seeds(2))
    assert np.abs(12 * large["matrix"][:, -1] - plain["matrix"][:, -1]).max() < 0.02


def test_whole_layer_from_a_balanced_start_keeps_its_other_blocks_near_zero(seeds):
    found = train(
        Setting(
            spectrum=SPECTRUM,
            kind="whole",
            n_heads=1,
            start="balanced",
            init_scale=0.5,
            n_sequences=4_000,
            learning_rate=0.2,
            n_steps=3_000,
            n_records=5,
        ),
        seeds(3),
    )
    assert np.abs(found["p"][:, 0, :-1]).max() == 0 and np.abs(found["W"][:, 0, -1]).max() == 0
    assert np.abs(found["p"][:, -1, :-1]).max() < 0.3 < np.abs(found["p"][:, -1, -1]).min()  # sampling error, about 0.1
    assert found["test_gram"].shape == (3, 48, 48)


@pytest.mark.parametrize("n_starts", [2, pytest.param(12, marks=pytest.mark.slow)])
def test_stationary_points_are_stationary_and_saddles_are_among_them(seeds, n_starts):
    found = stationary_points(
        StationarySetting(spectrum=(0.6, 0.4), n_heads=2, init_scale=3.0, max_evaluations=60), seeds(n_starts)
    )
    good = found["gradient"] < 1e-9
    assert good.any()
    if n_starts == 12:
        assert good.sum() >= 8 and np.ptp(found["loss"][good]) > 0.1  # points of different loss: saddles
    gram, cross = (
        population_moments((0.6, 0.4), 31).gram[0].numpy(),
        population_moments((0.6, 0.4), 31).cross[0].numpy(),
    )
    m = found["matrix"][good].reshape(-1, 4)
    assert np.abs((m * (m @ gram - cross)).sum(1)).max() < 1e-8  # the gradient along the matrix itself vanishes


@pytest.mark.parametrize("kind, rank", [("merged", 1), ("separate", 1), ("separate", 2)])
def test_gradient_of_the_search_for_stationary_points_is_that_of_autograd(seeds, kind, rank):
    setting = StationarySetting(spectrum=SPECTRUM, kind=kind, n_heads=3, rank=rank)
    model = LinearAttention(kind, 3, 3, rank, init_scale=2.0)
    moments, layout = population_moments(SPECTRUM, 31), Layout(model.shapes)
    leaf = layout.join(model.initialise(generators(seeds(1), "parameters"), torch.float64)).requires_grad_()
    loss = MomentTask(moments).loss(model, layout.split(leaf), None)
    expected = torch.autograd.grad(loss.sum() / 2, leaf)[0][0].numpy()
    found = loss_gradient(setting, moments.cross[0].numpy(), moments.gram[0].numpy(), leaf[0].detach().numpy())
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("kind, rank", [("merged", 1), ("separate", 2)])
def test_attention_on_tokens_is_the_network_on_features(seeds, kind, rank):
    found = train_both(
        TokenSetting(spectrum=SPECTRUM, n_context=7, kind=kind, rank=rank, n_sequences=10, n_steps=5), seeds(2)
    )
    scale = np.abs(found["network"]).max()
    assert np.abs(found["attention"] - found["network"]).max() < 1e3 * EPS64 * scale
    assert np.abs(found["attention_over_all_tokens"] - found["network"]).max() > 1e-3 * scale
    assert np.abs(np.diff(found["network"], axis=1)).max() > 0


def test_softmax_heads_average_labels(seeds):
    model = softmax.SoftmaxAttention("separate", 3, 2, 1, init_scale=2.0)
    parameters = model.initialise(generators(seeds(1), "parameters"), torch.float64)
    batch = sequences(3, SPECTRUM, 6, 0.0, generators(seeds(1), "data")[0])
    found = model(parameters, batch.x[None], batch.y[None], batch.query[None])[0]
    for i in range(3):
        expected = 0.0
        for h in range(2):
            scores = (batch.x[i] @ parameters["K"][0, h, 0]) * (parameters["Q"][0, h, 0] @ batch.query[i])
            expected += parameters["v"][0, h] * torch.softmax(scores, 0) @ batch.y[i]
        assert found[i].item() == pytest.approx(float(expected), rel=1e-12)


def test_linear_scores_make_the_moment_layer(seeds):
    model = softmax.SoftmaxAttention("merged", 3, 2, init_scale=2.0, score="linear")
    parameters = model.initialise(generators(seeds(1), "parameters"), torch.float64)
    batch = sequences(5, SPECTRUM, 6, 0.0, generators(seeds(1), "data")[0])
    found = model(parameters, batch.x[None], batch.y[None], batch.query[None])[0]
    expected = context_features(batch) @ model.weights(parameters)[0]
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)


def test_softmax_training_lowers_the_loss(seeds):
    found = softmax.train(
        softmax.SoftmaxSetting(kind="merged", init_scale=0.1, n_steps=300, batch=32, n_records=10), seeds(2)
    )
    assert (found["loss"][:, -1] < 0.6 * found["loss"][:, 1]).all() and (found["diverged_at"] == -1).all()


@pytest.mark.parametrize(
    "bad",
    [
        {"kind": "seperate"},
        {"spectrum": ()},
        {"kind": "whole", "n_heads": 1},
        {"n_steps": 0},
        {"start": "balanced"},
        {"start": "balanced", "kind": "separate", "n_heads": 1},
    ],
)
def test_settings_name_what_they_reject(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        Setting(**bad)
