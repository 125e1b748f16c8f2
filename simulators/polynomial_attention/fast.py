"""Fastmax as an operator: its two forms, the rank of its map, what moves of tokens do, its gradient, and its cost as counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from attnlab.kernels.operators.operator import QKV
from attnlab.kernels.operators.polynomial_attention.fast import Fast, monomials
from attnlab.simulators.ensemble import random_streams
from attnlab.simulators.ensemble.setting import checked, require_positive
from attnlab.simulators.ensemble.simulation import simulation

ZERO = 1e-9  # singular values below this part of the largest count as zero


@dataclass(frozen=True)
class TokenSetting:
    """``n_tokens`` Gaussian tokens of ``dim`` features, values of width ``dim``, polynomials of ``orders`` (even)."""

    n_tokens: int = 96
    dim: int = 6
    orders: tuple[int, ...] = (2, 4)
    n_replicas: int = 8

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "n_tokens", "dim", "orders", "n_replicas")


def _drawn(setting: TokenSetting, stream: torch.Generator, count: int) -> list[torch.Tensor]:
    shape = (1, 1, 1, setting.n_tokens, setting.dim)
    return [torch.randn(shape, generator=stream, dtype=torch.float64) for _ in range(count)]


@simulation(name="polynomial_attention.forms", block=4)
def forms(setting: TokenSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``linear`` and ``dense`` (replica, order, causal, token, d): the features' form, and map times values; ``rank`` (replica,
    order) of the map without a mask; ``size`` (replica,): the largest value."""
    found: dict[str, list] = {"linear": [], "dense": [], "rank": [], "size": []}
    for stream in random_streams.generators(seeds, "data"):
        inputs = QKV(*_drawn(setting, stream, 3))
        linear, dense, rank = [], [], []
        for operator in (Fast(order=p) for p in setting.orders):
            maps = [operator.matrix(inputs, {}, causal=causal) for causal in (False, True)]
            dense.append([(each @ inputs.v)[0, 0, 0].numpy() for each in maps])
            linear.append([operator.apply(inputs, {}, causal=causal)[0, 0, 0].numpy() for causal in (False, True)])
            values = torch.linalg.svdvals(maps[0][0, 0, 0])
            rank.append(int((values > ZERO * values[0]).sum()))
        size = inputs.v.abs().max().item()
        for name, value in (("linear", linear), ("dense", dense), ("rank", rank), ("size", size)):
            found[name].append(value)
    return {name: np.array(values) for name, values in found.items()}


