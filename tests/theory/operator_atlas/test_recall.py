"""Recall of stored pairs: shares against sampling and known cases, the law of a linear memory, the reference of the best map."""

import math

import numpy as np
import pytest

from attnlab.theory.operator_atlas import recall


def test_a_share_is_a_guess_without_margin_and_certain_with_a_large_one():
    assert recall.share_right(0.0, 7) == pytest.approx(1 / 7, rel=1e-12)
    assert recall.share_right(30.0, 1000) == pytest.approx(1, abs=1e-12) and recall.share_right(math.inf, 9) == 1
    two = 0.5 * (1 + math.erf(1.3 / 2))  # one rival: a normal of variance 2
    assert recall.share_right(1.3, 2) == pytest.approx(two, rel=1e-12)
    assert recall.share_right(1.3, 3) < two


@pytest.mark.parametrize(("width", "per_code", "codes"), [(8, 2, 4), (6, 2, 5), (12, 3, 3)])
def test_a_linear_memory_reads_the_exact_share(width, per_code, codes):
    """20 000 memories by hand; 4 standard errors. Twin: the limit of many keys per value, where it is further away."""
    rng, draws = np.random.default_rng(3), 20_000
    k = rng.normal(size=(draws, codes * per_code, width))
    k /= np.linalg.norm(k, axis=-1, keepdims=True)
    scores = (k @ k[:, 0, :, None])[..., 0].reshape(draws, codes, per_code).sum(-1)
    share = (scores.argmax(1) == 0).mean()
    exact = recall.memory_recall_exact(width, per_code, codes)
    error = 4 * math.sqrt(exact * (1 - exact) / draws)
    assert abs(share - exact) < error
    limit = recall.memory_recall_limit(width * codes, per_code * codes, codes)
    assert abs(share - limit) > error or abs(exact - limit) < error
    assert recall.memory_recall_exact(width, per_code, codes, 256) == pytest.approx(exact, abs=2e-5)


def test_the_exact_law_tends_to_that_of_the_state_per_pair():
    """At one S/m the gap falls with the keys per value; it is of first order in 1/c, from the one key fewer."""
    gaps = [
        abs(recall.memory_recall_exact(4 * c, c, 8) - recall.memory_recall_limit(32 * c, 8 * c, 8)) for c in (2, 4, 8)
    ]
    assert gaps[0] > 1.7 * gaps[1] > 1.7**2 * gaps[2]


def test_the_best_map_is_sure_up_to_its_rank_and_grows_with_heads():
    assert recall.best_map_recall(8, 8, 4, 16) == 1 > recall.best_map_recall(9, 8, 4, 16)
    one, four = (recall.best_map_recall(32, 4, 4, 16, heads) for heads in (1, 4))
    assert one < four == recall.share_right(2 * math.sqrt(4 * 4 / 28), 16)


def test_the_best_map_is_above_what_projections_do_and_near():
    """The noise of a projection is not quite normal: simulated .575 at (32, 4, 4, 8), the formula is some per cent higher."""
    rng, m, r, d_v, heads, V, draws = np.random.default_rng(5), 32, 4, 4, 8, 16, 300
    right = 0
    for _ in range(draws):
        y = []
        code = rng.integers(V, size=m)
        for _ in range(heads):
            values = rng.normal(size=(V, d_v))
            values /= np.linalg.norm(values, axis=1, keepdims=True)
            Q = np.linalg.qr(rng.normal(size=(m, r)))[0]
            y.append(values @ ((Q @ Q[0]) @ values[code]))
        right += np.sum(y, 0).argmax() == code[0]
    law = recall.best_map_recall(m, r, d_v, V, heads)
    error = 4 * math.sqrt(law * (1 - law) / draws)
    assert law - 0.1 - error < right / draws < law + error


def test_what_is_impossible_is_refused_by_name():
    with pytest.raises(ValueError, match="margin"):
        recall.share_right(-1.0, 3)
    with pytest.raises(ValueError, match="key_width"):
        recall.memory_recall_exact(3, 1, 3)
