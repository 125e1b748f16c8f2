"""Counting parameters and operations of attention and pooling modules by running them.

Parameters are counted on the modules; operations by torch's counter, which sees every matrix product and reports two
operations per multiply-accumulate. Nothing here knows a formula.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from attnlab.simulators.ensemble.setting import checked, require_positive
from attnlab.simulators.ensemble.simulation import simulation
from attnlab.simulators.low_rank.augmentation import features


@dataclass(frozen=True)
class CountSetting:
    """``attention``: cells (N, d_k, d_v); ``channels`` of the augmented module, in heads of ``head_dim`` on images of ``side`` x
    ``side`` tokens; ``pooling``: cells (d, m, T, hidden)."""

    attention: tuple[tuple[int, int, int], ...] = (
        (64, 8, 8),
        (196, 16, 32),
        (784, 32, 32),
        *((n, 8, 8) for n in (8, 9, 13, 14)),
        *((n, 16, 16) for n in (16, 17, 25, 26)),
        *((n, 32, 32) for n in (32, 33, 49, 50)),
        *((n, 16, 32) for n in (21, 22, 43, 44)),
        *((n, 32, 8) for n in (13, 14, 16, 17)),
    )
    head_dim: int = 32
    side: int = 7
    channels: tuple[int, ...] = (64, 128, 256)
    pooling: tuple[tuple[int, int, int, int], ...] = (
        (512, 8, 100, 64),
        (512, 15, 200, 350),
        (200, 10, 100, 100),
        (64, 4, 32, 16),
    )
    n_replicas: int = 1

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "attention", "channels", "head_dim", "side", "pooling", "n_replicas")
        if any(width % self.head_dim or self.head_dim % 4 for width in self.channels):
            raise ValueError(
                f"head_dim={self.head_dim!r} must be a multiple of 4 (rotary pairs of rows and columns) and divide all of "
                f"channels={self.channels!r}"
            )


@simulation(name="low_rank_counts.count", block=1, reads=("attention", "channels", "head_dim", "side", "pooling"))
def count(setting: CountSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Whole numbers per replica (all replicas count the same).

    ``linear_macs``, ``softmax_macs (replica, cell)`` of one head; ``gate_macs``: what the global query and the gate's map
    add; ``module_parameters``, ``module_macs (replica, width)``; and of pooling ``compact_macs``, ``additive_macs``,
    ``transformer_macs``, ``compact_parameters``, ``additive_parameters``, ``bilinear_parameters``,
    ``transformer_parameters (replica, cell)``.
    """
    found = {
        "linear_macs": [macs(linear_head, *cell) for cell in setting.attention],
        "softmax_macs": [macs(softmax_head, *cell) for cell in setting.attention],
        "gate_macs": [macs(augmentation, *cell) for cell in setting.attention],
        "module_parameters": [size(AugmentedModule(width, setting.head_dim)) for width in setting.channels],
        "module_macs": [
            macs(AugmentedModule(width, setting.head_dim), torch.randn(1, width, setting.side, setting.side))
            for width in setting.channels
        ],
    }
    for name, made in (
        ("compact", CompactPooling),
        ("additive", AdditivePooling),
        ("bilinear", BilinearPooling),
        ("transformer", SelfAttention),
    ):
        modules = [(made(d, m, hidden), torch.randn(1, T, d)) for d, m, T, hidden in setting.pooling]
        found[f"{name}_parameters"] = [size(module) for module, _ in modules]
        found[f"{name}_macs"] = [macs(lambda module=module, H=H: module(H)) for module, H in modules]
    return {name: np.tile(np.array(values, dtype=np.int64), (len(seeds), 1)) for name, values in found.items()}


def macs(run: Callable[..., Any], *arguments: Any) -> int:
    """Multiply-accumulates of the matrix products in a call."""
    from torch.utils.flop_counter import FlopCounterMode  # imports Triton

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        run(*arguments)
    return counter.get_total_flops() // 2


def size(module: nn.Module) -> int:
    """Number of trained numbers."""
    return sum(parameter.numel() for parameter in module.parameters())


def linear_head(n: int, key_dim: int, value_dim: int) -> Tensor:
    """One head of linear attention on given queries, keys and values."""
    Q, K, V = features(torch.randn(n, key_dim)), features(torch.randn(n, key_dim)), torch.randn(n, value_dim)
    return Q @ (K.T @ V) / (Q @ K.sum(0)[:, None])


def softmax_head(n: int, key_dim: int, value_dim: int) -> Tensor:
    """One head of softmax attention on given queries, keys and values."""
    Q, K, V = torch.randn(n, key_dim), torch.randn(n, key_dim), torch.randn(n, value_dim)
    return torch.softmax(Q @ K.T, dim=-1) @ V


