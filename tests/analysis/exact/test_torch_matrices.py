"""Operations that move entries: what is moved are numbers of any type, what says where are positions."""

from __future__ import annotations

import pytest
import torch

from attnlab.analysis.exact.tape import NotTraceable
from attnlab.analysis.theorems.engines.confirmation import confirm
from attnlab.analysis.theorems.engines.exact_form import record
from attnlab.analysis.theorems.statement.claim import for_all
from attnlab.analysis.theorems.statement.domains import Vector

ONES = {"x": torch.ones(3, dtype=torch.float64).numpy()}
SIDES = {  # the sum at x = (1, 1, 1)
    "scatter a number": (lambda x: x.scatter(0, torch.tensor([0]), 2.0).sum(), 4),
    "scatter in place": (lambda x: x.clone().scatter_(0, torch.tensor([0, 2]), 5.0).sum(), 11),
    "scatter an array": (lambda x: x.scatter(0, torch.tensor([0]), 3 * x[1:2]).sum(), 5),
    "joined with whole numbers": (lambda x: torch.cat([x, torch.tensor([2])]).sum(), 5),
    "stacked with a whole number": (lambda x: torch.stack([x[0], torch.tensor(7)]).sum(), 8),
    "beside whole numbers": (lambda x: torch.hstack([torch.arange(3), x]).sum(), 6),
    "joined with a truth value": (lambda x: torch.cat([x, torch.tensor([True])]).sum(), 4),
    "joined with constants": (lambda x: torch.cat([torch.tensor([5.0, 6.0]), x]).roll(1).sum(), 14),
}


@pytest.mark.parametrize("name", SIDES)
def test_what_is_moved_keeps_its_value(name):
    side, value = SIDES[name]
    box = for_all(x=Vector(3, 0, 1))
    found = confirm(box.bound(side, at_most=value - 0.5), ONES)
    assert found.violated and "ball" in found.how and found.lower == value
    assert confirm(box.bound(side, at_most=value + 0.5), ONES).status == "met"


@pytest.mark.parametrize(
    "side",
    [
        lambda x: torch.view_as_complex(x[:2].clone()).abs(),
        lambda x: x.view(torch.int64).double().sum(),
        lambda x: x.scatter(0, torch.tensor([0]), x[1:2], reduce="add").sum(),
    ],
)
def test_digits_seen_as_another_type_have_no_exact_form(side):
    with pytest.raises(NotTraceable):
        record(for_all(x=Vector(3, 0, 1)).bound(side, at_most=1), side)


def test_a_violation_of_a_complex_view_is_not_dropped():
    box = for_all(x=Vector(2, -1, 1))
    side = lambda x: torch.view_as_complex(x.clone()).abs()  # noqa: E731
    point = {"x": torch.ones(2, dtype=torch.float64).numpy()}
    assert confirm(box.bound(side, at_most=1.2), point).violated  # the root of 2
    assert not confirm(box.bound(side, at_most=1.5), point).violated


@pytest.mark.parametrize(
    ("y", "x"), [(1.0, -1.0), (-1.0, -1.0), (0.0, -1.0), (1.0, 0.0), (-1.0, 0.0), (0.0, 0.0), (0.5, 2.0)]
)
def test_the_angle_of_a_point_is_exact_in_all_quadrants(y, x):
    point = {"x": torch.tensor([y, x], dtype=torch.float64).numpy()}
    angle = torch.atan2(torch.tensor(y, dtype=torch.float64), torch.tensor(x, dtype=torch.float64)).item()
    box = for_all(x=Vector(2, -2, 2))
    side = lambda x: torch.atan2(x[0], x[1])  # noqa: E731
    high, low = box.bound(side, at_most=angle - 1e-9), box.bound(side, at_least=angle + 1e-9)
    for claim in (high, low):
        found = confirm(claim, point)
        assert found.violated and "ball" in found.how
