r"""Stacks of Transformer and of Macaron layers, trained to reproduce the flow of an interacting particle system.

Lu et al. (arXiv 1906.02762). The teacher is a system dX/dt = F(X) + G(X) of
:mod:`attnlab.simulators.particle_flow.splitting_errors`. A student of L residual layers sees X(0) and is trained on
X(T) alone; what its layers pass through on the way is its own. Both kinds have the same number of parameters: the two
feed-forward networks of a Macaron layer have half the width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from attnlab.kernels.attention import attention
from attnlab.simulators.ensemble.layout import Parameters
from attnlab.simulators.ensemble.optimisers import Adam
from attnlab.simulators.ensemble.plan import Plan, log_spaced_steps
from attnlab.simulators.ensemble.random_streams import generators
from attnlab.simulators.ensemble.schedules import cosine
from attnlab.simulators.ensemble.setting import checked, require_at_least, require_one_of, require_positive
from attnlab.simulators.ensemble.simulation import simulation
from attnlab.simulators.ensemble.trainer import train as train_ensemble
from attnlab.simulators.particle_flow import splitting_errors as particle_flow
from attnlab.simulators.particle_flow.splitting_errors import (
    SPLITTINGS,
    convection,
    draw,
    runge_kutta,
    split_step,
    times,
)

KINDS = ("transformer", "macaron")
_FLOW_STEPS = 4  # Runge-Kutta steps of the teacher in each layer's time


@dataclass(frozen=True)
class StackSetting:
    """``kind``: "transformer" or "macaron". ``shared``: one layer's weights serve all layers.

    ``teacher_seed``: every replica learns from the same teacher, drawn from this seed; with -1 each has its own.
    ``teacher_hidden`` and ``hidden``: inner widths of the teacher and (in all) of a student's layer. ``n_states``: initial
    states in the training set, ``n_test`` held out. ``depths``: numbers of layers at which a student of shared weights is
    run after training, with step ``horizon / depth``; the first is that of training.
    """

    kind: str = "transformer"
    shared: bool = False
    teacher_seed: int = -1
    n_particles: int = 8
    dim: int = 4
    teacher_hidden: int = 16
    hidden: int = 32
    n_heads: int = 1
    activation: str = "tanh"
    horizon: float = 1.0
    depths: tuple[int, ...] = (6, 12, 24)
    n_states: int = 1_024
    n_test: int = 256
    batch: int = 32
    learning_rate: float = 1e-2
    n_steps: int = 1_500
    n_records: int = 60
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_one_of(self, "kind", KINDS)
        require_one_of(self, "activation", tuple(particle_flow.ACTIVATIONS))
        require_positive(
            self,
            "n_particles",
            "dim",
            "teacher_hidden",
            "hidden",
            "n_heads",
            "horizon",
            "depths",
            "n_states",
            "batch",
            "learning_rate",
            "n_steps",
            "n_records",
            "n_replicas",
        )
        require_at_least(self, -1, "teacher_seed")
        require_at_least(self, 2, "n_test", "hidden")
        if self.hidden % 2:
            raise ValueError(f"hidden={self.hidden!r} is odd; a Macaron layer halves it, use an even number")
        if self.dim % self.n_heads:
            raise ValueError(f"n_heads={self.n_heads!r} does not divide dim={self.dim}; use a divisor")
        if not self.depths:
            raise ValueError("depths=() is empty; give at least the number of layers to train")


@simulation(name="particle_flow_stacks.train_stacks", block=16, devices=("cpu", "cuda"))
def train_stacks(setting: StackSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Train one student per replica on the end of its teacher's flow, and follow its layers on held-out states.

    Errors are root mean squares over held-out states, relative to that of X(T) - X(0). Returns ``loss`` along ``steps``
    (relative mean square); ``error (replica,)`` at the end; ``path_error (replica, layer + 1)`` against the exact flow at
    the layer's time, and ``straight_error`` of the straight line at constant speed instead of the student;
    ``depth_error (replica, depth)`` at all ``depths`` (shared weights only, else the first), ``exact_weights_error
    (replica, depth)`` of layers with the teacher's own weights; ``path (replica, layer + 1, n, d)`` of the student on one
    held-out state; the teacher (``W_Q`` ... ``b_2``), ``n_parameters`` and ``diverged_at``.
    """
    weights = _teacher(setting, seeds, device)
    L, T = setting.depths[0], setting.horizon
    start = _states(setting, seeds, "states", setting.n_states, device)
    with torch.no_grad():
        target = runge_kutta(_fields(setting, weights)["FG"], start, T, _FLOW_STEPS * L)
    model = _model(setting)
    task = FlowTask(start.float(), target.float(), setting.batch)
    steps = log_spaced_steps(setting.n_steps, setting.n_records)
    run = train_ensemble(
        model,
        task,
        Adam(setting.learning_rate, schedule=cosine(setting.n_steps)),
        seeds,
        Plan(setting.n_steps, loss_steps=steps, device=device),
    )
    learnt = {name: value.double() for name, value in run.parameters.items()}
    with torch.no_grad():
        found = _evaluate(setting, model, learnt, weights, seeds, device)
    count = sum(value[0].numel() for value in learnt.values())
    return (
        {"steps": np.tile(steps, (len(seeds), 1)), "loss": run.loss, "diverged_at": run.diverged_at}
        | {name: value.cpu().numpy() for name, value in found.items()}
        | particle_flow.as_arrays(weights)
        | {"n_parameters": np.full(len(seeds), count)}
    )


