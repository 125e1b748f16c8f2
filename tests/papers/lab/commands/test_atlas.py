"""``attnlab atlas``: the table, filters on facts, order, a page, a comparison, and what is refused by name."""

import json

import pytest

from attnlab.kernels.operators.listing import members
from attnlab.papers.lab.commands import atlas_text
from attnlab.papers.lab.commands.cli import main
from attnlab.papers.lab.errors import UsageError


def said(capsys, *words):
    assert main(["atlas", *words]) == 0
    return capsys.readouterr().out


def rows(capsys, *words):
    return json.loads(said(capsys, *words, "--json"))["operators"]


def test_the_table_has_a_row_per_member(capsys):
    text = said(capsys, "--family", "base_scores")
    named = [name for name in members() if name.startswith("base_scores/")]
    assert all(name in text for name in named) and f"{len(named)} members at n=1024" in text


def test_every_member_has_a_record_that_json_can_hold():
    found = atlas_text.selected(atlas_text.sizes_of({"n": "16", "d": "4", "d_v": "4", "heads": "2"}), None, None, None)
    assert [row["name"] for row in found] == list(members())
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert all(row["work"] is not None for row in found)  # a gate of its own token alone has none


def test_facts_filter_rows_in_both_directions(capsys):
    family = ("--family", "fixed_patterns", "n=64", "d=8", "d_v=8")
    every = {row["name"]: row for row in rows(capsys, *family)}
    causal = {row["name"] for row in rows(capsys, *family, "--where", "causal and state <= n * d")}
    wanted = {name for name, row in every.items() if row["causal"] and row["state"] is not None and row["state"] <= 512}
    assert causal == wanted and 0 < len(causal) < len(every)
    assert not rows(capsys, *family, "--where", "content == 'pair' and content != 'pair'")
    shifts = {row["name"] for row in rows(capsys, *family, "--where", "interior_shift and not permutation")}
    assert "fixed_patterns/neighbourhood" in shifts and "fixed_patterns/halo" not in shifts


def test_rows_are_ordered_by_a_fact_and_unknown_ones_come_last(capsys):
    states = [row["state"] for row in rows(capsys, "--family", "fixed_patterns", "n=64", "--sort", "state")]
    known = [state for state in states if state is not None]
    assert known == sorted(known) and states[: len(known)] == known and len(known) < len(states)


def test_costs_are_those_of_theory_and_grow_as_they_say():
    record = atlas_text.record_of(
        atlas_text.member("dot_product"), atlas_text.sizes_of({"n": "64", "d": "8", "d_v": "4", "heads": "1"})
    )
    assert record["work"] == 64 * 64 * 12 and record["exponent"] == 2 and record["state"] == 64 * 12
    window = atlas_text.record_of(atlas_text.member("neighbourhood"), atlas_text.sizes_of({"n": "64", "d": "8"}))
    assert window["exponent"] < 1.1 < record["exponent"] and window["reach"] == 2 * 8 + 2


def test_a_page_says_formula_facts_limits_and_laws(capsys):
    text = said(capsys, "moba")
    for words in ("sparse_selection/moba", "Softmax over", "base_scores/dot_product where all blocks are kept", "hit_exact", "lu2025",
                  "kernels/operators/sparse_selection/moba.py", "no: it chooses"):  # fmt: skip
        assert words in text, words


def test_a_comparison_shows_only_what_differs(capsys):
    record = json.loads(said(capsys, "--compare", "halo", "hilo", "--json"))
    assert "work" in record and "kind" not in record and "family" not in record
    text = said(capsys, "--compare", "combiner[max]", "combiner[mean]")
    assert "equivariant" in text and "rotation" in text and "content" not in text


@pytest.mark.parametrize(
    ("words", "said_of_it"),
    [
        (("mobb",), "did you mean 'moba'"),
        (("--family", "fixed_pattern"), "did you mean 'fixed_patterns'"),
        (("--where", "casual"), "did you mean 'causal'"),
        (("--where", "causal and"), "is not an expression"),
        (("--where", "__import__('os')"), "unknown fact"),
        (("--where", "name.upper"), "is not allowed"),
        (("--where", "n < 'a'"), "a number with a word"),
        (("--sort", "stat"), "did you mean 'state'"),
        (("m=3",), "unknown setting 'm'"),
        (("n=0",), "whole number"),
        (("moba", "halo"), "give one operator"),
    ],
)
def test_what_is_wrong_is_named(capsys, words, said_of_it):
    family = () if "--family" in words or "moba" in words or "mobb" in words else ("--family", "base_scores")
    assert main(["atlas", *words, *family]) == 2
    assert said_of_it in capsys.readouterr().err


def test_an_expression_meets_no_unknown_fact():
    assert not atlas_text.condition("state < 1")({"state": None})
    assert atlas_text.condition("not state < 1 and n ** 2 > 3")({"state": None, "n": 2})
    with pytest.raises(UsageError, match="not allowed"):
        atlas_text.condition("[1, 2]")({})
