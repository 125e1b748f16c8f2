"""Schedules at their special steps."""

import pytest

from attnlab.simulators.ensemble.schedules import constant, cosine, staircase, warmup


def test_warmup_reaches_one_after_its_steps_and_then_follows_the_next_schedule():
    assert [warmup(4)(step) for step in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    assert warmup(4, then=staircase(10, 0.5))(25) == 0.25


def test_cosine_starts_at_one_is_half_way_in_the_middle_and_stays_at_its_end():
    schedule = cosine(100, final=0.2)
    assert schedule(0) == 1.0
    assert schedule(50) == pytest.approx(0.6, abs=1e-15)  # (1 + 0.2) / 2
    assert schedule(100) == schedule(1000) == pytest.approx(0.2, abs=1e-15)


def test_staircase_falls_at_multiples_only():
    assert [staircase(3, 0.1)(step) for step in (0, 2, 3, 5)] == [1.0, 1.0, 0.1, 0.1]
    assert constant(7) == 1.0


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: warmup(0), "n_warmup"),
        (lambda: cosine(0), "n_steps"),
        (lambda: cosine(5, final=2.0), "final"),
        (lambda: staircase(0, 0.5), "every"),
        (lambda: staircase(2, 0.0), "factor"),
    ],
)
def test_arguments_that_cannot_be_used_are_named(make, name):
    with pytest.raises(ValueError, match=name):
        make()
