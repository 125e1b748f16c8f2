"""A name that a mapping lacks is answered with the name, the nearest one and what is there."""

import copy
import json

import pytest

from attnlab.papers.lab.python.names import Named, unknown


def test_an_unknown_name_is_told_with_the_nearest_one_and_with_what_is_there():
    record = Named({"verdict": "HOLDS", "margin": 0.1}, "entry of the record")
    with pytest.raises(
        KeyError, match=r"no entry of the record 'marign'; did you mean 'margin'\?; there are verdict, margin"
    ):
        record["marign"]
    assert unknown("figure", "fig1", []).args == ("no figure 'fig1'; there is none",)
    (many,) = unknown("claim", 3, [str(k) for k in range(100, 130)]).args
    assert many.endswith("119 and 10 more")


def test_it_is_a_dictionary_in_all_else():
    plain = {"verdict": "HOLDS", "margin": 0.1}
    record = Named(plain, "entry")
    assert record == plain and json.loads(json.dumps(record)) == plain and record.get("x") is None and "x" not in record
    for again in (copy.copy(record), copy.deepcopy(record)):
        assert again == plain and again.what == "entry"
