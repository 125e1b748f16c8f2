"""In-context linear regression: a new linear map in every sequence, labelled examples, and a query.

He, Pan, Chen and Yang 2025 (arXiv 2503.12734), section 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from attnlab.simulators.ensemble.layout import Parameters


@dataclass(frozen=True)
class Sequences:
    """A batch: tokens ``[x; y]`` ``(replica, batch, context, dim + 1)``, query ``(replica, batch, dim)``, and the noisy
    label of the query ``(replica, batch)`` with its noiseless part ``signal``."""

    tokens: Tensor
    query: Tensor
    target: Tensor
    signal: Tensor


@dataclass(frozen=True)
class RegressionTask:
    r"""Sequences of ``n_context`` examples of a random linear map, and the mean squared error of the query's label.

    .. math:: x \sim N(0, \Sigma), \quad \beta \sim N(0, I_d/d), \quad y = \beta^T x + \varepsilon, \quad
        \varepsilon \sim N(0, \sigma^2), \quad \Sigma_{ij} = \rho^{|i-j|}

    ``batch``: sequences per step. ``noise_std`` (sigma): a number or one per replica. ``covariance_decay``: rho, 0 for
    isotropic covariates.
    """

    dim: int
    n_context: int
    batch: int
    noise_std: float | Sequence[float]
    covariance_decay: float = 0.0

    @property
    def numbers_per_step(self) -> int:
        return self.batch * (self.n_context * (self.dim + 1) + 2 * self.dim + 1)

    def part(self, rows: slice) -> RegressionTask:
        return self if isinstance(self.noise_std, (int, float)) else replace(self, noise_std=self.noise_std[rows])

    def fill(self, numbers: Tensor, stream: torch.Generator) -> None:
        numbers.normal_(generator=stream)

    def sequences(self, numbers: Tensor) -> Sequences:
        """Sequences from standard normal numbers ``(replica, numbers_per_step)``, which may be changed in place."""
        R, (B, L, d) = len(numbers), (self.batch, self.n_context, self.dim)
        tokens, query, beta, noise = (
            part.view(R, B, *shape)
            for part, shape in zip(
                numbers.split([B * L * (d + 1), B * d, B * d, B], dim=1), [(L, d + 1), (d,), (d,), ()], strict=True
            )
        )
        tokens = tokens.contiguous()  # one copy here saves several in the products below
        if self.covariance_decay:
            root = covariance_root(d, self.covariance_decay).to(numbers)
            tokens[..., :d] = tokens[..., :d] @ root.mT
            query = query @ root.mT
        beta = beta / d**0.5
        std = torch.as_tensor(self.noise_std, dtype=numbers.dtype, device=numbers.device).expand(R)[:, None]
        weights = torch.cat([beta, std[..., None].expand(R, B, 1)], dim=-1)  # labels of [x; noise]
        tokens[..., d] = (tokens @ weights[..., None])[..., 0]
        signal = (query * beta).sum(-1)
        return Sequences(tokens, query, signal + std * noise, signal)

    def loss(self, model: Any, parameters: Parameters, numbers: Tensor) -> Tensor:
        """Mean squared error ``(replica,)`` of ``model(parameters, tokens, query)[..., 0]`` on the noisy label."""
        batch = self.sequences(numbers)
        prediction = model(parameters, batch.tokens, batch.query)[..., 0]
        return ((prediction - batch.target) ** 2).mean(-1)

    def largest_array(self, model: Any) -> int:
        return self.batch * self.n_context * max(self.dim + 1, model.n_heads)


def covariance_root(dim: int, decay: float) -> Tensor:
    """The lower Cholesky factor, float64, of the covariance ``decay ** |i - j|`` of ``dim`` covariates."""
    index = torch.arange(dim, dtype=torch.float64)
    return torch.linalg.cholesky(decay ** (index[:, None] - index).abs())
