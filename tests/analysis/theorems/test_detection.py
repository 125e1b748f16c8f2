"""The committed detection table belongs to its script, and its main rows can be had again."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[3] / "docs" / "measured"
TABLE = (FOLDER / "forall_detection.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def script():
    import sys

    spec = importlib.util.spec_from_file_location("forall_detection", FOLDER / "forall_detection.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_the_suite_has_fifty_different_false_claims_and_the_table_all_methods(script):
    claims = script.suite()
    assert len({(one.family, one.name) for one in claims}) == 50
    assert all(f"| {method} |" in TABLE for method in script.METHODS)


def test_no_false_claim_was_proved_and_no_true_one_refuted():
    assert "proved by `certified` or `symbolic`: 0 of 50" in TABLE
    assert "refuted by search or certificate: 0 of 8" in TABLE


def test_search_finds_more_than_sampling_in_the_table():
    found = {m: int(n) for m, n in re.findall(r"^\| (s[^|]*?) \|.*\| (\d+)/50 \|", TABLE, re.MULTILINE)}
    assert found["searched, 512 starts"] >= found["searched, 64 starts"] > found["sampled, 20 000 draws"]


@pytest.mark.slow
def test_the_rows_of_sampling_and_search_can_be_had_again(script):
    for method in ("sampled, 1 000 draws", "searched, 64 starts"):
        hits = sum(script.METHODS[method](one.claim) for one in script.suite())
        assert f"| {hits}/50 |" in next(line for line in TABLE.splitlines() if line.startswith(f"| {method} |"))
