"""What the instruments of explanations read on planted truth: simulations that run an instrument, and know no prediction.

They stand beside the paper because an instrument belongs to analysis/, which simulators/ may not import.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from attnlab.analysis.instruments.explanations import (
    coulomb_fit,
    depth_probe,
    mask_scores,
    pooled_probe,
    readout,
    relevance,
    reliance,
    score_perturbation,
)
from attnlab.simulators.ensemble.setting import checked, require_at_least, require_inside, require_positive
from attnlab.simulators.ensemble.simulation import simulation

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class PooledSetting:
    """One pooled attention over ``n_tokens`` Gaussian values of ``dim``; three tokens are marked and get the mass ``eps``.

    ``size`` of the perturbation in nats, ``n_directions`` random ones. Losses are of two classes, -ln sigmoid(o . w).
    """

    n_tokens: int = 10
    dim: int = 8
    eps: float = 1e-3
    size: float = 1e-3
    n_directions: int = 8000
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_at_least(self, 5, "n_tokens")
        require_inside(self, 0, 1, "eps")
        require_positive(self, "dim", "size", "n_directions", "n_replicas")


MARKED = 3


@simulation(name="instruments_explanations.pooled", block=8)
def pooled(setting: PooledSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> Arrays:
    """``mass`` on the marked tokens before and after, (replica, 2); ``moved``: largest change of the output and of a
    contribution, ``norms``: growth of the marked values, ``swap``: change of f when the values of the marked tokens are turned
    round, before and after.

    ``total``: sum of the gradient by the scores; ``worst``: gain of its direction, ``spread``: of random ones' gains; ``coded``:
    gain of the direction against it; ``cosine`` of VAT's direction for two classes with it, without sign.
    """
    found: dict[str, list[np.ndarray]] = {}
    n = setting.n_tokens
    marked = np.arange(n) < MARKED
    for rng in map(np.random.default_rng, seeds):
        s, v, w = rng.standard_normal(n), rng.standard_normal((n, setting.dim)), rng.standard_normal(setting.dim)
        a = np.exp(s) / np.exp(s).sum()
        new, values = reliance.regauge(a, v, marked, setting.eps)
        kept = reliance.contributions(new, values, w) - reliance.contributions(a, v, w)

        def turned(weights: np.ndarray, x: np.ndarray, w: np.ndarray = w) -> float:
            return float(weights @ (np.where(marked[:, None], -x, x) @ w) - weights @ (x @ w))

        def loss(scores: np.ndarray, v: np.ndarray = v, w: np.ndarray = w) -> np.ndarray:
            e = np.exp(scores - scores.max(-1, keepdims=True))
            return np.logaddexp(0, -((e / e.sum(-1, keepdims=True)) @ v) @ w)

        def slope(scores: np.ndarray, v: np.ndarray = v, w: np.ndarray = w, loss=loss) -> np.ndarray:
            dl_do = -(1 - np.exp(-loss(scores)))[..., None] * w
            return score_perturbation.pooled_gradient(scores, np.broadcast_to(v, (*scores.shape, v.shape[-1])), dl_do)

        def gains(directions: np.ndarray, loss=loss, slope=slope, s: np.ndarray = s) -> np.ndarray:
            some = np.broadcast_to(s, directions.shape)
            asked = score_perturbation.Scored(loss, slope, some.copy(), directions, setting.size)
            return score_perturbation.measure(asked)["gain"].values

        g = slope(s[None])[0]
        jacobian = score_perturbation.pooled_gradient(s, v, w)
        p = 1 / (1 + np.exp(-(a @ v @ w)))
        vat = score_perturbation.vat_direction(np.stack([jacobian, np.zeros(n)]), np.array([p, 1 - p]))
        toward = np.broadcast_to(g, (2, 1, n)).copy()
        row = {
            "mass": np.array([a[marked].sum(), new[marked].sum()]),
            "moved": np.array([np.abs(new @ values - a @ v).max(), np.abs(kept).max()]),
            "norms": (np.linalg.norm(values, axis=1) / np.linalg.norm(v, axis=1))[:MARKED],
            "swap": np.array([turned(a, v), turned(new, values)]),
            "total": g.sum() / np.linalg.norm(g),
            "worst": gains(toward)[0, 0],
            "coded": gains(-toward)[0, 0],
            "spread": gains(rng.standard_normal((setting.n_directions, 1, n))).std(),
            "cosine": np.abs(vat @ g) / np.linalg.norm(g),
        }
        for name, value in row.items():
            found.setdefault(name, []).append(np.asarray(value))
    return {name: np.stack(rows) for name, rows in found.items()}


@dataclass(frozen=True)
class NetworkSetting:
    """ReLU networks ``dim`` - 2 dim - 2 dim - 1 with biases of sd ``bias``, Gaussian inputs."""

    dim: int = 8
    bias: float = 0.3
    n_prompts: int = 8
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "dim", "bias", "n_prompts", "n_replicas")


@simulation(name="instruments_explanations.propagated", block=8)
def propagated(setting: NetworkSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> Arrays:
    """Sums of relevance over f, (replica, prompt): ``free`` of biases, ``biased``, and ``whole`` with its named leaks;
    ``gradient``: largest difference of rule 0 without biases from gradient x input. ``plain``, ``detached``: gradient x input
    through a root mean square norm, and with the norm's factor kept as a constant, over f.
    """
    found: dict[str, list[np.ndarray]] = {}
    widths = [setting.dim, 2 * setting.dim, 2 * setting.dim, 1]
    for rng in map(np.random.default_rng, seeds):
        ws = [rng.standard_normal((a, b)) / a**0.5 for a, b in itertools.pairwise(widths)]
        bs = [setting.bias * rng.standard_normal(b) for b in widths[1:]]
        x = rng.standard_normal((setting.n_prompts, setting.dim))
        free = relevance.propagate([relevance.Layer(w, np.zeros(w.shape[1])) for w in ws], x)
        biased = relevance.propagate([relevance.Layer(w, b) for w, b in zip(ws, bs, strict=True)], x)
        slope, state, masks = np.ones((setting.n_prompts, 1)), x, []
        for w in ws[:-1]:
            state = np.maximum(state @ w, 0)
            masks.append(state > 0)
        slope = slope @ ws[-1].T
        for w, mask in zip(ws[-2::-1], masks[::-1], strict=True):
            slope = (slope * mask) @ w.T
        read, size = rng.standard_normal(setting.dim), np.sqrt((x**2).mean(-1, keepdims=True))
        f = (x / size) @ read
        through = read / size - x * (x @ read)[:, None] / (setting.dim * size**3)
        leaks = sum(biased.leaks.values())
        row = {
            "free": free.relevance.sum(-1) / free.output,
            "biased": biased.relevance.sum(-1) / biased.output,
            "whole": (biased.relevance.sum(-1) + leaks) / biased.output,
            "gradient": np.abs(free.relevance - x * slope).max(-1),
            "plain": (x * through).sum(-1) / np.linalg.norm(read),
            "detached": (x * read / size).sum(-1) / f,
        }
        for name, value in row.items():
            found.setdefault(name, []).append(value)
    return {name: np.stack(rows) for name, rows in found.items()}


@dataclass(frozen=True)
class OrderSetting:
    """Additive outputs of ``n_inputs`` contributions |N(0, 1)|, deleted in ``n_orders`` random orders and in the best and
    worst."""

    n_inputs: int = 50
    n_orders: int = 1000
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_at_least(self, 4, "n_inputs")
        require_positive(self, "n_orders", "n_replicas")


@simulation(name="instruments_explanations.deleted", block=8)
def deleted(setting: OrderSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> Arrays:
    """``contributions (replica, input)``, areas ``best`` and ``worst``, ``score`` of the best and worst order (replica, 2), and
    ``mean`` and ``spread`` of the areas of random orders."""
    found: dict[str, list[np.ndarray]] = {}
    for rng in map(np.random.default_rng, seeds):
        c = np.abs(rng.standard_normal(setting.n_inputs))

        def output(kept: np.ndarray, c: np.ndarray = c) -> np.ndarray:
            return kept @ c

        ends = np.broadcast_to(np.stack([c, -c]), (2, 2, setting.n_inputs)).copy()
        made = mask_scores.measure(mask_scores.Deletion(output, ends))
        orders = mask_scores.measure(mask_scores.Deletion(output, rng.random((setting.n_orders, 1, setting.n_inputs))))
        areas = orders["area_under"].values[:, 0]
        row = {
            "contributions": c,
            "best": made["area_under"].value[0],
            "worst": made["area_under"].value[1],
            "score": made["score"].value,
            "mean": areas.mean(),
            "spread": areas.std(ddof=1),
        }
        for name, value in row.items():
            found.setdefault(name, []).append(np.asarray(value))
    return {name: np.stack(rows) for name, rows in found.items()}


@dataclass(frozen=True)
class FitSetting:
    """Weights r^-power e^(-screening r) with log noise ``noise_sd``, 40 rows of 12 keys at the same distances for every
    replica."""

    power: float = 1.0
    screening: float = 0.5
    noise_sd: float = 0.05
    nearest: float = 0.5
    farthest: float = 4.0
    n_prompts: int = 500
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "noise_sd", "nearest", "n_prompts", "n_replicas")
        require_at_least(self, self.nearest, "farthest")


def distances_of(setting: FitSetting) -> np.ndarray:
    """The distances (row, key), uniform between the nearest and the farthest, from a fixed seed."""
    return np.random.default_rng(5).uniform(setting.nearest, setting.farthest, (40, 12))


@simulation(name="instruments_explanations.fitted", block=8)
def fitted(setting: FitSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> Arrays:
    """``mean`` and ``spread`` over prompts of the fitted power and screening, (replica, 2)."""
    r, means, spreads = distances_of(setting), [], []
    for rng in map(np.random.default_rng, seeds):
        logs = -setting.power * np.log(r) - setting.screening * r
        logs = logs + setting.noise_sd * rng.standard_normal((setting.n_prompts, 1, *r.shape))
        a = np.exp(logs)
        made = coulomb_fit.measure(coulomb_fit.Rows(a / a.sum(-1, keepdims=True), r))
        both = np.stack([made[name].values[:, 0] for name in ("power", "screening")], -1)
        means.append(both.mean(0))
        spreads.append(both.std(0, ddof=1))
    return {"mean": np.stack(means), "spread": np.stack(spreads)}


@dataclass(frozen=True)
class ProbeSetting:
    """Two Gaussian classes at ``distance`` in ``dim`` coordinates, ``n_train`` states teach and as many judge.

    ``n_tokens``: where one of so many tokens carries the label, for pools; ``n_draws`` independent problems per replica.
    """

    distance: float = 1.0
    dim: int = 20
    n_train: int = 100
    n_tokens: int = 4
    n_draws: int = 100
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_at_least(self, 2, "dim", "n_train")
        require_positive(self, "distance", "n_tokens", "n_draws", "n_replicas")


@simulation(name="instruments_explanations.probed", block=4)
def probed(setting: ProbeSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> Arrays:
    """``accuracy`` of the probe, mean over draws, and ``control`` with shuffled labels, (replica,)."""
    found: dict[str, list[float]] = {"accuracy": [], "control": []}
    n = 2 * setting.n_train
    labels = np.arange(n) % 2
    for rng in map(np.random.default_rng, seeds):
        states = rng.standard_normal((setting.n_draws, n, setting.dim))
        states[..., 0] += setting.distance * labels
        made = depth_probe.measure(depth_probe.States(states, labels))
        for name, values in found.items():
            values.append(float(made[name].value.mean()))
    return {name: np.array(values) for name, values in found.items()}


@simulation(name="instruments_explanations.pools", block=4)
def pools(setting: ProbeSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> Arrays:
    """One of ``n_tokens`` tokens carries the label and is marked by a coordinate that a query of 60 nats finds: accuracies of
    the probe on the pool, ``attended``, and on the ``mean``, averaged over draws, (replica,)."""
    found: dict[str, list[float]] = {"attended": [], "mean": []}
    n, dim = 2 * setting.n_train, setting.dim
    labels = np.arange(n) % 2
    for rng in map(np.random.default_rng, seeds):
        tokens = rng.standard_normal((setting.n_draws, n, setting.n_tokens, dim))
        tokens[..., -1] = 0.0
        at = rng.integers(setting.n_tokens, size=(setting.n_draws, n))
        each, prompt = np.ogrid[: setting.n_draws, :n]
        tokens[each, prompt, at, 0] += setting.distance * labels
        tokens[each, prompt, at, -1] = 1.0
        queries = np.zeros((setting.n_draws, 1, dim))
        queries[..., -1] = 60 * dim**0.5
        made = pooled_probe.measure(pooled_probe.Pools(tokens, labels, queries))
        found["attended"].append(float(made["accuracy"].value.mean()))
        found["mean"].append(float(made["mean"].value.mean()))
    return {name: np.array(values) for name, values in found.items()}


@dataclass(frozen=True)
class ReaderSetting:
    """States N(0, diag 1/j^decay) of ``dim``; the label is the sign of coordinate ``axis`` (from 0), ``n_examples`` are shown."""

    dim: int = 50
    decay: float = 1.0
    axis: int = 0
    n_examples: int = 16
    n_prompts: int = 4000
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_at_least(self, 0, "axis", "decay")
        require_positive(self, "dim", "n_examples", "n_prompts", "n_replicas")
        if self.axis >= self.dim:
            raise ValueError(f"axis={self.axis} must lie below dim={self.dim}")


@simulation(name="instruments_explanations.read", block=4)
def read(setting: ReaderSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> Arrays:
    """Share of right answers, (replica,): of the reader that adds up, ``hebb``, and of a ridge regression, ``ridge``, on a fifth
    of the prompts."""
    found: dict[str, list[float]] = {"hebb": [], "ridge": []}
    spread = np.arange(1, setting.dim + 1) ** (-setting.decay / 2)
    for rng in map(np.random.default_rng, seeds):
        h = spread * rng.standard_normal((setting.n_prompts, setting.n_examples + 1, setting.dim))
        y, query = np.sign(h[:, :-1, setting.axis]), h[:, -1]
        want = np.sign(query[:, setting.axis])
        found["hebb"].append(float((readout.hebb(h[:, :-1], y, query) == want).mean()))
        some = slice(setting.n_prompts // 5)
        found["ridge"].append(float((readout.ridge(h[some, :-1], y[some], query[some]) == want[some]).mean()))
    return {name: np.array(values) for name, values in found.items()}
