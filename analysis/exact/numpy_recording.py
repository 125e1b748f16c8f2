"""Record a side written in numpy, by calling it with arrays that know both their numbers and their entries on a tape.

A ``Traced`` array answers numpy's own protocols, so ``np.maximum(x, 0)`` is numpy's maximum and ``x.max(0)`` that of
an array. Every function takes numpy's arguments by numpy's names; an argument without an exact form refuses the recording,
as do conversions to Python numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from functools import partial, partialmethod
from typing import Any

import numpy as np

from attnlab.analysis.exact import arrays as ar
from attnlab.analysis.exact.numpy_functions import (
    FUNCTIONS,
    UFUNCS,
    astype_method,
    flatten_method,
    reshape_method,
    transpose_method,
)
from attnlab.analysis.exact.tape import Condition, NotTraceable, Number, Tape

_FAILURES = (
    TypeError, ValueError, AttributeError, NotImplementedError, RuntimeError, IndexError, ArithmeticError, AssertionError,
)  # fmt: skip


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

    def _written_into(self, ufunc: Any, other: Any) -> Any:
        """``x += y``: numpy changes an array in place, and makes a new number of a number."""
        if self.ndim:
            raise NotTraceable("the statement writes into one of its own arrays; write x = x + y")
        return _ufunc(ufunc, (self, other))

    def __bool__(self) -> bool:
        if self.size != 1:
            raise NotTraceable("the statement branches on an array")
        entry, value = self.entries.item(), bool(self.values.item())
        if isinstance(entry, (bool, np.bool_)):
            if bool(entry) != value:
                raise NotTraceable("rounding decides a branch of the statement")
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
        _check_same(found, function({name: np.copy(value)[()] for name, value in point.items()}))
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


_METHODS: dict[str, Any] = {
    **{
        n: getattr(np, n)
        for n in (
            "sum prod max min mean all any var std cumsum cumprod clip dot trace diagonal squeeze swapaxes ravel repeat "
            "copy take"
        ).split()
    },
    "reshape": reshape_method,
    "transpose": transpose_method,
    "flatten": flatten_method,
    "astype": astype_method,
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
    setattr(Traced, f"__i{_name_}__", partialmethod(Traced._written_into, _function))
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
