"""Models of one channel, run step by step on unit inputs: the map from inputs to outputs, entry by entry."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
import torch
from scipy.special import expit

from attnlab.kernels.attention import attention
from attnlab.simulators.ensemble.setting import checked, require_at_least, require_positive
from attnlab.simulators.ensemble.simulation import simulation

MODELS = ("linear", "normalised", "s6", "ssd", "gated")


@dataclass(frozen=True)
class FormSetting:
    """``n_tokens`` tokens of width ``dim`` with random projections to ``n_state`` queries and keys; ``model`` is one of
    ``MODELS``.

    ``same_query``: all tokens ask the query of the first.
    """

    model: str = "linear"
    same_query: bool = False
    n_tokens: int = 24
    dim: int = 6
    n_state: int = 6
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "n_tokens", "dim", "n_state", "n_replicas")
        if self.model not in MODELS:
            raise ValueError(f"model={self.model!r} is unknown; use one of {', '.join(map(repr, MODELS))}")


@dataclass(frozen=True)
class TruncationSetting:
    """Causal softmax attention over ``n_tokens`` keys of width ``key_dim``, and features of its exponential up to each order."""

    n_tokens: int = 24
    key_dim: int = 3
    spread: float = 1.2
    orders: tuple[int, ...] = (1, 2, 3, 4, 6, 8)
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "n_tokens", "key_dim", "spread", "orders", "n_replicas")


@dataclass(frozen=True)
class DecaySetting:
    """Linear attention with ``n_features`` features elu + 1 of standard normal queries and keys; steps ``first`` to ``last``."""

    n_features: int = 6
    first: int = 20
    last: int = 80
    n_rows: int = 4000
    n_replicas: int = 32

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "n_features", "first", "n_rows", "n_replicas")
        require_at_least(self, self.first + 1, "last")


@dataclass(frozen=True)
class RetentionSetting:
    """A number passed through ``n_steps`` gates with normal logits of this ``spread``; ``powers`` of the gate; ``n_rows``
    rows."""

    n_steps: int = 10
    spread: float = 1.0
    powers: tuple[float, ...] = (1.0, 0.5, 0.1)
    n_rows: int = 20_000
    n_replicas: int = 32

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "n_steps", "spread", "powers", "n_rows", "n_replicas")


@simulation(name="recurrent_forms.maps", block=8, reads=("model", "same_query", "n_tokens", "dim", "n_state"))
def maps(setting: FormSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``stepped (replica, position, position)``: outputs of the recurrence, run step by step on each unit input.

    What the projections of the tokens are: ``queries``, ``keys (replica, position, state)``, and by model ``normaliser`` or
    ``steps (replica, position)``, ``rates (replica, state)``, ``step_logits`` and ``decay``, or ``logits (replica, gate,
    position)``. ``quadratic``: the same map
    from pairs of positions, without a recurrence.
    """
    found: dict[str, list] = {}
    for seed in seeds:
        rng = np.random.default_rng(seed)
        u = rng.standard_normal((setting.n_tokens, setting.dim))
        for name, x in _model(setting, rng, u).items():
            found.setdefault(name, []).append(x)
    return {name: np.array(values) for name, values in found.items()}


def _model(setting: FormSetting, rng: np.random.Generator, u: np.ndarray) -> dict[str, np.ndarray]:
    n, count = setting.n_state, len(u)
    raw = [u @ rng.standard_normal((setting.dim, n)) / setting.dim**0.5 for _ in range(2)]
    w = u @ rng.standard_normal(setting.dim) / setting.dim**0.5
    q, k = raw
    if setting.same_query:
        q = raw[0] = np.repeat(raw[0][:1], count, 0)
    more: dict[str, np.ndarray] = {}
    past = np.tril(np.ones((count, count)))
    if setting.model in ("linear", "normalised"):
        if setting.model == "linear":
            q, k = (np.where(x > 0, x + 1, np.exp(np.minimum(x, 0))) for x in raw)
            eta = np.einsum("in,in->i", q, np.cumsum(k, 0))
        else:
            eta = np.exp(0.5 * w)
        ratio = np.append(1.0, eta[:-1] / eta[1:])
        decay, gain, read = np.repeat(ratio[:, None], n, 1), k / eta[:, None], q
        more["normaliser"] = eta
        quadratic = past * (q @ k.T) / eta[:, None]
    elif setting.model in ("s6", "ssd"):
        step = np.logaddexp(0, w)
        rates = rng.uniform(0.1, 1.0, n if setting.model == "s6" else 1) * np.ones(n)
        decay, gain, read = np.exp(-step[:, None] * rates), step[:, None] * k, q
        more |= {"steps": step, "rates": rates, "step_logits": w, "decay": decay}
        apart = np.cumsum(step)[:, None] - np.cumsum(step)[None]
        kept = np.exp(-np.maximum(apart, 0)[..., None] * rates)
        quadratic = past * np.einsum("in,ijn,jn->ij", q, kept, step[:, None] * k)
    else:
        logits = np.stack([w, q[:, 0], k[:, 0]])
        decay, gain, read = (expit(x)[:, None] for x in logits)
        more["logits"] = logits
        quadratic = np.zeros((count, count))
        for i in range(count):
            for j in range(i + 1):
                quadratic[i, j] = read[i, 0] * np.prod(decay[j + 1 : i + 1, 0]) * gain[j, 0]
    return {"stepped": _run(decay, gain, read), "quadratic": quadratic, "queries": q, "keys": k, **more}


