"""Operations entry by entry."""

from __future__ import annotations

import functools
import math
from typing import Any

import torch

from attnlab.kernels.generated.graph import Graph, Node, Refused
from attnlab.kernels.generated.rules.registry import RULES, rule

for _name, _op in {
    "mul": "mul", "exp": "exp", "log": "log", "log1p": "log1p", "tanh": "tanh", "sqrt": "sqrt", "neg": "neg", "abs": "abs",
    "eq": "eq", "ne": "ne", "lt": "lt", "le": "le", "gt": "gt", "ge": "ge", "minimum": "minimum",
    "maximum": "maximum", "logical_and": "and", "bitwise_and": "and", "logical_or": "or", "bitwise_or": "or",
    "logical_not": "not", "bitwise_not": "not",
}.items():  # fmt: skip
    RULES[_name] = functools.partial(lambda op, g, *args, **kwargs: g.pointwise(op, *args), _op)


@rule("add", "sub")
def _added(g: Graph, a: Node, b: Any, alpha: float = 1, op: str = "add") -> Node:
    return g.pointwise(op, a, b if alpha == 1 else g.pointwise("mul", b, alpha))


RULES["sub"] = functools.partial(_added, op="sub")


@rule("div")
def _divided(g: Graph, a: Node, b: Any, rounding_mode: str | None = None) -> Node:
    if rounding_mode is None:
        return g.pointwise("div", a, b)
    return g.pointwise({"floor": "floor", "trunc": "trunc"}[rounding_mode], _quotient(g, a, b))


def _quotient(g: Graph, a: Node, b: Any) -> Node:
    """A division that is one, not a product with the inverse: 49 / 49 is 1."""
    shape = tuple(torch.broadcast_shapes(a.shape, getattr(b, "shape", ())))
    return g.node("div", (g.expand(a, shape), g.expand(g.number(b) if not isinstance(b, Node) else b, shape)), shape)


@rule("remainder")
def _remainder(g: Graph, a: Node, b: Any) -> Node:
    return g.pointwise("sub", a, g.pointwise("mul", g.pointwise("floor", _quotient(g, a, b)), b))


@rule("reciprocal")
def _reciprocal(g: Graph, a: Node) -> Node:
    return g.pointwise("div", 1.0, a)


@rule("rsqrt")
def _inverse_root(g: Graph, a: Node) -> Node:
    return g.pointwise("div", 1.0, g.pointwise("sqrt", a))


@rule("pow")
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


@rule("relu")
def _relu(g: Graph, a: Node) -> Node:
    return g.pointwise("where", g.pointwise("le", a, 0.0), 0.0, a)


@rule("elu")
def _elu(g: Graph, a: Node, alpha: float = 1, scale: float = 1, input_scale: float = 1) -> Node:
    low = g.pointwise(
        "mul",
        g.pointwise("sub", g.pointwise("exp", g.pointwise("minimum", g.pointwise("mul", a, input_scale), 0.0)), 1.0),
        alpha,
    )
    return g.pointwise("mul", g.pointwise("where", g.pointwise("gt", a, 0.0), a, low), scale)


@rule("sigmoid")
def _sigmoid(g: Graph, a: Node) -> Node:
    return g.pointwise("div", 1.0, g.pointwise("add", 1.0, g.pointwise("exp", g.pointwise("neg", a))))


@rule("gelu")
def _gelu(g: Graph, a: Node, approximate: str = "none") -> Node:
    """x (1 + tanh(u)) / 2, u = sqrt(2 / pi) (x + 0.044715 x^3)."""
    if approximate != "tanh":
        raise Refused(f"operation aten::gelu with approximate={approximate!r}")
    cube = g.pointwise("mul", g.pointwise("mul", a, a), a)
    u = g.pointwise("mul", g.pointwise("add", a, g.pointwise("mul", cube, 0.044715)), (2 / math.pi) ** 0.5)
    return g.pointwise("mul", g.pointwise("mul", a, 0.5), g.pointwise("add", g.pointwise("tanh", u), 1.0))


@rule("sign")
def _sign(g: Graph, a: Node) -> Node:
    return g.pointwise("sub", g.pointwise("gt", a, 0.0), g.pointwise("lt", a, 0.0))


@rule("clamp")
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


@rule("where")
def _where(g: Graph, condition: Node, yes: Any, no: Any) -> Node:
    yes, no = (g.number(each) if isinstance(each, (int, float)) else each for each in (yes, no))
    if yes.boolean != no.boolean:
        yes, no = g.numbers(yes), g.numbers(no)
    return g.pointwise("where", condition, yes, no)


@rule("_to_copy")
def _converted(g: Graph, a: Node, dtype: torch.dtype | None = None, **kwargs: Any) -> Node:
    if dtype is None or (dtype == torch.bool and a.boolean):
        return a
    if dtype == torch.bool:
        return g.pointwise("ne", a, 0.0)
    if a.boolean:
        return g.numbers(a)
    return a if dtype.is_floating_point else g.pointwise("trunc", a)


@rule("full_like")
def _filled(g: Graph, a: Node, value: float = 0.0, **kwargs: Any) -> Node:
    return g.number(value, a.shape)
