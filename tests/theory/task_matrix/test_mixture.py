"""What rank, reach and dilution leave: limits, oracles that are not the formula again, and false twins."""

import numpy as np
import pytest

from attnlab.theory.task_matrix import mixture


def test_a_margin_of_nothing_guesses_and_a_large_one_is_right():
    assert mixture.share_right(0.0, 16) == pytest.approx(1 / 16, abs=1e-9)
    assert mixture.share_right(12.0, 16) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize(("margin", "codes"), [(1.0, 2), (2.1, 16)])
def test_the_share_read_right_is_that_of_normal_numbers(margin, codes):
    z = np.random.default_rng(0).normal(size=(200_000, codes))
    z[:, 0] += margin
    found = (z.argmax(1) == 0).mean()
    five = 5 * np.sqrt(found * (1 - found) / len(z))
    assert abs(mixture.share_right(margin, codes) - found) < five
    assert abs(mixture.share_right(1.05 * margin, codes) - found) > five  # the margin itself is seen to 5 %


def test_rank_enough_for_all_pairs_reads_all_and_more_maps_read_more():
    assert mixture.read_through_rank(4, 4, 4, 16, 1) == 1 > mixture.read_through_rank(5, 4, 4, 16, 1)
    assert mixture.read_through_rank(20, 4, 4, 16, 8) == pytest.approx(mixture.share_right(8**0.5, 16), rel=1e-9)
    few, many = (mixture.read_through_rank(32, 4, 4, 16, maps) for maps in (8, 16))
    assert many == pytest.approx(mixture.read_through_rank(32, 4, 8, 16, 8)) and many > few  # h d_v together


def test_projections_of_random_values_read_a_little_less_than_the_reference():
    m, r, d_v, V, maps = 32, 4, 4, 16, 8
    stream, right, n = np.random.default_rng(1), 0, 400
    for _ in range(n):
        codes = stream.integers(V, size=m)
        scores = np.zeros(V)
        for _ in range(maps):
            book = stream.normal(size=(V, d_v))
            book /= np.linalg.norm(book, axis=1, keepdims=True)
            q = np.linalg.qr(stream.normal(size=(m, r)))[0]
            scores += book @ (q @ (q.T @ book[codes]))[0]
        right += scores.argmax() == codes[0]
    share = right / n
    law = mixture.read_through_rank(m, r, d_v, V, maps)
    assert law - 0.2 < share < law + 0.03  # one part in ten below: codes repeat, and their noise is not normal
    assert share < mixture.read_through_rank(m, 2 * r, d_v, V, maps) - 0.1


def test_answers_out_of_reach_are_guessed():
    assert mixture.share_within_reach([1, 2, 3, 4], 2, 0.0) == 0.5
    assert mixture.share_within_reach([1, 2, 3, 4], 0, 0.25) == 0.25
    assert mixture.share_within_reach([1, 2], 2, 0.1) == 1
    with pytest.raises(ValueError, match="distances is empty"):
        mixture.share_within_reach([], 2, 0.1)


def test_a_softmax_weight_dilutes_as_a_softmax():
    scores = np.zeros(16)
    scores[0] = 5.0
    weight = np.exp(5.0) / np.exp(scores).sum()
    wide = np.exp(5.0) / (np.exp(5.0) + 127)
    assert mixture.softmax_weight(128, 16, weight) == pytest.approx(wide)
    assert mixture.softmax_weight(16, 16, weight) == pytest.approx(weight)
    assert abs(mixture.softmax_weight(128, 17, weight) - wide) > 1e-3  # one key more at training is seen


@pytest.mark.parametrize("n", [0, 6, 20])
def test_one_step_of_gradient_descent_leaves_what_the_best_step_leaves(n):
    d, stream = 5, np.random.default_rng(2)
    x, w, query = stream.normal(size=(40_000, n, d)), stream.normal(size=(40_000, d)), stream.normal(size=(40_000, d))
    said = np.einsum("bn,bnd,bd->b", np.einsum("bnd,bd->bn", x, w), x, query)
    y = (w * query).sum(1)
    best = said @ y / (said @ said) if n else 0.0
    found = ((y - best * said) ** 2).mean() / (y**2).mean()
    assert mixture.one_step_error(d, n) == pytest.approx(found, rel=0.04)
    assert n == 0 or mixture.one_step_error(d + 1, n) != pytest.approx(found, rel=0.04)


def test_the_shifts_of_a_grid_are_a_convolution_and_full_rank_leaves_nothing():
    taps, x = np.arange(9.0), np.random.default_rng(3).normal(size=(6, 6))
    wide = np.pad(x, 1)
    by_hand = sum(taps[3 * i + j] * wide[i : i + 6, j : j + 6] for i in range(3) for j in range(3))
    assert np.tensordot(taps, mixture._shifts(6), 1) @ x.ravel() == pytest.approx(by_hand.ravel())
    assert mixture.filter_error_beyond_rank(6, 36) == 0
    squares = []
    for taps in np.random.default_rng(0).normal(size=(64, 9)):
        A = np.tensordot(taps, mixture._shifts(6), 1)
        squares.append(
            np.linalg.eigvalsh(A @ A.T)[: 36 - 20].sum() / (A**2).sum()
        )  # Eckart and Young: what rank 20 leaves
    assert mixture.filter_error_beyond_rank(6, 20) == pytest.approx(np.mean(squares), rel=1e-6)
    assert mixture.filter_error_beyond_rank(6, 1) > mixture.filter_error_beyond_rank(6, 16) > 0.1
