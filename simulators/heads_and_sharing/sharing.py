"""Pools of values and keys, maps borrowed between layers, bases that absorb projections, gates of mixed heads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from attnlab.kernels.operators.base_scores.dot_product import DotProduct
from attnlab.kernels.operators.heads_and_sharing.absorbed_projections import AbsorbedProjections
from attnlab.kernels.operators.heads_and_sharing.head_mixture import ROUTERS, HeadMixture
from attnlab.kernels.operators.heads_and_sharing.multi_head import MultiHead
from attnlab.kernels.operators.heads_and_sharing.shared_maps import SharedMaps
from attnlab.kernels.operators.heads_and_sharing.super_attention import SuperAttention
from attnlab.kernels.operators.heads_and_sharing.weighted_groups import WeightedGroups
from attnlab.kernels.operators.operator import Heads, Sizes
from attnlab.simulators.ensemble import random_streams
from attnlab.simulators.ensemble.setting import checked, require_at_least, require_positive
from attnlab.simulators.ensemble.simulation import simulation


@dataclass(frozen=True)
class PoolSetting:
    """Heads whose value projections are ``amplitudes`` times one of them plus noise of ``noise_std``; heads of ``width``."""

    amplitudes: tuple[float, ...] = (1.0, 1.0, 1.0, -1.0)
    noise_std: float = 0.3
    width: int = 32
    n_replicas: int = 32

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "noise_std", "width", "n_replicas")
        require_at_least(self, 2, "n_replicas")
        if len(self.amplitudes) < 2 or not any(self.amplitudes):
            raise ValueError(f"amplitudes={self.amplitudes!r} must be of two heads or more, and not all zero")


@simulation(name="heads_and_sharing.pools", block=8)
def pools(setting: PoolSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Shares of the energy of all heads' values, one-hot tokens: ``lost`` (replica,) by the operator's mean in their place.

    ``mean``: captured by the mean times a number per head; ``best``: by the pool whose weights are the first left singular
    vector. ``numbers``: entries per head.
    """
    found: dict[str, list] = {name: [] for name in ("lost", "mean", "best", "numbers")}
    c = torch.tensor(setting.amplitudes, dtype=torch.float64)
    H, d = len(c), setting.width
    D, operator = H * d, WeightedGroups(1)
    x = Heads(torch.eye(D, dtype=torch.float64)[None, None], DotProduct())
    for stream in random_streams.generators(seeds, "data"):
        own = operator.initialise(Sizes(n=D, d=d, d_v=d, n_heads=H), [stream], torch.float64)
        one = torch.randn(D, d, generator=stream, dtype=torch.float64)
        noise = setting.noise_std * torch.randn(H, D, d, generator=stream, dtype=torch.float64)
        own["value"] = (c[:, None, None] * one + noise)[None]
        V = MultiHead().values(x, own)[0, 0].flatten(1)  # (head, D d)
        pooled = operator.values(x, own)[0, 0].flatten(1)
        whole = V.square().sum()
        found["lost"].append(((V - pooled).square().sum() / whole).item())
        weights = torch.linalg.svd(V, full_matrices=False)[0][:, 0]
        best = operator.values(x, dict(own, value_weight=weights[None]))[0, 0, 0].flatten()
        for name, head in (("mean", pooled[0]), ("best", best)):
            found[name].append(((V @ head).square().sum() / head.square().sum() / whole).item())
        found["numbers"].append(V.shape[1])
    return {name: np.array(values) for name, values in found.items()}


@dataclass(frozen=True)
class KeySetting:
    """``per_group`` heads of ``width`` whose key projections have ``correlation``; ``n_keys`` random tokens as keys and "
    "queries."""

    per_group: int = 4
    correlation: float = 0.5
    width: int = 32
    n_keys: int = 200
    n_replicas: int = 32

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "width", "n_replicas")
        require_at_least(self, 2, "per_group", "n_keys")
        if not 0 <= self.correlation <= 1:
            raise ValueError(f"correlation={self.correlation!r} must be in [0, 1]")


