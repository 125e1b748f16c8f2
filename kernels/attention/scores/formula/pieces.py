"""Where a formula changes its expression (|.|, sign, max, min), and the plain expression of each interval between."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import mpmath
import sympy
from sympy import Abs, Expr, Max, Min

from attnlab.kernels.attention.scores.formula.parse import FormulaError, S
from attnlab.kernels.attention.scores.formula.values import grid, value

MOST_BREAKS = 8


@dataclass(frozen=True)
class Interval:
    """Logits between two breaks (open); infinite ends are sympy's."""

    low: Expr
    high: Expr

    @property
    def side(self) -> int:
        """1 for positive logits, -1 for negative ones; zero is always a break."""
        return 1 if self.low >= 0 else -1

    @property
    def inside(self) -> Expr:
        """A logit in the interval."""
        if self.low == -sympy.oo:
            return self.high - 1
        return self.low + 1 if self.high == sympy.oo else (self.low + self.high) / 2

    def points(self) -> list:
        """Logits of the interval by which signs are told."""
        low, high = (None if abs(x) == sympy.oo else mpmath.mpf(sympy.N(x, 40)) for x in (self.low, self.high))
        found = [x for x in grid() if (low is None or x > low) and (high is None or x < high)]
        if low is not None and high is not None:
            found += [low + (high - low) * i / 8 for i in range(1, 8)]
        return found


def intervals(*exprs: Expr) -> list[Interval]:
    """The intervals on which all expressions are plain, in ascending order; zero is an end of two."""
    roots = {sympy.Integer(0)}
    for e in exprs:
        for switch in _switches(e):
            roots |= _roots(switch)
    if len(roots) > MOST_BREAKS:
        raise FormulaError(f"it changes its expression at {len(roots)} logits; at most {MOST_BREAKS} are supported")
    ends = [-sympy.oo, *sorted(roots), sympy.oo]
    return [Interval(a, b) for a, b in itertools.pairwise(ends)]


def plain(e: Expr, interval: Interval) -> Expr:
    """``e`` without |.|, sign, max and min, as it reads on the interval."""
    if not e.args:
        return e
    args = [plain(x, interval) for x in e.args]
    if isinstance(e, Abs):
        return args[0] * _sign(args[0], interval)
    if isinstance(e, sympy.sign):
        return sympy.Integer(_sign(args[0], interval))
    if isinstance(e, (Max, Min)):
        best = args[0]
        for x in args[1:]:
            first = _sign(best - x, interval) >= 0
            best = best if first == isinstance(e, Max) else x
        return best
    return e.func(*args)


def _switches(e: Expr) -> list[Expr]:
    found = []
    for node in sympy.preorder_traversal(e):
        if isinstance(node, (Abs, sympy.sign)):
            found.append(node.args[0])
        elif isinstance(node, (Max, Min)):
            found += [a - b for a, b in itertools.combinations(node.args, 2)]
    return found


def _roots(switch: Expr) -> set[Expr]:
    """Where ``switch`` changes sign: exactly if it is linear, else by bisection."""
    if not switch.has(Abs, Max, Min, sympy.sign):
        line = sympy.Poly(switch, S) if switch.is_polynomial(S) else None
        if line is not None and line.degree() <= 1:
            return {-line.coeff_monomial(1) / line.coeff_monomial(S)} if line.degree() == 1 else set()
    roots = set()
    with mpmath.workdps(60):
        points = [(x, mpmath.sign(value(switch, x))) for x in grid()]
        roots |= {sympy.Integer(0) for x, at in points if x == 0 and at == 0}
        points = [(x, at) for x, at in points if at != 0]
        for (a, at_a), (b, at_b) in itertools.pairwise(points):
            if at_a == at_b:
                continue
            while b - a > mpmath.mpf(10) ** -50 * max(1, abs(a)):
                mid = (a + b) / 2
                a, b = (mid, b) if mpmath.sign(value(switch, mid)) == at_a else (a, mid)
            roots.add(sympy.Integer(0) if abs(b) < mpmath.mpf(10) ** -40 else _nice(b))
    return roots


def _nice(x) -> Expr:
    """A short fraction if the root is one, else its digits."""
    short = sympy.Rational(str(mpmath.nstr(x, 30))).limit_denominator(1000)
    return (
        short if abs(mpmath.mpf(short.p) / short.q - x) < mpmath.mpf(10) ** -25 else sympy.Rational(mpmath.nstr(x, 40))
    )


def _sign(e: Expr, interval: Interval) -> int:
    """The sign of ``e`` on the interval, 0 if it vanishes there."""
    if e.is_number:
        return int(sympy.sign(e))
    with mpmath.workdps(120):
        signs = {int(mpmath.sign(value(e, x))) for x in interval.points()} - {0}
    if len(signs) > 1:
        raise FormulaError(
            f"the sign of {e} changes between {interval.low} and {interval.high} in a way that was not found"
        )
    return signs.pop() if signs else 0
