"""A sympy expression or relation on a tape, by walking its tree: numbers as they are written, functions by definition.

Every variable is real, and so is the value of a side: where sympy's value is complex (the root of a negative number) the
exact form has none. Sums, products, factorials and binomials are written out where their limits are whole numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import reduce
from typing import Any

import numpy as np

from attnlab.analysis.exact.tape import NotTraceable, Number, Tape
from attnlab.analysis.exact.torch_entries import arc_tangent
from attnlab.analysis.theorems.statement.sides import symbol_home

_UNARY = {
    **{name: name for name in "exp log tanh sin cos tan asin acos atan asinh acosh atanh erf erfc floor".split()},
    "loggamma": "lgamma",
    "Abs": "abs",
}
_OF_INVERSE = {"acot": "atan", "asec": "acos", "acsc": "asin", "acoth": "atanh", "asech": "acosh", "acsch": "asinh"}
_WHOLE = ("factorial", "binomial", "Sum", "Product")  # written out once their limits and arguments are numbers
MAX_TERMS = 2000  # of a sum or product that is written out
COMPUTED = 4  # units of its last place within which a computed number of any precision is known
SPARE_DIGITS = 3  # fewer digits than the precision has: such a number was typed


def from_sympy(tape: Tape, arguments: Mapping[str, Any], expression: Any) -> Any:
    """The entries of an expression, a condition for a relation; ``arguments`` are the variables by their names."""
    import sympy

    walk = _Walk(tape, arguments)
    if isinstance(expression, sympy.MatrixBase):
        return [walk(x) for x in expression]
    if expression.is_Boolean or expression.is_Relational:
        return walk.truth(expression)
    return walk(expression)


class _Walk:
    def __init__(self, tape: Tape, arguments: Mapping[str, Any]) -> None:
        self.tape, self.arguments = tape, arguments

    def truth(self, e: Any) -> Any:
        """A condition."""
        import sympy

        if e in (sympy.true, sympy.false):
            return bool(e)
        if isinstance(e, (sympy.And, sympy.Or)):
            join: Any = (lambda a, b: a & b) if isinstance(e, sympy.And) else (lambda a, b: a | b)
            return reduce(join, map(self.truth, e.args))
        if isinstance(e, sympy.Not):
            return ~self.truth(e.args[0])
        relations: dict[Any, Callable[[Any, Any], Any]] = {
            sympy.Le: lambda a, b: a <= b,
            sympy.Lt: lambda a, b: a < b,
            sympy.Ge: lambda a, b: a >= b,
            sympy.Gt: lambda a, b: a > b,
            sympy.Eq: lambda a, b: a == b,
            sympy.Ne: lambda a, b: a != b,
        }
        relation = next((f for kind, f in relations.items() if isinstance(e, kind)), None)
        if relation is None:
            raise NotTraceable(f"no exact form of sympy's condition {e}")
        return relation(self(e.lhs), self(e.rhs))

    def __call__(self, e: Any) -> Any:
        import sympy

        if e.is_Rational:
            return self.tape.constant(Fraction(int(e.p), int(e.q)))
        if e.is_Float:
            return self._float(e)
        if e is sympy.pi:
            return self.tape.pi()
        if e is sympy.E:
            return self.tape.constant(1).exp()
        if e is sympy.GoldenRatio:
            return (1 + self.tape.constant(5).sqrt()) / 2
        if e.is_NumberSymbol:
            return self._float(e.evalf(30))
        if e.is_Symbol or isinstance(e, (sympy.Indexed, sympy.matrices.expressions.matexpr.MatrixElement)):
            return _symbol(self.tape, self.arguments, e)
        if e.is_Add or e.is_Mul:
            return reduce((lambda a, b: a + b) if e.is_Add else (lambda a, b: a * b), map(self, e.args))
        if e.is_Pow:
            return self(e.base).exp() if e.base is sympy.E else self._power(e.base, e.exp)
        return self._function(type(e).__name__, e)

    def _float(self, e: Any) -> Number:
        """A number of any precision: the decimal that was typed, or every real near a computed one."""
        import sympy

        if e._prec == 53:
            return self.tape.constant(float(e))
        exact = Fraction(int(sympy.Rational(e).p), int(sympy.Rational(e).q))
        _, _, exponent, bits = e._mpf_
        digits = max(int(e._prec * 0.30103) - SPARE_DIGITS, 1)
        text = str(e.n(digits))
        if sympy.Float(text, precision=e._prec) == e:
            return self.tape.constant(Fraction(text))
        radius = COMPUTED * Fraction(2) ** (exponent + bits - e._prec)
        return self.tape.rounded(exact, radius)

    def _power(self, base: Any, exponent: Any) -> Number:
        exact = Fraction(int(exponent.p), int(exponent.q)) if exponent.is_Rational else self(exponent)
        return self(base) ** exact

    def _function(self, name: str, e: Any) -> Any:
        import sympy

        tape = self.tape
        if name == "log" and len(e.args) > 1:
            return self(e.args[0]).log() / self(e.args[1]).log()
        if name in _UNARY:
            return self(e.args[0]).apply(_UNARY[name])
        if name in _OF_INVERSE:
            return self._of_inverse(name, self(e.args[0]))
        if name in ("Max", "Min"):
            return reduce(lambda a, b: tape.apply(name.lower(), a, b), map(self, e.args))
        if name in ("re", "conjugate"):  # of a real number
            return self(e.args[0])
        if name == "ceiling":
            return -((-self(e.args[0])).apply("floor"))
        if name == "frac":
            x = self(e.args[0])
            return x - x.apply("floor")
        if name == "sign":
            x = self(e.args[0])
            return tape.select(x > 0, tape.constant(1), tape.select(x < 0, tape.constant(-1), tape.constant(0)))
        if name == "Heaviside":
            x = self(e.args[0])
            return tape.select(x > 0, tape.constant(1), tape.select(x < 0, tape.constant(0), self(e.args[1])))
        if name == "sinc":
            x = self(e.args[0])
            return (
                tape.select(x == 0, tape.constant(1), x.apply("sin") / x) if tape.value_of(x) != 0 else tape.constant(1)
            )
        if name == "Mod":
            a, b = map(self, e.args)
            return a - (a / b).apply("floor") * b
        if name == "atan2":
            return arc_tangent(self(e.args[0]), self(e.args[1]), at_origin=None)
        if name == "gamma":
            return self._gamma(self(e.args[0]))
        if name in _WHOLE:
            return self._written_out(name, e)
        if isinstance(e, sympy.Piecewise):
            *cases, (last, condition) = e.args
            if condition not in (sympy.true, True):
                raise NotTraceable("a Piecewise without a case for the rest")
            return reduce(lambda rest, c: tape.select(self.truth(c[1]), self(c[0]), rest), reversed(cases), self(last))
        if name in ("sinh", "cosh", "coth", "sech", "csch", "sec", "csc", "cot"):
            other = e.rewrite(sympy.exp) if name[-1] == "h" else e.rewrite(sympy.sin)
            if type(other).__name__ != name:
                return self(other)
        raise NotTraceable(f"no exact form of sympy's {name}")

    def _of_inverse(self, name: str, x: Number) -> Number:
        """``acot x = atan(1 / x)`` (pi / 2 at 0) and its kin, with sympy's branches."""
        found = (lambda: (1 / x).apply(_OF_INVERSE[name])) if self.tape.value_of(x) != 0 else None
        half_turn = self.tape.pi() / 2
        if name != "acot":
            if found is None:
                raise NotTraceable(f"sympy's {name} has no value at 0")
            return found()
        return half_turn if found is None else self.tape.select(x == 0, half_turn, found())

    def _gamma(self, x: Number) -> Number:
        import sympy

        value = self.tape.value_of(x)
        if value is not None:
            found = sympy.gamma(sympy.Rational(value.numerator, value.denominator))
            if found.is_Rational:
                return self(found)
        if not self.tape.positive[x.index]:
            raise NotTraceable("sympy's gamma has an exact form only where its argument is positive")
        return x.apply("lgamma").exp()

    def _written_out(self, name: str, e: Any) -> Number:
        """A sum, a product, a factorial or a binomial whose limits or arguments are whole numbers at this point."""
        import sympy

        known = {s: v for s in e.free_symbols if (v := self._whole(s)) is not None}
        if name in ("factorial", "binomial"):
            found = e.func(*(a.subs(known) for a in e.args))
            if isinstance(found, type(e)):
                raise NotTraceable(f"no exact form of sympy's {name} of other than whole numbers")
            return self(found)
        terms = [e.function]
        for index, *limits in e.limits:
            if len(limits) != 2:
                raise NotTraceable(f"no exact form of sympy's {name} without limits")
            ends = [limit.subs(known) for limit in limits]
            if not all(end.is_Integer for end in ends) or not -1 <= int(ends[1]) - int(ends[0]) < MAX_TERMS:
                raise NotTraceable(f"no exact form of sympy's {name} from {ends[0]} to {ends[1]}")
            terms = [t.subs(index, sympy.Integer(k)) for t in terms for k in range(int(ends[0]), int(ends[1]) + 1)]
            if len(terms) > MAX_TERMS:
                raise NotTraceable(f"sympy's {name} has more than {MAX_TERMS} terms")
        start = self.tape.constant(0 if name == "Sum" else 1)
        return reduce((lambda a, b: a + b) if name == "Sum" else (lambda a, b: a * b), map(self, terms), start)

    def _whole(self, symbol: Any) -> Any:
        """The value of a symbol that is a whole number here, or None."""
        import sympy

        home = symbol_home(str(symbol), list(self.arguments))
        if home is None:
            return None
        value = np.asarray(self.arguments[home[0]], dtype=object).reshape(-1)
        entry = value[home[1] or 0] if (home[1] or 0) < value.size else None
        return sympy.Integer(int(entry)) if isinstance(entry, (int, np.integer)) else None


