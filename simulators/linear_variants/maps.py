"""Maps of linear variants: parabolas, mediators, latents, bottlenecks, rectified rows, learned rows; ranks, bounds and shares."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from attnlab.kernels.operators.linear_variants.latent_mixture import LatentMixture
from attnlab.kernels.operators.linear_variants.mediator_tokens import MediatorTokens
from attnlab.kernels.operators.linear_variants.relu_linear import ReluLinear
from attnlab.kernels.operators.linear_variants.taylor_shift import TaylorShift
from attnlab.kernels.operators.low_rank.perceiver import Perceiver
from attnlab.kernels.operators.operator import QKV, Grid, Sizes, Tokens
from attnlab.kernels.operators.score_maps.learned_rows import LearnedRows
from attnlab.simulators.ensemble import random_streams
from attnlab.simulators.ensemble.setting import checked, require_at_least, require_positive
from attnlab.simulators.ensemble.simulation import simulation

ZERO = 1e-9  # singular values below this part of the largest count as zero


def _rank(matrix: torch.Tensor) -> int:
    values = torch.linalg.svdvals(matrix)
    return int((values > ZERO * values[0]).sum())


@dataclass(frozen=True)
class ParabolaSetting:
    """TaylorShift on ``n_tokens`` tokens of heads of ``width``; the largest weight ratio over a grid of ``n_temperatures``.

    ``n_keys``: sizes at which half of the mass is put on one key of cosine 1 among keys of cosine 0.
    """

    width: int = 4
    n_tokens: int = 64
    n_temperatures: int = 400
    n_keys: tuple[int, ...] = (64, 256, 1024)
    n_replicas: int = 8

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "n_tokens", "n_replicas")
        require_at_least(self, 2, "width", "n_temperatures", "n_keys")


@simulation(name="linear_variants.parabolas", block=8)
def parabolas(setting: ParabolaSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``direct`` and ``linear`` (replica, query, d): map times values, and the linear form, the same inputs.

    ``rank`` (replica, 2): of the weights with keys of unit length, and as drawn. ``ratio``: largest weight of an aligned key
    over an opposite one, temperatures 0 to 8. ``temperature`` (replica, size): where one key has half of the mass.
    """
    found: dict[str, list] = {name: [] for name in ("direct", "linear", "rank", "ratio", "temperature")}
    n, d, operator = setting.n_tokens, setting.width, TaylorShift()
    one = {"temperature": torch.ones(1, 1, dtype=torch.float64)}
    for stream in random_streams.generators(seeds, "data"):
        q, k, v = (torch.randn(1, 1, 1, n, d, generator=stream, dtype=torch.float64) for _ in range(3))
        W = operator.matrix(QKV(q, k, v), one)
        found["direct"].append((W @ v)[0, 0, 0].numpy())
        found["linear"].append(operator.apply(QKV(q, k, v), one)[0, 0, 0].numpy())
        s = (q @ k.mT)[0, 0, 0] / d**0.5
        found["rank"].append([_rank(W[0, 0, 0]), _rank(1 + s + s.square() / 2)])
        facing = torch.cat([k[..., :1, :], -k[..., :1, :]], -2)
        ratios = []
        for tau in np.linspace(0, 8, setting.n_temperatures):
            w = operator.matrix(QKV(k[..., :1, :], facing, facing), {"temperature": torch.full((1, 1), tau).double()})
            ratios.append((w[..., 0] / w[..., 1]).item())
        found["ratio"].append(max(ratios))
        found["temperature"].append([_half_mass(operator, m, d) for m in setting.n_keys])
    return {name: np.array(values) for name, values in found.items()}


def _half_mass(operator: TaylorShift, n_keys: int, width: int) -> float:
    """Temperature at which the first of n keys, of cosine 1, weighs one half, the others having cosine 0; by bisection."""
    k = torch.zeros(1, 1, 1, n_keys, width, dtype=torch.float64)
    k[..., 0, 0] = 1
    k[..., 1:, 1] = 1
    low, high = 0.0, 1000.0
    for _ in range(60):
        tau = (low + high) / 2
        own = {"temperature": torch.full((1, 1), tau, dtype=torch.float64)}
        heavy = operator.matrix(QKV(k[..., :1, :], k, k), own)[0, 0, 0, 0, 0].item() > 0.5
        low, high = (low, tau) if heavy else (tau, high)
    return (low + high) / 2


@dataclass(frozen=True)
class MediatorSetting:
    """Mediator tokens on a line of ``n_tokens`` cells, ``n_mediators`` of them, tokens ``size`` times standard normal."""

    n_tokens: int = 60
    n_mediators: int = 5
    size: float = 1.0
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "n_tokens", "n_mediators", "size", "n_replicas")


