"""Laws of score maps on random scores: each against sampled rows and against the published or nearest rival law."""

import math

import numpy as np
import pytest

from attnlab.theory.score_maps import clipped, rectified, reversed, signed, softpick, standardised

N, ROWS = 4096, 400


def scores(score_std, seed=0):
    return score_std * np.random.default_rng(seed).normal(size=(ROWS, N))


def close(sample, predicted, bias):
    """The mean over rows within four standard errors and the stated finite-size bias."""
    return abs(sample.mean() - predicted) < 4 * sample.std(ddof=1) / math.sqrt(len(sample)) + bias


def softmax(s):
    e = np.exp(s - s.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


@pytest.mark.parametrize("score_std", [0.25, 0.5, 1.0])
def test_softpick_keeps_the_stated_part_of_a_row(score_std):
    """A ratio of means over n keys is biased by at most the relative variance of |e^s - 1| over n."""
    e = np.exp(scores(score_std)) - 1
    found = np.maximum(e, 0).sum(1) / np.abs(e).sum(1)
    bias = (math.exp(2 * score_std**2) - 2 * math.exp(score_std**2 / 2) + 1) / np.abs(e).mean() ** 2 / N
    assert close(found, softpick.row_sum(score_std), bias)
    assert not close(found, softpick.row_sum(1.05 * score_std), bias)  # twin: 5 % more spread
    assert abs((e <= 0).mean() - softpick.zero_share()) < 4 * 0.5 / math.sqrt(N * ROWS)


def test_softpick_limits():
    assert softpick.row_sum(1e-4) == pytest.approx(0.5, abs=1e-4) and softpick.row_sum(20.0) == pytest.approx(1.0)


@pytest.mark.parametrize("score_std", [0.25, 0.5, 1.0])
def test_signed_rows_are_less_concentrated_than_softmax(score_std):
    s = scores(score_std, 1)
    W = np.sign(s) * softmax(np.abs(s))
    found, bias = N * (W**2).sum(1), 3 * signed.participation(score_std) * math.exp(4 * score_std**2) / N
    assert close(found, signed.participation(score_std), bias)
    assert not close(found, math.exp(score_std**2), bias)  # twin: softmax's law
    assert close(W.sum(1), 0.0, 0.0)


@pytest.mark.parametrize("score_std", [0.25, 0.5, 1.0, 2.0])
def test_clipped_rows_have_the_stated_zeros_and_mass(score_std):
    """gamma = -1 / n and zeta = 1: the threshold a is n / (n + 1); weights are log-normal up to the spread of the normaliser."""
    gamma, bias = -1 / N, 2 * math.exp(score_std**2) / math.sqrt(N)
    W = np.clip((1 - gamma) * softmax(scores(score_std, 2)) + gamma, 0, 1)
    zero, mass = (W == 0).mean(1), W.sum(1)
    assert close(zero, clipped.zero_share(score_std, N, gamma), bias / 4)
    assert close(mass, clipped.kept_mass(score_std, N, gamma), bias)
    if score_std <= 1:
        assert not close(zero, clipped.zero_share(score_std, N, 2 * gamma), bias / 4)  # twin: twice the cut


def test_clipped_threshold_is_where_a_weight_turns_zero():
    gamma, zeta, n = -0.03, 1.1, 20
    a = clipped.threshold(n, gamma, zeta)
    p = np.array([a / n * (1 - 1e-9), a / n * (1 + 1e-9)])
    assert ((np.clip((zeta - gamma) * p + gamma, 0, 1) > 0) == [False, True]).all()


@pytest.mark.parametrize("n", [16, 400])
def test_rectified_output_grows_like_the_root_of_half_the_keys(n):
    """Exact at every n: the sample of 40 000 outputs decides by its standard error; the twin is sqrt(n)."""
    rng = np.random.default_rng(3)
    s, v = 0.7 * rng.normal(size=(40_000, n)), rng.normal(size=(40_000, n))
    square = (np.maximum(s, 0) * v).sum(1) ** 2
    assert close(square, rectified.output_size(0.7, n) ** 2, 0.0)
    assert not close(square, 0.7**2 * n, 0.0)
    assert rectified.zero_share() == 0.5


def test_standardised_rows_are_linear_attention():
    rng = np.random.default_rng(4)
    q, k, v = rng.normal(size=(7, 5)), rng.normal(size=(11, 5)), rng.normal(size=(11, 3))
    s = q @ k.T
    W = 1.3 * (s - s.mean(1, keepdims=True)) / (s.std(1, keepdims=True) + 1e-3) + 0.2
    found = standardised.linear_form(q, k, v, 1.3, 0.2, 1e-3)
    assert np.abs(found - W @ v).max() < 1e-12
    assert np.linalg.matrix_rank(W) == standardised.rank(5, 0.2) == 6
    assert np.linalg.matrix_rank(W - 0.2) == standardised.rank(5) == 5
    assert (W**2).sum(1).mean() == pytest.approx(1.3**2 * 11 + 0.2**2 * 11, rel=1e-2)
    assert standardised.output_size(11) ** 2 == pytest.approx(((W - 0.2) ** 2).sum(1).mean() / 1.3**2, rel=1e-2)


def test_the_linear_form_is_cheaper_from_its_crossover_on():
    from attnlab.kernels.operators.operator import Sizes

    def both(n):
        sizes = Sizes(n=n, d=8, d_v=8)
        return standardised.linear_multiply_adds(sizes), standardised.multiply_adds(sizes)

    linear, quadratic = zip(*(both(n) for n in range(2, 60)), strict=True)
    first = next(n for n, (a, b) in enumerate(zip(linear, quadratic, strict=True), start=2) if a < b)
    assert first == 17  # n (2 d d_v + 2 d^2 + d) < 2 n^2 d: n > 2 d + 1/2


@pytest.mark.parametrize(
    "call",
    [
        lambda: softpick.row_sum(0),
        lambda: signed.participation(-1),
        lambda: clipped.threshold(10, 0.1),
        lambda: clipped.zero_share(0, 10, -0.1),
        lambda: rectified.output_size(1, 0),
        lambda: standardised.output_size(0),
    ],
)
def test_arguments_out_of_range_are_named(call):
    with pytest.raises(ValueError, match=r"must be|need"):
        call()


def test_parents_are_recovered_as_sampled():
    """20 000 rows of 40 logits: four standard errors. Twin: leads over the others that are independent."""
    n, D, s = 40, 3.0, 1.5
    z = s * np.random.default_rng(3).normal(size=(20_000, n))
    found, p = (z[:, 0] + D > z[:, 1:].max(1)).mean(), reversed.parent_recovery(n, D, s)
    assert abs(found - p) < 4 * math.sqrt(p * (1 - p) / 20_000)
    assert abs(found - (0.5 * math.erfc(-D / (2 * s))) ** (n - 1)) > 0.05
    assert reversed.parent_recovery(1, D, s) == pytest.approx(1)
