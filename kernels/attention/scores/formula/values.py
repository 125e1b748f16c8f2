"""Exact values of a formula at a logit, by mpmath; where a formula has none, the part that is to blame is named."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import mpmath
import sympy
from sympy import Expr

from attnlab.kernels.attention.scores.formula.parse import FormulaError, S

_MOST = 10**20  # exponents beyond: exp of an exponential
_DIGITS = 20000


class Undefined(FormulaError):
    """The formula has no finite real value there."""


def value(expr: Expr, s: Any) -> mpmath.mpf:
    """``expr`` at the logit ``s``, at mpmath's precision of the moment."""
    known: dict[Expr, mpmath.mpf] = {S: mpmath.mpf(s)}

    def of(e: Expr):
        if e not in known:
            known[e] = _one(e, [of(x) for x in e.args], s)
        return known[e]

    return of(expr)


def exact_value(expr: Expr, s: Any) -> mpmath.mpf:
    """``expr`` at ``s`` to 30 digits or more: the precision is doubled until terms that cancel leave enough of them."""
    digits = 60 + int(3 * min(abs(float(s)), 1000.0))
    with mpmath.workdps(digits):
        found = +value(expr, s)
    while not expr.is_number and digits < _DIGITS:
        digits = 2 * digits
        with mpmath.workdps(digits):
            better = +value(expr, s)
            if found != 0 and abs(found - better) <= abs(better) * mpmath.mpf(10) ** -30:
                break
            if s == 0 and better == 0:
                break
            found = better
    return found


def _one(e: Expr, args: list, s) -> mpmath.mpf:
    where = f"at s = {mpmath.nstr(mpmath.mpf(s), 6)}"
    if e.is_Number or e.is_NumberSymbol:
        return mpmath.mpf(e.p) / e.q if e.is_Rational else mpmath.mpf(sympy.N(e, mpmath.mp.dps + 10))
    if e.is_Add:
        return mpmath.fsum(args)
    if e.is_Mul:
        return mpmath.fprod(args)
    if e.is_Pow:
        base, power = args
        if base == 0 and power < 0:
            raise Undefined(f"it divides by {e.base}, which is 0 {where}")
        if base < 0 and not e.exp.is_Integer:
            raise Undefined(f"it takes a root of {e.base}, which is negative {where}")
        return mpmath.power(base, e.exp.p if e.exp.is_Integer else power)
    if isinstance(e, sympy.exp):
        if abs(args[0]) > _MOST:
            raise Undefined(f"exp({e.args[0]}) is beyond every floating-point number {where}")
        return mpmath.exp(args[0])
    if isinstance(e, sympy.log):
        if args[0] <= 0:
            raise Undefined(f"log({e.args[0]}) is not defined {where}, where its argument is {mpmath.nstr(args[0], 4)}")
        return mpmath.log(args[0])
    simple = {
        sympy.Abs: abs,
        sympy.sign: mpmath.sign,
        sympy.tanh: mpmath.tanh,
        sympy.sinh: mpmath.sinh,
        sympy.cosh: mpmath.cosh,
        sympy.Max: max,
        sympy.Min: min,
    }
    if type(e) in simple:
        return simple[type(e)](*args)
    raise FormulaError(f"{e.func} is not part of a formula")  # sympy made something of its own


def grid(breaks: Iterable[Any] = ()) -> list:
    """Logits of all sizes and both signs, and both sides of every break."""
    sizes = [mpmath.mpf(10) ** (mpmath.mpf(i) / 6) for i in range(-48, 13)] + [300, 800]
    near = [b + side * mpmath.mpf(10) ** -k for b in breaks for side in (-1, 1) for k in (1, 3, 6)]
    return sorted({mpmath.mpf(0), *sizes, *(-x for x in sizes), *map(mpmath.mpf, near)})
