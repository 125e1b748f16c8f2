"""The records of the family: findings at a family-wise error, and declarations that are not complete."""

import numpy as np
import pytest

from attnlab.analysis.instruments.instrument import Instrument, Reading, Rival, finding, reading_of
from attnlab.analysis.statistics.intervals import clopper_pearson


def reading(rng, mean, n=10, heads=12):
    return reading_of(
        rng.standard_normal((n, 1, heads)) + mean, "nats", ("layer", "head"), "none", null=0.0, tested=True
    )


def test_no_head_at_the_margin_is_found_more_often_than_stated():
    rng = np.random.default_rng(0)
    false = sum(finding(reading(rng, 1.0)).found.any() for _ in range(300))
    assert clopper_pearson(false, 300, 0.9999)[0] <= 0.05
    assert sum(reading(rng, 1.0).p.min() < 0.05 for _ in range(20)) == 20  # significant everywhere, large nowhere


def test_what_would_have_been_found_is_found_with_80_percent():
    rng, found = np.random.default_rng(1), []
    would = float(np.median(finding(reading(rng, 0.0, 12)).would))
    for _ in range(100):
        mean = np.zeros(12)
        mean[:4] = would
        found += [*finding(reading(rng, mean, 12)).found[0, :4]]
    # the sd is estimated from 12 prompts, and Holm's later steps are a little easier: between the two
    assert 0.7 <= np.mean(found) <= 0.97


def test_words_say_what_was_not_found():
    said = finding(reading(np.random.default_rng(2), 0.0)).words("nats")
    assert said.startswith("not found in 12 of 12;") and "would have been found with 80 %" in said and "prompts" in said


def test_declarations_that_say_too_little_are_refused():
    with pytest.raises(ValueError, match="rival"):
        Instrument(None, "x", (), None, None, (1, 2, 3), 1.0, (), None, "sheet", no_null="a picture")
    with pytest.raises(ValueError, match="no_null"):
        Instrument(None, "x", (), None, None, (1, 2, 3), 1.0, (Rival("a", "value", None),), None, "sheet")
    with pytest.raises(ValueError, match="'level'"):
        Rival("a", "values", None)
    with pytest.raises(ValueError, match="axes"):
        Reading(np.zeros(2), "", (), 0, 0, 0, 0, None, 2, 0, "")
