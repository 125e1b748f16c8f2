"""Generic inputs of any kind of operator, from one stream."""

from __future__ import annotations

import torch

from attnlab.kernels.operators.operator import QKV, Cache, Graph, Grid, Heads, Inputs, Operator, Sizes, Tokens


def generic(operator: Operator, sizes: Sizes, stream: torch.Generator, batch: int = 2) -> Inputs:
    """Standard normal inputs (1, batch, ...) of the operator's kind, float64; quadrature weights and edges at random."""

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(1, batch, *shape, generator=stream, dtype=torch.float64)

    kind = operator.kind if operator.kind != "recurrent" else getattr(operator, "takes", "tokens")
    if kind in ("qkv", "select"):
        q, k = normal(sizes.n_heads, sizes.queries, sizes.d), normal(sizes.n_heads, sizes.n, sizes.d)
        v = normal(sizes.n_heads, sizes.n, sizes.d_v)
        return QKV(q, k, v) if kind == "qkv" else Cache(q, k, v, sizes.n - sizes.queries)
    x = normal(sizes.n, sizes.d_model)
    if kind == "grid":
        if sizes.shape is None:
            raise ValueError("sizes.shape=None; a grid needs (rows, columns)")
        return Grid(x, sizes.shape, 0.5 + torch.rand(sizes.n, generator=stream, dtype=torch.float64))
    if kind == "graph":
        edges = torch.rand(batch, sizes.n, sizes.n, generator=stream) < 0.6
        return Graph(x, edges | torch.eye(sizes.n, dtype=torch.bool))
    if kind == "heads":
        return Heads(x, operator.inner_operator())  # type: ignore[attr-defined]
    return Tokens(x)