@simulation(name="polynomial_attention.moved", block=8)
def moved(setting: TokenSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Outputs (replica, order, token, d): ``plain``, and ``moved``, where each query and key x is a x + b with a from 1 to
    1000 and b
    from -a to a of its own; ``divided``: the outputs on tokens so moved that are divided by their length instead. ``size``,
    ``least``
    (replica,): the largest value, the least standard deviation of a token."""
    found: dict[str, list] = {"plain": [], "moved": [], "divided": [], "size": [], "least": []}
    for stream in random_streams.generators(seeds, "data"):
        q, k, v = _drawn(setting, stream, 3)
        a, b = (torch.rand(2, 1, 1, 1, setting.n_tokens, 1, generator=stream, dtype=torch.float64) for _ in range(2))
        a = 1000**a
        far = [a[i] * (x + 2 * b[i] - 1) for i, x in enumerate((q, k))]
        operators = [Fast(order=p, epsilon=0.0) for p in setting.orders]
        found["plain"].append([o.apply(QKV(q, k, v), {})[0, 0, 0].numpy() for o in operators])
        found["moved"].append([o.apply(QKV(*far, v), {})[0, 0, 0].numpy() for o in operators])
        short = [x / x.norm(dim=-1, keepdim=True) * setting.dim**0.25 for x in far]
        found["size"].append(v.abs().max().item())
        found["least"].append(torch.stack([q, k]).std(-1, correction=0).min().item())
        found["divided"].append([_averaged(*short, v, p)[0, 0, 0].numpy() for p in setting.orders])
    return {name: np.array(values) for name, values in found.items()}


def _averaged(x: torch.Tensor, y: torch.Tensor, v: torch.Tensor, order: int) -> torch.Tensor:
    """Output by features for queries x and keys y whose product is the score."""
    phi, psi = monomials(x, order), monomials(y, order)
    return (phi @ (psi.mT @ v)) / (phi @ psi.sum(-2)[..., None])


@simulation(name="polynomial_attention.fast_gradients", block=8)
def gradients(setting: TokenSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Gradient of a random linear loss by the standardised queries, autograd through the features: ``by_query (replica, order,
    token, d)``; what it is made of: ``inputs (replica, 3, token, d)``, x and y with product s and values, and ``outer (replica,
    token, d)``."""
    found: dict[str, list] = {"by_query": [], "inputs": [], "outer": []}
    for stream in random_streams.generators(seeds, "data"):
        q, k, v, outer = (each[0, 0, 0] for each in _drawn(setting, stream, 4))
        x, y = (_standard(each) for each in (q, k))
        slopes = []
        for p in setting.orders:
            leaf = x.clone().requires_grad_()
            (slope,) = torch.autograd.grad((_averaged(leaf, y, v, p) * outer).sum(), leaf)
            slopes.append(slope.numpy())
        found["by_query"].append(slopes)
        found["inputs"].append(torch.stack([x, y, v]).numpy())
        found["outer"].append(outer.numpy())
    return {name: np.array(values) for name, values in found.items()}


def _standard(x: torch.Tensor) -> torch.Tensor:
    x = x - x.mean(-1, keepdim=True)
    return x / x.square().mean(-1, keepdim=True).sqrt() / x.shape[-1] ** 0.25


@dataclass(frozen=True)
class CostSetting:
    """``cells``: (length n, width d of q and k, width d_v of v, order p)."""

    cells: tuple[tuple[int, int, int, int], ...] = ((64, 8, 8, 2), (256, 8, 8, 2), (256, 16, 8, 2), (64, 4, 12, 4))
    n_replicas: int = 1

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "cells", "n_replicas")


@simulation(name="polynomial_attention.counts", block=1)
def counts(setting: CostSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Multiply-adds counted by torch, whole numbers (replica, cell): ``features``, ``softmax`` attention of the same sizes, and
    ``crossover``, the least length at which softmax costs more, by bisection."""
    table = []
    for n, d, d_v, p in setting.cells:

        def dearer(length: int, d: int = d, d_v: int = d_v, p: int = p) -> bool:
            return _softmax(length, d, d_v) > _features(length, d, d_v, p)

        high = 1
        while not dearer(high):  # one count is linear in the length, the other quadratic
            high *= 2
        low = high // 2 + 1
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if dearer(middle) else (middle + 1, high)
        table.append((_features(n, d, d_v, p), _softmax(n, d, d_v), low))
    found = np.array(table, dtype=np.int64)
    return {name: np.tile(found[:, k], (len(seeds), 1)) for k, name in enumerate(("features", "softmax", "crossover"))}


def _features(n: int, d: int, d_v: int, order: int) -> int:
    from torch.utils.flop_counter import FlopCounterMode  # imports Triton

    g = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(1, 1, 1, n, width, generator=g) for width in (d, d, d_v))
    with FlopCounterMode(display=False) as counter:
        Fast(order=order).apply(QKV(q, k, v), {})
    return counter.get_total_flops() // 2


def _softmax(n: int, d: int, d_v: int) -> int:
    from torch.utils.flop_counter import FlopCounterMode  # imports Triton

    q, k, v = torch.ones(n, d), torch.ones(n, d), torch.ones(n, d_v)
    with FlopCounterMode(display=False) as counter:
        (q @ k.T).softmax(-1) @ v
    return counter.get_total_flops() // 2
