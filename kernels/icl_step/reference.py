"""The in-context regression step as plain tensor operations: the specification of the fused one, and the fallback."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from attnlab.kernels.attention import attention
from attnlab.kernels.compiled.philox import philox_normals
from attnlab.kernels.icl_step.records import Batches, Optimiser, Shape, State, Stream


def predictions(shape: Shape, params: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
    """Predictions (replica, batch, row, label) for x (replica, batch, pair, dim), y (replica, batch, pair[, label]).

    Rows are the pairs 1 .. n_context if causal, else only the last pair.
    """
    y = y.reshape(*x.shape[:3], shape.n_labels)
    token = torch.cat([x, y], -1)[:, :, None, :-1]  # (replica, batch, 1, context, dim + labels)
    asked = x[:, :, 1:] if shape.causal else x[:, :, -1:]
    query = torch.cat([asked, torch.zeros_like(y[:, :, : asked.shape[2]])], -1)[
        :, :, None
    ]  # labels of queries are hidden
    wq, wk, wv = (params[name][:, None] for name in ("wq", "wk", "wv"))
    q, k, v = query @ wq.mT, token @ wk.mT, token @ wv.mT  # (replica, batch, head, ., width)
    o = attention(q, k, v, mask="causal" if shape.causal else None, scale=(shape.dim + shape.n_labels) ** -0.5)
    wo = params["wo"].reshape(-1, 1, shape.n_heads, shape.n_labels, shape.head_width)
    return (o @ wo.mT).sum(2)


def loss(shape: Shape, params: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
    """Mean squared error (replica,) over batch, rows and labels."""
    target = y.reshape(*x.shape[:3], shape.n_labels)[:, :, 1 if shape.causal else -1 :]
    return (predictions(shape, params, x, y) - target).square().mean((1, 2, 3))


def _tensors(arrays: dict[str, np.ndarray]) -> dict[str, Tensor]:
    """The same numbers as tensors; torch takes no negative strides."""
    return {name: torch.from_numpy(np.ascontiguousarray(a)) for name, a in arrays.items()}


def loss_and_gradient(shape: Shape, state: State, data: Stream | Batches) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Loss (replica,) and gradient on the next batch."""
    x, y = _batch(shape, state, data, 0)
    value, gradient = _gradient(shape, _tensors(state.params), x, y)
    return value.numpy().astype(np.float64), {name: g.numpy() for name, g in gradient.items()}


def train(
    shape: Shape, state: State, n_steps: int, data: Stream | Batches, optimiser: Optimiser
) -> tuple[State, np.ndarray]:
    """As ``icl_step.train``."""
    params, first, second = (
        {name: torch.from_numpy(a.copy()) for name, a in part.items()}
        for part in (state.params, state.moment1, state.moment2)
    )
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
    """As ``icl_step.draw``: normals in the order beta of every label, x of every pair, noise of every pair."""
    pairs, d, M, law = shape.n_context + 1, shape.dim, shape.n_labels, stream.law
    x = np.empty((len(stream.seeds), n_steps, shape.batch, pairs, d), np.float32)
    y = np.empty((*x.shape[:-1], M), np.float32)
    mask, root = law.mask(shape), law.covariance_root
    unit = np.float32(d) ** np.float32(-0.5) if law.coefficient_std is None else np.float32(law.coefficient_std)
    for r, (seed, noise) in enumerate(zip(stream.seeds, stream.noise(), strict=True)):
        size = np.full((pairs, M), noise) * (1.0 if law.noise_scale is None else np.asarray(law.noise_scale))
        if law.clean_query:
            size[-1] = 0
        for t in range(n_steps):
            z = philox_normals(int(seed), first_step + t, shape.batch, M * d + pairs * (d + M)).astype(np.float32)
            beta, xs, eps = np.split(z, [M * d, M * d + pairs * d], 1)
            beta, xs, eps = beta.reshape(-1, M, d), xs.reshape(-1, pairs, d), eps.reshape(-1, pairs, M)
            beta = beta if mask is None else beta * mask.astype(np.float32)
            x[r, t] = xs if root is None else xs @ np.asarray(root, np.float32).T
            y[r, t] = (x[r, t] @ beta.swapaxes(1, 2)) * unit + size.astype(np.float32) * eps
    return Batches(x, y.reshape(*x.shape[:-1], *shape.label_axis))


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
