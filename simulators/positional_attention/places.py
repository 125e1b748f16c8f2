"""Positional operators where offsets, windows and frequencies are planted: masses, scores, noise beyond the trained range."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from attnlab.kernels.operators.base_scores.dot_product import DotProduct
from attnlab.kernels.operators.operator import QKV, Sizes
from attnlab.kernels.operators.positional_attention.alternating_positions import AlternatingPositions
from attnlab.kernels.operators.positional_attention.disentangled import Disentangled
from attnlab.kernels.operators.positional_attention.fourier_positions import FourierPositions
from attnlab.kernels.operators.positional_attention.relative_positions import RelativePositions
from attnlab.simulators.ensemble import random_streams
from attnlab.simulators.ensemble.setting import checked, require_at_least, require_positive
from attnlab.simulators.ensemble.simulation import simulation


@dataclass(frozen=True)
class OffsetSetting:
    """A table of offsets up to ``farthest`` with a score ``bonus`` on all inner ones; ``lengths`` of texts of equal keys."""

    farthest: int = 5
    bonus: float = 2.0
    lengths: tuple[int, ...] = (20, 67, 200, 1000)
    n_replicas: int = 4

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "n_replicas")
        require_at_least(self, 2, "farthest")
        require_at_least(self, 2 * self.farthest + 3, "lengths")


@simulation(name="positional_attention.offsets", block=4)
def offsets(setting: OffsetSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``near`` (replica, length): mass of the middle query on the 2 m - 1 inner offsets.

    ``operator``, ``naive``, ``swapped`` (replica, token, d): nine random tokens with both tables, the same from pairs, and from
    pairs with the offset's sign turned.
    """
    found: dict[str, list] = {name: [] for name in ("near", "operator", "naive", "swapped")}
    m, d = setting.farthest, 4
    for stream in random_streams.generators(seeds, "data"):
        row = []
        for n in setting.lengths:
            table = torch.zeros(1, 2 * m + 1, d, dtype=torch.float64)
            table[0, 1:-1, 0] = setting.bonus * d**0.5
            q = torch.tensor([1.0, 0, 0, 0], dtype=torch.float64).expand(1, 1, 1, n, d)
            M = RelativePositions(m).matrix(QKV(q, torch.zeros_like(q), q), {"key_table": table})[0, 0, 0, n // 2]
            row.append(M[n // 2 - m + 1 : n // 2 + m].sum().item())
        found["near"].append(row)
        operator, n = RelativePositions(2, True), 9
        own = operator.initialise(Sizes(n=n, d=d, d_v=d), [stream], torch.float64)
        q, k, v = (torch.randn(n, d, generator=stream, dtype=torch.float64) for _ in range(3))
        found["operator"].append(operator.apply(QKV(*(x[None, None, None] for x in (q, k, v))), own)[0, 0, 0].numpy())
        for name, sign in (("naive", 1), ("swapped", -1)):
            at = (sign * (torch.arange(n)[None] - torch.arange(n)[:, None])).clamp(-2, 2) + 2
            keys, values = k + own["key_table"][0][at], v + own["value_table"][0][at]  # (query, key, d)
            A = ((q[:, None] * keys).sum(-1) / d**0.5).softmax(-1)
            found[name].append((A[..., None] * values).sum(1).numpy())
    return {name: np.array(values) for name, values in found.items()}


@dataclass(frozen=True)
class ScoreSetting:
    """Disentangled scores of ``n_tokens`` unit Gaussian tokens of ``width``, tables for all offsets."""

    n_tokens: int = 48
    width: int = 32
    n_replicas: int = 32

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "width", "n_replicas")
        require_at_least(self, 3, "n_tokens")


@simulation(name="positional_attention.disentangled_scores", block=8)
def disentangled_scores(
    setting: ScoreSetting, seeds: Sequence[np.random.SeedSequence], device: str
) -> dict[str, np.ndarray]:
    """``all`` and ``content`` (replica,): variance of scores within rows, mean of rows, with the tables and without.

    Scores are logarithms of the map, up to a number per row. ``map``, ``plain`` (replica, n, n): the map without tables, and
    that of a dot product over sqrt(3 d).
    """
    found: dict[str, list] = {name: [] for name in ("all", "content", "map", "plain")}
    n, d = setting.n_tokens, setting.width
    operator = Disentangled(n)
    for stream in random_streams.generators(seeds, "data"):
        own = operator.initialise(Sizes(n=n, d=d, d_v=d), [stream], torch.float64)
        q, k = (torch.randn(1, 1, 1, n, d, generator=stream, dtype=torch.float64) for _ in range(2))
        none = {name: 0 * x for name, x in own.items()}
        for name, parameters in (("all", own), ("content", none)):
            M = operator.matrix(QKV(q, k, k), parameters)[0, 0, 0]
            found[name].append(M.log().var(-1).mean().item())
        found["map"].append(M.numpy())
        found["plain"].append(DotProduct((3 * d) ** -0.5).matrix(QKV(q, k, k), {})[0, 0, 0].numpy())
    return {name: np.array(values) for name, values in found.items()}


@dataclass(frozen=True)
class WaveSetting:
    """Rotary frequencies of heads of ``width`` that make at least ``periods`` periods on ``trained_length`` distances.

    Profiles of unit noise are fitted there by ridge regression with ``ridge`` and read off up to four times as far.
    """

    periods: float = 1.0
    ridge: float = 1e-6
    trained_length: int = 256
    width: int = 64
    n_draws: int = 200
    n_replicas: int = 24

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "ridge", "trained_length", "n_draws", "n_replicas")
        require_at_least(self, 0, "periods")
        require_at_least(self, 4, "width")


@simulation(name="positional_attention.extrapolations", block=8)
def extrapolations(setting: WaveSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``beyond`` (replica,): mean square of the fit beyond the trained distances. ``kept``: frequencies of the operator.

    ``kept`` counts those above one period, where the operator's floor stands.
    """
    L, d = setting.trained_length, setting.width
    kept = len(FourierPositions(trained_length=L, carrying=1.0).frequencies(d))
    floor = L / setting.periods if setting.periods else math.inf
    w = np.array(FourierPositions(trained_length=floor, carrying=1.0).frequencies(d))
    angle = np.outer(np.arange(4 * L), w)
    B = np.concatenate([np.cos(angle), np.sin(angle)], 1)
    inside, outside = B[:L], B[L:]
    found = []
    for stream in random_streams.generators(seeds, "data"):
        noise = torch.randn(L, setting.n_draws, generator=stream, dtype=torch.float64).numpy()
        fitted = np.linalg.solve(inside.T @ inside + setting.ridge * np.eye(B.shape[1]), inside.T @ noise)
        found.append(((outside @ fitted) ** 2).mean())
    return {"beyond": np.array(found), "kept": np.full(len(found), kept)}


@dataclass(frozen=True)
class ShiftSetting:
    """Rotary and Fourier positions of ``gain`` on ``n_tokens`` tokens that are alike, heads of ``width``."""

    gain: float = 0.3
    n_tokens: int = 10
    width: int = 8
    n_replicas: int = 8

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "gain", "n_replicas")
        require_at_least(self, 4, "n_tokens", "width")


@simulation(name="positional_attention.shifts", block=8)
def shifts(setting: ShiftSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Scores of alike tokens at shifted places, and maps of pairs without frequencies.

    ``later``, ``sooner`` (replica, n - 1, n - 1): scores of tokens 1, 2, ... and of 0, 1, ... at gain 0; ``moved``: later ones at
    the gain. ``free``, ``twice``, ``once`` (replica, n, n): map of pairs without frequencies, of 2 q.k, of q.k.
    """
    found: dict[str, list] = {name: [] for name in ("later", "sooner", "moved", "free", "twice", "once")}
    n, d = setting.n_tokens, setting.width
    for stream in random_streams.generators(seeds, "data"):
        q, k = (torch.randn(1, 1, 1, 1, d, generator=stream, dtype=torch.float64) for _ in range(2))
        for names, gain in ((("later", "sooner"), 0.0), (("moved", None), setting.gain)):
            operator = FourierPositions(gain, 1e9, 1.0)
            own = operator.initialise(Sizes(n=n, d=d, d_v=d), [stream], torch.float64)
            a, b = (operator.prepared(x.expand(1, 1, 1, n, d), torch.arange(n), own)[0, 0, 0] for x in (q, k))
            s = a @ b.T
            for name, part in zip(names, (s[1:, 1:], s[:-1, :-1]), strict=True):
                if name:
                    found[name].append(part.numpy())
        operator = FourierPositions(trained_length=1e-3)
        own = operator.initialise(Sizes(n=n, d=d, d_v=d), [stream], torch.float64)
        x = QKV(*(torch.randn(1, 1, 1, n, d, generator=stream, dtype=torch.float64) for _ in range(3)))
        for name, M in (
            ("free", operator.matrix(x, own)), ("twice", DotProduct(2 * d**-0.5).matrix(x, {})),
            ("once", DotProduct().matrix(x, {})),
        ):  # fmt: skip
            found[name].append(M[0, 0, 0].numpy())
    return {name: np.array(values) for name, values in found.items()}


@dataclass(frozen=True)
class AlternationSetting:
    """Stacks of layers, one of ``period`` full without positions, the others rotary in a ``window``, on ``n_tokens`` tokens.

    ``gap``: logit of a needle above all others; ``gain``: of unit queries and keys; ``n_layers`` windowed layers.
    """

    window: int = 8
    period: int = 4
    n_tokens: int = 64
    n_layers: int = 3
    gap: float = 4.0
    gain: float = 2.0
    n_replicas: int = 8

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "n_layers", "gain", "n_replicas")
        require_at_least(self, 2, "window", "period", "n_tokens")


@simulation(name="positional_attention.alternations", block=8)
def alternations(
    setting: AlternationSetting, seeds: Sequence[np.random.SeedSequence], device: str
) -> dict[str, np.ndarray]:
    """``kept`` (replica,): keys that the last token sees over all layers of a period, over those of full ones.

    ``field``: tokens that reach the last one through the windowed layers alone. ``needle``: weight of a key above all others in a
    full layer. ``normed``: largest weight of any key with queries and keys of unit length, planted opposite to all others.
    """
    found: dict[str, list] = {name: [] for name in ("kept", "field", "needle", "normed")}
    n = setting.n_tokens
    for stream in random_streams.generators(seeds, "data"):
        q, k = (torch.randn(1, 1, 1, n, 4, generator=stream, dtype=torch.float64) for _ in range(2))
        maps = [
            AlternatingPositions(layer, setting.window, setting.period).matrix(QKV(q, k, k), {}, causal=True)[0, 0, 0]
            for layer in range(setting.period)
        ]
        found["kept"].append(np.mean([(M[-1] > 0).double().mean().item() for M in maps]))
        row = torch.zeros(n, dtype=torch.float64)
        row[-1] = 1
        for _ in range(setting.n_layers):
            row = row @ maps[1]
        found["field"].append(int((row > 0).sum()))
        plant = torch.zeros(1, 1, 1, n, 1, dtype=torch.float64)
        plant[..., 3, 0] = setting.gap
        full = AlternatingPositions(0)
        found["needle"].append(full.matrix(QKV(torch.ones_like(plant), plant, plant), {})[0, 0, 0, 0, 3].item())
        unit = torch.nn.functional.normalize(torch.randn(4, generator=stream, dtype=torch.float64), dim=0)
        q = (setting.gain * 4**0.5 * unit).expand(1, 1, 1, 1, 4)
        k = -unit.repeat(n, 1)[None, None, None]
        k[..., 3, :] *= -1
        found["normed"].append(full.matrix(QKV(q, k, k), {}).max().item())
    return {name: np.array(values) for name, values in found.items()}
