r"""Derivatives of random stacks of causal layers with respect to the source, with and without a softmax over the source alone.

Fu et al. 2023 (arXiv 2304.04052), at more than one layer. With :math:`N` the norm by root mean square, a layer is

.. math:: x \leftarrow x + \mathrm{softmax}\big(N(x) Q (N(x) K)^\top / \sqrt d\big)\, N(x) V ,

and with a branch (partial attention) a softmax over the source alone with a :math:`V` of its own is added. Flat layers are
:math:`x \leftarrow x + A x V`, A the means over the tokens up to each one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.func import jacrev

from attnlab.simulators.ensemble.setting import checked, require_positive
from attnlab.simulators.ensemble.simulation import simulation


@dataclass(frozen=True)
class StackSetting:
    """``n_draws`` stacks of each of ``depths`` layers, with ``n_source`` source tokens and each of ``target_lengths``, of width
    ``dim``: normal tokens of variance 1, matrices of variance 1 / dim.
    """

    n_source: int = 32
    target_lengths: tuple[int, ...] = (1, 32, 128, 512)
    depths: tuple[int, ...] = (1, 4)
    dim: int = 16
    n_draws: int = 2
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "n_source", "target_lengths", "depths", "dim", "n_draws", "n_replicas")


def last_token(x: Tensor, matrices: Tensor, n_source: int, branch: bool) -> Tensor:
    """Output of the last token, (dim,), of tokens (token, dim) and matrices (layer, 4, dim, dim): Q, K, V and the branch's V."""
    seen = torch.ones(len(x), len(x), dtype=torch.bool).tril()
    for index, (query, key, value, own) in enumerate(matrices):
        rows = slice(-1, None) if index == len(matrices) - 1 else slice(None)
        z = x * torch.rsqrt((x * x).mean(-1, keepdim=True))
        scores = (z[rows] @ query) @ (z @ key).T / x.shape[1] ** 0.5
        mixed = torch.softmax(scores.masked_fill(~seen[rows], -torch.inf), -1) @ (z @ value)
        if branch:
            mixed = mixed + torch.softmax(scores[:, :n_source], -1) @ (z[:n_source] @ own)
        x = x[rows] + mixed
    return x[0]


@simulation(name="source_attention.stacks", block=4)
def stacks(setting: StackSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Means over drawn stacks of squared Frobenius norms of d output of the last token / d source tokens, ``(replica, depth,
    length)``: ``joint``, one softmax per layer; ``branch``, with the source's own beside it."""
    n, d = setting.n_source, setting.dim
    found = {
        name: np.zeros((len(seeds), len(setting.depths), len(setting.target_lengths))) for name in ("joint", "branch")
    }
    for row, seed in enumerate(seeds):
        rng = np.random.default_rng(seed)
        for column, t in enumerate(setting.target_lengths):
            for _ in range(setting.n_draws):
                x = torch.from_numpy(rng.standard_normal((n + t, d)))
                matrices = torch.from_numpy(rng.standard_normal((max(setting.depths), 4, d, d)) / d**0.5)
                for at, depth in enumerate(setting.depths):
                    for name, squares in found.items():
                        squares[row, at, column] += _square(x, matrices[:depth], n, name == "branch") / setting.n_draws
    return found


def _square(x: Tensor, matrices: Tensor, n: int, branch: bool) -> float:
    def output(source: Tensor) -> Tensor:
        return last_token(torch.cat([source, x[n:]]), matrices, n, branch)

    return float((jacrev(output, chunk_size=4)(x[:n]) ** 2).sum())


@simulation(name="source_attention.flat_stacks", block=8)
def flat_stacks(setting: StackSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """The same of flat layers: ``square (replica, depth, length)``, the derivative carried back through drawn layers."""
    n, d = setting.n_source, setting.dim
    square = np.zeros((len(seeds), len(setting.depths), len(setting.target_lengths)))
    for row, seed in enumerate(seeds):
        rng = np.random.default_rng(seed)
        for column, t in enumerate(setting.target_lengths):
            for _ in range(setting.n_draws):
                values = rng.standard_normal((max(setting.depths), d, d)) / d**0.5
                for at, depth in enumerate(setting.depths):
                    square[row, at, column] += np.sum(flat_derivative(values[:depth], n, t) ** 2) / setting.n_draws
    return {"square": square}


def flat_derivative(values: np.ndarray, n_source: int, n_target: int) -> np.ndarray:
    """d output of the last token / d source tokens, (token, output, input), of flat layers with these V (layer, dim, dim)."""
    places = np.arange(1, n_source + n_target + 1)[:, None, None]
    back = np.zeros((n_source + n_target, *values.shape[1:]))
    back[-1] = np.eye(values.shape[1])
    for value in values[::-1]:
        back = back + np.cumsum((back @ value.T / places)[::-1], axis=0)[::-1]
    return back[:n_source]
