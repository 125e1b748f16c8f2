"""Intervals with two ends: exact where balls are rounded, never narrower than the truth, and what they let be certified."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from flint import arb, ctx

from attnlab.analysis.exact.ends import end_values
from attnlab.analysis.exact.values import ball_values, torch_values
from attnlab.analysis.theorems.check import check
from attnlab.analysis.theorems.engines.exact_form import record
from attnlab.analysis.theorems.statement.claim import for_all
from attnlab.analysis.theorems.statement.domains import Matrix, Real, Vector

SIDES = {
    "largest": lambda x: x.abs().amax(),
    "sorted": lambda x: x.sort()[0].diff().amax(),
    "clamped": lambda x: x.clamp(-0.5, 0.25).sum() * 3 - x.square().sum() / (2 + x[0]),
    "cases": lambda x: torch.where(x > 0.1, x.exp(), x.floor() + x.tanh()).sum(),
    "root": lambda x: (x + 1).sqrt().sum() + x.atan().prod(),
}


@pytest.mark.parametrize("name", sorted(SIDES))
def test_ends_contain_every_value_on_the_box(name):
    claim = for_all(x=Vector(3, -1, 1)).bound(SIDES[name], at_most=100)
    recorded = record(claim, SIDES[name])
    generator = np.random.default_rng(0)
    for _ in range(20):
        ends = np.sort(generator.integers(-4, 5, (3, 2)) / 4, axis=1)
        with ctx.workprec(64):
            boxes = {("x", k): (arb(float(a)), arb(float(b))) for k, (a, b) in enumerate(ends)}
            balls = ball_values(recorded.tape, {k: a.union(b) if a < b else a for k, (a, b) in boxes.items()})
            low, high = end_values(recorded.tape, balls, boxes)[recorded.outputs[0]]
        points = torch.as_tensor(generator.uniform(ends[:, 0], ends[:, 1], (200, 3)))
        found = torch_values(recorded.tape, recorded.outputs, {"x": points})[0]
        assert float(low) <= float(found.min()) + 1e-12
        assert float(found.max()) - 1e-12 <= float(high)


ATTAINED = {
    "largest": for_all(x=Vector(3, -1, 1)).bound(lambda x: x.abs().amax(), at_most=1),
    "top two": for_all(x=Vector(3, -1, 1)).bound(lambda x: x.topk(2)[0].sum(), at_most=2),
    "column sums": for_all(A=Matrix(2, 2, -1, 1)).bound(lambda A: torch.linalg.matrix_norm(A, 1), at_most=2),
    "counted": for_all(x=Vector(3, -1, 1)).bound(lambda x: (x > 0).sum() * 1.0, at_most=3),
    "a floor": for_all(x=Real(0, 3)).bound(lambda x: torch.floor(x), at_most=3),
    "clamped": for_all(x=Vector(2, -2, 2)).bound(lambda x: x.clamp(-1, 1).sum(), at_least=-2),
}


@pytest.mark.parametrize("name", sorted(ATTAINED))
def test_a_bound_that_is_attained_on_a_face_is_certified(name):
    assert check(ATTAINED[name], "certified", budget=4000).outcome == "HOLDS"


def test_a_bound_that_is_missed_by_little_is_not_certified():
    claim = for_all(x=Vector(3, -1, 1)).bound(lambda x: x.abs().amax(), at_most=1 - 1e-11)
    assert check(claim, "certified", budget=4000).outcome == "REFUTED"
