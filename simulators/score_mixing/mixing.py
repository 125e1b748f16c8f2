"""Convolved scores on generic tokens and planted blocks, edge scores on two classes, copies of all keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from attnlab.kernels.operators.operator import QKV, Graph, Sizes
from attnlab.kernels.operators.score_mixing.edge_scores import EdgeScores
from attnlab.kernels.operators.score_mixing.graph_isomorphic import GraphIsomorphic
from attnlab.kernels.operators.score_mixing.multi_token import MultiToken
from attnlab.simulators.ensemble import random_streams
from attnlab.simulators.ensemble.setting import checked, require_at_least, require_positive
from attnlab.simulators.ensemble.simulation import simulation


@dataclass(frozen=True)
class KernelSetting:
    """Scores of ``n_tokens`` tokens of ``width`` convolved with random kernels of 6 x 11, of each rank of ``ranks``.

    ``n_scores``: side of a square of independent scores.
    """

    n_tokens: int = 60
    width: int = 4
    ranks: tuple[int, ...] = (1, 3, 6)
    n_scores: int = 300
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "n_tokens", "width", "n_scores", "n_replicas")
        if not all(1 <= r <= 6 for r in self.ranks):
            raise ValueError(f"ranks={self.ranks!r} must be from 1 to 6: kernels have six rows")


@simulation(name="score_mixing.kernels", block=8)
def kernels(setting: KernelSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``rank`` (replica, kernel): of the convolved scores, away from the borders. ``kernel`` (replica, kernel, 6, 11).

    ``mixed``, ``prepared`` (replica, query, key): scores under the rank-one kernel u v, and products of queries convolved with u
    and keys with v, away from the borders; ``plain``: without. ``gain`` (replica,): variance of independent scores after the
    last kernel, over before.
    """
    found: dict[str, list] = {name: [] for name in ("rank", "kernel", "mixed", "prepared", "plain", "gain")}
    n, d, operator = setting.n_tokens, setting.width, MultiToken(6, 11)
    inside = slice(6, n - 6)
    for stream in random_streams.generators(seeds, "data"):
        q, k = (torch.randn(n, d, generator=stream, dtype=torch.float64) for _ in range(2))
        S, ranks, every = (q @ k.T)[None, None, None], [], []
        for rank in setting.ranks:
            u, v = (torch.randn(m, rank, generator=stream, dtype=torch.float64) for m in (6, 11))
            kernel = u @ v.T
            mixed = operator.mixed(S, kernel[None, None])[0, 0, 0][inside, inside]
            values = torch.linalg.svdvals(mixed)
            ranks.append(int((values > 1e-9 * values[0]).sum()))
            every.append(kernel.numpy())
        u, v = (torch.randn(m, generator=stream, dtype=torch.float64) for m in (6, 11))
        found["mixed"].append(operator.mixed(S, torch.outer(u, v)[None, None])[0, 0, 0][inside, inside].numpy())
        Q = sum(u[a] * q.roll(a, 0) for a in range(6))
        K = sum(v[b] * k.roll(5 - b, 0) for b in range(11))
        found["prepared"].append((Q @ K.T)[inside, inside].numpy())
        found["plain"].append(S[0, 0, 0][inside, inside].numpy())
        scores = torch.randn(1, 1, 1, setting.n_scores, setting.n_scores, generator=stream, dtype=torch.float64)
        after = operator.mixed(scores, torch.tensor(every[-1])[None, None])[..., 6:-6, 6:-6]
        found["gain"].append((after.square().mean() / scores.square().mean()).item())
        found["rank"].append(ranks)
        found["kernel"].append(every)
    return {name: np.array(values) for name, values in found.items()}


@dataclass(frozen=True)
class BlockSetting:
    """``n_blocks`` blocks of ``block`` distinct letters of 26, two letters asked for that one block alone holds together."""

    n_blocks: int = 50
    block: int = 5
    n_draws: int = 60
    n_replicas: int = 24

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "n_draws", "n_replicas")
        require_at_least(self, 2, "n_blocks", "block")


