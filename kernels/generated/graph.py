"""The work of a training step as a graph of few kinds of nodes, each an array of one replica.

Leaves are inputs, tables of constants and single numbers. *Views* only say where an element comes from, *pointwise* nodes
compute an element from elements, ``sum`` and ``amax`` reduce axes, ``cumsum`` keeps what it adds up on the way, ``take`` reads
at positions that are data. Products of matrices are sums of pointwise products, so that one kind of loop nest serves everything.
Equal nodes are one node.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

VIEWS = {"permute", "expand", "reshape", "slice", "flip"}
PIECES = {"cat", "pad"}
REDUCTIONS = {"sum", "amax", "cumsum"}
COSTS = {
    "add": 1, "sub": 1, "mul": 1, "neg": 1, "abs": 1, "maximum": 1, "minimum": 1, "where": 1, "and": 1, "or": 1, "not": 1,
    "eq": 1, "ne": 1, "lt": 1, "le": 1, "gt": 1, "ge": 1, "real": 1, "trunc": 2, "floor": 3, "div": 4, "sqrt": 4, "exp": 9,
    "log": 12, "log1p": 16, "tanh": 16, "copy": 0, "take": 12,
}  # fmt: skip
"""Pointwise nodes with about what they cost, in additions."""
BOOLEAN = {"eq", "ne", "lt", "le", "gt", "ge", "and", "or", "not"}


class Refused(Exception):
    """The step cannot be generated; the message names the operation or the reason."""


@dataclass(eq=False)
class Node:
    """An array: what makes it, from what, its shape, and whether its elements are truth values."""

    op: str
    args: tuple[Node, ...]
    shape: tuple[int, ...]
    attributes: dict[str, Any] = field(default_factory=dict)
    boolean: bool = False

    @property
    def size(self) -> int:
        return math.prod(self.shape)


class Graph:
    """Makes nodes; equal nodes are the same object."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self.known: dict[tuple, Node] = {}
        self.order: list[Node] = []

    def node(self, op: str, args: tuple[Node, ...], shape: tuple[int, ...], **attributes: Any) -> Node:
        shape = tuple(int(size) for size in shape)
        boolean = op in BOOLEAN or (
            (op in VIEWS | PIECES | {"take"} and args[0].boolean)
            or (op == "where" and args[1].boolean and args[2].boolean)
        )
        key = (op, tuple(map(id, args)), shape, tuple(sorted((k, repr(v)) for k, v in attributes.items())))
        if key not in self.known:
            self.known[key] = Node(op, args, shape, attributes, boolean)
            self.order.append(self.known[key])
        return self.known[key]

    # leaves

    def input(self, name: str, shape: tuple[int, ...]) -> Node:
        return self.node("input", (), shape, name=name)

    def number(self, value: float, shape: tuple[int, ...] = ()) -> Node:
        one = self.node("number", (), (), value=float(value))
        return self.expand(one, shape) if shape else one

    def constant(self, tensor: Tensor) -> Node:
        """A table; axes along which nothing changes are repeated, not stored."""
        shape = tuple(tensor.shape)
        if tensor.dtype in (torch.int64, torch.int32) and tensor.numel() and int(tensor.abs().max()) >= 2**24:
            raise Refused(f"whole numbers up to {int(tensor.abs().max())} do not fit into real numbers")
        if tensor.is_complex():
            raise Refused("complex numbers")
        for axis in range(tensor.ndim):
            first = tensor.narrow(axis, 0, 1)
            if tensor.shape[axis] > 1 and torch.equal(tensor.nan_to_num(), first.expand_as(tensor).nan_to_num()):
                tensor = first
        if tensor.numel() == 1:
            return self.number(float(tensor), shape)
        values = tuple(tensor.to(self.dtype).double().reshape(-1).tolist())
        table = self.node("table", (), tuple(tensor.shape), values=values)
        return self.expand(table, shape)

    # views

    def reshape(self, x: Node, shape: tuple[int, ...]) -> Node:
        shape = tuple(shape)
        if x.op == "reshape":
            x = x.args[0]
        return x if x.shape == shape else self.node("reshape", (x,), shape)

    def permute(self, x: Node, axes: tuple[int, ...]) -> Node:
        axes = tuple(axis % len(x.shape) for axis in axes)
        if axes == tuple(range(len(axes))):
            return x
        return self.node("permute", (x,), tuple(x.shape[axis] for axis in axes), axes=axes)

    def expand(self, x: Node, shape: tuple[int, ...]) -> Node:
        shape = tuple(shape)
        if len(shape) > len(x.shape):
            x = self.reshape(x, (1,) * (len(shape) - len(x.shape)) + x.shape)
        return x if x.shape == shape else self.node("expand", (x,), shape)

    def slice(self, x: Node, axis: int, start: int, count: int, step: int = 1) -> Node:
        if (start, count, step) == (0, x.shape[axis], 1):
            return x
        shape = (*x.shape[:axis], count, *x.shape[axis + 1 :])
        return self.node("slice", (x,), shape, axis=axis, start=start, step=step)

    def pad(self, x: Node, axis: int, start: int, size: int) -> Node:
        """Zeros of length ``size`` along an axis, with x from ``start`` on."""
        return self.node("pad", (x,), (*x.shape[:axis], size, *x.shape[axis + 1 :]), axis=axis, start=start)

    # arithmetic

    def pointwise(self, op: str, *args: Node | float) -> Node:
        """The operation on arrays that broadcast."""
        nodes = [self.number(arg) if isinstance(arg, (int, float)) else arg for arg in args]
        if op not in BOOLEAN | {"where", "real", "copy"}:
            nodes = [self.numbers(node) for node in nodes]
        shape = tuple(torch.broadcast_shapes(*(node.shape for node in nodes)))
        if op in ("add", "sub", "mul", "div"):
            simple = self._simplified(op, *nodes, shape)
            if simple is not None:
                return simple
        return self.node(op, tuple(self.expand(node, shape) for node in nodes), shape)

    def numbers(self, x: Node) -> Node:
        """Truth values as zeros and ones; numbers as they are."""
        return self.node("real", (x,), x.shape) if x.boolean else x

    def _simplified(self, op: str, a: Node, b: Node, shape: tuple[int, ...]) -> Node | None:
        first, second = _value(a), _value(b)
        if first is not None and second is not None:
            x, y = torch.tensor([first, second], dtype=self.dtype)
            return self.number(float(getattr(torch, op)(x, y)), shape)
        if (second == 1 and op in ("mul", "div")) or (second == 0 and op in ("add", "sub")):
            return self.expand(a, shape)
        if (first == 1 and op == "mul") or (first == 0 and op == "add"):
            return self.expand(b, shape)
        if op == "div" and second:
            return self.pointwise("mul", a, 1 / second)
        return None

    def reduce(self, op: str, x: Node, axes: tuple[int, ...], keep: bool = False) -> Node:
        x = self.numbers(x)
        axes = tuple(sorted(axis % len(x.shape) for axis in axes)) if axes else tuple(range(len(x.shape)))
        kept = tuple(1 if axis in axes else size for axis, size in enumerate(x.shape))
        if all(x.shape[axis] == 1 for axis in axes):
            found = x
        else:
            found = self.node(op, (x,), tuple(s for axis, s in enumerate(x.shape) if axis not in axes), axes=axes)
        return self.reshape(found, kept if keep else tuple(s for axis, s in enumerate(x.shape) if axis not in axes))

    def matmul(self, a: Node, b: Node) -> Node:
        """``(batch, i, k) (batch, k, j)`` as the sum over k of products."""
        (n, i, k), j = a.shape, b.shape[2]
        a, b = self.numbers(a), self.numbers(b)
        left = self.expand(self.reshape(a, (n, i, 1, k)), (n, i, j, k))
        right = self.expand(self.reshape(self.permute(b, (0, 2, 1)), (n, 1, j, k)), (n, i, j, k))
        return self.reduce("sum", self.node("mul", (left, right), (n, i, j, k)), (3,))

    def iota(self, size: int) -> Node:
        return self.constant(torch.arange(size))


def _value(x: Node) -> float | None:
    """The single number that an array consists of, if it is one."""
    while x.op in ("expand", "reshape", "permute", "slice"):
        x = x.args[0]
    return x.attributes["value"] if x.op == "number" else None
