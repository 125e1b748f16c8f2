"""The exact form of torch's operations on entries; parameters are named as in torch's schemas."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from attnlab.analysis.exact import arrays as ar
from attnlab.analysis.exact.arrays import each, infinite, lift, op
from attnlab.analysis.exact.reading import read
from attnlab.analysis.exact.tape import NotTraceable, Tape

HALF = Fraction(1, 2)


def exact(value: Any) -> Any:
    """A Python number of an argument as it is read; infinities stay."""
    if isinstance(value, float) and not math.isfinite(value):
        return value
    centre, radius = read(value)
    return value if radius else centre


def unary(name: str) -> Callable[..., Any]:
    return lambda tape, self: each(tape, op(name), self)


def formula(function: Callable[[Any], Any]) -> Callable[..., Any]:
    """A formula of one entry."""
    return lambda tape, self: each(tape, function, self)


def add(tape: Tape, self: Any, other: Any, alpha: Any = 1) -> Any:
    return each(tape, op("add"), self, other if alpha == 1 else each(tape, op("mul"), other, exact(alpha)))


def sub(tape: Tape, self: Any, other: Any, alpha: Any = 1) -> Any:
    return each(tape, op("add"), self, each(tape, op("mul"), other, -exact(alpha)))


def rsub(tape: Tape, self: Any, other: Any, alpha: Any = 1) -> Any:
    return sub(tape, other, self, alpha)


def mul(tape: Tape, self: Any, other: Any) -> Any:
    return each(tape, op("mul"), self, other)


def div(tape: Tape, self: Any, other: Any, rounding_mode: Any = None) -> Any:
    quotient = each(tape, op("div"), self, other)
    if rounding_mode is None:
        return quotient
    if rounding_mode == "floor":
        return each(tape, op("floor"), quotient)
    return each(tape, truncated, quotient)


def remainder(tape: Tape, self: Any, other: Any) -> Any:
    return each(tape, lambda a, b: a - (a / b).apply("floor") * b, self, other)


def fmod(tape: Tape, self: Any, other: Any) -> Any:
    return each(tape, lambda a, b: a - truncated(a / b) * b, self, other)


def truncated(x: Any) -> Any:
    return x.tape.select(x >= 0, x.apply("floor"), -((-x).apply("floor")))


def _rounded(x: Any) -> Any:
    """To the nearest whole number, halves to the even one."""
    tape, up = x.tape, (x + HALF).apply("floor")
    tie = up - x == HALF
    odd = (up * HALF).apply("floor") * 2 != up
    return tape.select(tie & odd, up - 1, up)


def rounded(tape: Tape, self: Any, decimals: int = 0) -> Any:
    scale = Fraction(10) ** decimals
    return each(tape, lambda x: _rounded(x * scale) / scale, self)


def power(tape: Tape, self: Any, exponent: Any) -> Any:
    exponent = exponent if isinstance(exponent, np.ndarray) else exact(exponent)
    return each(tape, lambda a, b: a**b, self, exponent)


def clamp(tape: Tape, self: Any, min: Any = None, max: Any = None) -> Any:
    out = self
    if min is not None:
        out = each(tape, op("max"), out, min)
    return out if max is None else each(tape, op("min"), out, max)


def where(tape: Tape, condition: Any, self: Any, other: Any) -> Any:
    return choose(tape, condition, self, other)


def choose(tape: Tape, condition: Any, a: Any, b: Any) -> Any:
    """Entries of a where the condition holds and of b elsewhere; a masked branch may be infinite if the mask is known."""
    conditions, a, b = ar.as_objects(condition), ar.as_objects(a), ar.as_objects(b)
    shape = np.broadcast_shapes(conditions.shape, a.shape, b.shape)
    wide = [np.broadcast_to(x, shape) for x in (conditions, a, b)]
    out = np.empty(shape, dtype=object)
    for index in np.ndindex(shape):
        c: Any = wide[0][index]
        u, v = wide[1][index], wide[2][index]
        if isinstance(c, (bool, np.bool_)):
            out[index] = lift(tape, u if c else v)
            continue
        u, v = lift(tape, u), lift(tape, v)
        if infinite(u) or infinite(v):
            raise NotTraceable("a condition on computed values chooses an infinite number")
        out[index] = tape.select(c, u, v)
    return out


def masked_fill(tape: Tape, self: Any, mask: Any, value: Any) -> Any:
    return choose(tape, mask, value, self)


def compare(name: str) -> Callable[..., Any]:
    relation = {
        "lt": lambda a, b: a < b,
        "le": lambda a, b: a <= b,
        "gt": lambda a, b: a > b,
        "ge": lambda a, b: a >= b,
        "eq": lambda a, b: a == b,
        "ne": lambda a, b: a != b,
    }[name]

    def one(a: Any, b: Any) -> Any:
        if infinite(a) or infinite(b):
            return bool(relation(*(v if infinite(v) else 0.0 for v in (a, b))))
        found = relation(a, b)
        values = [a.tape.value_of(m) for m in found.margins]
        if all(v is not None for v in values):
            return all(v > 0 or (v == 0 and not s) for v, (_, s) in zip(values, found.clauses, strict=True))
        return found

    one.takes_infinity = True  # type: ignore[attr-defined]
    return lambda tape, self, other: each(tape, one, self, other)


def logical(name: str) -> Callable[..., Any]:
    function = {"and": lambda a, b: a & b, "or": lambda a, b: a | b, "xor": lambda a, b: (a & ~b) | (~a & b)}[name]

    def on_arrays(tape: Tape, self: Any, other: Any) -> Any:
        return _boolwise(function, self, other)

    return on_arrays


def logical_not(tape: Tape, self: Any) -> Any:
    return _boolwise(lambda a: (not a) if isinstance(a, bool) else ~a, self)


def _boolwise(function: Callable[..., Any], *operands: Any) -> Any:
    arrays = [ar.as_objects(x) for x in operands]
    shape = np.broadcast_shapes(*(x.shape for x in arrays))
    out = np.empty(shape, dtype=object)
    for index in np.ndindex(shape):
        values = [np.broadcast_to(x, shape)[index] for x in arrays]
        values = [bool(v) if isinstance(v, np.bool_) else v for v in values]
        if any(not isinstance(v, (bool, ar.Condition)) for v in values):
            raise NotTraceable("a logical operation on numbers")
        out[index] = function(*values)
    return out


def sign(tape: Tape, self: Any) -> Any:
    return each(
        tape,
        lambda x: tape.select(x > 0, tape.constant(1), tape.select(x < 0, tape.constant(-1), tape.constant(0))),
        self,
    )


def heaviside(tape: Tape, self: Any, values: Any) -> Any:
    return each(
        tape, lambda x, v: tape.select(x > 0, tape.constant(1), tape.select(x < 0, tape.constant(0), v)), self, values
    )


def leaky_relu(tape: Tape, self: Any, negative_slope: Any = 0.01) -> Any:
    slope = exact(negative_slope)
    if 0 <= slope <= 1:
        return each(tape, lambda x: tape.apply("max", x, x * slope), self)
    return each(tape, lambda x: tape.select(x > 0, x, x * slope), self)


def elu(tape: Tape, self: Any, alpha: Any = 1, scale: Any = 1, input_scale: Any = 1) -> Any:
    a, s, i = exact(alpha), exact(scale), exact(input_scale)
    return each(tape, lambda x: tape.select(x > 0, x * s, ((x * i).apply("expm1") * a) * s), self)


def celu(tape: Tape, self: Any, alpha: Any = 1.0) -> Any:
    a = exact(alpha)
    return each(tape, lambda x: tape.select(x > 0, x, (x / a).apply("expm1") * a), self)


def gelu(tape: Tape, self: Any, approximate: str = "none") -> Any:
    if approximate == "none":
        return each(tape, lambda x: x * HALF * (1 + (x / tape.constant(2).sqrt()).apply("erf")), self)
    root = (tape.constant(2) / tape.pi()).sqrt()
    cubic = Fraction("0.044715")
    return each(tape, lambda x: x * HALF * (1 + (root * (x + cubic * x**3)).apply("tanh")), self)


def softplus(tape: Tape, self: Any, beta: Any = 1, threshold: Any = 20) -> Any:
    """``log(1 + exp(beta x)) / beta``, and x itself where beta x exceeds the threshold."""
    b, t = exact(beta), exact(threshold)

    def one(x: Any) -> Any:
        y = x * b
        return tape.select(y > t, x, y.exp().apply("log1p") / b)

    return each(tape, one, self)


def hardtanh(tape: Tape, self: Any, min_val: Any = -1, max_val: Any = 1) -> Any:
    return clamp(tape, self, min_val, max_val)


def relu6(x: Any) -> Any:
    return x.tape.apply("min", x.tape.apply("max", x + 3, x.tape.constant(0)), x.tape.constant(6)) * Fraction(1, 6)


def threshold(tape: Tape, self: Any, threshold: Any, value: Any) -> Any:
    return each(tape, lambda x, t, v: tape.select(x > t, x, v), self, exact(threshold), exact(value))


def hardshrink(tape: Tape, self: Any, lambd: Any = 0.5) -> Any:
    return each(tape, lambda x: tape.select(abs(x) > exact(lambd), x, tape.constant(0)), self)


def softshrink(tape: Tape, self: Any, lambd: Any = 0.5) -> Any:
    t = exact(lambd)
    zero = tape.constant(0)
    return each(tape, lambda x: tape.apply("max", x - t, zero) + tape.apply("min", x + t, zero), self)


def log_sigmoid(x: Any) -> Any:
    return -((-x).exp().apply("log1p"))


def log_sigmoid_forward(tape: Tape, self: Any) -> Any:
    return each(tape, log_sigmoid, self), ar.as_objects(np.zeros(0))


def addcmul(tape: Tape, self: Any, tensor1: Any, tensor2: Any, value: Any = 1) -> Any:
    return add(tape, self, mul(tape, mul(tape, tensor1, tensor2), exact(value)))


def addcdiv(tape: Tape, self: Any, tensor1: Any, tensor2: Any, value: Any = 1) -> Any:
    return add(tape, self, mul(tape, div(tape, tensor1, tensor2), exact(value)))


def lerp(tape: Tape, self: Any, end: Any, weight: Any) -> Any:
    return each(tape, lambda a, b, w: a + w * (b - a), self, end, weight)


def xlogy(tape: Tape, self: Any, other: Any) -> Any:
    zero = tape.constant(0)

    def one(x: Any, y: Any) -> Any:
        value = tape.value_of(x)
        return zero if value == 0 else x * y.log() if value is not None else tape.select(x == 0, zero, x * y.log())

    return each(tape, one, self, other)


def entropy_of(tape: Tape, self: Any) -> Any:
    return each(tape, lambda x: tape.select(x == 0, tape.constant(0), -x * x.log()), self)


def logaddexp(tape: Tape, self: Any, other: Any) -> Any:
    return each(tape, lambda a, b: a + (b - a).exp().apply("log1p"), self, other)


def atan2(tape: Tape, self: Any, other: Any) -> Any:
    return each(tape, lambda y, x: arc_tangent(y, x, at_origin=0), self, other)


def arc_tangent(y: Any, x: Any, at_origin: Any) -> Any:
    """The angle of the point (x, y); where x = y = 0 it is ``at_origin``, or has no value."""
    tape, half = x.tape, x.tape.pi() / 2
    if tape.positive[x.index]:
        return (y / x).apply("atan")
    if tape.value_of(y) == 0:
        along = [(x > 0, tape.constant(0)), (x < 0, tape.pi())]
    elif tape.value_of(x) == 0:
        along = [(y > 0, half), (y < 0, -half)]
    else:
        along = [(x > 0, (y / x).apply("atan")), (y > 0, half - (x / y).apply("atan"))]
        along += [(y < 0, -half - (x / y).apply("atan")), (x < 0, tape.pi())]
    origin = tape.constant(0) if at_origin is None else tape.constant(at_origin)
    if at_origin is None:  # undefined there, and nowhere else
        origin = tape.apply("log", -abs(y) - abs(x))
    for condition, value in reversed(along):
        origin = tape.select(condition, value, origin)
    return origin
