"""The exact form of torch's operations along axes: sums, extremes, norms, sorting, softmax, layers and losses."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import torch

from attnlab.analysis.exact import arrays as ar
from attnlab.analysis.exact.arrays import along, each, lifted, op
from attnlab.analysis.exact.tape import NotTraceable, Tape
from attnlab.analysis.exact.torch_entries import HALF, add, exact, mul


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
