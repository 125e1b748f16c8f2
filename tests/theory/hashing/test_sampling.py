"""Sampled products over all draws, Gray codes, and what blocks of sorted codes catch in many dimensions."""

import itertools
import math

import numpy as np
import pytest

from attnlab.theory.hashing import hyper_attention, sampling


def test_the_error_of_a_sampled_product_is_that_of_all_draws():
    """All 4^3 draws of three rows, exact. Twin: the law without the term of the mean."""
    rng = np.random.default_rng(0)
    P, V = rng.random((3, 4)), rng.standard_normal((4, 2))
    for pi in (np.full(4, 0.25), np.square(V).sum(1) / np.square(V).sum()):
        error = 0.0
        for draw in itertools.product(range(4), repeat=3):
            found = sum(np.outer(P[:, j], V[j]) / (3 * pi[j]) for j in draw)
            error += math.prod(pi[j] for j in draw) * np.square(found - P @ V).sum()
        law = sampling.sampled_product_error_exact(P, V, 3, pi)
        assert error == pytest.approx(law, rel=1e-12)
        assert abs(law + np.square(P @ V).sum() / 3 - error) > 0.01 * error
    with pytest.raises(ValueError, match="chances are 0"):
        sampling.sampled_product_error_exact(P, V, 3, [0.0, 1 / 3, 1 / 3, 1 / 3])


def test_chances_by_length_give_the_product_of_norms():
    rng = np.random.default_rng(1)
    P, V = rng.random((5, 6)), rng.standard_normal((6, 3))
    size = np.square(V).sum(1)
    law = sampling.sampled_product_error_exact(P, V, 2, size / size.sum())
    assert law == pytest.approx((np.square(P).sum() * size.sum() - np.square(P @ V).sum()) / 2)


def test_the_error_of_a_sampled_output_is_that_of_many_draws():
    """m = 400 of 40 keys with replacement, 2,000 draws: first order to 3 % (4 standard errors and (e^v - 1)/m).

    Twin: values not centred.
    """
    rng = np.random.default_rng(2)
    A, V = np.exp(0.5 * rng.standard_normal((3, 40))), 1 + rng.standard_normal((40, 2))
    P = A / A.sum(1, keepdims=True)
    counts = rng.multinomial(400, np.full(40, 1 / 40), size=2000)
    out = np.einsum("ij,tj,jv->tiv", A, counts, V, optimize=True) / (counts @ A.T)[..., None]
    found = np.square(out - P @ V).sum((1, 2)).mean()
    law = sampling.sampled_output_error_approx(P, V, 400)
    assert abs(found / law - 1) < 0.06
    assert 40 * (np.square(P) @ np.square(V).sum(1)).sum() / 400 > 1.2 * law


def test_gray_ranks_are_a_permutation_and_neighbours_differ_in_one_bit():
    codes = np.arange(16)
    rank = sampling.gray_rank(codes[:, None] >> np.arange(3, -1, -1) & 1)
    assert sorted(rank) == list(range(16))
    order = codes[np.argsort(rank)]
    assert all((int(a) ^ int(b)).bit_count() == 1 for a, b in itertools.pairwise(order))


def test_blocks_in_many_dimensions_catch_by_the_bits_that_tell_them_apart():
    """n = 4096 pairs in 4,000 dimensions, 4 blocks, 7 bits, 12 draws: 4 binomial errors, and boundaries that miss by 1/sqrt(n)
    per block. Twin: all 7 bits."""
    rng, n, angle = np.random.default_rng(3), 4096, 0.3
    found = []
    for _ in range(12):
        # signs of w . q and w . k for orthogonal hyperplanes: pairs of correlated normal numbers
        a, b = rng.standard_normal((2, n, 7))
        q, k = a, math.cos(angle) * a + math.sin(angle) * b
        places = [sampling.gray_rank(x > 0).argsort(kind="stable").argsort() // (n // 4) for x in (q, k)]
        found.append((places[0] == places[1]).mean())
    law = sampling.caught_limit(angle, n, n // 4)
    assert abs(np.mean(found) - law) < 0.05 < law - (1 - angle / math.pi) ** 7
    with pytest.raises(ValueError, match="power of two"):
        sampling.caught_limit(angle, 96, 32)


def test_numbers_of_the_bounds_and_limits():
    assert sampling.published_samples(1.0, 1.0, 1.0, 3) == 2
    assert sampling.published_samples(2.0, 1.5, 0.5, 100) == math.ceil(1.5**7 * 4 * 64 * math.log(100))
    assert sampling.published_rows(0.5, 4, 3.5) == 56
    assert sampling.caught_mass_limit(1.0, 0.4, 0.1) == pytest.approx(0.46)
    assert sampling.mean_column_weight_exact_limit(1.0, 10**6) == pytest.approx(math.e, rel=1e-5)
    s2, d = 0.5, 8  # the mean of the law of single keys
    b = math.sqrt(s2 / d)
    norms = np.linalg.norm(math.sqrt(b) * np.random.default_rng(4).standard_normal((20_000, d)), axis=1)
    single = np.mean([hyper_attention.column_weight_limit(x, math.sqrt(b), math.sqrt(b), d) for x in norms])
    assert single == pytest.approx(sampling.mean_column_weight_exact_limit(s2, d), rel=0.05)
    with pytest.raises(ValueError, match="score_variance=4"):
        sampling.mean_column_weight_exact_limit(4.0, 8)
