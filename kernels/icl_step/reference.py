"""The in-context regression step as plain tensor operations: the specification of the fused one, and the fallback."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from attnlab.kernels.attention import attention
from attnlab.kernels.icl_step.records import Batches, Optimiser, Shape, State, Stream
from attnlab.kernels.philox import philox_normals


def predictions(shape: Shape, params: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
    """Predictions (replica, batch, row) for x (replica, batch, pair, dim), y (replica, batch, pair).

    Rows are the pairs 1 .. n_context if causal, else only the last pair.
    """
    token = torch.cat([x, y[..., None]], -1)[:, :, None, :-1]                # (replica, batch, 1, context, dim + 1)
    asked = x[:, :, 1:] if shape.causal else x[:, :, -1:]
    query = torch.cat([asked, torch.zeros_like(asked[..., :1])], -1)[:, :, None]   # the label of a query is hidden
    wq, wk, wv, wo = (params[name][:, None] for name in ("wq", "wk", "wv", "wo"))
    q, k, v = query @ wq.mT, token @ wk.mT, token @ wv.mT                          # (replica, batch, head, ., width)
    o = attention(q, k, v, mask="causal" if shape.causal else None, scale=(shape.dim + 1) ** -0.5)
    return (o * wo[..., None, :]).sum((-1, 2))


def loss(shape: Shape, params: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
    """Mean squared error (replica,) over batch and rows."""
    target = y[..., 1:] if shape.causal else y[..., -1:]
    return (predictions(shape, params, x, y) - target).square().mean((1, 2))


def loss_and_gradient(shape: Shape, state: State, data: Stream | Batches):
    """Loss (replica,) and gradient on the next batch."""
    x, y = _batch(shape, state, data, 0)
    value, gradient = _gradient(shape, {name: torch.from_numpy(a) for name, a in state.params.items()}, x, y)
    return value.numpy().astype(np.float64), {name: g.numpy() for name, g in gradient.items()}


def train(shape: Shape, state: State, n_steps: int, data: Stream | Batches, optimiser: Optimiser):
    """As ``icl_step.train``."""
    params, first, second = ({name: torch.from_numpy(a.copy()) for name, a in part.items()}
                             for part in (state.params, state.moment1, state.moment2))
    diverged_at, losses = state.diverged_at.copy(), np.full((state.n_replicas, n_steps), np.nan)
    rates = torch.from_numpy(optimiser.rates(state.n_replicas))
    for t in range(n_steps):
        value, gradient = _gradient(shape, params, *_batch(shape, state, data, t))
        finite = torch.isfinite(value)
        for g in gradient.values():
            finite &= torch.isfinite(g).flatten(1).all(1)
        alive = finite & (torch.from_numpy(diverged_at) < 0)
        losses[:, t] = np.where(diverged_at < 0, value.numpy(), np.nan)
        diverged_at[(diverged_at < 0) & ~finite.numpy()] = state.step + t
        for name in params:
            moments = first[name], second[name]
            _update(params[name], *moments, gradient[name], rates, alive, state.step + t + 1, optimiser)
    arrays = [{name: a.numpy() for name, a in part.items()} for part in (params, first, second)]
    return State(*arrays, state.step + n_steps, diverged_at), losses


def draw(shape: Shape, stream: Stream, first_step: int, n_steps: int) -> Batches:
    """As ``icl_step.draw``: normals in the order beta, x of every pair, noise of every pair."""
    pairs, d = shape.n_context + 1, shape.dim
    x = np.empty((len(stream.seeds), n_steps, shape.batch, pairs, d), np.float32)
    y = np.empty(x.shape[:-1], np.float32)
    for r, (seed, noise) in enumerate(zip(stream.seeds, stream.noise(), strict=True)):
        for t in range(n_steps):
            z = philox_normals(int(seed), first_step + t, shape.batch, d + pairs * (d + 1)).astype(np.float32)
            beta, xs, eps = z[:, :d], z[:, d:d + pairs * d].reshape(-1, pairs, d), z[:, d + pairs * d:]
            x[r, t] = xs
            y[r, t] = (xs @ beta[..., None])[..., 0] / np.float32(d) ** np.float32(0.5) + np.float32(noise) * eps
    return Batches(x, y)


def _batch(shape: Shape, state: State, data: Stream | Batches, t: int) -> tuple[Tensor, Tensor]:
    if isinstance(data, Stream):
        data, t = draw(shape, data, state.step + t, 1), 0
    x, y = (torch.from_numpy(np.ascontiguousarray(a[:, t])) for a in (data.x, data.y))
    return x.to(getattr(torch, state.dtype)), y.to(getattr(torch, state.dtype))


def _gradient(shape: Shape, params: dict[str, Tensor], x: Tensor, y: Tensor):
    leaves = {name: a.detach().requires_grad_() for name, a in params.items()}
    value = loss(shape, leaves, x, y)
    gradient = torch.autograd.grad(value.sum(), list(leaves.values()))
    return value.detach(), dict(zip(leaves, gradient, strict=True))


def _update(p, m, v, g, rates, alive, count: int, optimiser: Optimiser) -> None:
    """One step in place for the replicas that are alive, with the operations of torch.optim.Adam."""
    shape = (-1,) + (1,) * (p.ndim - 1)
    keep = alive.reshape(shape)
    g = torch.where(keep, g, 0.0)
    if optimiser.kind == "sgd":
        p -= torch.where(keep, rates.to(p.dtype).reshape(shape) * g, 0.0)
        return
    b1, b2 = optimiser.betas
    m.copy_(torch.where(keep, b1 * m + (1 - b1) * g, m))
    v.copy_(torch.where(keep, b2 * v + (1 - b2) * g * g, v))
    size = (rates / (1 - b1**count)).to(p.dtype).reshape(shape)
    p -= torch.where(keep, size * m / (v.sqrt() / (1 - b2**count) ** 0.5 + optimiser.eps), 0.0)
