"""Differences of two maps, reversed maps, transport plans and bell gates on planted weights, trees and generic tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import gelu, normalize

from attnlab.kernels.operators.base_scores.dot_product import DotProduct
from attnlab.kernels.operators.operator import QKV, Sizes, Tokens
from attnlab.kernels.operators.score_maps.difference import Difference
from attnlab.kernels.operators.score_maps.gaussian_gate import GaussianGate
from attnlab.kernels.operators.score_maps.reversed import Reversed
from attnlab.kernels.operators.score_maps.sinkhorn import Sinkhorn
from attnlab.simulators.ensemble import random_streams
from attnlab.simulators.ensemble.setting import checked, require_at_least, require_positive
from attnlab.simulators.ensemble.simulation import simulation


@dataclass(frozen=True)
class NoiseSetting:
    """A signal in the first of two rows of ``n_weights`` noisy weights; noises of ``correlation``, gain ``ratio`` K."""

    ratio: float = 2.0
    correlation: float = 0.5
    n_weights: int = 20_000
    n_replicas: int = 24

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "ratio", "n_replicas")
        require_at_least(self, 10, "n_weights")
        if not 0 <= self.correlation < 1:
            raise ValueError(f"correlation={self.correlation!r} must be in [0, 1)")


@simulation(name="score_maps_plans_and_trees.noises", block=8)
def noises(setting: NoiseSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``gain`` (replica,): power signal to noise of the combined weights over that of the first map.

    ``share``: least-squares share of the second noise in the first, ``best``: the gain when that share is taken off.
    ``operator``, ``by_hand``, ``no_half`` (replica, query, key): the operator's map with random adapters, its two maps combined,
    and combined with gains K and K.
    """
    found: dict[str, list] = {name: [] for name in ("gain", "share", "best", "operator", "by_hand", "no_half")}
    K, rho = setting.ratio, setting.correlation
    operator = Difference(K, 3)
    for stream in random_streams.generators(seeds, "data"):
        shared, other = (torch.randn(setting.n_weights, generator=stream, dtype=torch.float64) for _ in range(2))
        first, second = shared, rho * shared + (1 - rho**2) ** 0.5 * other
        mixed = (K + 0.5) * first - (K - 0.5) * second
        found["gain"].append(((K + 0.5) ** 2 * first.square().mean() / mixed.square().mean()).item())
        share = (first @ second) / (second @ second)
        found["share"].append(share.item())
        found["best"].append((first.square().mean() / (first - share * second).square().mean()).item())
        q, k, v = (torch.randn(1, 1, 1, 5, 4, generator=stream, dtype=torch.float64) for _ in range(3))
        own = operator.initialise(Sizes(n=5, d=4, d_v=4), [stream], torch.float64)
        own["up"] = torch.randn(own["up"].shape, generator=stream, dtype=torch.float64)
        found["operator"].append(operator.matrix(QKV(q, k, v), own)[0, 0, 0].numpy())
        moved = [x + gelu(x @ own["down"][0, i]) @ own["up"][0, i] for i, x in enumerate((q, k, q, k))]
        plus, minus = (DotProduct().matrix(QKV(moved[i], moved[i + 1], v), {})[0, 0, 0].numpy() for i in (0, 2))
        found["by_hand"].append((K + 0.5) * plus - (K - 0.5) * minus)
        found["no_half"].append(K * (plus - minus))
    return {name: np.array(values) for name, values in found.items()}


@dataclass(frozen=True)
class TreeSetting:
    """``n_tokens`` children that send to random parents: logit ``margin`` on the parent, noise of ``noise_std`` on all.

    ``score_std``: of independent Gaussian logits without a tree; ``n_draws`` such trees.
    """

    n_tokens: int = 300
    margin: float = 6.0
    noise_std: float = 2.0
    score_std: float = 1.0
    n_draws: int = 4
    n_replicas: int = 24

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "noise_std", "score_std", "n_draws", "n_replicas")
        require_at_least(self, 3, "n_tokens")


