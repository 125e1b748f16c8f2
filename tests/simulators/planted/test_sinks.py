"""Planted sinks: their bonus is what the instrument reads, and heads without one are not found."""

import numpy as np

from attnlab.analysis.instruments.instrument import finding
from attnlab.analysis.instruments.readings import Readings
from attnlab.analysis.instruments.sinks import sink_strength
from attnlab.simulators.planted.sinks import STRENGTHS, sinks, uniform


def read(made, n, seed):
    prompts = made.draw(np.random.default_rng(seed), n)
    sites = [s for s in made.model.sites() if s.endswith(("pattern", "scores"))]
    return Readings(made.model.run(prompts.tokens, sites), tokens=prompts.tokens)


def test_the_planted_bonus_is_read_and_exactly_the_planted_heads_are_found():
    strength = sink_strength.measure(read(sinks(), 24, 0))["strength"]
    found = finding(strength)
    assert {tuple(map(int, head)) for head in np.argwhere(found.found)} == set(STRENGTHS)
    for head, bonus in STRENGTHS.items():
        # the first token has no content of its own; the others' mean score is that of 40 contents: sd .7/sqrt(40) = .11
        assert abs(strength.value[head] - bonus) < 5 * 0.11


def test_uniform_heads_read_zero_and_nothing_is_found():
    made = sink_strength.measure(read(uniform(), 8, 1))
    assert np.abs(made["strength"].value).max() < 1e-12
    assert not finding(made["strength"]).found.any() and (made["strength"].p > 0.05).all()
    harmonic = (1 / np.arange(1, 33)).sum() / 32
    assert np.abs(made["alpha"].value - harmonic).max() < 1e-12
