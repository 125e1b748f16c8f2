"""A formula as a list of scalar operations, recorded once and evaluated in float64 batches, in balls, or in sympy.

A statement is written once; its proof, its search and its certificate need it in different arithmetics. The tape is
the common form: entry k is an operation and the earlier entries it reads. Constants are exact rationals. A float that
is not exactly its decimal (0.1, 1/3) stands for every real number that rounds to it: what is certified holds for all of
these, and what is refuted fails for all of them. Sympy reads its decimal. Write ``Fraction(1, 3)`` for the exact number.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction
from numbers import Integral, Rational, Real
from typing import Any

UNARY = ("neg", "exp", "log", "sqrt", "tanh", "sigmoid", "sin", "cos", "atan", "erf", "abs", "square")
BINARY = ("add", "mul", "div", "max", "min", "power")
_NONNEGATIVE = frozenset({"exp", "sqrt", "sigmoid", "abs", "square"})
MAX_ENTRIES = 60_000  # beyond this neither balls nor sympy finish in useful time


class NotTraceable(TypeError):
    """A side uses something that cannot be recorded: a branch on a value, or a function the tape does not know."""


@dataclass
class Tape:
    """Operations in the order of evaluation. Equal operations share one entry."""

    entries: list[tuple[str, tuple[Any, ...]]] = field(default_factory=list)
    nonnegative: list[bool] = field(default_factory=list)
    _index: dict[tuple[str, tuple[Any, ...]], int] = field(default_factory=dict)

    def input(self, name: str, position: int, nonnegative: bool = False) -> Number:
        """The scalar input ``name[position]`` (row-major position inside its variable), known to be >= 0 or not."""
        number = self._number("input", (name, position))
        self.nonnegative[number.index] |= nonnegative
        return number

    def constant(self, value: Any) -> Number:
        """A constant: exact for an int, a Fraction or a float such as 0.25, rounded for a float such as 0.1."""
        if isinstance(value, Number):
            return value
        if isinstance(value, bool) or not isinstance(value, (Rational, Real, Fraction)):
            item = getattr(value, "item", None)
            if item is None or isinstance(value, bool):
                raise NotTraceable(f"expected a number, got {type(value).__name__}")
            value = item()
        if isinstance(value, float) and not math.isfinite(value):
            raise NotTraceable(f"a constant of the statement is {value}")
        if isinstance(value, float) and Fraction(value) != Fraction(repr(float(value))):
            return self._number("rounded", (Fraction(value),))
        return self._number("constant", (Fraction(value),))

    def pi(self) -> Number:
        """The number pi, exactly."""
        return self._number("pi", ())

    def apply(self, op: str, *numbers: Number) -> Number:
        """The entry ``op(numbers)``, with the rational constants folded."""
        folded = _fold(op, [self.value_of(x) for x in numbers])
        if folded is not None:
            return self.constant(folded)
        short = _shortcut(self, op, numbers)
        return short if short is not None else self._number(op, tuple(x.index for x in numbers))

    def integer_power(self, base: Number, exponent: int) -> Number:
        """``base ** exponent`` for a whole exponent, by repeated squaring."""
        if exponent < 0:
            return self.apply("div", self.constant(1), self.integer_power(base, -exponent))
        if exponent == 0:
            return self.constant(1)
        if exponent == 1:
            return base
        half = self.apply("square", self.integer_power(base, exponent // 2))
        return half if exponent % 2 == 0 else self.apply("mul", half, base)

    def value_of(self, number: Number) -> Fraction | None:
        """The exact value of a constant entry, None for any other."""
        op, args = self.entries[number.index]
        return args[0] if op == "constant" else None

    def inputs(self) -> list[tuple[int, str, int]]:
        """``(entry, variable, position)`` of every input read."""
        return [(k, *args) for k, (op, args) in enumerate(self.entries) if op == "input"]

    def _number(self, op: str, args: tuple[Any, ...]) -> Number:
        key = (op, args)
        if key not in self._index:
            if len(self.entries) >= MAX_ENTRIES:
                raise NotTraceable(f"the statement needs more than {MAX_ENTRIES} scalar operations at this size")
            self._index[key] = len(self.entries)
            self.entries.append(key)
            self.nonnegative.append(self._is_nonnegative(op, args))
        return Number(self, self._index[key])

    def _is_nonnegative(self, op: str, args: tuple[Any, ...]) -> bool:
        """Whether the value is known to be >= 0 from the form of the entry alone."""
        if op in ("constant", "rounded"):
            return args[0] >= 0
        if op in ("add", "mul", "div", "min"):
            return all(self.nonnegative[k] for k in args)
        if op == "max":
            return any(self.nonnegative[k] for k in args)
        if op == "power":
            return self.nonnegative[args[0]]
        return op in _NONNEGATIVE or op == "pi"


class Number:
    """One entry of a tape. Arithmetic on it records further entries; a comparison records a margin, not a bool."""

    __array_priority__ = 100
    __hash__ = object.__hash__
    __slots__ = ("index", "tape")

    def __init__(self, tape: Tape, index: int) -> None:
        self.tape, self.index = tape, index

    def __add__(self, other: Any) -> Number:
        return self._with("add", self, other)

    def __radd__(self, other: Any) -> Number:
        return self._with("add", other, self)

    def __sub__(self, other: Any) -> Number:
        other = self._lift(other)
        return other if other is NotImplemented else self.tape.apply("add", self, -other)

    def __rsub__(self, other: Any) -> Number:
        return -self + other

    def __mul__(self, other: Any) -> Number:
        return self._with("mul", self, other)

    def __rmul__(self, other: Any) -> Number:
        return self._with("mul", other, self)

    def __truediv__(self, other: Any) -> Number:
        return self._with("div", self, other)

    def __rtruediv__(self, other: Any) -> Number:
        return self._with("div", other, self)

    def __pow__(self, exponent: Any) -> Number:
        exponent = self._lift(exponent)
        value = self.tape.value_of(exponent)
        if value is not None and value.denominator == 1 and abs(value) <= 64:
            return self.tape.integer_power(self, int(value))
        if value is not None and value.denominator == 2 and abs(value) <= 64:
            return self.tape.integer_power(self.sqrt(), int(2 * value))
        return self.tape.apply("power", self, exponent)

    def __rpow__(self, base: Any) -> Number:
        return self._lift(base) ** self

    def __neg__(self) -> Number:
        return self.tape.apply("neg", self)

    def __pos__(self) -> Number:
        return self

    def __abs__(self) -> Number:
        return self.tape.apply("abs", self)

    def __le__(self, other: Any) -> Comparison:
        return Comparison((self._lift(other) - self,))

    def __ge__(self, other: Any) -> Comparison:
        return Comparison((self - self._lift(other),))

    __lt__, __gt__ = __le__, __ge__  # on real domains the closed condition is the stronger one to prove under

    def __bool__(self) -> bool:
        raise NotTraceable("the statement branches on a computed value")

    def __float__(self) -> float:
        op, args = self.tape.entries[self.index]
        value = args[0] if op in ("constant", "rounded") else None
        if value is None:
            raise NotTraceable("the statement turns a computed value into a float")
        return float(value)

    def apply(self, op: str) -> Number:
        """The unary operation ``op`` of this number."""
        return self.tape.apply(op, self)

    def exp(self) -> Number:
        return self.apply("exp")

    def log(self) -> Number:
        return self.apply("log")

    def sqrt(self) -> Number:
        return self.apply("sqrt")

    def _lift(self, other: Any) -> Any:
        if isinstance(other, Number):
            return other
        if isinstance(other, (Integral, Real, Fraction)) or hasattr(other, "item"):
            return self.tape.constant(other)
        return NotImplemented

    def _with(self, op: str, a: Any, b: Any) -> Any:
        a, b = self._lift(a), self._lift(b)
        if a is NotImplemented or b is NotImplemented:
            return NotImplemented
        return self.tape.apply(op, a, b)


@dataclass(frozen=True)
class Comparison:
    """A recorded condition: every margin is >= 0."""

    margins: tuple[Number, ...]

    def __and__(self, other: Comparison) -> Comparison:
        return Comparison(self.margins + other.margins)

    def __bool__(self) -> bool:
        raise NotTraceable("the statement branches on a comparison; join conditions with &, not with 'and'")


def _fold(op: str, values: list[Fraction | None]) -> Fraction | None:
    """The exact result on rational constants, where it is rational."""
    if any(v is None for v in values):
        return None
    a, b = values[0], values[-1]
    if op == "div" and b == 0:
        raise NotTraceable("the statement divides by zero")
    rational = {
        "add": lambda: a + b,
        "mul": lambda: a * b,
        "div": lambda: a / b,
        "max": lambda: max(a, b),
        "min": lambda: min(a, b),
        "neg": lambda: -a,
        "abs": lambda: abs(a),
        "square": lambda: a * a,
    }
    if op in rational:
        return rational[op]()
    if op in ("exp", "cos") and a == 0:
        return Fraction(1)
    if op in ("tanh", "sin", "atan", "erf") and a == 0:
        return Fraction(0)
    if op == "sqrt" and a >= 0:
        top, bottom = math.isqrt(a.numerator), math.isqrt(a.denominator)
        return Fraction(top, bottom) if Fraction(top, bottom) ** 2 == a else None
    return None


def _shortcut(tape: Tape, op: str, numbers: tuple[Number, ...]) -> Number | None:
    """Identities that shorten the tape or tighten balls: neutral elements, x - x, x * x, double negation."""
    values = [tape.value_of(x) for x in numbers]
    a, b = numbers[0], numbers[-1]
    if op == "add":
        if values[0] == 0:
            return b
        if values[1] == 0:
            return a
        if tape.entries[b.index] == ("neg", (a.index,)) or tape.entries[a.index] == ("neg", (b.index,)):
            return tape.constant(0)
    elif op == "mul":
        if 0 in values:
            return tape.constant(0)
        if values[0] == 1:
            return b
        if values[1] == 1:
            return a
        if a.index == b.index:
            return tape.apply("square", a)
    elif op == "div" and values[1] is not None:
        if values[1] == 0:
            raise NotTraceable("the statement divides by zero")
        return tape.apply("mul", a, tape.constant(1 / values[1]))
    elif op == "neg" and tape.entries[a.index][0] == "neg":
        return Number(tape, tape.entries[a.index][1][0])
    elif op in ("max", "min") and a.index == b.index:
        return a
    return None
