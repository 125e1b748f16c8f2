r"""From f and g as formulas to the form that runs: level, f, g and their derivatives on every interval.

.. math:: W_j = \frac{f(s_j)}{c + \sum_l g(s_l)}, \qquad \frac{f(s)}{h(m)} = R_f(s)\, e^{E(s) - m}, \qquad m = \max_j E(s_j).

Three kinds of level follow from the growth of g. *exponential*: E is what of ln g grows at least linearly (E = s for softmax,
min(s, 0) for softplus, -s^2 for a Gaussian), and the row's common factor is h = e^m. *homogeneous*: f and g are multiples of
one power \|s\|^p on each side of zero; m is the largest \|s\| with a summand and h = m^p. *none*: h = 1. A running maximum
only rises, so sums over blocks of keys are rescaled by factors of at most one.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import mpmath
import sympy
from sympy import Expr, Integer

from attnlab.kernels.attention.scores.formula.parse import FormulaError, S, parse
from attnlab.kernels.attention.scores.formula.pieces import Interval, intervals, plain
from attnlab.kernels.attention.scores.formula.stable import Root, Scaled, Side, T, X, common_rate
from attnlab.kernels.attention.scores.formula.values import exact_value, grid, value

NAMES = ("f", "f1", "f2", "g", "g1", "g2")


@dataclass(frozen=True)
class Piece:
    """One interval: R of every quantity in x, T and W, and the exponent in s (None where there is no summand)."""

    interval: Interval
    rest: dict[str, Expr]
    exponent: Expr | None
    wild: Expr | None
    decays: Expr
    exact: dict[str, Expr]  # in s, as the formula says


@dataclass(frozen=True)
class Form:
    """All that the code is made from."""

    kind: str  # "exponential", "homogeneous" or "none"
    power: Expr
    q: Expr
    pieces: tuple[Piece, ...]
    at_zero: dict[str, Expr]  # values at s = 0 that differ from those of the piece on its left
    divides: bool


def summand_of(text: str, divide: str) -> tuple[Expr, Expr | None]:
    """f, and g or None (no sum in the normaliser)."""
    f = parse(text)
    if divide == "sum":
        return f, f
    if divide == "absolute":
        return f, sympy.Abs(f)
    if divide in ("count", "one"):
        return f, None
    if isinstance(divide, str) and not divide.isidentifier():
        return f, parse(divide)
    raise FormulaError(
        f"divide={divide!r} is unknown; use 'sum' (of f over the visible keys), 'absolute' (sum of |f|), 'count' (visible "
        "keys), 'one' (nothing), or the formula of another summand, such as 'abs(exp(s) - 1)'"
    )


@functools.lru_cache(maxsize=256)
def derive(text: str, divide: str) -> Form:
    """The form of a map, or an error that says what keeps it from one."""
    f, g = summand_of(text, divide)
    try:
        for e in (f, *([] if g is None else [g])):
            _check_poles(e)
        _check_signs(f, g, divide)
        parts = intervals(f, *([] if g is None else [g]))
        exact = [_exact(f, g, part) for part in parts]
        q = common_rate([x for found in exact for x in found.values()])
        sides = [Side(part, q, list(found.values())) for part, found in zip(parts, exact, strict=True)]
        scaled = [{name: side.scaled(e) for name, e in found.items()} for side, found in zip(sides, exact, strict=True)]
        power = _homogeneous(scaled, parts) if g is not None else None
        pieces = tuple(
            _piece(side, found, e, _outer(scaled, sides, i), power, g is not None)
            for i, (side, found, e) in enumerate(zip(sides, scaled, exact, strict=True))
        )
    except FormulaError as error:
        raise FormulaError(f"score_map({text!r}, divide={divide!r}): {error}") from None
    exponential = any(piece.exponent not in (None, Integer(0)) for piece in pieces)
    kind = "homogeneous" if power is not None else "exponential" if exponential and g is not None else "none"
    return Form(kind, power or Integer(0), q, pieces, _at_zero(f, g, pieces), g is not None)


def _check_poles(e: Expr) -> None:
    """No denominator, logarithm or root touches zero, between the logits of the grid either."""
    for node in sympy.preorder_traversal(e):
        critical = node.is_Pow and (node.exp.is_negative or not node.exp.is_Integer)
        if not (critical or isinstance(node, sympy.log)) or not node.args[0].has(S):
            continue
        base, points = node.args[0], grid()
        sizes = [abs(value(base, x)) for x in points]
        for i in range(1, len(points) - 1):
            if not sizes[i - 1] >= sizes[i] <= sizes[i + 1]:
                continue
            at = _lowest_between(base, points[i - 1], points[i + 1])
            touches = abs(value(base, at)) < mpmath.mpf(10) ** -12 * (1 + sizes[i])
            if touches and ((node.is_Pow and node.exp.is_negative) or isinstance(node, sympy.log)):
                what = "takes the logarithm of" if isinstance(node, sympy.log) else "divides by"
                raise FormulaError(
                    f"it {what} {base}, which is 0 at s = {mpmath.nstr(at, 6)}; logits take every real value"
                )


def _lowest_between(base: Expr, a, b):
    """Where |base| is smallest between two logits, by thirds."""
    for _ in range(160):
        left, right = a + (b - a) / 3, b - (b - a) / 3
        a, b = (a, right) if abs(value(base, left)) <= abs(value(base, right)) else (left, b)
    at = (a + b) / 2
    return at if abs(at) > mpmath.mpf(10) ** -20 else mpmath.mpf(0)


def _check_signs(f: Expr, g: Expr | None, divide: str) -> None:
    """The formula has a value everywhere, and the normaliser cannot vanish by cancellation."""
    some = False
    for x in grid():
        value(f, x)  # an error where it has none
        summand = exact_value(g, x) if g is not None else 1
        some = some or summand != 0
        if summand < 0:
            what = "f" if divide == "sum" else "the summand"
            raise FormulaError(
                f"{what} is {mpmath.nstr(summand, 4)} at s = {mpmath.nstr(x, 4)}: sums of both signs can vanish while "
                "the weights do not; use divide='absolute' (sum of |f|), 'count' or 'one'"
            )
    if not some:
        raise FormulaError("the summand of the normaliser is zero everywhere")


def _exact(f: Expr, g: Expr | None, part: Interval) -> dict[str, Expr]:
    found = {}
    for name, e in (("f", f), ("g", Integer(0) if g is None else g)):
        e = plain(e, part)
        found |= {name: e, f"{name}1": sympy.diff(e, S), f"{name}2": sympy.diff(e, S, 2)}
    return {name: found[name] for name in NAMES}


def _outer(scaled: list[dict], sides: list[Side], i: int) -> Scaled | None:
    """What dominates the summand far out on the same side of zero: its powers are the exponent of the whole side."""
    end = -1 if sides[i].interval.side > 0 else 0
    return scaled[end]["g"]


def _homogeneous(scaled: list[dict], parts: list[Interval]) -> Expr | None:
    """p if f and g are multiples of |s|^p on both sides of zero."""
    powers = set()
    for found in scaled:
        for name in ("f", "g"):
            x = found[name]
            if x is None:
                continue
            if (x.n, x.k) != (0, 0):
                return None
            whole = x.rest.replace(Root, lambda base, p: base**p)
            coefficient, rest = whole.as_independent(X, as_Add=False)
            power = rest.as_powers_dict()
            if len(parts) != 2 or not coefficient.is_number or set(power) - {X, Integer(1)}:
                return None
            powers.add(power.get(X, Integer(0)))
    return powers.pop() if len(powers) == 1 and min(powers) > 0 else None


def _piece(side: Side, found: dict, exact: dict, outer: Scaled | None, power, divides: bool) -> Piece:
    own = found["g"]
    # the exponent belongs to a whole side; where the summand ends before, it has none
    n, k = (Integer(0), Integer(0)) if outer is None or not divides else (outer.n, outer.k)
    where = f"as s tends to {'+' if side.interval.side > 0 else '-'}infinity"
    rest = {}
    for name, x in found.items():
        if x is None:
            rest[name] = Integer(0)
            continue
        if (x.k - k, x.n - n) < (Integer(0), Integer(0)):
            if not divides:
                raise FormulaError(
                    f"{name} grows exponentially {where} and no sum divides it: it overflows; use divide='sum' or 'absolute'"
                )
            raise FormulaError(f"{name} grows faster than the summand of the normaliser {where}: weights overflow")
        rest[name] = x.rest * T ** (x.n - n) * side.decays ** (x.k - k)
    exponent = None
    if own is not None or not divides:
        in_x = -(n * side.q * X) - (k * side.wild if k != 0 else 0)
        exponent = sympy.expand(in_x.subs(X, side.interval.side * S))
    elif found["f"] is not None:
        raise FormulaError(f"f is not zero between {side.interval.low} and {side.interval.high}, where the summand is")
    return Piece(side.interval, rest, exponent, side.wild, side.decays, exact)


def _at_zero(f: Expr, g: Expr | None, pieces: tuple[Piece, ...]) -> dict[str, Expr]:
    """Value at zero by the formula; slopes 0 at a jump and at a symmetric kink, of the left side at any other kink."""
    right = next(i for i, piece in enumerate(pieces) if piece.interval.low == 0)
    found = {}
    for name, e in (("f", f), ("g", g)):
        if e is None:
            continue
        names = (name, f"{name}1", f"{name}2")
        left_values, right_values = (
            [_limit(pieces[i].exact[x], side) for x in names] for i, side in ((right - 1, -1), (right, 1))
        )
        here = exact_value(e, 0)
        jump = [
            abs(a - b) > mpmath.mpf(10) ** -20 * (1 + abs(a)) for a, b in zip(left_values, right_values, strict=True)
        ]
        off = abs(here - left_values[0]) > mpmath.mpf(10) ** -20 * (1 + abs(here))
        kink = jump[1] and abs(left_values[1] + right_values[1]) < mpmath.mpf(10) ** -20 * (1 + abs(left_values[1]))
        if off:
            found[name] = sympy.nsimplify(sympy.Float(str(mpmath.nstr(here, 30)), 30), rational=True)
        if jump[0] or off or kink:
            found |= {names[1]: Integer(0), names[2]: Integer(0)}
    return found


def _limit(e: Expr, side: int) -> mpmath.mpf:
    """The value just beside zero."""
    with mpmath.workdps(120):
        return value(e, side * mpmath.mpf(10) ** -60)
