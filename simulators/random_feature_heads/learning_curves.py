"""Regression with infinitely many random heads: kernel ridge regression on nested samples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from attnlab.simulators.ensemble.random_streams import generators
from attnlab.simulators.ensemble.setting import checked, require_at_least, require_one_of, require_positive
from attnlab.simulators.ensemble.simulation import simulation
from attnlab.simulators.random_feature_heads.gram import gram
from attnlab.simulators.random_feature_heads.inputs import (
    KINDS,
    random_rotations,
    require_targets,
    rotated_labels,
    tokens,
)


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
