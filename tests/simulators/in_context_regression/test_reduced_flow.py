"""Gradient descent on the reduced model: the loss and its gradient, the first phase, the one-head minimum."""

import numpy as np
import pytest
import torch

from attnlab.simulators.ensemble.random_streams import generators
from attnlab.simulators.in_context_regression.reduced_flow import (
    EffectiveLoss,
    FlowSetting,
    ReducedHeads,
    train_reduced,
)

EPS64 = np.finfo(np.float64).eps


@pytest.fixture
def heads(seeds):
    """Three heads of two replicas, of ordinary size."""
    return ReducedHeads(3, init_scale=0.3).initialise(generators(seeds(2), "parameters"), torch.float64)


def effective_loss(omega, mu, dim, n_context, noise2):
    """The formula of the paper for one model, entry by entry."""
    total = 1 + noise2 - 2 * mu @ omega
    for m, w in zip(mu, omega, strict=True):
        for other, v in zip(mu, omega, strict=True):
            total += m * other * (w * v + (1 + noise2) / n_context * np.exp(dim * w * v))
    return total


def test_effective_loss_and_its_gradient_are_those_of_the_paper(heads):
    task = EffectiveLoss(dim=5, n_context=40, noise_std=0.5)
    leaves = {name: value.clone().requires_grad_() for name, value in heads.items()}
    losses = task.loss(ReducedHeads(3), leaves, None)
    found = torch.autograd.grad(losses.sum(), [leaves["omega"], leaves["mu"]])
    c, d = 1.25 / 40, 5
    for row in range(2):
        omega, mu = (heads[name][row].numpy() for name in ("omega", "mu"))
        assert losses[row].item() == pytest.approx(effective_loss(omega, mu, 5, 40, 0.25), rel=100 * EPS64)
        E = np.exp(d * np.outer(omega, omega))
        by_mu = -2 * omega + 2 * (np.outer(omega, omega) + c * E) @ mu
        by_omega = -2 * mu + 2 * (mu @ omega) * mu + 2 * d * c * mu * (E @ (mu * omega))
        assert np.abs(found[0][row].numpy() - by_omega).max() < 200 * EPS64
        assert np.abs(found[1][row].numpy() - by_mu).max() < 200 * EPS64


def test_reduced_heads_average_labels_by_softmax_of_scaled_products(heads):
    stream = torch.Generator().manual_seed(0)
    tokens = torch.randn(2, 4, 6, 3, dtype=torch.float64, generator=stream)
    query = torch.randn(2, 4, 2, dtype=torch.float64, generator=stream)
    found = ReducedHeads(3)(heads, tokens, query)
    for r in range(2):
        for b in range(4):
            X, y = tokens[r, b, :, :2], tokens[r, b, :, 2]
            expected = sum(
                m * y @ torch.softmax(w * (X @ query[r, b]), 0)
                for w, m in zip(heads["omega"][r], heads["mu"][r], strict=True)
            )
            assert found[r, b, 0].item() == pytest.approx(expected.item(), abs=200 * EPS64)


def test_from_small_numbers_sums_grow_and_differences_decay_exponentially(seeds):
    h, n, size = 0.01, 100, 1e-5
    found = train_reduced(FlowSetting(n_context=10**9, init_scale=size, learning_rate=h, n_steps=n), seeds(4))
    plus, minus = found["mu"] + found["omega"], found["mu"] - found["omega"]
    steps = found["steps"][..., None]
    # left out: cubic terms, and the kernel times 4 heads / 10^9, each with relative effect below 1e-6 here
    assert np.abs(plus / plus[:, :1] / (1 + 2 * h) ** steps - 1).max() < 1e-6
    assert np.abs(minus - minus[:, :1] * (1 - 2 * h) ** steps).max() < 1e-6 * np.abs(minus).max()
    assert np.abs(plus / plus[:, :1] / (1 + h) ** steps - 1).max() > 0.1  # the twin: half the rate
    assert np.array_equal(found["time"], h * found["steps"])


@pytest.mark.parametrize("parametrisation", ["direct", "product"])
def test_one_head_comes_to_its_minimum(seeds, parametrisation):
    d, L, noise2 = 5, 40, 0.1
    setting = FlowSetting(
        n_heads=1, parametrisation=parametrisation, init_scale=0.5, learning_rate=0.1, n_steps=1_500, n_records=5
    )
    found = train_reduced(setting, seeds(4))
    shrink = np.e * d * (1 + noise2) / L
    size = {"omega": d**-0.5, "mu": d**0.5 / (1 + shrink)}
    for name, expected in size.items():
        assert np.abs(np.abs(found[name][:, -1, 0]) - expected).max() < 1e-6  # linear rate above 0.1 over time 150
    assert (found["omega"][:, -1, 0] * found["mu"][:, -1, 0] > 0).all()  # signs match
    assert np.abs(found["effective_loss"][:, -1] - (1 + noise2 - 1 / (1 + shrink))).max() < 1e-10
    assert np.abs(found["loss"][:, -1] - found["effective_loss"][:, -1]).max() < 0.1


def test_two_heads_end_below_one_head_with_opposite_signs(seeds):
    found = train_reduced(FlowSetting(n_heads=2, init_scale=0.3, learning_rate=0.05, n_steps=1_600), seeds(8))
    opposite = found["omega"][:, -1].prod(-1) < 0
    assert opposite.any()
    one_head, pair = 1.1 - 1 / (1 + np.e * 1.1 / 8), 1.1 - 1 / (1 + 1.1 / 8)
    losses = found["effective_loss"][:, -1]
    assert (losses >= pair).all()  # the infimum, at vanishing omega
    assert (losses[opposite] < (one_head + pair) / 2).all()
    sums = np.abs(found["mu"][:, -1].sum(-1)) / np.abs(found["mu"][:, -1]).max(-1)
    assert (sums[opposite] < 0.05).all()


def test_sampled_descent_follows_the_sampled_loss(seeds):
    setting = FlowSetting(
        n_heads=1, loss="sampled", init_scale=0.5, learning_rate=0.05, n_steps=400, batch=32, n_records=20
    )
    found = train_reduced(setting, seeds(6))
    assert (found["diverged_at"] == -1).all()
    last = found["loss"][:, -1]  # batch losses near the one-head minimum 0.403, mean of about 110 steps
    assert abs(last.mean() - 0.403) < 5 * last.std(ddof=1) / 6**0.5 + 0.02  # 0.02: noise of the step size


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("loss", "efective"),
        ("parametrisation", "products"),
        ("init_scale", 0),
        ("learning_rate", float("nan")),
        ("n_heads", -1),
    ],
)
def test_settings_name_what_they_reject(field, value):
    with pytest.raises(ValueError, match=field):
        FlowSetting(**{field: value})
