"""Gates, slots, merged convolutions and global queries: timescales, lost energy, detection, growth with the length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import normalize, silu

from attnlab.kernels.operators.convolutions import causal_depthwise
from attnlab.kernels.operators.linear_variants.additive_global_query import AdditiveGlobalQuery
from attnlab.kernels.operators.linear_variants.orthogonal_memory import OrthogonalMemory
from attnlab.kernels.operators.linear_variants.refined_gate import RefinedGate
from attnlab.kernels.operators.linear_variants.short_long_convolution import ShortLongConvolution
from attnlab.kernels.operators.operator import Sizes, Tokens
from attnlab.simulators.ensemble import random_streams
from attnlab.simulators.ensemble.setting import checked, require_at_least, require_positive
from attnlab.simulators.ensemble.simulation import simulation

FULL = 60.0  # logit of a refinement that is 1 in double precision


@dataclass(frozen=True)
class GateSetting:
    """The refined gate at the ``timescales`` T = 1/(1 - g), plain (r = 1/2) and fully refined (r = 1); ``n_tokens`` inputs."""

    timescales: tuple[float, ...] = (10.0, 100.0, 1000.0)
    n_tokens: int = 40
    n_replicas: int = 2

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "n_tokens", "n_replicas")
        if any(T <= 4 for T in self.timescales):
            raise ValueError(f"timescales={self.timescales!r} must be above 4: the refined gate at logit 0 has T = 4")


@simulation(name="linear_variants.gates", block=2)
def gates(setting: GateSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """All (replica, timescale): ``plain`` and ``refined`` logits at which the gate reaches T, by bisection; ``ratio`` of slopes.

    ``energy``: sum of squared weights of the last of the tokens in a channel of that gate, all features alike.
    """
    found: dict[str, list] = {name: [] for name in ("plain", "refined", "ratio", "energy")}
    n, operator = setting.n_tokens, RefinedGate()
    for stream in random_streams.generators(seeds, "data"):
        own = operator.initialise(Sizes(n=n, d=1, d_v=1), [stream], torch.float64)
        own = {name: 0 * p for name, p in own.items()}
        rows: dict[str, list] = {name: [] for name in found}
        for T in setting.timescales:
            slopes = []
            for name, refine in (("plain", 0.0), ("refined", FULL)):
                low, high = -5.0, 20.0
                for _ in range(60):
                    a = (low + high) / 2
                    low, high = (a, high) if 1 / (1 - _gate(operator, own, a, refine).item()) < T else (low, a)
                a = torch.tensor((low + high) / 2, dtype=torch.float64, requires_grad=True)
                rows[name].append(a.item())
                slopes.append(torch.autograd.grad(_gate(operator, own, a, refine), a)[0].item())
            rows["ratio"].append(slopes[1] / slopes[0])
            full = dict(own, gate_bias=own["gate_bias"] + rows["plain"][-1])
            W = operator.matrix(Tokens(torch.zeros(1, 1, n, 1, dtype=torch.float64)), full)
            rows["energy"].append(W[0, 0, 0, -1].square().sum().item())
        for name, values in rows.items():
            found[name].append(values)
    return {name: np.array(values) for name, values in found.items()}


def _gate(operator: RefinedGate, own: dict, a: float | torch.Tensor, refine: float) -> torch.Tensor:
    """The gate of a channel whose logits are a and ``refine``."""
    set_to = dict(own, gate_bias=own["gate_bias"] + a, refine_bias=own["refine_bias"] + refine)
    return operator.log_gate(torch.zeros(1, 1, 1, 1, dtype=torch.float64), set_to).exp()[0, 0, 0, 0, 0]


@dataclass(frozen=True)
class SlotSetting:
    """``n_slots`` slots in heads of ``width``; a marker of length ``marker`` in noise of ``noise_std``, ``n_seen`` tokens."""

    n_slots: int = 6
    width: int = 16
    marker: float = 4.0
    noise_std: float = 0.5
    n_seen: int = 16
    n_draws: int = 400
    n_replicas: int = 32

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "n_slots", "marker", "noise_std", "n_seen", "n_draws", "n_replicas")
        require_at_least(self, 2, "width")


@simulation(name="linear_variants.slots", block=8)
def slots(setting: SlotSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """What slots keep of means, when they see a marked token, and whether they know an order.

    ``lost`` (replica,): energy of an isotropic mean outside the slots over all of it. ``until``: squared signal of a token
    along the first slot over the variance of what noise puts there, times the number of tokens. ``here``, ``reordered``
    (replica, d): the global part of a context and of the same in another order; ``others``: of one with another mean.
    """
    found: dict[str, list] = {name: [] for name in ("lost", "until", "here", "reordered", "others")}
    d, t, operator = setting.width, setting.n_seen, OrthogonalMemory(setting.n_slots)
    for stream in random_streams.generators(seeds, "data"):
        own = operator.initialise(Sizes(n=t, d=d, d_v=d), [stream], torch.float64)
        B = own["basis"][0, 0]
        mean = torch.randn(setting.n_draws, d, generator=stream, dtype=torch.float64)
        kept = mean @ B.mT
        found["lost"].append((1 - kept.square().sum() / mean.square().sum()).item())
        noise = setting.noise_std * torch.randn(setting.n_draws, t, d, generator=stream, dtype=torch.float64)
        strength = noise.mean(1) @ B[0]
        signal = setting.marker * (B[0] @ B[0]) / t
        found["until"].append((signal**2 / strength.square().mean() * t).item())
        v, q = (torch.randn(1, 1, 1, t, d, generator=stream, dtype=torch.float64) for _ in range(2))
        order = torch.randperm(t, generator=stream)
        for name, values in (("here", v), ("reordered", v[..., order, :]), ("others", v + 1e-3)):
            found[name].append(operator.global_part(q, values, own, False)[0, 0, 0, 0].numpy())
    return {name: np.array(values) for name, values in found.items()}


@dataclass(frozen=True)
class BranchSetting:
    """A short kernel of ``short`` taps beside a long one, on ``n_tokens`` tokens of two heads of 3."""

    short: int = 3
    n_tokens: int = 20
    n_replicas: int = 8

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "short", "n_tokens", "n_replicas")


@simulation(name="linear_variants.branches", block=8)
def branches(setting: BranchSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``merged`` (replica, token, D): the operator's one kernel; ``apart``: both branches added; ``bent``: a silu inside one.

    ``fourier``: the one kernel by the fast Fourier transform.
    """
    n, operator = setting.n_tokens, ShortLongConvolution(setting.short)
    found: dict[str, list] = {name: [] for name in ("merged", "apart", "bent", "fourier")}
    for stream in random_streams.generators(seeds, "data"):
        own = operator.initialise(Sizes(n=n, d=3, d_v=3, n_heads=2), [stream], torch.float64)
        x = torch.randn(1, 1, n, 6, generator=stream, dtype=torch.float64)
        near, far = (causal_depthwise(x, own[name]) for name in ("short", "long"))
        kernel = operator.merged(own)
        waves = torch.fft.rfft(x, 2 * n, dim=-2) * torch.fft.rfft(kernel[:, None].mT, 2 * n, dim=-2)
        for name, y in (
            ("merged", causal_depthwise(x, kernel)), ("apart", near + far), ("bent", silu(near) + far),
            ("fourier", torch.fft.irfft(waves, 2 * n, dim=-2)[..., :n, :]),
        ):  # fmt: skip
            found[name].append(y[0, 0].numpy())
    return {name: np.array(values) for name, values in found.items()}


