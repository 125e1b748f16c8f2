"""A formula as a list of scalar operations, recorded once and evaluated in float64 batches, in balls, or in sympy.

A statement is written once; its proof, its search and its certificate need it in different arithmetics. The tape is
the common form: entry k is an operation and the earlier entries it reads. Numbers are read as
:mod:`attnlab.analysis.exact.reading` says. ``select_ge(m, a, b)`` is a where m >= 0 and b elsewhere (``select_gt``: m > 0).
No rewriting loses a point where the formula is undefined: ``x - x`` becomes 0 only if x is known to be defined everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from attnlab.analysis.exact.reading import read

UNARY = (
    "neg exp log log1p expm1 sqrt tanh sigmoid sin cos tan asin acos atan asinh acosh atanh erf erfc lgamma abs square floor"
).split()
BINARY = ("add", "mul", "div", "max", "min", "power")
SELECT = ("select_ge", "select_gt")
LEAVES = ("input", "constant", "rounded", "pi")
EIGEN = ("eigenvalue", "singular")  # args: sizes and position, then entries
_NONNEGATIVE = frozenset({"exp", "sqrt", "sigmoid", "abs", "square", "erfc", "singular"})
_TOTAL = frozenset(UNARY) - {"log", "log1p", "sqrt", "tan", "asin", "acos", "acosh", "atanh", "lgamma"}
MAX_ENTRIES = 60_000  # beyond this neither balls nor sympy finish in useful time


class NotTraceable(BaseException):
    """A side uses something that cannot be recorded: a branch on a value, or a function the tape does not know.

    No ``Exception``: a side that catches those must not answer the recorder's question with what it does about errors.
    """


def operands(op: str, args: Sequence[Any]) -> Sequence[int]:
    """The earlier entries that an entry reads."""
    if op in LEAVES:
        return ()
    return args[2:] if op == "eigenvalue" else args[3:] if op == "singular" else args


@dataclass
class Tape:
    """Operations in the order of evaluation. Equal operations share one entry."""

    entries: list[tuple[str, tuple[Any, ...]]] = field(default_factory=list)
    nonnegative: list[bool] = field(default_factory=list)
    positive: list[bool] = field(default_factory=list)
    total: list[bool] = field(default_factory=list)  # defined wherever the inputs are
    _index: dict[tuple[str, tuple[Any, ...]], int] = field(default_factory=dict)

    def input(self, name: str, position: int, nonnegative: bool = False, positive: bool = False) -> Number:
        """The scalar input ``name[position]`` (row-major position inside its variable), known to be >= 0 (> 0) or not."""
        number = self._number("input", (name, position))
        self.nonnegative[number.index] |= nonnegative or positive
        self.positive[number.index] |= positive
        return number

    def constant(self, value: Any) -> Number:
        """A constant: exact, or every real that a computed float may stand for."""
        if isinstance(value, Number):
            return value
        try:
            centre, radius = read(value)
        except ValueError:
            raise NotTraceable(f"a constant of the statement is {value}") from None
        except TypeError:
            item = getattr(value, "item", None)
            if item is None:
                raise NotTraceable(f"expected a number, got {type(value).__name__}") from None
            return self.constant(item())
        return self._number("rounded", (centre, radius)) if radius else self._number("constant", (centre,))

    def rounded(self, centre: Fraction, radius: Fraction) -> Number:
        """A constant that is any real within a radius."""
        return self._number("rounded", (centre, radius))

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

    def eigenvalue(self, position: int, rows: Sequence[Sequence[Number]]) -> Number:
        """Entry ``position`` of the ascending eigenvalues of a symmetric matrix (its lower triangle)."""
        n = len(rows)
        full = [rows[max(i, j)][min(i, j)].index for i in range(n) for j in range(n)]
        return self._number("eigenvalue", (n, position, *full))

    def singular(self, position: int, rows: Sequence[Sequence[Number]]) -> Number:
        """Entry ``position`` of the descending singular values of a matrix."""
        return self._number("singular", (len(rows), len(rows[0]), position, *(x.index for row in rows for x in row)))

    def select(self, condition: Condition | bool, a: Number, b: Number) -> Number:
        """``a`` where the condition holds, ``b`` elsewhere."""
        if isinstance(condition, bool):
            return a if condition else b
        for margin, strict in condition.clauses:
            a = self._select(margin, strict, a, b)
        return a

    def _select(self, margin: Number, strict: bool, a: Number, b: Number) -> Number:
        value = self.value_of(margin)
        if value is not None:
            return a if value > 0 or (value == 0 and not strict) else b
        if a.index == b.index:
            return a
        if self.total[a.index] and self.total[b.index]:  # continuous forms have slopes: max, min, abs
            difference = self.apply("add", a, self.apply("neg", b))
            if difference.index == margin.index:
                return self.apply("max", a, b)
            if self.apply("neg", difference).index == margin.index:
                return self.apply("min", a, b)
            negative = self.apply("neg", a).index == b.index
            if negative and margin.index in (a.index, b.index):
                size = self.apply("abs", margin)
                return size if margin.index == a.index else self.apply("neg", size)
        return self._number("select_gt" if strict else "select_ge", (margin.index, a.index, b.index))

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
            positive = self._is_positive(op, args)
            self.positive.append(positive)
            self.nonnegative.append(positive or self._is_nonnegative(op, args))
            self.total.append(self._is_total(op, args))
        return Number(self, self._index[key])

    def _is_positive(self, op: str, args: tuple[Any, ...]) -> bool:
        """Whether the value is known to be > 0, wherever it is defined, from the form of the entry alone."""
        if op == "constant":
            return args[0] > 0
        if op == "rounded":
            return args[0] > args[1]
        if op == "add":
            one, other = args
            return (self.positive[one] and self.nonnegative[other]) or (self.nonnegative[one] and self.positive[other])
        if op in ("mul", "div", "min"):
            return all(self.positive[k] for k in args)
        if op == "max":
            return any(self.positive[k] for k in args)
        if op in ("power", "sqrt", "square"):
            return self.positive[args[0]]
        if op in SELECT:
            return self.positive[args[1]] and self.positive[args[2]]
        return op in ("exp", "sigmoid", "erfc", "pi")

    def _is_nonnegative(self, op: str, args: tuple[Any, ...]) -> bool:
        if op == "constant":
            return args[0] >= 0
        if op == "rounded":
            return args[0] >= args[1]
        if op in ("add", "mul", "div", "min"):
            return all(self.nonnegative[k] for k in args)
        if op == "max":
            return any(self.nonnegative[k] for k in args)
        if op == "power":
            return self.nonnegative[args[0]]
        if op in SELECT:
            return self.nonnegative[args[1]] and self.nonnegative[args[2]]
        if op in ("floor", "tanh", "log1p", "expm1", "erf", "atan", "asinh"):
            return self.nonnegative[args[0]]
        return op in _NONNEGATIVE

    def _is_total(self, op: str, args: tuple[Any, ...]) -> bool:
        if not all(self.total[k] for k in operands(op, args)):
            return False
        if op in LEAVES or op in _TOTAL or op in ("add", "mul", "max", "min", *SELECT, *EIGEN):
            return True
        if op == "div":
            return self.positive[args[1]]
        if op in ("log", "lgamma", "power"):
            return self.positive[args[0]]
        return op in ("sqrt", "log1p") and self.nonnegative[args[0]]


class Number:
    """One entry of a tape. Arithmetic on it records further entries; a comparison records a condition, not a bool."""

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

    def __le__(self, other: Any) -> Condition:
        return Condition(((self._lift(other) - self, False),))

    def __ge__(self, other: Any) -> Condition:
        return Condition(((self - self._lift(other), False),))

    def __lt__(self, other: Any) -> Condition:
        return Condition(((self._lift(other) - self, True),))

    def __gt__(self, other: Any) -> Condition:
        return Condition(((self - self._lift(other), True),))

    def __eq__(self, other: Any) -> Condition:  # type: ignore[override]
        return Condition(((-abs(self - self._lift(other)), False),))

    def __ne__(self, other: Any) -> Condition:  # type: ignore[override]
        return Condition(((abs(self - self._lift(other)), True),))

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
        try:
            return self.tape.constant(other)
        except NotTraceable:
            if hasattr(other, "item") or isinstance(other, (int, float, Fraction)):
                raise
            return NotImplemented

    def _with(self, op: str, a: Any, b: Any) -> Any:
        a, b = self._lift(a), self._lift(b)
        if a is NotImplemented or b is NotImplemented:
            return NotImplemented
        return self.tape.apply(op, a, b)


@dataclass(frozen=True, eq=False)
class Condition:
    """A recorded condition: every margin is >= 0, or > 0 where its clause is strict."""

    clauses: tuple[tuple[Number, bool], ...]

    @property
    def margins(self) -> tuple[Number, ...]:
        """The margins without their strictness."""
        return tuple(margin for margin, _ in self.clauses)

    def __and__(self, other: Any) -> Any:
        if isinstance(other, Condition):
            return Condition(self.clauses + other.clauses)
        return self if other else False

    __rand__ = __and__

    def __or__(self, other: Any) -> Any:
        if not isinstance(other, Condition):
            return True if other else self
        (a, strict), (b, other_strict) = self._single(), other._single()
        if strict != other_strict:
            raise NotTraceable("the statement joins a strict and a weak inequality by 'or'")
        return Condition(((a.tape.apply("max", a, b), strict),))

    __ror__ = __or__

    def __invert__(self) -> Condition:
        margin, strict = self._single()
        return Condition(((-margin, not strict),))

    def __eq__(self, other: object) -> bool:
        raise NotTraceable("the statement compares two conditions by ==")

    def __bool__(self) -> bool:
        raise NotTraceable("the statement branches on a comparison; join conditions with &, not with 'and'")

    def _single(self) -> tuple[Number, bool]:
        margin, strict = self.clauses[0]
        for other, other_strict in self.clauses[1:]:
            if strict != other_strict:
                raise NotTraceable("the statement negates a strict and a weak inequality together")
            margin = margin.tape.apply("min", margin, other)
        return margin, strict


def _fold(op: str, values: list[Fraction | None]) -> Fraction | None:
    """The exact result on rational constants, where it is rational."""
    if any(v is None for v in values):
        return None
    a, b = values[0], values[-1]
    if op == "div" and b == 0:
        raise NotTraceable("the statement divides by zero")
    if op in ("log", "lgamma") and a <= 0:
        raise NotTraceable(f"the statement takes the {'logarithm' if op == 'log' else 'gamma function'} of {a}")
    if op == "sqrt" and a < 0:
        raise NotTraceable(f"the statement takes the root of {a}")
    rational = {
        "add": lambda: a + b,
        "mul": lambda: a * b,
        "div": lambda: a / b,
        "max": lambda: max(a, b),
        "min": lambda: min(a, b),
        "neg": lambda: -a,
        "abs": lambda: abs(a),
        "square": lambda: a * a,
        "floor": lambda: Fraction(math.floor(a)),
    }
    if op in rational:
        return rational[op]()
    if (op in ("exp", "cos", "erfc") and a == 0) or (op == "power" and a == 1):
        return Fraction(1)
    if op in ("tanh", "sin", "tan", "asin", "atan", "asinh", "atanh", "erf", "log1p", "expm1") and a == 0:
        return Fraction(0)
    if op == "log" and a == 1:
        return Fraction(0)
    if op == "sigmoid" and a == 0:
        return Fraction(1, 2)
    if op == "sqrt":
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
        opposite = tape.entries[b.index] == ("neg", (a.index,)) or tape.entries[a.index] == ("neg", (b.index,))
        if opposite and tape.total[a.index] and not _loose(tape, a) and not _loose(tape, b):
            return tape.constant(0)
    elif op == "mul":
        if 0 in values and tape.total[a.index] and tape.total[b.index]:
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
    elif op == "abs" and tape.nonnegative[a.index]:
        return a
    return None


def _loose(tape: Tape, number: Number) -> bool:
    """A computed constant: two of the same digits need not be the same real."""
    return tape.entries[number.index][0] == "rounded"
