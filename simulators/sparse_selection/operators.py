"""Identities of the operators themselves, on generic inputs: dropped sets, remembered ratios, landmarks, groups, thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from attnlab.kernels.attention import attention
from attnlab.kernels.operators.base_scores.dot_product import DotProduct
from attnlab.kernels.operators.operator import QKV, Sizes
from attnlab.kernels.operators.sparse_selection.groups import Groups
from attnlab.kernels.operators.sparse_selection.landmark import Landmark
from attnlab.kernels.operators.sparse_selection.rescaled_sparse import RescaledSparse
from attnlab.kernels.operators.sparse_selection.selective import Selective
from attnlab.kernels.operators.sparse_selection.threshold_relative import ThresholdRelative
from attnlab.simulators.ensemble import random_streams
from attnlab.simulators.ensemble.setting import checked, require_at_least, require_positive
from attnlab.simulators.ensemble.simulation import simulation


@dataclass(frozen=True)
class IdentitySetting:
    """Sequences of ``n_tokens`` tokens (a multiple of 4) with heads of width ``dim``, standard normal."""

    n_tokens: int = 12
    dim: int = 4
    n_replicas: int = 8

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "n_replicas")
        require_at_least(self, 2, "dim")
        require_at_least(self, 8, "n_tokens")
        if self.n_tokens % 4:
            raise ValueError(f"n_tokens={self.n_tokens!r} must be a multiple of 4, the length of a block")


@simulation(name="sparse_selection.dropped", block=8)
def dropped(setting: IdentitySetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Attention of one query on a random half of its keys.

    ``error`` (replica, d): less attention on all; ``weights`` (replica, key), ``values`` (replica, key, d), ``kept``.
    """
    found: dict[str, list] = {name: [] for name in ("error", "weights", "values", "kept")}
    n, d = setting.n_tokens, setting.dim
    for stream in random_streams.generators(seeds, "data"):
        q, k, v = (torch.randn(m, d, generator=stream, dtype=torch.float64) for m in (1, n, n))
        kept = torch.randperm(n, generator=stream) < n // 2
        found["error"].append((attention(q, k, v, mask=kept[None]) - attention(q, k, v))[0].numpy())
        found["weights"].append(attention(q, k, torch.eye(n, dtype=torch.float64))[0].numpy())
        found["values"].append(v.numpy())
        found["kept"].append(kept.numpy())
    return {name: np.array(values) for name, values in found.items()}


