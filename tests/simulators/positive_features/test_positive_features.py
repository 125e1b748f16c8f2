"""Features, quadratures, drawn rows, searches and counts where their outcome is known."""

import math

import numpy as np
import pytest

from attnlab.simulators.positive_features.attention import AttentionSetting, given, outputs
from attnlab.simulators.positive_features.cost import CostSetting, MemorySetting, causal, counts, memory
from attnlab.simulators.positive_features.draws import BallSetting, DrawSetting, largest_errors, rows, squared_errors
from attnlab.simulators.positive_features.features import KINDS, estimates_of_each_row, features
from attnlab.simulators.positive_features.planes import PlaneSetting, crossings, errors
from attnlab.simulators.positive_features.spheres import SphereSetting, hurting, orthogonal_pairs, regularised

SEEDS = np.random.SeedSequence(4).spawn(2)


def test_features_are_the_estimates_of_their_rows():
    rng = np.random.default_rng(0)
    x, y, W = rng.standard_normal(3), rng.standard_normal(3), rng.standard_normal((5, 3))
    for kind in KINDS:
        product = (features(x[None], W, kind) @ features(y[None], W, kind).T)[0, 0]
        n = 10 if kind == "hyperbolic" else 5
        assert product / n == pytest.approx(estimates_of_each_row(x, y, W, kind).mean())
    with pytest.raises(ValueError, match="use one of trigonometric"):
        features(x[None], W, "cosine")


def test_vectors_that_are_alike_or_opposite_have_no_error_of_their_kind():
    """x = y: cos(0) for waves; x = -y: e^0 for positive and hyperbolic features."""
    runs = errors(PlaneSetting(lengths=(1.0,), angles=(0.0, 180.0)), SEEDS[:1], "cpu")
    assert runs["error"][0, 0, 0, 0] == pytest.approx(0, abs=1e-12)
    assert runs["error"][0, 1:, 0, 1] == pytest.approx(0, abs=1e-12)
    assert runs["mean"][0] == pytest.approx(np.ones((3, 1, 2)), abs=1e-12)
    assert crossings(PlaneSetting(lengths=(1.0,)), SEEDS[:1], "cpu")["hyperbolic"] == pytest.approx(math.pi / 2)


def test_rows_on_a_circle_and_pairs_in_many_dimensions():
    ratio = regularised(SphereSetting(dims=(2, 10**5), squares=(1.0,)), SEEDS[:1], "cpu")["ratio"][0, :, 0]
    turn = 2 * np.pi * np.arange(40) / 40
    assert ratio[0] == pytest.approx(np.exp(math.sqrt(2) * np.cos(turn)).mean() / math.exp(0.5))
    assert ratio[1] == pytest.approx(1, abs=1e-5)
    pairs = orthogonal_pairs(SphereSetting(dims=(3, 4000), squares=(0.5,)), SEEDS[:1], "cpu")
    for kind in KINDS:
        assert pairs[kind][0, 1, 0] == pytest.approx(0, abs=1e-4) and pairs[kind][0, 0, 0] < -0.01


@pytest.mark.slow
def test_harm_begins_once_in_three_dimensions():
    found = hurting(SphereSetting(dims=(3,)), SEEDS[:1], "cpu")["squares"][0, 0]
    assert 10 < found[0] < 12 and found[1] == 18


def test_orthogonal_rows_are_orthogonal_and_have_gaussian_lengths():
    W = rows(np.random.default_rng(0), 500, 8, 4, orthogonal=True)
    gram = W[:, :4] @ W[:, :4].swapaxes(1, 2)
    lengths = np.einsum("nii->ni", gram)
    assert np.abs(gram - lengths[:, :, None] * np.eye(4)).max() < 1e-12
    assert lengths.mean() == pytest.approx(4, abs=4 * math.sqrt(8 / 2000))
    across = W[:, :4] @ W[:, 4:].swapaxes(1, 2)
    assert np.abs(across).max() > 1  # rows of two blocks are independent


def test_squared_errors_and_searches_on_known_ground():
    runs = squared_errors(DrawSetting(dim=4, square=1e-8, n_features=4, n_draws=50), SEEDS, "cpu")
    assert runs["independent"].shape == runs["orthogonal"].shape == (2, 3)
    assert runs["independent"][:, [0, 2]].max() < 1e-12  # even features err in second order
    setting = BallSetting(dim=4, n_features=16, length=0.01, n_draws=3, n_steps=200, n_replicas=2)
    found = largest_errors(setting, SEEDS, "cpu")
    for seed, mean, worst in zip(SEEDS, found["mean"], found["worst"], strict=True):
        W = rows(np.random.default_rng(seed), 3, 16, 4, orthogonal=False)
        top = np.abs(np.linalg.eigvalsh(W.swapaxes(1, 2) @ W / 16) - 1).max(1)
        assert mean[0] == pytest.approx(2e-4 * top.mean(), rel=2e-3)
        assert worst[1] == pytest.approx(0.02 * np.linalg.norm(W.mean(1), axis=1).max(), rel=0.03)


def test_outputs_of_many_features_are_softmax_and_positive_sums_are_positive():
    setting = AttentionSetting(2, 5, 3, 2, numbers_of_features=(8, 4000), n_draws=4, n_replicas=2)
    runs = outputs(setting, SEEDS, "cpu")
    assert (runs["error"][..., 1] < runs["error"][..., 0]).all() and runs["error"][..., 1].max() < 0.01
    assert (runs["negative"][:, 1] == 0).all()
    assert given(setting)[0].shape == (2, 3)


def test_counts_memory_and_causal_sums():
    setting = CostSetting(cells=((8, 2, 3, 4),))
    runs = counts(setting, SEEDS[:1], "cpu")
    assert runs["features"][0, 0] == 2 * 8 * 4 * 2 + 2 * 8 * 4 * 4 and runs["softmax"][0, 0] == 64 * 5
    assert runs["crossover"][0, 0] == 10  # 2 m (d + d_v + 1) / (d + d_v) = 9.6
    peak = memory(MemorySetting(lengths=(256, 512)), SEEDS[:1], "cpu")["peak"][0]
    assert 4 * 256 * 32 < peak[0] < peak[1] < 2 * peak[0] + 1
    sums = causal(setting, SEEDS, "cpu")
    assert sums["state"] == pytest.approx(sums["pairs"], rel=1e-10)
    assert np.abs(sums["behind"] - sums["pairs"]).max() > 1e-3
