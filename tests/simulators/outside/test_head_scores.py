"""Numbers of a head's scores: loops in Python, Gaussian keys whose laws are known, a planted column, planted clusters."""

import math

import numpy as np
import pytest

from attnlab.simulators.outside.head_scores import EVERY, N_FIRST, WINDOW, head_scores


def gaussian(seed, n_heads=2, n=120, d=32, spread=1.0):
    rng = np.random.default_rng(seed)
    q, k = (rng.standard_normal((n_heads, n, d)) * math.sqrt(spread) / d**0.25 for _ in range(2))
    return q, k


def test_numbers_of_one_head_are_those_of_loops():
    q, k = gaussian(0, 1, 60, 4)
    found = head_scores(q, k)
    s = [[sum(a * b for a, b in zip(x, y, strict=True)) for y in k[0]] for x in q[0]]
    n, entropy, log_weight, second, variance = len(s), 0.0, 0.0, 0.0, 0.0
    columns = [0.0] * n
    for row in s:
        z = sum(map(math.exp, row))
        p = [math.exp(x) / z for x in row]
        entropy -= sum(x * math.log(x) for x in p) / n
        log_weight += sum(map(math.log, p)) / n**2
        second += (n * sum(x * x for x in p) - 1) / n
        mean = sum(row) / n
        variance += sum((x - mean) ** 2 for x in row) / n**2
        columns = [c + x * x for c, x in zip(columns, p, strict=True)]
    expected = {
        "entropy": entropy, "mean_log_weight": log_weight, "relative_variance": second, "spread": math.sqrt(variance),
        "top_key": n * max(columns),
    }  # fmt: skip
    for name, value in expected.items():
        assert abs(getattr(found, name)[0] - value) < 1e-11 * max(1, abs(value)), name


def test_the_bulk_is_neither_first_nor_last_nor_near_and_halves_are_apart():
    q, k = gaussian(1, 1, 60, 4)
    found = head_scores(q, k)
    for row, i in enumerate(range(N_FIRST, 59, EVERY)):
        bulk = [j for j in range(N_FIRST, 59) if abs(j - i) > WINDOW]
        assert found.n_bulk[row] + found.n_fit[row] == len(bulk)
        local = math.log(sum(math.exp(float(q[0, i] @ k[0, j])) for j in range(60) if j not in bulk))
        assert abs(found.local[0, row] - local) < 1e-12
    assert np.allclose(found.clusters[..., 0].sum(-1), 1, rtol=1e-12)
    pooled = (found.clusters[..., 0] * found.clusters[..., 1]).sum(-1)
    assert np.allclose(pooled, found.mean, rtol=1e-9)


def test_two_moments_serve_gaussian_keys_and_not_two_clusters():
    """The mean over 60 heads of ln mean e^s - m - v/2 within 5 standard errors of -(e^v - 1)/2n, the bias of a logarithm."""
    q, k = gaussian(2, 60)
    found = head_scores(q, k)
    gap = (found.log_mean - found.mean - found.variance / 2).mean(-1)
    bias = -math.expm1(1.0) / (2 * found.n_bulk.mean())
    assert abs(gap.mean() - bias) < 5 * gap.std(ddof=1) / math.sqrt(60) + 0.5 * abs(bias)  # next order; spread of v
    q, k = gaussian(2, 240)
    apart = np.where(np.random.default_rng(3).random((240, 120, 1)) < 0.1, 2.5, 0.0)
    q[..., 0], k = 2.0, k + apart * np.eye(32)[0]
    two = head_scores(q, k)
    # a tenth of the keys 5 nats up: ln(.9 + .1 e^5) = 2.76 against .5 + .09 * 25 / 2 = 1.63, one Gaussian falls 1.1 short with
    # many keys, and less where four of 43 are up
    short = (two.log_mean - two.mean - two.variance / 2).mean(-1)
    assert short.mean() > 5 * short.std(ddof=1) / math.sqrt(240)


def test_a_column_that_takes_all_and_rows_alike():
    q, k = gaussian(4, 1, 60, 4)
    q[..., 0], k[:, :, 0], k[:, 7, 0] = 30.0, 0.0, 30.0
    found = head_scores(q, k)
    assert found.top_key[0] == pytest.approx(60**2) and found.rank_error[0] < 1e-7
    assert head_scores(*gaussian(4, 1, 60, 4)).rank_error[0] > 0.01
