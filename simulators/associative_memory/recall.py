"""Associative memories by direct simulation: store n random pairs by one of several rules, read them out, count errors.

Nothing is trained but by the rule itself. A replica is ``n_draws`` independent memories, so that its error is nearly normal.
Keys are uniform on the sphere, ±1/sqrt(d), or N(0, I/d); values are N(0, 1), ±1, or one-hot labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from attnlab.simulators.ensemble import random_streams
from attnlab.simulators.ensemble.setting import checked, require_at_least, require_one_of, require_positive
from attnlab.simulators.ensemble.simulation import simulation

VALUES = ("gaussian", "sign", "class")
KEYS = ("spherical", "binary", "gaussian")
RULES = ("hebb", "scaled", "delta", "decay", "least_squares", "polynomial", "exponential", "softmax", "nearest")
TIE = 1e-9  # sums of binary keys that cancel, but for rounding
SPLITS = (1, 2, 4, 8)  # heads among which a width is divided


@dataclass(frozen=True)
class Setting:
    """``rate``: the delta rule's beta, the decay gamma, the degree of a polynomial, or the inverse temperature.

    ``scaled`` multiplies the Hebbian read-out by one factor for all draws of a replica, the least-squares one. ``cue_noise``:
    queries are ``k_j + cue_noise * N(0, I/d)``. Values ``"class"`` are one-hot labels, uniform among ``value_dim`` classes.
    """

    dim: int = 16
    n_pairs: int = 40
    value_dim: int = 16
    keys: str = "spherical"
    values: str = "gaussian"
    rule: str = "hebb"
    rate: float = 1.0
    cue_noise: float = 0.0
    n_draws: int = 50
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "dim", "n_pairs", "value_dim", "rate", "n_draws", "n_replicas")
        require_at_least(self, 0, "cue_noise")
        require_one_of(self, "keys", KEYS)
        require_one_of(self, "values", VALUES)
        require_one_of(self, "rule", RULES)


@simulation(name="associative_memory.retrieve", block=4)
def retrieve(setting: Setting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Mean squared errors per value entry.

    ``error (replica, pair)``: in the order written, mean over draws and entries; ``wrong_sign``: share of entries whose sign is
    wrong, ties counted half. ``right_label (replica, pair)``: how often the largest entry is the one of a one-hot value, ties
    shared. ``factor (replica,)`` of the rule ``scaled``. For rules with weights a_i on the values: ``target_weight``, a_j on
    the pair's own;
    ``target_error``, ``(1 - a_j)^2``; ``weight_error``, ``(1 - a_j)^2 + sum of the other weights squared``.
    """
    found: dict[str, list[np.ndarray]] = {}
    for stream in random_streams.generators(seeds, "data"):
        K, V, Q = _pairs(setting, stream)
        weights = None if setting.rule in ("delta", "least_squares") else read_weights(setting, K, Q)
        out = _corrected(setting, K, V, Q) if weights is None else weights @ V
        factor = (out * V).sum() / (out**2).sum() if setting.rule == "scaled" else torch.tensor(1.0, dtype=K.dtype)
        out, weights = factor * out, None if weights is None else factor * weights
        sign = torch.where(out.abs() < TIE, 0.5, (torch.sign(out) != torch.sign(V)).double())
        row = {"error": ((out - V) ** 2).mean((0, 2)), "wrong_sign": sign.mean((0, 2))}
        if setting.rule == "scaled":
            row["factor"] = factor
        if setting.values == "class":
            largest = out >= out.amax(-1, keepdim=True) - TIE
            row["right_label"] = ((largest & (V > 0)).sum(-1) / largest.sum(-1)).mean(0)
        if weights is not None:
            own = weights.diagonal(dim1=1, dim2=2)
            row |= {
                "target_weight": own.mean(0),
                "target_error": ((1 - own) ** 2).mean(0),
                "weight_error": ((weights**2).sum(-1) - own**2 + (1 - own) ** 2).mean(0),
            }
        for name, value in row.items():
            found.setdefault(name, []).append(value.numpy())
    return {name: np.stack(rows) for name, rows in found.items()}


@dataclass(frozen=True)
class OverlapSetting:
    """Overlaps of one spherical key with ``n_pairs - 1`` others."""

    dim: int = 64
    n_pairs: int = 40
    n_draws: int = 400
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "dim", "n_pairs", "n_draws", "n_replicas")


