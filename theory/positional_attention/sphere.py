r"""Attention on the sphere: a quadrature of an integral that is known in closed form.

Bonev et al. 2025 (arXiv 2505.11157). With scores :math:`\kappa\, u \cdot x` and values x the integral is
:math:`(\coth \kappa - 1/\kappa)\, u`, the mean of the von Mises-Fisher law. Gauss-Legendre latitudes reach it
spectrally. Without weights a grid of equal angles converges to the mean in d theta d phi: for flat scores and z^2 to
1/2 instead of 1/3.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from attnlab.theory.checks import check_count, check_positive
from attnlab.theory.costs.token_projections import head_projections


def mean_direction_exact(concentration: float) -> float:
    r"""Length of the mean of :math:`e^{\kappa u \cdot x}` over the sphere, :math:`\coth\kappa - 1/\kappa`."""
    check_positive(concentration=concentration)
    return 1 / math.tanh(concentration) - 1 / concentration


def gauss_legendre_grid(n_lat: int, n_lon: int) -> tuple[np.ndarray, np.ndarray]:
    """Points (n_lat n_lon, 3) row-major and quadrature weights, which sum to 4 pi."""
    check_count(n_lat=n_lat, n_lon=n_lon)
    z, w = np.polynomial.legendre.leggauss(n_lat)
    return _points(z, n_lon), np.repeat(w * 2 * math.pi / n_lon, n_lon)


def equal_angle_grid(n_lat: int, n_lon: int) -> tuple[np.ndarray, np.ndarray]:
    """Points of equal angles (cell centres) and weights sin(theta), which sum to about 4 pi."""
    check_count(n_lat=n_lat, n_lon=n_lon)
    theta = (np.arange(n_lat) + 0.5) * math.pi / n_lat
    w = np.sin(theta) * math.pi / n_lat
    return _points(np.cos(theta), n_lon), np.repeat(w * 2 * math.pi / n_lon, n_lon)


def _points(z: np.ndarray, n_lon: int) -> np.ndarray:
    phi = 2 * math.pi * np.arange(n_lon) / n_lon
    rho = np.sqrt(1 - z**2)
    parts = rho[:, None] * np.cos(phi), rho[:, None] * np.sin(phi), np.broadcast_to(z[:, None], (len(z), n_lon))
    return np.stack([part.ravel() for part in parts], 1)


def multiply_adds(sizes: Any, *, causal: bool = False) -> int:
    """Multiply-adds of one call: four projections and 2 d per pair and head."""
    return head_projections(sizes) + 2 * sizes.n_heads * sizes.n**2 * sizes.d
