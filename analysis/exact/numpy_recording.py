"""Record a side written in numpy, by calling it with arrays that know both their numbers and their entries on a tape.

A ``Traced`` array answers numpy's own protocols, so ``np.maximum(x, 0)`` is numpy's maximum and ``x.max(0)`` that of
an array. Every function takes numpy's arguments by numpy's names; an argument without an exact form refuses the recording,
as do conversions to Python numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np

from attnlab.analysis.exact import arrays as ar
from attnlab.analysis.exact import torch_operations as operations
from attnlab.analysis.exact.arrays import along, each, lifted, op
from attnlab.analysis.exact.tape import Condition, NotTraceable, Number, Tape

_FAILURES = (TypeError, ValueError, AttributeError, NotImplementedError, RuntimeError, IndexError, OverflowError)


class Recording:
    """The tape of one recording, and the branches taken at its point."""

    def __init__(self, tape: Tape, path: bool) -> None:
        self.tape, self.path = tape, path
        self.conditions: list[tuple[Number, bool]] = []


class Traced:
    """An array of float64 numbers with their entries on a tape."""

    __array_priority__ = 1000
    __hash__ = object.__hash__

    def __init__(self, entries: Any, values: Any, recording: Recording) -> None:
        self.entries = ar.as_objects(entries)
        self.values = np.asarray(values)
        self.recording = recording
        if self.entries.shape != self.values.shape:
            raise NotTraceable(f"an exact form of shape {self.entries.shape} for an array of shape {self.values.shape}")

    shape = property(lambda self: self.entries.shape)
    ndim = property(lambda self: self.entries.ndim)
    size = property(lambda self: self.entries.size)
    dtype = property(lambda self: self.values.dtype)
    T = property(lambda self: self.transpose())
    mT = property(lambda self: self.swapaxes(-1, -2))

    def __len__(self) -> int:
        if self.ndim == 0:
            raise TypeError("len() of unsized object")
        return len(self.entries)

    def __iter__(self) -> Any:
        return (self[k] for k in range(len(self)))

    def __getitem__(self, key: Any) -> Traced:
        parts = key if isinstance(key, tuple) else (key,)
        if any(isinstance(p, Traced) for p in parts):
            raise NotTraceable("the statement indexes by computed values")
        return Traced(self.entries[key], self.values[key], self.recording)

    def __setitem__(self, key: Any, value: Any) -> None:
        raise NotTraceable("the statement writes into one of its own arrays; build it with np.stack or np.where")

    def __bool__(self) -> bool:
        if self.size != 1:
            raise NotTraceable("the statement branches on an array")
        entry, value = self.entries.item(), bool(self.values.item())
        if isinstance(entry, (bool, np.bool_)):
            return value
        if not isinstance(entry, Condition) or not self.recording.path:
            raise NotTraceable("the statement branches on a comparison of computed values")
        self.recording.conditions.extend(entry.clauses if value else (~entry).clauses)
        return value

    def __float__(self) -> float:
        raise NotTraceable("the statement turns a computed value into a Python number")

    __int__ = __index__ = __complex__ = __round__ = item = tolist = __float__

    def __contains__(self, value: Any) -> bool:
        raise NotTraceable("the statement asks whether a computed array contains a number")

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name in _METHODS:
            return partial(_call, _METHODS[name], self)
        if name in _OBJECT_LOOPS:  # np.exp of an object array asks its entries
            return partial(_ufunc, getattr(np, name), (self,))
        if name.startswith("__") or not hasattr(np.ndarray, name):
            raise AttributeError(f"'numpy.ndarray' object has no attribute {name!r}")
        raise NotTraceable(f"no exact form of the array method .{name}()")

    def __array_function__(self, func: Any, types: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        return _call(func, *args, **kwargs)

    def __array_ufunc__(self, ufunc: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        if method != "__call__":
            raise NotTraceable(f"no exact form of np.{ufunc.__name__}.{method}")
        if kwargs:
            raise NotTraceable(f"no exact form of np.{ufunc.__name__} with {sorted(kwargs)[0]}=")
        return _ufunc(ufunc, args)


def record_numpy(
    function: Callable[[Mapping[str, Any]], Any],
    point: Mapping[str, np.ndarray],
    inputs: Mapping[str, np.ndarray],
    tape: Tape,
    path: bool = False,
) -> tuple[np.ndarray, list[tuple[Number, bool]]]:
    """Entries of ``function(point)`` and the conditions of its branches, for a function written in numpy."""
    recording = Recording(tape, path)
    own = {name: Traced(inputs[name], value, recording) if name in inputs else value for name, value in point.items()}
    try:
        found = function(own)
        _check_same(found, function(dict(point)))
        return _result(found), recording.conditions
    except NotTraceable:
        raise
    except _FAILURES as error:
        cause = error.__cause__ if isinstance(error.__cause__, NotTraceable) else None
        raise cause or NotTraceable(f"{type(error).__name__}: {error}") from error


def _check_same(found: Any, plain: Any) -> None:
    """The recorded run must return what the function returns: it may treat recorded arrays as something else."""
    values = np.asarray(_plain_values(found), dtype=np.float64)
    wanted = np.asarray(plain, dtype=np.float64)
    if values.shape != wanted.shape or not np.allclose(values, wanted, rtol=1e-9, atol=0, equal_nan=True):
        raise NotTraceable("the statement treats recorded arrays differently from numpy's own")


def _plain_values(x: Any) -> Any:
    if isinstance(x, Traced):
        return x.values
    if isinstance(x, (list, tuple)):
        return [_plain_values(part) for part in x]
    if isinstance(x, np.ndarray) and x.dtype == object:
        return np.array([float(_plain_values(part)) for part in x.flat]).reshape(x.shape)
    return x


def _result(x: Any) -> np.ndarray:
    if isinstance(x, Traced):
        return x.entries
    if isinstance(x, (list, tuple)):
        return np.stack([_result(part) for part in x])
    raw = ar.as_objects(np.asarray(x) if not isinstance(x, Fraction) else x)
    out = np.empty(raw.shape, dtype=object)
    for index in np.ndindex(raw.shape):
        entry: Any = raw[index]
        out[index] = entry.entries.item() if isinstance(entry, Traced) else entry
    return out


def _ufunc(ufunc: Any, args: Sequence[Any]) -> Traced:
    function = UFUNCS.get(ufunc.__name__)
    if function is None:
        raise NotTraceable(f"no exact form of np.{ufunc.__name__}")
    recording = _recording(args)
    with np.errstate(all="ignore"):
        values = ufunc(*(_values(x) for x in args))
    return Traced(function(recording.tape, *(_entries(x) for x in args)), values, recording)


def _call(func: Any, *args: Any, **kwargs: Any) -> Any:
    name = _name(func)
    function = FUNCTIONS.get(name)
    if function is None:
        raise NotTraceable(f"no exact form of np.{name}")
    recording = _recording([*args, *kwargs.values()])
    try:
        found = function(recording.tape, *map(_entries, args), **{k: _entries(v) for k, v in kwargs.items()})
    except TypeError as error:
        raise NotTraceable(f"no exact form of np.{name} with these arguments: {error}") from error
    with np.errstate(all="ignore"):
        values = func(*map(_values, args), **{k: _values(v) for k, v in kwargs.items()})
    if isinstance(found, tuple):
        return tuple(Traced(f, v, recording) for f, v in zip(found, values, strict=True))
    return Traced(found, values, recording)


def _name(func: Any) -> str:
    module = getattr(func, "__module__", "") or ""
    return ("linalg." if "linalg" in module and func is not np.dot else "") + func.__name__


def _recording(values: Sequence[Any]) -> Recording:
    for x in values:
        if isinstance(x, Traced):
            return x.recording
        if isinstance(x, (list, tuple)):
            try:
                return _recording(x)
            except NotTraceable:
                continue
        if isinstance(x, np.ndarray) and x.dtype == object:
            for entry in x.flat:
                if isinstance(entry, Traced):
                    return entry.recording
    raise NotTraceable("no traced argument")


def _entries(x: Any) -> Any:
    if isinstance(x, Traced):
        return x.entries
    if isinstance(x, (list, tuple)) and any(isinstance(p, (Traced, list, tuple)) for p in x):
        return [_entries(p) for p in x]
    if isinstance(x, np.ndarray) and x.dtype == object:
        return _result(x)
    return x


def _values(x: Any) -> Any:
    if isinstance(x, Traced):
        return x.values
    if isinstance(x, (list, tuple)):
        return type(x)(_values(p) for p in x)
    if isinstance(x, np.ndarray) and x.dtype == object:
        return np.array([_values(p) for p in x.flat], dtype=np.float64).reshape(x.shape)
    return x


# -- numpy's functions, with numpy's names of arguments --------------------------------------------------------------


def _reduced(reducer: Callable[..., Any], start: Callable[..., Any] | None = None) -> Callable[..., Any]:
    def function(tape: Tape, a: Any, axis: Any = None, *, keepdims: bool = False, initial: Any = None) -> Any:
        found = along(tape, reducer, a, axis, keepdims)
        if initial is None:
            return found
        if start is None:
            raise NotTraceable("this reduction has no initial value")
        return each(tape, start, found, initial)

    return function


def _norm(tape: Tape, x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    x = lifted(tape, x)
    axes = tuple(range(x.ndim)) if axis is None else tuple(int(a) for a in np.atleast_1d(axis))
    if ord is None or len(axes) == 1:
        return along(tape, lambda xs, tape: ar.vector_norm(tape, xs, ord), x, axes, keepdims)
    if len(axes) != 2 or x.ndim != 2 or axes != (0, 1) or keepdims:
        raise NotTraceable("a matrix norm has an exact form for one matrix")
    return ar.matrix_norm(tape, x, ord)


def _where(tape: Tape, condition: Any, x: Any, y: Any) -> Any:
    return operations.choose(tape, condition, x, y)


def _clip(tape: Tape, a: Any, a_min: Any = None, a_max: Any = None, *, min: Any = None, max: Any = None) -> Any:
    return operations.clamp(tape, a, min if a_min is None else a_min, max if a_max is None else a_max)


def _joined(join: Callable[..., Any]) -> Callable[..., Any]:
    return lambda tape, arrays, axis=0: join([ar.as_objects(_stacked(x)) for x in arrays], axis=axis)


def _stacked(x: Any) -> Any:
    return np.stack([_stacked(p) for p in x]) if isinstance(x, list) else ar.as_objects(x)


def _einsum(tape: Tape, subscripts: str, *operands: Any) -> Any:
    return np.einsum(subscripts, *(lifted(tape, x) for x in operands), optimize=False)


def _products(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda tape, a, b: ar.as_objects(function(lifted(tape, a), lifted(tape, b)))


def _variance(tape: Tape, a: Any, axis: Any = None, *, ddof: Any = 0, keepdims: bool = False) -> Any:
    return operations.variance(tape, a, axis, ddof, keepdims)


def _deviation(tape: Tape, a: Any, axis: Any = None, *, ddof: Any = 0, keepdims: bool = False) -> Any:
    return each(tape, op("sqrt"), _variance(tape, a, axis, ddof=ddof, keepdims=keepdims))


def _cumulative(step: Callable[..., Any]) -> Callable[..., Any]:
    def function(tape: Tape, a: Any, axis: Any = None) -> Any:
        flat = lifted(tape, a).ravel() if axis is None else a
        return operations.cumulative(step)(tape, flat, 0 if axis is None else axis)

    return function


def _sort(tape: Tape, a: Any, axis: Any = -1) -> Any:
    if axis is None:
        raise NotTraceable("np.sort with axis=None")
    return ar.rowwise(ar.ordered, lifted(tape, a), axis)


def _shaped(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that only moves entries around: numpy does it, whatever its arguments."""
    return lambda tape, a, *args, **kwargs: function(ar.as_objects(a), *args, **kwargs)


