"""Several regression tasks in one prompt, each on its own covariates.

He, Pan, Chen and Yang 2025 (arXiv 2503.12734), the multi-task section: examples carry one label per task.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from attnlab.simulators.ensemble.layout import Parameters
from attnlab.simulators.in_context_regression.model import AttentionRegressor


@dataclass(frozen=True)
class MultiRegressionTask:
    r"""Sequences of examples with one label per task t, from the covariates of its support S_t only.

    .. math:: x \sim N(0, I_d), \quad y_t = \beta_t^T x_{S_t} + \varepsilon_t, \quad \beta_t \sim N(0, b^2 I), \quad
        \varepsilon_t \sim N(0, \sigma^2 b^2 |S_t|)

    with b = ``coefficient_std`` and sigma = ``noise_std``; the loss is the mean over tasks of the squared error on the
    query's label without noise.
    """

    dim: int
    supports: tuple[tuple[int, ...], ...]
    n_context: int
    batch: int
    noise_std: float
    coefficient_std: float = 1.0

    @property
    def numbers_per_step(self) -> int:
        return self.batch * (self.n_context * self.n_embd + self.dim * (1 + len(self.supports)))

    @property
    def n_embd(self) -> int:
        """Size n of a token: covariates and labels."""
        return self.dim + len(self.supports)

    def mask(self) -> Tensor:
        """1 where covariate i belongs to task t, ``(dim, task)``, float64."""
        mask = torch.zeros(self.dim, len(self.supports), dtype=torch.float64)
        for task, support in enumerate(self.supports):
            mask[list(support), task] = 1
        return mask

    def fill(self, numbers: Tensor, stream: torch.Generator) -> None:
        numbers.normal_(generator=stream)

    def sequences(self, numbers: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens ``(replica, batch, context, n)``, queries ``(replica, batch, dim)`` and their labels without noise
        ``(replica, batch, task)``, from standard normal numbers, which may be changed in place."""
        R, (B, L, d, N) = len(numbers), (self.batch, self.n_context, self.dim, len(self.supports))
        tokens, query, beta = (
            part.view(R, B, *shape)
            for part, shape in zip(
                numbers.split([B * L * (d + N), B * d, B * d * N], dim=1), [(L, d + N), (d,), (d, N)], strict=True
            )
        )
        mask = self.mask().to(numbers)
        beta = self.coefficient_std * mask * beta
        noise = torch.diag(self.noise_std * self.coefficient_std * mask.sum(0).sqrt()).expand(R, B, N, N)
        tokens = tokens.contiguous()
        tokens[..., d:] = tokens @ torch.cat([beta, noise], dim=-2)  # labels of [x; noise]
        return tokens, query, (query[..., None, :] @ beta)[..., 0, :]

    def loss(self, model: AttentionRegressor, parameters: Parameters, numbers: Tensor) -> Tensor:
        tokens, query, target = self.sequences(numbers)
        return ((model(parameters, tokens, query) - target) ** 2).mean((-2, -1))

    def largest_array(self, model: AttentionRegressor) -> int:
        return self.batch * self.n_context * max(self.n_embd, model.n_heads)
