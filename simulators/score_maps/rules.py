"""Gradients of score maps by autograd, blockwise passes over keys, standardised rows as linear attention, forget gates as
recurrences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from attnlab.kernels.attention import attention
from attnlab.kernels.attention.biases import ForgetGate
from attnlab.kernels.operators.gates_and_memory.forgetting import Forgetting
from attnlab.kernels.operators.operator import QKV, Sizes, Tokens
from attnlab.kernels.operators.score_maps.rectified import Rectified
from attnlab.kernels.operators.score_maps.standardised import StandardisedScores
from attnlab.simulators.ensemble.setting import checked, require_at_least, require_positive
from attnlab.simulators.ensemble.simulation import simulation
from attnlab.simulators.score_maps.random_rows import maps, weights_of

DIFFERENTIATED = ("softmax", "softplus", "softpick", "clipped", "signed", "standardised")


@dataclass(frozen=True)
class RuleSetting:
    """``n_queries`` and ``n_keys`` of ``dim``, values as wide; ``block`` keys at a time; ``cut`` as in RowSetting; ``gate``: a
    constant forget gate."""

    n_queries: int = 6
    n_keys: int = 24
    dim: int = 5
    block: int = 7
    cut: float = 1.5
    gate: float = 0.8
    n_replicas: int = 8

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "n_queries", "dim", "block", "cut", "n_replicas")
        require_at_least(self, 3, "n_keys")
        if not 0 < self.gate < 1:
            raise ValueError(f"gate={self.gate!r} must be between 0 and 1, both excluded")


@simulation(name="score_maps_rules.gradients", block=8, reads=("n_queries", "n_keys", "cut"))
def gradients(setting: RuleSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``scores``, ``upstream`` and per map of DIFFERENTIATED the gradient of sum(upstream W) by autograd, (replica, query,
    key)."""
    scores = maps(setting.n_keys, setting.cut)
    found: dict[str, list] = {name: [] for name in ("scores", "upstream", *DIFFERENTIATED)}
    for seed in seeds:
        s, P = torch.from_numpy(np.random.default_rng(seed).standard_normal((2, setting.n_queries, setting.n_keys)))
        found["scores"].append(s.numpy())
        found["upstream"].append(P.numpy())
        for name in DIFFERENTIATED:
            x = s.clone().requires_grad_()
            (slope,) = torch.autograd.grad((weights_of(scores[name], x) * P).sum(), x)
            found[name].append(slope.numpy())
    return {name: np.array(values) for name, values in found.items()}


