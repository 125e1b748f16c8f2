"""Attention from a cache of keys alone, V = K W_K^-1 W_V: against a cache of both, in full and in low precision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from attnlab.simulators.ensemble import random_streams
from attnlab.simulators.ensemble.setting import checked, require_positive
from attnlab.simulators.ensemble.simulation import simulation


@dataclass(frozen=True)
class KeyCacheSetting:
    """``n_tokens`` white tokens; ``n_heads`` heads of ``head_dim``, projections n_heads * head_dim square with Gaussian
    entries."""

    n_tokens: int = 512
    n_heads: int = 4
    head_dim: int = 8
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "n_tokens", "n_heads", "head_dim", "n_replicas")


@simulation(name="heads_and_sharing.key_cache", block=8)
def key_cache(setting: KeyCacheSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``both``, ``keys_only`` (replica, head, token, head_dim): causal outputs, biases in all projections; ``keys_only``
    mixes keys
    and multiplies each head's part of W_K^-1 W_V afterwards; ``without_bias``: the same with the biases of keys and values
    left out
    of the reconstruction. ``condition`` (replica,): of W_K, singular values.

    Keys without bias stored in bfloat16: ``error`` relative error of the values made of them, ``direct`` of values stored
    themselves.
    ``key_matrix``, ``value_matrix`` (replica, d_model, d_model).
    """
    names = "both", "keys_only", "without_bias", "condition", "error", "direct", "key_matrix", "value_matrix"
    found: dict[str, list] = {name: [] for name in names}
    H, d = setting.n_heads, setting.head_dim
    D, n = H * d, setting.n_tokens
    past = torch.ones(n, n, dtype=torch.bool).tril()
    for stream in random_streams.generators(seeds, "data"):
        X = torch.randn(n, D, generator=stream, dtype=torch.float64)
        W_Q, W_K, W_V = torch.randn(3, D, D, generator=stream, dtype=torch.float64) / D**0.5
        b = torch.randn(3, D, generator=stream, dtype=torch.float64)
        q, k, v = ((X @ W + b[i]).reshape(n, H, d).transpose(0, 1) for i, W in enumerate((W_Q, W_K, W_V)))
        P = (q @ k.mT / d**0.5).masked_fill(~past, -torch.inf).softmax(-1)
        W_KV = torch.linalg.solve(W_K, W_V)
        cached = X @ W_K + b[1]
        heads = W_KV.reshape(D, H, d).transpose(0, 1)  # (head, d_model, head_dim)
        shift = (b[2] - b[1] @ W_KV).reshape(H, 1, d)
        found["both"].append((P @ v).numpy())
        found["keys_only"].append(((P @ cached) @ heads + shift).numpy())
        found["without_bias"].append(((P @ cached) @ heads).numpy())
        found["condition"].append(torch.linalg.cond(W_K).item())
        K, V = X @ W_K, X @ W_V
        for name, value in (("error", _stored(K) @ W_KV), ("direct", _stored(V))):
            found[name].append(((value - V).norm() / V.norm()).item())
        found["key_matrix"].append(W_K.numpy())
        found["value_matrix"].append(W_V.numpy())
    return {name: np.array(values) for name, values in found.items()}


def _stored(x: torch.Tensor) -> torch.Tensor:
    return x.to(torch.bfloat16).to(x.dtype)
