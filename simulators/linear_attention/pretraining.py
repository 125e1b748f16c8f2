r"""Ridge regression of the weights of linear attention on finitely many sequences and tasks, and its exact population errors.

Lu, Letey, Zavatone-Veth, Maiti, Pehlevan 2025 (arXiv 2405.11751). Covariates ``x ~ N(0, I / d)``; k task vectors on the sphere
of radius sqrt(d); labels ``y = w^T x`` plus noise of variance rho; prediction ``<Gamma, H>`` with

.. math:: H = x_q\, [a^T,\ g], \qquad a = \frac{d}{l} \sum_i y_i x_i, \quad g = \frac1l \sum_i y_i^2 .

Given the task, ``a`` and ``g`` are drawn without the l covariates: with u_i the component of x_i along w, the sums of products
of u and noise are a Wishart matrix (two chi and one normal number), and the part of ``a`` across w is normal given them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from attnlab.simulators.ensemble.monitor import current
from attnlab.simulators.ensemble.random_streams import stream
from attnlab.simulators.ensemble.setting import checked, require_at_least, require_positive
from attnlab.simulators.ensemble.simulation import simulation


@dataclass(frozen=True)
class PretrainingSetting:
    """Sizes ``dims`` (d), ``l = alpha d`` examples, ``k = kappa d`` tasks, ``n = tau d^2`` sequences for each tau in ``taus``.

    ``sequence_power``: n is ``tau d^sequence_power``. ``ridge``: lambda of the penalty ``(n / d) lambda ||Gamma||^2``; the
    default is small enough to be none. ``infinite_tasks``: a new task for every sequence, normal, kappa not used.
    """

    dims: tuple[int, ...] = (8, 16, 32)
    alpha: float = 1.0
    kappa: float = 0.5
    taus: tuple[float, ...] = (0.5, 2.0)
    noise_variance: float = 0.01
    ridge: float = 1e-9
    sequence_power: float = 2.0
    infinite_tasks: bool = False
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "dims", "alpha", "kappa", "taus", "ridge", "sequence_power", "n_replicas")
        require_at_least(self, 0, "noise_variance")
        if round(min(self.dims) * self.alpha) < 1 or round(min(self.dims) * self.kappa) < 1:
            raise ValueError(
                f"dims={self.dims!r} with alpha={self.alpha!r}, kappa={self.kappa!r} give no example or no task; "
                "use larger dims"
            )


@simulation(name="linear_attention_pretraining.pretrain", block=8)
def pretrain(
    setting: PretrainingSetting, seeds: Sequence[np.random.SeedSequence], device: str
) -> dict[str, np.ndarray]:
    """Fit on each replica's own sequences; sets of larger tau contain those of smaller.

    Returns ``(replica, size, tau)``: ``icl_error``, ``idg_error`` (population errors, noise of the query included) and
    ``n_sequences``.
    """
    shape = (len(seeds), len(setting.dims), len(setting.taus))
    found = {"icl_error": np.zeros(shape), "idg_error": np.zeros(shape), "n_sequences": np.zeros(shape, dtype=np.int64)}
    for row, seed in enumerate(seeds):
        rng = np.random.default_rng(stream(seed, "data"))
        for column, d in enumerate(setting.dims):
            length, n_tasks = max(1, round(setting.alpha * d)), max(1, round(setting.kappa * d))
            counts = [max(1, round(tau * d**setting.sequence_power)) for tau in setting.taus]
            tasks = _on_sphere(rng.normal(size=(max(counts) if setting.infinite_tasks else n_tasks, d)))
            H, y = features(tasks, max(counts), length, setting.noise_variance, rng)
            for index, n in enumerate(counts):
                Gamma = ridge_weights(H[:n], y[:n], setting.ridge * n / d).numpy().reshape(d, d + 1)
                errors = population_errors(
                    Gamma, None if setting.infinite_tasks else tasks, length, setting.noise_variance
                )
                found["icl_error"][row, column, index], found["idg_error"][row, column, index] = errors
                found["n_sequences"][row, column, index] = n
        current().progress(row + 1, len(seeds))
    return found


def features(
    tasks: np.ndarray, n: int, length: int, noise_variance: float, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Features ``(n, d (d + 1))`` and labels ``(n,)`` of n sequences with tasks ``(k, d)`` of norm sqrt(d), one each."""
    k, d = tasks.shape
    w = tasks[rng.integers(k, size=n)] if k != n else tasks
    size = np.linalg.norm(w, axis=1)
    along = w / size[:, None]
    # Cholesky factor of the 2 x 2 Wishart matrix of (u, noise): sums over the context of u u, u e, e e
    first, mixed = rng.chisquare(length, n), rng.normal(size=n)
    second = rng.chisquare(length - 1, n) if length > 1 else np.zeros(n)
    uu, ue = first / d, np.sqrt(first * noise_variance / d) * mixed
    ee = noise_variance * (mixed**2 + second)
    yy, yu = size**2 * uu + 2 * size * ue + ee, size * uu + ue
    across = rng.normal(size=(n, d))
    across -= (across * along).sum(1, keepdims=True) * along
    a = d / length * (along * yu[:, None] + across * np.sqrt(yy / d)[:, None])
    query = rng.normal(size=(n, d)) / d**0.5
    y = (query * w).sum(1) + noise_variance**0.5 * rng.normal(size=n)
    H = query[:, :, None] * np.concatenate([a, yy[:, None] / length], axis=1)[:, None]
    return torch.from_numpy(H.reshape(n, -1)), torch.from_numpy(y)


