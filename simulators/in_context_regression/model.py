"""One layer of multi-head softmax attention that reads labelled examples and predicts the label of a query.

He, Pan, Chen and Yang 2025 (arXiv 2503.12734), section 2: tokens ``z_l = [x_l; y_l]``, query ``z_q = [x_q; 0]``, full
matrices Q, K, V of size n x n with n = dim + labels in every head, no biases, no positions; the query attends to the
examples only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from attnlab.simulators.ensemble.layout import Parameters

ACTIVE_SHARE = 0.05  # a head is active if its |mu| exceeds this share of the largest of the model


@dataclass(frozen=True)
class AttentionRegressor:
    r"""Softmax attention with H heads, n = ``dim + n_labels``.

    .. math:: \hat y_q = \sum_h O^{(h)} V^{(h)} Z\, \mathrm{softmax}(Z^T K^{(h)T} Q^{(h)} z_q / \sqrt n)

    Parameters: ``Q, K, V`` of shape ``(replica, head, n, n)`` and ``O`` of shape ``(replica, head, n_labels, n)``. With
    ``init="linear"`` their entries are uniform on :math:`\pm 1/\sqrt{\text{fan in}}` (n for Q, K, V; n H for O), the
    default of a linear layer; ``init="small"`` multiplies these by ``init_scale``, a number or one per replica.
    """

    dim: int
    n_heads: int
    n_labels: int = 1
    init: str = "linear"
    init_scale: float | Sequence[float] = 1.0

    @property
    def n_embd(self) -> int:
        """Size n of a token."""
        return self.dim + self.n_labels

    def initialise(self, streams: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        """Random parameters, those of replica r from stream r only."""
        n, H = self.n_embd, self.n_heads
        parameters = {
            name: torch.stack([_uniform((H, rows, n), fan_in, stream, dtype) for stream in streams])
            for name, rows, fan_in in [("Q", n, n), ("K", n, n), ("V", n, n), ("O", self.n_labels, n * H)]
        }
        if self.init == "small":
            scale = torch.as_tensor(self.init_scale, dtype=dtype).expand(len(streams))[:, None, None, None]
            parameters = {name: scale * value for name, value in parameters.items()}
        return parameters

    def __call__(self, parameters: Parameters, tokens: Tensor, query: Tensor) -> Tensor:
        """Predicted labels ``(replica, batch, n_labels)`` for tokens ``(replica, batch, context, n)`` and queries
        ``(replica, batch, dim)``."""
        return attend(*self.effective(parameters), tokens, query)

    def effective(self, parameters: Parameters) -> tuple[Tensor, Tensor]:
        r"""What the output depends on, KQ ``(replica, head, n, n)`` and OV ``(replica, head, n_labels, n)``.

        .. math:: KQ^{(h)} = K^{(h)T} Q^{(h)} / \sqrt n, \qquad OV^{(h)} = O^{(h)} V^{(h)}

        The last ``n_labels`` columns of KQ meet the zeros of the query and are never used.
        """
        KQ = parameters["K"].mT @ parameters["Q"] / self.n_embd**0.5
        return KQ, parameters["O"] @ parameters["V"]

    def observe(self, parameters: Parameters) -> dict[str, Tensor]:
        """The observables of :func:`observables` in float64, for one label."""
        KQ, OV = self.effective({name: value.double() for name, value in parameters.items()})
        return observables(KQ, OV[:, :, 0])

    def matrices(self, parameters: Parameters) -> dict[str, Tensor]:
        """``KQ (replica, head, n, n)`` and ``OV (replica, head, n_labels, n)``, without the axis of a single label."""
        KQ, OV = self.effective({name: value.double() for name, value in parameters.items()})
        return {"KQ": KQ, "OV": OV[:, :, 0] if self.n_labels == 1 else OV}


def attend(KQ: Tensor, OV: Tensor, tokens: Tensor, query: Tensor) -> Tensor:
    """The model's output from its effective matrices; equal to the full projections, several times cheaper.

    Shapes: KQ ``(replica, head, n, n)``, OV ``(replica, head, n_labels, n)``, tokens ``(replica, batch, context, n)``,
    query ``(replica, batch, dim)``; returns ``(replica, batch, n_labels)``.
    """
    R, H, n, _ = KQ.shape
    B, d = query.shape[1:]
    direction = query @ KQ[..., :d].reshape(R, H * n, d).mT  # (replica, batch, head * n)
    scores = direction.view(R, B, H, n) @ tokens.mT  # (replica, batch, head, context)
    contexts = torch.softmax(scores, dim=-1) @ tokens  # (replica, batch, head, n)
    return contexts.reshape(R, B, H * n) @ OV.transpose(1, 2).reshape(R, -1, H * n).mT


def observables(KQ: Tensor, OV: Tensor) -> dict[str, Tensor]:
    """What the paper reads off the matrices KQ ``(replica, head, n, n)`` and OV ``(replica, head, n)``, n = dim + 1.

    Of each head, ``(replica, head)``: ``omega``, mean of the first dim diagonal entries of KQ; ``mu``, last entry of
    OV; ``diagonal_energy``, squares of these diagonal entries over squares of all used entries (last column
    excluded); ``diagonal_spread``, their standard deviation; ``last_entry_energy``, mu^2 over the squared norm of OV.

    Of the model, ``(replica,)``: ``homogeneity``, least over largest size of omega among the active heads (size of mu
    above 5 % of the largest); ``zero_sum``, size of sum mu over the largest size of mu; ``step_size``, sum of mu omega.

    Of sign groups, ``(replica, 2)``, heads with mu > 0 first, NaN for an empty group: ``group_mu``, sum of mu;
    ``group_omega``, the mu-weighted mean; ``group_diagonal_energy`` of the sum of mu KQ; ``group_last_entry_energy`` of
    the sum of OV.
    """
    omega, mu = KQ.diagonal(dim1=-2, dim2=-1)[..., :-1].mean(-1), OV[..., -1]
    largest = mu.abs().amax(-1, keepdim=True)
    active = mu.abs() > ACTIVE_SHARE * largest
    size = omega.abs()
    least = torch.where(active, size, torch.inf).amin(-1)
    member = torch.stack([mu > 0, mu < 0], dim=1).to(mu.dtype)  # (replica, group, head)
    group_mu = member @ mu[..., None]  # (replica, group, 1)
    group_KQ = torch.einsum("rgh,rh,rhij->rgij", member, mu, KQ)
    group_OV = torch.einsum("rgh,rhi->rgi", member, OV)
    group_size = group_KQ.diagonal(dim1=-2, dim2=-1)[..., :-1].mean(-1)
    return {
        "omega": omega,
        "mu": mu,
        "diagonal_energy": _diagonal_energy(KQ),
        "diagonal_spread": KQ.diagonal(dim1=-2, dim2=-1)[..., :-1].std(-1),
        "last_entry_energy": _last_entry_energy(OV),
        "homogeneity": least / torch.where(active, size, 0).amax(-1),
        "zero_sum": mu.sum(-1).abs() / largest[..., 0],
        "step_size": (mu * omega).sum(-1),
        "group_mu": torch.where(member.any(-1), group_mu[..., 0], torch.nan),
        "group_omega": group_size / group_mu[..., 0],
        "group_diagonal_energy": _diagonal_energy(group_KQ),
        "group_last_entry_energy": _last_entry_energy(group_OV),
    }


def _diagonal_energy(KQ: Tensor) -> Tensor:
    used = KQ[..., :-1]
    return (KQ.diagonal(dim1=-2, dim2=-1)[..., :-1] ** 2).sum(-1) / (used**2).sum((-2, -1))


def _last_entry_energy(OV: Tensor) -> Tensor:
    return OV[..., -1] ** 2 / (OV**2).sum(-1)


def _uniform(shape: tuple[int, ...], fan_in: int, stream: torch.Generator, dtype: torch.dtype) -> Tensor:
    bound = fan_in**-0.5
    return torch.empty(shape, dtype=dtype).uniform_(-bound, bound, generator=stream)
