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

from attnlab.analysis.exact.reading import read
from attnlab.analysis.exact.spectra import spectrum
from attnlab.analysis.exact.tape import EIGEN, LEAVES, Tape, operands


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
        "log1p": torch.log1p,
        "expm1": torch.expm1,
        "tan": torch.tan,
        "asin": torch.asin,
        "acos": torch.acos,
        "asinh": torch.asinh,
        "acosh": torch.acosh,
        "atanh": torch.atanh,
        "erf": torch.erf,
        "erfc": torch.erfc,
        "lgamma": torch.lgamma,
        "abs": torch.abs,
        "square": torch.square,
        "floor": torch.floor,
        "select_ge": lambda m, a, b: torch.where(m >= 0, a, b),
        "select_gt": lambda m, a, b: torch.where(m > 0, a, b),
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
            values.append(like + nearest_float(args[0]))
        elif op == "pi":
            values.append(like + torch.pi)
        elif op in EIGEN:
            rows = args[0]
            matrix = torch.stack([values[k] for k in operands(op, args)], dim=1).reshape(len(like), rows, -1)
            found = torch.linalg.eigvalsh(matrix) if op == "eigenvalue" else torch.linalg.svdvals(matrix)
            values.append(found[:, args[1] if op == "eigenvalue" else args[2]])
        else:
            function: Any = functions[op]
            values.append(function(*(values[k] for k in args)))
    return [values[k] for k in outputs] if outputs is not ALL else values


ALL: Sequence[int] = ()  # as ``outputs``: every entry


def ball_values(tape: Tape, inputs: Mapping[tuple[str, int], arb]) -> list[arb]:
    """Balls that contain every entry of the tape, at the current precision."""
    values: list[arb] = []
    for k, (op, args) in enumerate(tape.entries):
        if op == "input":
            value = inputs[args]
        elif op == "constant":
            value = exact_ball(args[0])
        elif op == "rounded":
            value = exact_ball(args[0]) + exact_ball(args[1]) * arb(0, 1)
        elif op == "pi":
            value = arb.pi()
        elif op in EIGEN:
            found = spectrum(op, args, [values[j] for j in operands(op, args)])
            value = _UNKNOWN if found is None else found
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
        elif op not in LEAVES:
            reads = operands(op, args)
            slopes = _SLOPES[op](values[k], *(values[j] for j in reads)) if op not in EIGEN else [_UNKNOWN] * len(reads)
            for j, slope in zip(reads, slopes, strict=True):
                step = seed if slope is None else seed * slope
                adjoint[j] = step if adjoint[j] is None else adjoint[j] + step
    return gradient


def sympy_values(tape: Tape, outputs: Sequence[int], symbol: Callable[[str, int], Any]) -> list[Any]:
    """The outputs as exact sympy expressions; ``symbol(name, position)`` gives the symbol of an input.

    A computed constant is a symbol as well, ``symbol("", entry)``: a proof must hold for every real it may stand for.
    """
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
        "log1p": lambda a: sympy.log(1 + a),
        "expm1": lambda a: sympy.exp(a) - 1,
        "tan": sympy.tan,
        "asin": sympy.asin,
        "acos": sympy.acos,
        "asinh": sympy.asinh,
        "acosh": sympy.acosh,
        "atanh": sympy.atanh,
        "erf": sympy.erf,
        "erfc": sympy.erfc,
        "lgamma": sympy.loggamma,
        "abs": sympy.Abs,
        "square": lambda a: a**2,
        "floor": sympy.floor,
        "select_ge": lambda m, a, b: sympy.Piecewise((a, m >= 0), (b, True)),
        "select_gt": lambda m, a, b: sympy.Piecewise((a, m > 0), (b, True)),
        "add": lambda a, b: a + b,
        "mul": lambda a, b: a * b,
        "div": lambda a, b: a / b,
        "max": sympy.Max,
        "min": sympy.Min,
        "power": lambda a, b: a**b,
    }
    values: list[Any] = []
    for k, (op, args) in enumerate(tape.entries):
        if op == "input":
            values.append(symbol(*args))
        elif op == "constant":
            values.append(sympy.Rational(args[0].numerator, args[0].denominator))
        elif op == "rounded":
            values.append(symbol("", k))
        elif op == "pi":
            values.append(sympy.pi)
        elif op in EIGEN:
            values.append(sympy.Symbol(f"{op}_{k}"))  # known by its name only: nothing is proved of it
        else:
            values.append(build[op](*(values[j] for j in args)))
    return [values[k] for k in outputs] if outputs is not ALL else values


