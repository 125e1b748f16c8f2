"""Weights of the constructions for GATv2, against sums over keys."""

import math

import numpy as np
import pytest

from attnlab.theory.graph_attention import dynamic


@pytest.mark.parametrize(("n", "place", "c"), [(1, 0, 1.0), (2, 1, 0.5), (7, 3, 2.0), (50, 0, 0.1)])
def test_lookup_weight_is_the_sum_over_keys(n, place, c):
    powers = math.fsum(math.exp(-0.8 * c * abs(place - j)) for j in range(n))
    assert dynamic.lookup_weight_exact(n, place, c) == pytest.approx(1 / powers, rel=1e-12)
    without_ends = dynamic.lookup_weight_bound(c)  # the twin: as if keys went on for ever
    assert n == 50 or abs(without_ends * powers - 1) > 1e-3 or c > 1


def test_the_bound_holds_for_all_sizes_and_is_approached_in_the_middle():
    for c in (0.3, 1.0, 4.0):
        least = min(dynamic.lookup_weight_exact(n, i, c) for n in range(1, 40) for i in range(n))
        assert least >= dynamic.lookup_weight_bound(c) > 0
        assert dynamic.lookup_weight_exact(401, 200, c) == pytest.approx(dynamic.lookup_weight_bound(c), rel=1e-12)
        assert 1.001 * dynamic.lookup_weight_bound(c) > dynamic.lookup_weight_exact(401, 200, c)


def test_the_union_bound_is_weaker_and_empty_for_many_keys():
    for n in (2, 5, 100):
        assert dynamic.union_weight_bound(n, 3.0) <= min(dynamic.lookup_weight_exact(n, i, 3.0) for i in range(n))
    assert dynamic.union_weight_bound(1, 3.0) == 1 and dynamic.union_weight_bound(3, 3.0, 0.2) == pytest.approx(
        1 - 2 * math.exp(-2.4)
    )
    assert dynamic.union_weight_bound(2, 3.0) > 0 > dynamic.union_weight_bound(13, 3.0)
    assert dynamic.lookup_weight_bound(3.0) > 0.83


def test_a_map_has_the_weight_of_one_score_above_zeros():
    scores = np.array([3.0, 0, 0, 0, 0])
    weight = np.exp(scores[0]) / np.exp(scores).sum()
    assert dynamic.map_weight_exact(5, 3.0) == pytest.approx(weight)
    assert abs(dynamic.map_weight_exact(6, 3.0) - weight) > 0.02
    assert dynamic.map_weight_exact(1, 3.0) == 1 and dynamic.hidden_units_of_a_map(5) == 15


def test_errors_name_the_argument():
    with pytest.raises(ValueError, match="place=5"):
        dynamic.lookup_weight_exact(5, 5, 1.0)
    with pytest.raises(ValueError, match="sharpness"):
        dynamic.lookup_weight_bound(0.0)
