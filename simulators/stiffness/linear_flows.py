"""The stiffness index of linear flows, measured on random directions and on finite steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import expm

from attnlab.simulators.ensemble.setting import checked, require_positive
from attnlab.simulators.ensemble.simulation import simulation


@dataclass(frozen=True)
class LinearSetting:
    """A normal random matrix of size ``dim`` in each replica, ``n_directions`` unit vectors, and ``steps`` of time."""

    dim: int = 6
    n_directions: int = 20_000
    steps: tuple[float, ...] = (0.01, 0.1, 1.0)
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "dim", "n_directions", "steps", "n_replicas")


@simulation(name="stiffness_linear.linear_index", block=16)
def linear_index(setting: LinearSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``matrix (replica, dim, dim)`` and ``rms (replica,)``, the root mean square of ||A u|| over random unit vectors u.

    For a random plane rotation with growth, ``eigenvalue (replica, 2)`` (real and imaginary part), ``finite (replica, step)``:
    the index of the flow between two times ``steps`` apart.
    """
    columns: dict[str, list] = {"matrix": [], "rms": [], "eigenvalue": [], "finite": []}
    for seed in seeds:
        rng = np.random.default_rng(seed)
        A, u = rng.normal(size=(setting.dim, setting.dim)), rng.normal(size=(setting.n_directions, setting.dim))
        u /= np.linalg.norm(u, axis=1, keepdims=True)
        real, imaginary = rng.uniform(-2, 1), rng.uniform(0.5, 3)
        plane, start = np.array([[real, -imaginary], [imaginary, real]]), rng.normal(size=2)
        columns["matrix"].append(A)
        columns["rms"].append(np.sqrt(np.mean(np.sum((u @ A.T) ** 2, axis=1))))
        columns["eigenvalue"].append((real, imaginary))
        columns["finite"].append(
            [np.linalg.norm(expm(plane * h) @ start - start) / h / np.linalg.norm(start) for h in setting.steps]
        )
    return {name: np.array(value) for name, value in columns.items()}