@simulation(name="linear_variants.mediators", block=8)
def mediators(setting: MediatorSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``distance`` (replica,): squared Frobenius distance of the map to the identity; ``largest``: weight of the map;
    ``apart``: the largest total variation between two of its rows.

    ``collect`` (replica, mediator, token) and ``give`` (replica, token, mediator): its two factors.
    """
    found: dict[str, list] = {name: [] for name in ("distance", "largest", "apart", "collect", "give")}
    n, m = setting.n_tokens, setting.n_mediators
    operator = MediatorTokens((1, m))
    for stream in random_streams.generators(seeds, "data"):
        own = operator.initialise(Sizes(n=n, d=8, d_v=8, shape=(1, n)), [stream], torch.float64)
        x = setting.size * torch.randn(1, 1, n, 8, generator=stream, dtype=torch.float64)
        P = operator.matrix(Grid(x, (1, n)), own)[0, 0, 0]
        collect, give = operator.maps(Grid(x, (1, n)), own)
        found["distance"].append((torch.eye(n, dtype=torch.float64) - P).square().sum().item())
        found["largest"].append(P.max().item())
        found["apart"].append(torch.cdist(P, P, p=1).max().item() / 2)
        for name, value in (("collect", collect[0, 0, 0]), ("give", give[0, 0, 0])):
            found[name].append(value.numpy())
    return {name: np.array(values) for name, values in found.items()}


@dataclass(frozen=True)
class LatentSetting:
    """Causal latent attention through ``n_latents`` latents; keys of spread ``key_std``, the last of ``n_tokens`` tokens asks."""

    n_tokens: int = 8
    n_latents: int = 4
    key_std: float = 1.0
    n_draws: int = 2000
    n_replicas: int = 24

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "n_latents", "key_std", "n_draws", "n_replicas")
        require_at_least(self, 2, "n_tokens")


@simulation(name="linear_variants.latents", block=8)
def latents(setting: LatentSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``newest`` (replica,): mean weight of the newest token.

    ``whole``, ``below`` (replica,): rank of a causal map of 6 L tokens, and of its later half of queries on the earlier keys.
    """
    found: dict[str, list] = {name: [] for name in ("newest", "whole", "below")}
    n, L, operator = setting.n_tokens, setting.n_latents, LatentMixture()
    for stream in random_streams.generators(seeds, "data"):
        q = torch.randn(setting.n_draws, 1, 1, 1, L, generator=stream, dtype=torch.float64)
        k = setting.key_std * torch.randn(setting.n_draws, 1, 1, n, L, generator=stream, dtype=torch.float64)
        found["newest"].append(operator.matrix(QKV(q, k, k), {}, causal=True)[..., -1].mean().item())
        q, k = (torch.randn(1, 1, 1, 6 * L, L, generator=stream, dtype=torch.float64) for _ in range(2))
        W = operator.matrix(QKV(q, k, k), {}, causal=True)[0, 0, 0]
        found["whole"].append(_rank(W))
        found["below"].append(_rank(W[3 * L :, : 3 * L]))
    return {name: np.array(values) for name, values in found.items()}


@dataclass(frozen=True)
class BottleneckSetting:
    """``n_latents`` M latents read ``n_tokens`` tokens ``n_reads`` times, each time with other projections.

    Summed reads: values of ``value_width`` numbers, latents of ``width`` numbers.
    """

    n_tokens: int = 24
    n_latents: int = 4
    n_reads: int = 3
    value_width: int = 4
    width: int = 6
    n_replicas: int = 8

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "n_tokens", "n_latents", "n_reads", "value_width", "width", "n_replicas")


@simulation(name="linear_variants.bottlenecks", block=8)
def bottlenecks(
    setting: BottleneckSetting, seeds: Sequence[np.random.SeedSequence], device: str
) -> dict[str, np.ndarray]:
    """Mean share of the energy of independent values outside the best linear read-out, the maps given, from the projector.

    ``apart`` (replica,): reads kept apart; ``summed``: all reads added into the latents, each through its own value matrix.
    """
    found: dict[str, list] = {"apart": [], "summed": []}
    n, M, D, d_v = setting.n_tokens, setting.n_latents, setting.width, setting.value_width
    operator = Perceiver(M, 0)
    for stream in random_streams.generators(seeds, "data"):
        x = 2 * torch.randn(1, 1, n, 8, generator=stream, dtype=torch.float64)
        own = [operator.initialise(Sizes(n=n, d=8, d_v=8), [stream], torch.float64) for _ in range(setting.n_reads)]
        A = [operator.matrix(Tokens(x), each)[0, 0, 0] for each in own]  # (M, n)
        V = [torch.randn(d_v, D, generator=stream, dtype=torch.float64) for _ in own]
        found["apart"].append(1 - _rank(torch.cat(A)) / n)
        found["summed"].append(
            1 - _rank(sum(torch.kron(a.contiguous(), v.mT.contiguous()) for a, v in zip(A, V, strict=True))) / (n * d_v)
        )
    return {name: np.array(values) for name, values in found.items()}


