"""The loss and the gradient that a generated step computes, read off one update, beside those of autograd."""

from __future__ import annotations

import numpy as np
import torch

from attnlab.kernels.generated import optimisers
from attnlab.kernels.generated.step import Step, text_of


def made(loss, parameters, others):
    """Loss ``(replica,)`` and gradient by name of ``loss(parameters, others)``; all arguments ``(replica, ...)``.

    A step of gradient descent at rate 1 from z ends at z - g. Starting at z, g is known to the rounding of z, so that z should be
    of order one.
    """
    n = len(next(iter(parameters.values())))
    text = text_of(
        loss,
        {name: each[:1].clone() for name, each in parameters.items()},
        {name: each[:1].clone() for name, each in others.items()},
        optimisers.descent(0.0, 0.0),
        0,
    )
    values = torch.cat([each.reshape(n, -1) for each in parameters.values()], dim=1).contiguous()
    before = values.clone()
    losses = Step(text, others, n).run(values, [], None, np.ones(n), np.ones((1, 2)))[:, 0]
    gradient, low = {}, 0
    for name, each in parameters.items():
        size = each[0].numel()
        gradient[name] = (before - values)[:, low : low + size].reshape(each.shape)
        low += size
    return torch.from_numpy(losses), gradient


def known(loss, parameters, others):
    """The same by autograd."""
    leaves = {name: each.clone().requires_grad_() for name, each in parameters.items()}
    value = loss(leaves, {name: each.clone() for name, each in others.items()})
    found = torch.autograd.grad(value.sum(), list(leaves.values()), allow_unused=True)
    zero = [torch.zeros_like(each) if g is None else g for g, each in zip(found, leaves.values(), strict=True)]
    return value.detach(), dict(zip(leaves, zero, strict=True))
