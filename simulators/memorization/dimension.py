"""How many directions a layer with one real output can move its answers in: ranks of Jacobians at random parameters.

The layer is that of :mod:`attnlab.simulators.memorization.training` on one shared context, in float64 with Gaussian
examples. Near generic parameters its answers to T queries form a surface whose dimension is the rank of the Jacobian.
Mahdavi et al. (arXiv 2306.02010).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from attnlab.simulators.ensemble import random_streams
from attnlab.simulators.ensemble.setting import checked, require_positive
from attnlab.simulators.ensemble.simulation import simulation
from attnlab.simulators.memorization.training import Layer


@dataclass(frozen=True)
class DimensionSetting:
    """``layers``: cells (d, n, H, d_h). ``gain``: factor on the initial key and query weights. ``n_examples``: queries."""

    layers: tuple[tuple[int, int, int, int], ...] = (
        (3, 2, 1, 2),
        (4, 3, 2, 4),
        (3, 3, 3, 2),
        (2, 2, 4, 1),
        (4, 4, 1, 3),
        (5, 1, 2, 2),
    )
    gain: float = 1.5
    n_examples: int = 60
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "layers", "gain", "n_examples", "n_replicas")


@simulation(name="memorization_dimension.jacobian_ranks", block=8, reads=("layers", "gain", "n_examples"))
def jacobian_ranks(
    setting: DimensionSetting, seeds: Sequence[np.random.SeedSequence], device: str
) -> dict[str, np.ndarray]:
    """Ranks of Jacobians, ``(replica, cell)``, and the parameters that they are taken by.

    ``rank``: singular values above 1e-14 T of the largest, T queries. ``n_parameters``. ``gap``: the least singular value that
    counts over the largest that does not (infinite if all count).
    """
    rows = [
        [_cell(setting, stream, *cell) for cell in setting.layers]
        for stream in random_streams.generators(seeds, "examples")
    ]
    return {name: np.array([[cell[name] for cell in row] for row in rows]) for name in rows[0][0]}


def _cell(
    setting: DimensionSetting, stream: torch.Generator, dim: int, n: int, n_heads: int, head_dim: int
) -> dict[str, float]:
    model = Layer(dim, n, n_heads, head_dim, 1)
    parameters = model.initialise([stream], torch.float64)
    for name in ("W_Q", "W_K"):
        parameters[name] *= setting.gain
    queries = torch.randn(1, setting.n_examples, dim, generator=stream, dtype=torch.float64)
    context = torch.randn(1, n, dim, generator=stream, dtype=torch.float64)
    names, values = list(parameters), tuple(parameters.values())
    jacobians = torch.autograd.functional.jacobian(
        lambda *given: model(dict(zip(names, given, strict=True)), queries, context)[0, :, 0], values
    )
    J = torch.cat([each.reshape(setting.n_examples, -1) for each in jacobians], dim=1)
    values = torch.linalg.svdvals(J).numpy()
    counted = values > 1e-14 * setting.n_examples * values[0]
    rest = values[~counted].max(initial=0.0)
    return {
        "rank": int(counted.sum()),
        "n_parameters": J.shape[1],
        "gap": values[counted][-1] / rest if rest > 0 else np.inf,
    }
