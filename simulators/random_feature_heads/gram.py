"""Gram matrices of infinitely many random heads in closed form: the expectations of products of their features.

The features are those of :func:`~attnlab.simulators.random_feature_heads.features.features`; the double sum over keys is computed
in chunks that stay in the cache.
"""

from __future__ import annotations

import math

import torch
from numpy.polynomial.legendre import leggauss
from torch import Tensor

from attnlab.simulators.random_feature_heads.inputs import Inputs, bias_of

_ENTRIES = 200_000  # pairs of keys handled at once
_NODES = 8


def arc_cosine(rho: Tensor) -> Tensor:
    """E[ReLU(a) ReLU(b)] of standard normals of correlation rho."""
    rho = rho.clamp(-1, 1)
    return (torch.sqrt(1 - rho * rho) + rho * (math.pi - torch.arccos(rho))) / (2 * math.pi)


def shifted_arc_cosine(m: Tensor, n: Tensor, rho: Tensor) -> Tensor:
    r"""E[ReLU(a) ReLU(b)] of normals of variance one, means m, n and correlation rho.

    The derivative with respect to rho is Phi_2(m, n; rho), whose own derivative is the density: so the expectation is that of
    independent variables, plus rho Phi(m) Phi(n), plus an integral of (sin a - sin t) times the density over angles t up to
    a = arcsin rho. 8 Gauss-Legendre nodes.
    """
    cdf_m, cdf_n = torch.special.ndtr(m), torch.special.ndtr(n)
    density_m, density_n = (torch.exp(-x * x / 2) / math.sqrt(2 * math.pi) for x in (m, n))
    total = (m * cdf_m + density_m) * (n * cdf_n + density_n) + rho * cdf_m * cdf_n
    end = torch.arcsin(rho.clamp(-1, 1))
    squares, product = (m * m + n * n) / 2, m * n
    for node, weight in zip(*leggauss(_NODES), strict=True):
        sine = torch.sin(end * ((node + 1) / 2))
        total = total + (weight / (4 * math.pi)) * end * (rho - sine) * torch.exp(
            (product * sine - squares) / (1 - sine * sine)
        )
    return total


def gram(a: Inputs, b: Inputs, kind: str) -> Tensor:
    """The kernel of infinitely many heads of a kind between inputs (queries ``(n, d)``, keys ``(n, N, d)``), ``(n, n')``."""
    (query, keys), (query_b, keys_b) = a, b
    n_keys, dim = keys.shape[1:]
    u = query @ query_b.T
    if kind == "perceptron":
        return arc_cosine((1 + (u + keys.flatten(1) @ keys_b.flatten(1).T) / (n_keys + 1)) / 2)
    bias = bias_of(kind, dim)
    means, means_b = (bias * (k @ q[:, :, None])[..., 0] for q, k in ((query, keys), (query_b, keys_b)))
    flat_b, rows = keys_b.flatten(0, 1), max(1, _ENTRIES // (len(query_b) * n_keys * n_keys))
    out = []
    for start in range(0, len(query), rows):
        part = slice(start, start + rows)
        t = (keys[part].flatten(0, 1) @ flat_b.T).unflatten(1, (-1, n_keys)).unflatten(0, (-1, n_keys))  # (a, i, b, j)
        near = u[part][:, None, :, None]
        if kind == "plain":
            values = arc_cosine(near * t) * t
        else:
            rho = (1 + near) * (1 + t) / 4
            dual = shifted_arc_cosine(means[part][:, :, None, None], means_b, rho) if bias else arc_cosine(rho)
            values = dual * (1 + t)
        out.append(values.sum((1, 3)) / n_keys**2)
    return torch.cat(out)
