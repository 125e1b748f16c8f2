"""Checks of arguments: the name, what is wanted and the value stand in the error; what fits passes."""

import numpy as np
import pytest

from attnlab.theory import checks

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("check", "bad", "good"),
    [
        (checks.check_positive, [0, -1.0, NAN, INF, np.array([1.0, 0.0])], [1, 0.1, np.array([1.0, 2.0])]),
        (checks.check_not_negative, [-1e-9, NAN, np.array([1.0, -1.0])], [0, 2.0, INF, np.array([0.0])]),
        (checks.check_standard_deviation, [-1e-9, NAN, INF], [0, 2.0]),
        (checks.check_share, [-0.1, 1.1, NAN], [0, 1, 0.5, np.array([0.0, 1.0])]),
        (checks.check_count, [0, 1.5, True, -3, NAN, INF], [1, 7, 3.0, np.int64(2)]),
    ],
)
def test_a_check_names_the_argument_and_the_value_and_lets_good_values_pass(check, bad, good):
    for value in bad:
        with pytest.raises(ValueError, match=r"spread=.* must be "):
            check(spread=value)
        with pytest.raises(ValueError, match="spread"):
            check(other=good[0], spread=value)
    for value in good:
        check(spread=value)


def test_counts_have_a_least_value():
    checks.check_count(at_least=2, dim=2)
    with pytest.raises(ValueError, match="dim=1 must be a whole number of at least 2"):
        checks.check_count(at_least=2, dim=1)


def test_infinity_is_positive_where_it_is_asked_for():
    checks.check_positive(finite=False, kappa=INF)
    with pytest.raises(ValueError, match="kappa=0 must be positive"):
        checks.check_positive(finite=False, kappa=0)


def test_a_word_must_be_one_of_the_choices():
    checks.check_one_of({"a": 1, "b": 2}, kind="a")
    with pytest.raises(ValueError, match="kind='c' is unknown; use one of 'a', 'b'"):
        checks.check_one_of(("a", "b"), kind="c")


def test_arrays_of_another_kind_pass_unseen():
    class Recorded:
        shape = ()

    checks.check_positive(scale=Recorded())


@pytest.mark.parametrize("times", [[], [0.0, 0.0], [1.0, 0.5], [-1.0, 0.0], [0.0, INF], [[0.0, 1.0]]])
def test_times_increase_from_zero_or_later(times):
    with pytest.raises(ValueError, match="must be finite, increase"):
        checks.increasing_times(times)
    assert checks.increasing_times([0, 1, 3]).tolist() == [0.0, 1.0, 3.0]
