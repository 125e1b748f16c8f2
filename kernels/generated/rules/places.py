"""Positions that are data: gathering, scattering, sorting. Entries are compared one by one, up to a size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from attnlab.kernels.generated.graph import Graph, Node, Refused
from attnlab.kernels.generated.rules.registry import lifted, rule

_WIDEST = 64  # entries along an axis that may be compared with each other, to sort
_MOST_COMPARED = 2**14  # comparisons that make a sum scattered to places along an axis


@rule("gather")
def _gathered(g: Graph, a: Node, axis: int, index: Node, **kwargs: Any) -> Node:
    axis %= len(a.shape)
    if any(i != axis and a.shape[i] != size for i, size in enumerate(index.shape)):
        a = _sliced_to(g, a, index.shape, axis)
    return g.node("take", (a, index), index.shape, axes=(axis,), place=None)


@rule("index")
def _indexed(g: Graph, a: Node, indices: Sequence[Any]) -> Node:
    axes = tuple(i for i, index in enumerate(indices) if index is not None)
    if axes != tuple(range(axes[0], axes[-1] + 1)):
        raise Refused("operation aten::index on axes that do not follow each other")
    found = [lifted(g, indices[axis]) for axis in axes]
    common = tuple(torch.broadcast_shapes(*(index.shape for index in found)))
    shape = (*a.shape[: axes[0]], *common, *a.shape[axes[-1] + 1 :])
    return g.node("take", (a, *(g.expand(index, common) for index in found)), shape, axes=axes, place=axes[0])


@rule("embedding")
def _embedded(g: Graph, table: Node, index: Node, *args: Any) -> Node:
    return _indexed(g, table, [index])


@rule("scatter")
def _scattered(g: Graph, a: Node, axis: int, index: Node, source: Any, add: bool = False) -> Node:
    """Entries replaced, or added to, at positions along an axis; every position is compared with every entry."""
    axis %= len(a.shape)
    n, m = a.shape[axis], index.shape[axis]
    if (n * m if add else m) > _MOST_COMPARED:
        raise Refused(f"operation aten::scatter of {m} entries to {n} places, which are compared one by one")
    lead = tuple(size for i, size in enumerate(a.shape) if i != axis)
    if lead != tuple(size for i, size in enumerate(index.shape) if i != axis):
        raise Refused("operation aten::scatter of a part")
    source = source if isinstance(source, Node) else g.number(source, index.shape)
    if source.shape != index.shape:
        source = _sliced_to(g, source, index.shape, -1)
    after = (1,) * (len(a.shape) - axis - 1)
    place = g.reshape(g.iota(n), (n, *after))
    if not add:  # the last entry for a position wins
        for entry in range(m):
            one, value = (g.slice(each, axis, entry, 1) for each in (index, source))
            a = g.pointwise("where", g.pointwise("eq", g.expand(one, a.shape), place), value, a)
        return a
    wide = (*a.shape[:axis], n, m, *a.shape[axis + 1 :])
    many = [g.expand(g.reshape(each, (*a.shape[:axis], 1, m, *a.shape[axis + 1 :])), wide) for each in (index, source)]
    hit = g.pointwise("eq", many[0], g.reshape(g.iota(n), (n, 1, *after)))
    return g.pointwise("add", a, g.reduce("sum", g.pointwise("where", hit, many[1], 0.0), (axis + 1,)))


@rule("scatter_add")
def _scattered_sum(g: Graph, a: Node, axis: int, index: Node, source: Node) -> Node:
    return _scattered(g, a, axis, index, source, add=True)


@rule("index_put")
def _put(g: Graph, a: Node, indices: Sequence[Any], values: Node, accumulate: bool = False) -> Node:
    axes = [i for i, index in enumerate(indices) if index is not None and a.shape[i] > 1]
    if len(axes) != 1 or not accumulate:
        raise Refused("operation aten::index_put but for sums along one axis")
    axis = axes[0]
    index = lifted(g, indices[axis])
    given = [i for i, each in enumerate(indices) if each is not None]
    common = tuple(torch.broadcast_shapes(*(lifted(g, indices[i]).shape for i in given)))
    n, count = a.shape[axis], 1
    for size in common:
        count *= size
    before, after = a.shape[: given[0]], a.shape[given[-1] + 1 :]
    index = g.reshape(g.expand(index, common), (count,))
    values = g.reshape(g.expand(values, (*before, *common, *after)), (*before, count, *after))
    wide = (*before, n, count, *after)
    many = g.expand(g.reshape(values, (*before, 1, count, *after)), wide)
    hit = g.pointwise(
        "eq", g.reshape(index, (count, *(1,) * len(after))), g.reshape(g.iota(n), (n, 1, *(1,) * len(after)))
    )
    total = g.reduce("sum", g.pointwise("where", g.expand(hit, wide), many, 0.0), (len(before) + 1,))
    return g.pointwise("add", a, g.reshape(total, a.shape))


def _sliced_to(g: Graph, a: Node, shape: tuple[int, ...], kept: int) -> Node:
    for axis, size in enumerate(shape):
        if axis != kept:
            a = g.slice(a, axis, 0, size)
    return a


@rule("sort")
def _sorted(g: Graph, a: Node, axis: int = -1, descending: bool = False, stable: bool = False) -> list[Node]:
    axis %= len(a.shape)
    if axis != len(a.shape) - 1:
        raise Refused("operation aten::sort but along the last axis")
    order = _order(g, g.pointwise("neg", a) if descending else a)
    return [g.node("take", (a, order), a.shape, axes=(axis,), place=None), order]


@rule("topk")
def _first(g: Graph, a: Node, k: int, axis: int = -1, largest: bool = True, ordered: bool = True) -> list[Node]:
    return [g.slice(each, len(a.shape) - 1, 0, k) for each in _sorted(g, a, axis, largest)]


def _order(g: Graph, a: Node) -> Node:
    """The places of the elements in increasing order, equal ones by place: an element's rank counts those before it."""
    n = _narrow("sort", a.shape[-1])
    lead, shape = a.shape[:-1], (*a.shape, n)
    mine, other = g.expand(g.reshape(a, (*a.shape, 1)), shape), g.expand(g.reshape(a, (*lead, 1, n)), shape)
    earlier = g.constant(torch.ones(n, n).tril(-1).bool())
    tie = g.pointwise("and", g.pointwise("eq", mine, other), g.pointwise("ne", earlier, 0.0))
    before = g.pointwise("or", g.pointwise("lt", other, mine), tie)
    rank = g.reduce("sum", g.pointwise("real", before), (len(lead) + 1,))
    at = g.pointwise("eq", g.expand(g.reshape(rank, (*lead, 1, n)), shape), g.reshape(g.iota(n), (n, 1)))
    return g.reduce("sum", g.pointwise("where", at, g.iota(n), 0.0), (len(lead) + 1,))


def _narrow(name: str, size: int) -> int:
    if size > _WIDEST:
        raise Refused(f"operation aten::{name} along {size} entries, more than {_WIDEST}")
    return size