def augmentation(n: int, key_dim: int, value_dim: int) -> Tensor:
    """The weights of the keys and the gate, a map from ``value_dim`` inputs."""
    Q, K, X = features(torch.randn(n, key_dim)), features(torch.randn(n, key_dim)), torch.randn(n, value_dim)
    weights = n * torch.softmax(K @ Q.mean(0)[:, None], dim=0)
    return weights * (X @ torch.randn(value_dim, value_dim))


class AugmentedModule(nn.Module):
    """The published module on images ``(batch, channels, row, column)``: one map to q, k, v and the gate, key weights from the
    mean query, rotary positions in the numerator only, a depthwise 5 x 5 convolution of v, the gate, a projection."""

    def __init__(self, channels: int, head_dim: int) -> None:
        super().__init__()
        self.head_dim = head_dim
        self.qkvo = nn.Conv2d(channels, 4 * channels, 1)
        self.local = nn.Conv2d(channels, channels, 5, padding=2, groups=channels)
        self.projection = nn.Conv2d(channels, channels, 1)

    def forward(self, image: Tensor) -> Tensor:
        batch, channels, rows, columns = image.shape
        q, k, v, gate = self.qkvo(image).chunk(4, dim=1)
        Q, K, V = (
            x.reshape(batch, -1, self.head_dim, rows * columns).mT for x in (q, k, v)
        )  # (batch, head, token, head_dim)
        Q, K = features(Q), features(K)
        weights = torch.softmax(K @ Q.mean(-2, keepdim=True).mT / self.head_dim**0.5, dim=-2)  # of sum 1 over tokens
        K = K * weights * K.shape[-2]
        scale = 1 / (Q @ K.mean(-2, keepdim=True).mT + 1e-6)
        out = rotated(Q, rows, columns) @ (rotated(K, rows, columns).mT @ V / K.shape[-2]) * scale
        mixed = out.mT.reshape(batch, channels, rows, columns) + self.local(v)
        return self.projection(mixed * gate)


def rotated(x: Tensor, rows: int, columns: int) -> Tensor:
    """Rotary positions on ``(..., token, dim)``: pairs in the first half of dim turn with the row, the others with the column."""
    angles = 10_000 ** -torch.linspace(0, 1, x.shape[-1] // 4, dtype=x.dtype)
    row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    turn = torch.cat([place.reshape(-1, 1) * angles for place in (row, column)], dim=-1)  # (token, dim / 2)
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack([even * turn.cos() - odd * turn.sin(), odd * turn.cos() + even * turn.sin()], dim=-1).flatten(-2)


class CompactPooling(nn.Module):
    """``A = softmax(l2(tanh((P^T c) * (Q^T H^T))))``, pooled ``A H``; c is the mean state."""

    def __init__(self, dim: int, n_heads: int, hidden: int) -> None:
        super().__init__()
        self.P, self.Q = (nn.Parameter(torch.randn(dim, n_heads) / dim**0.5) for _ in range(2))

    def forward(self, H: Tensor) -> Tensor:
        e = torch.tanh((H.mean(1) @ self.P)[:, None] * (H @ self.Q))  # (batch, T, head)
        return torch.softmax(e / e.norm(dim=-1, keepdim=True), dim=1).mT @ H


class BilinearPooling(nn.Module):
    """A full matrix per head: ``softmax_t(c^T W_i h_t)``."""

    def __init__(self, dim: int, n_heads: int, hidden: int) -> None:
        super().__init__()
        self.W = nn.Parameter(torch.randn(n_heads, dim, dim) / dim)

    def forward(self, H: Tensor) -> Tensor:
        return torch.softmax(torch.einsum("bi,mij,btj->bmt", H.mean(1), self.W, H), dim=-1) @ H


class AdditivePooling(nn.Module):
    """Structured self-attentive pooling: ``softmax_t(w_i^T tanh(W h_t))``."""

    def __init__(self, dim: int, n_heads: int, hidden: int) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(dim, hidden, bias=False), nn.Linear(hidden, n_heads, bias=False)

    def forward(self, H: Tensor) -> Tensor:
        return torch.softmax(self.outer(torch.tanh(self.inner(H))), dim=1).mT @ H


class SelfAttention(nn.Module):
    """Multi-head self-attention with biases and output projection; its products written out, so that they are counted."""

    def __init__(self, dim: int, n_heads: int, hidden: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(dim, n_heads if dim % n_heads == 0 else 1, batch_first=True)

    def forward(self, H: Tensor) -> Tensor:
        batch, T, dim = H.shape
        heads = self.attention.num_heads
        Q, K, V = (
            each.view(batch, T, heads, -1).transpose(1, 2)
            for each in nn.functional.linear(H, self.attention.in_proj_weight, self.attention.in_proj_bias).chunk(
                3, dim=-1
            )
        )
        out = torch.softmax(Q @ K.mT / (dim // heads) ** 0.5, dim=-1) @ V
        return self.attention.out_proj(out.transpose(1, 2).reshape(batch, T, dim))
