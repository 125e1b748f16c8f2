r"""One-layer attention that selects tokens, and its gradient without cancellation.

Input i has keys :math:`x_{it}` and a query :math:`z_i`; attention :math:`s_i = \mathrm{softmax}_t(x_{it}^T W z_i)` averages the
values of its tokens. Only W, or K and Q with :math:`W = K Q^T`, are trained. With a linear head token t is worth its score
:math:`\gamma_{it} = Y_i v^T x_{it}`; with ReLU units its worth is the derivative of the output. The loss has the derivative

.. math:: \partial L / \partial l_{it} = \frac1n \ell'(u_i)\, s_{it} (\gamma_{it} - \bar\gamma_i), \qquad
          \bar\gamma_i = \sum_t s_{it} \gamma_{it},

with l the logits. That of the token with the largest weight is a difference of nearly equal numbers once attention saturates
(ordinary back-propagation stalls at logit gaps of 36); here it is minus the sum of the others, and normalised descent
multiplies all by one common factor, so that they may be smaller than any floating-point number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from attnlab.simulators.ensemble.layout import Parameters
from attnlab.simulators.ensemble.optimisers import State

LOSSES = ("linear", "logistic", "exponential")


@dataclass(frozen=True)
class TokenAttention:
    """The model. ``keys (replica, input, token, dim)``, ``queries (replica, input, query_dim)``; ``inner_dim`` 0 trains W itself.

    ``start``: initial W ``(replica, dim, query_dim)``; without it entries are uniform in +- 1/sqrt(columns), those of a default
    linear layer, times ``init_scale``.
    """

    keys: Tensor
    queries: Tensor
    inner_dim: int = 0
    init_scale: float = 1.0
    start: Tensor | None = None

    def part(self, rows: slice) -> TokenAttention:
        return replace(
            self,
            keys=self.keys[rows],
            queries=self.queries[rows],
            start=None if self.start is None else self.start[rows],
        )

    def initialise(self, streams: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        if self.start is not None:
            return {"W": self.start.to(dtype).clone()}
        dims = self.keys.shape[-1], self.queries.shape[-1]
        shapes = {"K": (dims[0], self.inner_dim), "Q": (dims[1], self.inner_dim)} if self.inner_dim else {"W": dims}
        made = {}
        for name, shape in shapes.items():
            bound = self.init_scale / math.sqrt(shape[0] if self.inner_dim else shape[1])
            made[name] = torch.stack(
                [bound * (2 * torch.rand(shape, generator=stream, dtype=dtype) - 1) for stream in streams]
            )
        return made

    @staticmethod
    def weights(parameters: Parameters) -> Tensor:
        """W, ``(replica, dim, query_dim)``."""
        return parameters["W"] if "W" in parameters else parameters["K"] @ parameters["Q"].mT

    def logits(self, parameters: Parameters) -> Tensor:
        """``(replica, input, token)``."""
        if "W" in parameters:
            directions = self.queries @ parameters["W"].mT  # W z, (replica, input, dim)
        else:
            directions = (self.queries @ parameters["Q"]) @ parameters["K"].mT
        return (self.keys @ directions.unsqueeze(-1)).squeeze(-1)

    def observe(self, parameters: Parameters) -> dict[str, Tensor]:
        """W, and the largest attention weight averaged over inputs."""
        attention = torch.softmax(self.logits(parameters), -1)
        return {"W": self.weights(parameters), "saturation": attention.amax(-1).mean(-1)}

    def log_attention(self, parameters: Parameters) -> dict[str, Tensor]:
        """Logarithms of the attention weights, ``(replica, input, token)``."""
        return {"log_attention": torch.log_softmax(self.logits(parameters), -1)}


@dataclass(frozen=True)
class SelectionTask:
    """The loss on a fixed data set. ``scores (replica, input, token)``, or ``units (replica, dim, unit)`` of a ReLU head.

    With ``units`` U the output is :math:`Y_i 1^T \\mathrm{ReLU}(U^T X_i^T s_i)` with labels Y ``(replica, input)``. ``rescaled``:
    gradients are exact up to one positive factor a replica, for normalised descent.
    """

    scores: Tensor
    loss_kind: str = "logistic"
    rescaled: bool = True
    units: Tensor | None = None
    labels: Tensor | None = None
    numbers_per_step: int = 0

    def part(self, rows: slice) -> SelectionTask:
        return replace(
            self,
            scores=self.scores[rows],
            units=None if self.units is None else self.units[rows],
            labels=None if self.labels is None else self.labels[rows],
        )

    def fill(self, numbers: Tensor, stream: torch.Generator) -> None:
        """Nothing is drawn: the data set is fixed."""

    def largest_array(self, model: TokenAttention) -> int:
        return model.keys[0].numel()

    def worth(self, keys: Tensor, attention: Tensor) -> Tensor:
        """The derivative of an input's output by each attention weight, ``(replica, input, token)``."""
        if self.units is None:
            return self.scores
        hidden = keys @ self.units[:, None]  # (replica, input, token, unit)
        on = (attention.unsqueeze(-2) @ hidden) > 0
        return (hidden * on).sum(-1) * self.labels[..., None]

    def loss(self, model: TokenAttention, parameters: Parameters, numbers: Tensor | None) -> Tensor:
        """The mean loss over inputs ``(replica,)``, with the derivative of the module's formula."""
        logits = model.logits(parameters)
        with torch.no_grad():
            value, slopes = self.value_and_slopes(model.keys, logits.detach())
        surrogate = (slopes * logits).sum((-2, -1))
        return value + surrogate - surrogate.detach()

    def value_and_slopes(self, keys: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Loss ``(replica,)`` and its derivative by the logits, up to a factor where ``rescaled``."""
        log_s = torch.log_softmax(logits, -1)
        s = log_s.exp()
        worth = self.worth(keys, s)
        u = (s * worth).sum(-1, keepdim=True)  # Y f
        value, log_slope = _loss(self.loss_kind, u)
        top = torch.zeros_like(s).scatter_(-1, logits.argmax(-1, keepdim=True), 1.0)
        log_weight = (log_s + log_slope).masked_fill(top > 0, -torch.inf)
        if self.rescaled:
            log_weight = log_weight - log_weight.amax((-2, -1), keepdim=True)
        others = -log_weight.exp() * (worth - u)
        slopes = others - top * others.sum(-1, keepdim=True)
        return value.mean((-2, -1)), slopes / logits.shape[-2]


@dataclass(frozen=True)
class NormalisedEach:
    """Descent of unit direction for each of equally large parameters (K and Q) on its own; see ``optimisers``."""

    learning_rate: float
    n_parameters: int = 2
    floor: float = 1e-30

    @property
    def normalised_parts(self) -> int:
        return self.n_parameters

    def part(self, rows: slice) -> NormalisedEach:
        return self

    def start(self, values: Tensor) -> State:
        return {}

    def update(self, values: Tensor, gradient: Tensor, state: State, step: int) -> None:
        each = gradient.view(len(gradient), self.n_parameters, -1)
        unit = each / torch.linalg.vector_norm(each, dim=-1, keepdim=True).clamp_min(self.floor)
        values.add_(unit.view_as(gradient), alpha=-self.learning_rate)


def _loss(kind: str, u: Tensor) -> tuple[Tensor, Tensor]:
    """The loss and the logarithm of minus its derivative."""
    if kind == "linear":
        return -u, torch.zeros_like(u)
    if kind == "logistic":
        return F.softplus(-u), F.logsigmoid(-u)
    return torch.exp(-u), -u


def unit_vectors(shape: tuple[int, ...], stream: torch.Generator) -> Tensor:
    """Standard normal vectors along the last axis, scaled to length one."""
    return F.normalize(torch.randn(shape, generator=stream, dtype=torch.float64), dim=-1)


def stacked(arrays: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    """One tensor with the replica axis first for each kind of array that every replica has."""
    return [torch.stack(list(kind)) for kind in zip(*arrays, strict=True)]


def tiled(steps: Sequence[int], n: int) -> np.ndarray:
    """Steps for each of n replicas."""
    return np.tile(np.asarray(steps), (n, 1))
