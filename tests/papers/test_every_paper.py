"""What holds for every paper in the repository: statements are covered, claims have twins, settings have three scales."""

import ast
from pathlib import Path

import pytest

from attnlab.papers.lab.declare import SCALES
from attnlab.papers.lab.registry import load, paper_keys

PAPERS = Path(__file__).resolve().parents[2] / "papers"
JUDGES = {
    "agrees",
    "bounded",
    "ordered",
    "share",
    "exponent",
    "trend",
    "converges",
    "follows",
    "aligned",
    "identical",
    "exhaustive",
    "settles",
}


def without_twin(text):
    """Line numbers of the calls of a judge that name no twin."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call)
        and getattr(node.func, "id", getattr(node.func, "attr", "")) in JUDGES
        and not any(keyword.arg in ("twin", None) for keyword in node.keywords)
    ]


def test_no_claim_lacks_a_twin():
    files = [path for path in PAPERS.rglob("*.py") if PAPERS / "lab" not in path.parents]
    found = {
        str(path.relative_to(PAPERS)): lines
        for path in files
        if (lines := without_twin(path.read_text(encoding="utf-8")))
    }
    assert not found


def test_a_call_without_a_twin_is_seen():
    assert without_twin("agrees(x, 1, within=0.1)\nagrees(x, 1, within=0.1, twin=2)") == [1]


@pytest.mark.parametrize("key", paper_keys())
def test_every_numbered_statement_is_covered_and_every_item_is_described(key):
    paper = load(key)
    assert paper.uncovered() == []
    for claim in paper.claims.values():
        assert claim.statement and claim.source and claim.formula and all(claim.setting.at(scale) for scale in SCALES)
    assert all(figure.caption for figure in paper.figures.values())


@pytest.mark.parametrize("key", paper_keys())
def test_every_form_of_a_claim_for_all_inputs_has_a_twin(key):
    for claim in load(key).claims.values():
        if claim.forms is not None:
            for level, form in claim.forms(claim.setting.smoke).items():
                assert form.twins, f"{claim.id} at {level}"
