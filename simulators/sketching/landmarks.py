"""The Gaussian kernel, its landmarks and Newton's inverse, run: residuals, gradients, norms, what is left of the kernel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from attnlab.kernels.operators.sketching.nystrom import Nystrom, gaussian_kernel
from attnlab.simulators.ensemble.setting import checked, require_at_least, require_positive
from attnlab.simulators.ensemble.simulation import simulation


@dataclass(frozen=True)
class NewtonSetting:
    """``n_landmarks`` random landmarks of ``dim``, standard deviation ``token_std``; ``factor`` of the start; ``n_iterations``.

    ``ring``: landmarks on a regular polygon instead, whose kernel is circulant.
    """

    n_landmarks: int = 16
    dim: int = 8
    token_std: float = 1.0
    factor: float = 1.8
    n_iterations: int = 20
    ring: bool = False
    n_replicas: int = 8

    def __post_init__(self) -> None:
        checked(self)
        require_at_least(self, 2, "n_landmarks", "dim")
        require_positive(self, "token_std", "factor", "n_iterations", "n_replicas")


@dataclass(frozen=True)
class KernelSetting:
    """``n_tokens`` Gaussian tokens of ``dim`` with standard deviation ``token_std``; ``n_landmarks``."""

    n_tokens: int = 256
    dim: int = 8
    token_std: float = 0.5
    n_landmarks: int = 16
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "n_tokens", "dim", "token_std", "n_landmarks", "n_replicas")


@simulation(
    name="sketching_landmarks.newton",
    block=8,
    reads=("n_landmarks", "dim", "token_std", "factor", "n_iterations", "ring"),
)
def newton(setting: NewtonSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``residual (replica, t)``: spectral norm of 1 - A X_t for t = 0 ... n_iterations; ``matrix`` A; ``gradient``: of a random
    linear function of the last iterate, through all iterations, ``pull``: that function's matrix, ``inverse``: the iterate."""
    made: dict[str, list] = {name: [] for name in ("residual", "matrix", "gradient", "pull", "inverse")}
    for seed in seeds:
        rng = np.random.default_rng(seed)
        A = gaussian_kernel(*2 * [torch.tensor(_landmarks(setting, rng))]).requires_grad_()
        unit = torch.eye(len(A), dtype=A.dtype)
        residuals = []
        for t in range(setting.n_iterations + 1):
            X = Nystrom(n_landmarks=len(A), n_iterations=t, factor=setting.factor).newton(A)
            residuals.append(torch.linalg.matrix_norm(unit - A @ X, 2).item())
        pull = torch.tensor(rng.standard_normal(A.shape))
        gradient = torch.autograd.grad((X * pull).sum(), A)[0]
        found = (np.array(residuals), A.detach().numpy(), gradient.numpy(), pull.numpy(), X.detach().numpy())
        for name, value in zip(made, found, strict=True):
            made[name].append(value)
    return {name: np.array(values) for name, values in made.items()}


READS = ("n_tokens", "dim", "token_std", "n_landmarks")


@simulation(name="sketching_landmarks.kernels", block=4, reads=READS)
def kernels(setting: KernelSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Numbers per replica of S: ``least`` eigenvalue, ``diagonal`` (largest distance from 1), ``asymmetry``, ``norm`` over n,
    ``normalised``: spectral norm of D^{-1/2} S D^{-1/2}; ``skew``: largest entry of S / D minus its transpose."""
    names = ("least", "diagonal", "asymmetry", "norm", "normalised", "skew")
    made: dict[str, list] = {name: [] for name in names}
    for seed in seeds:
        q = setting.token_std * np.random.default_rng(seed).standard_normal((setting.n_tokens, setting.dim))
        S = gaussian_kernel(*2 * [torch.tensor(q)]).numpy()
        values, D = np.linalg.eigvalsh(S), S.sum(1)
        root = np.sqrt(D)
        found = (
            values[0],
            np.abs(np.diag(S) - 1).max(),
            np.abs(S - S.T).max(),
            values[-1] / setting.n_tokens,
            np.linalg.eigvalsh(S / root / root[:, None])[-1],
            np.abs(S / D[:, None] - S / D).max(),
        )
        for name, value in zip(names, found, strict=True):
            made[name].append(value)
    return {name: np.array(values) for name, values in made.items()}


@simulation(name="sketching_landmarks.rows", block=4, reads=("n_tokens", "dim", "token_std"))
def rows(setting: KernelSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``rows (replica, n, n)``: the kernel over its row sums; ``tokens (replica, n, d)``."""
    tokens = [
        setting.token_std * np.random.default_rng(seed).standard_normal((setting.n_tokens, setting.dim))
        for seed in seeds
    ]
    S = [gaussian_kernel(*2 * [torch.tensor(q)]).numpy() for q in tokens]
    return {"rows": np.array([each / each.sum(1, keepdims=True) for each in S]), "tokens": np.array(tokens)}


@simulation(name="sketching_landmarks.left_over", block=4, reads=READS)
def left_over(setting: KernelSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """What C A^{-1} C^T leaves of S, per replica, for landmarks that are ``token`` or ``pooled`` (means of consecutive tokens).

    ``least_KIND``: least eigenvalue of S minus its approximation; ``trace_KIND``: its trace; ``kernel`` S.
    """
    made: dict[str, list] = {"kernel": []}
    for seed in seeds:
        q = setting.token_std * np.random.default_rng(seed).standard_normal((setting.n_tokens, setting.dim))
        S = gaussian_kernel(*2 * [torch.tensor(q)]).numpy()
        pooled = np.stack([part.mean(0) for part in np.array_split(q, setting.n_landmarks)])
        made["kernel"].append(S)
        for kind, landmarks in (("token", q[: setting.n_landmarks]), ("pooled", pooled)):
            C = gaussian_kernel(torch.tensor(q), torch.tensor(landmarks)).numpy()
            A = gaussian_kernel(*2 * [torch.tensor(landmarks)]).numpy()
            rest = S - C @ np.linalg.solve(A, C.T)
            made.setdefault(f"least_{kind}", []).append(np.linalg.eigvalsh((rest + rest.T) / 2)[0])
            made.setdefault(f"trace_{kind}", []).append(np.trace(rest))
    return {name: np.array(values) for name, values in made.items()}


def _landmarks(setting: NewtonSetting, rng: np.random.Generator) -> np.ndarray:
    if not setting.ring:
        return setting.token_std * rng.standard_normal((setting.n_landmarks, setting.dim))
    turn = 2 * np.pi * np.arange(setting.n_landmarks) / setting.n_landmarks
    points = np.zeros((setting.n_landmarks, setting.dim))
    points[:, 0], points[:, 1] = np.cos(turn), np.sin(turn)
    return setting.token_std * points
