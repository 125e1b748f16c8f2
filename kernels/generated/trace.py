"""From a function of tensors to the graph of its value and gradient: torch differentiates, every operation is known here.

What an operation becomes stands in ``rules/``; one without a rule is refused by its name. Whatever depends on no input is
computed by torch once, at this time.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from attnlab.kernels import torch_internals
from attnlab.kernels.attention.plain import plain_formulas
from attnlab.kernels.generated.graph import Graph, Node, Refused
from attnlab.kernels.generated.rules import places, pointwise, reductions, views
from attnlab.kernels.generated.rules.registry import RULES, lifted

_FAMILIES = (places, pointwise, reductions, views)  # to import a family is to declare its rules
_KEPT = ("select_backward", "slice_backward", "_softmax_backward_data", "_log_softmax_backward_data", "select_scatter")
_MOVES = {
    "alias", "clone", "view", "permute", "expand", "unsqueeze", "squeeze", "select", "slice", "split_with_sizes", "gather",
    "index", "flip",
}  # fmt: skip


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
    rules = torch_internals.decompositions().items()
    return {op: rule for op, rule in rules if op.name().split("::")[1].split(".")[0] not in _KEPT}


def _evaluated(graph: Graph, node: torch.fx.Node, env: dict[Any, Any]) -> Any:
    args = torch.fx.node.map_arg(node.args, lambda each: env[each])
    kwargs = torch.fx.node.map_arg(node.kwargs, lambda each: env[each])
    if not _holds_node(args) and not _holds_node(tuple(kwargs.values())):
        return node.target(*args, **kwargs)
    if getattr(node.target, "__name__", "") == "getitem":
        return args[0][args[1]]
    name = node.target.name().removeprefix("aten::").split(".")[0]
    rule = RULES.get(name)
    if rule is None:
        raise Refused(f"operation {node.target.name()}")
    value = node.meta.get("val")
    for each in value if isinstance(value, (tuple, list)) else (value,):
        other = isinstance(each, Tensor) and (
            each.is_complex() or (each.is_floating_point() and each.dtype != graph.dtype)
        )
        if other and name not in _MOVES:  # numbers of another precision may only be moved, until they are converted
            raise Refused(f"operation {node.target.name()} in {each.dtype} among {graph.dtype}")
    args = [lifted(graph, arg) if isinstance(arg, Tensor) else arg for arg in args]
    return rule(graph, *args, **kwargs)


def _holds_node(args: Any) -> bool:
    return any(isinstance(arg, Node) or (isinstance(arg, (tuple, list)) and _holds_node(arg)) for arg in args)
