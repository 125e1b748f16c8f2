"""numpy's functions and ufuncs in exact form, with numpy's names of arguments: what traced arrays understand."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from attnlab.analysis.exact import arrays as ar
from attnlab.analysis.exact import torch_axes, torch_entries, torch_matrices
from attnlab.analysis.exact.arrays import along, each, lifted, op
from attnlab.analysis.exact.tape import NotTraceable, Tape
from attnlab.analysis.exact.torch_operations import OPERATIONS


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
    return torch_entries.choose(tape, condition, x, y)


def _clip(tape: Tape, a: Any, a_min: Any = None, a_max: Any = None, *, min: Any = None, max: Any = None) -> Any:
    return torch_entries.clamp(tape, a, min if a_min is None else a_min, max if a_max is None else a_max)


def _joined(join: Callable[..., Any]) -> Callable[..., Any]:
    return lambda tape, arrays, axis=0: join([ar.as_objects(_stacked(x)) for x in arrays], axis=axis)


def _stacked(x: Any) -> Any:
    return np.stack([_stacked(p) for p in x]) if isinstance(x, list) else ar.as_objects(x)


def _einsum(tape: Tape, subscripts: str, *operands: Any) -> Any:
    return np.einsum(subscripts, *(lifted(tape, x) for x in operands), optimize=False)


def _products(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda tape, a, b: ar.as_objects(function(lifted(tape, a), lifted(tape, b)))


def _variance(tape: Tape, a: Any, axis: Any = None, *, ddof: Any = 0, keepdims: bool = False) -> Any:
    return torch_axes.variance(tape, a, axis, ddof, keepdims)


def _deviation(tape: Tape, a: Any, axis: Any = None, *, ddof: Any = 0, keepdims: bool = False) -> Any:
    return each(tape, op("sqrt"), _variance(tape, a, axis, ddof=ddof, keepdims=keepdims))


def _cumulative(step: Callable[..., Any]) -> Callable[..., Any]:
    def function(tape: Tape, a: Any, axis: Any = None) -> Any:
        flat = lifted(tape, a).ravel() if axis is None else a
        return torch_axes.cumulative(step)(tape, flat, 0 if axis is None else axis)

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
        return torch_entries.choose(tape, inside, m, np.zeros(np.shape(m)))

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


_SAME = OPERATIONS
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
    "cross": lambda tape, a, b: torch_matrices.cross(tape, a, b),
    "real": lambda tape, a: a,
    "linalg.norm": _norm,
    "linalg.det": lambda tape, a: ar.batched(lambda m: ar.determinant(tape, m), lifted(tape, a)),
    "linalg.inv": lambda tape, a: ar.batched(lambda m: ar.inverse(tape, m), lifted(tape, a)),
    "linalg.solve": lambda tape, a, b: torch_matrices.solve(tape, a, b)[0],
    "linalg.eigvalsh": lambda tape, a: ar.batched(lambda m: ar.eigenvalues(tape, m), lifted(tape, a)),
    "linalg.cholesky": lambda tape, a: torch_matrices.cholesky(tape, a)[0],
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


def reshape_method(a: np.ndarray, *shape: Any) -> np.ndarray:
    return a.reshape(*shape)


def transpose_method(a: np.ndarray, *axes: Any) -> np.ndarray:
    return a.transpose(*axes)


def flatten_method(a: np.ndarray) -> np.ndarray:
    return a.flatten()


def astype_method(a: np.ndarray, dtype: Any) -> np.ndarray:
    if np.dtype(dtype) != np.float64:
        raise NotTraceable(f"the statement rounds a computed value to {dtype}")
    return a.astype(np.float64)


FUNCTIONS |= {
    "reshape_method": _shaped(reshape_method),
    "transpose_method": _shaped(transpose_method),
    "flatten_method": _shaped(flatten_method),
    "astype_method": lambda tape, a, dtype: a if np.dtype(dtype) == np.float64 else astype_method(a, dtype),
}