@simulation(
    name="particle_flow_stacks.random_stacks",
    block=8,
    reads=("kind", "shared", "n_particles", "dim", "hidden", "n_heads", "activation", "horizon", "depths"),
)
def random_stacks(setting: StackSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Random, untrained stacks in float64, and what their layers make of one random state.

    Returns the parameters of :class:`ParticleStack` and ``path (replica, layer + 1, n, d)``.
    """
    model = _model(setting)
    parameters = model.initialise(generators(seeds, "parameters"), torch.float64)
    X = _states(setting, seeds, "states", 1, "cpu")
    path = torch.stack(model.path(parameters, X), dim=1)[:, :, 0]
    return particle_flow.as_arrays(parameters) | {"path": path.numpy()}


@dataclass(frozen=True)
class ParticleStack:
    r"""L residual layers with step gamma = horizon / L on particles ``(replica, batch, n, d)``.

    .. math:: \text{transformer:}\; X \mathrel{+}= \gamma F(X),\; X \mathrel{+}= \gamma G(X); \qquad
        \text{macaron:}\; X \mathrel{+}= \tfrac\gamma2 G_1(X),\; X \mathrel{+}= \gamma F(X),\; X \mathrel{+}= \tfrac\gamma2 G_2(X)

    F is multi-head attention; G has ``hidden`` units, G_1 and G_2 half as many each, none has an output bias. Parameters:
    ``W_Q, W_K, W_V, W_O (replica, layer, d, d)``, ``W_1 (replica, layer, net, d, m)``, ``b_1 (replica, layer, net, m)``,
    ``W_2 (replica, layer, net, m, d)``, one layer if ``shared``. Initial entries have variance one over the fan-in.
    """

    kind: str
    dim: int
    hidden: int
    n_layers: int
    n_heads: int = 1
    shared: bool = False
    activation: str = "tanh"
    horizon: float = 1.0

    def initialise(self, streams: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        """Random parameters, those of replica r from stream r only."""
        nets = 1 if self.kind == "transformer" else 2
        layers, d, m = 1 if self.shared else self.n_layers, self.dim, self.hidden // nets
        shapes = {
            "W_Q": (d, d),
            "W_K": (d, d),
            "W_V": (d, d),
            "W_O": (d, d),
            "W_1": (nets, d, m),
            "b_1": (nets, m),
            "W_2": (nets, m, d),
        }
        fan = {"b_1": 100, "W_2": m}
        return {
            name: torch.stack(
                [
                    torch.empty(layers, *shape, dtype=dtype).normal_(generator=stream) / fan.get(name, d) ** 0.5
                    for stream in streams
                ]
            )
            for name, shape in shapes.items()
        }

    def __call__(self, parameters: Parameters, X: Tensor, n_layers: int = 0) -> Tensor:
        """The state after the last layer; ``n_layers`` other than the model's needs shared weights."""
        return self.path(parameters, X, n_layers)[-1]

    def path(self, parameters: Parameters, X: Tensor, n_layers: int = 0) -> list[Tensor]:
        """The states before the first layer and after each."""
        L = n_layers or self.n_layers
        if L != self.n_layers and not self.shared:
            raise ValueError(
                f"n_layers={L} differs from the {self.n_layers} that were trained; only shared weights allow it"
            )
        step, path = self.horizon / L, [X]
        for layer in range(L):
            own = {name: value[:, 0 if self.shared else layer] for name, value in parameters.items()}
            if self.kind == "macaron":
                X = X + step / 2 * self._feed_forward(own, X, 0)
            X = X + step * attend(own, X, self.n_heads)
            X = X + (
                step * self._feed_forward(own, X, 0)
                if self.kind == "transformer"
                else step / 2 * self._feed_forward(own, X, 1)
            )
            path.append(X)
        return path

    def _feed_forward(self, own: Parameters, X: Tensor, net: int) -> Tensor:
        return convection({name: own[name][:, net] for name in ("W_1", "b_1", "W_2")}, X, self.activation)


def attend(weights: Parameters, X: Tensor, n_heads: int) -> Tensor:
    """Multi-head self-attention of ``(replica, batch, n, d)`` through the fused kernel."""
    Q, K, V = (times(X, weights[name]).unflatten(-1, (n_heads, -1)).transpose(-3, -2) for name in ("W_Q", "W_K", "W_V"))
    return times(attention(Q, K, V).transpose(-3, -2).reshape(X.shape), weights["W_O"])


@dataclass(frozen=True)
class FlowTask:
    """Batches from a set of states ``start`` with their ``target``, both ``(replica, state, n, d)``."""

    start: Tensor
    target: Tensor
    batch: int

    @property
    def numbers_per_step(self) -> int:
        return self.batch

    def part(self, rows: slice) -> FlowTask:
        return FlowTask(self.start[rows], self.target[rows], self.batch)

    def fill(self, numbers: Tensor, stream: torch.Generator) -> None:
        numbers.uniform_(generator=stream)

    def loss(self, model: Any, parameters: Parameters, numbers: Tensor) -> Tensor:
        """Mean squared error ``(replica,)`` of the batch, relative to the mean square of target minus start."""
        n_states = self.start.shape[1]
        chosen = (numbers * n_states).long().clamp_(max=n_states - 1)
        rows = torch.arange(len(chosen), device=chosen.device)[:, None]
        X, Y = self.start[rows, chosen], self.target[rows, chosen]
        return ((model(parameters, X) - Y) ** 2).mean((1, 2, 3)) / ((Y - X) ** 2).mean((1, 2, 3))

    def largest_array(self, model: ParticleStack) -> int:
        return self.batch * self.start.shape[2] * max(model.hidden, self.start.shape[2] * model.n_heads)


def _model(setting: StackSetting) -> ParticleStack:
    return ParticleStack(
        setting.kind,
        setting.dim,
        setting.hidden,
        setting.depths[0],
        setting.n_heads,
        setting.shared,
        setting.activation,
        setting.horizon,
    )


def _teacher(setting: StackSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> particle_flow.Weights:
    system = particle_flow.Setting(
        n_particles=setting.n_particles,
        dim=setting.dim,
        hidden=setting.teacher_hidden,
        n_heads=setting.n_heads,
        activation=setting.activation,
    )
    common = [np.random.SeedSequence(max(setting.teacher_seed, 0))] * len(seeds)
    return draw(system, seeds if setting.teacher_seed < 0 else common, device)[0]


def _states(
    setting: StackSetting, seeds: Sequence[np.random.SeedSequence], purpose: str, count: int, device: str
) -> Tensor:
    shape = (count, setting.n_particles, setting.dim)
    return torch.stack(
        [torch.empty(shape, dtype=torch.float64).normal_(generator=stream) for stream in generators(seeds, purpose)]
    ).to(device)


def _fields(setting: StackSetting, weights: particle_flow.Weights) -> dict[str, particle_flow.Field]:
    def F(X: Tensor) -> Tensor:
        return attend(weights, X, setting.n_heads)

    def G(X: Tensor) -> Tensor:
        return convection(weights, X, setting.activation)

    return {"F": F, "G": G, "FG": lambda X: F(X) + G(X)}


def _evaluate(
    setting: StackSetting,
    model: ParticleStack,
    learnt: Parameters,
    weights: particle_flow.Weights,
    seeds: Sequence[np.random.SeedSequence],
    device: str,
) -> dict[str, Tensor]:
    """What the trained students do on held-out states; see :func:`train_stacks`."""
    L, T, fields = setting.depths[0], setting.horizon, _fields(setting, weights)
    exact = [_states(setting, seeds, "test", setting.n_test, device)]
    if setting.teacher_seed >= 0:  # one state that all replicas are shown, too
        probe = np.random.SeedSequence(setting.teacher_seed)
        exact[0][:, 0] = _states(setting, [probe], "probe", 1, device)[0]
    for _ in range(L):
        exact.append(runge_kutta(fields["FG"], exact[-1], T / L, _FLOW_STEPS))
    moved = (exact[-1] - exact[0]).square().mean((1, 2, 3)).sqrt()

    def distance(X: Tensor, Y: Tensor) -> Tensor:
        return (X - Y).square().mean((1, 2, 3)).sqrt() / moved

    path = model.path(learnt, exact[0])
    line = [exact[0] + layer / L * (exact[-1] - exact[0]) for layer in range(L + 1)]
    own, learnt_at = [], []
    for depth in setting.depths:
        X = exact[0]
        for _ in range(depth):
            X = split_step(fields, X, T / depth, SPLITTINGS[setting.kind], "euler")
        own.append(distance(X, exact[-1]))
        if setting.shared or depth == L:
            learnt_at.append(distance(model(learnt, exact[0], depth), exact[-1]))
    return {
        "error": distance(path[-1], exact[-1]),
        "path_error": torch.stack([distance(X, Y) for X, Y in zip(path, exact, strict=True)], dim=1),
        "straight_error": torch.stack([distance(X, Y) for X, Y in zip(line, exact, strict=True)], dim=1),
        "depth_error": torch.stack(learnt_at, dim=1),
        "exact_weights_error": torch.stack(own, dim=1),
        "path": torch.stack([X[:, 0] for X in path], dim=1),
        "probe": exact[0][:, 0],
    }
