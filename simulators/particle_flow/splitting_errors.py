r"""Random interacting particle systems, and the errors of splitting schemes measured on them.

Lu, Li, He, Sun, Dong, Qin, Wang and Liu (arXiv 1906.02762): a Transformer is a scheme for the flow of n particles, attention
the interaction and the feed-forward network the force on each. The scheme's error is its distance to a Runge-Kutta
solution with many more steps; nothing here knows which order theory expects.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from attnlab.simulators.ensemble.monitor import current
from attnlab.simulators.ensemble.random_streams import generators
from attnlab.simulators.ensemble.setting import checked, require_at_least, require_one_of, require_positive
from attnlab.simulators.ensemble.simulation import simulation

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "gelu": torch.nn.functional.gelu,
    "relu": torch.relu,
}

SPLITTINGS: dict[str, tuple[tuple[str, float], ...]] = {
    "transformer": (("F", 1.0), ("G", 1.0)),
    "reversed": (("G", 1.0), ("F", 1.0)),
    "macaron": (("G", 0.5), ("F", 1.0), ("G", 0.5)),
    "macaron_swapped": (("F", 0.5), ("G", 1.0), ("F", 0.5)),
    "parallel": (("FG", 1.0),),
}
"""Which field acts for which part of the step, in turn."""

SCHEMES = (
    "transformer exact",
    "reversed exact",
    "macaron exact",
    "macaron_swapped exact",
    "transformer midpoint",
    "macaron midpoint",
    "parallel midpoint",
    "transformer euler",
    "macaron euler",
    "macaron_swapped euler",
    "parallel euler",
)
"""Splittings with their sub-flows that are measured by default."""

SUB_FLOWS = ("exact", "midpoint", "euler")

_FINEST = 64  # Runge-Kutta steps per unit of time of an "exact" sub-flow, at least 2 in each

Weights = dict[str, Tensor]
Field = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Setting:
    """``depths``: numbers L of layers, with step size ``horizon / L`` each. ``schemes``: splitting and sub-flow of those to
    measure, such as ``"macaron euler"``. ``reference_steps`` of the reference solution. ``normalisation``: ``"inside"`` puts a
    layer normalisation (no parameters) before attention and before the feed-forward network, inside F and G.

    One replica is one random system (weights and initial state): queries, keys, values, outputs and first feed-forward
    matrix have entries of variance 1/dim, the second 1/hidden, biases have standard deviation 0.1, particles are standard
    normal. With one head there is no output matrix.
    """

    n_particles: int = 8
    dim: int = 4
    hidden: int = 16
    n_heads: int = 1
    activation: str = "tanh"
    horizon: float = 1.0
    depths: tuple[int, ...] = (4, 8, 16, 32, 64, 128, 256)
    schemes: tuple[str, ...] = SCHEMES
    reference_steps: int = 2_048
    normalisation: str = "none"
    n_replicas: int = 24

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "n_particles", "dim", "hidden", "n_heads", "horizon", "depths", "n_replicas")
        require_at_least(self, 64, "reference_steps")
        require_one_of(self, "activation", tuple(ACTIVATIONS))
        require_one_of(self, "normalisation", ("none", "inside"))
        if self.dim % self.n_heads:
            raise ValueError(f"n_heads={self.n_heads!r} does not divide dim={self.dim}; use a divisor")
        for scheme in self.schemes:
            splitting, _, sub_flow = scheme.partition(" ")
            if splitting not in SPLITTINGS or sub_flow not in SUB_FLOWS:
                raise ValueError(
                    f"schemes names {scheme!r}; use one of {', '.join(SPLITTINGS)}, a space, and one of "
                    f"{', '.join(SUB_FLOWS)}"
                )


@simulation(name="particle_flow.splitting_errors", block=32, devices=("cpu", "cuda"))
def splitting_errors(setting: Setting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Errors of splitting schemes after one step and at the horizon.

    Returns ``depths``, ``steps`` (step sizes); ``"local error of <scheme>"`` and ``"global error of <scheme>"``, shape
    ``(replica, depth, n, d)``, exact minus scheme; the systems (``W_Q`` ... ``b_2``), their ``start``, and ``end``, the
    solution at the horizon.
    """
    weights, X = draw(setting, seeds, device)
    fields = _fields(weights, setting.n_heads, setting.activation, setting.normalisation)
    end = runge_kutta(fields["FG"], X, setting.horizon, setting.reference_steps)
    depths = setting.depths
    shape = (len(seeds), len(depths), *X.shape[1:])
    found = {
        f"{which} error of {scheme}": np.zeros(shape) for scheme in setting.schemes for which in ("local", "global")
    }
    for column, depth in enumerate(depths):
        step = setting.horizon / depth
        after = runge_kutta(fields["FG"], X, step, max(16, setting.reference_steps // depth))
        for scheme in setting.schemes:
            splitting, sub_flow = scheme.split()
            Y = X
            for layer in range(depth):
                Y = split_step(fields, Y, step, SPLITTINGS[splitting], sub_flow)
                if layer == 0:
                    found[f"local error of {scheme}"][:, column] = (after - Y).cpu().numpy()
            found[f"global error of {scheme}"][:, column] = (end - Y).cpu().numpy()
        current().progress(column + 1, len(depths))
    return (
        _tiled(seeds, depths, setting.horizon)
        | found
        | as_arrays(weights)
        | {"start": X.cpu().numpy(), "end": end.cpu().numpy()}
    )


def draw(setting: Setting, seeds: Sequence[np.random.SeedSequence], device: str = "cpu") -> tuple[Weights, Tensor]:
    """Weights ``(replica, ...)`` and states ``(replica, n, d)``, float64, replica r from seed r only."""
    n, d, m = setting.n_particles, setting.dim, setting.hidden
    shapes = {
        "W_Q": (d, d, d),
        "W_K": (d, d, d),
        "W_V": (d, d, d),
        "W_O": (d, d, d),
        "W_1": (d, d, m),
        "b_1": (100, m),
        "W_2": (m, m, d),
        "b_2": (100, d),
        "start": (1, n, d),
    }  # each divided by the root of its first number
    streams = generators(seeds, "system")
    drawn = {
        name: torch.stack(
            [torch.empty(shape, dtype=torch.float64).normal_(generator=stream) / fan**0.5 for stream in streams]
        ).to(device)
        for name, (fan, *shape) in shapes.items()
    }
    if setting.n_heads == 1:
        drawn["W_O"] = torch.eye(d, dtype=torch.float64, device=device).repeat(len(seeds), 1, 1)
    return drawn, drawn.pop("start")


def interaction(weights: Weights, X: Tensor, n_heads: int = 1) -> Tensor:
    """Multi-head self-attention F(X) of particles ``(replica, ..., n, d)``."""
    Q, K, V = (times(X, weights[name]).unflatten(-1, (n_heads, -1)).transpose(-3, -2) for name in ("W_Q", "W_K", "W_V"))
    P = torch.softmax(Q @ K.mT / Q.shape[-1] ** 0.5, dim=-1)  # (replica, ..., head, n, n)
    return times((P @ V).transpose(-3, -2).reshape(X.shape), weights["W_O"])


def convection(weights: Weights, X: Tensor, activation: str = "tanh") -> Tensor:
    """The feed-forward network G(X), row by row; without ``b_2`` it has no output bias."""
    return times(ACTIVATIONS[activation](times(X, weights["W_1"], weights["b_1"])), weights["W_2"], weights.get("b_2"))


def times(X: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """X ``(replica, ..., k)`` times a matrix ``(replica, k, l)`` plus a bias ``(replica, l)``: one product a replica."""
    rows = X.reshape(len(X), -1, X.shape[-1])
    out = rows @ weight if bias is None else torch.baddbmm(bias[:, None], rows, weight)
    return out.view(*X.shape[:-1], -1)


def split_step(
    fields: dict[str, Field], X: Tensor, step: float, stages: tuple[tuple[str, float], ...], sub_flow: str
) -> Tensor:
    """One step of a splitting: the sub-flow of each stage in turn, ``"euler"``, ``"midpoint"`` or ``"exact"``."""
    for name, part in stages:
        field, h = fields[name], part * step
        if sub_flow == "euler":
            X = X + h * field(X)
        elif sub_flow == "midpoint":
            X = X + h * field(X + h / 2 * field(X))
        else:
            X = runge_kutta(field, X, h, max(2, int(np.ceil(_FINEST * h))))
    return X


def runge_kutta(field: Field, X: Tensor, horizon: float, n_steps: int) -> Tensor:
    """The state after ``horizon`` by the classical method of order 4."""
    h = horizon / n_steps
    for _ in range(n_steps):
        k1 = field(X)
        k2 = field(X + h / 2 * k1)
        k3 = field(X + h / 2 * k2)
        k4 = field(X + h * k3)
        X = X + h / 6 * (k1 + 2 * (k2 + k3) + k4)
    return X


def as_arrays(weights: Weights) -> dict[str, np.ndarray]:
    """The weights as numpy arrays."""
    return {name: value.detach().cpu().numpy() for name, value in weights.items()}


def _fields(weights: Weights, n_heads: int, activation: str, normalisation: str) -> dict[str, Field]:
    def read(X: Tensor) -> Tensor:
        return X if normalisation == "none" else torch.nn.functional.layer_norm(X, X.shape[-1:])

    def F(X: Tensor) -> Tensor:
        return interaction(weights, read(X), n_heads)

    def G(X: Tensor) -> Tensor:
        return convection(weights, read(X), activation)

    return {"F": F, "G": G, "FG": lambda X: F(X) + G(X)}


def _tiled(seeds: Sequence[np.random.SeedSequence], depths: tuple[int, ...], horizon: float) -> dict[str, np.ndarray]:
    return {"depths": np.tile(depths, (len(seeds), 1)), "steps": np.tile(horizon / np.array(depths), (len(seeds), 1))}
