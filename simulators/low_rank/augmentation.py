"""Effective rank of linear, rank-augmented and softmax attention on synthetic tokens with random weights.

Fan, Huang and He 2025 (arXiv 2411.07635). Tokens are ``X = m + spread * G``: a common mean and independent Gaussians; queries,
keys, values and the gate are ``X W`` with entries of W from N(0, 1 / dim). Feature map kappa = ELU + 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from attnlab.simulators.ensemble import random_streams
from attnlab.simulators.ensemble.setting import checked, require_positive
from attnlab.simulators.ensemble.simulation import simulation
from attnlab.simulators.low_rank.measures import effective_rank, numerical_rank, singular_values, stable_rank

VARIANTS = ("linear", "weighted", "gated", "both", "softmax")


@dataclass(frozen=True)
class Setting:
    """One head of width ``dim`` over ``n_tokens`` tokens, at each of ``spreads``; ``key_dims``: cells of independent Q, K."""

    n_tokens: int = 196
    dim: int = 32
    spreads: tuple[float, ...] = (3.0, 1.0, 0.3, 0.1)
    key_dims: tuple[int, ...] = (2, 4, 8, 16, 32, 64)
    n_replicas: int = 20

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "n_tokens", "dim", "spreads", "key_dims", "n_replicas")


@simulation(name="low_rank.token_ranks", block=4, reads=("n_tokens", "dim", "spreads"), devices=("cpu", "cuda"))
def token_ranks(setting: Setting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Ranks of outputs along ``(replica, spread, variant)``: ``effective``, ``stable``, ``numerical`` (tolerance 1e-3).

    ``spectrum (replica, spread, variant, index)``: singular values over the largest. ``buffer (replica, spread, 2)``:
    effective rank of the buffer, plain and weighted. ``gate (replica, spread)``: effective rank of the gate itself.
    ``uniform_gated``: that of the gate times the mean value, what gated attention is if it attends evenly.
    ``largest_weight``: max of alpha, whose sum is n_tokens.
    """
    X, maps = _tokens(setting, seeds, device)
    found: dict[str, list[Tensor]] = {}
    for x in X.unbind(1):
        Q, K, V, gate = (x @ W for W in maps.unbind(1))  # (replica, token, dim)
        out = outputs(Q, K, V, gate)
        weights = key_weights(Q, K)
        values = singular_values(torch.stack([out[name] for name in VARIANTS], dim=1))
        buffers = torch.stack([features(K).mT @ V, (weights[..., None] * features(K)).mT @ V], dim=1)
        row = {
            "effective": effective_rank(values),
            "stable": stable_rank(values),
            "numerical": numerical_rank(values, 1e-3),
            "spectrum": values / values[..., :1],
            "buffer": effective_rank(singular_values(buffers)),
            "gate": effective_rank(singular_values(gate)),
            "largest_weight": weights.amax(-1),
            "uniform_gated": effective_rank(singular_values(gate * V.mean(-2, keepdim=True))),
        }
        for name, value in row.items():
            found.setdefault(name, []).append(value)
    return {name: torch.stack(rows, dim=1).double().cpu().numpy() for name, rows in found.items()}


@simulation(name="low_rank.matrix_ranks", block=4, reads=("n_tokens", "key_dims", "dim"), devices=("cpu", "cuda"))
def matrix_ranks(setting: Setting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Effective ranks for Gaussian queries, keys and values of widths ``key_dims``, ``(replica, width)``.

    ``linear_matrix``, ``softmax_matrix``: of the attention matrices; ``linear_output``, ``softmax_output``: of the outputs,
    values as wide as the keys.
    """
    found = {
        name: np.empty((len(seeds), len(setting.key_dims)))
        for name in ("linear_matrix", "softmax_matrix", "linear_output", "softmax_output")
    }
    for column, width in enumerate(setting.key_dims):
        normal = torch.stack(
            [
                torch.randn(3, setting.n_tokens, width, generator=each, dtype=torch.float64)
                for each in random_streams.generators(seeds, f"width {width}")
            ]
        ).to(device)
        Q, K, V = normal.unbind(1)
        for name, matrix in (("linear", linear_matrix(Q, K)), ("softmax", softmax_matrix(Q, K))):
            found[f"{name}_matrix"][:, column] = effective_rank(singular_values(matrix)).cpu()
            found[f"{name}_output"][:, column] = effective_rank(singular_values(matrix @ V)).cpu()
    return found


def features(x: Tensor) -> Tensor:
    """kappa(x) = ELU(x) + 1 > 0."""
    return torch.nn.functional.elu(x) + 1


def key_weights(Q: Tensor, K: Tensor) -> Tensor:
    r"""alpha ``(..., token)``, positive with sum N: ``N softmax_j(q_g . kappa(k_j) / sqrt(d))``, q_g the mean of kappa(q_i)."""
    scores = features(K) @ features(Q).mean(-2)[..., None] / Q.shape[-1] ** 0.5
    return K.shape[-2] * torch.softmax(scores[..., 0], dim=-1)


def linear_matrix(Q: Tensor, K: Tensor, weights: Tensor | None = None) -> Tensor:
    """Row-normalised ``kappa(Q) kappa(K)^T`` with weights on the keys, ``(..., token, token)``."""
    scores = features(Q) @ features(K).mT
    scores = scores if weights is None else scores * weights[..., None, :]
    return scores / scores.sum(-1, keepdim=True)


def softmax_matrix(Q: Tensor, K: Tensor) -> Tensor:
    """``softmax(Q K^T / sqrt(d))``."""
    return torch.softmax(Q @ K.mT / Q.shape[-1] ** 0.5, dim=-1)


def outputs(Q: Tensor, K: Tensor, V: Tensor, gate: Tensor) -> dict[str, Tensor]:
    """The outputs ``(..., token, dim)`` of all variants."""
    plain, weighted = linear_matrix(Q, K) @ V, linear_matrix(Q, K, key_weights(Q, K)) @ V
    return {
        "linear": plain,
        "weighted": weighted,
        "gated": gate * plain,
        "both": gate * weighted,
        "softmax": softmax_matrix(Q, K) @ V,
    }


def _tokens(setting: Setting, seeds: Sequence[np.random.SeedSequence], device: str) -> tuple[Tensor, Tensor]:
    """Tokens ``(replica, spread, token, dim)`` and maps ``(replica, 4, dim, dim)``; all spreads share mean and noise."""
    n, d, spreads = setting.n_tokens, setting.dim, torch.tensor(setting.spreads, dtype=torch.float64)
    X, maps = [], []
    for each in random_streams.generators(seeds, "data"):
        mean, noise = (torch.randn(size, d, generator=each, dtype=torch.float64) for size in (1, n))
        X.append(mean + spreads[:, None, None] * noise)
        maps.append(torch.randn(4, d, d, generator=each, dtype=torch.float64) / d**0.5)
    return torch.stack(X).to(device), torch.stack(maps).to(device)