def ridge_weights(H: Tensor, y: Tensor, penalty: float) -> Tensor:
    """The minimiser of ``||y - H g||^2 + penalty ||g||^2``, by the smaller of the two normal equations."""
    n, p = H.shape
    if n < p:
        K = H @ H.mT
        K.diagonal().add_(penalty)
        return H.mT @ torch.cholesky_solve(y[:, None], torch.linalg.cholesky(K))[:, 0]
    C = H.mT @ H
    C.diagonal().add_(penalty)
    return torch.cholesky_solve((H.mT @ y)[:, None], torch.linalg.cholesky(C))[:, 0]


def population_errors(
    Gamma: np.ndarray, tasks: np.ndarray | None, length: int, noise_variance: float
) -> tuple[float, float]:
    r"""ICL and IDG error of weights ``Gamma = [A | c]``, exact at every size: moments of a and g given the task are polynomials.

    .. math:: e = 1 + \rho - \tfrac2d [\mathrm{tr}(A R) + V c^T \mu] + \tfrac1d \bigl\{ \mathrm{tr}(A B A^T)
              + 2 V (1 + \tfrac2l) c^T A \mu + \overline{V^2} (1 + \tfrac2l) \|c\|^2 \bigr\}, \quad
              B = \tfrac{d}{l} V I + (1 + \tfrac1l) R,

    with R, mu second moment and mean of the tasks, V = 1 + rho the variance of labels. For new normal tasks the mean square of V
    is ``V^2 + 2 / d``, for V varies with the norm of the task. ``tasks=None``: a new normal task in both.
    """
    d, V = len(Gamma), 1 + noise_variance
    A, c = Gamma[:, :-1], Gamma[:, -1]

    def error(R: np.ndarray, mean: np.ndarray, square: float) -> float:
        B = d / length * V * np.eye(d) + (1 + 1 / length) * R
        quadratic = np.sum((A @ B) * A) + 2 * V * (1 + 2 / length) * c @ A @ mean + square * (1 + 2 / length) * c @ c
        return float(V - 2 / d * (np.sum(A * R) + V * c @ mean) + quadratic / d)

    new = error(np.eye(d), np.zeros(d), V**2 + 2 / d)
    return new, new if tasks is None else error(tasks.T @ tasks / len(tasks), tasks.mean(0), V**2)


def _on_sphere(rows: np.ndarray) -> np.ndarray:
    return rows * (rows.shape[1] ** 0.5 / np.linalg.norm(rows, axis=1, keepdims=True))
