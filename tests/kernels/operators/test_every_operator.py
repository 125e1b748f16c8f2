"""Every operator of the atlas against everything it declares; runs over the folders, lists nothing by hand."""

import re
from pathlib import Path

import pytest

from attnlab.kernels.operators.listing import members
from attnlab.kernels.operators.operator import KINDS

from .checks import CHECKS

MEMBERS = members()
BIBLIOGRAPHY = (Path(__file__).resolve().parents[3] / "docs" / "references.bib").read_text(encoding="utf-8")


@pytest.mark.sampled(4)
@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", MEMBERS)
def test_what_an_operator_declares_is_true(name, check):
    operator = MEMBERS[name]
    reason = operator.facts.skips.get(check)
    if reason is None:
        CHECKS[check](operator)
        return
    with pytest.raises((AssertionError, ValueError, RuntimeError)):
        CHECKS[check](operator)  # a declared skip still runs, and must fail


@pytest.mark.parametrize("name", MEMBERS)
def test_an_operator_says_what_it_is(name):
    operator = MEMBERS[name]
    assert operator.kind in KINDS and operator.source
    assert type(operator).__doc__ and set(operator.facts.skips) <= set(CHECKS)
    assert all(operator.facts.skips.values()), "a skip needs its reason"


@pytest.mark.parametrize("name", MEMBERS)
def test_the_source_of_an_operator_is_in_the_bibliography(name):
    """One entry of that key, and its arXiv number, or the year where it has none, stands in the docstring."""
    operator = MEMBERS[name]
    found = re.findall(rf"^@\w+{{{re.escape(operator.source)},.*$", BIBLIOGRAPHY, re.MULTILINE)
    assert len(found) == 1, f"{len(found)} entries {operator.source!r} in docs/references.bib: write one"
    number = re.search(r"eprint = {([^}]+)}", found[0]) or re.search(r"year = {([^}]+)}", found[0])
    assert number and number[1] in type(operator).__doc__, (
        f"the docstring does not name {number[0] if number else 'a year'}, of the entry {operator.source!r} of docs/references.bib"
    )


def test_every_key_of_the_bibliography_is_there_once():
    keys = re.findall(r"^@\w+{([^,]+),", BIBLIOGRAPHY, re.MULTILINE)
    assert len(keys) == len(set(keys)) > 80
