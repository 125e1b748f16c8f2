"""Which maps are within reach: counts against rules, rules against known cases and explicit matrices."""

from itertools import product

import numpy as np
import pytest

from attnlab.theory.graph_attention import maps


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_counts_are_those_of_the_rules(n):
    every = list(product(range(n), repeat=n))
    assert maps.dynamic_maps_exact(n) == len(every)
    assert maps.static_maps_exact(n) == sum(len(set(each)) == 1 for each in every)
    assert maps.symmetric_maps_exact(n) == sum(map(maps.symmetric_reaches, every))
    one, both = np.ones(n), np.r_[np.ones(n - 1), -1]
    assert maps.dot_product_maps_exact(n, True) == sum(maps.dot_product_reaches(each, one) for each in every)
    assert maps.dot_product_maps_exact(n, False) == sum(maps.dot_product_reaches(each, both) for each in every)


def test_on_the_line_a_product_picks_an_end():
    """Two numbers: the scores a h_i h_j; the matrix is one number, of either sign."""
    for h in ([1.0, 3.0], [-1.0, 3.0]):
        reached = {tuple(np.argmax(np.outer(h, h) * a, 1)) for a in (1, -1)}
        u = np.array([h[1], -h[0]])
        assert reached == {each for each in product(range(2), repeat=2) if maps.dot_product_reaches(each, u)}


def test_random_matrices_never_reach_what_is_out_of_reach():
    rng = np.random.default_rng(5)
    h = rng.normal(size=(4, 3))
    u = np.linalg.svd(h.T)[2][-1]
    reached = {tuple((h @ rng.normal(size=(3, 3)) @ h.T).argmax(1)) for _ in range(20_000)}
    within = {each for each in product(range(4), repeat=4) if maps.dot_product_reaches(each, u)}
    assert reached <= within
    assert len(reached) > 100 and not reached <= {each for each in within if len(set(each)) == 2}


def test_random_symmetric_scores_have_short_cycles_only():
    rng = np.random.default_rng(6)
    reached = set()
    for _ in range(5_000):
        e = rng.normal(size=(4, 4))
        reached.add(tuple((e + e.T).argmax(1)))
    assert all(map(maps.symmetric_reaches, reached)) and len(reached) <= maps.symmetric_maps_exact(4) == 218
    assert not maps.symmetric_reaches((1, 2, 0)) and maps.symmetric_reaches((1, 0, 0)) and len(reached) > 180


def test_a_dependency_with_a_zero_is_refused():
    with pytest.raises(ValueError, match="dependency"):
        maps.dot_product_reaches((0, 1), np.array([1.0, 0.0]))
