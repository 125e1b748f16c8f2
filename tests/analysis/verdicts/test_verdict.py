"""Verdicts: what the twin does to them, how they combine, print and are recorded."""

import json
from dataclasses import replace

import numpy as np
import pytest

from attnlab.analysis.verdicts.verdict import Outcome, Twin, Verdict, all_of

HOLDS = Verdict(
    Outcome.HOLDS,
    "equivalence",
    of="mean over replicas",
    predicted=0.2429,
    measured=0.2431,
    interval=(0.2425, 0.2437),
    margin=0.003,
    confidence=0.99,
    n=16,
    relation="in",
)
TWIN = Twin.of("plain gradient descent", predicted=0.25)


@pytest.mark.parametrize(
    ("claim", "twin", "result"),
    [
        (Outcome.HOLDS, Outcome.REFUTED, Outcome.HOLDS),
        (Outcome.HOLDS, Outcome.HOLDS, Outcome.INVALID),
        (Outcome.HOLDS, Outcome.UNDECIDED, Outcome.UNDECIDED),
        (Outcome.HOLDS, Outcome.VACUOUS, Outcome.UNDECIDED),
        (Outcome.REFUTED, Outcome.HOLDS, Outcome.REFUTED),
        (Outcome.UNDECIDED, Outcome.REFUTED, Outcome.UNDECIDED),
        (Outcome.VACUOUS, Outcome.REFUTED, Outcome.VACUOUS),
    ],
)
def test_holding_needs_the_twin_refuted(claim, twin, result):
    verdict = replace(HOLDS, outcome=claim).with_twin(TWIN, twin)
    assert verdict.outcome is result
    assert verdict.twin_outcome is twin
    assert verdict.holds == (result is Outcome.HOLDS)
    assert bool(verdict.reason) == (result is not claim)  # a changed outcome says why


def test_the_line_says_the_most_important_word_first():
    line = HOLDS.with_twin(TWIN, Outcome.REFUTED).named("he2025.risk").line()
    assert line == (
        "HOLDS      he2025.risk  mean over replicas 0.2431 in 0.2429 ± 0.003  [0.2425, 0.2437]  "
        "n=16 replicas  twin refuted"
    )


def test_the_line_leaves_out_what_a_verdict_does_not_have():
    bare = Verdict(Outcome.VACUOUS, "exhaustive", level="exhaustive", n=1, unit="case", reason="no case at all")
    assert bare.line() == "VACUOUS    exhaustive  n=1 case  no case at all"
    entry = Verdict(
        Outcome.HOLDS,
        "bound",
        measured=0.4,
        predicted=0.5,
        relation="<=",
        margin=0.01,
        tightness=0.8,
        n=2,
        unit="entry",
    )
    assert entry.line() == "HOLDS      0.4 <= 0.5 (slack 0.01)  tightness 0.8  n=2 entries"


def test_a_record_is_plain_json_whatever_numbers_it_was_given():
    verdict = replace(
        HOLDS,
        measured=np.float32(0.5),
        interval=(-np.inf, np.inf),
        n=np.int64(8),
        witness={"values": np.array([1.0, np.nan]), "at": (np.int64(3),)},
    )
    record = json.loads(json.dumps(verdict.record(), allow_nan=False))
    assert record["measured"] == 0.5
    assert record["interval"] == [None, None]
    assert record["witness"] == {"values": [1.0, None], "at": [3]}
    assert record["twin_verdict"] is None
    assert json.loads(json.dumps(HOLDS.with_twin(TWIN, Outcome.REFUTED).record()))["twin_verdict"] == "REFUTED"


def test_a_conjunction_takes_the_worst_part_and_names_it():
    parts = {
        outcome: replace(
            HOLDS, outcome=outcome, reason="" if outcome is Outcome.HOLDS else f"is {outcome}", name=f"part {outcome}"
        )
        for outcome in Outcome
    }
    order = [Outcome.REFUTED, Outcome.INVALID, Outcome.VACUOUS, Outcome.UNDECIDED, Outcome.HOLDS]
    for i, worst in enumerate(order):
        combined = all_of(*(parts[o] for o in reversed(order[i:])))
        assert combined.outcome is worst
        assert len(combined.parts) == len(order) - i
        if worst is not Outcome.HOLDS:
            assert combined.reason == f"part {worst}: is {worst}"
    with pytest.raises(ValueError, match="at least one verdict"):
        all_of()


def test_a_twin_needs_a_name_and_something_to_replace():
    with pytest.raises(ValueError, match="label and at least one"):
        Twin.of("nothing")
    with pytest.raises(ValueError, match="label and at least one"):
        Twin.of("", predicted=1.0)


def test_a_verdict_has_no_truth_value():
    for outcome in Outcome:
        with pytest.raises(TypeError, match=r"verdict\.holds"):
            bool(Verdict(outcome, "test"))


def test_more_replicas_help_only_where_no_undecided_part_waits_for_training():
    few, early = (Verdict(Outcome.UNDECIDED, "test", reason="r", wants=wants) for wants in ("replicas", "training"))
    assert few.more_replicas_may_decide and not early.more_replicas_may_decide
    assert not all_of(few, early).more_replicas_may_decide and all_of(few, few).more_replicas_may_decide
