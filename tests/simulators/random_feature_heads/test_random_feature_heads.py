"""The simulators of random-feature heads: features, targets, Gram matrices and regressions, against direct sums."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from attnlab.simulators.ensemble.random_streams import generators
from attnlab.simulators.random_feature_heads import features, few_heads, gram, inputs, learning_curves


def seeds(n):
    return [np.random.SeedSequence(7, spawn_key=(k,)) for k in range(n)]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("kind", inputs.KINDS)
def test_features_are_sums_over_keys(kind):
    query, keys = inputs.tokens(generator(), 3, 2, 4)
    assert torch.allclose(query.norm(dim=-1), torch.ones(3, dtype=torch.float64))
    W = features.head_weights(generator(1), 5, 4, kind, 2)
    phi, one = features.features(query, keys, W, kind), torch.ones(1, dtype=torch.float64)
    for n, m in ((0, 0), (2, 4)):
        if kind == "perceptron":
            v = torch.cat([torch.cat([query[n], *keys[n]]) / 3**0.5, one]) / 2**0.5
            assert float(v.norm()) == pytest.approx(1) and float(phi[n, m, 0]) == pytest.approx(max(float(W[m] @ v), 0))
            continue
        x0, x = (
            (query[n], keys[n])
            if kind == "plain"
            else (torch.cat([query[n], one]), torch.cat([keys[n], one.expand(2, 1)], 1))
        )
        direct = sum(torch.relu(x0 @ W[m] @ x[i]) * x[i] for i in range(2)) / 2
        assert torch.allclose(phi[n, m], direct, atol=1e-14)


def test_weights_have_the_stated_law():
    W = features.head_weights(generator(), 40_000, 3, "biased", 2)
    mean = torch.zeros(4, 4, dtype=torch.float64)
    mean[range(3), range(3)] = 2 * 3**0.5
    assert (W.mean(0) - mean).abs().max() < 5 * 0.5 / 200 and (W.std(0) - 0.5).abs().max() < 0.02


def test_targets_are_their_formulas_with_mean_zero():
    query, keys = inputs.tokens(generator(2), 50_000, 2, 5)
    names = ("b1", "b2", "b4", "s2", "s1b")
    y = inputs.labels(query, keys, names)
    s = torch.einsum("nd,nid->ni", query, keys)
    assert torch.allclose(y[:, 1], (keys[..., 0] ** 2).mean(1) - 1 / 5)
    assert torch.allclose(y[:, 2], (keys[..., 0] ** 4).mean(1) - 3 / 35)
    assert torch.allclose(y[:, 4], (s * keys[..., 0]).mean(1))
    assert (y.mean(0).abs() < 5 * y.std(0) / 50_000**0.5).all()


@pytest.mark.parametrize("kind", inputs.KINDS)
def test_gram_is_the_mean_over_heads(kind):
    a, b = inputs.tokens(generator(3), 3, 2, 4), inputs.tokens(generator(4), 2, 2, 4)
    W = features.head_weights(generator(5), 40_000, 4, kind, 2)
    products = torch.einsum("nmk,pmk->npm", features.features(*a, W, kind), features.features(*b, W, kind))
    error = products.std(-1) / 200
    assert ((products.mean(-1) - gram.gram(a, b, kind)).abs() < 5 * error).all()
    assert ((products.mean(-1) - 1.3 * gram.gram(a, b, kind)).abs() > error).all()  # twin


def test_chunks_do_not_change_the_gram(monkeypatch):
    a = inputs.tokens(generator(3), 7, 3, 4)
    whole = gram.gram(a, a, "biased")
    monkeypatch.setattr(gram, "_ENTRIES", 70)
    assert torch.allclose(gram.gram(a, a, "biased"), whole, atol=1e-13) and torch.allclose(whole, whole.T, atol=1e-6)


def test_regression_solves_the_normal_equations_on_nested_samples():
    setting = learning_curves.Setting(
        dim=4, n_keys=2, sizes=(10, 30), ridges=(0.01, 1.0), targets=("b1", "s1"), n_test=200, n_copies=1, n_replicas=2
    )
    runs = learning_curves.learning_curves(setting, seeds(2), "cpu")
    assert runs["error"].shape == runs["norm"].shape == (2, 2, 2, 2)
    alone = learning_curves.learning_curves(replace(setting, sizes=(30,)), seeds(2), "cpu")
    assert np.allclose(alone["error"][:, :, 0], runs["error"][:, :, 1])
    stream = generators(seeds(1), "data")[0]
    train, test = inputs.tokens(stream, 30, 2, 4), inputs.tokens(stream, 200, 2, 4)
    rotations = inputs.random_rotations(stream, 1, 4, "attention")
    y, y_test = (inputs.rotated_labels(x, ["b1"], rotations)[:, 0] for x in (train, test))
    assert torch.allclose(y[:, 0], (train[1] @ rotations[1, 0])[..., 0].mean(1)) and not torch.equal(
        rotations[0], rotations[1]
    )
    K = gram.gram(train, train, "attention")
    a = torch.linalg.solve(K + 0.01 * torch.eye(30, dtype=torch.float64), y)
    error = ((gram.gram(test, train, "attention") @ a - y_test) ** 2).mean() / y_test.var(correction=0)
    assert runs["error"][0, 0, 1, 0] == pytest.approx(float(error)) and runs["norm"][0, 0, 1, 0] == pytest.approx(
        float(y.T @ a)
    )
    assert (runs["norm"][:, 0] > runs["norm"][:, 1]).all() and (runs["norm"][:, :, 1] > runs["norm"][:, :, 0]).all()


def test_fitted_noise_is_the_trace_of_the_filter():
    """E |K_test (K + ridge)^{-1} e|^2 = |K_test (K + ridge)^{-1}|_F^2; 4 standard errors of the draws."""
    setting = learning_curves.Setting(
        dim=5, n_keys=2, sizes=(30,), ridges=(0.05,), targets=("b1",), n_test=50, n_copies=4000, n_replicas=1
    )
    found = learning_curves.learning_curves(setting, seeds(1), "cpu")["noise"][0, 0, 0]
    data = generators(seeds(1), "data")[0]
    train, test = (inputs.tokens(data, n, 2, 5) for n in (30, 50))
    filtered = torch.linalg.solve(
        gram.gram(train, train, "attention") + 0.05 * torch.eye(30), gram.gram(test, train, "attention").T
    )
    expected = float((filtered**2).sum()) / 50
    assert abs(found / expected - 1) < 4 * (2 / 4000) ** 0.5  # at most that of one squared normal a draw


def test_few_heads_approach_the_kernel():
    setting = few_heads.HeadsSetting(
        dim=4, n_keys=2, n_samples=40, n_test=100, heads=(8, 3000), ridge=0.05, targets=("b1",), n_replicas=2
    )
    runs = few_heads.few_heads(setting, seeds(2), "cpu")
    assert np.allclose(runs["ridge"][:, 1], runs["limit"], rtol=0.15)
    assert (runs["ridgeless"][:, 0] > 2 * runs["ridge"][:, 0]).all()  # 8 heads have 40 parameters


def test_permuted_keys_change_nothing_and_explicit_values_fall_with_heads():
    runs = features.head_products(features.ProductSetting(dim=3, n_keys=2, n_heads=500), seeds(2), "cpu")
    assert (runs["permuted"] < 1e-13).all() and (runs["swapped"] > 1e-2).all()
    runs = features.explicit_weights(
        features.ExplicitSetting(cells=((4, 2, 10), (4, 2, 1000)), n_draws=5), seeds(2), "cpu"
    )
    assert (runs["error"][:, 1] < runs["error"][:, 0] / 20).all()


def test_rotations_keep_lengths_and_turn_biased_tokens_together():
    Q = inputs.random_rotations(generator(6), 3, 5, "attention")
    assert torch.allclose(Q @ Q.mT, torch.eye(5, dtype=torch.float64).expand(2, 3, 5, 5), atol=1e-13)
    x = inputs.tokens(generator(7), 4, 2, 5)
    together = inputs.rotated_labels(x, ["s2"], inputs.random_rotations(generator(6), 3, 5, "biased"))
    assert torch.allclose(together, inputs.labels(*x, ["s2"])[:, None].expand(4, 3, 1))
    assert not torch.allclose(inputs.rotated_labels(x, ["s2"], Q), together)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: learning_curves.Setting(kind="atention"), "did you mean 'attention'"),
        (lambda: learning_curves.Setting(targets=("b0",)), "targets='b0' is unknown"),
        (lambda: few_heads.HeadsSetting(n_samples=1), "n_samples=1"),
        (lambda: features.ProductSetting(n_heads=0), "n_heads=0"),
        (lambda: features.ExplicitSetting(cells=((0, 1, 1),)), "cells="),
    ],
)
def test_bad_settings_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
