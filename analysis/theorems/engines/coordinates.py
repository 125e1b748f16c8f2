"""Free coordinates of a claim's domains, for gradient search: boxes keep their bounds, curved domains get a smooth map.

Sphere: ``z -> radius z / |z|``. Simplex: ``z -> z^2 / |z|^2`` (it reaches the faces, a softmax would not). Positive
definite: eigenvectors from the QR of a free matrix, log eigenvalues in their box. Integers and permutations have no
coordinates; discrete moves change them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch

from attnlab.analysis.theorems.statement.claim import Claim
from attnlab.analysis.theorems.statement.domains import (
    MARGIN,
    Box,
    Distribution,
    Domain,
    Permutation,
    PositiveDefinite,
    Simplex,
    Sphere,
)

FAR = 1e6  # coordinates of unbounded variables stay within this


class Latent:
    """The coordinates of all continuous variables of a claim, side by side: ``low <= z <= high``, z of shape
    (batch, n)."""

    def __init__(self, claim: Claim) -> None:
        self.variables = {name: _support(domain) for name, domain in claim.variables.items()}
        self.moving = [name for name, domain in self.variables.items() if _width(domain)]
        bounds = [_bounds(self.variables[name]) for name in self.moving]
        self.low = np.concatenate([low for low, _ in bounds]) if bounds else np.zeros(0)
        self.high = np.concatenate([high for _, high in bounds]) if bounds else np.zeros(0)

    @property
    def size(self) -> int:
        """How many coordinates there are."""
        return self.low.size

    def pack(self, points: Mapping[str, np.ndarray]) -> np.ndarray:
        """Coordinates of points, (batch, size)."""
        n = len(next(iter(points.values())))
        parts = [_encode(self.variables[name], np.asarray(points[name])).reshape(n, -1) for name in self.moving]
        return np.concatenate(parts, axis=1) if parts else np.zeros((n, 0))

    def unpack(self, z: torch.Tensor, fixed: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Points at coordinates ``z``; variables without coordinates are taken from ``fixed``."""
        out, start = {}, 0
        for name, domain in self.variables.items():
            if name not in self.moving:
                out[name] = fixed[name]
                continue
            width = _width(domain)
            out[name] = _decode(domain, z[:, start : start + width])
            start += width
        return out


def starts(domain: Domain, n: int, generator: np.random.Generator) -> np.ndarray:
    """Varied starting values: draws, corners, sparse and multi-scale values of a box; draws of any other domain."""
    values = domain.draw(n, generator)
    base = _support(domain)
    if not isinstance(base, Box):
        return values
    low = max(float(base.low), -FAR)
    high = min(float(base.high), FAR)
    kind = generator.integers(0, 4, size=n)
    scale = 10.0 ** generator.uniform(-2, 2, n)
    wide = (-1,) + (1,) * len(base.shape)
    corner = np.where(generator.random(values.shape) < 0.5, low, high)
    if not base.bounded:
        corner = generator.standard_normal(values.shape) * scale.reshape(wide)
    zero = min(max(0.0, low), high)
    sparse = np.where(generator.random(values.shape) < 0.3, values, zero)
    shrunk = zero + (values - zero) * np.minimum(scale, 1.0).reshape(wide)
    values = np.select([(kind == k).reshape(wide) for k in (1, 2, 3)], [corner, sparse, shrunk], values)
    return np.clip(values, low, high)


def _support(domain: Domain) -> Domain:
    return domain.support if isinstance(domain, Distribution) and domain.support is not None else domain


def _width(domain: Domain) -> int:
    if domain.whole or isinstance(domain, (Permutation, Distribution)):
        return 0
    n = math.prod(domain.shape)
    return n + domain.shape[0] if isinstance(domain, PositiveDefinite) else n


def _bounds(domain: Domain) -> tuple[np.ndarray, np.ndarray]:
    n = _width(domain)
    if isinstance(domain, Box):
        return np.full(n, max(float(domain.low), -FAR)), np.full(n, min(float(domain.high), FAR))
    low, high = np.full(n, -FAR), np.full(n, FAR)
    if isinstance(domain, PositiveDefinite):
        inside = MARGIN * domain.high if domain.low < domain.high else 0.0
        low[-domain.n :], high[-domain.n :] = math.log(domain.low + inside), math.log(domain.high - inside)
    return low, high


def _encode(domain: Domain, values: np.ndarray) -> np.ndarray:
    if isinstance(domain, Simplex):
        return np.sqrt(values)
    if isinstance(domain, PositiveDefinite):
        ends, vectors = np.linalg.eigh(values)
        return np.concatenate([vectors.reshape(len(values), -1), np.log(ends)], axis=1)
    return values


def _decode(domain: Domain, z: torch.Tensor) -> torch.Tensor:
    if isinstance(domain, Sphere):
        return float(domain.radius) * z / z.norm(dim=1, keepdim=True)
    if isinstance(domain, Simplex):
        return z.square() / z.square().sum(dim=1, keepdim=True)
    if isinstance(domain, PositiveDefinite):
        q, _ = torch.linalg.qr(z[:, : -domain.n].reshape(-1, *domain.shape))
        a = (q * z[:, None, -domain.n :].exp()) @ q.mT
        return (a + a.mT) / 2
    return z.reshape(len(z), *domain.shape)
