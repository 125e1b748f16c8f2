"""Proofs of ``upper - lower >= 0`` with sympy, by a few strategies that are each exact.

Exponentials become positive variables; a quotient is factored, and every factor must have a sign: an even power, a
polynomial with coefficients of one sign, a quadratic with non-positive discriminant, Sturm's root count on an
interval, Bernstein coefficients on a box. A norm on the larger side is squared. A function of one variable may also
be followed through its derivatives. What no strategy proves is left undecided. Runs as a process: JSON in, JSON out.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Sequence
from fractions import Fraction
from functools import partial
from math import comb, lcm
from typing import Any

import sympy
from sympy import Expr, Poly, Rational, Symbol
from sympy.core.function import Application

from attnlab.analysis.exact.tape import Tape
from attnlab.analysis.exact.values import sympy_values

MAX_TERMS = 400
SPLITS = 5  # halvings of a box for Bernstein coefficients
SMOOTH = frozenset(  # where defined, between points where they are defined
    {
        *(sympy.exp, sympy.log, sympy.sin, sympy.cos, sympy.tan, sympy.asin, sympy.acos, sympy.atan, sympy.sinh),
        *(sympy.cosh, sympy.tanh, sympy.asinh, sympy.acosh, sympy.atanh, sympy.erf, sympy.erfc, sympy.loggamma),
    }
)

Ends = dict[Symbol, tuple[Expr, Expr]]


def prove_all(statements: Sequence[dict[str, Any]]) -> tuple[bool, str]:
    """Whether every inequality of every case is proved, and by what (or which one is not)."""
    how: list[str] = []
    for statement in statements:
        tape, ends = _rebuild(statement)
        symbols = {str(s): s for s in ends}
        for k in statement["partial"]:
            missing = _undefined(tape, k, symbols, ends)
            if missing:
                return False, missing
        for low, up in dict.fromkeys(zip(statement["lower"], statement["upper"], strict=True)):
            op, args = tape.entries[low]
            vanish = op == "abs" and tape.entries[up] == ("constant", (Fraction(0),))  # an exact identity
            lower, upper = sympy_values(tape, [args[0] if vanish else low, up], partial(_symbol, symbols))
            found = prove_zero(lower) if vanish else prove(lower, upper, ends)
            if not found:
                return False, f"sympy finds no proof of {_short(lower)} {'== 0' if vanish else '<= ' + _short(upper)}"
            how.append(found)
    return True, "proved by " + ", ".join(dict.fromkeys(how))


def _undefined(tape: Tape, k: int, symbols: dict[str, Symbol], ends: Ends) -> str:
    """Why an entry may be undefined somewhere on the box, or an empty string if it is shown to be defined."""
    op, args = tape.entries[k]
    values = sympy_values(tape, list(args), partial(_symbol, symbols))
    first, last = values[0], values[-1]
    if op == "div":
        return "" if positive(last, ends) or positive(-last, ends) else f"the divisor {_short(last)} may vanish"
    if op in ("log", "lgamma"):
        return "" if positive(first, ends) else f"{_short(first)} may not be positive, where {op} has no value"
    if op == "log1p":
        return "" if positive(1 + first, ends) else f"1 + {_short(first)} may not be positive, where log has no value"
    if op == "sqrt":
        return "" if nonnegative(first, ends) else f"{_short(first)} may be negative, where sqrt has no value"
    if op == "power" and (positive(first, ends) or (nonnegative(first, ends) and positive(last, ends))):
        return ""
    if op in ("asin", "acos") and nonnegative(1 - first, ends) and nonnegative(1 + first, ends):
        return ""
    if op == "atanh" and positive(1 - first, ends) and positive(1 + first, ends):
        return ""
    if op == "acosh" and nonnegative(first - 1, ends):
        return ""
    return f"{op} of {_short(first)} is not shown to be defined on the whole domain"


def positive(expression: Expr, ends: Ends) -> bool:
    """Whether an expression is shown to be > 0 on the box: by its form, or by staying away from zero."""
    if expression.is_positive or sympy.expand(expression).is_positive:
        return True
    return any(
        nonnegative(expression - c, ends) for c in (Rational(1), Rational(1, 10), Rational(1, 1000), Rational(1, 10**6))
    )


def _symbol(symbols: dict[str, Symbol], name: str, k: int) -> Symbol:
    return symbols[_name(name, k)]


def prove_zero(expression: Expr) -> str:
    """How an expression is shown to vanish identically, or an empty string."""
    for name, step in (
        ("expansion", sympy.expand),
        ("simplification", sympy.simplify),
        ("exponentials", lambda e: sympy.simplify(e.rewrite(sympy.exp))),
    ):
        if step(expression) == 0:
            return name
    return ""


def prove(lower: Expr, upper: Expr, ends: Ends) -> str:
    """How ``lower <= upper`` is shown on the box, or an empty string."""
    gap = upper - lower
    found = nonnegative(gap, ends)
    if found:
        return found
    if gap.has(sympy.Pow, sympy.Abs) and not _rational_form(gap, ends) and _manifestly_nonnegative(upper, ends):
        found = nonnegative(sympy.expand(upper**2 - lower**2), ends)
        if found:
            return f"squaring both sides and {found}"
    if len(gap.free_symbols) == 1:
        (x,) = gap.free_symbols
        if _by_derivatives(gap, x, *ends[x], depth=3):
            return "signs of derivatives"
    return ""


def nonnegative(expression: Expr, ends: Ends) -> str:
    """How an expression is shown to be >= 0 on the box, or an empty string."""
    if expression.is_nonnegative or sympy.expand(expression).is_nonnegative:
        return "assumptions of its symbols"
    form = _rational_form(expression, ends)
    if form is None:
        return ""
    quotient, ends = form
    numerator, denominator = sympy.fraction(sympy.together(quotient))
    return "factoring" if _sign(numerator, ends) * _sign(denominator, ends) > 0 else ""


def _rebuild(statement: dict[str, Any]) -> tuple[Tape, Ends]:
    tape = Tape()
    for op, *args in statement["entries"]:
        tape.entries.append((op, tuple(map(Fraction, args)) if op in ("constant", "rounded") else tuple(args)))
    ends: Ends = {}
    for name, k, low, high in statement["ends"]:
        a = -sympy.oo if low is None else Rational(low)
        b = sympy.oo if high is None else Rational(high)
        sign = {"positive": True} if a > 0 else {"nonnegative": True} if a >= 0 else {"real": True}
        ends[Symbol(_name(name, k), **sign)] = a, b
    return tape, ends


def _name(name: str, k: int) -> str:
    return f"{name}_{k}"


def _short(expression: Expr) -> str:
    text = str(expression)
    return text if len(text) <= 60 else text[:57] + "..."


def _manifestly_nonnegative(expression: Expr, ends: Ends) -> bool:
    return bool(expression.is_nonnegative) or bool(nonnegative(expression, ends))


def _rational_form(expression: Expr, ends: Ends) -> tuple[Expr, Ends] | None:
    """The expression as a quotient of polynomials, exponentials of linear forms replaced by positive symbols."""
    e = expression.rewrite(sympy.exp) if expression.has(sympy.tanh, sympy.sinh, sympy.cosh) else expression
    e = sympy.expand(e, power_exp=False, mul=False, multinomial=False, basic=False) if e.has(sympy.exp) else e
    powers = [p for p in e.atoms(sympy.exp)]
    out = dict(ends)
    if powers:
        forms = [
            sympy.Poly(sympy.expand(p.args[0]), *ends) if sympy.expand(p.args[0]).is_polynomial(*ends) else None
            for p in powers
        ]
        if any(f is None or f.total_degree() > 1 or not all(c.is_Rational for c in f.coeffs()) for f in forms):
            return None
        used = sorted(set().union(*(p.free_symbols for p in powers)), key=str)
        scale = lcm(*(int(c.q) for f in forms for c in f.coeffs()))
        roots = {x: Symbol(f"exp_{x}", positive=True) for x in used}
        base = Symbol("exp_1", positive=True)
        swap = {}
        for p, f in zip(powers, forms, strict=True):
            terms = [roots[x] ** int(f.coeff_monomial(x) * scale) for x in used]
            constant = f.coeff_monomial(1)
            swap[p] = sympy.prod(terms) * (base ** int(constant * scale) if constant else 1)
            if constant:
                out[base] = sympy.Integer(0), sympy.oo  # only its sign is used
        e = e.xreplace(swap)
        if e.free_symbols & set(used):
            return None
        out.update({root: (sympy.Integer(0), sympy.oo) for root in roots.values()})
    if not e.is_rational_function(*out):
        return None
    return e, {s: out[s] for s in e.free_symbols if s in out}


def _sign(expression: Expr, ends: Ends) -> int:
    """1 if >= 0 on the box, -1 if <= 0, 0 if unknown: the product of the signs of its factors."""
    if expression.is_number:
        return 1 if expression >= 0 else -1
    symbols = sorted(expression.free_symbols, key=str)
    poly = Poly(expression, *symbols)
    if len(poly.terms()) > MAX_TERMS or not all(c.is_Rational for c in poly.coeffs()):
        return 0
    constant, factors = poly.factor_list()
    sign = 1 if constant > 0 else -1
    for factor, power in factors:
        if power % 2 == 0:
            continue
        one = _sign_of_polynomial(factor, ends)
        if one == 0:
            return 0
        sign *= one
    return sign


def _sign_of_polynomial(poly: Poly, ends: Ends) -> int:
    for sign, p in ((1, poly), (-1, -poly)):
        if _nonnegative_polynomial(p, ends, depth=3):
            return sign
    return 0


def _nonnegative_polynomial(poly: Poly, ends: Ends, depth: int) -> bool:
    poly = Poly(poly.as_expr(), *sorted(poly.free_symbols, key=str)) if poly.free_symbols else poly
    if poly.is_ground or not poly.free_symbols:
        return bool(poly.as_expr() >= 0)
    shifted = _shifted(poly, ends)
    if all(c >= 0 for m, c in shifted.terms()) and all(s.is_nonnegative or _even(shifted, s) for s in shifted.gens):
        return True
    if len(poly.gens) == 1:
        return _sturm(poly, *ends[poly.gens[0]])
    if (
        len(poly.gens) <= 4
        and all(a.is_Rational and b.is_Rational for a, b in (ends[s] for s in poly.gens))
        and _bernstein(poly, ends)
    ):
        return True
    return depth > 0 and len(poly.terms()) <= MAX_TERMS and any(_as_quadratic(poly, x, ends, depth) for x in poly.gens)


def _even(poly: Poly, symbol: Symbol) -> bool:
    k = poly.gens.index(symbol)
    return all(m[k] % 2 == 0 for m, _ in poly.terms())


def _shifted(poly: Poly, ends: Ends) -> Poly:
    """The polynomial in t = x - low (or high - x), which is >= 0, where an end is finite."""
    swap = {}
    for s in poly.gens:
        low, high = ends[s]
        t = Symbol(f"t_{s}", nonnegative=True)
        if low.is_Rational:
            swap[s] = low + t
        elif high.is_Rational:
            swap[s] = high - t
    if not swap:
        return poly
    e = sympy.expand(poly.as_expr().xreplace(swap))
    return Poly(e, *sorted(e.free_symbols, key=str)) if e.free_symbols else Poly(e, *poly.gens)


def _sturm(poly: Poly, low: Expr, high: Expr) -> bool:
    """No sign change of a univariate polynomial with simple roots inside (low, high), and a positive value there."""
    a = None if low is -sympy.oo else low
    b = None if high is sympy.oo else high
    inside = poly.count_roots(a, b) - sum(1 for end in {a, b} if end is not None and poly.eval(end) == 0)
    if inside:
        return False
    middle = (
        (a + b) / 2
        if a is not None and b is not None
        else a + 1
        if a is not None
        else b - 1
        if b is not None
        else sympy.Integer(0)
    )
    return bool(poly.eval(middle) >= 0)


def _as_quadratic(poly: Poly, x: Symbol, ends: Ends, depth: int) -> bool:
    """a x^2 + b x + c with a >= 0, c >= 0 and 4 a c - b^2 >= 0 wherever the other variables are."""
    in_x = Poly(poly.as_expr(), x)
    if in_x.degree() != 2:
        return False
    a, b, c = (in_x.coeff_monomial(x**k) for k in (2, 1, 0))
    rest = [a, c, sympy.expand(4 * a * c - b**2)]
    return all((e.is_number and e >= 0) or (not e.is_number and _sign_at_depth(e, ends, depth - 1)) for e in rest)


def _sign_at_depth(expression: Expr, ends: Ends, depth: int) -> bool:
    constant, factors = Poly(expression, *sorted(expression.free_symbols, key=str)).factor_list()
    odd = [f for f, power in factors if power % 2]
    return bool(constant > 0) and all(_nonnegative_polynomial(f, ends, depth) for f in odd)


def _bernstein(poly: Poly, ends: Ends) -> bool:
    """Non-negative Bernstein coefficients on the box, after up to ``SPLITS`` halvings."""
    boxes = [([ends[s] for s in poly.gens], 0)]
    while boxes:
        box, level = boxes.pop()
        if min(_bernstein_coefficients(poly, box)) >= 0:
            continue
        if level == SPLITS or poly.eval(tuple((a + b) / 2 for a, b in box)) < 0:
            return False
        k = level % len(box)
        a, b = box[k]
        middle = (a + b) / 2
        boxes += [([*box[:k], half, *box[k + 1 :]], level + 1) for half in ((a, middle), (middle, b))]
    return True


def _bernstein_coefficients(poly: Poly, box: Sequence[tuple[Expr, Expr]]) -> list[Expr]:
    t = [Symbol(f"t{k}") for k in range(len(box))]
    unit = Poly(
        sympy.expand(
            poly.as_expr().xreplace({s: a + (b - a) * u for s, (a, b), u in zip(poly.gens, box, t, strict=True)})
        ),
        *t,
    )
    degrees = [max(d, 0) for d in unit.degree_list()]
    terms = dict(unit.terms())
    out = []
    for index in itertools.product(*(range(d + 1) for d in degrees)):
        total = sympy.Integer(0)
        for power in itertools.product(*(range(i + 1) for i in index)):
            weight = Rational(1)
            for i, j, d in zip(index, power, degrees, strict=True):
                weight *= Rational(comb(i, j), comb(d, j))
            total += weight * terms.get(power, 0)
        out.append(total)
    return out


def _by_derivatives(gap: Expr, x: Symbol, low: Expr, high: Expr, depth: int) -> bool:
    """g >= 0 on [low, high] by its value at one point and the signs of g' to both sides of it."""
    if depth == 0 or not _smooth(gap, {x: (low, high)}):
        return False
    slope = sympy.simplify(sympy.diff(gap, x))
    starts = dict.fromkeys([low, high, sympy.Integer(0), sympy.Integer(1)])
    for c in starts:
        if not (c.is_Rational and low <= c <= high):
            continue
        value = gap.subs(x, c)
        if not (value.is_nonnegative or sympy.simplify(value).is_nonnegative):
            continue
        if _keeps_sign(slope, x, c, high, depth - 1) and _keeps_sign(-slope, x, low, c, depth - 1):
            return True
    return False