def _triangle(function: Callable[..., Any]) -> Callable[..., Any]:
    def moved(tape: Tape, m: Any, k: int = 0) -> Any:
        inside = function(np.ones(np.shape(m), dtype=bool), k)
        return operations.choose(tape, inside, m, np.zeros(np.shape(m)))

    return moved


def _diag(tape: Tape, v: Any, k: int = 0) -> Any:
    v = lifted(tape, v)
    if v.ndim == 2:
        return np.diag(v, k)
    n = len(v) + abs(k)
    out = np.full((n, n), tape.constant(0))
    for i, x in enumerate(v):
        out[i + max(0, -k), i + max(0, k)] = x
    return out


def _average(tape: Tape, a: Any, axis: Any = None, weights: Any = None) -> Any:
    if weights is None:
        return along(tape, ar.mean, a, axis, False)
    products = each(tape, op("mul"), a, weights)
    return each(
        tape, op("div"), along(tape, ar.total, products, axis, False), along(tape, ar.total, weights, axis, False)
    )


def _diff(tape: Tape, a: Any) -> Any:
    a = lifted(tape, a)
    return each(tape, lambda x, y: x - y, a[..., 1:], a[..., :-1])


def _linear(tape: Tape, x: Any, scale: Any) -> Any:
    return each(tape, op("mul"), x, scale)


