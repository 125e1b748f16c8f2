"""Certificates: written by the splitter, checked by a program that shares nothing with it, and refused when damaged."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest
import torch

from attnlab.analysis.theorems import certificate, certificate_check
from attnlab.analysis.theorems.certificate import CertificateError, check_certificate, save_certificate
from attnlab.analysis.theorems.engines.cover import cases
from attnlab.analysis.theorems.statement.claim import for_all
from attnlab.analysis.theorems.statement.domains import Integer, Matrix, Real, Simplex, Sphere, Vector


def masked_attention(q, k, v):
    """Two tokens with a causal mask of minus infinity."""
    scores = (q @ k.mT).masked_fill(torch.ones(2, 2, dtype=torch.bool).triu(1), float("-inf"))
    return scores.softmax(-1) @ v


TRUE = {
    "parabola": for_all(x=Real(-1, 2)).bound(lambda x: x * (1 - x), at_most=0.2501),
    "assumption": for_all(x=Vector(2, -1, 1)).bound(lambda x: x.sum(), at_most=1.05, assuming=lambda x: x.sum() <= 1),
    "whole numbers": for_all(k=Integer(1, 5), x=Real(0, 1)).bound(lambda x, k: x**k, at_most=1.0),
    "sphere": for_all(u=Sphere(3)).bound(lambda u: u[0] + u[1], at_most=1.45),
    "simplex": for_all(p=Simplex(3)).bound(lambda p: (p * p).sum(), at_least=0.33),
    "cases": for_all(x=Real(-2, 2)).bound(lambda x: torch.where(x > 0.5, x.exp(), x.clamp(min=-1)), at_most=7.5),
    "masked attention": for_all(q=Matrix(2, 1, -1, 1), k=Matrix(2, 1, -1, 1), v=Matrix(2, 1, -1, 1)).bound(
        masked_attention, at_most=1.1
    ),
}


@pytest.mark.parametrize("name", TRUE)
def test_a_certificate_is_written_and_checked(name, tmp_path):
    file = save_certificate(TRUE[name], tmp_path / "certificate.json")
    assert check_certificate(TRUE[name], file).startswith("checked: ")


def test_a_certificate_of_another_claim_is_refused(tmp_path):
    file = save_certificate(TRUE["parabola"], tmp_path / "certificate.json")
    sharper = for_all(x=Real(-1, 2)).bound(lambda x: x * (1 - x), at_most=0.2)
    wider = for_all(x=Real(-1, 3)).bound(lambda x: x * (1 - x), at_most=0.2501)
    for other in (sharper, wider):
        with pytest.raises(CertificateError, match="another formula, box or assumption"):
            check_certificate(other, file)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda r: r["cases"][0]["bounds"][0].__setitem__(2, "n"), "not shown on the box"),
        (lambda r: r["cases"][0]["bounds"][0].__setitem__(2, "d0+"), "does not hold"),
        (lambda r: r["cases"][0]["bounds"][0].__setitem__(2, r["cases"][0]["bounds"][0][2] + " n"), "goes on after"),
        (lambda r: r["cases"][0]["bounds"][0].__setitem__(2, r["cases"][0]["bounds"][0][2][:-1]), "proof"),
        (lambda r: r["cases"][0].__setitem__("entries", [e if e[0] != "constant" or e[1] != "2501/10000" else ["constant", "1/5"]
                                                         for e in r["cases"][0]["entries"]]), "not shown|does not hold"),
    ],
    ids=["one box", "false monotony", "too long", "too short", "smaller constant"],
)  # fmt: skip
def test_a_damaged_certificate_is_no_proof(damage, words, tmp_path):
    """The checker alone, without comparing formulas: it must find what is false by itself."""
    file = save_certificate(TRUE["parabola"], tmp_path / "certificate.json")
    record = json.loads(file.read_text())
    damage(record)
    file.write_text(json.dumps(record))
    with pytest.raises((ValueError, StopIteration, IndexError), match=None if words == "proof" else words):
        certificate_check.check_file(str(file))


UNDEFINED = {  # bounded functions of what has no value on a part of [-1, 1]
    "logarithm": lambda x: x.log().tanh(),
    "pole": lambda x: (1 / x).sin(),
    "root": lambda x: x.sqrt().clamp(0, 1),
    "power": lambda x: (x**0.3).atan(),
    "case": lambda x: torch.where(x.log() > 0, 1.0, 0.5),
}


@pytest.mark.parametrize("name", UNDEFINED)
def test_a_forged_certificate_does_not_hide_where_a_side_has_no_value(name, tmp_path):
    """One leaf for the whole box: the enclosure is finite, and the statement is not defined there."""
    box, inside = for_all(x=Real(-1, 1)), for_all(x=Real(0.5, 1))
    file = tmp_path / "certificate.json"
    for domain, defined in ((box, False), (inside, True)):
        claim = domain.bound(UNDEFINED[name], at_most=2)
        (case,) = cases(claim)
        bounds = [[low, up, "n"] for low, up in zip(case[0].lower, case[0].upper, strict=True)]
        record = {"statement": "forged", "cases": [{**certificate._formula(*case), "bounds": bounds}]}
        file.write_text(json.dumps(record))
        if defined:
            assert certificate_check.check_file(str(file)).startswith("checked")
        else:
            with pytest.raises(ValueError, match="not shown on the box"):
                certificate_check.check_file(str(file))


@pytest.mark.parametrize("function", ["tan", "asin", "acos", "erfc", "lgamma"])
def test_the_checker_knows_the_functions_that_are_certified(function, tmp_path):
    claim = for_all(x=Real(0.25, 0.75)).bound(lambda x: getattr(x, function)(), at_most=2)
    file = save_certificate(claim, tmp_path / "certificate.json")
    assert check_certificate(claim, file).startswith("checked")


def test_a_certificate_speaks_of_one_size_and_in_the_words_of_the_claim(tmp_path):
    family = for_all(x=Vector("n", -1, 1)).bound(lambda x: x.softmax(0)[0], at_most=0.95, sizes={"n": (2, 3)})
    file = save_certificate(family.at(n=2), tmp_path / "certificate.json")
    record = json.loads(file.read_text())
    file.write_text(json.dumps({**record, "statement": "1 <= 0"}))
    said = check_certificate(family.at(n=2), file)
    assert family.at(n=2).statement in said and "1 <= 0" not in said
    with pytest.raises(CertificateError, match=r"for the sizes {'n': 2}, the claim for {'n': 3}"):
        check_certificate(family.at(n=3), file)
    with pytest.raises(CertificateError, match="other sizes: the claim has no size 'n'"):
        check_certificate(TRUE["parabola"], file)


def test_a_claim_without_a_proof_has_no_certificate(tmp_path):
    with pytest.raises(CertificateError, match="not certified"):
        save_certificate(for_all(x=Real(-1, 2)).bound(lambda x: x * (1 - x), at_most=0.25), tmp_path / "c.json")


def test_the_checker_is_short_and_imports_nothing_of_ours():
    file = Path(certificate_check.__file__)
    text = file.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 200
    imported = {
        name.split(".")[0]
        for node in ast.walk(ast.parse(text))
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in ([node.module] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names])
    }
    assert imported <= {"__future__", "json", "sys", "collections", "fractions", "flint"}
