"""Errors of keys at random against enumeration and draws."""

import math
from itertools import combinations

import numpy as np
import pytest

from attnlab.theory.score_ensembles.law import ScoreLaw
from attnlab.theory.score_ensembles.sampling import shared_samples_error, subset_error


def test_all_keys_err_by_nothing_and_flat_rows_by_the_counts_alone():
    assert subset_error(ScoreLaw(50, 0.5, 8), 50) == 0
    assert subset_error(ScoreLaw(50, 1e-6, 8), 10) == pytest.approx(2.0, rel=1e-9)
    assert shared_samples_error(ScoreLaw(50, 1e-6, 8), 10) == pytest.approx(math.sqrt(5), rel=1e-9)


def test_a_flat_row_with_a_planted_key_by_enumeration():
    n, m = 12, 4
    law = ScoreLaw(n, 1e-6, 8, height=2.0)
    a = np.ones(n)
    a[0] = math.exp(2.0)
    P, errors = a / a.sum(), []
    for kept in combinations(range(n), m):
        W = np.zeros(n)
        W[list(kept)] = a[list(kept)]
        errors.append(((W / W.sum() - P) ** 2).sum())
    exact = math.sqrt(np.mean(errors) / (P**2).sum())
    # the law has exactly m of the others kept where it should have m - 1: 1/m of their part of the sum
    assert subset_error(law, m) == pytest.approx(exact, rel=0.12)
    assert not subset_error(ScoreLaw(n, 1e-6, 8), m) == pytest.approx(exact, rel=0.12)


@pytest.mark.parametrize("shared", [False, True])
def test_drawn_rows_show_the_terms_of_order_one_over_n(shared):
    n, m, width, draws = 64, 16, 8, 60_000
    rng, law = np.random.default_rng(1), ScoreLaw(64, 0.5, 8)
    spread = 0.5 * (rng.chisquare(width, (draws, 1)) / width) ** 0.5
    P = np.exp(spread * rng.standard_normal((draws, n)))
    P /= P.sum(1, keepdims=True)
    if shared:
        X = np.zeros((draws, n))
        np.add.at(X, (np.arange(draws)[:, None], rng.integers(n, size=(draws, m))), 1.0)
        predicted = shared_samples_error(law, m) ** 2
    else:
        X = (rng.random((draws, n)).argsort(1) < m).astype(float)
        predicted = subset_error(law, m) ** 2
    W = X * P
    W /= W.sum(1, keepdims=True)
    error = ((W - P) ** 2).sum(1)
    size = (P**2).sum(1)
    ratio = error.mean() / size.mean()
    noise = 4 * error.std() / draws**0.5 / size.mean() + 4 * size.std() / draws**0.5 / size.mean() * predicted
    # dropped: order (E_1 / m)^2 = 0.8 %, times at most 15 in the fourth-order term of 1/T^2
    dropped = predicted * 0.05
    assert abs(ratio - predicted) < noise + dropped
    first = n / m - (not shared)
    assert abs(ratio - first) > noise  # the twin: the leading order alone


def test_rows_of_one_spread_follow_the_stated_expansion_term_by_term():
    for n, m, s in ((512, 128, 0.5), (128, 16, 0.7), (64, 48, 0.3)):
        f = n * (n - m) / ((n - 1) * m)
        eta, kappa = f * math.expm1(s**2) / n, f * math.expm1(2 * s**2) / n
        stated = n / m - 1 + (3 * n / m - 2) * eta - 2 * (n / m - 1) * kappa
        # in heads of width nu, s_q^2 has relative variance 2/nu
        assert subset_error(ScoreLaw(n, s, 10**10), m) ** 2 == pytest.approx(stated, rel=1e-8)


def test_known_keys_take_their_part_away():
    law = ScoreLaw(512, 0.5, 16)
    whole, part = shared_samples_error(law, 64), shared_samples_error(law, 64, exact_share=0.5, exact_keys=0.1)
    assert part < 0.75 * whole
    with pytest.raises(ValueError, match="height=5"):
        shared_samples_error(ScoreLaw(512, 0.5, 16, height=5.0), 64)
