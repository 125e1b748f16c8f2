"""Features of random ReLU attention heads, and runs that average them over many heads.

Head m maps tokens x_0 (query) and x_1 .. x_N (keys) to (1/N) sum_i ReLU(x~_0^T W_m x~_i) x~_i; x~ is x with a last
coordinate 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from attnlab.simulators.ensemble.random_streams import generators
from attnlab.simulators.ensemble.setting import checked, require_one_of, require_positive
from attnlab.simulators.ensemble.simulation import simulation
from attnlab.simulators.random_feature_heads.inputs import KINDS, bias_of, labels, tokens

_CHUNK = 2_000  # heads drawn at once


def head_weights(generator: torch.Generator, n_heads: int, dim: int, kind: str, n_keys: int) -> Tensor:
    """Random weights: W of attention heads ``(M, d + 1, d + 1)``, ``(M, d, d)`` of plain ones, neurons ``(M, (N+1) d + 1)``.

    Entries are N(0, 1/4), around the identity times :func:`bias_of` on the token block; N(0, 1) for plain heads, whose
    tokens lack the constant, and for neurons.
    """
    if kind == "perceptron":
        return torch.randn(n_heads, (n_keys + 1) * dim + 1, generator=generator, dtype=torch.float64)
    size = dim + (kind != "plain")
    W = torch.randn(n_heads, size, size, generator=generator, dtype=torch.float64)
    if kind != "plain":
        W = W / 2
        W[:, range(dim), range(dim)] += bias_of(kind, dim)
    return W


def features(query: Tensor, keys: Tensor, weights: Tensor, kind: str) -> Tensor:
    """Features of all heads, ``(n, M, d + 1)`` (``(n, M, d)`` of plain heads, ``(n, M, 1)`` of neurons)."""
    if kind == "perceptron":
        n_tokens = keys.shape[1] + 1
        joined = torch.cat([query[:, None], keys], dim=1).flatten(1) / math.sqrt(n_tokens)
        return torch.relu(augmented(joined) @ weights.T / math.sqrt(2))[..., None]
    if kind != "plain":
        query, keys = augmented(query), augmented(keys)
    scores = torch.einsum("na,mab->nmb", query, weights) @ keys.mT  # (n, M, N)
    return torch.relu(scores) @ keys / keys.shape[1]


def augmented(x: Tensor) -> Tensor:
    """The vectors with a last coordinate 1."""
    return torch.cat([x, torch.ones_like(x[..., :1])], dim=-1)


@dataclass(frozen=True)
class ProductSetting:
    """Inner products of features at ``n_inputs`` fixed inputs, averaged over ``n_heads`` random heads."""

    kind: str = "attention"
    dim: int = 5
    n_keys: int = 3
    n_inputs: int = 6
    n_heads: int = 400_000
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_one_of(self, "kind", KINDS)
        require_positive(self, "dim", "n_keys", "n_inputs", "n_heads", "n_replicas")


@simulation(name="random_feature_heads.head_products", block=4, reads=("kind", "dim", "n_keys", "n_inputs", "n_heads"))
def head_products(
    setting: ProductSetting, seeds: Sequence[np.random.SeedSequence], device: str
) -> dict[str, np.ndarray]:
    """``products (replica, input, input)``: means over heads of <phi_m(x), phi_m(x')>, with fresh heads per replica.

    The inputs are the same for all replicas: ``query (replica, input, d)``, ``keys (replica, input, N, d)``. ``permuted``
    is the largest change of a feature when keys are permuted, ``swapped`` when the query and the first key change places.
    """
    query, keys = tokens(torch.Generator().manual_seed(1), setting.n_inputs, setting.n_keys, setting.dim)
    products, permuted, swapped = [], [], []
    for generator in generators(seeds, "heads"):
        total = torch.zeros(setting.n_inputs, setting.n_inputs, dtype=torch.float64)
        left = setting.n_heads
        while left:
            W = head_weights(generator, min(left, _CHUNK), setting.dim, setting.kind, setting.n_keys)
            phi = features(query, keys, W, setting.kind).flatten(1)
            total += phi @ phi.T
            left -= len(W)
        products.append(total / setting.n_heads)
        phi = features(query, keys, W, setting.kind)
        other = torch.cat([query[:, None], keys[:, 1:]], dim=1)
        permuted.append((features(query, keys.flip(1), W, setting.kind) - phi).abs().max())
        swapped.append((features(keys[:, 0], other, W, setting.kind) - phi).abs().max())
    n = len(seeds)
    return {
        "products": torch.stack(products).numpy(),
        "permuted": torch.stack(permuted).numpy(),
        "swapped": torch.stack(swapped).numpy(),
        "query": query.expand(n, -1, -1).numpy().copy(),
        "keys": keys.expand(n, -1, -1, -1).numpy().copy(),
    }


@dataclass(frozen=True)
class ExplicitSetting:
    """Heads with given values in cells (d, N, M): ``n_draws`` sets of heads, each at ``n_inputs`` inputs."""

    cells: tuple[tuple[int, int, int], ...] = ((5, 1, 50), (5, 3, 50), (8, 4, 25), (8, 4, 50), (8, 4, 100), (8, 4, 200))
    n_draws: int = 40
    n_inputs: int = 100
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "cells", "n_draws", "n_inputs", "n_replicas")


@simulation(name="random_feature_heads.explicit_weights", block=4, reads=("cells", "n_draws", "n_inputs"))
def explicit_weights(
    setting: ExplicitSetting, seeds: Sequence[np.random.SeedSequence], device: str
) -> dict[str, np.ndarray]:
    """``error (replica, cell)``: mean squared error of plain heads with values sqrt(2 pi) beta / M at the target ``"b1"``."""
    rows = []
    for generator in generators(seeds, "heads"):
        row = []
        for dim, n_keys, n_heads in setting.cells:
            total = 0.0
            for _ in range(setting.n_draws):
                query, keys = tokens(generator, setting.n_inputs, n_keys, dim)
                W = head_weights(generator, n_heads, dim, "plain", n_keys)
                output = math.sqrt(2 * math.pi) * features(query, keys, W, "plain")[..., 0].mean(1)
                total += float(((output - labels(query, keys, ["b1"])[:, 0]) ** 2).mean())
            row.append(total / setting.n_draws)
        rows.append(row)
    return {"error": np.array(rows)}
