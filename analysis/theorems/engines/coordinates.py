"""Free coordinates of a claim's domains, for gradient search: boxes keep their bounds, curved domains get a smooth map.

Sphere: ``z -> radius z / |z|``. Simplex: ``z -> z^2 / |z|^2`` (it reaches the faces, a softmax would not). Positive
definite: eigenvectors from the QR of a free matrix, log eigenvalues in their box. An unbounded side of a box is walked in
``sinh z``, so that steps grow with the distance; :meth:`Latent.reach` says how far. Integers and permutations have no
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

FREE = 1e6  # coordinates of curved domains stay within this
FARTHEST = 1e150  # where squares still are floats


class Latent:
    """The coordinates of all continuous variables of a claim, side by side: ``low <= z <= high``, z of shape
    (batch, n)."""

    def __init__(self, claim: Claim, reach: float = 1e2) -> None:
        self.variables = {name: support(domain) for name, domain in claim.variables.items()}
        self.moving = [name for name, domain in self.variables.items() if _width(domain)]
        self.unbounded = any(isinstance(d, Box) and not d.bounded for d in self.variables.values())
        self.reach(reach)

    def reach(self, distance: float) -> None:
        """How far from its end, or from zero, an unbounded coordinate may go."""
        bounds = [_bounds(self.variables[name], distance) for name in self.moving]
        self.low = np.concatenate([low for low, _ in bounds]) if bounds else np.zeros(0)
        self.high = np.concatenate([high for _, high in bounds]) if bounds else np.zeros(0)

    @property
    def size(self) -> int:
        """How many coordinates there are."""
        return self.low.size

    def groups(self) -> list[tuple[int, int, Box]]:
        """``(start, stop, box)`` of the coordinates that are entries of a bounded box."""
        out, start = [], 0
        for name in self.moving:
            domain = self.variables[name]
            width = _width(domain)
            if isinstance(domain, Box) and domain.bounded:
                out.append((start, start + width, domain))
            start += width
        return out

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


def support(domain: Domain) -> Domain:
    """The domain itself, or what is known to be possible under a law."""
    return domain.support if isinstance(domain, Distribution) and domain.support is not None else domain


def _width(domain: Domain) -> int:
    if domain.whole or isinstance(domain, (Permutation, Distribution)):
        return 0
    n = math.prod(domain.shape)
    return n + domain.shape[0] if isinstance(domain, PositiveDefinite) else n


def _bounds(domain: Domain, distance: float) -> tuple[np.ndarray, np.ndarray]:
    n = _width(domain)
    if isinstance(domain, Box):
        far = math.asinh(distance)
        if domain.bounded:
            return np.full(n, float(domain.low)), np.full(n, float(domain.high))
        return np.full(n, 0.0 if math.isfinite(domain.low) or math.isfinite(domain.high) else -far), np.full(n, far)
    low, high = np.full(n, -FREE), np.full(n, FREE)
    if isinstance(domain, PositiveDefinite):
        inside = MARGIN * float(domain.high) if domain.low < domain.high else 0.0
        low[-domain.n :] = math.log(float(domain.low) + inside)
        high[-domain.n :] = math.log(float(domain.high) - inside)
    return low, high


def _encode(domain: Domain, values: np.ndarray) -> np.ndarray:
    if isinstance(domain, Box) and not domain.bounded:
        if math.isfinite(domain.low):
            return np.arcsinh(values - float(domain.low))
        return np.arcsinh(float(domain.high) - values if math.isfinite(domain.high) else values)
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
    if isinstance(domain, Box) and not domain.bounded:
        z = z.sinh()
        if math.isfinite(domain.low):
            z = float(domain.low) + z
        elif math.isfinite(domain.high):
            z = float(domain.high) - z
    return z.reshape(len(z), *domain.shape)
