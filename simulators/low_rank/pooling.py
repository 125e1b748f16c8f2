"""Pooling attention with rank-one scores: scores and weights of random models, training to select one state, rank-k errors.

Mehta, Rangwala and Ramakrishnan 2019 (arXiv 1912.00835). Heads score state h in context c by ``(p_i . c)(q_i . h)``; scores pass
through ``tanh``, are divided by their Euclidean norm over heads (``"l2"``), and a softmax over states gives the weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from attnlab.simulators.ensemble import random_streams
from attnlab.simulators.ensemble.layout import Parameters
from attnlab.simulators.ensemble.optimisers import Adam
from attnlab.simulators.ensemble.plan import Plan, Record, log_spaced_steps
from attnlab.simulators.ensemble.setting import checked, require_one_of, require_positive
from attnlab.simulators.ensemble.simulation import simulation
from attnlab.simulators.ensemble.trainer import train

BOUNDS = ("none", "tanh", "l2")


@dataclass(frozen=True)
class PoolingSetting:
    """``n_heads`` rank-one heads over ``n_tokens`` states of width ``dim``, with random weights and states."""

    dim: int = 12
    n_heads: int = 5
    n_tokens: int = 50
    rank: int = 3
    score_scale: float = 3.0
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "dim", "n_heads", "n_tokens", "rank", "score_scale", "n_replicas")


@simulation(name="low_rank_pooling.random_pooling", block=16)
def random_pooling(
    setting: PoolingSetting, seeds: Sequence[np.random.SeedSequence], device: str
) -> dict[str, np.ndarray]:
    """Scores of random heads by two algorithms, and what bounded scores do to the weights, in float64.

    ``hadamard``, ``bilinear (replica, head, token)``: ``sum_j (U_i^T c)_j (V_i^T h_t)_j`` and ``c^T (U_i V_i^T) h_t`` at
    the given rank; ``additive``: ``sum_j (U_i^T c)_j + (V_i^T h_t)_j``; ``size``: the sum of absolute products behind each.
    ``ratio``, ``largest (replica,)``: over heads, the largest ratio of two weights, and the largest weight, with tanh and
    l2. ``rank``: numerical rank of the weights ``(replica,)`` at tolerance 1e-10, ``pooled_rank`` that of the pooled states.
    ``direction``, ``free_direction (replica,)``: least |cosine| between the gradients of a head's score in two contexts, at
    rank one and at the given rank.
    """
    d, m, T, k = setting.dim, setting.n_heads, setting.n_tokens, setting.rank
    found: dict[str, list[np.ndarray]] = {}
    for stream in random_streams.generators(seeds, "data"):

        def normal(*shape: int, stream: torch.Generator = stream) -> Tensor:
            return torch.randn(*shape, generator=stream, dtype=torch.float64)

        U, V, H, contexts = normal(m, d, k), normal(m, d, k), normal(T, d), normal(2, d)
        left, right = torch.einsum("cd,mdk->cmk", contexts, U), torch.einsum("td,mdk->mtk", H, V)
        scores = setting.score_scale * left[0, :, None, 0] * right[..., 0]
        weights = pooling_weights(scores, "l2")
        slopes = torch.einsum("cmk,mdk->cmkd", left, V)  # gradient of each summand in h
        row = {
            "hadamard": torch.einsum("mk,mtk->mt", left[0], right),
            "bilinear": torch.einsum("d,mde,te->mt", contexts[0], U @ V.mT, H),
            "additive": (left[0, :, None] + right).sum(-1),
            "size": torch.einsum("d,mdk,mek,te->mt", contexts[0].abs(), U.abs(), V.abs(), H.abs()),
            "ratio": (weights.amax(-1) / weights.amin(-1)).max(),
            "largest": weights.max(),
            "rank": torch.linalg.matrix_rank(weights, rtol=1e-10),
            "pooled_rank": torch.linalg.matrix_rank(weights @ H, rtol=1e-10),
            "direction": _cosine(slopes[..., 0, :]).min(),
            "free_direction": _cosine(slopes.sum(-2)).min(),
        }
        for name, value in row.items():
            found.setdefault(name, []).append(np.asarray(value))
    return {name: np.stack(values) for name, values in found.items()}


@dataclass(frozen=True)
class RankErrorSetting:
    """Best rank-k approximation of Gaussian ``dim x dim`` matrices."""

    dim: int = 128
    n_replicas: int = 64

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "dim", "n_replicas")


@simulation(name="low_rank_pooling.rank_error", block=16)
def rank_error(
    setting: RankErrorSetting, seeds: Sequence[np.random.SeedSequence], device: str
) -> dict[str, np.ndarray]:
    """``error (replica, dim + 1)``: relative squared error of the best approximation of rank 0, 1, ..., dim."""
    matrices = torch.stack(
        [
            torch.randn(setting.dim, setting.dim, generator=each, dtype=torch.float64)
            for each in random_streams.generators(seeds, "data")
        ]
    )
    energy = torch.linalg.svdvals(matrices) ** 2
    left = energy.flip(-1).cumsum(-1).flip(-1)
    return {"error": torch.cat([left / left[:, :1], torch.zeros(len(left), 1)], dim=1).numpy()}


@dataclass(frozen=True)
class SelectionSetting:
    """One marked state among ``n_tokens`` carries the label; ``bound``: ``"none"``, ``"tanh"``, or ``"l2"`` (tanh, then l2).

    ``n_test``: fresh sequences on which the trained read-out is tried.
    """

    n_tokens: int = 50
    n_heads: int = 1
    bound: str = "tanh"
    learning_rate: float = 0.02
    n_steps: int = 3_000
    n_test: int = 20_000
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "n_heads", "learning_rate", "n_steps", "n_test", "n_replicas")
        require_one_of(self, "bound", BOUNDS)
        if self.n_tokens < 2:
            raise ValueError(f"n_tokens={self.n_tokens!r} is too small; use n_tokens >= 2, one of them marked")
        if self.bound == "l2" and self.n_heads == 1:
            raise ValueError(
                "bound='l2' with n_heads=1 leaves a score only its sign, which has no gradient; use 2 heads"
            )


@simulation(name="low_rank_pooling.selection", block=16, devices=("cpu", "cuda"))
def selection(setting: SelectionSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Train pooling with a linear read-out to report the label of the marked state, on the population loss.

    The key of a state says whether it is marked, (1, 0) or (0, 1), its value is the label ±1 if it is, else N(0, 1). Scores
    read keys, pooled are values. ``counted``, ``counted_at_start (replica,)``: share of right answers on ``n_test`` fresh
    sequences,
    of the trained and of the untrained model. ``accuracy (replica,)``: the same of the trained model in the limit of many,
    for the
    weights don't depend on values, so that the read-out is Gaussian given the label. ``largest_weight``: of any head. ``loss
    (replica, record)`` at ``steps``; ``diverged_at``.
    """
    model = SelectingPool(setting.n_heads, setting.bound, setting.n_tokens)
    steps = log_spaced_steps(setting.n_steps, 40)
    run = train(
        model,
        Selection(),
        Adam(setting.learning_rate),
        seeds,
        Plan(setting.n_steps, loss_steps=steps, dtype=torch.float64, device=device),
        [Record(Combined(), (0, setting.n_steps))],
    )
    signal, noise = model.signal_and_noise(run.parameters)
    counted = np.array(
        [
            _right_answers(rows, each, setting.n_test)
            for rows, each in zip(run.records["combined"], _tests(seeds), strict=True)
        ]
    )
    return {
        "counted_at_start": counted[:, 0],
        "counted": counted[:, 1],
        "steps": np.tile(steps, (len(seeds), 1)),
        "loss": run.loss,
        "diverged_at": run.diverged_at,
        "accuracy": torch.special.ndtr(signal / noise).cpu().numpy(),
        "largest_weight": model.weights(run.parameters).amax((1, 2)).cpu().numpy(),
    }


