"""Which maps from nodes to nodes bilinear and symmetric scores reach: every map tried by a linear programme."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from scipy.optimize import linprog

from attnlab.simulators.ensemble import random_streams
from attnlab.simulators.ensemble.setting import checked, require_at_least, require_positive
from attnlab.simulators.ensemble.simulation import simulation


@dataclass(frozen=True)
class MapsSetting:
    """``n_nodes`` random nodes, one more than they have channels.

    In every other replica, by a coin, nodes are mirrored so that their dependency has one sign.
    """

    n_nodes: int = 4
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_at_least(self, 2, "n_nodes")
        require_positive(self, "n_replicas")
        if self.n_nodes > 5:
            raise ValueError(
                f"n_nodes={self.n_nodes} means {self.n_nodes**self.n_nodes} linear programmes; use at most 5"
            )


@simulation(name="graph_attention.bilinear_maps", block=2)
def bilinear_maps(setting: MapsSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``reached (replica, map)``: whether some matrix A gives h_i A h_j its row maxima at the map; ``dependency (replica,
    node)``."""
    n = setting.n_nodes
    found: dict[str, list] = {"reached": [], "dependency": []}
    for stream in random_streams.generators(seeds, "data"):
        h = torch.randn(n, n - 1, generator=stream, dtype=torch.float64).numpy()
        if torch.rand((), generator=stream) < 0.5:
            h = h * np.sign(np.linalg.svd(h.T)[2][-1])[:, None]
        forms = np.einsum("ia,jb->ijab", h, h).reshape(n, n, -1)
        found["reached"].append([_feasible(forms, mapping) for mapping in product(range(n), repeat=n)])
        found["dependency"].append(np.linalg.svd(h.T)[2][-1])
    return {name: np.array(values) for name, values in found.items()}


@simulation(name="graph_attention.symmetric_maps", block=1, reads=("n_nodes",))
def symmetric_maps(setting: MapsSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``reached (replica, map)``: whether some symmetric matrix has its row maxima at the map."""
    n = setting.n_nodes
    pairs = {frozenset((i, j)) for i in range(n) for j in range(n)}
    forms = np.zeros((n, n, len(pairs)))
    for column, pair in enumerate(sorted(pairs, key=sorted)):
        for i, j in product(pair, repeat=2):
            if frozenset((i, j)) == pair:
                forms[i, j, column] = 1
    reached = [_feasible(forms, mapping) for mapping in product(range(n), repeat=n)]
    return {"reached": np.tile(reached, (len(seeds), 1))}


def _feasible(forms: np.ndarray, mapping: tuple[int, ...]) -> bool:
    """Whether some x makes ``forms[i, map(i)] . x`` exceed all ``forms[i, j] . x`` of its row by at least 1."""
    n = len(mapping)
    above = np.array([forms[i, mapping[i]] - forms[i, j] for i in range(n) for j in range(n) if j != mapping[i]])
    done = linprog(np.zeros(forms.shape[2]), A_ub=-above, b_ub=-np.ones(len(above)), bounds=(None, None))
    if done.status not in (0, 2):
        raise ArithmeticError(f"the linear programme of map {mapping} ended with status {done.status}: {done.message}")
    return done.status == 0
