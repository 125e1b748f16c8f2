"""What of the past reaches the future: ranks of Jacobians of future outputs with respect to past tokens, and of blocks of
maps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import elu, softplus

from attnlab.simulators.ensemble.setting import checked, require_positive
from attnlab.simulators.ensemble.simulation import simulation

MODELS = ("linear", "normalised", "s6", "ssd", "gated", "softmax")


@dataclass(frozen=True)
class RankSetting:
    """``n_past`` tokens of width ``dim``, then ``n_future``; ``n_state`` states per channel. Singular values above ``floor``
    count.

    ``floor`` is relative to the largest.
    """

    model: str = "linear"
    n_past: int = 8
    n_future: int = 10
    dim: int = 4
    n_state: int = 3
    floor: float = 1e-11
    n_replicas: int = 8

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "n_past", "n_future", "dim", "n_state", "floor", "n_replicas")
        if self.model not in MODELS:
            raise ValueError(f"model={self.model!r} is unknown; use one of {', '.join(map(repr, MODELS))}")


@simulation(name="recurrent_forms.ranks", block=4, reads=("model", "n_past", "n_future", "dim", "n_state", "floor"))
def ranks(setting: RankSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``jacobian (replica,)``: rank of d(future outputs) / d(past tokens); ``block``: rank of the map between them for fixed
    weights.

    ``last`` and ``next (replica,)``: the least singular value of the Jacobian that counts and the largest that does not,
    relative.
    """
    found: dict[str, list] = {"jacobian": [], "block": [], "last": [], "next": []}
    for seed in seeds:
        rng = np.random.default_rng(seed)
        model = _model(setting, rng)
        u = torch.from_numpy(rng.standard_normal((setting.n_past + setting.n_future, setting.dim)))
        future = u[setting.n_past :]

        def outputs(past: Tensor, model: Callable = model, future: Tensor = future) -> Tensor:
            tokens = torch.cat([past, future])
            return model(tokens, tokens)[len(past) :].flatten()

        jacobian = torch.autograd.functional.jacobian(outputs, u[: setting.n_past], vectorize=True)
        values = np.linalg.svd(jacobian.reshape(-1, u[: setting.n_past].numel()).numpy(), compute_uv=False)
        values /= values[0]
        rank = int(np.sum(values > setting.floor))
        unit = torch.eye(len(u), dtype=u.dtype)  # one channel: each token alone is 1
        phi = torch.stack(
            [model(u, unit[:, j : j + 1].expand(-1, setting.dim))[:, 0] for j in range(setting.n_past)], 1
        )
        block = np.linalg.svd(phi[setting.n_past :].numpy(), compute_uv=False)
        found["jacobian"].append(rank)
        found["block"].append(int(np.sum(block > setting.floor * block[0])))
        found["last"].append(values[rank - 1])
        found["next"].append(values[rank] if rank < len(values) else 0.0)
    return {name: np.array(values) for name, values in found.items()}


def _model(setting: RankSetting, rng: np.random.Generator) -> Callable[[Tensor, Tensor], Tensor]:
    """A function of tokens, which make the coefficients, and of values, to outputs (position, channel); values go through W_V."""
    d, n = setting.dim, setting.n_state
    W = {name: torch.from_numpy(rng.standard_normal((d, n)) / d**0.5) for name in ("q", "k")}
    wide = {name: torch.from_numpy(2 * rng.standard_normal((d, d)) / d**0.5) for name in ("q", "k", "f", "w", "o")}
    value = torch.from_numpy(rng.standard_normal((d, d)) / d**0.5)
    scalar = torch.from_numpy(rng.standard_normal(d) / d**0.5)
    rates = torch.from_numpy(rng.uniform(0.1, 1.0, (d, n) if setting.model == "s6" else 1))

    def run(u: Tensor, values: Tensor) -> Tensor:
        v = values @ value if values is u else values
        if setting.model == "softmax":
            scores = (u @ wide["q"]) @ (u @ wide["k"]).T / d**0.5
            return scores.masked_fill(torch.ones_like(scores).triu(1).bool(), -torch.inf).softmax(-1) @ v
        q, k = u @ W["q"], u @ W["k"]
        if setting.model == "linear":
            q, k = elu(q) + 1, elu(k) + 1
            return torch.tril(q @ k.T) @ v / (torch.tril(q @ k.T)).sum(1, keepdim=True)
        if setting.model == "normalised":
            return torch.tril(q @ k.T) @ v / torch.exp(u @ scalar)[:, None]
        if setting.model == "gated":
            return _recur(torch.sigmoid(u @ wide["f"])[..., None], torch.sigmoid(u @ wide["w"])[..., None],
                          torch.sigmoid(u @ wide["o"])[..., None], v)  # fmt: skip
        step = softplus(u @ scalar)[:, None, None]
        decay = torch.exp(-step * rates).expand(len(u), d, n)
        return _recur(decay, (step * k[:, None, :]).expand(-1, d, n), q[:, None, :].expand(-1, d, n), v)

    return run


def _recur(decay: Tensor, gain: Tensor, read: Tensor, v: Tensor) -> Tensor:
    """Coefficients (position, channel, state), values (position, channel)."""
    state, rows = torch.zeros_like(gain[0]), []
    for A, B, C, x in zip(decay, gain, read, v, strict=True):
        state = A * state + B * x[:, None]
        rows.append((C * state).sum(-1))
    return torch.stack(rows)
