"""What variants can do, against enumeration and special cases."""

import itertools

import numpy as np
import pytest

from attnlab.theory.attention_ablation import principles


@pytest.mark.parametrize(("n", "V"), [(1, 5), (3, 2), (4, 4), (5, 3)])
def test_a_bag_of_values_is_right_as_often_as_all_sequences_say(n, V):
    most = [np.bincount(values).max() for values in itertools.product(range(V), repeat=n)]
    assert principles.bag_of_values_accuracy(n, V) == pytest.approx(np.mean(most) / n, rel=1e-12)


def test_naming_any_value_is_worse_than_the_most_frequent_and_better_than_chance():
    same = np.mean([a == b for values in itertools.product(range(3), repeat=4) for a in values for b in values])
    assert principles.any_value_accuracy(4, 3) == pytest.approx(same)
    assert 1 / 8 < principles.any_value_accuracy(4, 8) < principles.bag_of_values_accuracy(4, 8)
    assert principles.any_value_accuracy(1, 8) == principles.bag_of_values_accuracy(1, 8) == 1


def test_order_matters_and_without_mixing_there_is_chance():
    def level(*layers):
        return principles.recall_accuracy(*layers, 4, 8)

    bag = principles.bag_of_values_accuracy(4, 8)
    assert level("random", "standard") == 1 and level("standard", "random") == bag
    assert level("static", "static") == level("mlp", "standard") == level("standard", "mlp") == bag
    assert level("mlp", "mlp") == 1 / 8 and level("non_approximate", "approximate") == 1
    with pytest.raises(ValueError, match="unknown"):
        level("standard", "linear")


@pytest.mark.parametrize(("n", "lag"), [(4, 1), (5, 1), (6, 2), (6, 3), (3, 4)])
def test_rows_that_point_back_by_enumeration_of_records(n, lag):
    most = 0
    for s in itertools.permutations(range(n)):
        most = max(most, sum(i - int(np.argmax(s[: i + 1])) == lag for i in range(n)))
    assert principles.pointing_rows_bound(n, lag) == most


@pytest.mark.parametrize("m", [2, 5])
def test_uneven_routing_is_the_least_of_its_kind(m):
    a = np.linspace(0, 1, 2001)
    assert principles.uneven_balance(m) == pytest.approx((a / m + (1 - a) ** 2).min(), abs=1e-6)
    assert principles.uneven_balance(m) < 1 / m
    with pytest.raises(ValueError, match="at least 2"):
        principles.uneven_balance(1)


def test_the_newest_weight_is_one_over_its_place():
    rng = np.random.default_rng(1)
    e = np.exp(rng.gumbel(size=(40_000, 5)))
    w = e[:, -1] / e.sum(1)
    assert abs(w.mean() - principles.newest_weight_exact(5)) < 5 * w.std() / 200
    assert abs(w.mean() - 1 / 6) > 5 * w.std() / 200
