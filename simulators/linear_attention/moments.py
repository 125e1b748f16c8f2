"""In-context linear regression as linear attention sees it: sequences, their cubic features, and the moments of these.

One layer of linear attention reads a context only through its second moments, so its prediction is a linear function of cubic
features of the sequence, and its mean squared error a quadratic function with three moments: of the label, of label times
feature, of pairs of features. Training on the moments of a set of sequences is full-batch training on that set.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Sequences:
    """Labelled examples ``x (n, context, dim)``, ``y (n, context)``, queries ``(n, dim)``, their labels ``target (n,)``."""

    x: Tensor
    y: Tensor
    query: Tensor
    target: Tensor


@dataclass(frozen=True)
class Moments:
    r"""Moments of features z and label t: ``label`` :math:`E t^2` (replica,), ``cross`` :math:`E t z` (replica, feature),
    ``gram`` :math:`E z z^T` (replica, feature, feature). A leading axis of length one serves all replicas."""

    label: Tensor
    cross: Tensor
    gram: Tensor

    def part(self, rows: slice) -> Moments:
        """The moments of some replicas."""
        return self if len(self.gram) == 1 else Moments(self.label[rows], self.cross[rows], self.gram[rows])

    def to(self, device: str) -> Moments:
        """The same moments on a device."""
        return Moments(self.label.to(device), self.cross.to(device), self.gram.to(device))

    def loss(self, weights: Tensor) -> Tensor:
        """Mean squared error ``(replica,)`` of the linear functions with ``weights (replica, feature)``."""
        image = (self.gram @ weights[..., None])[..., 0]
        return self.label + (weights * (image - 2 * self.cross)).sum(-1)


def sequences(
    n: int, spectrum: tuple[float, ...], n_context: int, noise_std: float, stream: torch.Generator
) -> Sequences:
    """``x ~ N(0, diag(spectrum))``, task vector ``w ~ N(0, I)``, ``y = w^T x`` plus noise; float64."""
    dim, roots = len(spectrum), torch.tensor(spectrum, dtype=torch.float64).sqrt()
    x = torch.empty(n, n_context + 1, dim, dtype=torch.float64).normal_(generator=stream).mul_(roots)
    w = torch.empty(n, dim, 1, dtype=torch.float64).normal_(generator=stream)
    y = (x @ w)[..., 0]
    if noise_std:
        y += noise_std * torch.empty_like(y).normal_(generator=stream)
    return Sequences(x[:, :-1], y[:, :-1], x[:, -1], y[:, -1])


def context_features(batch: Sequences, normalised: bool = True) -> Tensor:
    r"""``beta x_q^T`` flattened, ``(n, dim^2)``, with ``beta = (1 / N) sum_i y_i x_i``; without ``normalised``, times N."""
    beta = (batch.y[:, None] @ batch.x)[:, 0]
    if normalised:
        beta = beta / batch.x.shape[1]
    return (beta[..., None] * batch.query[:, None]).flatten(1)


def token_features(batch: Sequences) -> Tensor:
    r"""``G x_q`` for every pair of token entries, ``(n, (dim + 1)^2 dim)``: all that a whole attention layer can use.

    .. math:: G = \frac1N \Bigl[ \sum_i \binom{x_i}{y_i} \binom{x_i}{y_i}^T + \binom{x_q}{0} \binom{x_q}{0}^T \Bigr].

    N is the number of labelled examples; the query is a token with label zero.
    """
    tokens = torch.cat([batch.x, batch.y[..., None]], dim=-1)
    asked = torch.cat([batch.query, torch.zeros_like(batch.target)[:, None]], dim=-1)
    G = (tokens.mT @ tokens + asked[..., None] * asked[:, None]) / batch.x.shape[1]
    return (G[..., None] * batch.query[:, None, None]).flatten(1)


def moments_of(features: Tensor, target: Tensor) -> Moments:
    """The moments of ``features (n, feature)`` and ``target (n,)``, for one replica."""
    n = len(target)
    return Moments((target @ target)[None] / n, (target @ features)[None] / n, (features.mT @ features)[None] / n)


def joined(moments: list[Moments]) -> Moments:
    """Moments of several replicas, each from its own sequences."""
    return Moments(*(torch.cat([getattr(each, name) for each in moments]) for name in ("label", "cross", "gram")))


def population_moments(spectrum: tuple[float, ...], n_context: int, normalised: bool = True) -> Moments:
    r"""The moments of :func:`context_features` over all sequences without noise, from the fourth moments of a normal vector.

    .. math:: E\,t z = \mathrm{vec}(S^2), \qquad E\,z z^T = E[\beta\beta^T] \otimes S, \qquad
              E\,\beta\beta^T = (1 + \tfrac1N) S^2 + \tfrac{\mathrm{tr} S}{N} S .
    """
    S = torch.diag(torch.tensor(spectrum, dtype=torch.float64))
    size = 1 if normalised else n_context
    second = (1 + 1 / n_context) * S @ S + torch.trace(S) / n_context * S
    return Moments(torch.trace(S)[None], size * (S @ S).reshape(1, -1), size**2 * torch.kron(second, S)[None])
