"""Laws of explanations, against brute force, draws and limits."""

import itertools
import math

import numpy as np
import pytest
from scipy import special

from attnlab.theory.instruments import explanations as theory


def test_deletion_areas_over_all_orders():
    c = np.array([0.5, 2.0, 1.0, 0.1])
    every = np.array([theory.deletion_area(order) for order in itertools.permutations(c)])
    assert every.mean() == pytest.approx(0.5) and every.std() == pytest.approx(theory.random_deletion_sd(c))
    assert theory.deletion_area(np.sort(c)[::-1]) == every.min()
    curve = np.append(c.sum() - np.append(0, c.cumsum()[:-1]), 0)
    assert theory.deletion_area(c) == pytest.approx(((curve[1:] + curve[:-1]) / 2).mean() / c.sum())


def test_a_probe_of_many_states_is_the_best_and_the_exact_law_is_that_of_draws():
    assert theory.probe_accuracy_exact(2.0, 5, 10**7) == pytest.approx(special.ndtr(1.0), abs=1e-5)
    d, n, delta = 30, 40, 1.5
    rng, hits = np.random.default_rng(0), []
    for _ in range(2000):
        one, zero = (rng.standard_normal((n // 2, d)).mean(0) for _ in range(2))
        one[0] += delta
        w, middle = one - zero, (one + zero) / 2
        x = np.array([delta, *np.zeros(d - 1)])
        size = np.linalg.norm(w)
        hits.append((special.ndtr((x - middle) @ w / size) + special.ndtr(middle @ w / size)) / 2)
    law = theory.probe_accuracy_exact(delta, d, n)
    assert abs(np.mean(hits) - law) < 5 * np.std(hits) / len(hits) ** 0.5
    assert theory.probe_accuracy_approx(delta, d, n) == pytest.approx(law, abs=0.01)
    size = (
        delta**2 / 2 / special.ndtri(theory.probe_accuracy_approx(delta, d, n))
    ) ** 2  # of the difference of two means
    assert size - delta**2 == pytest.approx(d * (2 / n + 2 / n))


def test_the_fit_has_the_spread_of_its_matrix():
    rng = np.random.default_rng(1)
    r = rng.uniform(0.5, 4.0, (20, 8))
    x = np.stack([each - each.mean(-1, keepdims=True) for each in (np.log(r), r)]).reshape(2, -1)
    noise = 0.1 * rng.standard_normal((4000, r.size))
    found = np.linalg.lstsq(x.T, noise.T, rcond=None)[0]
    assert found.std(1) == pytest.approx(theory.screened_power_sd(r, 0.1), rel=5 / (2 * 4000) ** 0.5)


def test_the_hebbian_law_is_that_of_angles():
    lam, n, rng = 1 / np.arange(1, 8.0), 16, np.random.default_rng(2)
    for axis in (0, 3):
        u = lam * rng.standard_normal((40_000, lam.size)) / n**0.5
        own = lam[axis] * (math.sqrt(2 / math.pi) + math.sqrt((1 - 2 / math.pi) / n) * rng.standard_normal(40_000))
        u[:, axis] = own
        angle = np.arccos(own / np.linalg.norm(u, axis=1)) / math.pi
        law = theory.hebbian_accuracy(lam, axis, n)
        assert abs(1 - angle.mean() - law) < 5 * angle.std() / 200
    assert theory.hebbian_accuracy([1.0], 0, 5, own_noise=False) == pytest.approx(1.0, abs=1e-6)
    assert theory.hebbian_accuracy([1.0] * 50, 0, 64) == pytest.approx(0.735, abs=2e-3)  # the sheet's number


def test_small_laws():
    assert theory.value_gain(0.5, 0.1) == 5 and theory.random_gain_sd(25) == 0.2
    assert theory.mean_pool_distance(6.0, 9) == 2
