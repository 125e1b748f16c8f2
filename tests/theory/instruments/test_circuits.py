"""Closed forms of planted circuits and of chance, against brute force."""

import itertools
import math

import numpy as np
import pytest

from attnlab.theory.instruments import circuits as theory


def test_the_match_is_the_softmax_of_scores_written_out():
    b0, b1, row, at = 3.0, 5.0, 9, 4
    first = np.zeros((row + 1, row + 1))  # the previous-token head, row by row
    for k in range(row + 1):
        e = np.ones(k + 1)
        if k:
            e[k - 1] = math.exp(b0)
        first[k, : k + 1] = e / e.sum()
    holds = np.isin(np.arange(row + 1), (at - 1, row))  # where the query's token stands
    scores = b1 * first @ holds
    e = np.exp(scores)
    assert theory.match_weight_exact(b0, b1, row, at) == pytest.approx(e[at] / e.sum(), rel=1e-12)
    with pytest.raises(ValueError, match="position"):
        theory.match_weight_exact(b0, b1, row, 1)


def test_the_match_is_its_first_order_at_large_strengths():
    exact = theory.match_weight_exact(12.0, 12.0, 15, 4)
    w = theory.weight_of_one(12.0, 4)
    assert exact == pytest.approx(theory.weight_of_one(12.0 * w, 15), abs=1e-7)
    assert theory.weight_of_one(0.0, 3) == 0.25


def test_overlaps_are_those_of_all_sets():
    n, a, b = 7, 3, 4
    first = set(range(a))
    counts = np.array([len(first & set(each)) for each in itertools.combinations(range(n), b)])
    assert theory.overlap_mean(n, a, b) == pytest.approx(counts.mean())
    assert theory.overlap_variance(n, a, b) == pytest.approx(counts.var())
    for k in range(4):
        assert theory.overlap_tail(n, a, b, k) == pytest.approx((counts >= k).mean())
    assert theory.overlap_tail(384, 27, 27, 21) == pytest.approx(4e-24, rel=0.2)  # ERRATA 10
    with pytest.raises(ValueError, match="do not fit"):
        theory.overlap_mean(5, 6, 1)


def test_codes_by_chance_are_counted_out():
    shares, n = (0.5, 0.3, 0.2), 3
    total = 0.0
    for mine in range(3):
        for others in itertools.product(range(3), repeat=n):
            if mine not in others:
                total += shares[mine] * math.prod(shares[k] for k in others)
    assert theory.codes_null(shares, n) == pytest.approx(total)
    assert theory.codes_null((0.25,) * 4, 10) == pytest.approx(0.75**10)


def test_the_spread_of_chance_scores_is_counted_out():
    shares, m, n = (0.6, 0.4), 2, 2
    rows = []
    for codes in itertools.product(range(2), repeat=m + n):
        weight = math.prod(shares[k] for k in codes)
        rows.append((weight, np.mean([c not in codes[m:] for c in codes[:m]])))
    mean = sum(w * s for w, s in rows)
    assert theory.codes_null(shares, n) == pytest.approx(mean)
    assert theory.codes_null_sd(shares, m, n) == pytest.approx(sum(w * (s - mean) ** 2 for w, s in rows) ** 0.5)


def test_windows_contain_the_needed_layers_and_start_in_time():
    made = theory.windows_of((2, 3), 6, 3)
    assert len(made) == 5 + 4 + 3 and len(set(made)) == len(made)  # the sheet's count
    assert all({2, 3} <= set(w) and wait <= min(w) for wait, w in made)
    assert (2, (2, 3)) in made and (3, (3,)) not in made


def test_the_answer_of_no_weight_is_at_chance():
    assert theory.answer_probability(1 / 13, 10.0, 13) == pytest.approx(1 / 13)
    assert theory.answer_probability(1.0, 10.0, 13) == pytest.approx(0.99945, abs=1e-5)