@simulation(name="sparse_selection.remembered", block=8)
def remembered(setting: IdentitySetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Rescaled sparse attention one step after a dense one, everything moved by .3 of its size.

    ``error`` (replica, query, d): less full attention; ``ratio`` (replica, 2, query) then and now; ``inside``, ``outside``
    (replica, 2, query, d): outputs in and outside the window.
    """
    found: dict[str, list] = {name: [] for name in ("error", "ratio", "inside", "outside")}
    n, d, operator = setting.n_tokens, setting.dim, RescaledSparse(2, setting.n_tokens)
    at = torch.arange(n)
    window = (at[:, None] - at[None]).abs() <= 2
    for stream in random_streams.generators(seeds, "data"):
        then = [torch.randn(1, 1, 1, n, d, generator=stream, dtype=torch.float64) for _ in range(3)]
        now = [x + 0.3 * torch.randn(x.shape, generator=stream, dtype=torch.float64) for x in then]
        parts = []
        for q, k, v in (then, now):
            p = DotProduct().matrix(QKV(q, k, v), {})[0, 0, 0]
            R = (p * window).sum(-1, keepdim=True)
            parts.append((R[:, 0], (p * window) @ v[0, 0, 0] / R, (p * ~window) @ v[0, 0, 0] / (1 - R)))
        y = operator.apply(QKV(*now), operator.remembered(QKV(*then)))
        found["error"].append((y - DotProduct().apply(QKV(*now), {}))[0, 0, 0].numpy())
        for i, name in enumerate(("ratio", "inside", "outside")):
            found[name].append(np.stack([part[i].numpy() for part in parts]))
    return {name: np.array(values) for name, values in found.items()}


@simulation(name="sparse_selection.landmarks", block=8)
def landmarks(setting: IdentitySetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Landmark attention with blocks of 4 on random scores, first query.

    ``change`` (replica, d): output less that without the last block; ``mass``: its weight; ``inside``, ``without`` (replica,
    d): outputs of the block and of the rest. ``weights``, ``full`` (replica, query, ordinary token): the map when every
    landmark's score is the log-sum-exp of its block, and softmax on ordinary tokens.
    """
    found: dict[str, list] = {name: [] for name in ("change", "mass", "inside", "without", "weights", "full")}
    n, operator = setting.n_tokens, Landmark(4)
    at = torch.arange(n)
    ordinary = at % 4 != 3
    for stream in random_streams.generators(seeds, "data"):
        s = torch.randn(n, n, generator=stream, dtype=torch.float64)
        v = torch.randn(n, setting.dim, generator=stream, dtype=torch.float64)
        hidden = s.clone()
        hidden[0, -1] = -1e9  # the landmark of the last block
        W, rest = operator.weights(s, at, False)[0], operator.weights(hidden, at, False)[0] @ v
        mass = W[-4:].sum()
        found["change"].append((W @ v - rest).numpy())
        found["mass"].append(mass.item())
        found["inside"].append((W[-4:] @ v[-4:] / mass).numpy())
        found["without"].append(rest.numpy())
        exact = s.clone()
        for last in range(3, n, 4):
            exact[:, last] = s[:, last - 3 : last].logsumexp(-1)
        found["weights"].append(operator.weights(exact, at, False)[:, ordinary].numpy())
        found["full"].append(s[:, ordinary].softmax(-1).numpy())
    return {name: np.array(values) for name, values in found.items()}


@simulation(name="sparse_selection.grouped", block=8)
def grouped(setting: IdentitySetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Group attention on keys that are alike in fours.

    ``output`` and ``full`` (replica, query, d): of groups and of all keys; ``moved``: full with keys longer by a billionth.
    """
    found: dict[str, list] = {name: [] for name in ("output", "full", "moved")}
    n, d = setting.n_tokens, setting.dim
    for stream in random_streams.generators(seeds, "data"):
        q, v = (torch.randn(1, 1, 1, n, d, generator=stream, dtype=torch.float64) for _ in range(2))
        k = torch.randn(1, 1, 1, n // 4, d, generator=stream, dtype=torch.float64).repeat_interleave(4, -2)
        found["output"].append(Groups(n // 4).apply(QKV(q, k, v), {})[0, 0, 0].numpy())
        for name, keys in (("full", k), ("moved", k * (1 + 1e-9))):
            found[name].append(DotProduct().apply(QKV(q, keys, v), {})[0, 0, 0].numpy())
    return {name: np.array(values) for name, values in found.items()}


@dataclass(frozen=True)
class TiltSetting:
    """Keys at ``radius`` per coordinate (Gaussian) from a centre, one query of norm sqrt(``dim``)."""

    radius: float = 0.3
    dim: int = 16
    n_keys: int = 20_000
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "radius", "dim", "n_keys", "n_replicas")


@simulation(name="sparse_selection.tilts", block=8)
def tilts(setting: TiltSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``rms`` (replica,): of ln of true over grouped weight; ``deficit``: grouped over true mass of the group."""
    rms, deficit = [], []
    for stream in random_streams.generators(seeds, "data"):
        q = torch.randn(setting.dim, generator=stream, dtype=torch.float64)
        q *= setting.dim**0.5 / q.norm()
        k = setting.radius * torch.randn(setting.n_keys, setting.dim, generator=stream, dtype=torch.float64)
        s = k @ q / setting.dim**0.5  # scores less that of the centre
        rms.append(s.square().mean().sqrt().item())
        deficit.append(1 / s.exp().mean().item())
    return {"rms": np.array(rms), "deficit": np.array(deficit)}


@dataclass(frozen=True)
class MaskingSetting:
    """Selective attention on ``n_tokens`` tokens whose scores are independent Gaussians of spread ``score_std``."""

    score_std: float = 1.0
    n_tokens: int = 128
    n_replicas: int = 32

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "score_std", "n_replicas")
        require_at_least(self, 8, "n_tokens")


@simulation(name="sparse_selection.maskings", block=8)
def maskings(setting: MaskingSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``factor`` (replica,): mean factor per step on the weight of an earlier token; ``growth``: of F per step.

    Keys are unit vectors, so that every score is an entry of a query. ``pairs``: steps that are averaged.
    """
    found: dict[str, list] = {name: [] for name in ("factor", "growth", "pairs")}
    n = setting.n_tokens
    at = torch.arange(n)
    later = (at[:, None] > at[None] + 1) & (at[None] > 0)  # not the first token, nor the step at which masking starts
    for stream in random_streams.generators(seeds, "data"):
        q = setting.score_std * torch.randn(1, 1, 1, n, n, generator=stream, dtype=torch.float64)
        k = n**0.5 * torch.eye(n, dtype=torch.float64)[None, None, None]
        F = Selective().masking(q, k)[0, 0, 0]
        step = (F - F.roll(1, 0))[later]
        found["factor"].append((-step).exp().mean().item())
        found["growth"].append(step.mean().item())
        found["pairs"].append(step.numel())
    return {name: np.array(values) for name, values in found.items()}


@dataclass(frozen=True)
class ThresholdSetting:
    """Irrelevant scores N(-``margin``, 1), ``n_keys`` of them; ``inserted`` keys below the threshold before a query."""

    margin: float = 2.0
    n_keys: int = 50
    inserted: int = 40
    n_draws: int = 2000
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "n_keys", "inserted", "n_draws", "n_replicas")


@simulation(name="sparse_selection.thresholds", block=8)
def thresholds(
    setting: ThresholdSetting, seeds: Sequence[np.random.SeedSequence], device: str
) -> dict[str, np.ndarray]:
    """``clean`` (replica,): share of rows without a false survivor.

    ``longer``, ``short`` (replica, 3): threshold relative attention of the last query with and without the inserted keys;
    ``softmax``: dot-product attention with them.
    """
    found: dict[str, list] = {name: [] for name in ("clean", "longer", "short", "softmax")}
    operator, more = ThresholdRelative(), setting.inserted
    for stream in random_streams.generators(seeds, "data"):
        s = torch.randn(setting.n_draws, setting.n_keys, generator=stream, dtype=torch.float64) - setting.margin
        found["clean"].append((s <= 0).all(-1).double().mean().item())
        own = operator.initialise(Sizes(n=5, d=4, d_v=3), [stream], torch.float64)
        q, k, w = (torch.randn(1, 1, 1, 5 + more, 4, generator=stream, dtype=torch.float64).abs() for _ in range(3))
        v = torch.randn(1, 1, 1, 5 + more, 3, generator=stream, dtype=torch.float64)
        below = (torch.arange(5 + more) >= 2) & (torch.arange(5 + more) < 2 + more)
        keys = torch.where(below[:, None], -w, k)
        longer, short = QKV(q, keys, v), QKV(*(x[..., ~below, :] for x in (q, keys, v)))
        for name, operators, inputs, parameters in (
            ("longer", operator, longer, own), ("short", operator, short, own), ("softmax", DotProduct(), longer, {}),
        ):  # fmt: skip
            found[name].append(operators.apply(inputs, parameters, causal=True)[0, 0, 0, -1].numpy())
    return {name: np.array(values) for name, values in found.items()}
