"""The one test must fail: instruments with one false word, and the check that finds each."""

from dataclasses import replace

import numpy as np
import pytest

from attnlab.analysis.instruments.instrument import Rival
from attnlab.analysis.instruments.listing import instrument, members, names
from attnlab.analysis.instruments.readings import padded

from .checks import CHECKS, DRAWS

CONTRAST = instrument("target_contrast")
SINK = instrument("sink_strength")
SUMS = instrument("component_sums")


def changed(made, change):
    """The instrument with its main reading changed."""

    def measure(subject):
        found = made.measure(subject)
        return {**found, made.main: change(found[made.main], subject)}

    return replace(made, measure=measure)


def times(factor):
    return lambda r, _: replace(r, value=factor * r.value, low=factor * r.low, high=factor * r.high)


def at_column_of_the_padded_map(reading, subject):
    first = subject.sites["L0.pattern"][..., 0].mean((0, -1))[None]
    return replace(reading, value=first, low=first, high=first)


FALSE = {
    "the value is 10 % too large": (changed(CONTRAST, times(1.1)), "recovers_the_planted_truth"),
    "the law has another constant": (replace(SINK, truth=lambda b: 1.1 * b), "recovers_the_planted_truth"),
    "the interval is half as wide": (
        changed(CONTRAST, lambda r, _: replace(r, low=(r.low + r.value) / 2, high=(r.high + r.value) / 2)),
        "recovers_the_planted_truth",
    ),
    "p is a third": (changed(SINK, lambda r, _: replace(r, p=r.p / 3)), "gives_false_alarms_at_its_level"),
    "p is doubled": (
        changed(CONTRAST, lambda r, _: replace(r, p=np.minimum(1, 2 * r.p))),
        "gives_false_alarms_at_its_level",
    ),
    "the limit is half of what is needed": (
        replace(CONTRAST, limit=CONTRAST.limit / 2),
        "finds_what_it_says_it_would_find",
    ),
    "the limit is twice what is needed": (replace(SINK, limit=2 * SINK.limit), "finds_what_it_says_it_would_find"),
    "the rival is as good": (
        replace(
            CONTRAST,
            rivals=(
                Rival(
                    "itself", "value", lambda rng: CONTRAST.measure(CONTRAST.planted(rng, 1.0))["contrast"].value, 1.0
                ),
            ),
        ),
        "tells_its_rivals_apart",
    ),
    "the rival keeps its level": (
        replace(SINK, rivals=(Rival("uniform p", "level", lambda rng: rng.random(50)),)),
        "tells_its_rivals_apart",
    ),
    "padding is read": (changed(CONTRAST, at_column_of_the_padded_map), "keeps_its_invariances"),
    "the order of prompts matters": (
        changed(CONTRAST, lambda r, subject: replace(r, value=r.values[0])),
        "keeps_its_invariances",
    ),
    "float32 is lost": (
        changed(
            CONTRAST, lambda r, subject: replace(r, value=r.value + (subject.sites["L0.pattern"].dtype == np.float32))
        ),
        "computes_in_float32_what_it_computes_in_float64",
    ),
    "the global generator is used": (
        changed(CONTRAST, lambda r, _: (np.random.rand(), r)[1]),  # noqa: NPY002
        "has_shapes_axes_and_units",
    ),
    "an exact alarm rings below its limit": (
        changed(SUMS, lambda r, _: replace(r, p=np.where(r.value > 1e-11, 0.0, 1.0))),
        "finds_what_it_says_it_would_find",
    ),
    "every error is swallowed": (replace(CONTRAST, measure=lambda subject: swallowed(subject)), "refuses_by_name"),
}


def swallowed(subject):
    try:
        return CONTRAST.measure(subject)
    except ValueError:
        return {}


@pytest.mark.sampled(4)
@pytest.mark.parametrize("word", FALSE)
def test_the_one_test_finds_the_false_word(word):
    made, check = FALSE[word]
    name = "maps/target_contrast"
    with pytest.raises(AssertionError):
        CHECKS[check](name, made, DRAWS["all"])


def test_the_listing_finds_members_by_room_and_by_name_and_says_the_nearest():
    assert set(members()) == set(names()) and "sinks/sink_strength" in names()
    assert instrument("sinks/sink_strength") is instrument("sink_strength")
    with pytest.raises(ValueError, match="did you mean 'maps/entropy'"):
        instrument("maps/entorpy")


def test_a_left_padded_map_read_at_column_0_is_the_twin_of_the_sink():
    subject = SINK.planted(np.random.default_rng(0), 3.0)
    wide = padded(subject, 3, 0)
    right = SINK.measure(wide)["alpha"].value
    wrong = wide.sites["L0.pattern"][..., 0].mean((0, -1))[None]
    assert np.abs(right - SINK.measure(subject)["alpha"].value).max() < 1e-14
    assert (wrong < 0.1 * right).all()
