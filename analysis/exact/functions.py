"""The functions of torch and numpy that have an exact form, by name: ``FUNCTIONS[name](tape, *arguments)``.

They take and give object arrays of numbers of the tape; what else an argument holds becomes constants of the tape.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import reduce
from typing import Any

import numpy as np

from attnlab.analysis.exact.tape import Comparison, NotTraceable, Number, Tape

Entries = np.ndarray


def entries_of(values: Any, tape: Tape) -> Entries:
    """Anything array-like as an object array of numbers on the tape (or of comparisons)."""
    if isinstance(values, Comparison):
        return np.array([values], dtype=object).reshape(())
    raw = _raw(values)
    if any(isinstance(x, Comparison) for x in raw.flat):
        return raw
    out = np.empty(raw.shape, dtype=object)
    for index in np.ndindex(raw.shape):
        out[index] = tape.constant(raw[index])
    return out


def _raw(x: Any) -> np.ndarray:
    """The entries of anything array-like as an object array."""
    if isinstance(x, (list, tuple)):
        parts = [_raw(part) for part in x]
        out = np.empty((len(parts), *(parts[0].shape if parts else ())), dtype=object)
        for k, part in enumerate(parts):
            out[k] = part if part.shape else part.item()
        return out
    if hasattr(x, "detach"):
        x = x.detach().cpu().numpy()
    if isinstance(x, Fraction) or not hasattr(x, "shape"):
        out = np.empty((), dtype=object)
        out[()] = x
        return out
    return np.asarray(x).astype(object)


def _elementwise(function: Callable[..., Any]) -> Callable[..., Entries]:
    """``function`` on tape numbers, broadcast over arrays."""

    def on_arrays(tape: Tape, *args: Any, **kwargs: Any) -> Entries:
        operands = [x for x in args if x is not None]
        lifted = [entries_of(x, tape) for x in operands]
        grid = np.broadcast(*lifted) if len(lifted) > 1 else None
        shape = grid.shape if grid is not None else lifted[0].shape
        out = np.empty(shape, dtype=object)
        wide = [np.broadcast_to(x, shape) for x in lifted]
        for index in np.ndindex(shape):
            out[index] = function(*(x[index] for x in wide))
        return out

    return on_arrays


def _over(reducer: Callable[[Sequence[Number], Tape], Any]) -> Callable[..., Entries]:
    """A reduction of the entries along ``dim`` (all of them without one)."""

    def on_array(
        tape: Tape,
        x: Any,
        dim: Any = None,
        keepdim: bool = False,
        *,
        axis: Any = None,
        keepdims: bool = False,
        **more: Any,
    ) -> Any:
        entries = entries_of(x, tape)
        where = dim if dim is not None else axis
        axes = tuple(range(entries.ndim)) if where is None else tuple(a % entries.ndim for a in np.atleast_1d(where))
        rest = [a for a in range(entries.ndim) if a not in axes]
        moved = np.transpose(entries, [*rest, *axes]).reshape(*(entries.shape[a] for a in rest), -1)
        out = np.empty(moved.shape[:-1], dtype=object)
        for index in np.ndindex(out.shape):
            out[index] = reducer(list(moved[index]), tape)
        if keepdim or keepdims:
            out = out.reshape([1 if a in axes else entries.shape[a] for a in range(entries.ndim)])
        return out

    return on_array


def _total(xs: Sequence[Number], tape: Tape) -> Number:
    return reduce(lambda a, b: a + b, xs) if xs else tape.constant(0)


def _largest(xs: Sequence[Number], tape: Tape) -> Number:
    return reduce(lambda a, b: tape.apply("max", a, b), xs)


def _smallest(xs: Sequence[Number], tape: Tape) -> Number:
    return reduce(lambda a, b: tape.apply("min", a, b), xs)


def _logsumexp(xs: Sequence[Number], tape: Tape) -> Number:
    return xs[0] + _total([(x - xs[0]).exp() for x in xs], tape).log()


def _all(xs: Sequence[Any], tape: Tape) -> Comparison:
    return reduce(lambda a, b: a & b, xs)


def _softmax(tape: Tape, x: Entries, dim: Any = None, *args: Any, axis: Any = None, **more: Any) -> Entries:
    """Softmax through differences of logits: 1 / sum_j exp(x_j - x_i) keeps balls tight, and two logits give a
    sigmoid."""
    entries = entries_of(x, tape)
    where = dim if dim is not None else axis
    if where is None:
        raise NotTraceable("softmax needs dim")
    moved = np.moveaxis(entries, where, -1)
    out = np.empty(moved.shape, dtype=object)
    for row in np.ndindex(moved.shape[:-1]):
        logits = moved[row]
        for i, own in enumerate(logits):
            if len(logits) == 2:
                out[(*row, i)] = (own - logits[1 - i]).apply("sigmoid")
            else:
                out[(*row, i)] = 1 / _total([(other - own).exp() for other in logits], tape)
    return np.moveaxis(out, -1, where)


def _log_softmax(tape: Tape, x: Entries, dim: Any = None, *args: Any, axis: Any = None, **more: Any) -> Entries:
    where = dim if dim is not None else axis
    return x - _over(_logsumexp)(tape, x, dim=where, keepdim=True)


def _norm(
    tape: Tape,
    x: Entries,
    p: Any = None,
    dim: Any = None,
    keepdim: bool = False,
    *,
    ord: Any = None,
    axis: Any = None,
    keepdims: bool = False,
    **more: Any,
) -> Entries:
    """The vector norms 1, 2, inf and the Frobenius norm."""
    which = ord if ord is not None else p
    where, keep = (dim if dim is not None else axis), keepdim or keepdims
    flat = where is None or np.ndim(where) > 0
    if which in (None, "fro") or (which == 2 and not (flat and x.ndim == 2 and ord is not None)):
        return FUNCTIONS["sqrt"](tape, _over(_total)(tape, FUNCTIONS["square"](tape, x), dim=where, keepdim=keep))
    if which == 1 and (x.ndim == 1 or not flat):
        return _over(_total)(tape, FUNCTIONS["abs"](tape, x), dim=where, keepdim=keep)
    if which in (math.inf, "inf") and (x.ndim == 1 or not flat):
        return _over(_largest)(tape, FUNCTIONS["abs"](tape, x), dim=where, keepdim=keep)
    raise NotTraceable(f"no exact form of the norm of order {which!r} on shape {x.shape}")


def _matmul(tape: Tape, a: Any, b: Any) -> Entries:
    return np.matmul(entries_of(a, tape), entries_of(b, tape))


def _dot(tape: Tape, a: Any, b: Any) -> Entries:
    return np.dot(entries_of(a, tape), entries_of(b, tape))


def _outer(tape: Tape, a: Any, b: Any) -> Entries:
    return np.multiply.outer(entries_of(a, tape).ravel(), entries_of(b, tape).ravel())


def _einsum(tape: Tape, pattern: str, *operands: Any, **more: Any) -> Entries:
    operands = operands[0] if len(operands) == 1 and isinstance(operands[0], (list, tuple)) else operands
    return np.einsum(pattern, *(entries_of(x, tape) for x in operands), optimize=False)


def _joined(join: Callable[..., np.ndarray]) -> Callable[..., Entries]:
    def on_arrays(tape: Tape, arrays: Sequence[Any], dim: int = 0, *, axis: int | None = None) -> Entries:
        return join([entries_of(x, tape) for x in arrays], axis=dim if axis is None else axis)

    return on_arrays


def _shaped(function: Callable[..., np.ndarray]) -> Callable[..., Entries]:
    """A function that only moves entries around."""

    def on_array(tape: Tape, x: Entries, *args: Any, **kwargs: Any) -> Entries:
        return function(x, *args, **kwargs)

    return on_array


def _pair_max(tape: Tape, a: Any, b: Any = None, *args: Any, **kwargs: Any) -> Entries:
    if hasattr(b, "shape"):
        return _elementwise(lambda u, v: tape.apply("max", u, v))(tape, a, b)
    return _over(_largest)(tape, a, b, *args, **kwargs)


def _pair_min(tape: Tape, a: Any, b: Any = None, *args: Any, **kwargs: Any) -> Entries:
    if hasattr(b, "shape"):
        return _elementwise(lambda u, v: tape.apply("min", u, v))(tape, a, b)
    return _over(_smallest)(tape, a, b, *args, **kwargs)


def _flat_shape(shape: tuple[Any, ...]) -> tuple[int, ...]:
    return tuple(shape[0]) if len(shape) == 1 and not isinstance(shape[0], int) else shape


def _table() -> dict[str, Callable[..., Any]]:
    """Every function a traced array understands, under its torch and numpy names."""
    unary = {
        name: _elementwise(lambda x, op=name: x.apply(op))
        for name in ("exp", "log", "sqrt", "tanh", "sigmoid", "sin", "cos", "erf", "abs", "square", "neg")
    }
    table: dict[str, Callable[..., Any]] = {
        **unary,
        "absolute": unary["abs"],
        "fabs": unary["abs"],
        "negative": unary["neg"],
        "positive": lambda tape, x: x,
        "pos": lambda tape, x: x,
        "expit": unary["sigmoid"],
        "atan": _elementwise(lambda x: x.apply("atan")),
        "arctan": _elementwise(lambda x: x.apply("atan")),
        "relu": _elementwise(lambda x: x.tape.apply("max", x, x.tape.constant(0))),
        "rsqrt": _elementwise(lambda x: 1 / x.sqrt()),
        "reciprocal": _elementwise(lambda x: 1 / x),
        "log1p": _elementwise(lambda x: (1 + x).log()),
        "expm1": _elementwise(lambda x: x.exp() - 1),
        "softplus": _elementwise(lambda x: (1 + x.exp()).log()),
        "cosh": _elementwise(lambda x: (x.exp() + (-x).exp()) / 2),
        "sinh": _elementwise(lambda x: (x.exp() - (-x).exp()) / 2),
        "maximum": _pair_max,
        "minimum": _pair_min,
        "max": _pair_max,
        "min": _pair_min,
        "amax": _over(_largest),
        "amin": _over(_smallest),
        "sum": _over(_total),
        "prod": _over(lambda xs, tape: reduce(lambda a, b: a * b, xs)),
        "mean": _over(lambda xs, tape: _total(xs, tape) / len(xs)),
        "logsumexp": _over(_logsumexp),
        "all": _over(_all),
        "norm": _norm,
        "vector_norm": _norm,
        "linalg_norm": _norm,
        "linalg_vector_norm": _norm,
        "softmax": _softmax,
        "log_softmax": _log_softmax,
        "matmul": _matmul,
        "mv": _matmul,
        "mm": _matmul,
        "bmm": _matmul,
        "rmatmul": lambda tape, a, b: _matmul(tape, b, a),
        "dot": _dot,
        "inner": _dot,
        "vdot": _dot,
        "outer": _outer,
        "ger": _outer,
        "einsum": _einsum,
        "stack": _joined(np.stack),
        "cat": _joined(np.concatenate),
        "concatenate": _joined(np.concatenate),
        "concat": _joined(np.concatenate),
        "trace": _shaped(np.trace),
        "diagonal": _shaped(np.diagonal),
        "diag": _shaped(np.diag),
        "ravel": _shaped(np.ravel),
        "flatten": _shaped(lambda e: e.reshape(-1)),
        "reshape": _shaped(lambda e, *s: e.reshape(_flat_shape(s))),
        "view": _shaped(lambda e, *s: e.reshape(_flat_shape(s))),
        "permute": _shaped(lambda e, *s: e.transpose(_flat_shape(s))),
        "transpose": _shaped(lambda e, *d: np.swapaxes(e, *d) if len(d) == 2 else np.transpose(e, *d)),
        "swapaxes": _shaped(np.swapaxes),
        "unsqueeze": _shaped(np.expand_dims),
        "expand_dims": _shaped(np.expand_dims),
        "squeeze": _shaped(np.squeeze),
        "flip": _shaped(np.flip),
        "clone": lambda tape, x: x,
        "double": lambda tape, x: x,
        "to": lambda tape, x, *a, **k: x,
        "dim": lambda tape, x: x.ndim,
        "numel": lambda tape, x: x.size,
        "size": lambda tape, x, d=None: x.shape if d is None else x.shape[d],
    }
    binary: dict[str, Callable[[Any, Any], Any]] = {
        "add": lambda a, b: a + b,
        "sub": lambda a, b: a - b,
        "mul": lambda a, b: a * b,
        "truediv": lambda a, b: a / b,
        "pow": lambda a, b: a**b,
        "le": lambda a, b: a <= b,
        "ge": lambda a, b: a >= b,
        "lt": lambda a, b: a < b,
        "gt": lambda a, b: a > b,
        "and": lambda a, b: a & b,
    }
    names = {
        "add": ("add",),
        "sub": ("sub", "subtract"),
        "mul": ("mul", "multiply"),
        "truediv": ("truediv", "div", "true_divide", "divide"),
        "pow": ("pow", "power", "float_power"),
        "le": ("le", "less_equal"),
        "ge": ("ge", "greater_equal"),
        "lt": ("lt", "less"),
        "gt": ("gt", "greater"),
        "and": ("and", "logical_and", "bitwise_and"),
    }
    for key, function in binary.items():
        table.update({name: _elementwise(function) for name in names[key]})
    for key in ("add", "sub", "mul", "truediv", "pow", "div"):
        function = binary["truediv" if key == "div" else key]
        table["r" + key] = _elementwise(lambda a, b, f=function: f(b, a))
    return table


FUNCTIONS = _table()