@simulation(name="associative_memory.guarantee", block=8)
def guarantee(setting: OverlapSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Is retrieval of signs guaranteed for every assignment of values?

    ``guaranteed (replica, n_pairs - 1)``: share of draws in which the row sums of ``|k_i . k_j|`` of *all* keys stay below 1,
    with 2, 3, ... pairs. ``reach (replica,)``: mean number of other keys after which the first key's row sum reaches 1 (draws in
    which it does not count as ``n_pairs``).
    """
    found = {"guaranteed": [], "reach": []}
    for stream in random_streams.generators(seeds, "data"):
        K = _spherical(setting.n_draws, setting.n_pairs, setting.dim, stream)
        overlaps = (K @ K.mT).abs()
        overlaps.diagonal(dim1=1, dim2=2).zero_()
        sums = overlaps.cumsum(-1)  # (draw, key, others up to)
        n = torch.arange(setting.n_pairs)
        stored = n[:, None] <= n[None]  # key i is stored when n + 1 pairs are
        worst = torch.where(stored, sums, 0.0).amax(1)
        found["guaranteed"].append((worst[:, 1:] < 1).double().mean(0).numpy())
        below = (sums[:, 0] < 1).sum(-1)  # includes the key itself
        found["reach"].append(below.double().mean().numpy())
    return {name: np.stack(rows) for name, rows in found.items()}


@dataclass(frozen=True)
class DepthSetting:
    """``n_heads`` memories of ±1 values whose majority decides, in ``n_layers`` layers with fresh keys and stored cues: layers
    that clean up what they read."""

    dim: int = 16
    n_pairs: int = 12
    n_heads: tuple[int, ...] = (1, 3, 7, 15)
    n_layers: int = 16
    n_draws: int = 200
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "dim", "n_pairs", "n_heads", "n_layers", "n_draws", "n_replicas")
        if self.dim % SPLITS[-1]:
            raise ValueError(f"dim={self.dim!r} is not a multiple of {SPLITS[-1]}, the most heads it is divided among")
        if any(heads % 2 == 0 for heads in self.n_heads):
            raise ValueError(f"n_heads={self.n_heads!r} holds an even number: heads could tie; use odd numbers")


@simulation(name="associative_memory.depth", block=4)
def depth(setting: DepthSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Heads with independent keys vote on a sign, layer by layer.

    ``head_error (replica,)``: share of wrong heads; ``majority_error (replica, len(n_heads))``; ``success (replica, len(n_heads),
    n_layers)``: share of chains right in all layers so far. ``mean_error (replica, len(n_heads))``: mean squared error of the
    average of the first heads' read-outs; ``split_error (replica, 4)``: of the average of 1, 2, 4, 8 heads of width dim / heads.
    """
    most, layers, draws = max(setting.n_heads), setting.n_layers, setting.n_draws
    found: dict[str, list] = {
        name: [] for name in ("head_error", "majority_error", "success", "mean_error", "split_error")
    }
    for stream in random_streams.generators(seeds, "data"):
        count = draws * layers * most
        values = _signs((draws * layers, setting.n_pairs), stream).repeat_interleave(most, 0)
        K = _spherical(count, setting.n_pairs, setting.dim, stream)
        read = torch.einsum("mnd,md,mn->m", K, K[:, 0], values) * values[:, 0]
        read = read.view(draws, layers, most)
        found["head_error"].append((read < 0).double().mean())
        wrong = torch.stack([(read[..., :heads] < 0).sum(-1) * 2 > heads for heads in setting.n_heads])
        found["majority_error"].append(wrong.double().mean((1, 2)))
        found["success"].append((~wrong).double().cumprod(-1).mean(1))
        found["mean_error"].append(
            torch.stack([((read[..., :heads].mean(-1) - 1) ** 2).mean() for heads in setting.n_heads])
        )
        split = []
        for heads in SPLITS:
            width = setting.dim // heads
            keys = _spherical(draws * layers * heads, setting.n_pairs, width, stream)
            signs = _signs((draws * layers, setting.n_pairs), stream).repeat_interleave(heads, 0)
            out = torch.einsum("mnd,md,mn->m", keys, keys[:, 0], signs) * signs[:, 0]
            split.append(((out.view(draws * layers, heads).mean(-1) - 1) ** 2).mean())
        found["split_error"].append(torch.stack(split))
    return {name: np.stack([np.asarray(row) for row in rows]) for name, rows in found.items()}


@dataclass(frozen=True)
class DeepSetting:
    """A chain of Hebbian memories, ``n_heads`` in each of ``n_layers`` layers; every memory holds ``n_pairs`` pairs."""

    dim: int = 16
    n_pairs: int = 12
    n_heads: int = 1
    n_layers: int = 6
    n_draws: int = 400
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "dim", "n_pairs", "n_heads", "n_layers", "n_draws", "n_replicas")


