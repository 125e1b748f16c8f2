"""The monitor in place is the one of the context."""

import contextvars

import numpy as np

from attnlab.simulators.ensemble.monitor import Monitor, current, use


def test_the_default_monitor_keeps_nothing():
    current().save({"x": np.zeros(1)})
    current().progress(1, 2, 0.5)
    assert current().restore() is None


def test_a_monitor_is_in_place_inside_its_block_and_context_only():
    outside, mine = current(), Monitor()
    with use(mine):
        assert current() is mine
        assert contextvars.Context().run(current) is outside
    assert current() is outside
