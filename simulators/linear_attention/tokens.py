r"""The attention layer written on tokens beside the deep linear network on cubic features, trained on the same sequences.

Tokens are ``(x_i, y_i)`` and the query ``(x_q, 0)``; a head adds ``(1 / N) V X X^T W X``, of which the label entry at the query
is the prediction (Zhang et al. 2025, arXiv 2501.16265, equations for merged and separate key and query). With the same
start both layers are the same function, so their whole paths of gradient descent agree but for rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from attnlab.simulators.ensemble.layout import Parameters
from attnlab.simulators.ensemble.random_streams import generators
from attnlab.simulators.ensemble.setting import checked, require_one_of, require_positive
from attnlab.simulators.ensemble.simulation import simulation
from attnlab.simulators.linear_attention.model import LinearAttention
from attnlab.simulators.linear_attention.moments import Sequences, context_features, sequences


@dataclass(frozen=True)
class TokenSetting:
    """Sizes and training of both layers; float64. ``n_sequences``: the fixed set of sequences of each replica."""

    spectrum: tuple[float, ...] = (0.4, 0.3, 0.2, 0.1)
    n_context: int = 31
    kind: str = "merged"
    n_heads: int = 3
    rank: int = 1
    init_scale: float = 1.0
    n_sequences: int = 50
    learning_rate: float = 0.05
    n_steps: int = 50
    n_replicas: int = 8

    def __post_init__(self) -> None:
        checked(self)
        require_positive(
            self,
            "spectrum",
            "n_context",
            "n_heads",
            "rank",
            "init_scale",
            "n_sequences",
            "learning_rate",
            "n_steps",
            "n_replicas",
        )
        require_one_of(self, "kind", ("merged", "separate"))


@simulation(name="linear_attention_tokens.train_both", block=8)
def train_both(setting: TokenSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Predictions ``(replica, step, sequence)`` of both layers along their own gradient descent.

    ``attention``: on tokens; ``network``: linear in the features. ``attention_over_all_tokens``: the attention layer
    trained with the factor 1 / (N + 1) that counts the query token.
    """
    model = LinearAttention(
        setting.kind, len(setting.spectrum), setting.n_heads, setting.rank, init_scale=setting.init_scale
    )
    start = model.initialise(generators(seeds, "parameters"), torch.float64)
    batches = [
        sequences(setting.n_sequences, setting.spectrum, setting.n_context, 0.0, stream)
        for stream in generators(seeds, "data")
    ]
    batch = Sequences(
        *(torch.stack([getattr(each, name) for each in batches]) for name in ("x", "y", "query", "target"))
    )
    features = torch.stack([context_features(each) for each in batches])

    def network(parameters: Parameters) -> Tensor:
        return (features @ layered(model, parameters)[..., None])[..., 0]

    rules = {
        "attention": lambda p: attention(model, p, batch, setting.n_context),
        "network": network,
        "attention_over_all_tokens": lambda p: attention(model, p, batch, setting.n_context + 1),
    }
    return {
        name: _path(rule, start, batch.target, setting.learning_rate, setting.n_steps) for name, rule in rules.items()
    }


def attention(model: LinearAttention, parameters: Parameters, batch: Sequences, divisor: int) -> Tensor:
    """Predictions ``(replica, n)`` of the layer on tokens: all blocks written out as matrices of dimension dim + 1."""
    X = torch.cat(
        [
            torch.cat([batch.x, batch.y[..., None]], -1),
            torch.cat([batch.query, torch.zeros_like(batch.target)[..., None]], -1)[..., None, :],
        ],
        -2,
    ).mT
    d, output = model.dim, 0.0  # X: (replica, n, dim + 1, token)
    for head in range(model.n_heads):
        V = torch.zeros(len(X), 1, d + 1, d + 1, dtype=X.dtype)
        V[:, 0, d, d] = parameters["v"][:, head]
        W = torch.zeros_like(V)
        if model.kind == "merged":
            W[:, 0, :d, :d] = parameters["U"][:, head]
        else:
            W[:, 0, :d, :d] = parameters["K"][:, head].mT @ parameters["Q"][:, head]
        output = output + (V @ X @ (X.mT @ W @ X) / divisor)[..., d, -1]
    return output


def layered(model: LinearAttention, parameters: Parameters) -> Tensor:
    """Weights ``(replica, feature)`` of the deep linear network: two layers (merged), or three in each path (separate)."""
    if model.kind == "merged":
        hidden = parameters["U"].flatten(-2)  # first layer (replica, head, feature)
        return (parameters["v"][:, None] @ hidden)[:, 0]
    K, Q = parameters["K"], parameters["Q"]
    paths = (K[..., :, None] * Q[..., None, :]).flatten(-2).sum(2)  # the first two layers: outer products, convolved
    return (parameters["v"][:, None] @ paths)[:, 0]


def _path(rule, start: Parameters, target: Tensor, learning_rate: float, n_steps: int) -> np.ndarray:
    parameters = {name: value.clone().requires_grad_() for name, value in start.items()}
    seen = []
    for _ in range(n_steps):
        predicted = rule(parameters)
        seen.append(predicted.detach().numpy())
        gradients = torch.autograd.grad(((predicted - target) ** 2).mean(-1).sum(), list(parameters.values()))
        with torch.no_grad():
            for value, gradient in zip(parameters.values(), gradients, strict=True):
                value -= learning_rate * gradient
    return np.stack(seen, axis=1)