def nearest_float(value: Fraction) -> float:
    """The float nearest to a rational; infinite where it is beyond their range."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def exact_ball(value: Fraction | float | int) -> arb:
    """The ball of a rational or of a binary float; exact up to the current precision."""
    fraction = Fraction(value)
    return arb(flint.fmpq(fraction.numerator, fraction.denominator))


def read_ball(value: Any) -> arb:
    """The ball of everything that a written number may stand for."""
    centre, radius = read(value)
    return exact_ball(centre) + exact_ball(radius) * arb(0, 1)


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


def _unary(function: Callable[[arb], arb], inside: Callable[[arb], bool]) -> Callable[[arb], arb]:
    """An increasing function through its ends, where the whole ball lies in its domain."""
    return lambda x: function(x) if x.is_exact() or not inside(x) else function(x.lower()).union(function(x.upper()))


def _floor(x: arb) -> arb:
    return x.lower().floor().union(x.upper().floor())


def _select(strict: bool) -> Callable[[arb, arb, arb], arb]:
    def on_balls(m: arb, a: arb, b: arb) -> arb:
        if (m > 0) if strict else (m >= 0):
            return a
        if (m <= 0) if strict else (m < 0):
            return b
        return a.union(b) if a.is_finite() and b.is_finite() and m.is_finite() else _UNKNOWN

    return on_balls


def _select_slopes(strict: bool) -> Callable[..., tuple[arb, arb, arb]]:
    """Slopes where one branch is certain; a jump has none."""

    def slopes(v: arb, m: arb, a: arb, b: arb) -> tuple[arb, arb, arb]:
        if (m > 0) if strict else (m >= 0):
            return arb(0), arb(1), arb(0)
        if (m <= 0) if strict else (m < 0):
            return arb(0), arb(0), arb(1)
        return _UNKNOWN, _UNKNOWN, _UNKNOWN

    return slopes


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


_UNKNOWN = arb("nan")

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
    "log1p": _unary(arb.log1p, lambda x: x > -1),
    "expm1": _increasing(arb.expm1),
    "tan": arb.tan,
    "asin": _unary(arb.asin, lambda x: -1 <= x <= 1),
    "acos": arb.acos,
    "asinh": _increasing(arb.asinh),
    "acosh": _unary(arb.acosh, lambda x: x >= 1),
    "atanh": _unary(arb.atanh, lambda x: -1 < x < 1),
    "erf": _increasing(arb.erf),
    "erfc": arb.erfc,
    "lgamma": arb.lgamma,
    "floor": _floor,
    "select_ge": _select(strict=False),
    "select_gt": _select(strict=True),
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
    "log1p": lambda v, a: (1 / (1 + a),),
    "expm1": lambda v, a: (a.exp(),),
    "tan": lambda v, a: (1 + _square(v),),
    "asin": lambda v, a: (1 / (1 - _square(a)).sqrt(),),
    "acos": lambda v, a: (-1 / (1 - _square(a)).sqrt(),),
    "asinh": lambda v, a: (1 / (1 + _square(a)).sqrt(),),
    "acosh": lambda v, a: (1 / (_square(a) - 1).sqrt(),),
    "atanh": lambda v, a: (1 / (1 - _square(a)),),
    "erf": lambda v, a: (2 * (-_square(a)).exp() / arb.pi().sqrt(),),
    "erfc": lambda v, a: (-2 * (-_square(a)).exp() / arb.pi().sqrt(),),
    "lgamma": lambda v, a: (a.digamma(),),
    "floor": lambda v, a: (arb(0) if v.is_exact() else _UNKNOWN,),
    "select_ge": _select_slopes(strict=False),
    "select_gt": _select_slopes(strict=True),
    "abs": lambda v, a: (_sign(a),),
    "square": lambda v, a: (2 * a,),
    "add": lambda v, a, b: (None, None),
    "mul": lambda v, a, b: (b, a),
    "div": lambda v, a, b: (1 / b, -v / b),
    "max": lambda v, a, b: _chosen(a, b),
    "min": lambda v, a, b: _chosen(-a, -b),
    "power": lambda v, a, b: (b * v / a, v * a.log()),
}
