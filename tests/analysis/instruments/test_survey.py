"""One line per instrument that readings allow: numbers, what is found, refusals with their reason."""

import numpy as np

from attnlab.analysis.instruments.listing import members
from attnlab.analysis.instruments.readings import Readings
from attnlab.analysis.instruments.survey import survey
from attnlab.simulators.planted.planted import planted_model


def lines(name, sites, n=10):
    made = planted_model(name)
    tokens = made.draw(np.random.default_rng(0), n).tokens
    return {line.instrument: line for line in survey(Readings(made.model.run(tokens, sites), tokens=tokens))}


def test_planted_sinks_are_found_and_what_cannot_be_asked_says_why():
    found = lines("sinks", ("L0.pattern", "L1.pattern"))
    assert set(found) == {name for name, member in members().items() if member.needs == ("pattern",)}
    strength = found["sinks/sink_strength"]
    assert strength.found >= 3 and "found in" in strength.words() and "nats" in strength.words()
    refused = found["maps/induction_score"]
    assert refused.reading is None and refused.words().startswith("refused: ") and "periods=" in refused.words()


def test_instruments_whose_sites_are_missing_are_not_asked():
    assert "sinks/removal" not in lines("uniform", ("L0.pattern",), 4)
    assert "sinks/removal" in lines("uniform", ("L0.pattern", "L0.v"), 4)
