"""From a function of tensors to the graph of its value and gradient: torch differentiates, every operation is known here.

An operation that is not in the table of this file is refused by its name. Whatever depends on no input is computed by torch
once, at this time.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._decomp import core_aten_decompositions
from torch.fx.experimental.proxy_tensor import make_fx

from attnlab.kernels.attention.plain import plain_formulas
from attnlab.kernels.generated.graph import Graph, Node, Refused

_KEPT = ("select_backward", "slice_backward", "_softmax_backward_data", "_log_softmax_backward_data", "select_scatter")
_MOVES = {
    "alias", "clone", "view", "permute", "expand", "unsqueeze", "squeeze", "select", "slice", "split_with_sizes", "gather",
    "index", "flip",
}  # fmt: skip
_WIDEST = 64  # entries along an axis that may be compared with each other, to sort
_MOST_COMPARED = 2**14  # comparisons that make a sum scattered to places along an axis


def traced(
    loss: Callable[..., Tensor], parameters: dict[str, Tensor], others: dict[str, Tensor]
) -> tuple[Graph, Node, dict[str, Node]]:
    """The graph of ``loss(parameters, others).sum()`` and of its gradient, traced at the given tensors of one replica.

    Returns the graph, the loss and the gradients by name. Errors: ``Refused`` with the name of what cannot be done.
    """
    dtype = next(iter(parameters.values())).dtype

    def both(parameters: dict[str, Tensor], others: dict[str, Tensor]) -> tuple[dict[str, Tensor], Tensor]:
        def total(parameters: dict[str, Tensor]) -> Tensor:
            return loss(parameters, {name: each.clone() for name, each in others.items()}).sum()

        return torch.func.grad_and_value(total)(parameters)

    try:
        with plain_formulas():
            module = make_fx(torch.func.functionalize(both, remove="mutations"), decomposition_table=_decompositions())(
                parameters, others
            )
    except (RuntimeError, NotImplementedError, ValueError, TypeError) as error:
        raise Refused(f"tracing failed: {type(error).__name__}: {str(error).splitlines()[0][:200]}") from error
    graph = Graph(dtype)
    names = [("parameter", name) for name in parameters] + [("other", name) for name in others]
    leaves = iter([*parameters.values(), *others.values()])
    env: dict[Any, Any] = {}
    inputs = iter(names)
    for node in module.graph.nodes:
        if node.op == "placeholder":
            kind, name = next(inputs)
            env[node] = graph.input(f"{kind} {name}", tuple(next(leaves).shape))
        elif node.op == "get_attr":
            env[node] = getattr(module, node.target)
        elif node.op == "output":
            found = torch.fx.node.map_arg(node.args[0], lambda each: env[each])
        else:
            env[node] = _evaluated(graph, node, env)
    found = [each if isinstance(each, Node) else graph.constant(each) for each in found]
    return graph, found[-1], dict(zip(parameters, found[:-1], strict=True))


@functools.cache
def _decompositions() -> dict[Any, Callable[..., Any]]:
    """Torch's own rules that take operations apart, but for those that this file does better."""
    rules = core_aten_decompositions().items()
    return {op: rule for op, rule in rules if op.name().split("::")[1].split(".")[0] not in _KEPT}


def _evaluated(graph: Graph, node: torch.fx.Node, env: dict[Any, Any]) -> Any:
    args = torch.fx.node.map_arg(node.args, lambda each: env[each])
    kwargs = torch.fx.node.map_arg(node.kwargs, lambda each: env[each])
    if not _holds_node(args) and not _holds_node(tuple(kwargs.values())):
        return node.target(*args, **kwargs)
    if getattr(node.target, "__name__", "") == "getitem":
        return args[0][args[1]]
    name = node.target.name().removeprefix("aten::").split(".")[0]
    rule = _RULES.get(name)
    if rule is None:
        raise Refused(f"operation {node.target.name()}")
    value = node.meta.get("val")
    for each in value if isinstance(value, (tuple, list)) else (value,):
        other = isinstance(each, Tensor) and (
            each.is_complex() or (each.is_floating_point() and each.dtype != graph.dtype)
        )
        if other and name not in _MOVES:  # numbers of another precision may only be moved, until they are converted
            raise Refused(f"operation {node.target.name()} in {each.dtype} among {graph.dtype}")
    args = [_lifted(graph, arg) if isinstance(arg, Tensor) else arg for arg in args]
    return rule(graph, *args, **kwargs)