@simulation(name="associative_memory.deep_chain", block=4)
def deep_chain(setting: DeepSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Every read-out is the next cue: the values of a layer are the keys of the next one, nothing is cleaned up on the way.

    Item i has a key in every head of every layer, uniform on the sphere. A head of layer l holds ``sum_i v_i k_i^T``, v_i the
    keys of the item in layer l + 1, one for each of its heads; the read-outs of the heads are averaged, and each head of
    layer l + 1 gets its part. The first cue is a stored key. Each layer holds signs of the items beside the keys, and decides.

    Along the layers ``(replica, n_layers)``: ``error``, mean squared error per entry of the read-out signs; ``wrong_sign``:
    share of wrong ones; ``success``: share of chains right in all layers so far.
    """
    draws, n, d, heads = setting.n_draws, setting.n_pairs, setting.dim, setting.n_heads
    found: dict[str, list] = {"error": [], "wrong_sign": [], "success": []}
    for stream in random_streams.generators(seeds, "data"):
        K = _spherical(draws * heads, n, d, stream).view(draws, heads, n, d)
        cue, right = K, torch.ones(draws, n, dtype=torch.bool)  # (draw, head, chain, dim)
        rows: dict[str, list] = {name: [] for name in found}
        for _ in range(setting.n_layers):
            weights = (cue @ K.mT).mean(1)  # (draw, chain, item): what the heads read, on average
            signs = _signs((draws, n), stream)
            read = (weights @ signs[..., None])[..., 0] * signs
            right = right & (read > 0)
            rows["error"].append(float(((read - 1) ** 2).mean()))
            rows["wrong_sign"].append(float((read < 0).double().mean()))
            rows["success"].append(float(right.double().mean()))
            K = _spherical(draws * heads, n, d, stream).view(draws, heads, n, d)
            cue = weights[:, None] @ K
        for name, row in rows.items():
            found[name].append(row)
    return {name: np.array(rows) for name, rows in found.items()}


@dataclass(frozen=True)
class ChainSetting:
    """A signal of 0 through layers ``x <- gain (x + noise)``."""

    gain: float = 1.1
    noise_std: float = 0.1
    n_layers: int = 20
    n_draws: int = 2_000
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "gain", "noise_std", "n_layers", "n_draws", "n_replicas")


@simulation(name="associative_memory.propagate", block=16)
def propagate(setting: ChainSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``variance (replica, n_layers)``: mean square of the signal after each layer."""
    rows = []
    for stream in random_streams.generators(seeds, "data"):
        x, squares = torch.zeros(setting.n_draws, dtype=torch.float64), []
        for _ in range(setting.n_layers):
            noise = torch.randn(setting.n_draws, generator=stream, dtype=torch.float64)
            x = setting.gain * (x + setting.noise_std * noise)
            squares.append(float((x**2).mean()))
        rows.append(squares)
    return {"variance": np.array(rows)}


def read_weights(setting: Setting, K: Tensor, Q: Tensor) -> Tensor:
    """Weights ``(draw, query, pair)`` with which a rule mixes the values."""
    overlaps, n, rate = Q @ K.mT, K.shape[1], setting.rate
    if setting.rule == "decay":
        return overlaps * rate ** torch.arange(n - 1, -1, -1, dtype=K.dtype)
    if setting.rule == "polynomial":
        return overlaps**rate
    if setting.rule == "exponential":
        return torch.exp(rate * (overlaps - 1))
    if setting.rule == "softmax":
        return torch.softmax(rate * overlaps, dim=-1)
    if setting.rule == "nearest":
        return torch.nn.functional.one_hot(overlaps.argmax(-1), n).to(K.dtype)
    return overlaps


def _corrected(setting: Setting, K: Tensor, V: Tensor, Q: Tensor) -> Tensor:
    """Read-outs of the memories that correct errors: one pass of the delta rule, or least squares."""
    if setting.rule == "least_squares":
        return Q @ (torch.linalg.pinv(K) @ V)
    memory = torch.zeros(K.shape[0], K.shape[2], V.shape[2], dtype=K.dtype)
    for k, v in zip(K.unbind(1), V.unbind(1), strict=True):
        memory += setting.rate * k[:, :, None] * (v - torch.einsum("md,mdv->mv", k, memory))[:, None]
    return Q @ memory


def _pairs(setting: Setting, stream: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Keys ``(draw, pair, dim)``, values ``(draw, pair, value_dim)`` and cues."""
    draws, n, d = setting.n_draws, setting.n_pairs, setting.dim
    if setting.keys == "spherical":
        K = _spherical(draws, n, d, stream)
    else:
        K = (
            _signs((draws, n, d), stream)
            if setting.keys == "binary"
            else torch.randn(draws, n, d, generator=stream, dtype=torch.float64)
        )
        K = K / d**0.5
    shape = (draws, n, setting.value_dim)
    if setting.values == "class":
        labels = torch.randint(setting.value_dim, (draws, n), generator=stream)
        V = torch.nn.functional.one_hot(labels, setting.value_dim).double()
    else:
        V = (
            _signs(shape, stream)
            if setting.values == "sign"
            else torch.randn(shape, generator=stream, dtype=torch.float64)
        )
    noise = (
        setting.cue_noise
        and setting.cue_noise * torch.randn(draws, n, d, generator=stream, dtype=torch.float64) / d**0.5
    )
    return K, V, K + noise


def _spherical(draws: int, n: int, dim: int, stream: torch.Generator) -> Tensor:
    K = torch.randn(draws, n, dim, generator=stream, dtype=torch.float64)
    return K / K.norm(dim=-1, keepdim=True)


def _signs(shape: tuple[int, ...], stream: torch.Generator) -> Tensor:
    return torch.randint(2, shape, generator=stream).double() * 2 - 1
