"""Attention by sorted hashes and sampled keys: hardness of Gaussian maps, sampled sums and products, planted neighbours,
recursion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from attnlab.kernels.operators.hashing.hyper_attention import HyperAttention
from attnlab.kernels.operators.operator import QKV, Sizes
from attnlab.simulators.ensemble.setting import checked, require_at_least, require_one_of, require_positive
from attnlab.simulators.ensemble.simulation import simulation


@dataclass(frozen=True)
class MapSetting:
    """``n_tokens`` Gaussian queries and keys of ``dim``, scores q . k of standard deviations ``spreads``."""

    n_tokens: int = 512
    dim: int = 8
    spreads: tuple[float, ...] = (0.25, 0.5, 0.75)
    n_replicas: int = 32

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "dim", "spreads", "n_replicas")
        require_at_least(self, 2, "n_tokens")


@dataclass(frozen=True)
class SampleSetting:
    """One map and values of ``n_values`` from seed ``data``, common to all replicas; ``n_samples`` keys, ``n_draws`` of a
    replica."""

    n_tokens: int = 64
    dim: int = 8
    spread: float = 0.75
    n_values: int = 4
    n_samples: int = 16
    n_draws: int = 1000
    data: int = 0
    n_replicas: int = 32

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "dim", "spread", "n_values", "n_samples", "n_replicas")
        require_at_least(self, 2, "n_tokens", "n_draws")


@dataclass(frozen=True)
class ErrorSetting:
    """``n_tokens`` of ``dim``, ``data`` "diffuse" (Gaussian, scores of ``spread``) or "planted" (random unit keys, each query
    ``near`` its own key by ``signal`` and ``noise``, both scaled by sqrt(``gain``)); ``blocks`` "hashed" with ``bits``, "in
    order" or "none"; of ``block`` keys; ``numbers`` of samples."""

    n_tokens: int = 512
    dim: int = 32
    data: str = "diffuse"
    spread: float = 1.0
    signal: float = 0.95
    noise: float = 0.3
    gain: float = 8.0
    blocks: str = "hashed"
    block: int = 32
    bits: int = 7
    numbers: tuple[int, ...] = (32, 64, 128, 256)
    n_replicas: int = 32

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "dim", "spread", "gain", "block", "bits", "numbers", "n_replicas")
        require_at_least(self, 2, "n_tokens")
        require_one_of(self, "data", ("diffuse", "planted"))
        require_one_of(self, "blocks", ("hashed", "in order", "none"))


@dataclass(frozen=True)
class CausalSetting:
    """``n_tokens`` of ``dim``; recursion down to ``leaf`` tokens."""

    n_tokens: int = 48
    dim: int = 6
    leaf: int = 6
    n_replicas: int = 8

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "n_tokens", "dim", "leaf", "n_replicas")


@dataclass(frozen=True)
class IdentitySetting:
    """The map that copies tokens, and normal values of ``n_values`` per token; ``n_samples`` rows drawn by their squared
    length."""

    n_tokens: int = 1024
    n_values: int = 4
    n_samples: int = 56
    n_replicas: int = 32

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "n_tokens", "n_values", "n_samples", "n_replicas")


def sample_data(setting: SampleSetting) -> tuple[np.ndarray, np.ndarray]:
    """Numbers A = e^(q . k) (query, key) and values (key, width), whose rows differ in length."""
    rng = np.random.default_rng(setting.data)
    q, k = rng.standard_normal((2, setting.n_tokens, setting.dim))
    values = rng.standard_normal((setting.n_tokens, setting.n_values)) * np.exp(
        rng.standard_normal((setting.n_tokens, 1))
    )
    return np.exp(setting.spread / setting.dim**0.5 * q @ k.T), values


