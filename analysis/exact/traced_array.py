"""Record a side written in torch or numpy on a tape, by calling it with arrays that understand both libraries.

A ``Traced`` array looks like a tensor to ``torch.softmax(x, -1)``, ``x.norm()``, ``np.exp(x)`` and ``A @ x``; every
entry is a number of the tape. What it does not understand is an error that names the function: the search still runs
such a side in torch, but there it can neither be enclosed in balls nor handed to sympy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from attnlab.analysis.exact import functions
from attnlab.analysis.exact.functions import FUNCTIONS
from attnlab.analysis.exact.tape import Comparison, NotTraceable, Number, Tape

TRACED = (
    "exp",
    "log",
    "sqrt",
    "tanh",
    "sigmoid",
    "sin",
    "cos",
    "arctan",
    "erf",
    "abs",
    "square",
    "relu",
    "softplus",
    "cosh",
    "sinh",
    "maximum",
    "minimum",
    "sum",
    "mean",
    "prod",
    "amax",
    "amin",
    "norm",
    "softmax",
    "log_softmax",
    "logsumexp",
    "matmul",
    "dot",
    "outer",
    "einsum",
    "trace",
    "diagonal",
    "stack",
    "cat",
    "reshape",
    "transpose",
)


class Traced:
    """An array of tape numbers, with the arithmetic, indexing and functions of torch and numpy arrays."""

    __array_priority__ = 1000
    __hash__ = object.__hash__

    def __init__(self, entries: Any, tape: Tape) -> None:
        self.entries = np.asarray(entries, dtype=object)
        self.tape = tape

    @property
    def shape(self) -> tuple[int, ...]:
        return self.entries.shape

    @property
    def ndim(self) -> int:
        return self.entries.ndim

    @property
    def T(self) -> Traced:
        return Traced(self.entries.T, self.tape)

    @property
    def mT(self) -> Traced:
        return Traced(np.swapaxes(self.entries, -1, -2), self.tape)

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self):
        return (self[k] for k in range(len(self.entries)))

    def __getitem__(self, key: Any) -> Traced:
        parts = key if isinstance(key, tuple) else (key,)
        parts = tuple(np.asarray(p) if hasattr(p, "detach") else p for p in parts)
        return Traced(self.entries[parts if isinstance(key, tuple) else parts[0]], self.tape)

    def __bool__(self) -> bool:
        raise NotTraceable("the statement branches on a computed value")

    def __float__(self) -> float:
        return float(self.entries.item())

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name in FUNCTIONS:
            return lambda *args, **kwargs: _call(name, (self, *args), kwargs)
        if name.startswith("__"):
            raise AttributeError(name)
        raise NotTraceable(f"no exact form of .{name}(); known functions: {', '.join(TRACED)}")

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return _call(func.__name__, args, kwargs or {})

    def __array_function__(self, func: Any, types: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        return _call(func.__name__, args, kwargs)

    def __array_ufunc__(self, ufunc: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        if method != "__call__":
            raise NotTraceable(f"no exact form of np.{ufunc.__name__}.{method}")
        return _call(ufunc.__name__, args, kwargs)


def trace(side: Callable[..., Any], arguments: dict[str, Any], tape: Tape) -> np.ndarray:
    """Entries of ``side(**arguments)`` as an object array of numbers (or of comparisons, for a condition).

    Raises :class:`NotTraceable` with the reason if the side cannot be recorded.
    """
    try:
        result = side(**arguments)
    except NotTraceable:
        raise
    except (
        TypeError,
        ValueError,
        AttributeError,
        NotImplementedError,
        RuntimeError,
        IndexError,
        OverflowError,
    ) as error:
        raise NotTraceable(f"{type(error).__name__}: {error}") from error
    return entries_of(result, tape)


def entries_of(result: Any, tape: Tape) -> np.ndarray:
    """A result as an object array of numbers on the tape."""
    return functions.entries_of(_lowered(result), tape)


def _lowered(x: Any) -> Any:
    """An argument with the object arrays in the place of traced ones."""
    if isinstance(x, Traced):
        return x.entries
    return type(x)(map(_lowered, x)) if type(x) in (list, tuple) else x


def tape_of(values: Sequence[Any]) -> Tape:
    for x in values:
        if isinstance(x, Traced):
            return x.tape
        if isinstance(x, (list, tuple)) and x:
            return tape_of(x)
    raise NotTraceable("no traced argument")


def _call(name: str, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    key = name.strip("_")
    if key not in FUNCTIONS:
        raise NotTraceable(f"no exact form of {name}; known functions: {', '.join(TRACED)}")
    tape = tape_of([*args, *kwargs.values()])
    lowered = {word: _lowered(value) for word, value in kwargs.items()}
    result = FUNCTIONS[key](tape, *_lowered(tuple(args)), **lowered)
    return Traced(result, tape) if isinstance(result, (np.ndarray, Number, Comparison)) else result


def _operator(name: str) -> Callable[..., Any]:
    def method(self: Traced, *others: Any) -> Any:
        return _call(name, (self, *others), {})

    return method


for _name in "add radd sub rsub mul rmul truediv rtruediv pow rpow matmul rmatmul neg abs le ge lt gt and".split():
    setattr(Traced, f"__{_name}__", _operator(_name))
