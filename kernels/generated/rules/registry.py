"""The rules by name of the operation, and how a rule is declared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from attnlab.kernels.generated.graph import Graph

RULES: dict[str, Callable[..., Any]] = {}
"""``aten`` name of an operation: the function ``(graph, *arguments) -> node``. A name that is not here is refused."""


def rule(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declare a function as the rule of the operations of these names."""

    def keep(function: Callable[..., Any]) -> Callable[..., Any]:
        RULES.update(dict.fromkeys(names, function))
        return function

    return keep


def lifted(graph: Graph, arg: Any) -> Any:
    """A tensor of fixed numbers as a node; anything else as it is."""
    return graph.constant(arg) if isinstance(arg, Tensor) else arg
