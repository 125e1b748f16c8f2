"""What the instruments of maps read on known maps: simulations that run an instrument, and know no prediction.

They stand beside the paper because an instrument belongs to analysis/, which simulators/ may not import.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse.csgraph import minimum_spanning_tree

from attnlab.analysis.instruments.maps import contrast, distance, diversity, entropy, max_attention, patterns, topology
from attnlab.analysis.instruments.readings import Readings, maps
from attnlab.analysis.instruments.worlds import NULLS, mixture, read_scores, scores
from attnlab.simulators.ensemble.setting import (
    checked,
    require_at_least,
    require_inside,
    require_one_of,
    require_positive,
)
from attnlab.simulators.ensemble.simulation import simulation

Arrays = dict[str, np.ndarray]
KERNELS, WEIGHTS, MIXED = (1.0, 2.0, 8.0), (0.0, 0.25, 0.5, 0.9), (0.3, 0.8)
KEYS = 2  # on which mixtures put their weight


@dataclass(frozen=True)
class KnownSetting:
    """Maps of ``n_tokens`` without noise; ``n_blocks`` of equal size for the tree, ``grid`` the side of a square of patches."""

    n_tokens: int = 32
    n_blocks: int = 4
    grid: int = 7
    n_replicas: int = 1

    def __post_init__(self) -> None:
        checked(self)
        require_at_least(self, 8, "n_tokens")
        require_positive(self, "n_blocks", "grid", "n_replicas")
        if self.n_tokens % self.n_blocks:
            raise ValueError(f"n_blocks={self.n_blocks} must divide n_tokens={self.n_tokens}")


@simulation(name="instruments_maps.known", block=1)
def known(setting: KnownSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> Arrays:
    """What the instruments say of maps without noise, (replica, ...).

    ``entropy`` and ``evenness`` of a causal uniform head, ``mixed`` entropies of mixtures, weights ``MIXED`` on two keys.
    ``uniform`` distances without and with a causal mask and on the grid, ``kernels`` of ``KERNELS``. ``template``: distances of
    w I + (1 - w) U from I, w in ``WEIGHTS``. ``bars``: sums of a first-token, a previous-token, an own-token, a uniform head,
    and blocks; ``sparse``: the same by a spanning tree of a sparse matrix. ``cycles`` of an own-token head and of a ring.
    ``aligned``: all rows alike on one key, uniform and own-token rows without a threshold; ``published``: with 2/n.
    """
    n, eye = setting.n_tokens, np.eye(setting.n_tokens)
    flat, causal = np.full((n, n), 1 / n), np.tril(np.ones((n, n))) / np.arange(1, n + 1)[:, None]
    first = np.zeros((n, n))
    first[:, 0] = 1
    previous = np.eye(n, k=-1)
    previous[0, 0] = 1
    blocks = np.kron(np.eye(setting.n_blocks), np.full((n // setting.n_blocks,) * 2, setting.n_blocks / n))
    d = np.abs(np.arange(n)[:, None] - np.arange(n))
    kernels = [np.exp(-d / lam) for lam in KERNELS]
    patches = setting.grid**2
    h = entropy.measure(_read(causal, causal=True))
    far = [
        distance.measure(_read(flat))["distance"],
        distance.measure(_read(causal, causal=True))["distance"],
        distance.measure(_read(np.full((patches, patches), 1 / patches)), grid=(setting.grid, setting.grid))[
            "distance"
        ],
    ]
    own = {"own": lambda readings, group: np.eye(group.length, dtype=bool)[None]}
    mixed = np.array([[w * eye + (1 - w) * flat] for w in WEIGHTS])
    trees = np.stack([first, previous, eye, flat, blocks])
    ring = previous.copy()
    ring[0, 0], ring[0, -1] = 0, 1
    rows = np.stack([first, flat, eye])
    made = {
        "entropy": h["entropy"].value.ravel(),
        "evenness": h["evenness"].value.ravel(),
        "mixed": [
            entropy.measure(mixture(np.random.default_rng(0), np.full((2, 1, 1), w), KEYS, (2, 1, 1, n)))[
                "entropy"
            ].value[0, 0]
            for w in MIXED
        ],
        "uniform": [each.value[0, 0] for each in far],
        "kernels": [distance.measure(_read(k / k.sum(-1, keepdims=True)))["distance"].value[0, 0] for k in kernels],
        "template": patterns.measure(_read(*mixed[:, 0]), own)["distance"].value[0, 0],
        "bars": topology.h0_bars(trees).sum(-1),
        "sparse": [_sparse_tree(a) for a in trees],
        "cycles": topology.graph_features(np.stack([eye, ring]), (0.5,))["cycles"][:, 0],
        "aligned": diversity.alignment(rows),
        "published": diversity.alignment(rows, 2.0),
    }
    return {name: np.stack([np.asarray(value, dtype=float)] * len(seeds)) for name, value in made.items()}


@dataclass(frozen=True)
class RandomSetting:
    """Maps of a world of ``analysis.instruments.worlds``, with or without a ``causal`` mask; a replica is ``n_prompts`` of two
    heads."""

    world: str = "iid scores"
    n_tokens: int = 32
    sd: float = 1.0
    causal: bool = True
    n_prompts: int = 256
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_one_of(self, "world", NULLS)
        require_at_least(self, 0, "sd")
        require_at_least(self, 4, "n_tokens")
        require_positive(self, "n_prompts", "n_replicas")


@simulation(name="instruments_maps.random_heads", block=4)
def random_heads(setting: RandomSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> Arrays:
    """Means over prompts and heads, (replica,): ``entropy``, ``previous``: weight on the previous token; ``divergence`` of the
    two heads."""
    found: dict[str, list[float]] = {"entropy": [], "previous": [], "divergence": []}
    n = setting.n_tokens
    for rng in map(np.random.default_rng, seeds):
        s = scores(rng, setting.world, (setting.n_prompts, 1, 2, n), setting.sd)
        if setting.causal:
            readings = read_scores(s)
        else:
            e = np.exp(s - s.max(-1, keepdims=True))
            readings = maps(e / e.sum(-1, keepdims=True), visible=np.ones((1, 1, n, n), dtype=bool))
        made = patterns.measure(readings)
        names = list(patterns.templates_of(readings))
        found["entropy"].append(float(entropy.measure(readings)["entropy"].value.mean()))
        found["previous"].append(float(made["mass"].value[names.index("previous")].mean()))
        found["divergence"].append(float(patterns.js_matrix(readings)[0, 1]))
    return {name: np.array(values) for name, values in found.items()}


@dataclass(frozen=True)
class ImageSetting:
    """Two maps of one image of log sd 1: the task's has ``gain`` on ``n_marked`` tokens, both have log noise ``map_sd``."""

    n_tokens: int = 196
    n_marked: int = 10
    gain: float = 4.0
    map_sd: float = 0.3
    n_prompts: int = 400
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "n_tokens", "n_marked", "gain", "map_sd", "n_prompts", "n_replicas")
        require_inside(self, 0, self.n_tokens, "n_marked")


