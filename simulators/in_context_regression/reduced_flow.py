"""Gradient descent on the reduced model of in-context regression, on its effective loss or on sampled sequences.

He, Pan, Chen and Yang 2025 (arXiv 2503.12734): with small steps, the path of gradient descent on the population loss is
the gradient flow whose phases the paper describes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from attnlab.simulators.ensemble.layout import Parameters
from attnlab.simulators.ensemble.optimisers import GradientDescent
from attnlab.simulators.ensemble.plan import Plan, Record, log_spaced_steps
from attnlab.simulators.ensemble.setting import checked, require_at_least, require_one_of, require_positive
from attnlab.simulators.ensemble.simulation import simulation
from attnlab.simulators.ensemble.trainer import train
from attnlab.simulators.tasks.regression import RegressionTask


@dataclass(frozen=True)
class FlowSetting:
    """``loss``: ``"effective"`` (the population loss) or ``"sampled"`` (``batch`` fresh sequences per step).

    ``parametrisation``: ``"direct"``, or ``"product"``: each omega and each mu is the product of two trained numbers,
    as in a full model with K, Q and O, V. ``init_scale``: standard deviation of the initial numbers.
    """

    dim: int = 5
    n_context: int = 40
    noise_std: float = 0.1**0.5
    n_heads: int = 4
    loss: str = "effective"
    parametrisation: str = "direct"
    init_scale: float = 0.01
    batch: int = 256
    learning_rate: float = 0.01
    n_steps: int = 5_000
    n_records: int = 100
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_positive(
            self,
            "dim",
            "n_context",
            "n_heads",
            "init_scale",
            "batch",
            "learning_rate",
            "n_steps",
            "n_records",
            "n_replicas",
        )
        require_at_least(self, 0, "noise_std")
        require_one_of(self, "loss", ("effective", "sampled"))
        require_one_of(self, "parametrisation", ("direct", "product"))


@simulation(name="in_context_regression_flow.train_reduced", block=16, devices=("cpu", "cuda"))
def train_reduced(setting: FlowSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Gradient descent from small random numbers, in float64.

    Returns, along ``steps (replica, record)``: ``time``, learning rate times steps, the time t of the flow
    dz/dt = -grad loss; ``loss`` (mean of the steps since the record before); ``omega``, ``mu (replica, record, head)``;
    ``effective_loss``, the population loss at the record; and ``diverged_at (replica,)``.
    """
    model = ReducedHeads(setting.n_heads, setting.parametrisation, setting.init_scale)
    effective = EffectiveLoss(setting.dim, setting.n_context, setting.noise_std)
    task = (
        effective
        if setting.loss == "effective"
        else RegressionTask(setting.dim, setting.n_context, setting.batch, setting.noise_std)
    )
    steps = log_spaced_steps(setting.n_steps, setting.n_records)

    def observe(model: ReducedHeads, parameters: Parameters) -> dict[str, Tensor]:
        omega, mu = model.scales(parameters)
        return {"omega": omega, "mu": mu, "effective_loss": effective.loss(model, parameters, None)}

    run = train(
        model,
        task,
        GradientDescent(setting.learning_rate),
        seeds,
        Plan(setting.n_steps, loss_steps=steps, dtype=torch.float64, device=device),
        [Record(observe, steps)],
    )
    tiled = np.tile(steps, (len(seeds), 1))
    return (
        {"steps": tiled, "time": setting.learning_rate * tiled, "loss": run.loss}
        | run.records
        | {"diverged_at": run.diverged_at}
    )


@dataclass(frozen=True)
class ReducedHeads:
    r"""The reduced model :math:`\hat y_q = \sum_h \mu_h\, y^T \mathrm{softmax}(\omega_h X x_q)`.

    Parameters ``omega, mu (replica, head)``, or with ``"product"`` the factors ``omega_1, omega_2, mu_1, mu_2``, normal
    with standard deviation ``init_scale``.
    """

    n_heads: int
    parametrisation: str = "direct"
    init_scale: float = 0.01

    def initialise(self, streams: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        """Independent normal numbers, those of replica r from stream r only."""
        names = ("omega", "mu") if self.parametrisation == "direct" else ("omega_1", "omega_2", "mu_1", "mu_2")
        return {
            name: torch.stack(
                [self.init_scale * torch.randn(self.n_heads, dtype=dtype, generator=stream) for stream in streams]
            )
            for name in names
        }

    def scales(self, parameters: Parameters) -> tuple[Tensor, Tensor]:
        """``omega`` and ``mu``, each ``(replica, head)``."""
        if self.parametrisation == "direct":
            return parameters["omega"], parameters["mu"]
        return parameters["omega_1"] * parameters["omega_2"], parameters["mu_1"] * parameters["mu_2"]

    def __call__(self, parameters: Parameters, tokens: Tensor, query: Tensor) -> Tensor:
        """Predictions ``(replica, batch, 1)`` for tokens ``[x; y]`` ``(replica, batch, context, dim + 1)``."""
        omega, mu = self.scales(parameters)
        x, y = tokens[..., :-1], tokens[..., -1:]
        scores = (x @ query[..., None]).mT  # (replica, batch, 1, context)
        weights = torch.softmax(omega[:, None, :, None] * scores, dim=-1)  # (replica, batch, head, context)
        return (weights @ y)[..., 0] @ mu[..., None]


@dataclass(frozen=True)
class EffectiveLoss:
    r"""The population loss of the reduced model for long prompts, as a task without samples (equation in the paper).

    .. math:: \ell = 1 + \sigma^2 - 2 \mu^T\omega
        + \mu^T \Big[ \omega\omega^T + \frac{1+\sigma^2}{L} \exp(d\, \omega\omega^T) \Big] \mu

    with the exponential taken entry by entry.
    """

    dim: int
    n_context: int
    noise_std: float

    numbers_per_step: ClassVar[int] = 0

    def fill(self, numbers: Tensor, stream: torch.Generator) -> None:
        """There is nothing to draw."""

    def loss(self, model: ReducedHeads, parameters: Parameters, numbers: Tensor | None) -> Tensor:
        omega, mu = model.scales(parameters)
        kernel = torch.exp(self.dim * omega[:, :, None] * omega[:, None])
        spread = (mu[:, None] @ kernel @ mu[..., None])[:, 0, 0] * (1 + self.noise_std**2) / self.n_context
        return self.noise_std**2 + (1 - (mu * omega).sum(-1)) ** 2 + spread

    def largest_array(self, model: Any) -> int:
        return model.n_heads**2