@simulation(name="score_mixing.blocks", block=8)
def blocks(setting: BlockSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``kernel`` (replica,): share of draws in which a kernel of ones finds the block.

    ``tied``: mean share of the right block in all matches of single letters, what attention to matches gives it.
    """
    found: dict[str, list] = {"kernel": [], "tied": []}
    N, B = setting.n_blocks, setting.block
    operator, ones = MultiToken(2, 2 * B + 1), torch.zeros(1, 1, 2, 2 * B + 1, dtype=torch.float64)
    ones[..., :B] = 1  # both queries, the letters of the block before its separator
    for stream in random_streams.generators(seeds, "data"):
        right, tied = [], []
        for _ in range(setting.n_draws):
            letters = torch.stack([torch.randperm(26, generator=stream)[:B] for _ in range(N)])
            both = (letters == 0).any(1) & (letters == 1).any(1)
            while both.any():  # letters 0 and 1 are asked for; no other block may hold both
                again = torch.stack([torch.randperm(26, generator=stream)[:B] for _ in range(int(both.sum()))])
                letters[both] = again
                both = (letters == 0).any(1) & (letters == 1).any(1)
            letters[0, :2] = torch.tensor([0, 1])
            rest = torch.randperm(24, generator=stream)[: B - 2] + 2
            letters[0, 2:] = rest
            S = torch.zeros(2, N, B + 1, dtype=torch.float64)
            S[0, :, :B], S[1, :, :B] = (letters == 0).double(), (letters == 1).double()
            mixed = operator.mixed(S.flatten(1)[None, None, None], ones)[0, 0, 0, 1].reshape(N, B + 1)[:, -1]
            right.append(bool(mixed[0] == 2 and mixed[1:].max() < 2))
            tied.append((S[:, 0].sum() / S.sum()).item())
        found["kernel"].append(np.mean(right))
        found["tied"].append(np.mean(tied))
    return {name: np.array(values) for name, values in found.items()}


@dataclass(frozen=True)
class ClassSetting:
    """``n_nodes`` nodes of two balanced classes, features y mu + N(0, 1) in ``dim`` dimensions, |mu| = ``mean_norm``."""

    mean_norm: float = 1.5
    dim: int = 8
    n_nodes: int = 400
    n_replicas: int = 32

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "mean_norm", "dim", "n_replicas")
        require_at_least(self, 4, "n_nodes")


@simulation(name="score_mixing.classes", block=8)
def classes(setting: ClassSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Area under the curve (replica,) of raw scores for "same class": ``product``, ``additive``, ``mixed``; random weights a.

    Over pairs of the first half of the nodes with the second half, as many of each class in both.
    """
    found: dict[str, list] = {name: [] for name in ("product", "additive", "mixed")}
    n, d = setting.n_nodes // 4 * 4, setting.dim
    y = torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(n // 2)
    same = torch.outer(y[: n // 2], y[n // 2 :]) > 0
    for stream in random_streams.generators(seeds, "data"):
        mu = torch.zeros(d, dtype=torch.float64)
        mu[0] = setting.mean_norm
        x = y[:, None] * mu + torch.randn(n, d, generator=stream, dtype=torch.float64)
        inputs = Graph(x[None, None], torch.ones(1, n, n, dtype=torch.bool))
        for name in found:
            operator = EdgeScores(name)
            own = operator.initialise(Sizes(n=n, d=d, d_v=d), [stream], torch.float64)
            own["value"] = torch.eye(d, dtype=torch.float64)[None, None]
            scores = operator.scores(operator.values(inputs, own), own)[0, 0, 0][: n // 2, n // 2 :]
            found[name].append(_auc(scores[same], scores[~same]))
    return {name: np.array(values) for name, values in found.items()}


def _auc(above: torch.Tensor, below: torch.Tensor) -> float:
    """Share of pairs of scores in which the first is larger, ties one half, by ranks."""
    order = torch.cat([above, below]).unique(return_inverse=True)[1].double()
    counts = torch.bincount(order.long()).double()
    rank = counts.cumsum(0) - (counts - 1) / 2  # mean rank of equal values
    total = rank[order.long()[: len(above)]].sum() - len(above) * (len(above) + 1) / 2
    return (total / (len(above) * len(below))).item()


@dataclass(frozen=True)
class CopySetting:
    """All keys and values written ``copies`` times, ``n_tokens`` of them in heads of ``width``."""

    copies: tuple[int, ...] = (2, 4, 8)
    n_tokens: int = 5
    width: int = 4
    n_replicas: int = 8

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "copies", "n_tokens", "width", "n_replicas")


@simulation(name="score_mixing.copies", block=8)
def copies(setting: CopySetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``softmax``, ``sigmoid`` (replica, copies): what the first token gathers from m copies over what it gathers from one.

    ``blind``, ``seen`` (replica, copies): change of the sum's output beside m = 1, over its size, with self weight 0 and 1/2.
    """
    found: dict[str, list] = {name: [] for name in ("softmax", "sigmoid", "blind", "seen")}
    n, d = setting.n_tokens, setting.width
    for stream in random_streams.generators(seeds, "data"):
        q, k, v = (torch.randn(1, 1, 1, n, d, generator=stream, dtype=torch.float64) for _ in range(3))
        rows: dict[str, list] = {name: [] for name in found}
        for m in setting.copies:
            more = QKV(*(x.repeat(1, 1, 1, m, 1) for x in (q, k, v)))
            for name in ("softmax", "sigmoid"):
                operator = GraphIsomorphic(name, epsilon=0.0)
                one, many = (operator.matrix(x, {})[0, 0, 0, 0] @ x.v[0, 0, 0] for x in (QKV(q, k, v), more))
                rows[name].append((many @ one / (one @ one)).item())
            own = operator.initialise(Sizes(n=n, d=d, d_v=d), [stream], torch.float64)
            for name, weight in (("blind", 0.0), ("seen", 0.5)):
                own["self_weight"] = torch.full((1, 1), weight, dtype=torch.float64)
                one, many = (operator.apply(x, own)[0, 0, 0, 0] for x in (QKV(q, k, v), more))
                rows[name].append(((many - one).norm() / one.norm()).item())
        for name, values in rows.items():
            found[name].append(values)
    return {name: np.array(values) for name, values in found.items()}
