"""Graph heads with weights by hand: a lookup by one static head, a lookup by two hidden units, every map by hats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations, product

import numpy as np
import torch

from attnlab.simulators.ensemble import random_streams
from attnlab.simulators.ensemble.setting import checked, require_at_least, require_inside, require_positive
from attnlab.simulators.ensemble.simulation import simulation
from attnlab.simulators.graph_attention.lookup import GraphHeads, leaky


@dataclass(frozen=True)
class StaticLookupSetting:
    """One GAT head on every permutation of ``n_words`` words; neighbouring r differ by ``spacing`` times 1/2 to 3/2, at random.

    ``gain``: the decoder's gains are exp(-gain r).
    """

    n_words: int = 6
    spacing: float = 1.0
    slope: float = 0.2
    gain: float = 0.6
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_at_least(self, 2, "n_words")
        require_positive(self, "spacing", "gain", "n_replicas")
        require_inside(self, 0, 1, "slope")


@simulation(name="graph_attention.static_lookup", block=8)
def static_lookup(
    setting: StaticLookupSetting, seeds: Sequence[np.random.SeedSequence], device: str
) -> dict[str, np.ndarray]:
    """``right (replica,)``: share of right answers over all permutations and queries; ``log_ratio (replica, query)``: least
    logarithm, over permutations, of the runner-up's logit over the right one's; ``ranks (replica, key)``: r; ``favourites
    (replica,)``: largest number of keys that are some query's favourite on one graph; ``attention (replica, query, key)`` of
    the first.
    """
    k = setting.n_words
    graphs = torch.tensor(list(permutations(range(k))))
    places = torch.arange(k) * k + graphs
    model = GraphHeads(k, "gat", 1, k + 2, setting.slope)
    found: dict[str, list] = {"right": [], "log_ratio": [], "ranks": [], "favourites": [], "attention": []}
    for stream in random_streams.generators(seeds, "data"):
        steps = setting.spacing * (0.5 + torch.rand(k, generator=stream, dtype=torch.float64))
        r = steps.cumsum(0)[torch.randperm(k, generator=stream)]
        weights, logits = model.weights_and_logits(_planted(r, setting), places)
        sizes = -logits[0]  # (query, graph, value)
        own = sizes.gather(-1, graphs.T[..., None])[..., 0]
        others = sizes.masked_fill(graphs.T[..., None] == torch.arange(k), torch.inf).amin(-1)
        found["right"].append((logits[0].argmax(-1) == graphs.T).double().mean().item())
        found["log_ratio"].append((others / own).log().amin(1).numpy())
        found["ranks"].append(r.numpy())
        favourites = weights[0, ..., 0].argmax(-1)  # (query, graph)
        found["favourites"].append(max(len(set(graph)) for graph in favourites.T.tolist()))
        found["attention"].append(weights[0, :, 0, :, 0].numpy())
    return {name: np.array(values) for name, values in found.items()}


def _planted(r: torch.Tensor, setting: StaticLookupSetting) -> dict[str, torch.Tensor]:
    """Weights of the head: channel v holds the gain of the key with value v; two more hold r, of a key and of a query."""
    k, gains = len(r), torch.exp(-setting.gain * r)
    hidden = -2 * torch.cat([gains, r]).max()
    attributes = torch.cat([gains[:, None].expand(k, k), r[:, None], r[:, None]], 1)
    values = torch.zeros(k + 1, k + 2, dtype=torch.float64)
    values[:, :k] = hidden * (1 - torch.eye(k + 1, k, dtype=torch.float64))
    values[:k, k + 1], values[k, k] = hidden, hidden  # keys hide the query's channel, queries the key's
    left, right = torch.zeros(2, 1, 1, k + 2, dtype=torch.float64)
    left[..., k + 1], right[..., k] = -1, 1
    decoder = -torch.eye(k + 2, k, dtype=torch.float64)
    own = {"attributes": attributes, "values": values, "decoder": decoder, "into": torch.eye(k + 2).double()}
    return {name: x[None] for name, x in own.items()} | {"left": left, "right": right}


@dataclass(frozen=True)
class UnitsSetting:
    """Two hidden units on identifiers 0 ... k - 1 for every k of ``n_words``, read out by -c for every c of ``sharpnesses``."""

    n_words: tuple[int, ...] = (2, 4, 10, 100)
    sharpnesses: tuple[float, ...] = (0.5, 1.0, 2.0, 5.0)
    slope: float = 0.2
    n_replicas: int = 1

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "n_words", "sharpnesses", "n_replicas")
        require_inside(self, 0, 1, "slope")


@simulation(name="graph_attention.two_units", block=1)
def two_units(setting: UnitsSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``weight (replica, k, c, place)``: weight of the right key of each query, 1 behind the last place."""
    found = np.ones((len(setting.n_words), len(setting.sharpnesses), max(setting.n_words)))
    for a, k in enumerate(setting.n_words):
        x = torch.arange(k, dtype=torch.float64)
        z = x[:, None] - x
        hidden = leaky(torch.stack([z, -z], -1), setting.slope)
        for b, c in enumerate(setting.sharpnesses):
            found[a, b, :k] = (-c * hidden).sum(-1).softmax(-1).diagonal().numpy()
    return {"weight": np.tile(found, (len(seeds), 1, 1, 1))}


@dataclass(frozen=True)
class HatsSetting:
    """Every map of ``n_nodes`` random nodes of width ``dim`` to themselves, by 3 n hidden units with score ``height`` on its
    pairs."""

    n_nodes: int = 5
    dim: int = 3
    height: float = 3.0
    slope: float = 0.2
    n_replicas: int = 8

    def __post_init__(self) -> None:
        checked(self)
        require_at_least(self, 2, "n_nodes")
        require_positive(self, "dim", "height", "n_replicas")
        require_inside(self, 0, 1, "slope")


@simulation(name="graph_attention.hats", block=8)
def hats(setting: HatsSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``weight (replica, map, query)``: weight of the assigned key; ``reached (replica,)``: maps whose every argmax is right;
    ``size (replica,)``: the largest number that the hats sum over."""
    n, w = setting.n_nodes, setting.height
    maps = torch.tensor(list(product(range(n), repeat=n)))  # (map, query)
    found: dict[str, list] = {"weight": [], "reached": [], "size": []}
    for stream in random_streams.generators(seeds, "data"):
        nodes = torch.randn(n, setting.dim, generator=stream, dtype=torch.float64)
        asks, held = (torch.randn(setting.dim, generator=stream, dtype=torch.float64) for _ in range(2))
        t = (nodes @ asks)[:, None] + nodes @ held  # (query, key)
        width = t.flatten().sort().values.diff().min() / 2
        peaks = t.gather(1, maps.T).T  # (map, query)
        biases = -(peaks[..., None] + width * torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64)).flatten(1)
        readout = (w / ((1 - setting.slope) * width) * torch.tensor([1.0, -2.0, 1.0], dtype=torch.float64)).repeat(n)
        scores = torch.zeros(len(maps), n, n, dtype=torch.float64)
        for unit in range(3 * n):
            scores += readout[unit] * leaky(t + biases[:, unit, None, None], setting.slope)
        weights = scores.softmax(-1)
        found["weight"].append(weights.gather(-1, maps[..., None])[..., 0].numpy())
        found["reached"].append(int((weights.argmax(-1) == maps).all(1).sum()))
        found["size"].append((w * t.abs().max() / width).item())
    return {name: np.array(values) for name, values in found.items()}
