"""A claim's sides on a tape: from the functions by tracing, from sympy by walking the expression tree."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce
from typing import Any

import numpy as np

from attnlab.analysis.exact.tape import Comparison, NotTraceable, Number, Tape
from attnlab.analysis.exact.traced_array import Traced, entries_of, trace
from attnlab.analysis.theorems.statement.claim import Claim, is_sympy, parameters, symbol_home
from attnlab.analysis.theorems.statement.domains import Box, Domain, Simplex

_KEPT_TAPES = 32


@dataclass(frozen=True)
class Recorded:
    """One part of a claim on its tape: the entries it returns (row-major) and their shape."""

    tape: Tape
    outputs: list[int]
    shape: tuple[int, ...]


@dataclass(frozen=True)
class RecordedClaim:
    """Both sides and all margins on one tape; ``lower[k] <= upper[k]`` is claimed where every margin is >= 0."""

    tape: Tape
    lower: list[int]
    upper: list[int]
    margins: list[int]


def record(claim: Claim, side: Any, condition: bool = False, whole: Mapping[str, np.ndarray] | None = None) -> Recorded:
    """One side or condition on a tape of its own. ``whole`` gives the values of integers and permutations.

    Raises :class:`NotTraceable` with the reason if the side cannot be recorded.
    """
    tape = Tape()
    numbers, shape = _entries(tape, _arguments(claim, tape, whole or {}, entry_inputs), side, condition)
    return Recorded(tape, [x.index for x in numbers], shape)


def record_claim(
    claim: Claim,
    whole: Mapping[str, np.ndarray] | None = None,
    inputs: Callable[[Tape, str, Domain], Traced] | None = None,
) -> RecordedClaim:
    """The whole claim on one tape. An identity becomes ``|left - right| <= within``.

    ``inputs(tape, name, domain)`` builds the traced value of a variable from other coordinates than its entries.
    """
    tape = Tape()
    arguments = _arguments(claim, tape, whole or {}, inputs or entry_inputs)
    left, a = _entries(tape, arguments, claim.left, False)
    right, b = _entries(tape, arguments, claim.right, False)
    if a != b and a != () and b != ():
        raise NotTraceable(f"the sides have shapes {a} and {b}")
    n = max(len(left), len(right))
    left, right = (left * n if len(left) < n else left), (right * n if len(right) < n else right)
    if claim.sense == "equals":
        left = [abs(x - y) for x, y in zip(left, right, strict=True)]
        right = [tape.constant(claim.within)] * n
    elif claim.sense == "at_least":
        left, right = right, left
    margins = [x for a in claim.assumptions for x in _entries(tape, arguments, a.condition, True)[0]]
    return RecordedClaim(tape, [x.index for x in left], [x.index for x in right], [x.index for x in margins])


def _arguments(
    claim: Claim, tape: Tape, whole: Mapping[str, np.ndarray], inputs: Callable[[Tape, str, Domain], Traced]
) -> dict[str, Any]:
    """What the sides are called with: traced variables, whole numbers, sizes, and the definitions built from these."""
    known: dict[str, Any] = dict(claim.chosen)
    for name, domain in claim.variables.items():
        if domain.whole:
            if name not in whole:
                raise NotTraceable(f"{name} is a whole number or permutation without a value")
            value = np.asarray(whole[name])
            known[name] = int(value) if value.ndim == 0 else value
        else:
            known[name] = inputs(tape, name, domain)
    for name, definition in claim.where.items():
        needs = {p: known[p] for p, _ in parameters(definition) if p in known}
        entries = trace(definition, needs, tape)
        known[name] = Traced(entries, tape)
    return known


def recorded_at(claim: Claim, whole: Mapping[str, np.ndarray]) -> RecordedClaim:
    """:func:`record_claim` with the last few tapes kept on the claim: a search evaluates one claim at many points."""
    tapes = claim.__dict__.setdefault("_tapes", {})
    key = tuple((name, value.tobytes()) for name, value in whole.items())
    if key not in tapes:
        if len(tapes) >= _KEPT_TAPES:
            tapes.clear()
        tapes[key] = record_claim(claim, whole)
    return tapes[key]


def entry_inputs(tape: Tape, name: str, domain: Domain) -> Traced:
    """A variable whose coordinates are its own entries."""
    nonnegative = isinstance(domain, Simplex) or (isinstance(domain, Box) and domain.low >= 0)
    entries = np.empty(domain.shape, dtype=object)
    for position, index in enumerate(np.ndindex(domain.shape)):
        entries[index] = tape.input(name, position, nonnegative)
    return Traced(entries, tape)


def _entries(tape: Tape, arguments: dict[str, Any], side: Any, condition: bool) -> tuple[list[Number], tuple[int, ...]]:
    if is_sympy(side):
        found: Any = _from_sympy(tape, arguments, side)
        entries = np.array(found, dtype=object).reshape(-1) if isinstance(found, list) else entries_of(found, tape)
    elif callable(side):
        entries = trace(side, {p: arguments[p] for p, _ in parameters(side) if p in arguments}, tape)
    else:
        entries = entries_of(side, tape)
    numbers: list[Number] = []
    for x in entries.flat:
        numbers.extend(x.margins if isinstance(x, Comparison) else [x])
    if not condition and any(isinstance(x, Comparison) for x in entries.flat):
        raise NotTraceable("a side returns a comparison; return a number")
    return numbers, entries.shape


def _from_sympy(tape: Tape, arguments: Mapping[str, Any], expression: Any) -> Any:
    """A sympy expression or relation as tape entries."""
    import sympy

    unary = {
        "exp": "exp",
        "log": "log",
        "tanh": "tanh",
        "sin": "sin",
        "cos": "cos",
        "atan": "atan",
        "erf": "erf",
        "Abs": "abs",
    }

    def walk(e: Any) -> Any:
        if e.is_Rational:
            return tape.constant(Fraction(int(e.p), int(e.q)))
        if e.is_Float:
            exact = sympy.Rational(e)
            return tape.constant(Fraction(int(exact.p), int(exact.q)))
        if e is sympy.pi:
            return tape.pi()
        if e is sympy.E:
            return tape.constant(1).exp()
        if e.is_Symbol or isinstance(e, sympy.Indexed):
            return _symbol(arguments, e)
        if isinstance(e, (sympy.Le, sympy.Lt)):
            return walk(e.lhs) <= walk(e.rhs)
        if isinstance(e, (sympy.Ge, sympy.Gt)):
            return walk(e.lhs) >= walk(e.rhs)
        if isinstance(e, sympy.And):
            return reduce(lambda a, b: a & b, map(walk, e.args))
        if isinstance(e, sympy.MatrixBase):
            return [walk(x) for x in e]
        name = type(e).__name__
        if e.is_Add or e.is_Mul:
            return reduce((lambda a, b: a + b) if e.is_Add else (lambda a, b: a * b), map(walk, e.args))
        if e.is_Pow:
            return walk(e.base).exp() if e.base is sympy.E else walk(e.base) ** walk(e.exp)
        if name in unary:
            return walk(e.args[0]).apply(unary[name])
        if name in ("Max", "Min"):
            return reduce(lambda a, b: tape.apply(name.lower(), a, b), map(walk, e.args))
        if name in ("sinh", "cosh"):
            return walk(e.rewrite(sympy.exp))
        raise NotTraceable(f"no exact form of sympy's {name}")

    return walk(expression)


def _symbol(arguments: Mapping[str, Any], symbol: Any) -> Any:
    """The number that a symbol ``x``, ``x_2`` or an indexed ``x[2]`` stands for."""
    if hasattr(symbol, "indices"):
        name, index = str(symbol.base), tuple(int(i) for i in symbol.indices)
        value = arguments.get(name)
        if value is None:
            raise NotTraceable(f"{symbol} has no variable")
        return value[index].entries.item()
    home = symbol_home(str(symbol), list(arguments))
    if home is None:
        raise NotTraceable(f"{symbol} has no variable")
    value, position = arguments[home[0]], home[1]
    tape = next(v.tape for v in arguments.values() if isinstance(v, Traced))
    if not isinstance(value, Traced):
        return tape.constant(value if position is None else int(value[position]))
    if position is None and value.shape != ():
        raise NotTraceable(f"{symbol} is an array of shape {value.shape}; use {symbol}_0, {symbol}_1, ...")
    return (
        value.entries.reshape(-1)[position or 0]
        if position is None or position < value.entries.size
        else _outside(symbol, value)
    )


def _outside(symbol: Any, value: Traced) -> Any:
    raise NotTraceable(f"{symbol} is outside its variable of shape {value.shape}")
