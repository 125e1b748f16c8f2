"""What the facts measure, for one point: spread, variance, entropy, divergence, attention. Torch or anything like it."""

from __future__ import annotations

import torch

SLACK = 1e-2  # added to a sharp bound so that boxes can tell <= from >: certified forms only
UP_TO = f"up to {SLACK:g}"  # the name of such a form, which its verdict tells


def spread(x):
    """Maximum minus minimum of the last axis."""
    return x.amax(-1) - x.amin(-1)


def variance(p, u):
    """``u^T (diag p - p p^T) u``, the quadratic form of the softmax Jacobian."""
    return (p * u * u).sum(-1) - (p * u).sum(-1) ** 2


def softmax_from(x):
    """Softmax of the logits x and one more logit 0: all softmax vectors, without the free shift."""
    return torch.cat([x, 0 * x[:1]]).softmax(-1)


def lse(x):
    """Log-sum-exp of the last axis."""
    return x.logsumexp(-1)


def entropy(x):
    """Entropy of softmax(x) in nats."""
    return -(x.softmax(-1) * x.log_softmax(-1)).sum(-1)


def divergence(x, y):
    """Kullback-Leibler divergence of softmax(x) from softmax(y)."""
    return (x.softmax(-1) * (x.log_softmax(-1) - y.log_softmax(-1))).sum(-1)


def length(v):
    """l2 norm of the last axis."""
    return (v * v).sum(-1).sqrt()


def diameter(v):
    """Largest distance of two rows of v."""
    return length(v[:, None, :] - v[None, :, :]).amax(-1).amax(-1)


def self_attention(x):
    """Attention of the rows of x to themselves: queries, keys and values are x."""
    return (x @ x.mT).softmax(-1) @ x
