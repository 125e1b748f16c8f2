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


def test_frozen_rows_approach_their_law_from_above():
    """The correction is of order 1 / ln n; the spread of the rows allows 4 standard errors."""
    s, gaps = 8.0, []
    for n in (2**6, 2**10, 2**14):
        p = (rows(s, n, 2000, seed=n) ** 2).sum(1)
        gaps.append((p.mean() - theory.frozen_participation(s, n)) * 1.0)
        assert gaps[-1] > -4 * p.std() / math.sqrt(len(p))
    assert max(gaps) < 0.2 and theory.frozen_participation(1e9, 64) == pytest.approx(1)


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
    ],
)
def test_arguments_out_of_range_are_named(call):
    with pytest.raises(ValueError, match=r"must be at least|not above"):
        call()