@simulation(name="heads_and_sharing.pooled_keys", block=8)
def pooled_keys(setting: KeySetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``correlation`` (replica,): of a head's scores with those by the pooled key, over keys; mean over queries and heads.

    Scores are logarithms of the operators' weights, up to a number per query.
    """
    found, m, d, r = [], setting.per_group, setting.width, setting.correlation
    for stream in random_streams.generators(seeds, "data"):
        D = m * d
        own = WeightedGroups(1).initialise(Sizes(n=setting.n_keys, d=d, d_v=d, n_heads=m), [stream], torch.float64)
        one, noise = (torch.randn(k, D, d, generator=stream, dtype=torch.float64) for k in (1, m))
        own["key"] = (r**0.5 * one + (1 - r) ** 0.5 * noise)[None] / D**0.5
        x = Heads(torch.randn(1, 1, setting.n_keys, D, generator=stream, dtype=torch.float64), DotProduct())
        scores = [each.matrix(x, own)[0, 0].log() for each in (MultiHead(), WeightedGroups(1))]
        a, b = (s - s.mean(-1, keepdim=True) for s in scores)
        found.append(((a * b).sum(-1) / (a.norm(dim=-1) * b.norm(dim=-1))).mean().item())
    return {"correlation": np.array(found)}


@dataclass(frozen=True)
class BorrowSetting:
    """Rows of ``n_keys`` Gaussian scores of spread ``score_std`` that keep ``correlation`` from layer to layer."""

    correlation: float = 0.9
    score_std: float = 1.0
    distances: tuple[int, ...] = (1, 3, 7)
    n_keys: int = 2048
    n_rows: int = 128
    n_replicas: int = 24

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "score_std", "distances", "n_keys", "n_rows", "n_replicas")
        if not 0 <= self.correlation < 1:
            raise ValueError(f"correlation={self.correlation!r} must be in [0, 1)")


@simulation(name="heads_and_sharing.borrowed", block=8)
def borrowed(setting: BorrowSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``error`` (replica, distance): mean squared error of the first layer's map on independent values, over their size.

    ``cosine``: of the rows of both maps.
    """
    found: dict[str, list] = {"error": [], "cosine": []}
    r, s, shape = setting.correlation, setting.score_std, (setting.n_rows, setting.n_keys)
    for stream in random_streams.generators(seeds, "data"):
        scores = torch.randn(shape, generator=stream, dtype=torch.float64)
        first, rows = (s * scores).softmax(-1), {name: [] for name in found}
        for layer in range(1, max(setting.distances) + 1):
            scores = r * scores + (1 - r * r) ** 0.5 * torch.randn(shape, generator=stream, dtype=torch.float64)
            if layer in setting.distances:
                own = (s * scores).softmax(-1)
                sizes = first.square().sum(), own.square().sum()
                rows["error"].append(((first - own).square().sum() / sizes[1]).item())
                rows["cosine"].append(((first * own).sum() / (sizes[0] * sizes[1]).sqrt()).item())
        for name, values in rows.items():
            found[name].append(values)
    return {name: np.array(values) for name, values in found.items()}


@dataclass(frozen=True)
class BasisSetting:
    """``n_tokens`` tokens in ``n_heads`` heads of width 4."""

    n_tokens: int = 6
    n_heads: int = 3
    n_replicas: int = 8

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "n_replicas")
        require_at_least(self, 2, "n_tokens", "n_heads")