_SAME = operations.OPERATIONS
UFUNCS: dict[str, Callable[..., Any]] = {
    **{
        n: _SAME[n]
        for n in (
            "exp log log1p expm1 sqrt tanh sin cos tan sinh cosh exp2 log2 log10 square reciprocal floor ceil trunc "
            "sign hypot heaviside fmod remainder logaddexp logaddexp2 maximum minimum fmax fmin logical_and logical_or "
            "logical_xor logical_not bitwise_and bitwise_or bitwise_xor erf erfc xlogy"
        ).split()
    },
    "absolute": _SAME["abs"],
    "fabs": _SAME["abs"],
    "negative": _SAME["neg"],
    "positive": lambda tape, x: x,
    "arctan": _SAME["atan"],
    "arcsin": _SAME["asin"],
    "arccos": _SAME["acos"],
    "arcsinh": _SAME["asinh"],
    "arccosh": _SAME["acosh"],
    "arctanh": _SAME["atanh"],
    "arctan2": _SAME["atan2"],
    "rint": _SAME["round"],
    "cbrt": lambda tape, x: each(
        tape, lambda v: tape.select(v >= 0, abs(v) ** Fraction(1, 3), -(abs(v) ** Fraction(1, 3))), x
    ),
    "deg2rad": _SAME["deg2rad"],
    "rad2deg": _SAME["rad2deg"],
    "expit": _SAME["sigmoid"],
    "logit": _SAME["logit"],
    "entr": _SAME["special_entr"],
    "gammaln": _SAME["lgamma"],
    "invert": _SAME["bitwise_not"],
    "add": _SAME["add"],
    "subtract": _SAME["sub"],
    "multiply": _SAME["mul"],
    "divide": _SAME["div"],
    "true_divide": _SAME["div"],
    "floor_divide": lambda tape, a, b: _SAME["div"](tape, a, b, "floor"),
    "power": _SAME["pow"],
    "float_power": _SAME["pow"],
    "matmul": ar.matmul,
    "less": _SAME["lt"],
    "less_equal": _SAME["le"],
    "greater": _SAME["gt"],
    "greater_equal": _SAME["ge"],
    "equal": _SAME["eq"],
    "not_equal": _SAME["ne"],
}
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "sum": _reduced(ar.total, op("add")),
    "prod": _reduced(ar.product, op("mul")),
    "max": _reduced(ar.largest, op("max")),
    "min": _reduced(ar.smallest, op("min")),
    "amax": _reduced(ar.largest, op("max")),
    "amin": _reduced(ar.smallest, op("min")),
    "mean": _reduced(ar.mean),
    "all": _reduced(ar.every),
    "any": _reduced(ar.some),
    "var": _variance,
    "std": _deviation,
    "average": _average,
    "ptp": lambda tape, a, axis=None: each(
        tape, lambda u, v: u - v, along(tape, ar.largest, a, axis, False), along(tape, ar.smallest, a, axis, False)
    ),
    "median": lambda tape, a: _median(tape, a),
    "cumsum": _cumulative(op("add")),
    "cumprod": _cumulative(op("mul")),
    "sort": _sort,
    "diff": _diff,
    "where": _where,
    "clip": _clip,
    "stack": _joined(np.stack),
    "concatenate": _joined(np.concatenate),
    "dot": _products(np.dot),
    "inner": _products(np.inner),
    "vdot": lambda tape, a, b: ar.as_objects(np.dot(lifted(tape, a).ravel(), lifted(tape, b).ravel())),
    "outer": lambda tape, a, b: np.multiply.outer(lifted(tape, a).ravel(), lifted(tape, b).ravel()),
    "linalg.outer": lambda tape, a, b: np.multiply.outer(lifted(tape, a).ravel(), lifted(tape, b).ravel()),
    "einsum": _einsum,
    "trace": lambda tape, a: ar.total(list(np.diagonal(lifted(tape, a))), tape),
    "diag": _diag,
    "tril": _triangle(np.tril),
    "triu": _triangle(np.triu),
    "sinc": _SAME["sinc"],
    "cross": lambda tape, a, b: operations.cross(tape, a, b),
    "real": lambda tape, a: a,
    "linalg.norm": _norm,
    "linalg.det": lambda tape, a: ar.batched(lambda m: ar.determinant(tape, m), lifted(tape, a)),
    "linalg.inv": lambda tape, a: ar.batched(lambda m: ar.inverse(tape, m), lifted(tape, a)),
    "linalg.solve": lambda tape, a, b: operations.solve(tape, a, b)[0],
    "linalg.eigvalsh": lambda tape, a: ar.batched(lambda m: ar.eigenvalues(tape, m), lifted(tape, a)),
    "linalg.cholesky": lambda tape, a: operations.cholesky(tape, a)[0],
    **{
        f.__name__: _shaped(f)
        for f in (
            np.reshape, np.ravel, np.transpose, np.swapaxes, np.moveaxis, np.squeeze, np.expand_dims, np.flip, np.roll,
            np.repeat, np.tile, np.diagonal, np.broadcast_to, np.atleast_1d, np.atleast_2d, np.copy, np.fliplr,
            np.flipud, np.rot90, np.take,
        )
    },
}  # fmt: skip


