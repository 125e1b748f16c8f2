"""Pairs of key and value, read back without training: by a linear memory, and by every operator that takes q, k and v."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import normalize, one_hot

from attnlab.kernels.operators.linear_variants.cosine_linear import CosineLinear
from attnlab.kernels.operators.listing import members
from attnlab.kernels.operators.operator import QKV, Cache, Sizes
from attnlab.simulators.ensemble import random_streams
from attnlab.simulators.ensemble.setting import checked, require_at_least, require_positive
from attnlab.simulators.ensemble.simulation import simulation

SCALES = (0.25, 1.0, 4.0, 16.0)  # of the query, over sqrt(d)


@dataclass(frozen=True)
class MemorySetting:
    """A linear memory of keys of width ``key_width`` and one-hot values of ``n_codes``; ``per_code`` keys carry each.

    ``n_draws`` memories per replica, each read once.
    """

    key_width: int = 16
    per_code: int = 6
    n_codes: int = 16
    n_draws: int = 400
    n_replicas: int = 32

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "per_code", "n_draws", "n_replicas")
        require_at_least(self, 4, "key_width")
        require_at_least(self, 2, "n_codes")


@simulation(name="operator_atlas.memory", block=8)
def memory(setting: MemorySetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``right`` (replica,): share of the draws in which cosine attention's largest output is the sought value."""
    found, operator, V = [], CosineLinear(), setting.n_codes
    code = torch.arange(V).repeat_interleave(setting.per_code)
    v = one_hot(code, V).double().expand(1, setting.n_draws, 1, -1, -1)
    for stream in random_streams.generators(seeds, "data"):
        k = torch.randn(1, setting.n_draws, 1, len(code), setting.key_width, generator=stream, dtype=torch.float64)
        own = operator.initialise(Sizes(n=len(code), d=setting.key_width, d_v=V), [stream], torch.float64)
        y = operator.apply(QKV(k[..., :1, :], k, v), own)  # keys are alike: the first is sought
        found.append((y[0, :, 0, 0].argmax(-1) == 0).double().mean().item())
    return {"right": np.array(found)}


@dataclass(frozen=True)
class PairsSetting:
    """The operator ``operator`` holds ``per_code`` times ``width`` pairs, keys of length sqrt(``width``), one-hot values.

    The last query is one of the keys, at four scales; half of the ``n_draws`` choose the scale, the other half count.
    """

    operator: str = "base_scores/dot_product"
    width: int = 16
    per_code: int = 6
    n_draws: int = 64
    n_replicas: int = 8

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "per_code", "n_replicas")
        require_at_least(self, 2, "width", "n_draws")
        if self.operator not in readers():
            raise ValueError(f"operator={self.operator!r} takes no q, k and v with a causal form; see readers()")


def readers() -> tuple[str, ...]:
    """Members of the atlas that take q, k and v, have a causal form and no fixed length."""
    return tuple(
        name
        for name, each in members().items()
        if each.kind in ("qkv", "select") and each.facts.causal != "none" and each.facts.n_max is None
    )


def _module(setting: PairsSetting) -> list[str]:
    return [type(members()[setting.operator]).__module__]


@simulation(name="operator_atlas.stored_pairs", block=8, code_of=_module)
def stored_pairs(setting: PairsSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``right`` (replica,): share of the counted draws read right, parameters at their start; ``scale``: the one chosen.

    The scale is chosen on the first half of the draws of the same replica.
    """
    operator, d = members()[setting.operator], setting.width
    codes = torch.arange(d).repeat_interleave(setting.per_code)
    n, every = len(codes), torch.arange(setting.n_draws)
    sizes, half = Sizes(n=n, d=d, d_v=d), setting.n_draws // 2
    right, chosen = [], []
    for stream in random_streams.generators(seeds, "data"):
        shape = (1, setting.n_draws, 1, n, d)
        k = d**0.5 * normalize(torch.randn(shape, generator=stream, dtype=torch.float64), dim=-1)
        placed = torch.stack([codes[torch.randperm(n, generator=stream)] for _ in every])
        place = torch.randint(n, (setting.n_draws,), generator=stream)
        v = one_hot(placed, d).to(k)[None, :, None]
        q = torch.randn(shape, generator=stream, dtype=torch.float64)
        q[0, :, 0, -1] = k[0, every, 0, place]
        own = operator.initialise(sizes, [stream], torch.float64)
        draws = operator.facts.n_uniform
        draw = None if draws is None else torch.rand(1, draws(sizes), generator=stream, dtype=torch.float64)
        hits = []
        for scale in SCALES:
            given = QKV(scale * q, k, v) if operator.kind == "qkv" else Cache(scale * q, k, v, 0)
            y = operator.apply(given, own, causal=True, draw=draw)[0, :, 0, -1]
            hits.append(y.argmax(-1) == placed[every, place])
        shares = torch.stack(hits).double()  # (scale, draw)
        best = int(shares[:, :half].mean(1).argmax())
        right.append(shares[best, half:].mean().item())
        chosen.append(SCALES[best])
    return {"right": np.array(right), "scale": np.array(chosen)}