@simulation(name="heads_and_sharing.bases", block=8)
def bases(setting: BasisSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Outputs (replica, token, D): ``multi`` head attention, ``turned`` optimised on x W^V, ``plain`` optimised on x itself.

    ``condition`` (replica,) of W^V. ``single``, ``efficient`` (replica, token, d): one head, and efficient attention with its
    projections merged. ``span``, ``first``, ``own``: two layers with one map, by hand with the first map, and with a map each.
    """
    names = ("multi", "turned", "plain", "condition", "single", "efficient", "span", "first", "own")
    found: dict[str, list] = {name: [] for name in names}
    n, H, d = setting.n_tokens, setting.n_heads, 4
    D, inner = H * d, DotProduct()
    for stream in random_streams.generators(seeds, "data"):
        sizes = Sizes(n=n, d=d, d_v=d, n_heads=H)
        own = MultiHead().initialise(sizes, [stream], torch.float64)
        x = torch.randn(1, 1, n, D, generator=stream, dtype=torch.float64)
        W = own["value"][0].transpose(0, 1).reshape(D, D)
        back = torch.linalg.inv(W)
        absorbed = {name: back @ own[name] for name in ("query", "key")} | {"out": own["out"]}
        kept = {name: own[name] for name in ("query", "key", "out")}
        one = MultiHead().initialise(Sizes(n=n, d=d, d_v=d), [stream], torch.float64)
        merged = {"query": one["query"] @ one["key"].mT, "out": one["value"] @ one["out"]}
        y = x[..., :d]
        layers = SharedMaps(2).initialise(sizes, [stream], torch.float64)
        first, second = ({k: p[:, i] if k in ("value", "out") else p for k, p in layers.items()} for i in (0, 1))
        middle = x + MultiHead().apply(Heads(x, inner), first)
        A = MultiHead().matrix(Heads(x, inner), first)
        v = MultiHead().values(Heads(middle, inner), second)
        for name, value in (
            ("multi", MultiHead().apply(Heads(x, inner), own)),
            ("turned", AbsorbedProjections().apply(Heads(x @ W, inner), absorbed)),
            ("plain", AbsorbedProjections().apply(Heads(x, inner), kept)),
            ("single", MultiHead().apply(Heads(y, inner), one)),
            ("efficient", AbsorbedProjections("efficient").apply(Heads(y, inner), merged)),
            ("span", SharedMaps(2).apply(Heads(x, inner), layers)),
            ("first", middle - x + MultiHead().post(A @ v, Heads(middle, inner), second)),
            ("own", middle - x + MultiHead().apply(Heads(middle, inner), second)),
        ):
            found[name].append(value[0, 0].numpy())
        found["condition"].append(torch.linalg.cond(W).item())
    return {name: np.array(values) for name, values in found.items()}


@simulation(name="heads_and_sharing.positions", block=8)
def positions(setting: BasisSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Super attention with a random matrix over positions: ``row_sum``, ``predicted`` (replica, head, token): of its map, and of

    the plain map times the row sums of that matrix. ``numbers`` (replica, form): parameters of multi-head, optimised, efficient
    and super attention. ``future`` (replica, token): largest Jacobian of the first output by later tokens, causal.
    """
    found: dict[str, list] = {name: [] for name in ("row_sum", "predicted", "numbers", "future")}
    n, H = setting.n_tokens, setting.n_heads
    sizes, operator, inner = Sizes(n=n, d=4, d_v=4, n_heads=H), SuperAttention(), DotProduct()
    for stream in random_streams.generators(seeds, "data"):
        own = operator.initialise(sizes, [stream], torch.float64)
        plain = dict(own)
        own = dict(own, positions=torch.randn(1, n, n, generator=stream, dtype=torch.float64))
        x = torch.randn(1, 1, n, 4 * H, generator=stream, dtype=torch.float64)
        A = operator.matrix(Heads(x, inner), plain)
        found["row_sum"].append(operator.matrix(Heads(x, inner), own).sum(-1)[0, 0].numpy())
        found["predicted"].append((A @ own["positions"].sum(-1)[0])[0, 0].numpy())
        others = (MultiHead(), AbsorbedProjections(), AbsorbedProjections("efficient"))
        counted = [each.initialise(sizes, [stream], torch.float64) for each in others] + [own]
        found["numbers"].append([sum(p.numel() for p in each.values()) for each in counted])

        def first(tokens: torch.Tensor, own: dict = own) -> torch.Tensor:
            return operator.apply(Heads(tokens, inner), own, causal=True)[0, 0, 0]

        J = torch.autograd.functional.jacobian(first, x)[:, 0, 0]  # (D, token, D)
        found["future"].append(J.abs().amax((0, 2))[1:].numpy())
    return {name: np.array(values) for name, values in found.items()}


@dataclass(frozen=True)
class MixtureSetting:
    """Mixtures of ``n_routed`` routed heads and as many shared ones, ``n_active`` used; ``queries_per_key`` heads share keys.

    ``log_norm_std``: spread of the logarithms of ``n_norms`` heads' norms; ``n_tokens`` tokens per replica.
    """

    n_routed: int = 16
    n_active: int = 6
    queries_per_key: int = 4
    log_norm_std: float = 0.5
    n_norms: int = 1024
    n_tokens: int = 200
    n_replicas: int = 24

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "n_active", "queries_per_key", "n_norms", "n_tokens", "n_replicas")
        require_at_least(self, 2, "n_routed")
        require_at_least(self, 0, "log_norm_std")
        if not self.n_active <= self.n_routed or self.n_routed % self.queries_per_key:
            raise ValueError(
                f"n_active={self.n_active!r} must be at most n_routed={self.n_routed!r}, a multiple of queries_per_key"
            )


