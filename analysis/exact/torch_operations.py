"""The exact form of torch's operations, by the names of its schemas: parameters are named as there.

What an entry does not take as a parameter it does not know, and the recorder refuses any value but the default. ``torch``
runs the same operation itself, so that shapes are its own; rearrangements of entries are read off from positions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import torch

from attnlab.analysis.exact import arrays as ar
from attnlab.analysis.exact.arrays import OPAQUE, along, each, infinite, lift, lifted, op
from attnlab.analysis.exact.reading import read
from attnlab.analysis.exact.tape import NotTraceable, Tape

HALF = Fraction(1, 2)


def exact(value: Any) -> Any:
    """A Python number of an argument as it is read; infinities stay."""
    if isinstance(value, float) and not math.isfinite(value):
        return value
    centre, radius = read(value)
    return value if radius else centre


def unary(name: str) -> Callable[..., Any]:
    return lambda tape, self: each(tape, op(name), self)


def formula(function: Callable[[Any], Any]) -> Callable[..., Any]:
    """A formula of one entry."""
    return lambda tape, self: each(tape, function, self)


def add(tape: Tape, self: Any, other: Any, alpha: Any = 1) -> Any:
    return each(tape, op("add"), self, other if alpha == 1 else each(tape, op("mul"), other, exact(alpha)))


def sub(tape: Tape, self: Any, other: Any, alpha: Any = 1) -> Any:
    return each(tape, op("add"), self, each(tape, op("mul"), other, -exact(alpha)))


def rsub(tape: Tape, self: Any, other: Any, alpha: Any = 1) -> Any:
    return sub(tape, other, self, alpha)


def mul(tape: Tape, self: Any, other: Any) -> Any:
    return each(tape, op("mul"), self, other)


def div(tape: Tape, self: Any, other: Any, rounding_mode: Any = None) -> Any:
    quotient = each(tape, op("div"), self, other)
    if rounding_mode is None:
        return quotient
    if rounding_mode == "floor":
        return each(tape, op("floor"), quotient)
    return each(tape, _truncated, quotient)


def remainder(tape: Tape, self: Any, other: Any) -> Any:
    return each(tape, lambda a, b: a - (a / b).apply("floor") * b, self, other)


def fmod(tape: Tape, self: Any, other: Any) -> Any:
    return each(tape, lambda a, b: a - _truncated(a / b) * b, self, other)


def _truncated(x: Any) -> Any:
    return x.tape.select(x >= 0, x.apply("floor"), -((-x).apply("floor")))


def _rounded(x: Any) -> Any:
    """To the nearest whole number, halves to the even one."""
    tape, up = x.tape, (x + HALF).apply("floor")
    tie = up - x == HALF
    odd = (up * HALF).apply("floor") * 2 != up
    return tape.select(tie & odd, up - 1, up)


def rounded(tape: Tape, self: Any, decimals: int = 0) -> Any:
    scale = Fraction(10) ** decimals
    return each(tape, lambda x: _rounded(x * scale) / scale, self)


def power(tape: Tape, self: Any, exponent: Any) -> Any:
    exponent = exponent if isinstance(exponent, np.ndarray) else exact(exponent)
    return each(tape, lambda a, b: a**b, self, exponent)


def clamp(tape: Tape, self: Any, min: Any = None, max: Any = None) -> Any:
    out = self
    if min is not None:
        out = each(tape, op("max"), out, min)
    return out if max is None else each(tape, op("min"), out, max)


def where(tape: Tape, condition: Any, self: Any, other: Any) -> Any:
    return choose(tape, condition, self, other)


def choose(tape: Tape, condition: Any, a: Any, b: Any) -> Any:
    """Entries of a where the condition holds and of b elsewhere; a masked branch may be infinite if the mask is known."""
    conditions, a, b = ar.as_objects(condition), ar.as_objects(a), ar.as_objects(b)
    shape = np.broadcast_shapes(conditions.shape, a.shape, b.shape)
    wide = [np.broadcast_to(x, shape) for x in (conditions, a, b)]
    out = np.empty(shape, dtype=object)
    for index in np.ndindex(shape):
        c: Any = wide[0][index]
        u, v = wide[1][index], wide[2][index]
        if isinstance(c, (bool, np.bool_)):
            out[index] = lift(tape, u if c else v)
            continue
        u, v = lift(tape, u), lift(tape, v)
        if infinite(u) or infinite(v):
            raise NotTraceable("a condition on computed values chooses an infinite number")
        out[index] = tape.select(c, u, v)
    return out


def masked_fill(tape: Tape, self: Any, mask: Any, value: Any) -> Any:
    return choose(tape, mask, value, self)


def compare(name: str) -> Callable[..., Any]:
    relation = {
        "lt": lambda a, b: a < b,
        "le": lambda a, b: a <= b,
        "gt": lambda a, b: a > b,
        "ge": lambda a, b: a >= b,
        "eq": lambda a, b: a == b,
        "ne": lambda a, b: a != b,
    }[name]

    def one(a: Any, b: Any) -> Any:
        if infinite(a) or infinite(b):
            return bool(relation(*(v if infinite(v) else 0.0 for v in (a, b))))
        found = relation(a, b)
        values = [a.tape.value_of(m) for m in found.margins]
        if all(v is not None for v in values):
            return all(v > 0 or (v == 0 and not s) for v, (_, s) in zip(values, found.clauses, strict=True))
        return found

    one.takes_infinity = True  # type: ignore[attr-defined]
    return lambda tape, self, other: each(tape, one, self, other)


def logical(name: str) -> Callable[..., Any]:
    function = {"and": lambda a, b: a & b, "or": lambda a, b: a | b, "xor": lambda a, b: (a & ~b) | (~a & b)}[name]

    def on_arrays(tape: Tape, self: Any, other: Any) -> Any:
        return _boolwise(function, self, other)

    return on_arrays


def logical_not(tape: Tape, self: Any) -> Any:
    return _boolwise(lambda a: (not a) if isinstance(a, bool) else ~a, self)


def _boolwise(function: Callable[..., Any], *operands: Any) -> Any:
    arrays = [ar.as_objects(x) for x in operands]
    shape = np.broadcast_shapes(*(x.shape for x in arrays))
    out = np.empty(shape, dtype=object)
    for index in np.ndindex(shape):
        values = [np.broadcast_to(x, shape)[index] for x in arrays]
        values = [bool(v) if isinstance(v, np.bool_) else v for v in values]
        if any(not isinstance(v, (bool, ar.Condition)) for v in values):
            raise NotTraceable("a logical operation on numbers")
        out[index] = function(*values)
    return out


def sign(tape: Tape, self: Any) -> Any:
    return each(
        tape,
        lambda x: tape.select(x > 0, tape.constant(1), tape.select(x < 0, tape.constant(-1), tape.constant(0))),
        self,
    )


def heaviside(tape: Tape, self: Any, values: Any) -> Any:
    return each(
        tape, lambda x, v: tape.select(x > 0, tape.constant(1), tape.select(x < 0, tape.constant(0), v)), self, values
    )


def leaky_relu(tape: Tape, self: Any, negative_slope: Any = 0.01) -> Any:
    slope = exact(negative_slope)
    if 0 <= slope <= 1:
        return each(tape, lambda x: tape.apply("max", x, x * slope), self)
    return each(tape, lambda x: tape.select(x > 0, x, x * slope), self)


def elu(tape: Tape, self: Any, alpha: Any = 1, scale: Any = 1, input_scale: Any = 1) -> Any:
    a, s, i = exact(alpha), exact(scale), exact(input_scale)
    return each(tape, lambda x: tape.select(x > 0, x * s, ((x * i).apply("expm1") * a) * s), self)


def celu(tape: Tape, self: Any, alpha: Any = 1.0) -> Any:
    a = exact(alpha)
    return each(tape, lambda x: tape.select(x > 0, x, (x / a).apply("expm1") * a), self)


def gelu(tape: Tape, self: Any, approximate: str = "none") -> Any:
    if approximate == "none":
        return each(tape, lambda x: x * HALF * (1 + (x / tape.constant(2).sqrt()).apply("erf")), self)
    root = (tape.constant(2) / tape.pi()).sqrt()
    cubic = Fraction("0.044715")
    return each(tape, lambda x: x * HALF * (1 + (root * (x + cubic * x**3)).apply("tanh")), self)


def softplus(tape: Tape, self: Any, beta: Any = 1, threshold: Any = 20) -> Any:
    """``log(1 + exp(beta x)) / beta``, and x itself where beta x exceeds the threshold."""
    b, t = exact(beta), exact(threshold)

    def one(x: Any) -> Any:
        y = x * b
        return tape.select(y > t, x, y.exp().apply("log1p") / b)

    return each(tape, one, self)


def hardtanh(tape: Tape, self: Any, min_val: Any = -1, max_val: Any = 1) -> Any:
    return clamp(tape, self, min_val, max_val)


def _relu6(x: Any) -> Any:
    return x.tape.apply("min", x.tape.apply("max", x + 3, x.tape.constant(0)), x.tape.constant(6)) * Fraction(1, 6)


def threshold(tape: Tape, self: Any, threshold: Any, value: Any) -> Any:
    return each(tape, lambda x, t, v: tape.select(x > t, x, v), self, exact(threshold), exact(value))


def hardshrink(tape: Tape, self: Any, lambd: Any = 0.5) -> Any:
    return each(tape, lambda x: tape.select(abs(x) > exact(lambd), x, tape.constant(0)), self)


def softshrink(tape: Tape, self: Any, lambd: Any = 0.5) -> Any:
    t = exact(lambd)
    zero = tape.constant(0)
    return each(tape, lambda x: tape.apply("max", x - t, zero) + tape.apply("min", x + t, zero), self)


def _log_sigmoid(x: Any) -> Any:
    return -((-x).exp().apply("log1p"))


def log_sigmoid_forward(tape: Tape, self: Any) -> Any:
    return each(tape, _log_sigmoid, self), ar.as_objects(np.zeros(0))


def addcmul(tape: Tape, self: Any, tensor1: Any, tensor2: Any, value: Any = 1) -> Any:
    return add(tape, self, mul(tape, mul(tape, tensor1, tensor2), exact(value)))


def addcdiv(tape: Tape, self: Any, tensor1: Any, tensor2: Any, value: Any = 1) -> Any:
    return add(tape, self, mul(tape, div(tape, tensor1, tensor2), exact(value)))


def lerp(tape: Tape, self: Any, end: Any, weight: Any) -> Any:
    return each(tape, lambda a, b, w: a + w * (b - a), self, end, weight)


def xlogy(tape: Tape, self: Any, other: Any) -> Any:
    zero = tape.constant(0)

    def one(x: Any, y: Any) -> Any:
        value = tape.value_of(x)
        return zero if value == 0 else x * y.log() if value is not None else tape.select(x == 0, zero, x * y.log())

    return each(tape, one, self, other)


def entropy_of(tape: Tape, self: Any) -> Any:
    return each(tape, lambda x: tape.select(x == 0, tape.constant(0), -x * x.log()), self)


def logaddexp(tape: Tape, self: Any, other: Any) -> Any:
    return each(tape, lambda a, b: a + (b - a).exp().apply("log1p"), self, other)


def atan2(tape: Tape, self: Any, other: Any) -> Any:
    def one(y: Any, x: Any) -> Any:
        if tape.positive[x.index]:
            return (y / x).apply("atan")
        raise NotTraceable("atan2 has an exact form only for a positive second argument")

    return each(tape, one, self, other)


def reduction(reducer: Callable[..., Any]) -> Callable[..., Any]:
    return lambda tape, self, dim=None, keepdim=False: along(tape, reducer, self, dim, keepdim)


def prod(tape: Tape, self: Any, dim: Any = None, keepdim: bool = False) -> Any:
    return along(tape, ar.product, self, dim, keepdim)


def extreme(reducer: Callable[..., Any]) -> Callable[..., Any]:
    """``max`` of everything, of two arrays, or along an axis with the positions."""

    def on_array(tape: Tape, self: Any, dim: Any = None, keepdim: bool = False, other: Any = None) -> Any:
        if other is not None:
            return each(tape, op("max" if reducer is ar.largest else "min"), self, other)
        found = along(tape, reducer, self, dim, keepdim)
        return found if dim is None else (found, np.zeros(found.shape))

    return on_array


def aminmax(tape: Tape, self: Any, dim: Any = None, keepdim: bool = False) -> Any:
    return along(tape, ar.smallest, self, dim, keepdim), along(tape, ar.largest, self, dim, keepdim)


def variance(tape: Tape, self: Any, dim: Any = None, correction: Any = None, keepdim: bool = False) -> Any:
    def one(xs: list[Any], tape: Tape) -> Any:
        free = len(xs) - (1 if correction is None else exact(correction))
        if free <= 0:
            raise NotTraceable("the variance of too few entries")
        centre = ar.mean(xs, tape)
        return ar.total([(x - centre) ** 2 for x in xs], tape) / free

    return along(tape, one, self, dim, keepdim)


def deviation(tape: Tape, self: Any, dim: Any = None, correction: Any = None, keepdim: bool = False) -> Any:
    return each(tape, op("sqrt"), variance(tape, self, dim, correction, keepdim))


def vector_norm(tape: Tape, self: Any, ord: Any = 2, dim: Any = None, keepdim: bool = False) -> Any:
    return along(tape, lambda xs, tape: ar.vector_norm(tape, xs, ord), self, dim, keepdim)


def old_norm(tape: Tape, self: Any, p: Any = 2, dim: Any = None, keepdim: bool = False) -> Any:
    return vector_norm(tape, self, 2 if p is None else p, dim, keepdim)


def renorm_distance(tape: Tape, x1: Any, x2: Any, p: Any = 2.0) -> Any:
    a, b = lifted(tape, x1), lifted(tape, x2)
    difference = each(tape, lambda u, v: u - v, a[..., :, None, :], b[..., None, :, :])
    return along(tape, lambda xs, tape: ar.vector_norm(tape, xs, p), difference, -1, False)


def cumulative(step: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    def on_array(tape: Tape, self: Any, dim: int) -> Any:
        def row(xs: list[Any]) -> list[Any]:
            out = [xs[0]]
            for x in xs[1:]:
                out.append(step(out[-1], x))
            return out

        return ar.rowwise(row, lifted(tape, self), dim)

    return on_array


def cumulative_extreme(name: str) -> Callable[..., Any]:
    inner = cumulative(op(name))

    def on_array(tape: Tape, self: Any, dim: int) -> Any:
        found = inner(tape, self, dim)
        return found, np.zeros(found.shape)

    return on_array


def logcumsumexp(tape: Tape, self: Any, dim: int) -> Any:
    def row(xs: list[Any]) -> list[Any]:
        return [ar.log_sum_exp(xs[: k + 1], tape) for k in range(len(xs))]

    return ar.rowwise(row, lifted(tape, self), dim)


def sort(tape: Tape, self: Any, dim: int = -1, descending: bool = False, stable: Any = None) -> Any:
    found = ar.rowwise(lambda xs: ar.ordered(xs, descending), lifted(tape, self), dim)
    return found, np.zeros(found.shape)


def topk(tape: Tape, self: Any, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Any:
    found = ar.rowwise(lambda xs: ar.ordered(xs, largest)[:k], lifted(tape, self), dim)
    return found, np.zeros(found.shape)


def median(tape: Tape, self: Any) -> Any:
    xs = ar.ordered(list(lifted(tape, self).ravel()))
    return xs[(len(xs) - 1) // 2]


def argument(tape: Tape, self: Any, **given: Any) -> Any:
    return np.zeros(())


def softmax(tape: Tape, self: Any, dim: int) -> Any:
    return ar.softmax(tape, self, dim)


def safe_softmax(tape: Tape, self: Any, dim: int) -> Any:
    return ar.softmax(tape, self, dim, masked_rows_are_zero=True)


def softmax_backward(tape: Tape, grad_output: Any, output: Any, dim: int, **rest: Any) -> Any:
    g, p = lifted(tape, grad_output), lifted(tape, output)
    inner = along(tape, ar.total, each(tape, op("mul"), g, p), dim, True)
    return each(tape, lambda p, g, s: p * (g - s), p, g, inner)


def log_softmax(tape: Tape, self: Any, dim: int) -> Any:
    return ar.log_softmax(tape, self, dim)


def matmul(tape: Tape, self: Any, mat2: Any) -> Any:
    return ar.matmul(tape, self, mat2)


def addmm(tape: Tape, self: Any, mat1: Any, mat2: Any, beta: Any = 1, alpha: Any = 1) -> Any:
    scaled = mul(tape, ar.matmul(tape, mat1, mat2), exact(alpha))
    return add(tape, mul(tape, self, exact(beta)), scaled)


def linear(tape: Tape, input: Any, weight: Any, bias: Any = None) -> Any:
    out = ar.matmul(tape, input, np.swapaxes(lifted(tape, weight), -1, -2) if np.ndim(weight) > 1 else weight)
    return out if bias is None else add(tape, out, bias)


def layer_norm(tape: Tape, input: Any, normalized_shape: Any, weight: Any, bias: Any, eps: Any) -> Any:
    axes = list(range(-len(normalized_shape), 0))
    centre = along(tape, ar.mean, lifted(tape, input), axes, True)
    spread = variance(tape, input, axes, 0, True)
    scale = each(tape, lambda v: 1 / (v + exact(eps)).sqrt(), spread)
    out = each(tape, lambda x, m, s: (x - m) * s, input, centre, scale)
    out = out if weight is None else mul(tape, out, weight)
    return out if bias is None else add(tape, out, bias), centre, scale


def rms_norm(tape: Tape, input: Any, normalized_shape: Any, weight: Any = None, eps: Any = None) -> Any:
    axes = list(range(-len(normalized_shape), 0))
    square = along(tape, ar.mean, each(tape, op("square"), input), axes, True)
    tiny = Fraction(torch.finfo(torch.float64).eps) if eps is None else exact(eps)
    scale = each(tape, lambda v: 1 / (v + tiny).sqrt(), square)
    out = mul(tape, input, scale)
    return out if weight is None else mul(tape, out, weight), scale


def loss(function: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    def on_arrays(tape: Tape, self: Any, target: Any, reduction: int = 1) -> Any:
        each_one = each(tape, function, self, target)
        if reduction == 0:
            return each_one
        return along(tape, ar.mean if reduction == 1 else ar.total, each_one, None, False)

    return on_arrays


def smooth_l1(tape: Tape, self: Any, target: Any, reduction: int = 1, beta: Any = 1.0) -> Any:
    b = exact(beta)

    def one(x: Any, y: Any) -> Any:
        d = abs(x - y)
        return d if b == 0 else tape.select(d < b, d**2 / (2 * b), d - b * HALF)

    return loss(one)(tape, self, target, reduction)


def huber(tape: Tape, self: Any, target: Any, reduction: int = 1, delta: Any = 1.0) -> Any:
    t = exact(delta)

    def one(x: Any, y: Any) -> Any:
        d = abs(x - y)
        return tape.select(d <= t, d**2 * HALF, t * (d - t * HALF))

    return loss(one)(tape, self, target, reduction)


def nll_loss(tape: Tape, self: Any, target: Any, weight: Any, reduction: int, ignore_index: int) -> Any:
    x, labels = lifted(tape, self), np.asarray(target)
    if weight is not None or (labels == ignore_index).any() or x.ndim != 2:
        raise NotTraceable("no exact form of nll_loss with weights or ignored labels")
    picked = [-x[k, int(label)] for k, label in enumerate(labels)]
    if reduction == 0:
        out = np.empty(len(picked), dtype=object)
        out[:] = picked
        return out, np.zeros(())
    return (ar.mean if reduction == 1 else ar.total)(picked, tape), np.zeros(())


def determinant(tape: Tape, A: Any) -> Any:
    found = ar.batched(lambda m: ar.determinant(tape, m), lifted(tape, A))
    return found, np.full(np.shape(A), tape.constant(0)), np.zeros(np.shape(A)[:-1])


def log_determinant(tape: Tape, A: Any) -> Any:
    det = ar.batched(lambda m: ar.determinant(tape, m), lifted(tape, A))
    logs = each(tape, lambda d: abs(d).log(), det)
    return sign(tape, det), logs, np.full(np.shape(A), tape.constant(0)), np.zeros(np.shape(A)[:-1])


def inverse(tape: Tape, A: Any) -> Any:
    return ar.batched(lambda m: ar.inverse(tape, m), lifted(tape, A)), np.zeros(np.shape(A)[:-2])


def solve(tape: Tape, A: Any, B: Any, left: bool = True) -> Any:
    if not left:
        raise NotTraceable("no exact form of solve from the right")
    inv = ar.batched(lambda m: ar.inverse(tape, m), lifted(tape, A))
    b = lifted(tape, B)
    vector = b.ndim == 1 or (b.ndim == inv.ndim - 1 and b.shape == inv.shape[:-1])
    out = ar.matmul(tape, inv, b[..., None])[..., 0] if vector else ar.matmul(tape, inv, b)
    unused = np.full(inv.shape, tape.constant(0))
    return out, unused, np.zeros(inv.shape[:-1]), np.zeros(inv.shape[:-2])


def cholesky(tape: Tape, self: Any, upper: bool = False) -> Any:
    def one(m: Any) -> Any:
        n = len(m)
        low = np.full((n, n), tape.constant(0))
        for i in range(n):
            for j in range(i + 1):
                rest = m[i, j] - ar.total([low[i, k] * low[j, k] for k in range(j)], tape)
                low[i, j] = rest.sqrt() if i == j else rest / low[j, j]
        return low.T if upper else low

    return ar.batched(one, lifted(tape, self)), np.zeros(np.shape(self)[:-2])


def eigh(tape: Tape, A: Any, UPLO: str = "L", compute_v: bool = True) -> Any:
    m = lifted(tape, A)
    found = ar.batched(lambda e: ar.eigenvalues(tape, e if UPLO == "L" else e.T), m)
    return found, _unknown(np.shape(A))


def svd(tape: Tape, A: Any, full_matrices: bool = False, compute_uv: bool = True, driver: Any = None) -> Any:
    m = lifted(tape, A)
    found = ar.batched(lambda e: ar.singular_values(tape, e), m)
    rows, columns = m.shape[-2:]
    k = min(rows, columns)
    if not compute_uv:
        return _unknown((0,)), found, _unknown((0,))
    return (
        _unknown((*m.shape[:-2], rows, rows if full_matrices else k)),
        found,
        _unknown((*m.shape[:-2], columns if full_matrices else k, columns)),
    )


def _unknown(shape: tuple[int, ...]) -> np.ndarray:
    """Entries without an exact form; any use of them is refused."""
    out = np.empty(shape, dtype=object)
    out[...] = OPAQUE
    return out


def trace(tape: Tape, self: Any) -> Any:
    return ar.total(list(np.diagonal(lifted(tape, self))), tape)


def cross(tape: Tape, self: Any, other: Any, dim: int = -1) -> Any:
    a, b = lifted(tape, self), lifted(tape, other)
    a, b = np.broadcast_arrays(a, b)
    a, b = np.moveaxis(a, dim, -1), np.moveaxis(b, dim, -1)
    out = np.empty(a.shape, dtype=object)
    for k in range(3):
        i, j = (k + 1) % 3, (k + 2) % 3
        out[..., k] = a[..., i] * b[..., j] - a[..., j] * b[..., i]
    return np.moveaxis(out, -1, dim)


def cast(tape: Tape, self: Any, dtype: Any = None, **rest: Any) -> Any:
    return self


def fill(tape: Tape, self: Any, value: Any) -> Any:
    out = np.empty(np.shape(self), dtype=object)
    out[...] = value.item() if isinstance(value, np.ndarray) else value
    return out


def copy(tape: Tape, self: Any, src: Any) -> Any:
    return np.broadcast_to(ar.as_objects(src), np.shape(self))


def bernoulli_free_dropout(tape: Tape, input: Any, p: Any, train: Any) -> Any:
    if train and p:
        raise NotTraceable("dropout draws random numbers")
    return input, np.zeros(np.shape(input))


def moved(name: str) -> Callable[..., Any]:
    """An operation that only moves entries: torch moves the positions, the entries follow; new places hold 0."""

    def on_array(tape: Tape, **given: Any) -> Any:
        pool: list[Any] = []

        def positions(value: Any) -> Any:
            if isinstance(value, np.ndarray) and value.dtype == object:
                flat = list(value.ravel())
                index = np.arange(len(pool), len(pool) + len(flat), dtype=np.float64).reshape(value.shape) + 1
                pool.extend(flat)
                return torch.as_tensor(index)
            if isinstance(value, np.ndarray):
                return torch.as_tensor(value)
            return [positions(v) for v in value] if isinstance(value, list) else value

        function = getattr(torch.ops.aten, name)
        with torch.utils._python_dispatch._disable_current_modes(), torch._C.DisableTorchFunction():
            found = function(**{k: positions(v) for k, v in given.items()}).numpy().astype(np.int64)
        pool_array = np.empty(len(pool) + 1, dtype=object)
        pool_array[0] = tape.constant(0)
        pool_array[1:] = pool
        return pool_array[found] if found.ndim else pool_array[int(found)]

    return on_array


def pad(tape: Tape, self: Any, pad: Any, value: Any = 0) -> Any:
    if value == 0:
        return moved("constant_pad_nd")(tape, self=self, pad=pad)
    zero = moved("constant_pad_nd")(tape, self=ar.as_objects(np.full(np.shape(self), True)), pad=pad)
    inside = np.vectorize(lambda x: x is True or isinstance(x, np.bool_), otypes=[bool])(zero)
    return choose(tape, inside, moved("constant_pad_nd")(tape, self=self, pad=pad), value)


def put(tape: Tape, self: Any, indices: Any, values: Any, accumulate: bool = False) -> Any:
    out = lifted(tape, self).copy()
    key = tuple(slice(None) if i is None else np.asarray(i) for i in indices)
    if accumulate or any(np.asarray(k).dtype == object for k in key if not isinstance(k, slice)):
        raise NotTraceable("no exact form of writing at computed positions, or of adding at positions")
    out[key] = lifted(tape, values)
    return out


def _pick(tape: Tape, self: Any, indices: Any) -> Any:
    if any(isinstance(i, np.ndarray) and i.dtype == object for i in indices):
        raise NotTraceable("a boolean mask of computed values selects entries")
    return moved("index")(tape, self=self, indices=indices)


MOVES = (
    "flip roll repeat tril triu diag_embed clone cat stack index_select gather take unfold_copy diagonal_copy "
    "expand_copy view_copy _unsafe_view reshape _reshape_alias select_copy slice_copy permute_copy squeeze_copy "
    "unsqueeze_copy contiguous rot90 channel_shuffle pixel_shuffle block_diag select_scatter slice_scatter "
    "diagonal_scatter scatter take_along_dim"
).split()

OPERATIONS: dict[str, Callable[..., Any]] = {
    **{
        n: unary(n)
        for n in (
            "neg exp log log1p expm1 sqrt tanh sigmoid sin cos tan asin acos atan asinh acosh atanh erf erfc lgamma abs floor"
        ).split()
    },
    **{n: moved(n) for n in MOVES},
    **{n: compare(n) for n in ("lt", "le", "gt", "ge", "eq", "ne")},
    "special_erfc": unary("erfc"),
    "special_expm1": unary("expm1"),
    "square": unary("square"),
    "exp2": formula(lambda x: 2**x),
    "special_exp2": formula(lambda x: 2**x),
    "log2": formula(lambda x: x.log() / x.tape.constant(2).log()),
    "log10": formula(lambda x: x.log() / x.tape.constant(10).log()),
    "rsqrt": formula(lambda x: 1 / x.sqrt()),
    "reciprocal": formula(lambda x: 1 / x),
    "sinh": formula(lambda x: (x.exp() - (-x).exp()) * HALF),
    "cosh": formula(lambda x: (x.exp() + (-x).exp()) * HALF),
    "ceil": formula(lambda x: -((-x).apply("floor"))),
    "trunc": formula(_truncated),
    "round": rounded,
    "frac": formula(lambda x: x - _truncated(x)),
    "relu": formula(lambda x: x.tape.apply("max", x, x.tape.constant(0))),
    "silu": formula(lambda x: x * x.apply("sigmoid")),
    "mish": formula(lambda x: x * x.exp().apply("log1p").apply("tanh")),
    "hardswish": formula(lambda x: x * _relu6(x)),
    "hardsigmoid": formula(_relu6),
    "logit": formula(lambda x: (x / (1 - x)).log()),
    "sinc": formula(
        lambda x: x.tape.select(x == 0, x.tape.constant(1), (x.tape.pi() * x).apply("sin") / (x.tape.pi() * x))
    ),
    "deg2rad": formula(lambda x: x * x.tape.pi() / 180),
    "rad2deg": formula(lambda x: x * 180 / x.tape.pi()),
    "sign": sign,
    "sgn": sign,
    "heaviside": heaviside,
    "leaky_relu": leaky_relu,
    "prelu": lambda tape, self, weight: each(tape, lambda x, w: tape.select(x > 0, x, x * w), self, weight),
    "_prelu_kernel": lambda tape, self, weight: each(tape, lambda x, w: tape.select(x > 0, x, x * w), self, weight),
    "elu": elu,
    "celu": celu,
    "gelu": gelu,
    "softplus": softplus,
    "hardtanh": hardtanh,
    "threshold": threshold,
    "hardshrink": hardshrink,
    "softshrink": softshrink,
    "log_sigmoid_forward": log_sigmoid_forward,
    "add": add,
    "sub": sub,
    "rsub": rsub,
    "mul": mul,
    "div": div,
    "remainder": remainder,
    "fmod": fmod,
    "pow": power,
    "clamp": clamp,
    "clamp_min": lambda tape, self, min: clamp(tape, self, min=min),
    "clamp_max": lambda tape, self, max: clamp(tape, self, max=max),
    "maximum": lambda tape, self, other: each(tape, op("max"), self, other),
    "minimum": lambda tape, self, other: each(tape, op("min"), self, other),
    "fmax": lambda tape, self, other: each(tape, op("max"), self, other),
    "fmin": lambda tape, self, other: each(tape, op("min"), self, other),
    "hypot": lambda tape, self, other: each(tape, lambda a, b: (a**2 + b**2).sqrt(), self, other),
    "atan2": atan2,
    "logaddexp": logaddexp,
    "logaddexp2": lambda tape, self, other: each(
        tape, lambda a, b: a + (2 ** (b - a)).apply("log1p") / tape.constant(2).log(), self, other
    ),
    "xlogy": xlogy,
    "special_xlogy": xlogy,
    "special_entr": entropy_of,
    "addcmul": addcmul,
    "addcdiv": addcdiv,
    "lerp": lerp,
    "where": where,
    "masked_fill": masked_fill,
    "logical_and": logical("and"),
    "logical_or": logical("or"),
    "logical_xor": logical("xor"),
    "bitwise_and": logical("and"),
    "bitwise_or": logical("or"),
    "bitwise_xor": logical("xor"),
    "logical_not": logical_not,
    "bitwise_not": logical_not,
    "sum": reduction(ar.total),
    "mean": reduction(ar.mean),
    "prod": prod,
    "amax": reduction(ar.largest),
    "amin": reduction(ar.smallest),
    "max": extreme(ar.largest),
    "min": extreme(ar.smallest),
    "aminmax": aminmax,
    "all": reduction(ar.every),
    "any": reduction(ar.some),
    "logsumexp": reduction(ar.log_sum_exp),
    "var": variance,
    "std": deviation,
    "linalg_vector_norm": vector_norm,
    "norm": old_norm,
    "_cdist_forward": renorm_distance,
    "_euclidean_dist": renorm_distance,
    "cumsum": cumulative(op("add")),
    "cumprod": cumulative(op("mul")),
    "cummax": cumulative_extreme("max"),
    "cummin": cumulative_extreme("min"),
    "logcumsumexp": logcumsumexp,
    "sort": sort,
    "topk": topk,
    "median": median,
    "argmax": argument,
    "argmin": argument,
    "argsort": argument,
    "_softmax": softmax,
    "_safe_softmax": safe_softmax,
    "_softmax_backward_data": softmax_backward,
    "_log_softmax": log_softmax,
    "mm": matmul,
    "bmm": matmul,
    "mv": lambda tape, self, vec: ar.matmul(tape, self, vec),
    "dot": lambda tape, self, tensor: ar.matmul(tape, self, tensor),
    "vdot": lambda tape, self, other: ar.matmul(tape, self, other),
    "addmm": addmm,
    "addmv": lambda tape, self, mat, vec, beta=1, alpha=1: addmm(tape, self, mat, vec, beta, alpha),
    "baddbmm": lambda tape, self, batch1, batch2, beta=1, alpha=1: addmm(tape, self, batch1, batch2, beta, alpha),
    "linear": linear,
    "native_layer_norm": layer_norm,
    "_fused_rms_norm": rms_norm,
    "mse_loss": loss(lambda x, y: (x - y) ** 2),
    "smooth_l1_loss": smooth_l1,
    "huber_loss": huber,
    "nll_loss_forward": nll_loss,
    "_linalg_det": determinant,
    "_linalg_slogdet": log_determinant,
    "linalg_inv_ex": inverse,
    "_linalg_solve_ex": solve,
    "linalg_cholesky_ex": lambda tape, self, upper=False: cholesky(tape, self, upper),
    "_linalg_eigh": eigh,
    "_linalg_svd": svd,
    "trace": trace,
    "linalg_cross": cross,
    "_to_copy": cast,
    "fill": fill,
    "copy": copy,
    "zero": lambda tape, self: fill(tape, self, 0),
    "native_dropout": bernoulli_free_dropout,
    "constant_pad_nd": pad,
    "index_put": put,
    "index": _pick,
}
