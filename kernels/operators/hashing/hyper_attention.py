"""HyperAttention: softmax over the keys of the own hash block and a few sampled ones that stand for all the others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import pad

from attnlab.kernels.attention import attention
from attnlab.kernels.operators.axes import beside_problems
from attnlab.kernels.operators.base_scores.dot_product import DotProduct
from attnlab.kernels.operators.operator import (
    QKV,
    Approximation,
    Facts,
    Limit,
    Operator,
    Parameters,
    Sizes,
    checked,
    normal,
)


@dataclass(frozen=True)
class HyperAttention(Operator):
    r"""Blocks of sorted hash codes exactly, and m uniform samples of the other keys, each counted n/m times.

    .. math:: W_{ij} \propto e^{s_{ij}} \Bigl( [B(i) = B(j)] + [B(i) \ne B(j)] \tfrac nm c_j \Bigr), \qquad
              B(x) = \lfloor \mathrm{place}(x) / b \rfloor,

    place the rank of a token among queries or keys sorted by the signs of ``bits`` Gaussian directions (``planes``, frozen),
    read as a Gray code, ties in their order; c_j how often ``draw`` (m uniform numbers per replica, with replacement) took key
    j. The sampled parts of numerator and denominator are unbiased, their ratio is not. Queries have as many blocks as keys.
    Published with b = m = 256 and 7 bits. Han et al. 2024 (arXiv 2310.05869), algorithm 3 in the form of their
    experiments; the cap on large sampled entries of algorithm 2 is not built.
    """

    block: int = 2
    samples: int = 2
    bits: int = 3
    kind: ClassVar[str] = "qkv"
    source: ClassVar[str] = "han2024hyper"
    approximates: ClassVar[Approximation | str | None] = Approximation(
        lambda sizes: {
            name: tuple(
                HyperAttention(block(sizes.n, m), m, 7) for m in (max(2, sizes.n // part) for part in (32, 16, 8, 4))
            )
            for name, block in (
                ("small blocks", lambda n, m: max(1, n // 128)),
                ("blocks of as many keys as samples", lambda n, m: m),
            )
        },
        lambda sizes: HyperAttention(block=sizes.n),
    )
    frozen_parameters: ClassVar[tuple[str, ...]] = ("planes",)
    limits: ClassVar[tuple[Limit, ...]] = (
        Limit("one block holds all keys", lambda: HyperAttention(block=99), lambda: DotProduct()),
    )

    def __post_init__(self):
        if min(self.block, self.samples, self.bits) < 1:
            raise ValueError(
                f"block={self.block!r}, samples={self.samples!r} and bits={self.bits!r} must be at least 1"
            )

    @property
    def facts(self) -> Facts:  # type: ignore[override]
        """One uniform number per sample."""
        return Facts(
            row_sum=1.0, causal="none", content="pair", smooth=False, n_uniform=lambda sizes: self.samples,
            causal_reason="the block of a query is its place among all codes, later ones too: the published recursive split "
            "masks weights and not this choice",
            skips={"last_queries": "the block of a query is its place among all queries, a set of its own"},
        )  # fmt: skip

    def initialise(self, sizes: Sizes, generators: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        return {"planes": normal(generators, (self.bits, sizes.d), 1.0, dtype)}

    def apply(self, inputs: QKV, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None) -> Tensor:
        checked(inputs, self)
        self.not_causal(causal)
        n_q, n = inputs.q.shape[-2], inputs.k.shape[-2]
        order_q, order_k = (self._order(x, parameters) for x in (inputs.q, inputs.k))
        blocks = -(-n // self.block)
        rows, columns = -(-n_q // blocks), min(n, self.block)
        q, k, v = (
            _in_blocks(x, order, blocks, size)
            for x, order, size in (
                (inputs.q, order_q, rows), (inputs.k, order_k, columns), (inputs.v, order_k, columns),
            )
        )  # fmt: skip
        place = self._samples(draw, n, inputs.k)  # (replica, 1, 1, sample) among sorted keys
        taken = order_k.gather(-1, place.expand(*order_k.shape[:-1], -1))
        more_k, more_v = (
            _rows(x, taken)[..., None, :, :].expand(*(-1,) * 3, blocks, -1, -1) for x in (inputs.k, inputs.v)
        )
        at = torch.arange(blocks, device=place.device)[:, None]
        own = at * columns + torch.arange(columns, device=place.device) < n  # (block, place): short last block
        other = place[..., None, :] // self.block != at  # (replica, 1, 1, block, sample)
        weight = place.new_full(other.shape, 0, dtype=v.dtype).masked_fill(~other, -torch.inf) + math.log(
            n / self.samples
        )
        bias = torch.cat(
            [v.new_zeros(own.shape).masked_fill(~own, -torch.inf).expand(*weight.shape[:-1], -1), weight], -1
        )
        y = attention(q, torch.cat([k, more_k], -2), torch.cat([v, more_v], -2), bias=bias[..., None, :])
        back = order_q.argsort(-1)
        return _rows(y.flatten(-3, -2), back)

    def matrix(
        self, inputs: QKV, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        self.not_causal(causal)
        n_q, n = inputs.q.shape[-2], inputs.k.shape[-2]
        place_q, place_k = (self._order(x, parameters).argsort(-1) for x in (inputs.q, inputs.k))
        blocks = -(-n // self.block)
        same = (place_q // -(-n_q // blocks))[..., :, None] == (place_k // self.block)[..., None, :]
        count = (self._samples(draw, n, inputs.k)[..., None, :] == place_k[..., :, None]).sum(-1)
        s = inputs.q @ inputs.k.mT / inputs.q.shape[-1] ** 0.5
        counted = count.to(s)[..., None, :] * (n / self.samples)
        return (s + torch.where(same, 1.0, counted).log()).softmax(-1)

    def _order(self, x, parameters):
        """Tokens (..., n) sorted by the Gray rank of their codes: bits from the most significant, prefix sums modulo 2."""
        signs = x.detach() @ beside_problems(parameters["planes"], x).mT > 0
        powers = 2 ** torch.arange(self.bits - 1, -1, -1, device=x.device)
        return (signs.cumsum(-1) % 2 * powers).sum(-1).argsort(dim=-1, stable=True)

    def _samples(self, draw, n, like):
        if draw is None or draw.shape[-1] != self.samples:
            given = None if draw is None else tuple(draw.shape)
            raise ValueError(f"draw={given} must hold {self.samples} uniform numbers per replica")
        return beside_problems((draw * n).long().clamp(max=n - 1), like[..., 0])


def _rows(x: Tensor, index: Tensor) -> Tensor:
    """Tokens of x (..., n, width) at ``index`` (..., m)."""
    return x.gather(-2, index[..., None].expand(*index.shape, x.shape[-1]))


def _in_blocks(x: Tensor, order: Tensor, blocks: int, size: int) -> Tensor:
    """Tokens in this order, in blocks of ``size``, zeros at the end: (..., block, size, width)."""
    return pad(_rows(x, order), (0, 0, 0, blocks * size - x.shape[-2])).unflatten(-2, (blocks, size))