@simulation(name="score_maps_plans_and_trees.trees", block=8)
def trees(setting: TreeSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``recovered`` (replica,): share of children whose largest noisy logit is their parent's.

    ``received``, ``children`` (replica, token): mass without noise, and number of children. ``variance`` (replica,): of the mass
    received from Gaussian logits. ``total``, ``sent``, ``kept`` (replica, 2, d): summed output of the operator's map, of what is
    sent, and of the map whose rows sum to 1.
    """
    found: dict[str, list] = {
        name: [] for name in ("recovered", "received", "children", "variance", "total", "sent", "kept")
    }
    n, operator = setting.n_tokens, Reversed()
    for stream in random_streams.generators(seeds, "data"):
        right, spread = [], []
        for _ in range(setting.n_draws):
            parent = torch.randint(n, (n,), generator=stream)
            logits = torch.zeros(n, n, dtype=torch.float64)
            logits[torch.arange(n), parent] = setting.margin
            noisy = logits + setting.noise_std * torch.randn(n, n, generator=stream, dtype=torch.float64)
            right.append((noisy.argmax(-1) == parent).double().mean().item())
            random = setting.score_std * torch.randn(n, n, generator=stream, dtype=torch.float64)
            spread.append((random.softmax(-1).sum(0) - 1).square().mean().item())
        found["recovered"].append(np.mean(right))
        found["variance"].append(np.mean(spread))
        found["received"].append(logits.softmax(-1).sum(0).numpy())
        found["children"].append(torch.bincount(parent, minlength=n).numpy())
        x = Tokens(torch.randn(1, 1, 9, 8, generator=stream, dtype=torch.float64))
        own = operator.initialise(Sizes(n=9, d=4, d_v=4, n_heads=2), [stream], torch.float64)
        R, v = operator.matrix(x, own)[0, 0], operator.values(x, own)[0, 0]
        for name, value in (("total", R @ v), ("sent", v), ("kept", R.mT @ v)):
            found[name].append(value.sum(-2).numpy())
    return {name: np.array(values) for name, values in found.items()}


@dataclass(frozen=True)
class PlanSetting:
    """Entropic transport between ``n_queries`` and ``n_keys`` random unit vectors of ``dim`` at ``epsilon``.

    Iterations are followed until the plan is within ``tolerance`` of its end.
    """

    epsilon: float = 0.1
    n_queries: int = 8
    n_keys: int = 30
    dim: int = 16
    tolerance: float = 1e-11
    n_replicas: int = 24

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "epsilon", "dim", "tolerance", "n_replicas")
        require_at_least(self, 2, "n_queries", "n_keys")


@simulation(name="score_maps_plans_and_trees.plans", block=8)
def plans(setting: PlanSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``rate`` (replica,): factor of the last full iteration above the tolerance in the distance of the map from its end.

    ``plan`` (replica, query, key): the end; ``columns``: its column sums, ``softmax_columns``: without iterations.
    ``residual`` (replica, 30): distance after 1, 2, ... iterations, largest entry.
    """
    found: dict[str, list] = {name: [] for name in ("rate", "plan", "columns", "softmax_columns", "residual")}
    for stream in random_streams.generators(seeds, "data"):
        q, k = (
            normalize(torch.randn(1, 1, 1, m, setting.dim, generator=stream, dtype=torch.float64), dim=-1)
            for m in (setting.n_queries, setting.n_keys)
        )
        maps = [Sinkhorn(setting.epsilon, t).matrix(QKV(q, k, k), {})[0, 0, 0] for t in (0, 400)]
        end, gaps = maps[1], []
        for t in range(1, 400):
            gaps.append((Sinkhorn(setting.epsilon, t).matrix(QKV(q, k, k), {})[0, 0, 0] - end).abs().max().item())
            if gaps[-1] < setting.tolerance:
                break
        found["rate"].append(gaps[-1] / gaps[-2] if len(gaps) > 1 else np.nan)
        found["plan"].append(end.numpy())
        found["columns"].append(end.sum(-2).numpy())
        found["softmax_columns"].append(maps[0].sum(-2).numpy())
        found["residual"].append((gaps + [gaps[-1]] * 30)[:30])
    return {name: np.array(values) for name, values in found.items()}


@dataclass(frozen=True)
class BellSetting:
    """Gates of one bell of ``width`` (in standard deviations) on channels of ``n_tokens`` normal numbers, ``n_channels``."""

    width: float = 1.0
    n_tokens: int = 1000
    n_channels: int = 16
    n_replicas: int = 24

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "width", "n_channels", "n_replicas")
        require_at_least(self, 3, "n_tokens")


@simulation(name="score_maps_plans_and_trees.bells", block=8)
def bells(setting: BellSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``participation`` (replica,): n sum_t g_t^2, mean of channels.

    ``product`` (replica, token): gate of three bells on twelve ``tokens``, with ``centres``, ``widths`` (replica, 3).
    ``gate``, ``shifted``, ``scaled`` (replica, token): gate of one centred bell, after adding 5, after doubling;
    ``off_centre``, ``off_centre_scaled``: of a bell off the mean.
    """
    names = (
        "participation",
        "product",
        "centres",
        "widths",
        "tokens",
        "gate",
        "shifted",
        "scaled",
        "off_centre",
        "off_centre_scaled",
    )
    found: dict[str, list] = {name: [] for name in names}
    one, three = GaussianGate(1), GaussianGate(3)

    def gate(operator: GaussianGate, x: torch.Tensor, centre: torch.Tensor, width: torch.Tensor) -> torch.Tensor:
        own = {"centre": centre[None], "log_width": width.log()[None]}
        return operator.matrix(Tokens(x[None, None]), own)[0, 0].diagonal(dim1=-2, dim2=-1)  # (channel, token)

    for stream in random_streams.generators(seeds, "data"):
        n, zero, width = setting.n_tokens, torch.zeros(1, dtype=torch.float64), torch.tensor([setting.width]).double()
        x = torch.randn(n, setting.n_channels, generator=stream, dtype=torch.float64)
        own = {"centre": zero[None], "log_width": width.log()[None]}
        # y = g x: the gate is read off the output, as the map of n x n numbers per channel would be large
        g = one.apply(Tokens(x[None, None]), own)[0, 0] / x
        found["participation"].append((n * g.square().sum(0)).mean().item())
        few = torch.randn(12, 1, generator=stream, dtype=torch.float64)
        centres = 0.5 * torch.randn(3, generator=stream, dtype=torch.float64)
        widths = torch.exp(0.3 * torch.randn(3, generator=stream, dtype=torch.float64))
        for name, value in (
            ("product", gate(three, few, centres, widths)[0]), ("centres", centres), ("widths", widths), ("tokens", few[:, 0]),
            ("gate", gate(one, few, zero, width)[0]), ("shifted", gate(one, few + 5, zero, width)[0]),
            ("scaled", gate(one, 2 * few, zero, width)[0]), ("off_centre", gate(one, few, zero + 0.5, width)[0]),
            ("off_centre_scaled", gate(one, 2 * few, zero + 0.5, width)[0]),
        ):  # fmt: skip
            found[name].append(value.numpy())
    return {name: np.array(values) for name, values in found.items()}
