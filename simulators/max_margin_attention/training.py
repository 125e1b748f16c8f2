"""Training the attention weights of one layer on random token-selection problems.

Tarzanagh, Li, Thrampoulidis and Oymak 2023 (arXiv 2308.16898) and Tarzanagh, Li, Zhang and Oymak 2023 (arXiv 2306.13596). Every
replica has its own data set and its own start. The model and its gradient are in :mod:`max_margin_attention_model`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from attnlab.simulators.ensemble.optimisers import GradientDescent, NormalisedGradientDescent, Optimiser
from attnlab.simulators.ensemble.plan import Plan, Record, log_spaced_steps
from attnlab.simulators.ensemble.random_streams import generators
from attnlab.simulators.ensemble.setting import checked, require_at_least, require_one_of, require_positive
from attnlab.simulators.ensemble.simulation import simulation
from attnlab.simulators.ensemble.trainer import train as train_ensemble
from attnlab.simulators.max_margin_attention.model import (
    LOSSES,
    NormalisedEach,
    SelectionTask,
    TokenAttention,
    stacked,
    tiled,
    unit_vectors,
)


@dataclass(frozen=True)
class Setting:
    """Data, model and training; the defaults are those of the paper's main experiment.

    Tokens, queries and the linear head are independent random unit vectors, labels random signs. ``query``: ``"cross"``
    (independent queries), ``"self"`` (the first token), ``"prompt"`` (one trained vector p, one-dimensional queries 1).
    ``inner_dim``: width of K and Q; 0 trains W. ``head``: ``"linear"``, or ``"relu"`` (``dim`` ReLU units with a common weight,
    their matrix normal, of unit Frobenius norm). ``descent``: ``"normalised"`` (K and Q each on its own) or ``"plain"``.
    ``rescale_steps``: divide the rate of a replica by :math:`\\Delta\\gamma \\|A\\|^2` of its first input's first two tokens.
    ``init``: ``"uniform"`` as a default linear layer, or ``"zero"`` (W only).
    """

    n_inputs: int = 6
    n_tokens: int = 8
    dim: int = 10
    query: str = "cross"
    inner_dim: int = 0
    head: str = "linear"
    loss: str = "logistic"
    descent: str = "normalised"
    learning_rate: float = 0.1
    rescale_steps: bool = False
    init: str = "uniform"
    n_steps: int = 2_000
    n_records: int = 40
    n_replicas: int = 100

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "n_inputs", "dim", "learning_rate", "n_steps", "n_records", "n_replicas")
        require_at_least(self, 2, "n_tokens")
        require_at_least(self, 0, "inner_dim")
        require_one_of(self, "query", ("cross", "self", "prompt"))
        require_one_of(self, "head", ("linear", "relu"))
        require_one_of(self, "loss", LOSSES)
        require_one_of(self, "descent", ("normalised", "plain"))
        require_one_of(self, "init", ("uniform", "zero"))
        if self.init == "zero" and self.inner_dim:
            raise ValueError(
                f"init='zero' with inner_dim={self.inner_dim} stays where it is: K = Q = 0 has no gradient; use "
                "init='uniform'"
            )


@simulation(name="max_margin_attention.train", block=16, devices=("cpu", "cuda"))
def train(setting: Setting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Train by full-batch descent in float64.

    Returns the data ``keys (replica, input, token, dim)``, ``queries (replica, input, query_dim)`` and ``scores (replica, input,
    token)`` (of a ReLU head: of its linear part). Along ``steps``: ``W (replica, record, dim, query_dim)`` and ``saturation
    (replica, record)``, the mean over inputs of the largest attention weight. At the end, ``(replica, input, token)``:
    ``log_attention``, and ``worth``, the derivative of the output by each weight (zero where all ReLU units are off).
    """
    streams = generators(seeds, "data set")
    keys, queries, scores, units, labels = stacked([draw(setting, stream, setting.head) for stream in streams])
    W = torch.zeros(len(seeds), setting.dim, queries.shape[-1], dtype=torch.float64) if setting.init == "zero" else None
    model = TokenAttention(
        keys.to(device), queries.to(device), setting.inner_dim, start=None if W is None else W.to(device)
    )
    relu = setting.head == "relu"
    task = SelectionTask(
        scores.to(device),
        setting.loss,
        setting.descent == "normalised",
        units.to(device) if relu else None,
        labels.to(device) if relu else None,
    )
    steps = log_spaced_steps(setting.n_steps, setting.n_records)
    run = train_ensemble(
        model,
        task,
        optimiser(setting, keys, queries, scores),
        seeds,
        Plan(
            setting.n_steps,
            loss_steps=steps,
            dtype=torch.float64,
            device=device,
            label="K and Q" if setting.inner_dim else "W",
        ),
        [Record(TokenAttention.observe, steps), Record(TokenAttention.log_attention, steps[-1:])],
    )
    log_attention = run.records["log_attention"][:, 0]
    worth = task.worth(model.keys, torch.from_numpy(log_attention).exp().to(device)).cpu().numpy()
    return {
        "steps": tiled(steps, len(seeds)),
        "keys": keys.numpy(),
        "queries": queries.numpy(),
        "scores": scores.numpy(),
        "W": run.records["W"],
        "saturation": run.records["saturation"],
        "log_attention": log_attention,
        "worth": worth,
        "labels": labels.numpy(),
        "diverged_at": run.diverged_at,
    }


@simulation(name="max_margin_attention.data_sets", block=16, reads=("n_inputs", "n_tokens", "dim", "query"))
def data_sets(setting: Setting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """The data of :func:`train` without training: ``keys``, ``queries`` and ``scores`` of a linear head."""
    drawn = stacked([draw(setting, stream, "linear") for stream in generators(seeds, "data set")])
    return {name: array.numpy() for name, array in zip(("keys", "queries", "scores"), drawn, strict=False)}


def draw(setting: Setting, stream: torch.Generator, head_kind: str) -> list[Tensor]:
    """One data set: keys, queries, scores, units of the ReLU head, labels."""
    n, T, d = setting.n_inputs, setting.n_tokens, setting.dim
    head = unit_vectors((d,), stream)
    labels = torch.sign(torch.randn(n, generator=stream, dtype=torch.float64))
    keys, queries = unit_vectors((n, T, d), stream), unit_vectors((n, d), stream)
    units = torch.randn(d, d, generator=stream, dtype=torch.float64)
    units = units / torch.linalg.vector_norm(units)
    if setting.query == "self":
        queries = keys[:, 0]
    elif setting.query == "prompt":
        queries = torch.ones(n, 1, dtype=torch.float64)
    worth = units.sum(1) if head_kind == "relu" else head
    return [keys, queries, labels[:, None] * (keys @ worth), units, labels]


def optimiser(setting: Setting, keys: Tensor, queries: Tensor, scores: Tensor) -> Optimiser:
    """The optimiser of a setting; plain rates may be scaled to the first pair of tokens of each replica."""
    if setting.descent == "normalised":
        return (
            NormalisedEach(setting.learning_rate)
            if setting.inner_dim
            else NormalisedGradientDescent(setting.learning_rate)
        )
    if not setting.rescale_steps:
        return GradientDescent(setting.learning_rate)
    gap = keys[:, 0, 0] - keys[:, 0, 1]
    size2 = (gap**2).sum(-1) * (queries[:, 0] ** 2).sum(-1) * (scores[:, 0, 0] - scores[:, 0, 1]).abs()
    return GradientDescent((setting.learning_rate / size2).numpy())
