"""The minimal induction head: two or three numbers make the attention, a readout predicts the label.

Reddy 2024 (arXiv 2312.03002), section on the minimal model. The circuit reads the same sequences as the full network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from attnlab.simulators.ensemble.layout import Parameters
from attnlab.simulators.ensemble.optimisers import GradientDescent
from attnlab.simulators.ensemble.plan import Plan, Record, equally_spaced_steps
from attnlab.simulators.ensemble.random_streams import generators
from attnlab.simulators.ensemble.setting import checked, require_at_least, require_one_of, require_positive
from attnlab.simulators.ensemble.simulation import simulation
from attnlab.simulators.ensemble.trainer import train as train_ensemble
from attnlab.simulators.induction_heads.measures import Watched, draw_tests
from attnlab.simulators.tasks.labelled_items import make_task, tables


@dataclass(frozen=True)
class InductionCircuit:
    r"""Tokens with a content c and a buffer b; the target is token T.

    .. math:: b_i = \sum_{j \le i} q_{ij} c_j, \quad q_{ij} \propto e^{\beta_1 [j = i-1]}, \qquad
        o = \sum_{j \le T} p_j c_j, \quad p_j \propto \exp(\alpha\, b_j \cdot c_T + \beta_2 [j \text{ is a label}])

    Logits are ``R o`` (``readout="linear"``) or those of a network of three ReLU layers of ``width`` without biases
    (``"relu"``: ``W1 (width, dim)``, ``W2, W3 (width, width)``, ``R (n_labels, width)``).

    Parameters: ``beta1, alpha (replica,)``, ``beta2 (replica,)`` with ``label_bias``, starting at ``init_scale``; the ReLU
    readout starts normal with variance 2/fan-in, and 1/width for R; the linear one at ``init_scale`` + ``alignment`` times
    the label vectors. Without ``layer_1`` beta1 counts as zero: attention of layer 1 is uniform. Without ``attention`` so do
    all numbers of the attention: only the readout learns, from the mean of all tokens.
    """

    labels: Tensor
    label_bias: bool = True
    readout: str = "relu"
    width: int = 128
    init_scale: float = 0.0
    alignment: float = 0.0
    layer_1: bool = True
    attention: bool = True

    def initialise(self, streams: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        """The start; the readout of replica r from stream r only."""
        numbers = ("beta1", "alpha", "beta2") if self.label_bias else ("beta1", "alpha")
        found = {name: torch.full((len(streams),), self.init_scale, dtype=dtype) for name in numbers}
        _, L, D = self.labels.shape
        if self.readout == "linear":
            return found | {"R": (self.init_scale + self.alignment) * self.labels.cpu().to(dtype)}
        W = self.width
        laws = {"W1": ((W, D), 2 / D), "W2": ((W, W), 2 / W), "W3": ((W, W), 2 / W), "R": ((L, W), 1 / W)}
        return found | {
            name: torch.stack(
                [torch.empty(shape, dtype=dtype).normal_(0, variance**0.5, generator=stream) for stream in streams]
            )
            for name, (shape, variance) in laws.items()
        }

    def __call__(self, parameters: Parameters, contents: Tensor, start: Tensor) -> Tensor:
        """Logits ``(replica, batch, n_labels)`` for contents ``(replica, batch, token, dim)``; the start is not used."""
        return self.forward(parameters, contents, start)[0]

    def forward(self, parameters: Parameters, contents: Tensor, start: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits, attention of layer 1 ``(replica, batch, token, token)`` (the same for all sequences), of the target in
        layer 2 ``(replica, batch, token)``."""
        B, T = contents.shape[1:3]
        at = {"dtype": contents.dtype, "device": contents.device}
        before = torch.ones(T - 1, **at).diag(-1)
        later = torch.ones(T, T, **at).triu(1).bool()
        beta1 = parameters["beta1"][:, None, None] * float(self.layer_1 and self.attention)
        first = (beta1 * before).masked_fill(later, -torch.inf).softmax(-1)
        with_target = (contents @ contents[:, :, -1, :, None])[..., 0]  # c_j . c_T, (replica, batch, token)
        held = float(self.attention)
        scores = held * parameters["alpha"][:, None, None] * (with_target @ first.mT)
        if self.label_bias:
            scores = scores + held * parameters["beta2"][:, None, None] * (torch.arange(T, device=contents.device) % 2)
        second = scores.softmax(-1)
        logits = self.read(parameters, (second[:, :, None] @ contents)[:, :, 0])
        return logits, first[:, None].expand(-1, B, T, T), second

    def read(self, parameters: Parameters, output: Tensor) -> Tensor:
        """The readout's logits for outputs ``(replica, batch, dim)``."""
        if self.readout == "relu":
            for name in ("W1", "W2", "W3"):
                output = torch.relu(output @ parameters[name].mT)
        return output @ parameters["R"].mT

    def overlap(self, parameters: Parameters) -> Tensor:
        """xi ``(replica,)``: logit of a label for its own vector minus the mean of the other logits, mean over labels."""
        logits = self.read(parameters, self.labels.to(parameters["R"]))  # (replica, vector, label)
        own = logits.diagonal(dim1=1, dim2=2).mean(-1)
        L = logits.shape[-1]
        return own - (logits.sum((1, 2)) - L * own) / (L * (L - 1))


