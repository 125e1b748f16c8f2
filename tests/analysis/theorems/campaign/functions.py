"""Functions of torch, numpy and sympy with random keyword arguments, each beside the same formula in elementary terms.

A pair agrees for all x in [low, high]^n by definition of the function, so ``function(x) <= formula(x)`` is true up to
rounding, and false by as much as is taken away from the formula.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import sympy
import torch

F = torch.nn.functional
X = sympy.Symbol("x")
Pair = tuple[str, Callable[..., Any] | Any, Callable[..., Any] | Any, float, float, int]


def torch_pairs(g: np.random.Generator) -> list[Pair]:
    """``(name, function, formula, low, high, n)``; n = 0 is a single real."""
    a = float(round(g.uniform(0.2, 3), 2))
    b = float(round(g.uniform(-1, 1), 2))
    lo, hi = sorted((b, b + a))
    p = float(g.choice([1.5, 3.0, 4.0]))
    k = int(g.integers(0, 3))
    one = torch.ones(3)
    lin = torch.linspace(-1, 2, 9, dtype=torch.float64).reshape(3, 3)
    keep = bool(g.integers(2))
    r = torch.relu
    return [
        ("softplus beta", lambda x: F.softplus(x, beta=a), lambda x: (1 + (a * x).exp()).log() / a, -2, 2, 0),
        ("elu alpha", lambda x: F.elu(x, alpha=a), lambda x: r(x) - a * (1 - (-r(-x)).exp()), -2, 2, 0),
        ("celu alpha", lambda x: F.celu(x, alpha=a), lambda x: r(x) - a * (1 - (-r(-x) / a).exp()), -2, 2, 0),
        ("leaky_relu slope", lambda x: F.leaky_relu(x, negative_slope=a / 4), lambda x: r(x) - a / 4 * r(-x), -2, 2, 0),
        ("hardtanh ends", lambda x: F.hardtanh(x, lo, hi), lambda x: torch.minimum(r(x - lo) + lo, torch.tensor(hi)), -3, 3, 0),
        ("gelu tanh", lambda x: F.gelu(x, approximate="tanh"),
         lambda x: x / 2 * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3))), -2, 2, 0),
        ("gelu erf", lambda x: F.gelu(x), lambda x: x / 2 * (1 + torch.erf(x / 2**0.5)), -2, 2, 0),
        ("silu", F.silu, lambda x: x / (1 + (-x).exp()), -3, 3, 0),
        ("mish", F.mish, lambda x: x * torch.tanh((1 + x.exp()).log()), -3, 3, 0),
        ("selu", F.selu, lambda x: 1.0507009873554805 * (r(x) - 1.6732632423543772 * (1 - (-r(-x)).exp())), -2, 2, 0),
        ("softsign", F.softsign, lambda x: x / (1 + x.abs()), -2, 2, 0),
        ("tanhshrink", F.tanhshrink, lambda x: x - torch.tanh(x), -2, 2, 0),
        ("softshrink", lambda x: F.softshrink(x, lambd=a / 3), lambda x: r(x - a / 3) - r(-x - a / 3), -2, 2, 0),
        ("logsigmoid", F.logsigmoid, lambda x: -(1 + (-x).exp()).log(), -3, 3, 0),
        ("hardsigmoid", F.hardsigmoid, lambda x: (r(x + 3) - r(x - 3)) / 6, -4, 4, 0),
        ("hardswish", F.hardswish, lambda x: x * (r(x + 3) - r(x - 3)) / 6, -4, 4, 0),
        ("relu6", F.relu6, lambda x: r(x) - r(x - 6), -2, 8, 0),
        ("clamp min max", lambda x: x.clamp(min=lo, max=hi), lambda x: lo + r(x - lo) - r(x - hi), -3, 3, 0),
        ("clamp min", lambda x: x.clamp(min=lo), lambda x: lo + r(x - lo), -3, 3, 0),
        ("add alpha", lambda x: torch.add(x, x * x, alpha=a), lambda x: x + a * x * x, -2, 2, 0),
        ("sub alpha", lambda x: torch.sub(x, x * x, alpha=a), lambda x: x - a * x * x, -2, 2, 0),
        ("lerp", lambda x: torch.lerp(x, x * x, a), lambda x: x + a * (x * x - x), -2, 2, 0),
        ("log1p", torch.log1p, lambda x: (1 + x).log(), -0.5, 2, 0),
        ("expm1", torch.expm1, lambda x: x.exp() - 1, -2, 2, 0),
        ("exp2", torch.exp2, lambda x: (x * math.log(2)).exp(), -2, 2, 0),
        ("log2", torch.log2, lambda x: x.log() / math.log(2), 0.5, 3, 0),
        ("log10", torch.log10, lambda x: x.log() / math.log(10), 0.5, 3, 0),
        ("rsqrt", torch.rsqrt, lambda x: 1 / x.sqrt(), 0.2, 3, 0),
        ("cosh", torch.cosh, lambda x: (x.exp() + (-x).exp()) / 2, -2, 2, 0),
        ("sinh", torch.sinh, lambda x: (x.exp() - (-x).exp()) / 2, -2, 2, 0),
        ("asinh", torch.asinh, lambda x: (x + (x * x + 1).sqrt()).log(), -2, 2, 0),
        ("atanh", torch.atanh, lambda x: ((1 + x) / (1 - x)).log() / 2, -0.9, 0.9, 0),
        ("tan", torch.tan, lambda x: x.sin() / x.cos(), -1, 1, 0),
        ("erfc", torch.erfc, lambda x: 1 - torch.erf(x), -2, 2, 0),
        ("logit", torch.logit, lambda x: x.log() - (1 - x).log(), 0.1, 0.9, 0),
        ("norm p", lambda x: x.norm(p), lambda x: (x.abs() ** p).sum() ** (1 / p), -1, 1, 3),
        ("norm inf", lambda x: torch.linalg.norm(x, float("inf")), lambda x: x.abs().amax(), -1, 1, 3),
        ("norm 1", lambda x: torch.linalg.vector_norm(x, 1), lambda x: x.abs().sum(), -1, 1, 3),
        ("var correction", lambda x: torch.var(x, correction=k), lambda x: ((x - x.mean()) ** 2).sum() / (3 - k) if k < 3 else 0, -1, 1, 3),
        ("std", lambda x: torch.std(x, correction=0), lambda x: ((x - x.mean()) ** 2).mean().sqrt(), 0, 1, 3),
        ("sum keepdim", lambda x: (x * x).sum(0, keepdim=keep).sum(), lambda x: x @ x, -1, 1, 3),
        ("prod", lambda x: x.prod(), lambda x: x[0] * x[1] * x[2], -1, 1, 3),
        ("max values", lambda x: x.reshape(1, 3).max(1)[0].sum(), lambda x: x[0] + r(x[1] - x[0]) + r(x[2] - torch.maximum(x[0], x[1])), -1, 1, 3),
        ("min values", lambda x: torch.min(x.reshape(3, 1), dim=0).values.sum(), lambda x: -((-x).amax()), -1, 1, 3),
        ("sort", lambda x: (x.sort(descending=True)[0] * torch.tensor([1.0, 0.0, -1.0])).sum(), lambda x: x.amax() - x.amin(), -1, 1, 3),
        ("topk", lambda x: x.topk(2)[0].sum(), lambda x: x.sum() - x.amin(), -1, 1, 3),
        ("median", lambda x: x.median(), lambda x: x.sum() - x.amax() - x.amin(), -1, 1, 3),
        ("cumsum", lambda x: x.cumsum(0).sum(), lambda x: 3 * x[0] + 2 * x[1] + x[2], -1, 1, 3),
        ("cumprod", lambda x: x.cumprod(0).sum(), lambda x: x[0] * (1 + x[1] * (1 + x[2])), -1, 1, 3),
        ("softmax", lambda x: F.softmax(x * a, dim=0)[1], lambda x: (a * x[1]).exp() / (a * x).exp().sum(), -1, 1, 3),
        ("log_softmax", lambda x: torch.log_softmax(x, -1)[0], lambda x: x[0] - x.exp().sum().log(), -1, 1, 3),
        ("softmin", lambda x: F.softmin(x, dim=0)[2], lambda x: (-x[2]).exp() / (-x).exp().sum(), -1, 1, 3),
        ("logsumexp", lambda x: torch.logsumexp(x, 0), lambda x: x.exp().sum().log(), -1, 1, 3),
        ("masked softmax", lambda x: x.masked_fill(torch.tensor([False, True, False]), float("-inf")).softmax(0)[0],
         lambda x: x[0].exp() / (x[0].exp() + x[2].exp()), -1, 1, 3),
        ("attention", lambda x: F.scaled_dot_product_attention(x[None, :, None], x[None, :, None], x[None, :, None], scale=a).sum(),
         lambda x: ((a * x[:, None] * x[None, :]).exp() @ x / (a * x[:, None] * x[None, :]).exp().sum(1)).sum(), -1, 1, 3),
        ("layer_norm", lambda x: F.layer_norm(x, (3,), eps=a)[0],
         lambda x: (x[0] - x.mean()) / (((x - x.mean()) ** 2).mean() + a).sqrt(), -1, 1, 3),
        ("normalize p", lambda x: F.normalize(x, p=1.0, dim=0)[0], lambda x: x[0] / x.abs().sum(), 0.2, 1, 3),
        ("mse sum", lambda x: F.mse_loss(x, 0 * x + b, reduction="sum"), lambda x: ((x - b) ** 2).sum(), -1, 1, 3),
        ("huber delta", lambda x: F.huber_loss(x, 0 * x, delta=a, reduction="none")[0],
         lambda x: torch.where(x[0].abs() <= a, x[0] ** 2 / 2, a * (x[0].abs() - a / 2)), -3, 3, 3),
        ("smooth_l1 beta", lambda x: F.smooth_l1_loss(x, 0 * x, beta=a, reduction="none")[0],
         lambda x: torch.where(x[0].abs() < a, x[0] ** 2 / (2 * a), x[0].abs() - a / 2), -3, 3, 3),
        ("addmv", lambda x: torch.addmv(x, lin, x, beta=b, alpha=a)[0], lambda x: b * x[0] + a * (lin[0] @ x), -1, 1, 3),
        ("einsum", lambda x: torch.einsum("i,ij,j->", x, lin, x), lambda x: x @ (lin @ x), -1, 1, 3),
        ("outer trace", lambda x: torch.outer(x, x).trace(), lambda x: x @ x, -1, 1, 3),
        ("det", lambda x: torch.linalg.det(torch.diag(x)), lambda x: x[0] * x[1] * x[2], -1, 1, 3),
        ("inv", lambda x: torch.linalg.inv(torch.diag(x))[1, 1], lambda x: 1 / x[1], 0.5, 2, 3),
        ("spectral norm", lambda x: torch.linalg.norm(torch.diag(x[:2]), 2), lambda x: x[:2].abs().amax(), -1, 1, 3),
        ("nuclear norm", lambda x: torch.linalg.matrix_norm(torch.diag(x[:2]), "nuc"), lambda x: x[:2].abs().sum(), -1, 1, 3),
        ("triu", lambda x: (x[:, None] * x[None, :]).triu(k).sum(), lambda x: sum(x[i] * x[j] for i in range(3) for j in range(3) if j - i >= k), -1, 1, 3),
        ("roll flip", lambda x: (x.roll(1).flip(0) * torch.arange(3)).sum(), lambda x: x[0] + 2 * x[2], -1, 1, 3),
        ("where", lambda x: torch.where(x > b, x * x, one * b).sum(), lambda x: sum(torch.where(t > b, t * t, t * 0 + b) for t in x), -1, 1, 3),
        ("xlogy", lambda x: torch.xlogy(x, x).sum(), lambda x: (x * x.log()).sum(), 0.1, 2, 3),
        ("cosine", lambda x: F.cosine_similarity(x, torch.ones(3), dim=0), lambda x: x.sum() / (x @ x).sqrt() / 3**0.5, 0.2, 1, 3),
        ("logaddexp", lambda x: torch.logaddexp(x[0], x[1]), lambda x: (x[0].exp() + x[1].exp()).log(), -1, 1, 3),
        ("hypot", lambda x: torch.hypot(x[0], x[1]), lambda x: (x[0] ** 2 + x[1] ** 2).sqrt(), -1, 1, 3),
        ("remainder", lambda x: torch.remainder(x, a), lambda x: x - a * torch.floor(x / a), 0.11, 2.3, 0),
    ]  # fmt: skip


def numpy_pairs(g: np.random.Generator) -> list[Pair]:
    """The same in numpy."""
    a = float(round(g.uniform(0.2, 3), 2))
    b = float(round(g.uniform(-1, 1), 2))
    k = int(g.integers(0, 2))
    w = np.array([0.5, 1.5, 2.0])
    return [
        ("np.sum initial", lambda x: np.sum(x, initial=a), lambda x: x[0] + x[1] + x[2] + a, -1, 1, 3),
        ("np.max initial", lambda x: np.max(x, initial=b), lambda x: np.maximum(np.maximum(x[0], x[1]), np.maximum(x[2], b)), -1, 1, 3),
        ("np.maximum 0", lambda x: np.maximum(x, 0).sum(), lambda x: (x + np.abs(x)).sum() / 2, -1, 1, 3),
        ("np.clip", lambda x: np.clip(x, b, b + a).sum(), lambda x: np.minimum(np.maximum(x, b), b + a).sum(), -2, 2, 3),
        ("np.linalg.norm ord", lambda x: np.linalg.norm(x, 1), lambda x: np.abs(x).sum(), -1, 1, 3),
        ("np.linalg.norm axis", lambda x: np.linalg.norm(np.outer(x, x), axis=1).sum(), lambda x: np.abs(x).sum() * np.sqrt(x @ x), -1, 1, 3),
        ("np.var ddof", lambda x: np.var(x, ddof=k), lambda x: ((x - x.sum() / 3) ** 2).sum() / (3 - k), -1, 1, 3),
        ("np.std", lambda x: np.std(x), lambda x: np.sqrt(((x - x.sum() / 3) ** 2).sum() / 3), 0, 1, 3),
        ("np.average weights", lambda x: np.average(x, weights=w), lambda x: (x * w).sum() / 4, -1, 1, 3),
        ("np.where", lambda x: np.where(x > b, x, b).sum(), lambda x: np.maximum(x, b).sum(), -1, 1, 3),
        ("np.cumsum", lambda x: np.cumsum(x).sum(), lambda x: 3 * x[0] + 2 * x[1] + x[2], -1, 1, 3),
        ("np.diff", lambda x: (np.diff(x) ** 2).sum(), lambda x: (x[1] - x[0]) ** 2 + (x[2] - x[1]) ** 2, -1, 1, 3),
        ("np.sort", lambda x: np.sort(x)[0], lambda x: np.minimum(np.minimum(x[0], x[1]), x[2]), -1, 1, 3),
        ("np.ptp", lambda x: np.ptp(x), lambda x: np.max(x) - np.min(x), -1, 1, 3),
        ("np.median", lambda x: np.median(x), lambda x: x.sum() - np.max(x) - np.min(x), -1, 1, 3),
        ("np.logaddexp", lambda x: np.logaddexp(x[0], x[1]), lambda x: np.log(np.exp(x[0]) + np.exp(x[1])), -1, 1, 3),
        ("np.einsum", lambda x: np.einsum("i,j->", x, x), lambda x: x.sum() ** 2, -1, 1, 3),
        ("np.tril", lambda x: np.tril(np.outer(x, x), -1).sum(), lambda x: x[1] * x[0] + x[2] * (x[0] + x[1]), -1, 1, 3),
        ("np.linalg.det", lambda x: np.linalg.det(np.diag(x)), lambda x: x[0] * x[1] * x[2], -1, 1, 3),
        ("np.stack axis", lambda x: np.stack([x, x * x], axis=1).sum(axis=0)[1], lambda x: x @ x, -1, 1, 3),
        ("np.cbrt", lambda x: np.cbrt(x), lambda x: np.sign(x) * np.abs(x) ** (1 / 3), 0.1, 2, 0),
        ("np.log1p", lambda x: np.log1p(x), lambda x: np.log(1 + x), -0.5, 2, 0),
        ("np.arctan", lambda x: np.arctan(x), lambda x: np.arcsin(x / np.sqrt(1 + x * x)), -2, 2, 0),
        ("np.sinc", lambda x: np.sinc(x), lambda x: np.sin(np.pi * x) / (np.pi * x), 0.1, 2, 0),
    ]  # fmt: skip


def sympy_pairs(g: np.random.Generator) -> list[Pair]:
    """The same in sympy; the function is a formula in x."""
    a = sympy.Rational(int(g.integers(2, 9)), 4)
    return [
        ("sympy.tanh", sympy.tanh(a * X), 1 - 2 / (sympy.exp(2 * a * X) + 1), -2, 2, 0),
        ("sympy.Max", sympy.Max(X, a / 4), (X + a / 4 + sympy.Abs(X - a / 4)) / 2, -2, 2, 0),
        (
            "sympy.Piecewise",
            sympy.Piecewise((X, X > 0), (-a * X, True)),
            sympy.Max(X, 0) + a * sympy.Max(-X, 0),
            -2,
            2,
            0,
        ),
        ("sympy.log base", sympy.log(X, a + 1), sympy.log(X) / sympy.log(a + 1), 0.5, 3, 0),
        ("sympy.cosh", sympy.cosh(X), (sympy.exp(X) + sympy.exp(-X)) / 2, -2, 2, 0),
        ("sympy.sqrt", sympy.sqrt(X) ** 3, X ** sympy.Rational(3, 2), 0.1, 2, 0),
        ("sympy.sign", sympy.sign(X) * X, sympy.Abs(X), 0.1, 2, 0),
        ("sympy.erfc", sympy.erfc(X), 1 - sympy.erf(X), -2, 2, 0),
    ]