def _smooth(expression: Expr, ends: Ends) -> bool:
    """Differentiable on the whole interval: no cases, kinks or jumps, and every denominator, root and logarithm has an
    argument bounded away from zero."""
    if any(type(f) not in SMOOTH for f in expression.atoms(Application)):
        return False
    inner = [
        p.base for p in expression.atoms(sympy.Pow) if not (p.exp.is_Integer and p.exp >= 0) and p.base.free_symbols
    ]
    inner += [f.args[0] for f in expression.atoms(sympy.log)]
    if any(p.exp.free_symbols for p in expression.atoms(sympy.Pow) if not isinstance(p, sympy.exp)):
        return False
    gaps = (Rational(1), Rational(1, 10), Rational(1, 1000))
    return all((e.is_positive and e.is_number) or any(nonnegative(e - c, ends) for c in gaps) for e in inner)


def _keeps_sign(expression: Expr, x: Symbol, low: Expr, high: Expr, depth: int) -> bool:
    """The expression is >= 0 on [low, high]."""
    if low == high:
        return True
    sign = (
        {"positive": True}
        if low > 0
        else {"nonnegative": True}
        if low >= 0
        else {"negative": True}
        if high < 0
        else ({"nonpositive": True} if high <= 0 else {"real": True})
    )
    y = Symbol(str(x), **sign)
    expression = expression.subs(x, y)
    return bool(nonnegative(expression, {y: (low, high)})) or _by_derivatives(expression, y, low, high, depth)


def main() -> None:
    """Read statements from standard input, write the answer to standard output."""
    proved, reason = prove_all(json.load(sys.stdin))
    json.dump({"proved": proved, "reason": reason}, sys.stdout)


if __name__ == "__main__":
    main()
