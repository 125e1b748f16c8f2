"""Regression with few random heads and trained values, beside its limit of infinitely many heads on the same data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from attnlab.simulators.ensemble.random_streams import generators
from attnlab.simulators.ensemble.setting import checked, require_at_least, require_one_of, require_positive
from attnlab.simulators.ensemble.simulation import simulation
from attnlab.simulators.random_feature_heads.features import features, head_weights
from attnlab.simulators.random_feature_heads.gram import gram
from attnlab.simulators.random_feature_heads.inputs import (
    KINDS,
    random_rotations,
    require_targets,
    rotated_labels,
    tokens,
)


@dataclass(frozen=True)
class HeadsSetting:
    """Regression with few heads on ``n_samples`` inputs; the first heads of the largest set are the smaller sets."""

    kind: str = "attention"
    dim: int = 8
    n_keys: int = 4
    n_samples: int = 180
    n_test: int = 500
    heads: tuple[int, ...] = (5, 10, 20, 40, 80, 160, 320, 640)
    ridge: float = 0.01
    targets: tuple[str, ...] = ("b1", "b2", "s1", "s2")
    n_copies: int = 16
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_one_of(self, "kind", KINDS)
        require_targets(self.targets)
        require_positive(self, "dim", "n_keys", "heads", "ridge", "n_copies", "n_replicas")
        require_at_least(self, 2, "n_samples", "n_test")


@simulation(
    name="random_feature_heads.few_heads",
    block=4,
    reads=("kind", "dim", "n_keys", "n_samples", "n_test", "heads", "ridge", "targets", "n_copies"),
)
def few_heads(setting: HeadsSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Test errors over the test sample's variance with M heads, ``(replica, heads, target)``, and with infinitely many.

    Errors are means over ``n_copies`` of every target (:func:`rotated_labels`).

    ``ridgeless``: least squares, of least norm where it is not unique. ``ridge``: with the ridge on the diagonal of the Gram
    matrix of the features divided by sqrt(M). ``limit (replica, target)``: the same ridge with the kernel of infinitely
    many heads, on the same data.
    """
    out: dict[str, list] = {"ridgeless": [], "ridge": [], "limit": []}
    for data, heads in zip(generators(seeds, "data"), generators(seeds, "heads"), strict=True):
        train, test = (tokens(data, n, setting.n_keys, setting.dim) for n in (setting.n_samples, setting.n_test))
        rotations = random_rotations(data, setting.n_copies, setting.dim, setting.kind)
        y, y_test = (rotated_labels(x, setting.targets, rotations).flatten(1) for x in (train, test))
        W = head_weights(heads, max(setting.heads), setting.dim, setting.kind, setting.n_keys)
        phi, phi_test = (features(*x, W, setting.kind) for x in (train, test))
        scale, eye = y_test.var(0, correction=0), torch.eye(setting.n_samples, dtype=torch.float64)

        def error(predicted: Tensor, y_test: Tensor = y_test, scale: Tensor = scale) -> Tensor:
            ratio = ((predicted - y_test) ** 2).mean(0) / scale
            return ratio.unflatten(0, (setting.n_copies, -1)).mean(0)

        ridgeless, ridge = [], []
        for m in setting.heads:
            A, B = phi[:, :m].flatten(1) / math.sqrt(m), phi_test[:, :m].flatten(1) / math.sqrt(m)
            ridgeless.append(error(B @ torch.linalg.lstsq(A, y, driver="gelsd").solution))
            ridge.append(error(B @ (A.T @ torch.linalg.solve(A @ A.T + setting.ridge * eye, y))))
        K, K_test = (gram(x, train, setting.kind) for x in (train, test))
        out["ridgeless"].append(torch.stack(ridgeless))
        out["ridge"].append(torch.stack(ridge))
        out["limit"].append(error(K_test @ torch.linalg.solve(K + setting.ridge * eye, y)))
    return {name: torch.stack(rows).numpy() for name, rows in out.items()}