@dataclass(frozen=True)
class GlobalSetting:
    """SwiftFormer's global query on ``n_tokens`` standard normal tokens of ``width``."""

    n_tokens: int = 2048
    width: int = 8
    n_replicas: int = 24

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "n_tokens", "n_replicas")
        require_at_least(self, 2, "width")


@simulation(name="linear_variants.global_queries", block=8)
def global_queries(
    setting: GlobalSetting, seeds: Sequence[np.random.SeedSequence], device: str
) -> dict[str, np.ndarray]:
    """``query`` (replica, D): the global query, read off the operator's output with mixing and output the identity.

    ``queries`` (replica, 32, D) of the first tokens and ``weight`` (replica, D) of a second context of 32 tokens, whose global
    query is ``few``. ``size``: length of the query of all tokens.
    """
    D, operator = setting.width, AdditiveGlobalQuery()
    found: dict[str, list] = {name: [] for name in ("size", "few", "queries", "weight")}
    eye = torch.eye(D, dtype=torch.float64)
    for stream in random_streams.generators(seeds, "data"):
        own = operator.initialise(Sizes(n=setting.n_tokens, d=D, d_v=D), [stream], torch.float64)
        own |= {"mix": eye[None], "out": eye[None], "query": eye[None]}
        x = torch.randn(setting.n_tokens, D, generator=stream, dtype=torch.float64)
        found["size"].append(_global(operator, x, own).norm().item())
        found["few"].append(_global(operator, x[:32], own).numpy())
        found["queries"].append(x[:32].numpy())
        found["weight"].append(own["weight"][0].numpy())
    return {name: np.array(values) for name, values in found.items()}


def _global(operator: AdditiveGlobalQuery, x: torch.Tensor, own: dict) -> torch.Tensor:
    """G from the first output, G times the first unit key plus the first unit query."""
    k = normalize(x[0] @ own["key"][0], dim=-1)
    return (operator.apply(Tokens(x[None, None]), own)[0, 0, 0] - normalize(x[0], dim=-1)) / k