@simulation(name="instruments_maps.contrasts", block=4)
def contrasts(setting: ImageSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> Arrays:
    """``area`` of the quotient of the maps, ``raw`` of the task's map and ``shrunk``, with lambda = 20/n: (replica,)."""
    found: dict[str, list[float]] = {"area": [], "raw": [], "shrunk": []}
    for rng in map(np.random.default_rng, seeds):
        shape = (setting.n_prompts, 1, setting.n_tokens)
        image = np.exp(rng.standard_normal(shape))
        marked = rng.random((setting.n_prompts, setting.n_tokens)).argsort(-1) < setting.n_marked
        task, general = (image * np.exp(setting.map_sd * rng.standard_normal(shape)) for _ in range(2))
        task = task * np.where(marked[:, None], setting.gain, 1.0)
        task, general = (x / x.sum(-1, keepdims=True) for x in (task, general))
        made = contrast.measure(contrast.TwoMaps(task, general, marked, 0.0))
        found["area"].append(float(made["area"].value[0]))
        found["raw"].append(float(made["raw"].value[0]))
        found["shrunk"].append(float(contrast.measure(contrast.TwoMaps(task, general, marked, 20.0))["area"].value[0]))
    return {name: np.array(values) for name, values in found.items()}


@dataclass(frozen=True)
class VoteSetting:
    """``n_heads`` heads with weight .6 on the candidate that they prefer and .2 on the other; they prefer the target with
    ``chance``.

    ``n_pieces``: word pieces of the target where weights are exponential and nothing is preferred.
    """

    n_heads: int = 5
    chance: float = 0.6
    n_pieces: int = 3
    n_prompts: int = 8000
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "n_heads", "n_pieces", "n_prompts", "n_replicas")
        require_inside(self, 0, 1, "chance")


@simulation(name="instruments_maps.votes", block=4)
def votes(setting: VoteSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> Arrays:
    """``right (replica, prompt)``: whether the maximum attention score picks the target. ``mean``, ``most (replica, prompt)``:
    the same for a target of more pieces than its rival and weights without preference, by the mean over pieces and by their
    maximum."""
    found: dict[str, list[np.ndarray]] = {"right": [], "mean": [], "most": []}
    n, heads = setting.n_prompts, setting.n_heads
    for rng in map(np.random.default_rng, seeds):
        target = rng.integers(2, size=n)
        likes = rng.random((n, 1, heads)) < setting.chance
        preferred = np.where(likes, target[:, None, None], 1 - target[:, None, None])
        weights = np.where(np.arange(2) == preferred[..., None], 0.6, 0.2)
        made = max_attention.measure(max_attention.Candidates(weights, np.tile([0, 1], (n, 1)), target))
        found["right"].append(made["accuracy"].values[:, 0] > 0.5)
        owner = np.tile([0] * setting.n_pieces + [1], (n, 1))
        drawn = rng.exponential(size=(n, 1, heads, setting.n_pieces + 1))
        long = max_attention.Candidates(drawn, owner, np.zeros(n, dtype=int))
        for name, most in (("mean", False), ("most", True)):
            score = max_attention.scores_of(max_attention.candidate_weights(long, most))[:, 0]
            found[name].append(score[:, 0] > score[:, 1])
    return {name: np.stack(rows) for name, rows in found.items()}


def _read(*given: np.ndarray, causal: bool = False) -> Readings:
    """Two equal prompts of one layer whose heads are the maps given."""
    a = np.stack(given)
    n = a.shape[-1]
    visible = None if causal else np.ones((1, 1, n, n), dtype=bool)
    return maps(np.stack([a[None], a[None]]), visible=visible)


def _sparse_tree(a: np.ndarray) -> float:
    return float(minimum_spanning_tree(np.triu(1 - np.maximum(a, a.T), 1)).sum())
