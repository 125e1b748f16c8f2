r"""The stiffness index on a Kepler orbit, exactly, and the eigenvalues that limit an explicit solver on van der Pol's equation.

State u = (position, velocity) in units in which the semi-major axis and the gravitational parameter are 1 (period 2 pi).
With E the eccentric anomaly, r = 1 - e cos E and dt = r dE,

.. math:: S = \frac{\|\dot u\|}{\|u\|} = \sqrt{\frac{v^2 + r^{-4}}{r^2 + v^2}}, \qquad v^2 = 2/r - 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def kepler_index(eccentricity: float, anomaly: ArrayLike) -> np.ndarray:
    """Index at the eccentric anomaly E (radians), per unit of time; 1 on the circle."""
    _check(eccentricity)
    r = 1 - eccentricity * np.cos(np.asarray(anomaly, dtype=np.float64))
    v2 = 2 / r - 1
    return np.sqrt((v2 + r**-4) / (r**2 + v2))


def kepler_state(eccentricity: float, anomaly: ArrayLike) -> np.ndarray:
    """State ``(..., 4)``: position in the plane from the focus, pericentre on the positive first axis, and velocity."""
    _check(eccentricity)
    E, e = np.asarray(anomaly, dtype=np.float64), eccentricity
    r, minor = 1 - e * np.cos(E), (1 - e**2) ** 0.5
    return np.stack([np.cos(E) - e, minor * np.sin(E), -np.sin(E) / r, minor * np.cos(E) / r], axis=-1)


def kepler_burst_share(eccentricity: float, n_points: int = 200_000, relative: bool = True) -> float:
    r"""Smallest share of the period in which the solution makes half of its relative change :math:`\int S dt`.

    1/2 on the circle; tends to 0 as e -> 1. The index falls with the distance, so these times lie around pericentre. With
    ``relative=False`` the same for the absolute change :math:`\int \|\dot u\| dt`. By the midpoint rule in E, error of order
    1 / n_points.
    """
    E = (np.arange(n_points) + 0.5) * np.pi / n_points
    dt = 1 - eccentricity * np.cos(E)
    speed = kepler_index(eccentricity, E)
    if not relative:
        speed = speed * np.linalg.norm(kepler_state(eccentricity, E), axis=-1)
    change = np.cumsum(speed * dt)
    half = int(np.searchsorted(change, change[-1] / 2))
    return float(dt[: half + 1].sum() / dt.sum())


def van_der_pol_largest_eigenvalue(mu: ArrayLike, x: ArrayLike, v: ArrayLike) -> np.ndarray:
    r"""Largest |eigenvalue| of the Jacobian of :math:`\dot x = v, \dot v = \mu (1 - x^2) v - x`, per unit of time."""
    mu, x, v = (np.asarray(each, dtype=np.float64) for each in (mu, x, v))
    trace, determinant = mu * (1 - x**2), 2 * mu * x * v + 1
    root = np.sqrt((trace**2 / 4 - determinant).astype(np.complex128))
    return np.maximum(np.abs(trace / 2 + root), np.abs(trace / 2 - root))


def _check(eccentricity: float) -> None:
    if not 0 <= eccentricity < 1:
        raise ValueError(f"eccentricity must lie in [0, 1), got {eccentricity!r}")
