"""Counterexamples: confirmed beyond rounding, shrunk, saved and replayed."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attnlab.analysis.theorems.check import check
from attnlab.analysis.theorems.engines.confirmation import confirm
from attnlab.analysis.theorems.engines.evaluate import Evaluator
from attnlab.analysis.theorems.engines.shrink import shrink
from attnlab.analysis.theorems.statement.claim import for_all
from attnlab.analysis.theorems.statement.domains import Permutation, Real, Simplex, Vector
from attnlab.analysis.theorems.witness import WitnessError, replay, save_witness
from attnlab.analysis.verdicts.verdict import Outcome


def parabola(bound):
    return for_all(x=Vector(3, -2, 2), pi=Permutation(3)).bound(
        lambda x, pi: (x * x).sum() + 0 * x[pi].sum(), at_most=bound, name="parabola"
    )


def test_a_violation_below_float64_resolution_is_confirmed_exactly():
    """(1 + x) - 1 <= 0 fails for every x > 0, also where float64 rounds the left side to zero."""
    claim = for_all(x=Real(0, 1)).bound(lambda x: (1 + x) - 1, at_most=0)
    assert confirm(claim, {"x": np.array(1e-30)}).violated
    assert float(1 + 1e-30 - 1) == 0.0


def test_a_violation_that_is_rounding_is_not_confirmed():
    claim = for_all(x=Real(0, 1)).bound(lambda x: x / 3 * 3 - x, at_most=0)
    points = [np.array(x) for x in np.random.default_rng(0).random(200)]
    assert not any(confirm(claim, {"x": p}).violated for p in points)


def test_sides_without_an_exact_form_are_judged_against_their_rounding():
    """Oracle: digamma(1) is minus Euler's constant."""
    point, domain = {"x": np.array([1.0, 2.0])}, Vector(2, 0.5, 2)
    above = confirm(for_all(x=domain).bound(lambda x: torch.digamma(x).amin(), at_least=-0.57), point)
    assert above.violated and "float64" in above.how and "digamma" in above.how
    euler = for_all(x=domain).bound(lambda x: torch.digamma(x).amin(), at_least=-np.euler_gamma)
    assert confirm(euler, point).status == "unclear"


def test_eigenvalues_are_enclosed():
    """Eigenvalues 1 and 3, in closed form; 0, 0 and 14 of an outer product, by flint."""

    def largest(A):
        return torch.linalg.eigvalsh(A.reshape(2, 2) + A.reshape(2, 2).mT).amax()

    point = {"A": np.array([1.0, 0.5, 0.5, 1.0])}
    assert confirm(for_all(A=Vector(4, -2, 2)).bound(largest, at_most=2.99), point).violated
    assert confirm(for_all(A=Vector(4, -2, 2)).bound(largest, at_most=3.0), point).disproved
    outer = for_all(x=Vector(3, -4, 4)).bound(
        lambda x: torch.linalg.eigvalsh(torch.outer(x, x)).amax(), at_most=lambda x: x @ x - 1e-9
    )
    assert confirm(outer, {"x": np.array([1.0, 2.0, 3.0])}).violated


def test_a_branch_is_judged_by_what_it_does_at_the_point():
    def jump(x):
        return 2.0 + 0 * x if x == 0 else x * x

    claim = for_all(x=Real(-1, 1)).bound(jump, at_most=1)
    assert confirm(claim, {"x": np.array(0.0)}).violated and confirm(claim, {"x": np.array(1e-300)}).status == "met"


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0.01, 1), min_size=3, max_size=3))
def test_points_of_the_simplex_are_read_as_exact_points(weights):
    p = np.array(weights) / np.sum(weights)
    claim = for_all(p=Simplex(3)).bound(lambda p: p.sum(), at_most=1)
    assert not confirm(claim, {"p": p}).violated  # in float64 the sum is off by an ulp for many p


def test_shrinking_keeps_the_violation_and_removes_what_is_not_needed():
    claim = for_all(x=Vector(6, -3, 3)).bound(lambda x: x[2] ** 2, at_most=2.0)
    point = {"x": np.array([0.123, 2.71, 2.345678, -1.9, 0.4, 2.2])}
    small, confirmation = shrink(claim, point, Evaluator(claim))
    assert confirmation.violated
    assert np.array_equal(np.flatnonzero(small["x"]), [2])
    assert small["x"][2] in (2.0, -2.0, 3.0, -3.0)


def test_a_saved_witness_replays_with_the_same_numbers(tmp_path):
    claim = parabola(11.0)
    verdict = check(claim, "searched")
    file = save_witness(verdict, tmp_path / "witness.json")
    again = replay(file, {"parabola": claim})
    assert again.outcome is Outcome.REFUTED
    assert again.witness["point"] == verdict.witness["point"]
    assert again.witness["left"] == verdict.witness["left"]


def test_a_witness_does_not_refute_the_corrected_claim(tmp_path):
    file = save_witness(check(parabola(11.0), "searched"), tmp_path / "witness.json")
    corrected = replay(file, lambda name: parabola(12.0))
    assert corrected.outcome is Outcome.UNDECIDED and "does not refute" in corrected.reason


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda r: r.pop("point"), "no entry 'point'"),
        (lambda r: r.update(format="other"), "format='other'"),
        (lambda r: r["point"].update(x=[1.0]), "value of 'x' has shape"),
        (lambda r: r["point"].update(x=["a", "b", "c"]), "no array of numbers"),
        (lambda r: r["point"].pop("pi"), "witness has values for"),
        (lambda r: r.update(claim="other"), "no claim named 'other'"),
        (lambda r: r.update(left="inf"), "entry 'left' must be a number"),
    ],
)
def test_a_damaged_witness_is_an_error_that_names_the_entry(tmp_path, damage, words):
    file = save_witness(check(parabola(11.0), "searched"), tmp_path / "witness.json")
    record = json.loads(file.read_text())
    damage(record)
    file.write_text(json.dumps(record))
    with pytest.raises(WitnessError, match=words):
        replay(file, {"parabola": parabola(11.0)})


def test_a_point_moved_outside_the_domain_does_not_refute(tmp_path):
    file = save_witness(check(parabola(11.0), "searched"), tmp_path / "witness.json")
    record = json.loads(file.read_text())
    record["point"]["x"] = [3.0, 3.0, 3.0]
    verdict = replay(record, {"parabola": parabola(11.0)})
    assert verdict.outcome is Outcome.UNDECIDED and "x lies outside" in verdict.reason


def test_only_a_refuted_verdict_has_a_witness_to_save(tmp_path):
    with pytest.raises(WitnessError, match="only a REFUTED verdict"):
        save_witness(check(parabola(12.0), "searched"), tmp_path / "witness.json")


def test_a_file_that_is_no_json_is_an_error(tmp_path):
    (tmp_path / "w.json").write_text("{")
    with pytest.raises(WitnessError, match="cannot read the witness"):
        replay(tmp_path / "w.json", {})
