"""Size and power of the tests of columns, against draws and against limits."""

import numpy as np
import pytest
from scipy import stats

from attnlab.theory.instruments import column_tests as theory


def test_ranks_are_uniform_without_a_bonus_and_at_the_end_with_a_huge_one():
    assert theory.rank_law_exact(0.0, 9) == pytest.approx(np.full(9, 1 / 9), rel=1e-9)
    assert theory.rank_law_exact(9.0, 9)[-1] == pytest.approx(1, abs=1e-6)
    assert theory.rank_law_exact(0.7, 9).sum() == pytest.approx(1, rel=1e-9)


def test_the_power_of_ranks_is_that_of_drawn_columns():
    rng, n, m, x = np.random.default_rng(0), 4, 11, 1.2
    columns = rng.standard_normal((20_000, n, m))
    columns[..., 0] += x
    ranks = (columns < columns[..., :1]).sum(-1).sum(-1)
    law = np.ones(1)
    for _ in range(n):
        law = np.convolve(law, np.full(m, 1 / m))
    critical = int(np.argmax(law[::-1].cumsum()[::-1] <= 0.05))
    hit = (ranks >= critical).mean()
    power = theory.rank_test_power_exact(x, n, m)
    assert abs(hit - power) < 5 * (power * (1 - power) / len(ranks)) ** 0.5
    assert abs(hit - theory.rank_test_power_exact(x, n - 1, m)) > 10 * (0.25 / len(ranks)) ** 0.5
    assert theory.rank_test_power_exact(0.0, n, m) == pytest.approx(law[critical:].sum(), rel=1e-9)


def test_the_limit_is_found_with_about_its_power():
    for n in (4, 8, 16):
        assert 0.75 < theory.rank_test_power_exact(theory.rank_test_limit_approx(n), n, 19) < 0.9
    assert theory.rank_test_limit_approx(2) == np.inf


def test_the_power_of_the_studentised_test_is_that_of_drawn_columns():
    rng, m, x = np.random.default_rng(1), 20, 4.0
    columns = rng.standard_normal((20_000, m))
    columns[:, 3] += x
    others = np.delete(columns, 3, axis=1)
    t = (columns[:, 3] - others.mean(1)) / (others.std(1, ddof=1) * (1 + 1 / (m - 1)) ** 0.5)
    hit = (t > stats.t.isf(0.05 / m, m - 2)).mean()
    power = theory.outlier_test_power_exact(x, m)
    assert abs(hit - power) < 5 * (power * (1 - power) / len(t)) ** 0.5
    assert theory.outlier_test_power_exact(0.0, m) == pytest.approx(0.05 / m, rel=1e-6)
    assert theory.outlier_test_size_approx(m) == pytest.approx(0.05, rel=0.03)
    assert theory.outlier_test_size_approx(m) < 0.05


def test_five_over_t_is_below_the_null_mean_from_83_tokens_on():
    n = theory.first_length_above_threshold()
    harmonic = np.cumsum(1 / np.arange(1, 200))
    assert n == 83 and harmonic[n - 1] > 5 >= harmonic[n - 2]