def _run(decay: np.ndarray, gain: np.ndarray, read: np.ndarray) -> np.ndarray:
    """Outputs (position, which input was 1) of h <- A h + B u, y = C h."""
    count, n = gain.shape
    state, rows = np.zeros((n, count)), []
    for i in range(count):
        state = decay[i][:, None] * state
        state[:, i] += gain[i]
        rows.append(read[i] @ state)
    return np.array(rows)


@simulation(name="recurrent_forms.truncations", block=8, reads=("n_tokens", "key_dim", "spread", "orders"))
def truncations(
    setting: TruncationSetting, seeds: Sequence[np.random.SeedSequence], device: str
) -> dict[str, np.ndarray]:
    """``kernel (replica, order, position, position)``: inner products of monomial features, beside ``scores`` of the same pairs.

    ``features (order,)`` counts them; ``error (replica, order)``: largest difference of causal weights from the repository's
    softmax
    attention; ``negative``: share of pairs whose kernel is negative.
    """
    found: dict[str, list] = {"kernel": [], "scores": [], "error": [], "negative": [], "features": []}
    past = np.tril(np.ones((setting.n_tokens, setting.n_tokens), dtype=bool))
    for seed in seeds:
        rng = np.random.default_rng(seed)
        q, k = setting.spread * rng.standard_normal((2, setting.n_tokens, setting.key_dim)) / setting.key_dim**0.25
        row: dict[str, list] = {"kernel": [], "error": [], "negative": [], "features": []}
        tensors = [torch.from_numpy(x)[None, None] for x in (q, k, np.eye(setting.n_tokens))]
        exact = attention(*tensors, mask="causal", scale=1.0)[0, 0].numpy()
        for order in setting.orders:
            phi, psi = (_monomials(x, order) for x in (q, k))
            kernel = phi @ psi.T
            weights = np.where(past, kernel, 0.0)
            row["kernel"].append(kernel)
            row["features"].append(phi.shape[1])
            row["error"].append(np.abs(weights / weights.sum(1, keepdims=True) - exact).max())
            row["negative"].append(np.mean(kernel < 0))
        for name, x in {**row, "scores": q @ k.T}.items():
            found[name].append(x)
    return {name: np.array(values) for name, values in found.items()}


def _monomials(x: np.ndarray, order: int) -> np.ndarray:
    """All monomials up to a degree, weighed so that inner products are the truncated exponential of the inner product."""
    columns = []
    for degree in range(order + 1):
        for chosen in combinations_with_replacement(range(x.shape[1]), degree):
            times = np.bincount(chosen, minlength=x.shape[1]) if chosen else np.zeros(x.shape[1], dtype=int)
            weight = math.prod(math.factorial(t) for t in times.tolist())
            columns.append(np.prod(x**times, axis=1) / weight**0.5)
    return np.stack(columns, 1)


@simulation(name="recurrent_forms.decays", block=8, reads=("n_features", "first", "last", "n_rows"))
def decays(setting: DecaySetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``above (replica,)``: share of steps after ``first``, up to ``last``, at which the normaliser of linear attention falls."""
    found = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        x = rng.standard_normal((2, setting.n_rows, setting.last, setting.n_features))
        q, k = np.where(x > 0, x + 1, np.exp(np.minimum(x, 0)))
        eta = np.einsum("rin,rin->ri", q, np.cumsum(k, 1))[:, setting.first - 1 :]
        found.append(np.mean(eta[:, :-1] > eta[:, 1:]))
    return {"above": np.array(found)}


@simulation(name="recurrent_forms.retention", block=8, reads=("n_steps", "spread", "powers", "n_rows"))
def retention(setting: RetentionSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Mean over rows of what is left of a stored 1: ``standard (replica,)`` gates sigmoid(x), and ``reversed (replica, power)``.

    A reversed gate is (1 - sigmoid(x))^power.
    """
    found: dict[str, list] = {"standard": [], "reversed": []}
    for seed in seeds:
        x = setting.spread * np.random.default_rng(seed).standard_normal((setting.n_rows, setting.n_steps))
        found["standard"].append(np.prod(expit(x), axis=1).mean())
        found["reversed"].append([np.prod((1 - expit(x)) ** power, axis=1).mean() for power in setting.powers])
    return {name: np.array(values) for name, values in found.items()}
