"""Statistics over prompts against exact laws and brute force."""

import itertools

import numpy as np
import pytest
from scipy import special, stats

from attnlab.analysis.instruments.over_prompts import (
    detectable,
    holm,
    interval,
    needed,
    p_above,
    rank_p,
    ratio_interval,
)


def test_interval_and_test_are_scipys():
    x = np.random.default_rng(0).standard_normal((9, 4)) + 0.3
    low, high = interval(x)
    for k in range(4):
        want = stats.ttest_1samp(x[:, k], 0.1, alternative="greater")
        assert np.isclose(p_above(x, 0.1)[k], want.pvalue, rtol=1e-10)
        assert np.allclose((low[k], high[k]), stats.ttest_1samp(x[:, k], 0).confidence_interval(0.95), rtol=1e-10)


def test_values_without_spread_are_sure_both_ways():
    x = np.full((5, 3), 0.25)
    assert list(p_above(x, np.array([0.25, 0.2, 0.3]))) == [1, 0, 1]


@pytest.mark.parametrize("n", [3, 8, 40])
def test_what_is_detectable_is_found_with_80_percent(n):
    strength = float(detectable(2.0, n))
    # the t statistic of a mean delta sd/sqrt(n) away is noncentral t, an oracle of another library
    assert abs(stats.nct.sf(stats.t.isf(0.05, n - 1), n - 1, strength * n**0.5 / 2.0) - 0.8) < 1e-6
    assert needed(2.0, strength * 1.0001) == n and needed(2.0, strength * 0.999) > n
    z = special.ndtri(0.95) + special.ndtri(0.8)
    assert detectable(1.0, 100_000) * 100_000**0.5 == pytest.approx(z, rel=1e-3)


def test_ranks_have_the_law_of_all_cases():
    counts = np.array([3, 4, 2])
    cases = np.array([*itertools.product(range(3), range(4), range(2))])
    for total in range(7):
        want = np.mean(cases.sum(1) >= total)
        ranks = np.array([min(total, 2), min(max(total - 2, 0), 3), max(total - 5, 0)], float)
        assert rank_p(ranks[:, None], counts)[0] == pytest.approx(want, abs=1e-14)
    assert rank_p(np.array([[0.5], [0.0], [0.0]]), counts)[0] == pytest.approx(1.0)  # half a rank counts downwards


def test_holm_is_the_rule_step_by_step():
    p = np.random.default_rng(1).random((3, 4)) ** 3
    for alpha in (0.01, 0.05, 0.2):
        falls, order = np.zeros(12, bool), np.argsort(p.ravel())
        for step, at in enumerate(order):
            if p.ravel()[at] > alpha / (12 - step):
                break
            falls[at] = True
        assert ((holm(p).ravel() <= alpha) == falls).all()


def test_fieller_covers_and_refuses_a_denominator_that_may_be_zero():
    rng, inside = np.random.default_rng(2), 0
    for _ in range(500):
        x = 4 + rng.standard_normal(12)
        y = 0.3 * x + rng.standard_normal(12)
        value, low, high = ratio_interval(y[:, None], x)
        inside += low[0] <= 0.3 <= high[0] and low[0] <= value[0] <= high[0]
    assert abs(inside / 500 - 0.95) < 4 * (0.95 * 0.05 / 500) ** 0.5
    with pytest.raises(ValueError, match="may be 0"):
        ratio_interval(y[:, None], x - x.mean())


@pytest.mark.parametrize("what", [interval, p_above, lambda x: detectable(1.0, len(x))])
def test_one_prompt_has_no_interval(what):
    with pytest.raises(ValueError, match="1 prompt has no interval"):
        what(np.zeros((1, 2)))
