"""A tape evaluated: in batches of float64, in balls with the derivatives of every output, and as sympy expressions.

Balls are rigorous: the exact value lies in the ball returned, whatever the rounding. Derivatives on a box are
enclosures of all derivatives there (of Clarke's generalised gradient at the kinks of abs, max and min), as the
mean-value form needs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import flint
from flint import arb

from attnlab.analysis.exact.tape import Tape


def torch_values(tape: Tape, outputs: Sequence[int], inputs: Mapping[str, Any]) -> list[Any]:
    """Float64 values of the outputs; ``inputs[name]`` is a tensor (batch, positions) and every result is (batch,)."""
    import torch

    some = next(iter(inputs.values()))
    like = torch.zeros(some.shape[0], dtype=torch.float64)
    functions = {
        "neg": torch.neg,
        "exp": torch.exp,
        "log": torch.log,
        "sqrt": torch.sqrt,
        "tanh": torch.tanh,
        "sigmoid": torch.sigmoid,
        "sin": torch.sin,
        "cos": torch.cos,
        "atan": torch.atan,
        "erf": torch.erf,
        "abs": torch.abs,
        "square": torch.square,
        "add": torch.add,
        "mul": torch.mul,
        "div": torch.div,
        "max": torch.maximum,
        "min": torch.minimum,
        "power": torch.pow,
    }
    values: list[Any] = []
    for op, args in tape.entries:
        if op == "input":
            values.append(inputs[args[0]][:, args[1]].to(torch.float64))
        elif op in ("constant", "rounded"):
            values.append(like + float(args[0]))
        elif op == "pi":
            values.append(like + torch.pi)
        else:
            values.append(functions[op](*(values[k] for k in args)))
    return [values[k] for k in outputs]


def ball_values(tape: Tape, inputs: Mapping[tuple[str, int], arb]) -> list[arb]:
    """Balls that contain every entry of the tape, at the current precision."""
    values: list[arb] = []
    for k, (op, args) in enumerate(tape.entries):
        if op == "input":
            value = inputs[args]
        elif op == "constant":
            value = exact_ball(args[0])
        elif op == "rounded":
            value = rounded_ball(float(args[0]))
        elif op == "pi":
            value = arb.pi()
        else:
            value = _BALLS[op](*(values[j] for j in args))
        values.append(value.nonnegative_part() if tape.nonnegative[k] else value)
    return values


def ball_gradient(tape: Tape, values: Sequence[arb], output: int) -> dict[tuple[str, int], arb]:
    """Balls that contain the derivative of one output by every input, by the chain rule backwards along the tape."""
    adjoint: list[arb | None] = [None] * (output + 1)
    adjoint[output] = arb(1)
    gradient: dict[tuple[str, int], arb] = {}
    for k in range(output, -1, -1):
        seed = adjoint[k]
        if seed is None:
            continue
        op, args = tape.entries[k]
        if op == "input":
            gradient[args] = seed
        elif op not in ("constant", "rounded", "pi"):
            slopes = _SLOPES[op](values[k], *(values[j] for j in args))
            for j, slope in zip(args, slopes, strict=True):
                step = seed if slope is None else seed * slope
                adjoint[j] = step if adjoint[j] is None else adjoint[j] + step
    return gradient


def sympy_values(tape: Tape, outputs: Sequence[int], symbol: Callable[[str, int], Any]) -> list[Any]:
    """The outputs as exact sympy expressions; ``symbol(name, position)`` gives the symbol of an input."""
    import sympy

    build = {
        "neg": lambda a: -a,
        "exp": sympy.exp,
        "log": sympy.log,
        "sqrt": sympy.sqrt,
        "tanh": sympy.tanh,
        "sigmoid": lambda a: 1 / (1 + sympy.exp(-a)),
        "sin": sympy.sin,
        "cos": sympy.cos,
        "atan": sympy.atan,
        "erf": sympy.erf,
        "abs": sympy.Abs,
        "square": lambda a: a**2,
        "add": lambda a, b: a + b,
        "mul": lambda a, b: a * b,
        "div": lambda a, b: a / b,
        "max": sympy.Max,
        "min": sympy.Min,
        "power": lambda a, b: a**b,
    }
    values: list[Any] = []
    for op, args in tape.entries:
        if op == "input":
            values.append(symbol(*args))
        elif op == "constant":
            values.append(sympy.Rational(args[0].numerator, args[0].denominator))
        elif op == "rounded":
            values.append(sympy.Rational(repr(float(args[0]))))
        elif op == "pi":
            values.append(sympy.pi)
        else:
            values.append(build[op](*(values[j] for j in args)))
    return [values[k] for k in outputs]


def exact_ball(value: Fraction | float | int) -> arb:
    """The ball of a rational or of a binary float; exact up to the current precision."""
    fraction = Fraction(value)
    return arb(flint.fmpq(fraction.numerator, fraction.denominator))


def rounded_ball(value: float) -> arb:
    """A ball around all reals that round to a float."""
    return arb(value, math.ulp(value) / 2)


def _increasing(function: Callable[[arb], arb]) -> Callable[[arb], arb]:
    """An increasing function on a ball, through its ends: much tighter than the ball of a wide argument."""

    def on_ball(x: arb) -> arb:
        return function(x) if x.is_exact() else function(x.lower()).union(function(x.upper()))

    return on_ball


def _sigmoid(x: arb) -> arb:
    return 1 / (1 + (-x).exp())


def _square(x: arb) -> arb:
    if x.is_exact():
        return x * x
    low, high = x.abs_lower(), x.abs_upper()
    return (low * low).union(high * high)


def _abs(x: arb) -> arb:
    return abs(x) if x.is_exact() else x.abs_lower().union(x.abs_upper())


def _power(x: arb, y: arb) -> arb:
    """``x ** y`` for x > 0 (or x = 0 with y > 0), through exp(y log x)."""
    if x.is_exact() and x == 0 and y > 0:
        return arb(0)
    if x.is_exact():
        return x**y
    if x.lower() == 0 and y > 0:
        return arb(0).union(_increasing(arb.exp)(y * x.upper().log()))  # increasing in x, from 0
    return _increasing(arb.exp)(y * _increasing(arb.log)(x))


def _log(x: arb) -> arb:
    return x.log() if x.is_exact() or not x > 0 else x.lower().log().union(x.upper().log())


def _sqrt(x: arb) -> arb:
    return x.sqrt() if x.is_exact() or not x.lower() >= 0 else x.lower().sqrt().union(x.upper().sqrt())


def _sign(x: arb) -> arb:
    if x > 0:
        return arb(1)
    if x < 0:
        return arb(-1)
    return arb(0, 1)


def _chosen(a: arb, b: arb) -> tuple[arb, arb]:
    """Slopes of max(a, b): which of the two is larger, or either where the balls overlap."""
    if a > b:
        return arb(1), arb(0)
    if a < b:
        return arb(0), arb(1)
    return arb(0.5, 0.5), arb(0.5, 0.5)


_BALLS: dict[str, Callable[..., arb]] = {
    "neg": lambda a: -a,
    "exp": _increasing(arb.exp),
    "log": _log,
    "sqrt": _sqrt,
    "tanh": _increasing(arb.tanh),
    "sigmoid": _increasing(_sigmoid),
    "sin": arb.sin,
    "cos": arb.cos,
    "atan": _increasing(arb.atan),
    "erf": _increasing(arb.erf),
    "abs": _abs,
    "square": _square,
    "add": lambda a, b: a + b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "max": lambda a, b: a.max(b),
    "min": lambda a, b: a.min(b),
    "power": _power,
}

_SLOPES: dict[str, Callable[..., tuple[arb | None, ...]]] = {
    "neg": lambda v, a: (arb(-1),),
    "exp": lambda v, a: (v,),
    "log": lambda v, a: (1 / a,),
    "sqrt": lambda v, a: (1 / (2 * v),),
    "tanh": lambda v, a: (1 - _square(v),),
    "sigmoid": lambda v, a: (v * (1 - v),),
    "sin": lambda v, a: (a.cos(),),
    "cos": lambda v, a: (-a.sin(),),
    "atan": lambda v, a: (1 / (1 + _square(a)),),
    "erf": lambda v, a: (2 * (-_square(a)).exp() / arb.pi().sqrt(),),
    "abs": lambda v, a: (_sign(a),),
    "square": lambda v, a: (2 * a,),
    "add": lambda v, a, b: (None, None),
    "mul": lambda v, a, b: (b, a),
    "div": lambda v, a, b: (1 / b, -v / b),
    "max": lambda v, a, b: _chosen(a, b),
    "min": lambda v, a, b: _chosen(-a, -b),
    "power": lambda v, a, b: (b * v / a, v * a.log()),
}
