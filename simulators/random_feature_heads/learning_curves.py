"""Regression with infinitely many random heads: Gram matrices in closed form, ridge regression on nested samples.

The Gram matrices are those of :func:`~attnlab.simulators.random_feature_heads.few_heads.features` averaged over
heads; the double sum over keys is computed in chunks that stay in the cache.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.polynomial.legendre import leggauss
from torch import Tensor

from attnlab.simulators.ensemble.random_streams import generators
from attnlab.simulators.ensemble.setting import checked, require_at_least, require_one_of, require_positive
from attnlab.simulators.ensemble.simulation import simulation
from attnlab.simulators.random_feature_heads.few_heads import (
    KINDS,
    bias_of,
    random_rotations,
    require_targets,
    rotated_labels,
    tokens,
)

_ENTRIES = 200_000  # pairs of keys handled at once
_NODES = 8

Inputs = tuple[Tensor, Tensor]


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


@dataclass(frozen=True)
class Setting:
    """Ridge regression on the first n of ``max(sizes)`` samples, for every n of ``sizes`` and every ridge of ``ridges``.

    A ridge is what is added to the diagonal of the Gram matrix. ``kind``: zero-mean ``"attention"``, ``"biased"`` heads,
    ``"plain"`` ones without the constant in the tokens, or the ``"perceptron"`` on the concatenated tokens.
    """

    kind: str = "attention"
    dim: int = 16
    n_keys: int = 4
    sizes: tuple[int, ...] = (12, 25, 50, 100, 200, 400, 800)
    ridges: tuple[float, ...] = (0.001, 0.01, 0.1, 1.0)
    targets: tuple[str, ...] = ("b1", "b2", "b3", "s1", "s2", "s3", "s1b", "s2b")
    n_test: int = 1_000
    n_copies: int = 16
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_one_of(self, "kind", KINDS)
        require_targets(self.targets)
        require_positive(self, "dim", "n_keys", "sizes", "ridges", "n_copies", "n_replicas")
        require_at_least(self, 2, "n_test")


@simulation(
    name="random_feature_heads_kernels.learning_curves",
    block=4,
    reads=("kind", "dim", "n_keys", "sizes", "ridges", "targets", "n_test", "n_copies"),
)
def learning_curves(setting: Setting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Test errors and norms of kernel ridge regression without noise, ``(replica, ridge, size, target)``, and what noise adds.

    All are means over ``n_copies`` of every target on rotated tokens, fitted to the same inputs.
    ``error``: mean squared test error over the variance of the targets in the test sample; ``error_se`` its standard error
    over test inputs. ``norm``: y^T (K + ridge I)^{-1} y, at most the target's squared norm in the kernel's space.
    ``noise (replica, ridge, size)``: mean square of what is fitted to labels that are noise of variance one. The fit is linear
    in the labels, so noise of variance sigma^2 adds sigma^2 times that to the expected error of any target.
    """
    out: dict[str, list] = {"error": [], "error_se": [], "norm": [], "noise": []}
    for generator in generators(seeds, "data"):
        train, test = (tokens(generator, n, setting.n_keys, setting.dim) for n in (max(setting.sizes), setting.n_test))
        rotations = random_rotations(generator, setting.n_copies, setting.dim, setting.kind)
        y, y_test = (rotated_labels(x, setting.targets, rotations) for x in (train, test))  # (n, copy, target)
        noise = torch.randn(max(setting.sizes), setting.n_copies, generator=generator, dtype=torch.float64)
        K, K_test = gram(train, train, setting.kind), gram(test, train, setting.kind)
        centred = ((y_test - y_test.mean(0)) ** 2).mean(1)
        rows: dict[str, list] = {name: [] for name in out}
        for ridge in setting.ridges:
            for n in setting.sizes:
                factor = torch.linalg.cholesky(K[:n, :n] + ridge * torch.eye(n, dtype=torch.float64))
                weights = torch.cholesky_solve(y[:n].flatten(1), factor)
                fitted = (K_test[:, :n] @ weights).unflatten(1, y.shape[1:])
                squares = ((fitted - y_test) ** 2).mean(1)
                ratio = squares.mean(0) / centred.mean(0)
                rows["error"].append(ratio)
                rows["error_se"].append(
                    (squares - ratio * centred).std(0) / math.sqrt(setting.n_test) / centred.mean(0)
                )
                rows["noise"].append(((K_test[:, :n] @ torch.cholesky_solve(noise[:n], factor)) ** 2).mean())
                rows["norm"].append((y[:n] * weights.unflatten(1, y.shape[1:])).sum(0).mean(0))
        for name, values in rows.items():
            out[name].append(torch.stack(values).unflatten(0, (len(setting.ridges), len(setting.sizes))))
    return {name: torch.stack(values).numpy() for name, values in out.items()}
