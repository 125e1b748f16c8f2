"""Views, pieces and joins of tensors, and the gradients of pieces: index arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attnlab.kernels.generated.graph import Graph, Node, Refused
from attnlab.kernels.generated.rules.registry import lifted, rule


@rule("alias", "clone")
def _same(g: Graph, a: Node, **kwargs: Any) -> Node:
    return a


@rule("copy")
def _copied(g: Graph, a: Node, b: Node, **kwargs: Any) -> Node:
    return g.expand(b, a.shape)


@rule("view")
def _viewed(g: Graph, a: Node, shape: Sequence[int]) -> Node:
    known = 1
    for size in shape:
        known *= size if size != -1 else 1
    return g.reshape(a, tuple(a.size // known if size == -1 else size for size in shape))


@rule("permute")
def _permuted(g: Graph, a: Node, axes: Sequence[int]) -> Node:
    return g.permute(a, tuple(axes))


@rule("expand")
def _expanded(g: Graph, a: Node, shape: Sequence[int], **kwargs: Any) -> Node:
    lead = len(shape) - len(a.shape)
    return g.expand(a, tuple(a.shape[i - lead] if size == -1 else size for i, size in enumerate(shape)))


@rule("unsqueeze")
def _unsqueezed(g: Graph, a: Node, axis: int) -> Node:
    axis %= len(a.shape) + 1
    return g.reshape(a, (*a.shape[:axis], 1, *a.shape[axis:]))


@rule("squeeze")
def _squeezed(g: Graph, a: Node, axes: Sequence[int] | int) -> Node:
    gone = {axis % len(a.shape) for axis in ([axes] if isinstance(axes, int) else axes)}
    return g.reshape(a, tuple(s for i, s in enumerate(a.shape) if i not in gone or s != 1))


@rule("select")
def _selected(g: Graph, a: Node, axis: int, index: int) -> Node:
    axis %= len(a.shape)
    one = g.slice(a, axis, index % a.shape[axis], 1)
    return g.reshape(one, (*a.shape[:axis], *a.shape[axis + 1 :]))


@rule("slice")
def _sliced(g: Graph, a: Node, axis: int = 0, start: int | None = None, end: int | None = None, step: int = 1) -> Node:
    axis %= len(a.shape)
    chosen = range(a.shape[axis])[slice(start, end, step)]
    return g.slice(a, axis, chosen.start, len(chosen), step)


@rule("split_with_sizes")
def _split(g: Graph, a: Node, sizes: Sequence[int], axis: int = 0) -> list[Node]:
    axis %= len(a.shape)
    return [g.slice(a, axis, sum(sizes[:i]), size) for i, size in enumerate(sizes)]


@rule("flip")
def _flipped(g: Graph, a: Node, axes: Sequence[int]) -> Node:
    return g.node("flip", (a,), a.shape, axes=tuple(axis % len(a.shape) for axis in axes))


@rule("cat")
def _joined(g: Graph, parts: Sequence[Any], axis: int = 0) -> Node:
    nodes = [lifted(g, part) for part in parts]
    nodes = [node for node in nodes if node.shape != (0,)]
    axis %= len(nodes[0].shape)
    shape = list(nodes[0].shape)
    shape[axis] = sum(node.shape[axis] for node in nodes)
    return g.node("cat", tuple(nodes), tuple(shape), axis=axis)


@rule("constant_pad_nd")
def _padded(g: Graph, a: Node, widths: Sequence[int], value: float = 0) -> Node:
    """Zeros before and behind, from the last axis on; negative widths cut."""
    if value:
        raise Refused(f"operation aten::constant_pad_nd with value {value}")
    for place in range(len(widths) // 2):
        axis, (before, behind) = len(a.shape) - 1 - place, widths[2 * place : 2 * place + 2]
        start, end = max(-before, 0), a.shape[axis] - max(-behind, 0)
        a = g.slice(a, axis, start, end - start)
        if before > 0 or behind > 0:
            a = g.pad(a, axis, max(before, 0), max(before, 0) + a.shape[axis] + max(behind, 0))
    return a


@rule("slice_scatter")
def _slice_replaced(
    g: Graph, a: Node, b: Node, axis: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Node:
    axis %= len(a.shape)
    chosen = range(a.shape[axis])[slice(start, end, step)]
    if step != 1:
        raise Refused("operation aten::slice_scatter with steps")
    parts = [g.slice(a, axis, 0, chosen.start), b, g.slice(a, axis, chosen.stop, a.shape[axis] - chosen.stop)]
    return _joined(g, [part for part in parts if part.shape[axis]], axis)


@rule("select_scatter")
def _selected_replaced(g: Graph, a: Node, b: Node, axis: int, index: int) -> Node:
    index %= a.shape[axis]
    return _slice_replaced(g, a, _unsqueezed(g, b, axis % len(a.shape)), axis, index, index + 1)


@rule("slice_backward")
def _slice_gradient(g: Graph, a: Node, shape: Sequence[int], axis: int, start: int, end: int, step: int) -> Node:
    axis %= len(shape)
    chosen = range(shape[axis])[slice(start, end, step)]
    if step != 1:
        raise Refused("operation aten::slice_backward with steps")
    return a if len(chosen) == shape[axis] else g.pad(a, axis, chosen.start, shape[axis])


@rule("select_backward")
def _select_gradient(g: Graph, a: Node, shape: Sequence[int], axis: int, index: int) -> Node:
    axis %= len(shape)
    one = _unsqueezed(g, a, axis)
    return one if shape[axis] == 1 else g.pad(one, axis, index % shape[axis], shape[axis])
