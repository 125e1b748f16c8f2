"""Efficient and cosine attention: the order of products, rows of the implied map, the recurrent form, and growth with the
length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from attnlab.kernels.operators.linear_variants.cosine_linear import CosineLinear
from attnlab.kernels.operators.linear_variants.efficient import Efficient
from attnlab.kernels.operators.operator import QKV, Sizes
from attnlab.simulators.ensemble import random_streams
from attnlab.simulators.ensemble.setting import checked, require_at_least, require_positive
from attnlab.simulators.ensemble.simulation import simulation

ZERO = 1e-9  # singular values below this part of the largest count as zero


@dataclass(frozen=True)
class OrderSetting:
    """``n_tokens`` Gaussian tokens of width ``dim``, queries, keys and values."""

    n_tokens: int = 96
    dim: int = 12
    n_replicas: int = 8

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "dim", "n_replicas")
        require_at_least(self, 2, "n_tokens")


@simulation(name="linear_variants.orders_of_products", block=8)
def orders(setting: OrderSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Efficient attention. ``scaled``, ``dense`` (replica, token, d): (Q/sqrt n)((K/sqrt n)^T V), and (Q K^T/n) V. ``map``
    (replica, token, token): of the softmax form, from the operator; ``softmax``: of softmax(Q K^T); ``rank`` (replica,) of
    the map.

    Cosine attention, causal. ``steps``, ``parallel`` (replica, token, d): the recurrence and the masked products;
    ``of_rows``: rows
    divided by their own count after the sum, another operator. ``cosines``: the unscaled weights (replica, token, token).
    """
    names = "scaled", "dense", "map", "softmax", "rank", "steps", "parallel", "of_rows", "cosines"
    found: dict[str, list] = {name: [] for name in names}
    n, d = setting.n_tokens, setting.dim
    efficient, cosine = Efficient(), CosineLinear()
    for stream in random_streams.generators(seeds, "data"):
        Q, K, V = (torch.randn(1, 1, 1, n, d, generator=stream, dtype=torch.float64) for _ in range(3))
        inputs, own = QKV(Q, K, V), cosine.initialise(Sizes(n=n, d=d, d_v=d), [stream], torch.float64)
        P = efficient.matrix(inputs, {})
        singular = torch.linalg.svdvals(P[0, 0, 0])
        state, told = cosine.start(QKV(*(x[..., 0, :] for x in (Q, K, V)))), []
        for k in range(n):
            state, y = cosine.step(state, QKV(*(x[..., k, :] for x in (Q, K, V))), own)
            told.append(y[0, 0, 0])
        count = torch.arange(1, n + 1, dtype=torch.float64)[:, None] ** own["power"].sigmoid().item()
        unit = [torch.nn.functional.normalize(x, dim=-1) for x in (Q, K)]
        C = unit[0] @ unit[1].mT
        results = {
            "scaled": (Q / n**0.5) @ ((K / n**0.5).mT @ V),
            "dense": (Q @ K.mT / n) @ V,
            "map": P,
            "softmax": (Q @ K.mT).softmax(-1),
            "parallel": cosine.apply(inputs, own, causal=True),
            "of_rows": C.tril() @ V / count,
            "cosines": C,
        }
        for name, value in results.items():
            found[name].append(value[0, 0, 0].numpy())
        found["rank"].append(int((singular > ZERO * singular[0]).sum()))
        found["steps"].append(torch.stack(told).numpy())
    return {name: np.array(values) for name, values in found.items()}


@dataclass(frozen=True)
class FlatSetting:
    """Efficient attention: ``n_queries`` Gaussian queries of width ``dim`` on ``n_keys`` Gaussian keys of spread ``key_std``."""

    n_keys: int = 8192
    dim: int = 24
    key_std: float = 0.75
    n_queries: int = 32
    n_replicas: int = 32

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "dim", "key_std", "n_queries", "n_replicas")
        require_at_least(self, 2, "n_keys")


@simulation(name="linear_variants.flat_rows", block=8)
def flat_rows(setting: FlatSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``excess`` (replica, query): n sum P^2 - 1; ``deficit``: ln n - H, nats; ``features`` (replica, query, d): softmax of
    the query."""
    found: dict[str, list] = {"excess": [], "deficit": [], "features": []}
    for stream in random_streams.generators(seeds, "data"):
        q = torch.randn(1, 1, 1, setting.n_queries, setting.dim, generator=stream, dtype=torch.float64)
        k = setting.key_std * torch.randn(1, 1, 1, setting.n_keys, setting.dim, generator=stream, dtype=torch.float64)
        P = Efficient().matrix(QKV(q, k, k), {})[0, 0, 0]
        found["excess"].append((setting.n_keys * P.square().sum(-1) - 1).numpy())
        found["deficit"].append((np.log(setting.n_keys) + torch.xlogy(P, P).sum(-1)).numpy())
        found["features"].append(q[0, 0, 0].softmax(-1).numpy())
    return {name: np.array(values) for name, values in found.items()}


@dataclass(frozen=True)
class GrowthSetting:
    """Cosine attention on random tokens of width ``dim``, normal values of width ``value_dim``: outputs of ``n_draws`` sequences.

    ``lengths``: numbers of keys without a mask; a causal row sees as many. ``power`` mu, the count's exponent is its sigmoid.
    """

    lengths: tuple[int, ...] = (16, 64, 256)
    dim: int = 16
    value_dim: int = 32
    power: float = 0.5
    n_draws: int = 200
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "lengths", "dim", "value_dim", "n_draws", "n_replicas")


@simulation(name="linear_variants.cosine_growth", block=4)
def cosine_growth(
    setting: GrowthSetting, seeds: Sequence[np.random.SeedSequence], device: str
) -> dict[str, np.ndarray]:
    """Mean squares of an output channel (replica, length): ``whole`` of a query on all keys, ``causal`` of the last row."""
    found: dict[str, list] = {"whole": [], "causal": []}
    power = {"power": torch.full((1, 1), setting.power, dtype=torch.float64)}
    operator = CosineLinear()
    for stream in random_streams.generators(seeds, "data"):
        whole, causal = [], []
        for n in setting.lengths:
            k = torch.randn(1, setting.n_draws, 1, n, setting.dim, generator=stream, dtype=torch.float64)
            v = torch.randn(1, setting.n_draws, 1, n, setting.value_dim, generator=stream, dtype=torch.float64)
            q = torch.randn(k.shape, generator=stream, dtype=torch.float64)
            whole.append(operator.apply(QKV(q[..., -1:, :], k, v), power).square().mean().item())
            causal.append(operator.apply(QKV(q, k, v), power, causal=True)[..., -1, :].square().mean().item())
        found["whole"].append(whole)
        found["causal"].append(causal)
    return {name: np.array(values) for name, values in found.items()}
