"""Identities of splitting schemes, measured: stacks with merged half-steps, fixed attention, weights that depend on time.

Lu et al. (arXiv 1906.02762), on the random systems of :mod:`attnlab.simulators.particle_flow.splitting_errors`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from attnlab.simulators.ensemble.monitor import current
from attnlab.simulators.ensemble.random_streams import generators
from attnlab.simulators.ensemble.simulation import simulation
from attnlab.simulators.particle_flow.splitting_errors import (
    SPLITTINGS,
    Setting,
    Weights,
    as_arrays,
    convection,
    draw,
    interaction,
    runge_kutta,
    split_step,
)

TIMED_SCHEMES = ("printed", "clock on G", "true time", "all at the middle")
"""How weights that depend on time are frozen in a Strang step, in the order of the returned arrays."""

_READS = ("n_particles", "dim", "hidden", "n_heads", "activation", "horizon", "depths")
_PRECISE = 256  # Runge-Kutta steps of a sub-flow where identities are to hold to rounding


@simulation(name="particle_flow_structure.merged_stacks", block=32, reads=_READS, devices=("cpu", "cuda"))
def merged_stacks(setting: Setting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """A Macaron stack of shared weights against the stack in which neighbouring half-steps are merged into one.

    The merged stack is G/2, F, G, F, ..., G, F, G/2. Returns, ``(replica, depth, n, d)``: ``merging``, Macaron minus merged
    with Euler sub-steps. With exact sub-flows, at the least depth, ``(replica, n, d)``: ends ``macaron_end``,
    ``merged_end``, ``conjugate_end`` (a Transformer stack between a half-step of G back and one forward) and
    ``transformer_end``. Also the systems, ``start``, ``depths``, ``steps``.
    """
    weights, X = draw(setting, seeds, device)
    fields = {
        "F": lambda Y: interaction(weights, Y, setting.n_heads),
        "G": lambda Y: convection(weights, Y, setting.activation),
    }
    found = {"merging": np.zeros((len(seeds), len(setting.depths), *X.shape[1:]))}
    for column, depth in enumerate(setting.depths):
        step, Y, Z = setting.horizon / depth, X, X + setting.horizon / depth / 2 * fields["G"](X)
        for layer in range(depth):
            Y = split_step(fields, Y, step, SPLITTINGS["macaron"], "euler")
            last = layer == depth - 1
            Z = split_step(fields, Z, step, (("F", 1.0), ("G", 0.5 if last else 1.0)), "euler")
        found["merging"][:, column] = (Y - Z).cpu().numpy()
    depth = min(setting.depths)
    step = setting.horizon / depth

    def flow(name: str, Y: Tensor, part: float) -> Tensor:
        return runge_kutta(fields[name], Y, part * step, _PRECISE)

    ends = {
        "macaron_end": X,
        "merged_end": flow("G", X, 0.5),
        "conjugate_end": flow("G", flow("G", X, -0.5), 1.0),
        "transformer_end": X,
    }
    for layer in range(depth):
        Y = flow("F", flow("G", ends["macaron_end"], 0.5), 1.0)
        ends["macaron_end"] = flow("G", Y, 0.5)
        ends["merged_end"] = flow("G", flow("F", ends["merged_end"], 1.0), 0.5 if layer == depth - 1 else 1.0)
        ends["conjugate_end"] = flow("F", ends["conjugate_end"], 1.0)
        ends["conjugate_end"] = flow("G", ends["conjugate_end"], 0.5 if layer == depth - 1 else 1.0)
        ends["transformer_end"] = flow("G", flow("F", ends["transformer_end"], 1.0), 1.0)
        current().progress(layer + 1, depth)
    return _common(setting, seeds, weights, X) | found | {name: value.cpu().numpy() for name, value in ends.items()}


@simulation(
    name="particle_flow_structure.fixed_attention_errors", block=32, reads=("n_particles", "dim", "horizon", "depths")
)
def fixed_attention_errors(
    setting: Setting, seeds: Sequence[np.random.SeedSequence], device: str
) -> dict[str, np.ndarray]:
    r"""Local errors of splittings of the linear system dX/dt = P X V + X C with exact sub-flows (matrix exponentials).

    P is the softmax of standard normal logits, V and C have entries of variance 1/dim, X is standard normal. Returns ``P``,
    ``V``, ``C``, ``start``, ``depths``, ``steps``; ``transformer`` and ``macaron (replica, depth, n, d)``, exact minus scheme
    after one step; ``commuting``, the same for the Transformer order with C replaced by V^2.
    """
    n, d = setting.n_particles, setting.dim
    streams = generators(seeds, "system")
    drawn = [
        torch.stack([torch.empty(shape, dtype=torch.float64).normal_(generator=stream) for stream in streams])
        for shape in ((n, n), (d, d), (d, d), (n, d))
    ]
    P, V, C, X = torch.softmax(drawn[0], dim=-1), drawn[1] / d**0.5, drawn[2] / d**0.5, drawn[3]
    found = {
        name: np.zeros((len(seeds), len(setting.depths), n, d)) for name in ("transformer", "macaron", "commuting")
    }
    for column, depth in enumerate(setting.depths):
        step = setting.horizon / depth
        for name, other in (("transformer", C), ("macaron", C), ("commuting", V @ V)):
            A, B = _as_matrix(P, V), _as_matrix(torch.eye(n, dtype=P.dtype).expand_as(P), other)
            S_F, S_G, half = (torch.matrix_exp(step * M) for M in (A, B, B / 2))
            scheme = half @ S_F @ half if name == "macaron" else S_G @ S_F
            defect = (torch.matrix_exp(step * (A + B)) - scheme) @ X.reshape(len(X), n * d, 1)
            found[name][:, column] = defect.reshape(X.shape).numpy()
    tiled = {
        "depths": np.tile(setting.depths, (len(seeds), 1)),
        "steps": np.tile(setting.horizon / np.array(setting.depths), (len(seeds), 1)),
    }
    return tiled | {"P": P.numpy(), "V": V.numpy(), "C": C.numpy(), "start": X.numpy()} | found


@simulation(name="particle_flow_structure.time_dependent_errors", block=32, reads=_READS, devices=("cpu", "cuda"))
def time_dependent_errors(
    setting: Setting, seeds: Sequence[np.random.SeedSequence], device: str
) -> dict[str, np.ndarray]:
    r"""Global errors of Strang steps G/2, F, G/2 whose weights depend on time, W(t) = cos(t) W_a + sin(t) W_b.

    :data:`TIMED_SCHEMES`, each with exact sub-flows. ``"printed"``: F and the first G frozen at t, the second G at
    t + gamma/2. ``"clock on G"``: G follows its time, F is frozen at t + gamma/2. ``"true time"``: F runs from t to
    t + gamma, too. ``"all at the middle"``: all frozen at t + gamma/2. Returns ``depths``, ``steps`` and ``global_error
    (replica, scheme, depth)``, norms of the distance to the solution at the horizon.
    """
    first, X = draw(setting, seeds, device)
    second, _ = draw(
        setting, [np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, 1)) for seed in seeds], device
    )

    def at(t: float) -> Weights:
        return {name: np.cos(t) * first[name] + np.sin(t) * second[name] for name in first}

    def F(t: float, Y: Tensor) -> Tensor:
        return interaction(at(t), Y, setting.n_heads)

    def G(t: float, Y: Tensor) -> Tensor:
        return convection(at(t), Y, setting.activation)

    end = _timed(lambda t, Y: F(t, Y) + G(t, Y), X, 0.0, setting.horizon, max(512, 4 * max(setting.depths)))
    errors = np.zeros((len(seeds), len(TIMED_SCHEMES), len(setting.depths)))
    for column, depth in enumerate(setting.depths):
        h = setting.horizon / depth
        for row, name in enumerate(TIMED_SCHEMES):
            Y = X
            for layer in range(depth):
                t = layer * h
                for field, start, part, frozen in _timed_stages(name, F, G, t, h):
                    stage = field if frozen is None else lambda _, Z, f=field, s=frozen: f(s, Z)
                    Y = _timed(stage, Y, start, part, max(2, int(np.ceil(32 * part))))
            errors[:, row, column] = (end - Y).flatten(1).norm(dim=1).cpu().numpy()
        current().progress(column + 1, len(setting.depths))
    return {
        "depths": np.tile(setting.depths, (len(seeds), 1)),
        "global_error": errors,
        "steps": np.tile(setting.horizon / np.array(setting.depths), (len(seeds), 1)),
    }


def _timed_stages(name, F, G, t: float, h: float) -> list:
    """Stages ``(field, start time, duration, time at which the weights are frozen or None)`` of one step."""
    middle = t + h / 2
    frozen = {
        "printed": (t, t, middle),
        "clock on G": (None, middle, None),
        "true time": (None, None, None),
        "all at the middle": (middle, middle, middle),
    }[name]
    return [(G, t, h / 2, frozen[0]), (F, t, h, frozen[1]), (G, middle, h / 2, frozen[2])]


def _timed(field, X: Tensor, start: float, duration: float, n_steps: int) -> Tensor:
    """Runge-Kutta steps of order 4 for dX/dt = field(t, X)."""
    h = duration / n_steps
    for k in range(n_steps):
        t = start + k * h
        k1 = field(t, X)
        k2 = field(t + h / 2, X + h / 2 * k1)
        k3 = field(t + h / 2, X + h / 2 * k2)
        k4 = field(t + h, X + h * k3)
        X = X + h / 6 * (k1 + 2 * (k2 + k3) + k4)
    return X


def _as_matrix(P: Tensor, V: Tensor) -> Tensor:
    """The map X -> P X V on X flattened row by row: the Kronecker product of P and V^T."""
    n, d = P.shape[-1], V.shape[-1]
    return (P[:, :, None, :, None] * V.mT[:, None, :, None, :]).reshape(len(P), n * d, n * d)


def _common(setting: Setting, seeds, weights: Weights, X: Tensor) -> dict[str, np.ndarray]:
    return as_arrays(weights) | {
        "start": X.cpu().numpy(),
        "depths": np.tile(setting.depths, (len(seeds), 1)),
        "steps": np.tile(setting.horizon / np.array(setting.depths), (len(seeds), 1)),
    }
