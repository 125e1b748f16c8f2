"""Slopes of expected weights in q . k, by automatic differentiation of the weight itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from attnlab.simulators.ensemble.setting import checked, require_inside, require_positive
from attnlab.simulators.ensemble.simulation import simulation


@dataclass(frozen=True)
class SlopeSetting:
    """``inners``: values of q . k; ``bits``: numbers of bits."""

    inners: tuple[float, ...] = (-0.9, -0.5, 0.0, 0.4421, 0.8, 0.99)
    bits: tuple[int, ...] = (1, 2, 4, 8, 16)
    n_replicas: int = 1

    def __post_init__(self) -> None:
        checked(self)
        require_inside(self, -1, 1, "inners")
        require_positive(self, "bits", "n_replicas")


@simulation(name="hashing_slopes.slopes", block=1, reads=("inners", "bits"))
def slopes(setting: SlopeSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``weight`` and ``slope (replica, bits, inner)`` of (1 - arccos(q . k) / pi)^tau."""
    x = torch.tensor(setting.inners, dtype=torch.float64, requires_grad=True)
    weight, slope = [], []
    for bits in setting.bits:
        w = (1 - torch.arccos(x) / torch.pi) ** bits
        weight.append(w.detach().numpy())
        slope.append(torch.autograd.grad(w.sum(), x)[0].numpy())
    made = {"weight": np.array(weight), "slope": np.array(slope)}
    return {name: np.repeat(values[None], len(seeds), axis=0) for name, values in made.items()}
