"""Stationary points of the population loss of linear attention, found from random starts without any flow.

Newton-like least squares on the gradient (Levenberg-Marquardt) converges to saddles as readily as to minima.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import least_squares

from attnlab.simulators.ensemble.layout import Layout
from attnlab.simulators.ensemble.monitor import current
from attnlab.simulators.ensemble.random_streams import generators
from attnlab.simulators.ensemble.setting import checked, require_one_of, require_positive
from attnlab.simulators.ensemble.simulation import simulation
from attnlab.simulators.linear_attention.model import LinearAttention, MomentTask
from attnlab.simulators.linear_attention.moments import population_moments


@dataclass(frozen=True)
class StationarySetting:
    """As ``linear_attention.Setting``; a replica is one random start, its parameters normal with root-mean-square norm
    ``init_scale`` a tensor. ``max_evaluations``: of the gradient with its Jacobian; a start that needs more is given up."""

    spectrum: tuple[float, ...] = (0.4, 0.3, 0.2, 0.1)
    n_context: int = 31
    kind: str = "separate"
    n_heads: int = 3
    rank: int = 1
    init_scale: float = 1.5
    max_evaluations: int = 200
    n_replicas: int = 128

    def __post_init__(self) -> None:
        checked(self)
        require_positive(
            self, "spectrum", "n_context", "n_heads", "rank", "init_scale", "max_evaluations", "n_replicas"
        )
        require_one_of(self, "kind", ("merged", "separate"))


@simulation(name="linear_attention_stationary.stationary_points", block=32)
def stationary_points(
    setting: StationarySetting, seeds: Sequence[np.random.SeedSequence], device: str
) -> dict[str, np.ndarray]:
    """Where the search from each start ends.

    Returns ``(replica,)``: ``loss``, ``gradient`` (its norm), ``size`` (norm of all parameters), and ``matrix (replica, dim,
    dim)``. A point with a gradient at rounding level is stationary; one without is where the norm of the gradient has a
    minimum above zero.
    """
    d = len(setting.spectrum)
    model = LinearAttention(setting.kind, d, setting.n_heads, setting.rank, init_scale=setting.init_scale)
    task = MomentTask(population_moments(setting.spectrum, setting.n_context))
    layout = Layout(model.shapes)
    start = model.initialise(generators(seeds, "parameters"), torch.float64)
    rows = layout.join(start)

    cross, gram = task.moments.cross[0].numpy(), task.moments.gram[0].numpy()

    def gradient(z: np.ndarray) -> np.ndarray:
        return loss_gradient(setting, cross, gram, z)

    found: dict[str, list] = {"loss": [], "gradient": [], "size": [], "matrix": []}
    for row in rows.numpy():
        end = least_squares(
            gradient, row, method="lm", xtol=1e-15, ftol=1e-15, gtol=1e-15, max_nfev=setting.max_evaluations * row.size
        )
        point = layout.split(torch.from_numpy(end.x[None]))
        found["loss"].append(float(task.loss(model, point, None)[0]))
        found["gradient"].append(float(np.linalg.norm(end.fun)))
        found["size"].append(float(np.linalg.norm(end.x)))
        found["matrix"].append(model.matrix(point)[0].numpy())
        current().progress(len(found["loss"]), len(rows))
    return {name: np.array(values) for name, values in found.items()}


def loss_gradient(setting: StationarySetting, cross: np.ndarray, gram: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Half the gradient of the population loss by all parameters of one replica, in the order of ``LinearAttention.shapes``."""
    d, H, R = len(setting.spectrum), setting.n_heads, setting.rank
    v = z[:H]
    if setting.kind == "merged":
        U = z[H:].reshape(H, d * d)
        left = gram @ (v @ U) - cross  # by the weights of the linear function
        return np.concatenate([U @ left, np.outer(v, left).ravel()])
    K, Q = z[H:].reshape(2, H, R, d)
    left = (gram @ np.einsum("h,hri,hrj->ij", v, K, Q).ravel() - cross).reshape(d, d)
    by_k, by_q = Q @ left.T, K @ left
    return np.concatenate(
        [(K * by_k).sum((1, 2)), (v[:, None, None] * by_k).ravel(), (v[:, None, None] * by_q).ravel()]
    )
