"""What the checks of the atlas are given: inputs, parameters and uniform numbers of any operator, and how outputs are compared."""

from __future__ import annotations

from dataclasses import fields, replace

import torch
from torch import Tensor

from attnlab.kernels.operators.operator import QKV, Cache, Graph, Grid, Heads, Operator, Sizes, Tokens

REPLICAS, BATCH, HEADS = 2, 2, 2
SMALL = Sizes(n=6, d=4, d_v=3, n_heads=HEADS, shape=(2, 3))
EPS = torch.finfo(torch.float64).eps
UNREAD = {"query": ("k",), "none": ("q", "k")}  # what a map of queries and keys does not read, by its content
VISIBLE = 1e-3  # an undeclared property must be violated by more than this, relative to the output


def generators(n: int = REPLICAS, seed: int = 0) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(1000 * seed + replica) for replica in range(n)]


def make(
    operator: Operator, sizes: Sizes = SMALL, seed: int = 1, dtype=torch.float64, scale: float = 1.0, replicas=REPLICAS
):
    """Generic Gaussian inputs of the operator's kind."""
    g = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return (scale * torch.randn(*shape, generator=g, dtype=torch.float64)).to(dtype)

    lead = (replicas, BATCH, sizes.n_heads)
    kind = operator.kind if operator.kind != "recurrent" else getattr(operator, "takes", "tokens")
    if kind in ("qkv", "select"):
        q, k = normal(*lead, sizes.queries, sizes.d), normal(*lead, sizes.n, sizes.d)
        v = normal(*lead, sizes.n, sizes.d_v) / scale
        return QKV(q, k, v) if kind == "qkv" else Cache(q, k, v, sizes.n - sizes.queries)
    x = normal(replicas, BATCH, sizes.n, sizes.d_model)
    if kind == "grid":
        rows, columns = sizes.shape
        return Grid(x, (rows, columns), torch.rand(rows * columns, generator=g, dtype=torch.float64).to(dtype) + 0.5)
    if kind == "graph":
        edges = torch.rand(BATCH, sizes.n, sizes.n, generator=g) < 0.6
        return Graph(x, edges | torch.eye(sizes.n, dtype=torch.bool))
    if kind == "heads":
        return Heads(x, operator.inner_operator())
    return Tokens(x)


def main_tensors(inputs) -> dict[str, Tensor]:
    """The floating-point token tensors of the inputs by field."""
    found = {each.name: getattr(inputs, each.name) for each in fields(inputs)}
    return {k: x for k, x in found.items() if isinstance(x, Tensor) and x.is_floating_point() and k != "weights"}


def parameters_of(operator: Operator, sizes: Sizes = SMALL, dtype=torch.float64, replicas=REPLICAS, generic=True):
    """Parameters, moved off special starts (zeros, ones) so that what is tested is generic."""
    made = operator.initialise(sizes, generators(replicas), dtype)
    if not generic:
        return made
    g = torch.Generator().manual_seed(5)
    return {
        name: x
        if name in operator.frozen_parameters
        else x + 0.1 * torch.randn(x.shape, generator=g, dtype=torch.float64).to(dtype)
        for name, x in made.items()
    }


def draw_of(operator: Operator, sizes: Sizes = SMALL, seed: int = 3, dtype=torch.float64, replicas=REPLICAS):
    if operator.facts.n_uniform is None:
        return None
    g = torch.Generator().manual_seed(seed)
    return torch.rand(replicas, operator.facts.n_uniform(sizes), generator=g, dtype=torch.float64).to(dtype)


def run(operator, inputs=None, parameters=None, sizes=SMALL, **more):
    inputs = make(operator, sizes) if inputs is None else inputs
    parameters = parameters_of(operator, sizes) if parameters is None else parameters
    more.setdefault("draw", draw_of(operator, sizes))
    return operator.apply(inputs, parameters, **more)


def causal_forms(operator) -> tuple[bool, ...]:
    return (False,) if operator.facts.causal == "none" else (False, True)


def close(a: Tensor, b: Tensor, rounding: float = 1e4) -> bool:
    """Equal to ``rounding`` units in the last place of the largest entry."""
    size = max(1.0, a.abs().max().item(), b.abs().max().item())
    return a.shape == b.shape and bool((a - b).abs().max() <= rounding * EPS * size)


def far(a: Tensor, b: Tensor) -> bool:
    return bool((a - b).abs().max() > VISIBLE * max(b.abs().max().item(), 1e-6))


def with_tokens_moved(inputs, how):
    """The inputs with their tokens moved by ``how`` (a function of a (..., token, width) tensor)."""
    return replace(inputs, **{name: how(x) for name, x in main_tensors(inputs).items()})
