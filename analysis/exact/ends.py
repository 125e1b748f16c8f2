"""A tape evaluated in intervals with two ends: tighter than balls where an end is attained.

A ball's radius has thirty bits and is rounded up, so that the ball of [-1, 1] reaches a little beyond 1, and ``|x| <= 1``
cannot be told on it. Here both ends are numbers of the current precision, rounded outwards; operations that are not
monotone keep the ends of their ball.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flint import arb

from attnlab.analysis.exact.tape import LEAVES, Tape

Ends = tuple[arb, arb]
_INF = arb("inf")


def end_values(tape: Tape, balls: Sequence[arb], inputs: Mapping[tuple[str, int], Ends]) -> list[Ends]:
    """``(lower, upper)`` of every entry; ``balls`` are the entries' balls on the same box."""
    values: list[Ends] = []
    for k, (op, args) in enumerate(tape.entries):
        ball = balls[k]
        low, high = (ball.lower(), ball.upper()) if ball.is_finite() else (-_INF, _INF)
        if op == "input":
            low, high = inputs[args]
        elif op not in LEAVES and op in _OPERATIONS:
            found = [x for x in _OPERATIONS[op](*(values[j] for j in args)) if not x.is_nan()]
            if len(found) == 2:
                low, high = _larger(low, found[0].lower()), _smaller(high, found[1].upper())
        values.append((_larger(low, arb(0)) if tape.nonnegative[k] else low, high))
    return values


def _larger(a: arb, b: arb) -> arb:
    return b if b > a else a


def _smaller(a: arb, b: arb) -> arb:
    return b if b < a else a


def _hull(*numbers: arb) -> Ends:
    low, high = numbers[0].lower(), numbers[0].upper()
    for x in numbers[1:]:
        low, high = _smaller(low, x.lower()), _larger(high, x.upper())
    return low, high


def _products(a: Ends, b: Ends) -> Ends:
    found = [x * y for x in a for y in b]
    return _hull(*found) if all(x.is_finite() for x in found) else (-_INF, _INF)


def _absolute(a: Ends) -> Ends:
    return _hull(abs(a[0]), abs(a[1])) if a[0] >= 0 or a[1] <= 0 else (arb(0), _hull(abs(a[0]), abs(a[1]))[1])


def _squared(a: Ends) -> Ends:
    low, high = _absolute(a)
    return low * low, high * high


def _quotient(a: Ends, b: Ends) -> Ends:
    found = [x / y for x in a for y in b] if b[0] > 0 or b[1] < 0 else [_INF]
    return _hull(*found) if all(x.is_finite() for x in found) else (-_INF, _INF)


def _rising(function: Callable[[arb], arb], low: int | None = None) -> Callable[[Ends], Ends]:
    return lambda a: (function(a[0]), function(a[1])) if low is None or a[0] >= low else (-_INF, _INF)


def _case(strict: bool) -> Callable[[Ends, Ends, Ends], Ends]:
    def chosen(m: Ends, a: Ends, b: Ends) -> Ends:
        if (m[0] > 0) if strict else (m[0] >= 0):
            return a
        if (m[1] <= 0) if strict else (m[1] < 0):
            return b
        return _smaller(a[0], b[0]), _larger(a[1], b[1])

    return chosen


_OPERATIONS: dict[str, Callable[..., Any]] = {
    "neg": lambda a: (-a[1], -a[0]),
    "add": lambda a, b: (a[0] + b[0], a[1] + b[1]),
    "mul": _products,
    "div": _quotient,
    "abs": _absolute,
    "square": _squared,
    "max": lambda a, b: (_larger(a[0], b[0]), _larger(a[1], b[1])),
    "min": lambda a, b: (_smaller(a[0], b[0]), _smaller(a[1], b[1])),
    "floor": _rising(arb.floor),
    "sqrt": _rising(arb.sqrt, 0),
    "exp": _rising(arb.exp),
    "tanh": _rising(arb.tanh),
    "atan": _rising(arb.atan),
    "select_ge": _case(strict=False),
    "select_gt": _case(strict=True),
}
