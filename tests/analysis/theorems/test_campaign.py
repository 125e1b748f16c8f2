"""The campaign of random statements of known truth: a part of it here, the whole as ``campaign/run.py``, and its tables."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

import pytest

CAMPAIGN = Path(__file__).parent / "campaign"
MEASURED = Path(__file__).parents[3] / "docs" / "measured"


@pytest.fixture(scope="module")
def run():
    """The runner, imported from its folder beside its own modules."""
    sys.path.insert(0, str(CAMPAIGN))
    try:
        spec = importlib.util.spec_from_file_location("forall_campaign_run", CAMPAIGN / "run.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        yield module
    finally:
        sys.path.remove(str(CAMPAIGN))
        for name in ("functions", "statements"):
            sys.modules.pop(name, None)


def _sound(run, first, last):
    rows = [run.judge(k, run.statements.one(k)) for k in range(first, last)]
    counts = run.summary(rows)
    assert counts["false proved"] == 0 and counts["true refuted"] == 0 and counts["vacuous"] == 0
    return counts


@pytest.mark.slow
def test_a_part_of_the_campaign_is_judged_soundly(run):
    counts = _sound(run, 6000, 6024)
    assert counts["refused"] == 0
    assert counts["false refuted"] >= 0.9 * counts["false"] and counts["true held"] >= 0.8 * counts["true"]


@pytest.mark.slow
def test_a_thousand_statements_are_judged_soundly(run):
    """Other statements than those of the committed table; its shares are of thousands, these of a thousand."""
    counts = _sound(run, 10_000, 11_000)
    assert counts["false held"] <= 0.01 * counts["false searched"]
    assert counts["false refuted"] >= 0.9 * counts["false"] and counts["true held"] >= 0.85 * counts["true"]
    assert counts["refused"] <= 0.05 * counts["statements"]


def _judged(run, family, first, last):
    rows = [run.judge(k, run.statements.of_family(family, k)) for k in range(first, last)]
    counts = run.summary(rows)
    assert counts["false proved"] == counts["true refuted"] == counts["vacuous"] == counts["refused"] == 0
    assert counts["false held"] == 0
    return counts


@pytest.mark.sampled(4)
@pytest.mark.parametrize("family", ["laws", "moved"])
def test_laws_and_moved_entries_are_judged_soundly(run, family):
    counts = _judged(run, family, 0, 10)
    assert counts["true searched held"] + counts["false refuted"] >= 0.7 * counts["statements"]


@pytest.mark.slow
@pytest.mark.parametrize("family", ["laws", "moved"])
def test_two_hundred_of_laws_and_moved_entries_are_judged_soundly(run, family):
    counts = _judged(run, family, 1000, 1200)
    assert counts["false refuted"] >= 0.9 * counts["false"]
    assert counts["true searched held"] >= 0.85 * counts["true searched"]


def test_statements_are_of_many_kinds_and_both_truths(run):
    some = [run.statements.one(k) for k in range(0, 5000, 7)]
    assert len({(s.family, s.detail) for s in some}) >= 100
    assert 0.3 < sum(s.true for s in some) / len(some) < 0.7
    functions = {s.detail for s in some if s.family == "compositions"}
    assert len(functions) >= 60


def test_the_committed_campaign_is_sound():
    page = (MEASURED / "forall_campaign.md").read_text(encoding="utf-8")
    assert "proved at `certified` or `symbolic`: **0**" in page and "True statements refuted: **0**" in page
    held, searched = map(int, re.search(r"hold at `searched`: \*\*(\d+) of (\d+)\*\*", page).groups())
    assert held < 0.01 * searched


def test_the_committed_search_power_is_above_scipys():
    page = (MEASURED / "forall_search_power.md").read_text(encoding="utf-8")
    ours, evolution, descent = (int(n) for n in re.findall(r"\*\*(\d+)/66\*\*", page))
    assert ours >= 60 and ours > evolution and ours > descent
