"""Rows of random attention against sampled rows, the exact two-key row, and each law's nearest rival."""

import math

import numpy as np
import pytest

from attnlab.theory.base_scores import dot_product as theory


def rows(score_std, n_keys, n_rows, seed=0):
    s = score_std * np.random.default_rng(seed).normal(size=(n_rows, n_keys))
    W = np.exp(s - s.max(1, keepdims=True))
    return W / W.sum(1, keepdims=True)


def test_uniform_rows_are_the_limit_of_no_spread():
    assert theory.participation(0.0) == 1 and theory.entropy(0.0, 32) == math.log(32)
    assert theory.freezing_std(1) == 0


@pytest.mark.parametrize("score_std", [0.3, 0.8, 1.2])
def test_participation_and_entropy_of_sampled_rows(score_std):
    """n = 20 000 keys: the mean of e^{2s} has relative error e^{2 s^2} / sqrt(n rows), the ratio is biased by e^{s^2} / n."""
    n, n_rows = 20_000, 240
    W = rows(score_std, n, n_rows)
    tolerance = 4 * math.exp(2 * score_std**2) / math.sqrt(n * n_rows) + 3 * math.exp(score_std**2) / n
    found = n * (W**2).sum(1).mean()
    assert abs(found / theory.participation(score_std) - 1) < tolerance
    assert abs(found / math.exp(score_std**2 * 1.05) - 1) > tolerance or score_std < 0.5  # twin: exponent off by 5 %
    H = -(W * np.log(W)).sum(1).mean()
    assert abs(H - theory.entropy(score_std, n)) < tolerance
    assert abs(H - (math.log(n) - score_std**2)) > tolerance  # twin: without the half


@pytest.mark.slow
def test_frozen_rows_approach_their_law_from_above():
    """The correction is of order 1 / ln n; the spread of the rows allows 4 standard errors."""
    s, gaps = 8.0, []
    for n in (2**6, 2**10, 2**14):
        p = (rows(s, n, 2000, seed=n) ** 2).sum(1)
        gaps.append((p.mean() - theory.frozen_participation(s, n)) * 1.0)
        assert gaps[-1] > -4 * p.std() / math.sqrt(len(p))
    assert max(gaps) < 0.2 and theory.frozen_participation(1e9, 64) == pytest.approx(1)


def test_the_exact_row_meets_its_limits_and_a_brute_force_integral():
    """Two keys: W = sigmoid(s sqrt 2 z) and its rival, one integral over z, on a grid a hundred times finer than its scale."""
    z = np.linspace(-12, 12, 20_001)
    w = np.exp(-(z**2) / 2) / np.exp(-(z**2) / 2).sum()
    for s in (0.5, 3.0):
        p = 1 / (1 + np.exp(-s * math.sqrt(2) * z))
        assert theory.participation_exact(s, 2) == pytest.approx(w @ (p**2 + (1 - p) ** 2), rel=1e-11)
        gap = s * math.sqrt(2) * z
        H = p * np.logaddexp(0, -gap) + (1 - p) * np.logaddexp(0, gap)
        assert theory.entropy_exact(s, 2) == pytest.approx(w @ H, abs=1e-9)
    assert theory.participation_exact(1e-4, 50) == pytest.approx(1 / 50, rel=1e-7)
    n = 10**6
    assert n * theory.participation_exact(0.5, n) == pytest.approx(theory.participation(0.5), rel=1e-5)
    assert theory.entropy_exact(1.0, n) == pytest.approx(theory.entropy(1.0, n), abs=1e-4)
    assert theory.participation_exact(4.0, 1) == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize("score_std", [1.0, 4.0, 8.0])
def test_the_exact_row_agrees_with_sampled_rows_below_and_above_freezing(score_std):
    """20 000 rows of 64 keys: four standard errors. Twin: the frozen limit, or e^{s^2} / n below it."""
    W = rows(score_std, 64, 20_000, seed=3)
    p = (W**2).sum(1)
    error = 4 * p.std() / math.sqrt(20_000)
    assert abs(p.mean() - theory.participation_exact(score_std, 64)) < error
    limit = (
        theory.frozen_participation(score_std, 64)
        if score_std > theory.freezing_std(64)
        else math.exp(score_std**2) / 64
    )
    assert abs(p.mean() - limit) > error
    H = -(W * np.log(np.maximum(W, 1e-300))).sum(1)
    assert abs(H.mean() - theory.entropy_exact(score_std, 64)) < 4 * H.std() / math.sqrt(20_000)


def test_products_without_their_scale_are_frozen():
    """1500 independent queries with keys of their own, width 8: four standard errors."""
    rng, found = np.random.default_rng(5), []
    for _ in range(1500):
        S = rng.normal(size=8) @ rng.normal(size=(8, 64))
        W = np.exp(S - S.max())
        found.append(((W / W.sum()) ** 2).sum())
    error = 4 * np.std(found) / math.sqrt(1500)
    assert abs(np.mean(found) - theory.participation_of_products(8, 64, 1.0)) < error
    assert theory.participation_of_products(8, 64, 8**-0.5) < 0.1 < theory.participation_of_products(8, 64, 1.0)
    assert theory.participation_of_products(256, 64, 1 / 16) == pytest.approx(
        theory.participation_exact(1.0, 64), rel=2e-2
    )


def test_cost_counts_visible_pairs():
    from attnlab.kernels.operators.operator import Sizes

    sizes = Sizes(n=5, d=3, d_v=2, n_heads=4)
    assert theory.multiply_adds(sizes) == 4 * 25 * 5 and theory.multiply_adds(sizes, causal=True) == 4 * 15 * 5
    assert theory.multiply_adds(Sizes(n=5, d=3, d_v=2, n_q=2), causal=True) == (4 + 5) * 5
    assert theory.state_numbers(sizes) == 25


@pytest.mark.parametrize(
    "call",
    [
        lambda: theory.participation(-1),
        lambda: theory.entropy(1, 0),
        lambda: theory.freezing_std(0),
        lambda: theory.frozen_participation(1.0, 100),
        lambda: theory.participation_exact(1.0, 0),
        lambda: theory.participation_of_products(1000, 10, 1.0),
    ],
)
def test_arguments_out_of_range_are_named(call):
    with pytest.raises(ValueError, match=r"must be at least|not above"):
        call()