@dataclass(frozen=True)
class CircuitSetting:
    """Data as in :class:`induction_heads.Setting`; circuit as in :class:`InductionCircuit`.

    ``double``: float64 throughout, which small starts need.
    """

    dim: int = 31
    n_context: int = 4
    n_labels: int = 16
    n_classes: int = 256
    n_positions: int = 17
    burstiness: int = 1
    within_class_noise: float = 0.1
    rank_exponent: float = 0.0
    p_bursty: float = 1.0
    p_novel: float = 1.0
    n_novel: int = 128
    distinct_labels: bool = True
    label_bias: bool = True
    layer_1: bool = True
    attention: bool = True
    readout: str = "relu"
    width: int = 64
    init_scale: float = 0.0
    alignment: float = 0.0
    double: bool = False
    batch: int = 32
    learning_rate: float = 0.1
    n_steps: int = 2_000
    n_records: int = 100
    n_test: int = 400
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_positive(
            self,
            "dim",
            "n_context",
            "n_labels",
            "n_classes",
            "n_positions",
            "burstiness",
            "n_novel",
            "width",
            "batch",
            "learning_rate",
            "n_steps",
            "n_records",
            "n_test",
            "n_replicas",
        )
        require_at_least(
            self, 0, "within_class_noise", "rank_exponent", "p_bursty", "p_novel", "init_scale", "alignment"
        )
        require_one_of(self, "readout", ("linear", "relu"))
        make_task(self, torch.zeros(1, self.n_classes, 1), torch.zeros(1, self.n_labels, 1))


@dataclass(frozen=True, eq=False)
class WatchedCircuit(Watched, InductionCircuit):
    """The circuit with its tests; ``labels`` are the replicas' label vectors."""

    def part(self, rows: slice) -> WatchedCircuit:
        part = super().part(rows)
        object.__setattr__(part, "labels", self.labels[rows])
        return part

    def observe(self, parameters: Parameters) -> dict[str, Tensor]:
        """The same as of a network, and ``beta1``, ``alpha``, ``beta2``, ``xi``."""
        numbers = {name: parameters[name].double() for name in ("beta1", "alpha")}
        beta2 = parameters["beta2"].double() if self.label_bias else torch.zeros_like(numbers["alpha"])
        return super().observe(parameters) | numbers | {"beta2": beta2, "xi": self.overlap(parameters).double()}


@simulation(name="induction_heads_circuit.train_circuit", block=16, devices=("cpu", "cuda"))
def train_circuit(
    setting: CircuitSetting, seeds: Sequence[np.random.SeedSequence], device: str
) -> dict[str, np.ndarray]:
    """Train the circuit with stochastic gradient descent.

    Along ``steps (replica, record)``: ``loss`` (mean batch loss since the record before), the accuracies and progress
    measures of :mod:`induction_heads_measures`, and ``beta1``, ``alpha``, ``beta2``, ``xi``. ``diverged_at (replica,)``.
    """
    dtype = torch.float64 if setting.double else torch.float32
    made = tables(generators(seeds, "tables"), setting.n_classes, setting.n_labels, setting.dim, dtype)
    task = make_task(setting, **{name: table.to(device) for name, table in made.items()})
    tests = draw_tests(make_task(setting, **made), setting.n_test, seeds, dtype, device)
    model = WatchedCircuit(
        made["labels"].to(device),
        setting.label_bias,
        setting.readout,
        setting.width,
        setting.init_scale,
        setting.alignment,
        setting.layer_1,
        setting.attention,
        tests=tests,
    )
    steps = equally_spaced_steps(setting.n_steps, setting.n_records)
    run = train_ensemble(
        model,
        task,
        GradientDescent(setting.learning_rate),
        seeds,
        Plan(setting.n_steps, loss_steps=steps, dtype=dtype, device=device),
        [Record(WatchedCircuit.observe, steps)],
    )
    return {"steps": np.tile(steps, (len(seeds), 1)), "loss": run.loss} | run.records | {"diverged_at": run.diverged_at}
