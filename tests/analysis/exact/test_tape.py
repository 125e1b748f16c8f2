"""Traced sides against torch, mpmath and finite differences; balls must contain what they stand for."""

from __future__ import annotations

from fractions import Fraction

import mpmath
import numpy as np
import pytest
import torch
from flint import arb, ctx
from hypothesis import given, settings
from hypothesis import strategies as st

from attnlab.analysis.exact.numpy_recording import record_numpy
from attnlab.analysis.exact.tape import Condition, NotTraceable, Tape
from attnlab.analysis.exact.torch_recording import record_torch
from attnlab.analysis.exact.values import ball_gradient, ball_values, sympy_values, torch_values

A = torch.tensor([[1.0, -2.0, 0.5], [0.25, 3.0, -1.0], [2.0, 1.0, 1.0]], dtype=torch.float64)

TORCH_SIDES = {
    "softmax": lambda x, y: (x.softmax(-1) - torch.softmax(y, -1)).norm(),
    "two-way softmax": lambda x, y: x[:2].softmax(-1)[0] * y[1],
    "log_softmax": lambda x, y: torch.log_softmax(x, -1)[0] + y.logsumexp(0),
    "quadratic form": lambda x, y: x @ A @ y + (A @ x).square().sum(),
    "einsum": lambda x, y: torch.einsum("i,ij,j->", x, A, y),
    "extremes": lambda x, y: x.max() + y.amin() + torch.maximum(x, y).sum(),
    "shapes": lambda x, y: (
        torch.stack([x, y]).softmax(0).mean() + torch.outer(x, y).trace() + (x[None] * y[:, None]).sum()
    ),
    "smooth": lambda x, y: torch.tanh(x).sum() + torch.sigmoid(y).prod() + torch.erf(x[0]) + torch.cos(y).sum(),
    "powers": lambda x, y: (x.abs() ** 1.5).sum() + (y.square() + 1).sqrt().sum() + 2 ** x[0],
    "array": lambda x, y: x * 2 - y / 3,
}
NUMPY_SIDES = {
    "norms": lambda x, y: np.linalg.norm(x) + np.sum(x * y) + np.maximum(x, y).sum(),
    "functions": lambda x, y: np.exp(x) @ y + np.mean(np.tanh(x)) + np.dot(x, y) + np.float64(2) * y[0],
}


def _traced(side):
    tape = Tape()
    inputs = {name: np.array([tape.input(name, k) for k in range(3)], dtype=object) for name in "xy"}
    (a,), (b,) = _points(1, seed=9)
    if side in NUMPY_SIDES.values():
        return tape, record_numpy(lambda p: side(**p), {"x": a, "y": b}, inputs, tape)[0]
    point = {"x": torch.as_tensor(a), "y": torch.as_tensor(b)}
    return tape, record_torch(lambda p: torch.as_tensor(side(**p)), point, inputs, tape)[0]


def _recorded(side, shape=(3,)):
    """Entries of a torch side of one array x."""
    tape = Tape()
    entries = np.empty(shape, dtype=object)
    for k, index in enumerate(np.ndindex(shape)):
        entries[index] = tape.input("x", k)
    point = {"x": torch.linspace(0.1, 0.9, entries.size, dtype=torch.float64).reshape(shape)}
    return tape, record_torch(lambda p: torch.as_tensor(side(**p)), point, {"x": entries}, tape)[0]


def _points(n=6, seed=0):
    generator = np.random.default_rng(seed)
    return generator.normal(size=(n, 3)), generator.normal(size=(n, 3))


@pytest.mark.parametrize("name", TORCH_SIDES)
def test_traced_torch_sides_return_what_torch_returns(name):
    side = TORCH_SIDES[name]
    tape, out = _traced(side)
    X, Y = map(torch.as_tensor, _points())
    got = torch.stack(torch_values(tape, [e.index for e in out.flat], {"x": X, "y": Y}), dim=1)
    want = torch.stack([torch.as_tensor(side(a, b)).reshape(-1) for a, b in zip(X, Y, strict=True)])
    # 64: at most that many roundings in a row, and the sides stay below 40
    assert torch.all((got - want).abs() <= 64 * 2.0**-53 * 40)


@pytest.mark.parametrize("name", NUMPY_SIDES)
def test_traced_numpy_sides_return_what_numpy_returns(name):
    side = NUMPY_SIDES[name]
    tape, out = _traced(side)
    X, Y = _points()
    got = torch_values(tape, [e.index for e in out.flat], {"x": torch.as_tensor(X), "y": torch.as_tensor(Y)})[0].numpy()
    want = np.array([side(a, b) for a, b in zip(X, Y, strict=True)])
    assert np.all(np.abs(got - want) <= 64 * 2.0**-53 * 40)


@pytest.mark.parametrize("name", TORCH_SIDES)
def test_balls_around_a_box_contain_the_values_inside_it(name):
    side = TORCH_SIDES[name]
    tape, out = _traced(side)
    X, Y = _points(3, seed=1)
    width, generator = 0.3, np.random.default_rng(2)
    for a, b in zip(X, Y, strict=True):
        box = {(n, k): arb(v[k] - width).union(arb(v[k] + width)) for n, v in (("x", a), ("y", b)) for k in range(3)}
        enclosure = ball_values(tape, box)
        for _ in range(20):
            inner = {
                (n, k): arb(v[k] + generator.uniform(-width, width)) for n, v in (("x", a), ("y", b)) for k in range(3)
            }
            with ctx.workprec(200):
                exact = ball_values(tape, inner)
            assert all(enclosure[e.index].overlaps(exact[e.index]) for e in out.flat)
            assert all(enclosure[e.index].is_finite() for e in out.flat)