def _holds_node(args: Any) -> bool:
    return any(isinstance(arg, Node) or (isinstance(arg, (tuple, list)) and _holds_node(arg)) for arg in args)


def _lifted(graph: Graph, arg: Any) -> Any:
    return graph.constant(arg) if isinstance(arg, Tensor) else arg


_RULES: dict[str, Callable[..., Any]] = {}


def _rule(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def keep(function: Callable[..., Any]) -> Callable[..., Any]:
        _RULES.update(dict.fromkeys(names, function))
        return function

    return keep


# ---- pointwise

for _name, _op in {
    "mul": "mul", "exp": "exp", "log": "log", "log1p": "log1p", "tanh": "tanh", "sqrt": "sqrt", "neg": "neg", "abs": "abs",
    "eq": "eq", "ne": "ne", "lt": "lt", "le": "le", "gt": "gt", "ge": "ge", "minimum": "minimum",
    "maximum": "maximum", "logical_and": "and", "bitwise_and": "and", "logical_or": "or", "bitwise_or": "or",
    "logical_not": "not", "bitwise_not": "not",
}.items():  # fmt: skip
    _RULES[_name] = functools.partial(lambda op, g, *args, **kwargs: g.pointwise(op, *args), _op)


@_rule("add", "sub")
def _added(g: Graph, a: Node, b: Any, alpha: float = 1, op: str = "add") -> Node:
    return g.pointwise(op, a, b if alpha == 1 else g.pointwise("mul", b, alpha))


_RULES["sub"] = functools.partial(_added, op="sub")


@_rule("div")
def _divided(g: Graph, a: Node, b: Any, rounding_mode: str | None = None) -> Node:
    if rounding_mode is None:
        return g.pointwise("div", a, b)
    return g.pointwise({"floor": "floor", "trunc": "trunc"}[rounding_mode], _quotient(g, a, b))


def _quotient(g: Graph, a: Node, b: Any) -> Node:
    """A division that is one, not a product with the inverse: 49 / 49 is 1."""
    shape = tuple(torch.broadcast_shapes(a.shape, getattr(b, "shape", ())))
    return g.node("div", (g.expand(a, shape), g.expand(g.number(b) if not isinstance(b, Node) else b, shape)), shape)


@_rule("remainder")
def _remainder(g: Graph, a: Node, b: Any) -> Node:
    return g.pointwise("sub", a, g.pointwise("mul", g.pointwise("floor", _quotient(g, a, b)), b))


@_rule("reciprocal")
def _reciprocal(g: Graph, a: Node) -> Node:
    return g.pointwise("div", 1.0, a)


@_rule("rsqrt")
def _inverse_root(g: Graph, a: Node) -> Node:
    return g.pointwise("div", 1.0, g.pointwise("sqrt", a))


@_rule("pow")
def _power(g: Graph, a: Node, exponent: Any) -> Node:
    """Whole and half powers up to the eighth, as products and roots."""
    if not isinstance(exponent, (int, float)) or 2 * exponent != int(2 * exponent) or abs(exponent) > 8:
        raise Refused(f"operation aten::pow with exponent {exponent}")
    if exponent < 0:
        return _reciprocal(g, _power(g, a, -exponent))
    if exponent == 0:
        return g.number(1.0, a.shape)
    if exponent == 0.5:
        return g.pointwise("sqrt", a)
    return a if exponent == 1 else g.pointwise("mul", _power(g, a, exponent - 1), a)


@_rule("relu")
def _relu(g: Graph, a: Node) -> Node:
    return g.pointwise("where", g.pointwise("le", a, 0.0), 0.0, a)


@_rule("elu")
def _elu(g: Graph, a: Node, alpha: float = 1, scale: float = 1, input_scale: float = 1) -> Node:
    low = g.pointwise(
        "mul",
        g.pointwise("sub", g.pointwise("exp", g.pointwise("minimum", g.pointwise("mul", a, input_scale), 0.0)), 1.0),
        alpha,
    )
    return g.pointwise("mul", g.pointwise("where", g.pointwise("gt", a, 0.0), a, low), scale)


@_rule("sigmoid")
def _sigmoid(g: Graph, a: Node) -> Node:
    return g.pointwise("div", 1.0, g.pointwise("add", 1.0, g.pointwise("exp", g.pointwise("neg", a))))


@_rule("sign")
def _sign(g: Graph, a: Node) -> Node:
    return g.pointwise("sub", g.pointwise("gt", a, 0.0), g.pointwise("lt", a, 0.0))


@_rule("clamp")
def _clamp(
    g: Graph,
    a: Node,
    low: float | None = None,
    high: float | None = None,
    *,
    min: float | None = None,
    max: float | None = None,
) -> Node:
    low, high = low if min is None else min, high if max is None else max
    a = a if low is None else g.pointwise("maximum", a, low)
    return a if high is None else g.pointwise("minimum", a, high)


@_rule("where")
def _where(g: Graph, condition: Node, yes: Any, no: Any) -> Node:
    yes, no = (g.number(each) if isinstance(each, (int, float)) else each for each in (yes, no))
    if yes.boolean != no.boolean:
        yes, no = g.numbers(yes), g.numbers(no)
    return g.pointwise("where", condition, yes, no)


@_rule("_to_copy")
def _converted(g: Graph, a: Node, dtype: torch.dtype | None = None, **kwargs: Any) -> Node:
    if dtype is None or (dtype == torch.bool and a.boolean):
        return a
    if dtype == torch.bool:
        return g.pointwise("ne", a, 0.0)
    if a.boolean:
        return g.numbers(a)
    return a if dtype.is_floating_point else g.pointwise("trunc", a)


@_rule("full_like")
def _filled(g: Graph, a: Node, value: float = 0.0, **kwargs: Any) -> Node:
    return g.number(value, a.shape)


# ---- views and pieces


@_rule("alias", "clone")
def _same(g: Graph, a: Node, **kwargs: Any) -> Node:
    return a


@_rule("copy")
def _copied(g: Graph, a: Node, b: Node, **kwargs: Any) -> Node:
    return g.expand(b, a.shape)


@_rule("view")
def _viewed(g: Graph, a: Node, shape: Sequence[int]) -> Node:
    known = 1
    for size in shape:
        known *= size if size != -1 else 1
    return g.reshape(a, tuple(a.size // known if size == -1 else size for size in shape))


@_rule("permute")
def _permuted(g: Graph, a: Node, axes: Sequence[int]) -> Node:
    return g.permute(a, tuple(axes))


@_rule("expand")
def _expanded(g: Graph, a: Node, shape: Sequence[int], **kwargs: Any) -> Node:
    lead = len(shape) - len(a.shape)
    return g.expand(a, tuple(a.shape[i - lead] if size == -1 else size for i, size in enumerate(shape)))


@_rule("unsqueeze")
def _unsqueezed(g: Graph, a: Node, axis: int) -> Node:
    axis %= len(a.shape) + 1
    return g.reshape(a, (*a.shape[:axis], 1, *a.shape[axis:]))


@_rule("squeeze")
def _squeezed(g: Graph, a: Node, axes: Sequence[int] | int) -> Node:
    gone = {axis % len(a.shape) for axis in ([axes] if isinstance(axes, int) else axes)}
    return g.reshape(a, tuple(s for i, s in enumerate(a.shape) if i not in gone or s != 1))


@_rule("select")
def _selected(g: Graph, a: Node, axis: int, index: int) -> Node:
    axis %= len(a.shape)
    one = g.slice(a, axis, index % a.shape[axis], 1)
    return g.reshape(one, (*a.shape[:axis], *a.shape[axis + 1 :]))


@_rule("slice")
def _sliced(g: Graph, a: Node, axis: int = 0, start: int | None = None, end: int | None = None, step: int = 1) -> Node:
    axis %= len(a.shape)
    chosen = range(a.shape[axis])[slice(start, end, step)]
    return g.slice(a, axis, chosen.start, len(chosen), step)


@_rule("split_with_sizes")
def _split(g: Graph, a: Node, sizes: Sequence[int], axis: int = 0) -> list[Node]:
    axis %= len(a.shape)
    return [g.slice(a, axis, sum(sizes[:i]), size) for i, size in enumerate(sizes)]


@_rule("flip")
def _flipped(g: Graph, a: Node, axes: Sequence[int]) -> Node:
    return g.node("flip", (a,), a.shape, axes=tuple(axis % len(a.shape) for axis in axes))


@_rule("cat")
def _joined(g: Graph, parts: Sequence[Any], axis: int = 0) -> Node:
    nodes = [_lifted(g, part) for part in parts]
    nodes = [node for node in nodes if node.shape != (0,)]
    axis %= len(nodes[0].shape)
    shape = list(nodes[0].shape)
    shape[axis] = sum(node.shape[axis] for node in nodes)
    return g.node("cat", tuple(nodes), tuple(shape), axis=axis)


@_rule("slice_scatter")
def _slice_replaced(
    g: Graph, a: Node, b: Node, axis: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Node:
    axis %= len(a.shape)
    chosen = range(a.shape[axis])[slice(start, end, step)]
    if step != 1:
        raise Refused("operation aten::slice_scatter with steps")
    parts = [g.slice(a, axis, 0, chosen.start), b, g.slice(a, axis, chosen.stop, a.shape[axis] - chosen.stop)]
    return _joined(g, [part for part in parts if part.shape[axis]], axis)


@_rule("select_scatter")
def _selected_replaced(g: Graph, a: Node, b: Node, axis: int, index: int) -> Node:
    index %= a.shape[axis]
    return _slice_replaced(g, a, _unsqueezed(g, b, axis % len(a.shape)), axis, index, index + 1)


@_rule("slice_backward")
def _slice_gradient(g: Graph, a: Node, shape: Sequence[int], axis: int, start: int, end: int, step: int) -> Node:
    axis %= len(shape)
    chosen = range(shape[axis])[slice(start, end, step)]
    if step != 1:
        raise Refused("operation aten::slice_backward with steps")
    return a if len(chosen) == shape[axis] else g.pad(a, axis, chosen.start, shape[axis])


@_rule("select_backward")
def _select_gradient(g: Graph, a: Node, shape: Sequence[int], axis: int, index: int) -> Node:
    axis %= len(shape)
    one = _unsqueezed(g, a, axis)
    return one if shape[axis] == 1 else g.pad(one, axis, index % shape[axis], shape[axis])


# ---- reductions


@_rule("sum")
def _summed(g: Graph, a: Node, axes: Sequence[int] | None = None, keep: bool = False, **kwargs: Any) -> Node:
    return g.reduce("sum", a, tuple(axes or ()), keep) if a.shape else a


@_rule("mean")
def _mean(g: Graph, a: Node, axes: Sequence[int] | None = None, keep: bool = False, **kwargs: Any) -> Node:
    total = _summed(g, a, axes, keep)
    return g.pointwise("mul", total, total.size / a.size)


@_rule("amax")
def _largest(g: Graph, a: Node, axes: Sequence[int] = (), keep: bool = False) -> Node:
    return g.reduce("amax", a, tuple(axes), keep)


@_rule("amin")
def _least(g: Graph, a: Node, axes: Sequence[int] = (), keep: bool = False) -> Node:
    return g.pointwise("neg", g.reduce("amax", g.pointwise("neg", a), tuple(axes), keep))


@_rule("argmax")
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


@_rule("argmin")
def _place_of_least(g: Graph, a: Node, axis: int | None = None, keep: bool = False) -> Node:
    return _place_of_largest(g, g.pointwise("neg", a), axis, keep)


@_rule("max")
def _largest_and_place(g: Graph, a: Node, axis: int | None = None, keep: bool = False) -> Any:
    if axis is None:
        return g.reduce("amax", a, ())
    return [g.reduce("amax", a, (axis,), keep), _place_of_largest(g, a, axis, keep)]


@_rule("linalg_vector_norm")
def _norm(
    g: Graph, a: Node, order: float = 2, axes: Sequence[int] | None = None, keep: bool = False, **kwargs: Any
) -> Node:
    if order != 2:
        raise Refused(f"operation aten::linalg_vector_norm of order {order}")
    return g.pointwise("sqrt", g.reduce("sum", g.pointwise("mul", a, a), tuple(axes or ()), keep))


@_rule("bmm")
def _batched_product(g: Graph, a: Node, b: Node) -> Node:
    return g.matmul(a, b)


@_rule("mm")
def _product(g: Graph, a: Node, b: Node) -> Node:
    found = g.matmul(g.reshape(a, (1, *a.shape)), g.reshape(b, (1, *b.shape)))
    return g.reshape(found, (a.shape[0], b.shape[1]))


@_rule("_softmax")
def _softmax(g: Graph, a: Node, axis: int, half: bool) -> Node:
    e = g.pointwise("exp", g.pointwise("sub", a, g.reduce("amax", a, (axis,), True)))
    return g.pointwise("mul", e, g.pointwise("div", 1.0, g.reduce("sum", e, (axis,), True)))


@_rule("_softmax_backward_data")
def _softmax_gradient(g: Graph, gradient: Node, out: Node, axis: int, dtype: torch.dtype) -> Node:
    along = g.pointwise("mul", gradient, out)
    return g.pointwise("sub", along, g.pointwise("mul", out, g.reduce("sum", along, (axis,), True)))


@_rule("_log_softmax")
def _log_softmax(g: Graph, a: Node, axis: int, half: bool) -> Node:
    moved = g.pointwise("sub", a, g.reduce("amax", a, (axis,), True))
    total = g.reduce("sum", g.pointwise("exp", moved), (axis,), True)
    return g.pointwise("sub", moved, g.pointwise("log", total))


@_rule("_log_softmax_backward_data")
def _log_softmax_gradient(g: Graph, gradient: Node, out: Node, axis: int, dtype: torch.dtype) -> Node:
    total = g.reduce("sum", gradient, (axis,), True)
    return g.pointwise("sub", gradient, g.pointwise("mul", g.pointwise("exp", out), total))


@_rule("cumsum")
def _summed_up(g: Graph, a: Node, axis: int, **kwargs: Any) -> Node:
    return g.node("cumsum", (g.numbers(a),), a.shape, axes=(axis % len(a.shape),))


# ---- positions that are data


@_rule("gather")
def _gathered(g: Graph, a: Node, axis: int, index: Node, **kwargs: Any) -> Node:
    axis %= len(a.shape)
    if any(i != axis and a.shape[i] != size for i, size in enumerate(index.shape)):
        a = _sliced_to(g, a, index.shape, axis)
    return g.node("take", (a, index), index.shape, axes=(axis,), place=None)


@_rule("index")
def _indexed(g: Graph, a: Node, indices: Sequence[Any]) -> Node:
    axes = tuple(i for i, index in enumerate(indices) if index is not None)
    if axes != tuple(range(axes[0], axes[-1] + 1)):
        raise Refused("operation aten::index on axes that do not follow each other")
    found = [_lifted(g, indices[axis]) for axis in axes]
    common = tuple(torch.broadcast_shapes(*(index.shape for index in found)))
    shape = (*a.shape[: axes[0]], *common, *a.shape[axes[-1] + 1 :])
    return g.node("take", (a, *(g.expand(index, common) for index in found)), shape, axes=axes, place=axes[0])


@_rule("scatter")
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


@_rule("scatter_add")
def _scattered_sum(g: Graph, a: Node, axis: int, index: Node, source: Node) -> Node:
    return _scattered(g, a, axis, index, source, add=True)


@_rule("index_put")
def _put(g: Graph, a: Node, indices: Sequence[Any], values: Node, accumulate: bool = False) -> Node:
    axes = [i for i, index in enumerate(indices) if index is not None and a.shape[i] > 1]
    if len(axes) != 1 or not accumulate:
        raise Refused("operation aten::index_put but for sums along one axis")
    axis = axes[0]
    index = _lifted(g, indices[axis])
    given = [i for i, each in enumerate(indices) if each is not None]
    common = tuple(torch.broadcast_shapes(*(_lifted(g, indices[i]).shape for i in given)))
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


@_rule("sort")
def _sorted(g: Graph, a: Node, axis: int = -1, descending: bool = False, stable: bool = False) -> list[Node]:
    axis %= len(a.shape)
    if axis != len(a.shape) - 1:
        raise Refused("operation aten::sort but along the last axis")
    order = _order(g, g.pointwise("neg", a) if descending else a)
    return [g.node("take", (a, order), a.shape, axes=(axis,), place=None), order]


@_rule("topk")
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