@dataclass(frozen=True)
class RectifiedSetting:
    """Rectified linear attention with unit Gaussian queries and keys of ``width`` channels, ``n_keys`` tokens.

    ``n_few``: a number of tokens at which the normaliser is clamped, ``n_draws`` of them.
    """

    width: int = 32
    n_keys: int = 400
    n_few: int = 10
    n_draws: int = 100
    n_replicas: int = 24

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "width", "n_keys", "n_few", "n_draws", "n_replicas")


@simulation(name="linear_variants.rectified", block=8)
def rectified(setting: RectifiedSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``excess`` (replica,): n sum_j P_ij^2 - 1, mean of rows, over the square of the row sum. ``row_sum``: of few tokens.

    ``field`` (replica,): cells that influence the middle one through the module alone. The scale tau is 1.
    """
    d, operator = setting.width, ReluLinear()
    chosen = {name: torch.zeros(1, 1, 2 * d, d, dtype=torch.float64) for name in ("query", "key")}
    chosen["query"][0, 0, :d] = chosen["key"][0, 0, d:] = torch.eye(d, dtype=torch.float64)
    chosen["scale"] = torch.ones(1, 1, dtype=torch.float64)
    found: dict[str, list] = {name: [] for name in ("excess", "row_sum", "field")}
    for stream in random_streams.generators(seeds, "data"):
        n, m = setting.n_keys, setting.n_few
        x = torch.randn(1, 1, n, 2 * d, generator=stream, dtype=torch.float64)
        P = operator.matrix(Grid(x, (1, n)), chosen)[0, 0, 0]
        found["excess"].append((n * P.square().sum(-1) / P.sum(-1) ** 2 - 1).mean().item())
        x = torch.randn(1, setting.n_draws, m, 2 * d, generator=stream, dtype=torch.float64)
        found["row_sum"].append(operator.matrix(Grid(x, (1, m)), chosen).sum(-1).mean().item())
        own = operator.initialise(Sizes(n=17 * 17, d=2, d_v=2, shape=(17, 17)), [stream], torch.float64)
        mixed = torch.randn(1, 1, 1, 17 * 17, 2, generator=stream, dtype=torch.float64, requires_grad=True)
        operator.post(mixed, Grid(torch.zeros(1, 1, 17 * 17, 2, dtype=torch.float64), (17, 17)), own)[
            0, 0, 17 * 8 + 8
        ].sum().backward()
        found["field"].append(int((mixed.grad[0, 0, 0].abs().amax(-1) > 0).sum()))
    return {name: np.array(values) for name, values in found.items()}


@dataclass(frozen=True)
class RowSetting:
    """Learned rows of ``n_units`` units on ``n_tokens`` tokens; fits of e^x by waves up to each of the ``n_frequencies``."""

    n_tokens: int = 24
    n_units: int = 5
    n_frequencies: tuple[int, ...] = (4, 16, 64)
    n_points: int = 400
    n_replicas: int = 4

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "n_tokens", "n_units", "n_frequencies", "n_points", "n_replicas")


@simulation(name="linear_variants.learned", block=4)
def learned(setting: RowSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``rank`` (replica,) of the map, and fits of e^x by waves.

    ``whole``, ``half`` (replica, frequencies): relative squared error of the best fit on [-pi, pi] and on [-pi/2, pi/2],
    least squares on Gauss-Legendre points.
    """
    found: dict[str, list] = {name: [] for name in ("rank", "whole", "half")}
    n = setting.n_tokens
    operator = LearnedRows(setting.n_units)
    at, weight = np.polynomial.legendre.leggauss(setting.n_points)
    fits = {
        name: [_misfit(scale * math.pi * at, weight, G) for G in setting.n_frequencies]
        for name, scale in (("whole", 1), ("half", 0.5))
    }
    for stream in random_streams.generators(seeds, "data"):
        own = operator.initialise(Sizes(n=n, d=8, d_v=8), [stream], torch.float64)
        q, k = (torch.randn(1, 1, 1, n, 8, generator=stream, dtype=torch.float64) for _ in range(2))
        found["rank"].append(_rank(operator.matrix(QKV(q, k, k), own)[0, 0, 0]))
        for name, values in fits.items():
            found[name].append(values)
    return {name: np.array(values) for name, values in found.items()}


def _misfit(x: np.ndarray, weight: np.ndarray, n_frequencies: int) -> float:
    m = np.arange(1, n_frequencies + 1)
    waves = np.concatenate([np.ones((len(x), 1)), np.cos(x[:, None] * m), np.sin(x[:, None] * m)], 1)
    root = np.sqrt(weight)
    y = root * np.exp(x)
    fitted = np.linalg.lstsq(root[:, None] * waves, y, rcond=1e-13)[0]
    return float(((y - root * (waves @ fitted)) ** 2).sum() / (y**2).sum())
