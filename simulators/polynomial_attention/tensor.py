r"""Tensor attention, dense and by polynomial features: weights :math:`\exp(\frac1d \sum_c Q_{ic} K^{(1)}_{jc} K^{(2)}_{kc})`
of pairs.

Alman and Song 2023 (arXiv 2310.04064). Every function takes one head: Q, K1, K2 of width d, V1, V2 of any width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from torch import Tensor

from attnlab.simulators.ensemble import random_streams
from attnlab.simulators.ensemble.setting import checked, require_at_least, require_positive
from attnlab.simulators.ensemble.simulation import simulation


def scores(Q: Tensor, K1: Tensor, K2: Tensor) -> Tensor:
    """Scores ``(query, key, key)``."""
    return torch.einsum("ic,jc,kc->ijk", Q, K1, K2) / Q.shape[1]


def averaged(weights: Tensor, V1: Tensor, V2: Tensor) -> Tensor:
    """Means of products of values ``(query, width)`` under weights ``(query, key, key)``, which need not be positive."""
    return torch.einsum("ijk,jc,kc->ic", weights, V1, V2) / weights.sum((1, 2))[:, None]


def truncated(x: Tensor, degree: int) -> Tensor:
    """The exponential series up to a degree."""
    total = term = torch.ones_like(x)
    for k in range(1, degree + 1):
        term = term * x / k
        total = total + term
    return total


def factorised(Q: Tensor, K1: Tensor, K2: Tensor, V1: Tensor, V2: Tensor, degree: int) -> Tensor:
    """The output with :func:`truncated` weights, through one feature per monomial: no array of pairs is made."""
    d = Q.shape[1]
    exponents = [e for e in product(range(degree + 1), repeat=d) if sum(e) <= degree]
    powers = torch.tensor(exponents, dtype=Q.dtype)  # (monomial, d)
    size = torch.tensor([d ** -sum(e) / math.prod(map(math.factorial, e)) for e in exponents], dtype=Q.dtype)
    U1, U2, U3 = ((x[:, None] ** powers).prod(-1) for x in (Q, K1, K2))
    numerator = (U1 * size) @ ((U2.T @ V1) * (U3.T @ V2))
    denominator = (U1 * size) @ (U2.sum(0) * U3.sum(0))
    return numerator / denominator[:, None]


@dataclass(frozen=True)
class TensorSetting:
    """``n_tokens`` tokens of width ``dim`` with entries uniform up to ``entry_bound``; ``degrees`` of the polynomials."""

    n_tokens: int = 24
    dim: int = 4
    entry_bound: float = 1.0
    degrees: tuple[int, ...] = (1, 2, 3, 4, 6)
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "dim", "entry_bound", "degrees", "n_replicas")
        require_at_least(self, 2, "n_tokens")


def _drawn(setting: TensorSetting, stream: torch.Generator) -> list[Tensor]:
    shape = (5, setting.n_tokens, setting.dim)
    return list(setting.entry_bound * (2 * torch.rand(shape, generator=stream, dtype=torch.float64) - 1))


@simulation(name="polynomial_attention.tensor_errors", block=8)
def tensor_errors(
    setting: TensorSetting, seeds: Sequence[np.random.SeedSequence], device: str
) -> dict[str, np.ndarray]:
    """``error (replica, degree)``: largest entry of the output with truncated weights less the exact one; ``by_features``:
    largest
    distance of the factorised from the dense polynomial output, and ``scale``: the sum of absolute weights over its least
    value, what
    rounding is amplified by; ``rank``: of the matrix (query, pair) of truncated weights, to 1e-9 of its largest singular
    value."""
    found: dict[str, list] = {"error": [], "by_features": [], "scale": [], "rank": []}
    for stream in random_streams.generators(seeds, "data"):
        Q, K1, K2, V1, V2 = _drawn(setting, stream)
        x = scores(Q, K1, K2)
        exact = averaged(x.exp(), V1, V2)
        for degree in setting.degrees:
            weights = truncated(x, degree)
            output = averaged(weights, V1, V2)
            away = factorised(Q, K1, K2, V1, V2, degree) - output
            singular = torch.linalg.svdvals(weights.flatten(1))
            found["error"].append((output - exact).abs().max())
            found["by_features"].append(away.abs().max())
            found["scale"].append((weights.abs().sum((1, 2)) / weights.sum((1, 2)).abs()).max() * output.abs().max())
            found["rank"].append((singular > 1e-9 * singular[0]).sum())
    return {name: np.reshape([float(v) for v in values], (len(seeds), -1)) for name, values in found.items()}


@dataclass(frozen=True)
class HardSetting:
    """One query on ``n_keys`` keys of width ``dim``: ``n_high`` have the score ``at_high`` and a value of
    +``entry_bound``^2, the others
    ``at_low`` and the opposite value. Entries are constant over channels. ``degree`` of the polynomial."""

    n_keys: int = 400
    n_high: int = 200
    at_high: float = 0.0
    at_low: float = -1.0
    entry_bound: float = 1.0
    degree: int = 1
    dim: int = 4
    n_replicas: int = 1

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "n_high", "entry_bound", "degree", "dim", "n_replicas")
        require_at_least(self, 2, "n_keys")
        if self.n_high >= self.n_keys:
            raise ValueError(f"n_high={self.n_high} leaves no other key; use less than n_keys={self.n_keys}")


@simulation(name="polynomial_attention.hard_keys", block=1)
def hard_keys(setting: HardSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``error (replica,)``: distance of the output by features from the exact one."""
    B, ones = setting.entry_bound, torch.ones(1, setting.dim, dtype=torch.float64)
    high = torch.arange(setting.n_keys) < setting.n_high
    k2 = torch.where(high, setting.at_high, setting.at_low).double() / B**2
    K2, V2 = k2[:, None] * ones, torch.where(high, B, -B).double()[:, None]
    Q, K1, V1 = B * ones, B * ones, torch.full((1, 1), B, dtype=torch.float64)
    exact = averaged(scores(Q, K1, K2).exp(), V1, V2)
    away = factorised(Q, K1, K2, V1, V2, setting.degree) - exact
    return {"error": np.full(len(seeds), away.abs().item())}


@simulation(name="polynomial_attention.gradients", block=8, reads=("n_tokens", "dim", "entry_bound"))
def gradients(setting: TensorSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Gradient of a random linear loss of the output by the queries, by autograd: ``by_query (replica, query, d)``; and what
    it is made of,
    ``weights (replica, query, key, key)``, normalised, ``inputs (replica, 5, token, d)`` and ``outer (replica, query, d)``."""
    found: dict[str, list] = {"by_query": [], "weights": [], "inputs": [], "outer": []}
    for stream in random_streams.generators(seeds, "data"):
        drawn = _drawn(setting, stream)
        Q, *others = drawn
        outer = torch.randn(Q.shape, generator=stream, dtype=torch.float64)
        leaf = Q.clone().requires_grad_()
        weights = scores(leaf, *others[:2]).exp()
        (slope,) = torch.autograd.grad((averaged(weights, *others[2:]) * outer).sum(), leaf)
        found["by_query"].append(slope)
        found["weights"].append((weights / weights.sum((1, 2), keepdim=True)).detach())
        found["inputs"].append(torch.stack(drawn))
        found["outer"].append(outer)
    return {name: torch.stack(values).numpy() for name, values in found.items()}