def _median(tape: Tape, a: Any) -> Any:
    xs = ar.ordered(list(lifted(tape, a).ravel()))
    middle = len(xs) // 2
    return xs[middle] if len(xs) % 2 else (xs[middle - 1] + xs[middle]) * Fraction(1, 2)


def _reshape_method(a: np.ndarray, *shape: Any) -> np.ndarray:
    return a.reshape(*shape)


def _transpose_method(a: np.ndarray, *axes: Any) -> np.ndarray:
    return a.transpose(*axes)


def _flatten_method(a: np.ndarray) -> np.ndarray:
    return a.flatten()


def _astype_method(a: np.ndarray, dtype: Any) -> np.ndarray:
    if np.dtype(dtype) != np.float64:
        raise NotTraceable(f"the statement rounds a computed value to {dtype}")
    return a.astype(np.float64)


FUNCTIONS |= {
    "_reshape_method": _shaped(_reshape_method),
    "_transpose_method": _shaped(_transpose_method),
    "_flatten_method": _shaped(_flatten_method),
    "_astype_method": lambda tape, a, dtype: a if np.dtype(dtype) == np.float64 else _astype_method(a, dtype),
}
_METHODS: dict[str, Any] = {
    **{
        n: getattr(np, n)
        for n in (
            "sum prod max min mean all any var std cumsum cumprod clip dot trace diagonal squeeze swapaxes ravel repeat "
            "copy take"
        ).split()
    },
    "reshape": _reshape_method,
    "transpose": _transpose_method,
    "flatten": _flatten_method,
    "astype": _astype_method,
}
_OBJECT_LOOPS = frozenset(
    "exp log log1p expm1 sqrt tanh sin cos tan sinh cosh arctan exp2 log2 log10 floor ceil".split()
)


def _operator(ufunc: Any, reverse: bool = False) -> Callable[..., Any]:
    def method(self: Traced, *others: Any) -> Any:
        operands = (*others, self) if reverse else (self, *others)
        return _ufunc(ufunc, operands)

    return method


for _name_, _function in {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "truediv": np.divide,
    "floordiv": np.floor_divide,
    "mod": np.remainder,
    "pow": np.power,
    "matmul": np.matmul,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
}.items():
    setattr(Traced, f"__{_name_}__", _operator(_function))
    setattr(Traced, f"__r{_name_}__", _operator(_function, reverse=True))
for _name_, _function in {
    "neg": np.negative,
    "pos": np.positive,
    "abs": np.absolute,
    "invert": np.invert,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "eq": np.equal,
    "ne": np.not_equal,
}.items():
    setattr(Traced, f"__{_name_}__", _operator(_function))