def pooling_weights(scores: Tensor, bound: str) -> Tensor:
    """Weights ``(..., head, token)`` of scores, bounded by tanh and by their norm over heads as ``bound`` says."""
    if bound != "none":
        scores = torch.tanh(scores)
    if bound == "l2":
        scores = scores / scores.norm(dim=-2, keepdim=True)
    return torch.softmax(scores, dim=-1)


@dataclass(frozen=True)
class SelectingPool:
    """P, Q ``(replica, 2, head)`` and a linear read-out ``(replica, head)`` of pooled values."""

    n_heads: int
    bound: str
    n_tokens: int

    def initialise(self, streams: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        def normal(*shape: int) -> Tensor:
            return torch.stack([torch.randn(*shape, generator=each, dtype=dtype) for each in streams])

        return {"P": normal(2, self.n_heads), "Q": normal(2, self.n_heads), "readout": normal(self.n_heads)}

    def weights(self, parameters: Parameters) -> Tensor:
        """``(replica, head, token)``; the first state is the marked one, and the context is the mean key."""
        P, Q, T = parameters["P"], parameters["Q"], self.n_tokens
        context = torch.tensor([1 / T, 1 - 1 / T], dtype=P.dtype, device=P.device)
        scores = (context @ P)[:, :, None] * Q.mT  # (replica, head, kind of key)
        scores = torch.cat([scores[..., :1], scores[..., 1:].expand(-1, -1, T - 1)], dim=-1)
        return pooling_weights(scores, self.bound)

    def combined(self, parameters: Parameters) -> Tensor:
        """Weight of each state's value in the read-out, ``(replica, token)``."""
        return (parameters["readout"][:, :, None] * self.weights(parameters)).sum(1)

    def signal_and_noise(self, parameters: Parameters) -> tuple[Tensor, Tensor]:
        """Mean times label and standard deviation of the read-out given the label, ``(replica,)``."""
        combined = self.combined(parameters)
        return combined[:, 0], combined[:, 1:].norm(dim=-1)


@dataclass(frozen=True)
class Combined:
    """What is seen of a model: the weight of each state's value in its read-out."""

    def __call__(self, model: SelectingPool, parameters: Parameters) -> dict[str, Tensor]:
        return {"combined": model.combined(parameters)}


@dataclass(frozen=True)
class Selection:
    """The population loss: given the label, the read-out is Gaussian, and its mean logistic loss is a Gauss-Hermite sum."""

    n_nodes: int = 64
    numbers_per_step: int = 0

    def fill(self, numbers: Tensor, stream: torch.Generator) -> None:
        """A population loss draws nothing."""

    def loss(self, model: SelectingPool, parameters: Parameters, numbers: Tensor | None) -> Tensor:
        signal, noise = model.signal_and_noise(parameters)
        nodes, masses = np.polynomial.hermite_e.hermegauss(self.n_nodes)
        x, p = (torch.from_numpy(each).to(signal) for each in (nodes, masses / masses.sum()))
        return torch.nn.functional.softplus(-(signal[:, None] + noise[:, None] * x)) @ p

    def largest_array(self, model: SelectingPool) -> int:
        return model.n_heads * model.n_tokens + self.n_nodes


def _tests(seeds: Sequence[np.random.SeedSequence]) -> list[torch.Generator]:
    return random_streams.generators(seeds, "test")


def _right_answers(combined: np.ndarray, stream: torch.Generator, n_test: int) -> np.ndarray:
    """Share of fresh sequences whose label has the sign of the read-out, for each row of weights ``(record, token)``."""
    weights = torch.from_numpy(np.asarray(combined))
    labels = 2.0 * torch.randint(2, (n_test, 1), generator=stream) - 1
    values = torch.randn(n_test, weights.shape[-1], generator=stream, dtype=weights.dtype)
    values[:, :1] = labels
    return ((values @ weights.mT * labels) > 0).double().mean(0).numpy()


def _cosine(pair: Tensor) -> Tensor:
    """|cosine| of the angle between the two contexts' directions ``(2, head, dim)``."""
    return torch.nn.functional.cosine_similarity(pair[0], pair[1], dim=-1).abs()
