"""Training linear attention on in-context linear regression by gradient descent on exact or sampled moments.

Zhang, Singh, Latham, Saxe 2025 (arXiv 2501.16265); Zhang, Frei, Bartlett 2024 (arXiv 2306.09927). The layers are in
:mod:`linear_attention_model`, the law of the sequences in :mod:`linear_attention_task`.
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
from attnlab.simulators.linear_attention.model import KINDS, LinearAttention, MomentTask
from attnlab.simulators.linear_attention.moments import (
    Moments,
    context_features,
    joined,
    moments_of,
    population_moments,
    sequences,
    token_features,
)


@dataclass(frozen=True)
class Setting:
    """Task, layer and training.

    ``spectrum``: eigenvalues of the covariance of the covariates, which is diagonal (starts are rotation invariant).
    ``kind``, ``start``, ``init_scale``: see ``LinearAttention``. ``n_sequences``: size of the fixed training set of each replica;
    0 trains on the population loss. ``normalised``: divide the attention by the number of examples. ``n_records``: records
    at equal distances in steps; a step takes the time 2 ``learning_rate`` of the flow ``dz/dt = -grad L / 2``.
    """

    spectrum: tuple[float, ...] = (0.4, 0.3, 0.2, 0.1)
    n_context: int = 31
    kind: str = "merged"
    n_heads: int = 8
    rank: int = 1
    start: str = "random"
    init_scale: float = 1e-2
    n_sequences: int = 0
    normalised: bool = True
    learning_rate: float = 0.05
    n_steps: int = 1_000
    n_records: int = 200
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_positive(
            self,
            "spectrum",
            "n_context",
            "n_heads",
            "rank",
            "init_scale",
            "learning_rate",
            "n_steps",
            "n_records",
            "n_replicas",
        )
        require_at_least(self, 0, "n_sequences")
        require_one_of(self, "kind", KINDS)
        require_one_of(self, "start", ("random", "balanced"))
        if not self.spectrum:
            raise ValueError("spectrum=() is empty; give at least one eigenvalue")
        if self.kind == "whole" and (not self.n_sequences or not self.normalised):
            raise ValueError(
                "kind='whole' trains on sampled sequences with normalised attention; set n_sequences=20_000, "
                "normalised=True"
            )
        if (self.start == "balanced" or self.kind == "whole") and self.n_heads != 1:
            raise ValueError(f"n_heads={self.n_heads}: kind='whole' and start='balanced' are one head; use n_heads=1")
        if self.start == "balanced" and self.kind == "separate":
            raise ValueError(
                "start='balanced' is a start of a merged key-query matrix; use kind='merged' or start='random'"
            )


@simulation(name="linear_attention.train", block=16, devices=("cpu", "cuda"))
def train(setting: Setting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Gradient descent in float64.

    Returns, along ``steps (replica, record)``: ``time``; ``matrix (replica, record, dim, dim)``, the effective matrix
    of ``beta`` (of ``N beta`` where attention is not normalised);
    ``population_loss``, that of the effective matrix on all sequences (of the blocks outside it, nothing is known here);
    ``v``, ``k_norm``, ``q_norm``, ``k_cosine`` (of key vectors with the axes, ``(..., head, rank, dim)``), for the parameters
    there are; ``p`` and ``W`` of a whole layer. ``growing (replica,)``: norm over heads of ``(v_i + tr U_i / sqrt d) / 2`` at
    the start, and ``start_norm``, root-mean-square of the norms of v and U there (merged). ``aligned_growing``: the same with
    ``<U_i, S^2> / ||S^2||`` for the trace. For a whole layer ``test_label``, ``test_cross``, ``test_gram``: moments of as many
    fresh sequences. ``diverged_at (replica,)``.
    """
    d = len(setting.spectrum)
    model = LinearAttention(setting.kind, d, setting.n_heads, setting.rank, setting.start, setting.init_scale)
    population = population_moments(setting.spectrum, setting.n_context, setting.normalised).to(device)
    moments = _sampled(setting, seeds, "data").to(device) if setting.n_sequences else population
    steps = equally_spaced_steps(setting.n_steps, setting.n_records)

    def observe(model: LinearAttention, parameters: Parameters) -> dict[str, Tensor]:
        matrix = model.matrix(parameters)
        return {"matrix": matrix, "population_loss": population.loss(matrix.flatten(1))} | _observables(
            model, parameters
        )

    run = train_ensemble(
        model,
        MomentTask(moments),
        GradientDescent(setting.learning_rate),
        seeds,
        Plan(setting.n_steps, loss_steps=steps, dtype=torch.float64, device=device, chunk=len(seeds)),
        [Record(observe, steps)],
    )
    tiled = np.tile(steps, (len(seeds), 1))
    found = {"steps": tiled, "time": 2 * setting.learning_rate * tiled, "loss": run.loss} | run.records
    if setting.kind == "merged":
        found |= _growing(model, seeds, setting.spectrum)
    if setting.kind == "whole":
        test = _sampled(setting, seeds, "test")
        found |= {f"test_{name}": getattr(test, name).numpy() for name in ("label", "cross", "gram")}
    return found | {"diverged_at": run.diverged_at}


def _sampled(setting: Setting, seeds: Sequence[np.random.SeedSequence], purpose: str) -> Moments:
    """The moments of each replica's own set of sequences."""
    found = []
    for stream in generators(seeds, purpose):
        batch = sequences(setting.n_sequences, setting.spectrum, setting.n_context, 0.0, stream)
        features = token_features(batch) if setting.kind == "whole" else context_features(batch, setting.normalised)
        found.append(moments_of(features, batch.target))
    return joined(found)


def _observables(model: LinearAttention, parameters: Parameters) -> dict[str, Tensor]:
    if model.kind == "merged":
        return {"v": parameters["v"]}
    if model.kind == "whole":
        return {"p": parameters["p"], "W": parameters["W"]}
    K, Q = parameters["K"], parameters["Q"]
    k_norm, q_norm = K.norm(dim=-1), Q.norm(dim=-1)
    return {"v": parameters["v"], "k_norm": k_norm, "q_norm": q_norm, "k_cosine": K / k_norm[..., None]}


def _growing(
    model: LinearAttention, seeds: Sequence[np.random.SeedSequence], spectrum: tuple[float, ...]
) -> dict[str, np.ndarray]:
    """What of the start grows: its component along the gradient of the correlation, for a white and for any covariance."""
    start = model.initialise(generators(seeds, "parameters"), torch.float64)
    v, U = start["v"], start["U"]
    square = torch.tensor(spectrum, dtype=torch.float64) ** 2
    along = (torch.diagonal(U, dim1=-2, dim2=-1) * square).sum(-1) / square.norm()
    trace = torch.diagonal(U, dim1=-2, dim2=-1).sum(-1) / model.dim**0.5
    norm = ((v**2).sum(-1) / 2 + (U**2).sum((-3, -2, -1)) / 2).sqrt()
    return {
        "growing": ((v + trace) / 2).norm(dim=-1).numpy(),
        "aligned_growing": ((v + along) / 2).norm(dim=-1).numpy(),
        "start_norm": norm.numpy(),
    }
