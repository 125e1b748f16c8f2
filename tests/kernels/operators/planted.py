"""Members with one false word each: exactly the check that looks at that word must fail."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attnlab.kernels.attention import attention
from attnlab.kernels.attention.scores import Softmax
from attnlab.kernels.operators.base_scores.dot_product import DotProduct
from attnlab.kernels.operators.operator import QKV, Facts, Limit, Operator, checked, normal
from attnlab.kernels.operators.selection import one_query_per_key
from attnlab.theory.base_scores import dot_product

PAIR = Facts(row_sum=1.0, causal="mask", content="pair", equivariant=("permutation", "rotation"))


def past_of(s: Tensor) -> Tensor:
    """Boolean (query, key) of scores: the last query sits at the last key."""
    return torch.ones(s.shape[-2:], dtype=torch.bool).tril(s.shape[-1] - s.shape[-2])


def masked(weights: Tensor, seen: Tensor) -> Tensor:
    """Weights, 0 where nothing is seen: a row that sees no key is 0 and not NaN."""
    return torch.where(seen, weights, 0.0)


class Law:
    """The cost of an operator that forms all scores by plain products."""

    @staticmethod
    def multiply_adds(sizes, *, causal=False, **numbers):
        return sizes.n_heads * sizes.queries * sizes.n * (sizes.d + sizes.d_v)


@dataclass(frozen=True)
class Planted(Operator):
    """Plain softmax attention in torch, to which one fault is added."""

    kind: ClassVar[str] = "qkv"
    source: ClassVar[str] = "planted"
    facts: ClassVar[Facts] = PAIR
    law: ClassVar = Law

    def scores(self, q: Tensor, k: Tensor, parameters) -> Tensor:
        return q @ k.mT / q.shape[-1] ** 0.5

    def weights(self, s: Tensor) -> Tensor:
        return s.softmax(-1)

    def apply(self, inputs, parameters, *, causal=False, draw=None):
        checked(inputs, self)
        self.not_causal(causal)
        s = self.scores(inputs.q, inputs.k, parameters)
        if causal:
            return masked(self.weights(torch.where(past_of(s), s, -torch.inf)), past_of(s)) @ inputs.v
        return self.weights(s) @ inputs.v


class ScaleForgotten(Planted):
    def matrix(self, inputs, parameters, *, causal=False, draw=None):
        s = inputs.q @ inputs.k.mT
        past = past_of(s) if causal else torch.tensor(True)
        return masked(torch.where(past, s, -torch.inf).softmax(-1), past)


class FirstQueryAtTheFirstKey(Planted):
    """A causal mask that counts the places of queries from the first key: as good as the other while both are as many."""

    def apply(self, inputs, parameters, *, causal=False, draw=None):
        checked(inputs, self)
        s = self.scores(inputs.q, inputs.k, parameters)
        if causal:
            s = torch.where(torch.ones(s.shape[-2:], dtype=torch.bool).tril(), s, -torch.inf)
        return self.weights(s) @ inputs.v


class NoKeyNoNumber(Planted):
    """Rows that see no key are NaN: softmax of nothing."""

    def apply(self, inputs, parameters, *, causal=False, draw=None):
        checked(inputs, self)
        s = self.scores(inputs.q, inputs.k, parameters)
        return (torch.where(past_of(s), s, -torch.inf) if causal else s).softmax(-1) @ inputs.v


class SinkWithRowSumOne(Planted):
    law = dot_product

    def apply(self, inputs, parameters, *, causal=False, draw=None):
        checked(inputs, self)
        return attention(inputs.q, inputs.k, inputs.v, score=Softmax(sink=0.0), mask="causal" if causal else None)


class RoutingDeclaredCausal(Planted):
    """The top half of all tokens by the norm of their keys, then a causal mask: membership depends on the future."""

    facts = Facts(row_sum=1.0, causal="mask", content="pair", equivariant=("permutation", "rotation"), smooth=False)

    def apply(self, inputs, parameters, *, causal=False, draw=None):
        checked(inputs, self)
        one_query_per_key(inputs, "the routing")
        q, k = inputs.q, inputs.k
        s, n = q @ k.mT / q.shape[-1] ** 0.5, k.shape[-2]
        norm = k.square().sum(-1)
        chosen = norm >= norm.topk(n // 2 + n % 2, -1).values[..., -1:]
        seen = chosen[..., None, :] | torch.eye(n, dtype=torch.bool)
        if causal:
            seen = seen & past_of(s)
        return torch.where(seen, s, -torch.inf).softmax(-1) @ inputs.v


class SelectionFromTheFuture(RoutingDeclaredCausal):
    """The same as an operator that selects: what is chosen is held to causality, too."""

    kind = "select"


class SmallPositionBias(Planted):
    def scores(self, q, k, parameters):
        return super().scores(q, k, parameters) + 0.01 * torch.arange(k.shape[-2], dtype=q.dtype)


class RandomFourierTables(Planted):
    """Rotations by random angles per position and pair of channels: positions, but no function of the offset."""

    facts = Facts(row_sum=1.0, causal="mask", content="pair", equivariant=("shift",), n_max=64)

    def scores(self, q, k, parameters):
        g = torch.Generator().manual_seed(0)
        angle = torch.rand(64, q.shape[-1] // 2, generator=g, dtype=torch.float64).to(q) * 2 * math.pi

        one_query_per_key(QKV(q, k, k), "the table")

        def turned(x):
            c, s = angle[: x.shape[-2]].cos(), angle[: x.shape[-2]].sin()
            a, b = x[..., : c.shape[-1]], x[..., c.shape[-1] : 2 * c.shape[-1]]
            return torch.cat([a * c - b * s, a * s + b * c, x[..., 2 * c.shape[-1] :]], -1)

        return turned(q) @ turned(k).mT / q.shape[-1] ** 0.5


class MeanOverTheBatch(Planted):
    def scores(self, q, k, parameters):
        return super().scores(q, k + 0.5 * k.mean(1, keepdim=True), parameters)


class WidthGuessed(Planted):
    """An axis that torch is to find from the number of elements, which an empty batch does not tell."""

    def apply(self, inputs, parameters, *, causal=False, draw=None):
        y = super().apply(inputs, parameters, causal=causal)
        return y.reshape(*y.shape[:-1], -1)


class NoMaximumShift(Planted):
    def weights(self, s):
        e = s.exp()
        return e / e.sum(-1, keepdim=True)


class KeysDetached(Planted):
    def scores(self, q, k, parameters):
        return super().scores(q, k.detach(), parameters)


class WrongScaleOfTheLimit(Planted):
    """Disentangled attention without positions has scale 1/sqrt(3 d), not 1/sqrt(d)."""

    limits = (Limit("no positions", lambda: WrongScaleOfTheLimit(), lambda: DotProduct()),)

    def scores(self, q, k, parameters):
        return q @ k.mT / (3 * q.shape[-1]) ** 0.5


class ScaledOutput(Planted):
    """Linear attention of unit queries and keys; the recurrent form forgets the factor of the output."""

    facts = Facts(row_sum="free", causal="mask", content="pair", equivariant=("permutation", "rotation"),
                  rank=lambda sizes: min(sizes.n, sizes.d))  # fmt: skip

    class law(Law):
        @staticmethod
        def state_numbers(sizes, **numbers):
            return sizes.d * sizes.d_v

    def scores(self, q, k, parameters):
        unit = torch.nn.functional.normalize
        return unit(q, dim=-1) @ unit(k, dim=-1).mT

    def weights(self, s):
        return torch.where(s == -torch.inf, 0.0, 0.5 * s)

    def start(self, token):
        return {"read": torch.zeros_like(token.k[..., None] * token.v[..., None, :])}

    def step(self, state, token, parameters):
        unit = torch.nn.functional.normalize
        read = state["read"] + unit(token.k, dim=-1)[..., None] * token.v[..., None, :]
        return {"read": read}, (unit(token.q, dim=-1)[..., None, :] @ read).squeeze(-2)


def features(x):
    """1, x and all products: 1 + d + d^2 numbers, of which (d+1)(d+2)/2 are different."""
    squares = (x[..., :, None] * x[..., None, :]).flatten(-2) / 2**0.5
    return torch.cat([torch.ones_like(x[..., :1]), x, squares], -1)


class TooFewFeaturesCharged(Planted):
    """The second-order Taylor map by all d^2 products, charged as if the symmetric ones were kept once."""

    facts = Facts(row_sum="free", causal="mask", content="pair", equivariant=("permutation", "rotation"),
                  rank=lambda sizes: min(sizes.n, (sizes.d + 1) * (sizes.d + 2) // 2))  # fmt: skip

    class law(Law):
        @staticmethod
        def multiply_adds(sizes, *, causal=False, **numbers):
            m = (sizes.d + 1) * (sizes.d + 2) // 2
            return sizes.n_heads * sizes.queries * sizes.n * (m + sizes.d_v)

    def scores(self, q, k, parameters):
        return features(q) @ features(k).mT

    def weights(self, s):
        return torch.where(s == -torch.inf, 0.0, s)


class RankOneTooLarge(TooFewFeaturesCharged):
    """With unit keys the squares sum to a constant: one feature less than declared."""

    law = Law

    def scores(self, q, k, parameters):
        k = torch.nn.functional.normalize(k, dim=-1)
        s = q @ k.mT
        return 1 + s + s**2 / 2

    facts = Facts(row_sum="free", causal="mask", content="pair", equivariant=("permutation", "rotation"),
                  rank=lambda sizes: min(sizes.n, (sizes.d + 1) * (sizes.d + 2) // 2))  # fmt: skip


class StaticScores(Planted):
    """Additive scores a(q) + b(k) under one monotone function, as in GAT: every query ranks the keys alike."""

    facts = Facts(
        row_sum=1.0, causal="mask", content="pair", equivariant=("permutation",),
        skips={"rank": "piecewise separable: no bound that generic inputs reach"},
    )  # fmt: skip

    class law(Law):
        @staticmethod
        def multiply_adds(sizes, *, causal=False, **numbers):
            return sizes.n_heads * sizes.queries * sizes.n * sizes.d_v

    def scores(self, q, k, parameters):
        weight = torch.linspace(0.5, 1.5, q.shape[-1], dtype=q.dtype)
        s = (q * weight).sum(-1)[..., :, None] + (k * weight).sum(-1)[..., None, :]
        return torch.where(s > 0, s, 0.2 * s)


class ReachTooShort(Planted):
    """A window of distance 2 that declares 1."""

    facts = Facts(row_sum=1.0, causal="mask", content="pair", equivariant=("shift", "rotation"),
                  reach=lambda sizes: 1)  # fmt: skip

    def scores(self, q, k, parameters):
        one_query_per_key(QKV(q, k, k), "the window")
        at = torch.arange(k.shape[-2])
        near = (at[:, None] - at[None]).abs() <= 2
        return torch.where(near, super().scores(q, k, parameters), -torch.inf)


class GlobalGenerator(Planted):
    def apply(self, inputs, parameters, *, causal=False, draw=None):
        torch.rand(1)
        return super().apply(inputs, parameters, causal=causal, draw=draw)


class BiasedAfterNormalising(Planted):
    """Random features whose row is normalised: declared unbiased for the kernel map, which normalising is not."""

    facts = Facts(row_sum=1.0, causal="mask", content="pair", equivariant=("permutation",), n_uniform=lambda sizes: 1)

    def apply(self, inputs, parameters, *, causal=False, draw=None):
        checked(inputs, self)
        one_query_per_key(inputs, "the random map")
        s = self.scores(inputs.q, inputs.k, parameters) * 3 * draw[:, :, None, None, None]
        if causal:
            s = torch.where(past_of(s), s, -torch.inf)
        return s.softmax(-1) @ inputs.v

    def expectation(self, inputs, parameters):
        return (1.5 * self.scores(inputs.q, inputs.k, parameters)).softmax(-1) @ inputs.v

    def matrix(self, inputs, parameters, *, causal=False, draw=None):
        one_query_per_key(inputs, "the random map")
        s = self.scores(inputs.q, inputs.k, parameters) * 3 * draw[:, :, None, None, None]
        if causal:
            s = torch.where(past_of(s), s, -torch.inf)
        return s.softmax(-1)

    facts = Facts(row_sum=1.0, causal="mask", content="pair", equivariant=("permutation", "rotation"),
                  n_uniform=lambda sizes: 1)  # fmt: skip


class ErrorsUnchecked(Planted):
    def apply(self, inputs, parameters, *, causal=False, draw=None):
        q, k, v = (getattr(inputs, name, torch.zeros(1, 1, 1, 2, 2)) for name in "qkv")
        width, n = min(q.shape[-1], k.shape[-1]), min(k.shape[-2], v.shape[-2])
        s = q[..., :width] @ k[..., :n, :width].mT / width**0.5
        past = past_of(s) if causal else torch.tensor(True)
        return masked(torch.where(past, s, -torch.inf).softmax(-1), past) @ v[..., :n, :]


@dataclass(frozen=True)
class UntrainedParameter(Planted):
    """A parameter that nothing reads."""

    def initialise(self, sizes, generators, dtype):
        return {"unused": normal(generators, (sizes.d,), 1.0, dtype)}

    def apply(self, inputs, parameters, *, causal=False, draw=None):
        return super().apply(inputs, parameters, causal=causal) + 0 * parameters["unused"].sum()


#: member -> the one check that fails
PLANTED = {
    ScaleForgotten: "matrix", SinkWithRowSumOne: "row_sums", RoutingDeclaredCausal: "causality",
    SelectionFromTheFuture: "causality", FirstQueryAtTheFirstKey: "last_queries",
    NoKeyNoNumber: "last_queries",
    SmallPositionBias: "equivariance", RandomFourierTables: "equivariance", MeanOverTheBatch: "axes",
    WidthGuessed: "axes",
    NoMaximumShift: "low_precision", KeysDetached: "gradients", WrongScaleOfTheLimit: "limits",
    ScaledOutput: "recurrence", TooFewFeaturesCharged: "cost", RankOneTooLarge: "rank", StaticScores: "content",
    ReachTooShort: "reach", GlobalGenerator: "seeds", BiasedAfterNormalising: "seeds", ErrorsUnchecked: "errors",
    UntrainedParameter: "gradients",
}  # fmt: skip
