"""Match3: the scores against sums of angles, the threshold against brute force, the pairwise argument against random heads."""

from itertools import product

import numpy as np
import pytest

from attnlab.theory.polynomial_attention import match3


@pytest.mark.parametrize("M", [2, 5, 12])
def test_features_give_the_cosine_of_the_sum(M):
    x = np.arange(M)
    Q, K1, K2 = match3.features(x, M)
    total = 2 * np.pi * (x[:, None, None] + x[:, None] + x) / M
    found = np.einsum("ic,jc,kc->ijk", Q, K1, K2)
    assert found == pytest.approx(np.cos(total), abs=1e-14)
    assert M == 2 or abs(found - np.cos(total + 0.01)).max() > 1e-3


def test_gap_and_null_are_those_of_the_two_best_sums():
    sums = np.unique(np.round(np.cos(2 * np.pi * np.arange(9) / 9), 12))
    assert match3.gap(9) == pytest.approx(sums[-1] - sums[-2])
    assert match3.null_score(9) == pytest.approx((sums[-1] + sums[-2]) / 2)


@pytest.mark.parametrize(("n", "M"), [(3, 3), (3, 5), (2, 6), (2, 7)])
def test_the_threshold_by_brute_force(n, M):
    """Answers of the head on every sequence, from the cosines alone."""
    wrong = {}
    for share in (0.99, 1.01):
        beta, wrong[share] = share * match3.least_inverse_temperature_exact(n, M), 0
        for word in product(range(M), repeat=n):
            for i in range(n):
                sums = np.array([(word[i] + a + b) % M for a in word for b in word])
                mass = np.exp(beta * (np.cos(2 * np.pi * sums / M) - match3.null_score(M))).sum()
                wrong[share] += (mass > 1) != (sums == 0).any()
    assert wrong[1.01] == 0 and wrong[0.99] == match3.wrong_just_below_exact(n, M)


def test_a_modulus_with_other_hard_sequences_is_refused():
    with pytest.raises(ValueError, match="modulus=4"):
        match3.wrong_just_below_exact(2, 4)


def test_the_threshold_grows_like_the_square_of_the_modulus():
    ratio = match3.least_inverse_temperature_exact(10, 200) / (2 * 200**2 * np.log(10) / np.pi**2)
    assert ratio == pytest.approx(1, abs=1e-3)


def test_no_random_pairwise_head_is_right_on_all_pairs():
    rng = np.random.default_rng(0)
    a = np.arange(4)
    match = (a[:, None] + a) % 4 == 0
    for _ in range(2_000):
        phi, c = 3 * rng.normal(size=4), rng.normal()
        assert not ((c + phi[:, None] + phi > 0) == match).all()
    assert not match3.pairwise_head_exists(4)
    with pytest.raises(ValueError, match="modulus"):
        match3.pairwise_head_exists(1)


@pytest.mark.parametrize("M", [2, 5, 8, 13])
def test_three_quarters_are_reached_by_opposite_numbers_and_passed_by_no_random_ones(M):
    assert match3.best_pairwise_accuracy(M, 0.5) == pytest.approx(0.75)
    assert match3.best_pairwise_accuracy(M, 1 / M) == pytest.approx(1 - (M - 1) / M**2)
    assert match3.best_pairwise_accuracy(M, 1.0) == 1 and match3.best_pairwise_accuracy(M, 0.0) == 1
    s = 1  # the sum that is asked for; b and s - b are partners
    match = np.add.outer(np.arange(M), np.arange(M)) % M == s
    weight = np.where(match, 0.5 / M, 0.5 / (M * (M - 1)))

    def right(phi):
        return ((np.add.outer(phi, phi) > -1e-9) == match)[None] * weight

    phi = np.zeros(M)
    for level, b in enumerate(range(M), start=1):
        if phi[b] == 0 and (s - b) % M != b:
            phi[b], phi[(s - b) % M] = level, -level
    assert right(phi).sum() == pytest.approx(0.75)
    rng = np.random.default_rng(1)
    assert max(right(rng.standard_normal(M)).sum() for _ in range(300)) <= 0.75 + 1e-12


def test_a_share_that_is_none_is_refused():
    with pytest.raises(ValueError, match="p_match"):
        match3.best_pairwise_accuracy(5, 1.5)
