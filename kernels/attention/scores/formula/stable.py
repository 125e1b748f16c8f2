r"""A plain expression on one side of zero, with its growth taken out, so that what is left can neither overflow nor vanish.

With x = \|s\|, exponentials of multiples of s are powers of T = e^{-q x}, those of one non-linear P(s) powers of
W = e^{-\|P\|}. Logarithms and roots have their powers of T and W taken out, and log(1 + u) is u times a bounded function
of u. The expression then is T^n W^k R with R bounded by powers of x: the exponent E = -(n q x + k \|P\|) is what a row
subtracts its level from, and R is what is computed beside it. 1 - T is a function of its own, exact near zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import sympy
from sympy import Dummy, Expr, Function, Integer, Rational, Symbol, exp, log

from attnlab.kernels.attention.scores.formula.parse import FormulaError, S
from attnlab.kernels.attention.scores.formula.pieces import Interval

X = Symbol("x", positive=True)  # |s|
T = Symbol("T", positive=True)  # exp(-q x)
M = Symbol("M", positive=True)  # 1 - T


class Log1pOver(Function):
    """log(1 + u) / u."""


class Root(Function):
    """Root(x, p) = x^p for x >= 0 and a fraction p."""


class Bounded(Function):
    """exp of a bounded argument."""


@dataclass(frozen=True)
class Scaled:
    """T^n W^k R."""

    n: Expr
    k: Expr
    rest: Expr


class Side:
    """Expressions on one interval: ``q`` the common rate of exponentials, ``wild`` the non-linear P in x, if there is one."""

    def __init__(self, interval: Interval, q: Expr, exprs: list[Expr]) -> None:
        self.interval, self.q = interval, q
        self.wild: Expr | None = None
        self.decays = Symbol("Wp" if interval.side > 0 else "Wm", positive=True)
        for e in exprs:
            for argument in _exponents(e):
                self._note(self.of_x(argument))

    def of_x(self, e: Expr) -> Expr:
        return e.subs(S, self.interval.side * X)

    def _note(self, argument: Expr) -> None:
        """Remember a non-linear polynomial exponent."""
        argument = sympy.expand(argument)
        if not argument.is_polynomial(X) or sympy.Poly(argument, X).degree() <= 1:
            return
        form = sympy.Poly(argument, X)
        form = form.as_expr() if form.LC() > 0 else -form.as_expr()  # tends to plus infinity
        if self.wild is None:
            self.wild = form
        elif not (form / self.wild).cancel().is_Rational:
            raise FormulaError(
                f"it has exponentials of both {self.wild} and {form} (x = |s|), which no one level can stabilise"
            )
        elif (form / self.wild).cancel() < 1:
            self.wild = form

    def scaled(self, e: Expr) -> Scaled | None:
        """``e`` in s as T^n W^k R; None if it is zero."""
        rational, atoms = self._convert(self.of_x(e))
        num, den = sympy.fraction(sympy.cancel(sympy.together(rational)))
        if num == 0:
            return None
        (n1, k1, num), (n2, k2, den) = self._lowest(num), self._lowest(den)
        rest = _with_difference(num) / _with_difference(den)
        while any(d in rest.free_symbols for d in atoms):
            rest = rest.subs(atoms)
        return Scaled(n1 - n2, k1 - k2, rest)

    def _lowest(self, p: Expr) -> tuple[Expr, Expr, Expr]:
        """The powers of T and W of the term that dominates far out, and the polynomial divided by them."""
        powers = {}
        for term in sympy.Add.make_args(sympy.expand(p)):
            found = term.as_powers_dict()
            powers[term] = (found.get(self.decays, Integer(0)), found.get(T, Integer(0)))
        k, n = min(powers.values())
        return n, k, sympy.expand(p / T**n / self.decays**k)

    def _convert(self, e: Expr) -> tuple[Expr, dict]:
        """``e`` as a rational function of x, T, W and atoms, and what the atoms stand for."""
        atoms: dict[Expr, Expr] = {}

        def atom(x: Expr) -> Expr:
            known = next((d for d, y in atoms.items() if y == x), None)
            if known is None:
                known = Dummy(positive=True)
                atoms[known] = x
            return known

        def of(e: Expr) -> Expr:
            if e == X or e.is_Rational:
                return e
            if e.is_number:
                return atom(e) if e.is_positive else -atom(-e)
            if isinstance(e, exp):
                return self._exponential(e.args[0], atom, of)
            if isinstance(e, (sympy.tanh, sympy.sinh, sympy.cosh)):
                return of(e.rewrite(exp))
            if isinstance(e, log):
                return self._logarithm(of(e.args[0]), atom)
            if e.is_Pow and not e.exp.is_Integer:
                return self._root(of(e.base), e.exp, atom)
            if e.is_Add or e.is_Mul or e.is_Pow:
                return e.func(*(of(x) if not (e.is_Pow and x is e.exp) else x for x in e.args))
            raise FormulaError(f"{e.func} cannot be brought into a stable form")

        return of(e), atoms

    def _exponential(self, argument: Expr, atom, of) -> Expr:
        argument = sympy.expand(argument)
        if not argument.is_polynomial(X):
            return atom(Bounded(self._plain(argument, atom, of)))
        form = sympy.Poly(argument, X)
        linear, constant = form.coeff_monomial(X), form.coeff_monomial(1)
        power = Integer(0)
        if form.degree() > 1:
            power = -(form.LC() / sympy.Poly(self.wild, X).LC())
            rest = sympy.expand(argument + power * self.wild)
            if sympy.Poly(rest, X).degree() > 1:
                raise FormulaError(f"its exponentials of {argument} and {self.wild} (x = |s|) have no common level")
            linear, constant = rest.coeff(X, 1), rest.coeff(X, 0)
        steps = sympy.nsimplify(-linear / self.q)
        if not power.is_Integer or not steps.is_Rational:
            raise FormulaError(f"the exponent {argument} (x = |s|) is no rational multiple of the other exponents")
        front = exp(constant)
        front = front if front.is_Rational else atom(front)
        return front * T**steps * self.decays**power

    def _plain(self, argument: Expr, atom, of) -> Expr:
        """An exponent that is not a polynomial: it must be bounded, and is computed as it stands."""
        inner, names = self._convert(argument)
        num, den = sympy.fraction(sympy.cancel(sympy.together(inner)))
        (n1, k1, num), (n2, k2, den) = self._lowest(num), self._lowest(den)
        if (k1 - k2, n1 - n2) < (0, 0):
            raise FormulaError(f"it has an exponential of {argument} (x = |s|), which grows exponentially itself")
        rest = T ** (n1 - n2) * self.decays ** (k1 - k2) * _with_difference(num) / _with_difference(den)
        while any(d in rest.free_symbols for d in names):
            rest = rest.subs(names)
        return rest

    def _logarithm(self, argument: Expr, atom) -> Expr:
        """log(a T^n W^k (1 + u)) = log a - n q x - k P + u log1p(u)/u."""
        total = Integer(0)
        for part, factor in zip(sympy.fraction(sympy.cancel(sympy.together(argument))), (1, -1), strict=True):
            n, k, part = self._lowest(part)
            first = part.subs({T: 0, self.decays: 0})
            start = first.subs(X, 0)
            if start == 0:  # a power of x in front
                lead = min(t.as_powers_dict().get(X, Integer(0)) for t in sympy.Add.make_args(sympy.expand(first)))
                raise FormulaError(
                    f"it has the logarithm of something that starts like x^{lead} at 0 (x = |s|); add a constant"
                )
            if start.is_negative:
                part, start = -part, -start
            u = sympy.expand(part / start - 1)
            total += factor * (-n * self.q * X - (k * self.wild if k != 0 else 0))
            if start != 1:
                total += factor * (atom(log(start)) if log(start).is_positive else -atom(-log(start)))
            if u != 0:
                total += factor * u * atom(Log1pOver(sympy.factor(u)))
        return total

    def _root(self, base: Expr, power: Rational, atom) -> Expr:
        found = Integer(1)
        for part, factor in zip(sympy.fraction(sympy.cancel(sympy.together(base))), (1, -1), strict=True):
            n, k, part = self._lowest(part)
            x_power = min(t.as_powers_dict().get(X, Integer(0)) for t in sympy.Add.make_args(sympy.expand(part)))
            whole = sympy.floor(x_power * power)  # integer powers of x stay rational
            part = sympy.expand(part / X ** (whole / power)) if (whole / power).is_Integer else part
            whole = whole if (whole / power).is_Integer else Integer(0)
            if not (k * power).is_Integer:
                raise FormulaError(f"it takes a root of an exponential of {self.wild} (x = |s|)")
            found *= T ** (factor * n * power) * self.decays ** (factor * k * power) * X ** (factor * whole)
            if part != 1:
                found *= atom(Root(_with_difference(part), power)) ** factor
        return found


def _exponents(e: Expr) -> list[Expr]:
    """Arguments of the exponentials and hyperbolic functions of an expression."""
    return [
        node.args[0]
        for node in sympy.preorder_traversal(e)
        if isinstance(node, (exp, sympy.tanh, sympy.sinh, sympy.cosh))
    ]


def common_rate(exprs: list[Expr]) -> Expr:
    """q such that every linear exponent is an integer multiple of q s; 1 if there is none."""
    rates = []
    for e in exprs:
        half = sympy.ilcm(1, 1, *(n.exp.q for n in sympy.preorder_traversal(e) if n.is_Pow and n.exp.is_Rational))
        for argument in map(sympy.expand, _exponents(e)):
            if argument.is_polynomial(S):
                rate = sympy.Poly(argument, S).coeff_monomial(S)
                rates += [abs(rate) / half] if rate != 0 else []
    if not rates:
        return Integer(1)
    shares = [sympy.nsimplify(rate / rates[0]) for rate in rates]
    if not all(share.is_Rational for share in shares):
        raise FormulaError(
            "its exponentials have rates that are no rational multiples of each other; no one level stabilises them"
        )
    q = rates[0] * sympy.gcd_list([Rational(1), *shares])
    return q


def _with_difference(p: Expr) -> Expr:
    """A polynomial in factors, T - 1 among them written as -M."""
    p = sympy.factor(p)
    return p.replace(lambda e: e == T - 1, lambda e: -M).replace(lambda e: e == 1 - T, lambda e: M)