@simulation(name="score_maps_rules.blockwise", block=8, reads=("n_queries", "n_keys", "dim", "block"))
def blockwise(setting: RuleSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Outputs (replica, query, dim) of one pass over blocks of keys, ``NAME_blocks``, beside the dense ``NAME_dense``, for
    softpick, signed and softmax with forget gates (``forgetting``); ``NAME_unscaled``: without the change of level between
    blocks. ``clamped``, ``unclamped``: softpick's output in float32 where all scores but the last are -200 and the last is 1,
    with the level max(0, max s) and with max s; ``unclamped_low``: with max s where all are -200. These of one query, (replica,
    dim)."""
    found: dict[str, list] = {}
    for seed in seeds:
        g = np.random.default_rng(seed)
        q, k, v = (
            torch.from_numpy(g.standard_normal((n, setting.dim))) for n in (setting.n_queries, *(setting.n_keys,) * 2)
        )
        fades = torch.from_numpy(np.log(g.uniform(0.5, 1.0, setting.n_keys)))
        s = 2 * q @ k.mT
        for name in ("softpick", "signed"):
            dense = attention(q, k, v, score=maps(setting.n_keys, 1.0)[name], scale=2.0)
            _keep(found, name, dense, [_one_pass(s, v, setting.block, name, rescale) for rescale in (True, False)])
        dense = attention(q, k, v, scale=2.0, mask="causal", bias=ForgetGate(fades))
        c, past = fades.cumsum(0), torch.ones_like(s).tril(s.shape[1] - s.shape[0]) > 0
        last = c[s.shape[1] - s.shape[0] :, None]
        faded = torch.where(past, s + last - c, -torch.inf)
        _keep(
            found,
            "forgetting",
            dense,
            [_one_pass(faded, v, setting.block, "softmax", rescale) for rescale in (True, False)],
        )
        low = torch.full((1, setting.n_keys), -200.0)
        high = low.clone()
        high[0, -1] = 1.0
        for name, x, clamp in (("clamped", high, True), ("unclamped", high, False), ("unclamped_low", low, False)):
            found.setdefault(name, []).append(
                _one_pass(x, v.float(), setting.block, "softpick", True, clamp)[0].numpy()
            )
    return {name: np.array(values) for name, values in found.items()}


@simulation(name="score_maps_rules.forms", block=8, reads=("n_queries", "n_keys", "dim", "gate"))
def forms(setting: RuleSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Operators with what their other forms need. ``q``, ``k``, ``v``; ``standardised``: outputs of standardised rows (gain 1,
    offset 1/4); ``rectified``, ``rectified_tripled``: ReLA's output at scores s and 3 s. ``fading_scores``, ``gates``,
    ``fading``: scores, gates and map of the forgetting transformer on n_keys tokens; ``gate_slope``, ``score_slope``: gradients
    of a random linear function of the map in ln f and in the scores; ``constant``: its map, on the same scores, with one
    constant gate."""
    found: dict[str, list] = {}
    sizes = Sizes(n=setting.n_keys, d=setting.dim, d_v=setting.dim)
    for seed in seeds:
        rng = np.random.default_rng(seed)
        q, k, v = (
            torch.from_numpy(rng.standard_normal((1, 1, 1, n, setting.dim)))
            for n in (setting.n_queries, *(setting.n_keys,) * 2)
        )
        rectified = Rectified(epsilon=1e-300)
        gain = {"gain": torch.ones(1, setting.dim, dtype=torch.float64)}
        x = Tokens(torch.from_numpy(rng.standard_normal((1, 1, setting.n_keys, setting.dim))))
        forgetting = Forgetting()
        parameters = forgetting.initialise(
            sizes, [torch.Generator().manual_seed(int(rng.integers(2**31)))], torch.float64
        )
        fading = forgetting.matrix(x, parameters)[0, 0, 0]
        log_gates = forgetting.log_gates(x.x, parameters)[0, 0, 0]
        s = torch.from_numpy(rng.standard_normal((setting.n_keys, setting.n_keys)))
        P = torch.from_numpy(rng.standard_normal((setting.n_keys, setting.n_keys)))
        lf, free = (y.clone().requires_grad_() for y in (log_gates, s))
        value = (_faded(free, lf) * P).sum()
        gate_slope, score_slope = torch.autograd.grad(value, (lf, free))
        constant = torch.full((setting.n_keys,), float(np.log(setting.gate)), dtype=torch.float64)
        # log of a row of the operator's map, whose gates are taken off, is its scores up to a constant per row
        c = log_gates.cumsum(0)
        scores = torch.where(fading > 0, fading, 1.0).log() - (c[:, None] - c)
        for name, value in (
            ("q", q[0, 0, 0]), ("k", k[0, 0, 0]), ("v", v[0, 0, 0]),
            ("standardised", StandardisedScores().apply(QKV(q, k, v), {})[0, 0, 0]),
            ("rectified", rectified.apply(QKV(q, k, v), gain)[0, 0, 0]),
            ("rectified_tripled", rectified.apply(QKV(3 * q, k, v), gain)[0, 0, 0]),
            ("gates", log_gates.exp()), ("fading", fading), ("fading_scores", scores),
            ("gate_slope", gate_slope), ("score_slope", score_slope), ("scores", s),
            ("faded", _faded(s, log_gates)), ("constant", _faded(s, constant)),
        ):  # fmt: skip
            found.setdefault(name, []).append(value.detach().numpy())
    return {name: np.array(values) for name, values in found.items()}


def _faded(s: Tensor, log_gates: Tensor) -> Tensor:
    """Map of causal softmax attention over scores s (n, n) with forget gates, by the kernels: unit values, scores as a bias."""
    n = len(s)
    nothing = s.new_zeros(n, 1)
    return attention(nothing, nothing, torch.eye(n, dtype=s.dtype), mask="causal", bias=(s, ForgetGate(log_gates)))


def _one_pass(s: Tensor, v: Tensor, block: int, name: str, rescale: bool, clamp: bool = True) -> Tensor:
    """Outputs by one pass over blocks of keys with a running level m: both sums are rescaled by e^(m - m') when it grows."""
    m = s.new_full((len(s), 1), 0.0 if name == "softpick" and clamp else -torch.inf)
    total, out = s.new_zeros(len(s), 1), v.new_zeros(len(s), v.shape[1])
    for start in range(0, s.shape[1], block):
        part, values = s[:, start : start + block], v[start : start + block]
        sized = part.abs() if name == "signed" else part
        new = torch.maximum(m, sized.amax(1, keepdim=True))
        safe = torch.where(new == -torch.inf, 0.0, new)
        factor = torch.exp(m - safe) if rescale else torch.ones_like(safe)
        e = torch.exp(sized - safe)
        if name == "softpick":
            e = e - torch.exp(-safe)
        top = torch.relu(e) if name == "softpick" else torch.sign(part) * e if name == "signed" else e
        total, out = factor * total + e.abs().sum(1, keepdim=True), factor * out + top @ values
        m = new
    return out / torch.where(total > 0, total, 1.0) if clamp else out / total


def _keep(found: dict[str, list], name: str, dense: Tensor, passes: list[Tensor]) -> None:
    for what, value in zip(("dense", "blocks", "unscaled"), (dense, *passes), strict=True):
        found.setdefault(f"{name}_{what}", []).append(value.numpy())