def _symbol(tape: Tape, arguments: Mapping[str, Any], symbol: Any) -> Any:
    """The number that a symbol ``x``, ``x_2``, an indexed ``x[2]`` or a matrix's ``A[0, 1]`` stands for."""
    if hasattr(symbol, "indices") or hasattr(symbol, "parent"):
        name = str(symbol.parent if hasattr(symbol, "parent") else symbol.base)
        index = tuple(int(i) for i in (symbol.args[1:] if hasattr(symbol, "parent") else symbol.indices))
        if name not in arguments:
            raise NotTraceable(f"{symbol} has no variable")
        try:
            return tape.constant(np.asarray(arguments[name])[index])
        except IndexError:
            raise NotTraceable(f"{symbol} is outside its variable of shape {np.shape(arguments[name])}") from None
    home = symbol_home(str(symbol), list(arguments))
    if home is None:
        raise NotTraceable(f"{symbol} has no variable")
    value, position = np.asarray(arguments[home[0]], dtype=object), home[1]
    if position is None and value.shape != ():
        raise NotTraceable(f"{symbol} is an array of shape {value.shape}; use {symbol}_0, {symbol}_1, ...")
    if position is not None and position >= value.size:
        raise NotTraceable(f"{symbol} is outside its variable of shape {value.shape}")
    return tape.constant(value.reshape(-1)[position or 0])