@pytest.mark.parametrize("name", [n for n in TORCH_SIDES if n != "array"])
def test_ball_gradients_contain_torch_gradients_across_the_box(name):
    side = TORCH_SIDES[name]
    tape, out = _traced(side)
    (a,), (b,) = _points(1, seed=3)
    width, generator = 0.05, np.random.default_rng(4)
    box = {(n, k): arb(v[k] - width).union(arb(v[k] + width)) for n, v in (("x", a), ("y", b)) for k in range(3)}
    gradient = ball_gradient(tape, ball_values(tape, box), out.item().index)
    for _ in range(10):
        x, y = (torch.as_tensor(v + generator.uniform(-width, width, 3)).requires_grad_(True) for v in (a, b))
        parts = torch.autograd.grad(side(x, y), (x, y), allow_unused=True)
        for n, part in zip("xy", parts, strict=True):
            for k in range(3):
                ball = gradient.get((n, k), arb(0))
                true = 0.0 if part is None else float(part[k])
                assert ball.overlaps(arb(true, 1e-12)), (n, k, ball, true)  # 1e-12: rounding of torch's own gradient


def test_a_wrong_derivative_would_be_seen():
    """The twin of the gradient check: the gradient of another side does not fit."""
    tape, out = _traced(TORCH_SIDES["quadratic form"])
    (a,), (b,) = _points(1, seed=3)
    point = {(n, k): arb(v[k]) for n, v in (("x", a), ("y", b)) for k in range(3)}
    gradient = ball_gradient(tape, ball_values(tape, point), out.item().index)
    x, y = (torch.as_tensor(v).requires_grad_(True) for v in (a, b))
    wrong = torch.autograd.grad(1.001 * TORCH_SIDES["quadratic form"](x, y), x)[0]
    assert not gradient["x", 0].overlaps(arb(float(wrong[0]), 1e-12))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(-20, 20), min_size=2, max_size=2),
    st.sampled_from(["exp", "tanh", "sigmoid", "sin", "atan", "erf", "square"]),
)
def test_elementary_balls_contain_mpmath_on_any_interval(ends, op):
    low, high = sorted(ends)
    tape = Tape()
    out = tape.input("x", 0).apply(op)
    ball = ball_values(tape, {("x", 0): arb(low).union(arb(high))})[out.index]
    functions = {"sigmoid": lambda t: 1 / (1 + mpmath.exp(-t)), "square": lambda t: t * t}
    with mpmath.workdps(40):
        for k in range(5):
            t = mpmath.mpf(low) + (mpmath.mpf(high) - mpmath.mpf(low)) * k / 4
            value = functions.get(op, getattr(mpmath, op, None))(t)
            assert ball.overlaps(arb(mpmath.nstr(value, 35)))


def test_numbers_are_read_once_and_the_same_way():
    tape = Tape()
    assert tape.value_of(tape.constant(0.1)) == Fraction(1, 10) and tape.value_of(tape.constant(0.25)) == Fraction(1, 4)
    assert tape.value_of(tape.constant(Fraction(1, 10)) + Fraction(2, 10)) == Fraction(3, 10)
    third = tape.constant(1 / 3)  # sixteen digits: it was computed, and stands for all reals near it
    assert tape.value_of(third) is None
    with ctx.workprec(200):
        ball = ball_values(tape, {})[third.index]
        assert ball.contains(arb(1) / 3) and ball.contains(arb(1 / 3) + 2.0**-54)
        assert not ball.contains(arb(1 / 3) + 2.0**-50)
    single = tape.constant(np.float32(0.1))
    assert ball_values(tape, {})[single.index].contains(arb("0.1"))


def test_difference_of_a_number_with_itself_is_exactly_zero():
    tape = Tape()
    x = tape.input("x", 0)
    assert tape.value_of(x.exp() - x.exp()) == 0


def test_a_difference_stays_where_it_may_be_undefined():
    tape = Tape()
    x = tape.input("x", 0)
    assert tape.value_of(x.log() - x.log()) is None and tape.value_of((x / x) * 0) is None


def test_comparisons_become_margins_and_branches_are_refused():
    _, out = _recorded(lambda x: x.norm() <= 1)
    assert isinstance(out.item(), Condition) and out.item().clauses[0][1] is False
    assert len(_recorded(lambda x: (x > 0).all())[1].item().margins) == 3
    assert _recorded(lambda x: x[0] < 1)[1].item().clauses[0][1] is True
    for branch in (
        lambda x: x.sum() if x.sum() > 0 else 0 * x[0],
        lambda x: x[0] if x[0] == 0.5 else x[1],
        lambda x: x[0] * float(x[1]),
        lambda x: torch.as_tensor(np.sin(x.detach().numpy())).sum(),
    ):
        with pytest.raises(NotTraceable, match="statement"):
            _recorded(branch)


def test_a_function_without_an_exact_form_is_named():
    with pytest.raises(NotTraceable, match="digamma"):
        _recorded(lambda x: torch.digamma(x).max())


def test_sympy_form_of_a_traced_side_is_the_formula():
    import sympy

    tape, out = _traced(lambda x, y: (x * y).sum() ** 2)
    (found,) = sympy_values(tape, [out.item().index], lambda n, k: sympy.Symbol(f"{n}{k}"))
    x0, x1, x2, y0, y1, y2 = sympy.symbols("x0 x1 x2 y0 y1 y2")
    assert sympy.expand(found - (x0 * y0 + x1 * y1 + x2 * y2) ** 2) == 0
