"""Records that JSON can hold."""

import json
import math
from pathlib import Path

import numpy as np

from attnlab.analysis.verdicts.plain import plain


def test_arrays_tuples_paths_and_what_is_not_finite_become_json():
    record = {
        3: (np.float32(0.5), np.arange(2), np.array([1.0, np.nan])),
        "inside": [{"a": -math.inf, "b": Path("x") / "y", "c": None, "d": True, "e": np.bool_(False)}],
    }
    found = plain(record)
    assert found == {
        "3": [0.5, [0, 1], [1.0, None]],
        "inside": [{"a": None, "b": "x/y", "c": None, "d": True, "e": False}],
    }
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert type(found["3"][1][0]) is int and type(found["inside"][0]["e"]) is bool
