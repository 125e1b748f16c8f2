"""Selecting keys: the base of operators that choose which keys a query sees, and the small pieces they share."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from attnlab.kernels.attention import attention
from attnlab.kernels.operators.operator import QKV, Cache, Operator, Parameters, checked


class Selecting(Operator):
    """Softmax attention on the keys that :meth:`select` shows; the choice itself passes no gradient."""

    kind: ClassVar[str] = "select"

    def select(self, cache: Cache, parameters: Parameters, *, causal: bool = False) -> Tensor:
        """Boolean (..., query, key)."""
        raise NotImplementedError(f"{type(self).__name__} has no select")

    def apply(
        self, inputs: Cache, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        checked(inputs, self)
        self.not_causal(causal)
        with torch.no_grad():
            seen = self.select(inputs, parameters, causal=causal)
        return attention(inputs.q, inputs.k, inputs.v, mask=seen)


def query_places(n_queries: int, n_keys: int) -> Tensor:
    """Place of every query among the keys: the last query sits at the last key."""
    return torch.arange(n_keys - n_queries, n_keys)


def visible_past(n_queries: int, n_keys: int, causal: bool) -> Tensor:
    """Boolean (query, key): keys up to the query's place, or all."""
    seen = torch.ones(n_queries, n_keys, dtype=torch.bool)
    return seen.tril(n_keys - n_queries) if causal else seen


def largest(score: Tensor, allowed: Tensor, count: int) -> Tensor:
    """Boolean like ``score``: the ``count`` largest of the allowed entries of every row; ties go to the first."""
    order = torch.where(allowed, score, -torch.inf).argsort(dim=-1, descending=True, stable=True)
    place = torch.empty_like(order).scatter_(-1, order, torch.arange(score.shape[-1]).expand_as(order))
    return (place < count) & allowed


def block_means(x: Tensor, block: int) -> Tensor:
    """Means over blocks of tokens, (..., block, width); a short last block has the mean of what it holds."""
    return torch.stack([part.mean(-2) for part in x.split(block, -2)], -2)


def of_blocks(chosen: Tensor, block: int, n: int) -> Tensor:
    """A choice of blocks (..., block) as a choice of tokens (..., n)."""
    return chosen.repeat_interleave(block, -1)[..., :n]


def masked_softmax(s: Tensor, seen: Tensor) -> Tensor:
    """Softmax over the last axis on what is seen; a row that sees nothing is zero and passes no gradient."""
    p = torch.where(seen, s, torch.finfo(s.dtype).min).softmax(-1)
    return torch.where(seen, p, 0.0)


def shares(w: Tensor) -> Tensor:
    """Weights (..., query, key) over the sum of their row; a row of zeros, which sees no key, stays zero."""
    total = w.sum(-1, keepdim=True)
    return w / torch.where(total == 0, 1.0, total)


def one_query_per_key(inputs: QKV | Cache, name: str) -> None:
    """Raise ``ValueError`` unless there are as many queries as keys."""
    n_q, n_k = inputs.q.shape[-2], inputs.k.shape[-2]
    if n_q != n_k:
        raise ValueError(f"q has {n_q} and k {n_k} tokens; {name} needs one query per key, a whole sequence")
