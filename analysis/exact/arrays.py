"""Arrays of tape numbers: elementwise operations, reductions, softmax, matrix products and small linear algebra.

Entries are :class:`Number`, :class:`Condition`, bools, plain numbers, or an infinite float: masks of minus infinity are
carried through sums, products, maxima and softmax, and are an error anywhere else.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import reduce
from typing import Any

import numpy as np

from attnlab.analysis.exact.tape import Condition, NotTraceable, Number, Tape

Entries = np.ndarray


class Opaque:
    """A result that depends on computed values and has no exact form, such as the position of a maximum."""


OPAQUE = Opaque()


def infinite(x: Any) -> bool:
    """Whether an entry is plus or minus infinity."""
    return isinstance(x, (float, np.floating)) and math.isinf(x)


def lift(tape: Tape, x: Any) -> Any:
    """One entry as a number of the tape; conditions become 1 and 0, infinities stay."""
    if isinstance(x, Number):
        return x
    if isinstance(x, Condition):
        return tape.select(x, tape.constant(1), tape.constant(0))
    if infinite(x):
        return float(x)
    if isinstance(x, Opaque):
        raise NotTraceable("a position or a vector that depends on computed values has no exact form")
    return tape.constant(x)


def lifted(tape: Tape, x: Any) -> Entries:
    """An array of tape numbers from anything array-like."""
    raw = as_objects(x)
    out = np.empty(raw.shape, dtype=object)
    for index in np.ndindex(raw.shape):
        out[index] = lift(tape, raw[index])
    return out


def as_objects(x: Any) -> Entries:
    """Anything array-like as an object array of the same entries."""
    if isinstance(x, np.ndarray):
        if x.dtype == object or not np.issubdtype(x.dtype, np.floating) or x.dtype == np.float64:
            return x.astype(object)
        out = np.empty(x.shape, dtype=object)  # float32 entries keep their type: it says how exactly they are known
        for index in np.ndindex(x.shape):
            out[index] = x[index]
        return out
    out = np.empty((), dtype=object)
    out[()] = x
    return out


def each(tape: Tape, function: Callable[..., Any], *operands: Any) -> Entries:
    """``function`` on the entries of broadcast operands."""
    arrays = [lifted(tape, x) for x in operands]
    shape = np.broadcast_shapes(*(x.shape for x in arrays))
    wide = [np.broadcast_to(x, shape) for x in arrays]
    out = np.empty(shape, dtype=object)
    for index in np.ndindex(shape):
        values = [x[index] for x in wide]
        if any(infinite(v) for v in values) and not getattr(function, "takes_infinity", False):
            raise NotTraceable("an infinite number enters a function that has no exact form there")
        out[index] = function(*values)
    return out


def op(name: str) -> Callable[..., Any]:
    """The operation of the tape as a function of numbers, with its limits at infinity where it has any."""

    def apply(*numbers: Any) -> Any:
        if any(infinite(x) for x in numbers):
            return _at_infinity(name, numbers)
        return numbers[0].tape.apply(name, *numbers)

    apply.takes_infinity = True  # type: ignore[attr-defined]
    return apply


def _at_infinity(name: str, numbers: Sequence[Any]) -> Any:
    a, b = numbers[0], numbers[-1]
    finite = next((x for x in numbers if isinstance(x, Number)), None)
    if finite is None and name == "exp" and a < 0:
        return 0
    if finite is None and name in ("add", "max", "min", "neg"):
        value = {"add": lambda: a + b, "max": lambda: max(a, b), "min": lambda: min(a, b), "neg": lambda: -a}[name]()
        if not math.isnan(value):
            return value
    elif finite is not None:
        inf = a if infinite(a) else b
        if name == "add":
            return inf
        if name in ("max", "min"):
            return inf if (inf > 0) == (name == "max") else finite
        if name == "mul" and finite.tape.positive[finite.index]:
            return inf
        if name == "mul" and finite.tape.positive[(-finite).index]:
            return -inf
        if name == "div" and infinite(a) and finite.tape.positive[finite.index]:
            return inf
    raise NotTraceable(f"an infinite number enters {name}, where it has no exact form")


def along(tape: Tape, reducer: Callable[[list[Any], Tape], Any], x: Any, axes: Any, keep: bool) -> Entries:
    """A reduction of the entries along axes (None or empty: all)."""
    entries = as_objects(x)
    n = entries.ndim
    if axes is None or (isinstance(axes, (list, tuple)) and len(axes) == 0):
        chosen = tuple(range(n))
    else:
        chosen = tuple(_axis(a, n) for a in np.atleast_1d(axes))
    rest = [a for a in range(n) if a not in chosen]
    moved = np.transpose(entries, [*rest, *chosen]).reshape(
        *(entries.shape[a] for a in rest), math.prod(entries.shape[a] for a in chosen)
    )
    out = np.empty(moved.shape[:-1], dtype=object)
    for index in np.ndindex(out.shape):
        out[index] = reducer(list(moved[index]), tape)
    return out.reshape([1 if a in chosen else entries.shape[a] for a in range(n)]) if keep else out


def _axis(axis: Any, n: int) -> int:
    axis = int(axis)
    if not -max(n, 1) <= axis < max(n, 1):
        raise NotTraceable(f"axis {axis} of an array of {n} axes")
    return axis % max(n, 1)


def total(xs: list[Any], tape: Tape) -> Any:
    """The sum."""
    return reduce(op("add"), [lift(tape, x) for x in xs]) if xs else tape.constant(0)


def product(xs: list[Any], tape: Tape) -> Any:
    """The product."""
    return reduce(op("mul"), [lift(tape, x) for x in xs]) if xs else tape.constant(1)


def mean(xs: list[Any], tape: Tape) -> Any:
    """The arithmetic mean."""
    return total(xs, tape) * Fraction(1, len(xs))


def largest(xs: list[Any], tape: Tape) -> Any:
    """The maximum."""
    return reduce(op("max"), [lift(tape, x) for x in xs])


def smallest(xs: list[Any], tape: Tape) -> Any:
    """The minimum."""
    return reduce(op("min"), [lift(tape, x) for x in xs])


def log_sum_exp(xs: list[Any], tape: Tape) -> Any:
    """``log sum exp``, relative to the first finite entry; entries of minus infinity drop out."""
    finite = _unmasked(xs, tape)
    if not finite:
        return -math.inf
    return finite[0] + total([(x - finite[0]).exp() for x in finite], tape).log()


def every(xs: list[Any], tape: Tape) -> Any:
    """Whether all conditions hold."""
    return reduce(lambda a, b: a & b, xs) if xs else True


def some(xs: list[Any], tape: Tape) -> Any:
    """Whether one of the conditions holds."""
    return reduce(lambda a, b: a | b, xs) if xs else False


def ordered(xs: list[Any], descending: bool = False) -> list[Any]:
    """The entries sorted, by a network of maxima and minima."""
    out = list(xs)
    for end in range(len(out) - 1, 0, -1):
        for k in range(end):
            a, b = out[k], out[k + 1]
            out[k], out[k + 1] = op("min")(a, b), op("max")(a, b)
    return out[::-1] if descending else out


def softmax(tape: Tape, x: Any, axis: int, masked_rows_are_zero: bool = False) -> Entries:
    """Softmax through differences of logits: 1 / sum_j exp(x_j - x_i) keeps balls tight, and two logits give a
    sigmoid; logits of minus infinity get the weight 0."""

    def row(logits: list[Any]) -> list[Any]:
        finite = _unmasked(logits, tape)
        if not finite and not masked_rows_are_zero:
            raise NotTraceable("softmax of a row that is masked everywhere")
        out = []
        for own in logits:
            if infinite(own):
                out.append(tape.constant(0))
            elif len(finite) == 2:
                other = finite[1] if own is finite[0] else finite[0]
                out.append((own - other).apply("sigmoid"))
            else:
                out.append(1 / total([(other - own).exp() for other in finite], tape))
        return out

    return rowwise(row, lifted(tape, x), axis)


def log_softmax(tape: Tape, x: Any, axis: int) -> Entries:
    """``x - log sum exp x``."""

    def row(logits: list[Any]) -> list[Any]:
        finite = _unmasked(logits, tape)
        if not finite:
            raise NotTraceable("log_softmax of a row that is masked everywhere")
        return [x if infinite(x) else -total([(y - x).exp() for y in finite], tape).log() for x in logits]

    return rowwise(row, lifted(tape, x), axis)


def rowwise(row: Callable[[list[Any]], list[Any]], entries: Entries, axis: int) -> Entries:
    """A function of rows applied along one axis; it may change their length."""
    if entries.ndim == 0:
        return rowwise(row, entries.reshape(1), 0).reshape(())
    moved = np.moveaxis(entries, axis, -1)
    rows = {index: row(list(moved[index])) for index in np.ndindex(moved.shape[:-1])}
    width = len(next(iter(rows.values()))) if rows else 0
    out = np.empty((*moved.shape[:-1], width), dtype=object)
    for index, values in rows.items():
        for k, value in enumerate(values):
            out[(*index, k)] = value
    return np.moveaxis(out, -1, axis)


def matmul(tape: Tape, a: Any, b: Any) -> Entries:
    """The matrix product of numpy and torch."""
    left, right = lifted(tape, a), lifted(tape, b)
    if left.ndim == 0 or right.ndim == 0:
        raise NotTraceable("matmul of a number")
    out = np.matmul(left, right)
    return out if isinstance(out, np.ndarray) else as_objects(out)


def determinant(tape: Tape, m: Entries) -> Any:
    """By cofactors: up to 5 by 5."""
    n = len(m)
    if n > 5:
        raise NotTraceable(f"the determinant of a {n}x{n} matrix has too many terms; it has an exact form up to 5x5")
    if n == 1:
        return m[0, 0]
    terms = []
    for k in range(n):
        minor = np.delete(np.delete(m, 0, axis=0), k, axis=1)
        term = m[0, k] * determinant(tape, minor)
        terms.append(-term if k % 2 else term)
    return total(terms, tape)


def inverse(tape: Tape, m: Entries) -> Entries:
    """The adjugate over the determinant: up to 4 by 4."""
    n = len(m)
    if n > 4:
        raise NotTraceable(f"the inverse of a {n}x{n} matrix has too many terms; it has an exact form up to 4x4")
    det = determinant(tape, m)
    out = np.empty((n, n), dtype=object)
    for i in range(n):
        for j in range(n):
            if n == 1:
                cofactor = tape.constant(1)
            else:
                cofactor = determinant(tape, np.delete(np.delete(m, j, axis=0), i, axis=1))
            out[i, j] = (-cofactor if (i + j) % 2 else cofactor) / det
    return out


def batched(function: Callable[[Entries], Any], m: Entries) -> Entries:
    """A function of matrices on the last two axes of an array."""
    results = {index: as_objects(function(m[index])) for index in np.ndindex(m.shape[:-2])}
    shape = next(iter(results.values())).shape
    out = np.empty((*m.shape[:-2], *shape), dtype=object)
    for index, value in results.items():
        out[index] = value if shape else value.item()
    return out


def eigenvalues(tape: Tape, m: Entries) -> Entries:
    """Ascending eigenvalues of a symmetric matrix (its lower triangle); in closed form for 2 by 2."""
    n = len(m)
    out = np.empty(n, dtype=object)
    if n == 1:
        out[0] = m[0, 0]
    elif n == 2:
        centre = (m[0, 0] + m[1, 1]) * Fraction(1, 2)
        radius = (((m[0, 0] - m[1, 1]) * Fraction(1, 2)) ** 2 + m[1, 0] ** 2).sqrt()
        out[:] = [centre - radius, centre + radius]
    else:
        out[:] = [tape.eigenvalue(k, list(m)) for k in range(n)]
    return out


def singular_values(tape: Tape, m: Entries) -> Entries:
    """Descending singular values; in closed form if one side has at most two entries."""
    if m.shape[0] > m.shape[1]:
        m = m.T
    n = len(m)
    out = np.empty(n, dtype=object)
    if n == 1:
        out[0] = total([x**2 for x in m[0]], tape).sqrt()
    elif n == 2 and m.shape[1] == 2:  # the sum and the difference of two lengths, which stay accurate
        s = ((m[0, 0] + m[1, 1]) ** 2 + (m[0, 1] - m[1, 0]) ** 2).sqrt()
        d = ((m[0, 0] - m[1, 1]) ** 2 + (m[0, 1] + m[1, 0]) ** 2).sqrt()
        out[:] = [(s + d) * Fraction(1, 2), abs(s - d) * Fraction(1, 2)]
    else:
        out[:] = [tape.singular(k, list(m)) for k in range(n)]
    return out


def vector_norm(tape: Tape, xs: list[Any], order: Any) -> Any:
    """The vector norm of any real order."""
    xs = [lift(tape, x) for x in xs]
    if order in (math.inf, "inf"):
        return largest([abs(x) for x in xs], tape)
    if order == -math.inf:
        return smallest([abs(x) for x in xs], tape)
    order = 2 if order is None else order
    if order == 0:
        return total([tape.select(x != 0, tape.constant(1), tape.constant(0)) for x in xs], tape)
    if order == 1:
        return total([abs(x) for x in xs], tape)
    if order == 2:
        return abs(xs[0]) if len(xs) == 1 else total([x**2 for x in xs], tape).sqrt()
    if not isinstance(order, (int, float)) or order < 0:
        raise NotTraceable(f"no exact form of the vector norm of order {order!r}")
    powers = total([abs(x) ** _exact(order) for x in xs], tape)
    return powers ** (1 / _exact(order))


def _exact(order: float) -> Fraction:
    from attnlab.analysis.exact.reading import read

    return read(order)[0]


def matrix_norm(tape: Tape, m: Entries, order: Any) -> Any:
    """The matrix norm by its name: Frobenius, spectral (2), nuclear, largest column (1) or row (inf) sum."""
    if order in (None, "fro"):
        return vector_norm(tape, list(m.ravel()), 2)
    if order in (2, -2, "nuc"):
        found = list(singular_values(tape, m))
        return total(found, tape) if order == "nuc" else found[0] if order == 2 else found[-1]
    if order in (1, -1, math.inf, -math.inf):
        rows = m if math.isinf(order) else m.T
        sums = [total([abs(x) for x in row], tape) for row in rows]
        return largest(sums, tape) if order > 0 else smallest(sums, tape)
    raise NotTraceable(f"no exact form of the matrix norm of order {order!r}")


def _unmasked(xs: list[Any], tape: Tape) -> list[Any]:
    if any(infinite(x) and x > 0 for x in xs):
        raise NotTraceable("softmax of an infinite logit")
    return [lift(tape, x) for x in xs if not infinite(x)]
