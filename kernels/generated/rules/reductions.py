"""Sums, extremes, norms, products of matrices, and maps of whole rows (softmax)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from attnlab.kernels.generated.graph import Graph, Node, Refused
from attnlab.kernels.generated.rules.registry import rule


@rule("sum")
def _summed(g: Graph, a: Node, axes: Sequence[int] | None = None, keep: bool = False, **kwargs: Any) -> Node:
    return g.reduce("sum", a, tuple(axes or ()), keep) if a.shape else a


@rule("mean")
def _mean(g: Graph, a: Node, axes: Sequence[int] | None = None, keep: bool = False, **kwargs: Any) -> Node:
    total = _summed(g, a, axes, keep)
    return g.pointwise("mul", total, total.size / a.size)


@rule("amax")
def _largest(g: Graph, a: Node, axes: Sequence[int] = (), keep: bool = False) -> Node:
    return g.reduce("amax", a, tuple(axes), keep)


@rule("amin")
def _least(g: Graph, a: Node, axes: Sequence[int] = (), keep: bool = False) -> Node:
    return g.pointwise("neg", g.reduce("amax", g.pointwise("neg", a), tuple(axes), keep))


@rule("argmax")
def _place_of_largest(g: Graph, a: Node, axis: int | None = None, keep: bool = False) -> Node:
    """The first place of the largest element."""
    if axis is None:
        a, axis = g.reshape(a, (a.size,)), 0
    axis %= len(a.shape)
    n = a.shape[axis]
    largest = g.expand(g.reduce("amax", a, (axis,), True), a.shape)
    left = g.expand(g.reshape(g.pointwise("sub", n, g.iota(n)), (n,) + (1,) * (len(a.shape) - axis - 1)), a.shape)
    first = g.reduce("amax", g.pointwise("where", g.pointwise("eq", a, largest), left, 0.0), (axis,), keep)
    return g.pointwise("minimum", g.pointwise("sub", n, first), n - 1)


@rule("argmin")
def _place_of_least(g: Graph, a: Node, axis: int | None = None, keep: bool = False) -> Node:
    return _place_of_largest(g, g.pointwise("neg", a), axis, keep)


@rule("max")
def _largest_and_place(g: Graph, a: Node, axis: int | None = None, keep: bool = False) -> Any:
    if axis is None:
        return g.reduce("amax", a, ())
    return [g.reduce("amax", a, (axis,), keep), _place_of_largest(g, a, axis, keep)]


@rule("linalg_vector_norm")
def _norm(
    g: Graph, a: Node, order: float = 2, axes: Sequence[int] | None = None, keep: bool = False, **kwargs: Any
) -> Node:
    if order != 2:
        raise Refused(f"operation aten::linalg_vector_norm of order {order}")
    return g.pointwise("sqrt", g.reduce("sum", g.pointwise("mul", a, a), tuple(axes or ()), keep))


@rule("bmm")
def _batched_product(g: Graph, a: Node, b: Node) -> Node:
    return g.matmul(a, b)


@rule("mm")
def _product(g: Graph, a: Node, b: Node) -> Node:
    found = g.matmul(g.reshape(a, (1, *a.shape)), g.reshape(b, (1, *b.shape)))
    return g.reshape(found, (a.shape[0], b.shape[1]))


@rule("_softmax")
def _softmax(g: Graph, a: Node, axis: int, half: bool) -> Node:
    e = g.pointwise("exp", g.pointwise("sub", a, g.reduce("amax", a, (axis,), True)))
    return g.pointwise("mul", e, g.pointwise("div", 1.0, g.reduce("sum", e, (axis,), True)))


@rule("_softmax_backward_data")
def _softmax_gradient(g: Graph, gradient: Node, out: Node, axis: int, dtype: torch.dtype) -> Node:
    along = g.pointwise("mul", gradient, out)
    return g.pointwise("sub", along, g.pointwise("mul", out, g.reduce("sum", along, (axis,), True)))


@rule("_log_softmax")
def _log_softmax(g: Graph, a: Node, axis: int, half: bool) -> Node:
    moved = g.pointwise("sub", a, g.reduce("amax", a, (axis,), True))
    total = g.reduce("sum", g.pointwise("exp", moved), (axis,), True)
    return g.pointwise("sub", moved, g.pointwise("log", total))


@rule("_log_softmax_backward_data")
def _log_softmax_gradient(g: Graph, gradient: Node, out: Node, axis: int, dtype: torch.dtype) -> Node:
    total = g.reduce("sum", gradient, (axis,), True)
    return g.pointwise("sub", gradient, g.pointwise("mul", g.pointwise("exp", out), total))


@rule("cumsum")
def _summed_up(g: Graph, a: Node, axis: int, **kwargs: Any) -> Node:
    return g.node("cumsum", (g.numbers(a),), a.shape, axes=(axis % len(a.shape),))