@simulation(name="hashing_sampled_attention.hardness", block=4, reads=("n_tokens", "dim", "spreads"))
def hardness(setting: MapSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Of the map P, (replica, spread): ``mean``, ``largest`` of n |P e_j|^2; ``longest``: that of the longest key, ``key`` its
    length; ``kappa``: largest over smallest row sum; ``rate``: standard deviation of one channel."""
    names = ("mean", "largest", "longest", "key", "kappa", "rate")
    found: dict[str, list] = {name: [] for name in names}
    for seed in seeds:
        q, k = np.random.default_rng(seed).standard_normal((2, setting.n_tokens, setting.dim))
        rows = []
        for spread in setting.spreads:
            std = (spread / setting.dim**0.5) ** 0.5
            A = np.exp(std**2 * q @ k.T)
            sums = A.sum(1)
            weight = setting.n_tokens * np.square(A / sums[:, None]).sum(0)
            far = std * np.linalg.norm(k, axis=1)
            key = far.argmax()
            rows.append([weight.mean(), weight.max(), weight[key], far[key], sums.max() / sums.min(), std])
        for name, values in zip(names, zip(*rows, strict=True), strict=True):
            found[name].append(values)
    return {name: np.array(values) for name, values in found.items()}


@simulation(name="hashing_sampled_attention.extreme_sums", block=32, reads=("n_tokens", "dim", "spreads"))
def extreme_sums(setting: MapSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Of two rows of the map, (replica, spread): ``sums``: row sum of the longest over that of the shortest query, ``queries
    (replica, spread, 2)`` their lengths; ``rate``: standard deviation of one channel. Time and memory grow as n_tokens."""
    sums, queries = [], []
    rates = (np.array(setting.spreads) / setting.dim**0.5) ** 0.5
    for seed in seeds:
        q, k = np.random.default_rng(seed).standard_normal((2, setting.n_tokens, setting.dim))
        sizes = np.square(q).sum(1)
        ends = q[[sizes.argmax(), sizes.argmin()]]
        long, short = np.exp(rates[:, None, None] ** 2 * (ends @ k.T)).sum(-1).T
        sums.append(long / short)
        queries.append(rates[:, None] * np.linalg.norm(ends, axis=1))
    return {"sums": np.array(sums), "queries": np.array(queries), "rate": np.tile(rates, (len(seeds), 1))}


@simulation(
    name="hashing_sampled_attention.sums_and_products",
    block=4,
    reads=("n_tokens", "dim", "spread", "n_values", "n_samples", "n_draws", "data"),
)
def sums_and_products(
    setting: SampleSetting, seeds: Sequence[np.random.SeedSequence], device: str
) -> dict[str, np.ndarray]:
    """``row``: variance over draws of the estimated sum of row 0 over its square, uniform keys; ``by_norm``, ``uniform``: mean
    squared Frobenius error of P V with rows drawn by |v_j|^2 or uniformly; ``diagonal``: largest |D / D~ - 1| over rows, mean
    over draws."""
    A, V = sample_data(setting)
    n, m, P, size = setting.n_tokens, setting.n_samples, A / A.sum(1, keepdims=True), np.square(V).sum(1)
    PV = P @ V
    found: dict[str, list] = {name: [] for name in ("row", "by_norm", "uniform", "diagonal")}
    for seed in seeds:
        rng = np.random.default_rng(seed)
        keys = rng.integers(n, size=(setting.n_draws, m))
        found["row"].append((n / m * P[0, keys].sum(1)).var(ddof=1))
        for name, chance in (("by_norm", size / size.sum()), ("uniform", np.full(n, 1 / n))):
            counts = rng.multinomial(m, chance, size=setting.n_draws) / (m * chance)  # S^T S is diagonal
            error = np.einsum("ij,tj,jv->tiv", P, counts, V, optimize=True) - PV
            found[name].append(np.square(error).sum((1, 2)).mean())
        few = keys[:100]
        totals = n / m * P[:, few].sum(2)  # (row, draw), D~ / D
        found["diagonal"].append(np.abs(1 / totals - 1).max(0).mean())
    return {name: np.array(values) for name, values in found.items()}


@simulation(name="hashing_sampled_attention.identity", block=8, reads=("n_tokens", "n_values", "n_samples"))
def identity(setting: IdentitySetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``error``: |S^T S V - V|_op over |V|_op, ``stable_rank`` of V; (replica,)."""
    found: dict[str, list] = {"error": [], "stable_rank": []}
    for seed in seeds:
        rng = np.random.default_rng(seed)
        V = rng.standard_normal((setting.n_tokens, setting.n_values))
        chance, size = np.square(V).sum(1) / np.square(V).sum(), np.linalg.norm(V, 2)
        counts = rng.multinomial(setting.n_samples, chance) / (setting.n_samples * chance)
        found["error"].append(np.linalg.norm((counts - 1)[:, None] * V, 2) / size)
        found["stable_rank"].append(np.square(V).sum() / size**2)
    return {name: np.array(values) for name, values in found.items()}


@simulation(
    name="hashing_sampled_attention.errors",
    block=4,
    reads=("n_tokens", "dim", "data", "spread", "signal", "noise", "gain", "blocks", "block", "bits", "numbers"),
)
def errors(setting: ErrorSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """New data in each replica. ``spectral (replica, number)``: |Att - O~|_op / (|P|_op |V|_op) of the operator; ``frobenius``:
    squared Frobenius error; ``law``: n sum P_ij^2 |v_j - o_i|^2, for no blocks. ``mass``: mean attention inside blocks;
    ``caught``: share of queries whose own key is in their block, ``planted``: mean weight of the own key; ``kappa``,
    ``masked_kappa``: ratio of extreme row sums, all and outside blocks."""
    names = ("spectral", "frobenius", "law", "mass", "caught", "planted", "kappa", "masked_kappa")
    found: dict[str, list] = {name: [] for name in names}
    for seed in seeds:
        rng = np.random.default_rng(seed)
        q, k, v, own = _tokens(setting, rng)
        s = (q @ k.mT) / setting.dim**0.5
        A = s.exp()
        P = A / A.sum(1, keepdim=True)
        exact = P @ v
        block = 1 if setting.blocks == "none" else setting.block
        planes = torch.from_numpy(rng.standard_normal((1, setting.bits, setting.dim)))
        if setting.blocks != "hashed":
            planes = 0 * planes  # all codes are equal, and tokens stay in order
        shown = QKV(*(x[None, None, None] for x in (q, k, v)))
        size = float(torch.linalg.matrix_norm(P, 2) * torch.linalg.matrix_norm(v, 2))
        spectral, frobenius = [], []
        for m in setting.numbers:
            operator = HyperAttention(block=block, samples=m, bits=setting.bits)
            draw = torch.from_numpy(rng.random((1, m)))
            gap = operator.apply(shown, {"planes": planes}, draw=draw)[0, 0, 0] - exact
            spectral.append(float(torch.linalg.matrix_norm(gap, 2)) / size)
            frobenius.append(float(gap.square().sum()))
        places = [
            HyperAttention(bits=setting.bits)._order(x, {"planes": planes})[0, 0, 0].argsort()
            for x in (shown.q, shown.k)
        ]
        same = places[0][:, None] // block == places[1] // block
        rows = torch.arange(len(q))
        n = setting.n_tokens
        spread = v.square().sum(1) - 2 * exact @ v.mT + exact.square().sum(1, keepdim=True)
        rest = (A * ~same).sum(1)
        told = (
            spectral,
            frobenius,
            float(n * (P.square() * spread).sum()),
            float((P * same).sum(1).mean()),
            float(same[rows, own].double().mean()),
            float(P[rows, own].mean()),
            float(A.sum(1).max() / A.sum(1).min()),
            float(rest.max() / rest.min()),
        )
        for name, value in zip(names, told, strict=True):
            found[name].append(value)
    return {name: np.array(values) for name, values in found.items()}


@simulation(name="hashing_sampled_attention.recursion", block=8, reads=("n_tokens", "dim", "leaf"))
def recursion(setting: CausalSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Causal outputs (replica, token, dim): ``dense``, ``split`` recursively into two causal halves and an unmasked square,
    merged by their log-normalisers, and ``halves`` without the squares. ``merged``: the operator's output with one hash block
    and samples, from two parts merged in the same way, ``operator``: by its matrix."""
    found: dict[str, list] = {name: [] for name in ("dense", "split", "halves", "merged", "operator")}
    for seed in seeds:
        rng = np.random.default_rng(seed)
        q, k, v = (torch.from_numpy(rng.standard_normal((setting.n_tokens, setting.dim))) for _ in range(3))
        past = torch.ones(setting.n_tokens, setting.n_tokens, dtype=torch.bool).tril()
        found["dense"].append(_attend(q, k, v, past)[0].numpy())
        for name, whole in (("split", True), ("halves", False)):
            found[name].append(_split(q, k, v, setting.leaf, whole)[0].numpy())
        operator = HyperAttention(block=setting.leaf, samples=setting.leaf, bits=4)
        sizes = Sizes(n=setting.n_tokens, d=setting.dim, d_v=setting.dim)
        planes = operator.initialise(sizes, [torch.Generator().manual_seed(int(rng.integers(2**31)))], torch.float64)
        draw = torch.from_numpy(rng.random((1, setting.leaf)))
        shown = QKV(*(x[None, None, None] for x in (q, k, v)))
        W = operator.matrix(shown, planes, draw=draw)[0, 0, 0]
        found["operator"].append((W @ v).numpy())
        place_q, place_k = (operator._order(x, planes)[0, 0, 0].argsort() for x in (shown.q, shown.k))
        same = place_q[:, None] // setting.leaf == place_k // setting.leaf
        near = _attend(q, k, v, same)
        taken = operator._order(shown.k, planes)[0, 0, 0][(draw[0] * setting.n_tokens).long()]
        far = _attend(q, k[taken], v[taken], ~same[:, taken], np.log(setting.n_tokens / setting.leaf))
        found["merged"].append(_merge(near, far)[0].numpy())
    return {name: np.array(values) for name, values in found.items()}


def _tokens(setting: ErrorSetting, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Queries, keys, values and the place of every query's own key; scores are q . k / sqrt(dim)."""
    n, d = setting.n_tokens, setting.dim
    q, k, v = (torch.from_numpy(rng.standard_normal((n, d))) for _ in range(3))
    own = torch.from_numpy(rng.permutation(n))
    if setting.data == "diffuse":
        return setting.spread * q, k, v, own
    k, noise = (x / x.norm(dim=1, keepdim=True) for x in (k, q))
    q = setting.signal * k[own] + setting.noise * noise
    scale = setting.gain**0.5 * d**0.25
    return scale * q / q.norm(dim=1, keepdim=True), scale * k, v, own


def _attend(q: Tensor, k: Tensor, v: Tensor, visible: Tensor, plus: float = 0.0) -> tuple[Tensor, Tensor]:
    """Output and log-normaliser (query,) over visible keys; rows without any give 0 and minus infinity."""
    s = (q @ k.mT / q.shape[-1] ** 0.5 + plus).masked_fill(~visible, -torch.inf)
    lse = s.logsumexp(1)
    safe = torch.where(lse == -torch.inf, 0.0, lse)
    return (s - safe[:, None]).exp() @ v, lse


def _merge(one: tuple[Tensor, Tensor], two: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    lse = torch.logaddexp(one[1], two[1])
    return sum((o * (part - lse).exp()[:, None] for o, part in (one, two)), torch.zeros_like(one[0])), lse


def _split(q: Tensor, k: Tensor, v: Tensor, leaf: int, squares: bool) -> tuple[Tensor, Tensor]:
    """Causal attention of tokens among themselves: two causal halves and, for the second, the square on the first."""
    n = len(q)
    if n <= leaf:
        return _attend(q, k, v, torch.ones(n, n, dtype=torch.bool).tril())
    h = n // 2
    first, second = _split(q[:h], k[:h], v[:h], leaf, squares), _split(q[h:], k[h:], v[h:], leaf, squares)
    if squares:
        second = _merge(second, _attend(q[h:], k[:h], v[:h], torch.ones(n - h, h, dtype=torch.bool)))
    return torch.cat([first[0], second[0]]), torch.cat([first[1], second[1]])