@simulation(name="heads_and_sharing.mixtures", block=8)
def mixtures(setting: MixtureSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``needed`` (replica,): share of groups of routed heads with an active one; tokens with routers of their own. ``sum`` "
    "(replica, token):

    mean gate of the shared heads plus mean gate of the active ones. ``moved`` (replica,): heads whose output projection has a
    gradient for one token. ``kept``: energy in the heads of largest norm, share n_active/n_routed of ``n_norms``, mean of tokens.
    """
    found: dict[str, list] = {name: [] for name in ("needed", "sum", "moved", "kept")}
    H, K = setting.n_routed, setting.n_active
    operator, inner = HeadMixture(K), DotProduct()
    for stream in random_streams.generators(seeds, "data"):
        own = operator.initialise(Sizes(n=setting.n_tokens, d=2, d_v=2, n_heads=2 * H), [stream], torch.float64)
        x = torch.randn(1, 1, setting.n_tokens, 4 * H, generator=stream, dtype=torch.float64)
        g = operator.gates(x, own)[0, 0]
        shared, routed = g[:, :H], g[:, H:]
        routers = {
            name: torch.randn(setting.n_tokens, 4 * H, width, generator=stream, dtype=torch.float64)
            for name, width in zip(ROUTERS, (H, H, 2), strict=True)
        }
        chosen = operator.gates(x[0, 0, :, None, None], routers)[:, 0, 0, H:] > 0  # a router of its own per token
        used = chosen.unflatten(-1, (-1, setting.queries_per_key)).any(-1)
        found["needed"].append(used.double().mean().item())
        found["sum"].append((shared.mean(-1) + routed.sum(-1) / K).numpy())
        out = own["out"].clone().requires_grad_()
        operator.apply(Heads(x[..., :1, :], inner), dict(own, out=out)).sum().backward()
        found["moved"].append(int((out.grad[0].abs().amax((-1, -2)) > 0).sum()))
        norms = torch.randn(setting.n_tokens, setting.n_norms, generator=stream, dtype=torch.float64)
        energy = (2 * setting.log_norm_std * norms).exp()
        best = energy.gather(-1, norms.topk(round(setting.n_norms * K / H)).indices).sum(-1)
        found["kept"].append((best / energy.sum(-1)).mean().item())
    return {name: np.array(values) for name, values in found.items()}
