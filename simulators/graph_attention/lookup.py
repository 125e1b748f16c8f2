r"""DictionaryLookup: k queries find the value that a key of their own attribute holds, through one layer of graph attention.

Brody, Alon and Yahav 2022 (arXiv 2105.14491), section 4.1 and appendix. Complete bipartite graph, no self loops, no residual, a
linear decoder without bias. A key holds attribute b and value pi(b), a query attribute a and an empty value:

.. math:: h(a, v) = \mathrm{ReLU}(E_a + F_v), \qquad \text{logits}_a = D \sum_b \alpha_{a b}\, W h(b, \pi(b)) .

Only k^2 different keys and k different queries exist, so scores and values are worked out once for those and looked up for
every permutation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
import torch
from torch import Tensor

from attnlab.simulators.ensemble.layout import Parameters
from attnlab.simulators.ensemble.optimisers import Adam
from attnlab.simulators.ensemble.plan import Plan, Record, log_spaced_steps
from attnlab.simulators.ensemble.setting import checked, require_at_least, require_one_of, require_positive
from attnlab.simulators.ensemble.simulation import simulation
from attnlab.simulators.ensemble.trainer import train

SCORES = ("gat", "gatv2", "dot")


@dataclass(frozen=True)
class LookupSetting:
    """``n_words`` k (all k! permutations, a share ``held_out`` of them for the test), ``n_heads`` heads of width ``dim /
    n_heads``.

    ``score``: "gat", "gatv2" or "dot". ``slope``: that of LeakyReLU below 0. Full-batch Adam for ``n_steps`` steps.
    """

    n_words: int = 5
    score: str = "gat"
    n_heads: int = 1
    dim: int = 32
    slope: float = 0.2
    held_out: float = 0.2
    learning_rate: float = 0.01
    n_steps: int = 2_000
    n_records: int = 12
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_at_least(self, 3, "n_words")
        require_positive(self, "n_heads", "dim", "learning_rate", "n_steps", "n_records", "n_replicas")
        require_one_of(self, "score", SCORES)
        if self.n_words > 7:
            raise ValueError(f"n_words={self.n_words} means {self.n_words}! permutations; use at most 7")
        if self.dim % self.n_heads:
            raise ValueError(f"n_heads={self.n_heads} does not divide dim={self.dim}")
        if not 0 < self.held_out < 1:
            raise ValueError(f"held_out={self.held_out!r} must lie strictly between 0 and 1")


@dataclass(frozen=True)
class GraphHeads:
    """Heads of one score form on the tables of k attributes and k values (and the empty one)."""

    n_words: int
    score: str
    n_heads: int
    dim: int
    slope: float = 0.2

    def initialise(self, streams: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        """Embeddings of unit variance; matrices of variance 1 / width; read-outs of variance 1 / head width."""
        d, k = self.dim, self.n_words
        shapes = {"attributes": ((k, d), 1.0), "values": ((k + 1, d), 1.0), "decoder": ((d, k), d**-0.5)}
        shapes["into"] = ((d, d), d**-0.5)
        if self.score != "gat":
            shapes["from_query"] = ((d, d), d**-0.5)
        if self.score == "gat":
            for name in ("left", "right"):
                shapes[name] = ((self.n_heads, d // self.n_heads), (d // self.n_heads) ** -0.5)
        elif self.score == "gatv2":
            shapes["readout"] = ((self.n_heads, d // self.n_heads), (d // self.n_heads) ** -0.5)
        else:
            shapes["from_key"] = ((d, d), d**-0.5)
        return {
            name: torch.stack([std * torch.randn(shape, generator=stream, dtype=dtype) for stream in streams])
            for name, (shape, std) in shapes.items()
        }

    def tables(self, parameters: Parameters) -> tuple[Tensor, Tensor]:
        """Scores ``(replica, k, k^2, head)`` of queries on keys b k + v, and logits of keys ``(replica, k^2, head, k)``."""
        k, H, c = self.n_words, self.n_heads, self.dim // self.n_heads
        attributes, values = parameters["attributes"], parameters["values"]
        R = attributes.shape[0]
        queries = torch.relu(attributes + values[:, k:])
        keys = torch.relu(attributes[:, :, None] + values[:, None, :k]).reshape(R, k * k, self.dim)
        carried = (keys @ parameters["into"]).reshape(R, k * k, H, c)
        if self.score == "gat":
            asked = (queries @ parameters["into"]).reshape(R, k, H, c)
            left = (asked * parameters["left"][:, None]).sum(-1)
            right = (carried * parameters["right"][:, None]).sum(-1)
            scores = leaky(left[:, :, None] + right[:, None], self.slope)
        else:
            asked = (queries @ parameters["from_query"]).reshape(R, k, 1, H, c)
            if self.score == "gatv2":
                mixed = leaky(asked + carried[:, None], self.slope)
                scores = (mixed * parameters["readout"][:, None, None]).sum(-1)
            else:
                held = (keys @ parameters["from_key"]).reshape(R, 1, k * k, H, c)
                scores = (asked * held).sum(-1) / c**0.5
        decoder = parameters["decoder"].reshape(R, 1, H, c, k)
        return scores, (carried[..., None] * decoder).sum(-2)

    def weights_and_logits(self, parameters: Parameters, places: Tensor) -> tuple[Tensor, Tensor]:
        """Weights ``(replica, query, graph, key, head)`` and logits ``(replica, query, graph, value)``; places ``(graph,
        key)``."""
        scores, logits = self.tables(parameters)
        weights = torch.softmax(scores[:, :, places], dim=3)
        values = logits[:, places][:, None]  # (replica, 1, graph, key, head, value)
        return weights, (weights[..., None] * values).sum((3, 4))


@dataclass(frozen=True, eq=False)
class Lookup:
    """Mean cross-entropy of all queries on given permutations ``(graph, key)``, no random numbers."""

    graphs: Tensor
    numbers_per_step: int = 0

    @property
    def places(self) -> Tensor:
        """Index b k + pi(b) of every key."""
        k = self.graphs.shape[1]
        return torch.arange(k) * k + self.graphs

    def fill(self, numbers: Tensor, stream: torch.Generator) -> None:
        """Nothing is drawn."""

    def loss(self, model: GraphHeads, parameters: Parameters, numbers: Tensor | None) -> Tensor:
        """``(replica,)``."""
        _, logits = model.weights_and_logits(parameters, self.places)
        right = (self.graphs.T[..., None] == torch.arange(self.graphs.shape[1])).to(logits)
        return (torch.logsumexp(logits, -1) - (logits * right).sum(-1)).mean((1, 2))

    def largest_array(self, model: GraphHeads) -> int:
        return self.graphs.numel() * model.n_words**2 * model.n_heads

    def observe(self, model: GraphHeads, parameters: Parameters) -> dict[str, Tensor]:
        """Share of right answers, of graphs all right, and of graphs whose heads each have one favourite key for all
        queries."""
        weights, logits = model.weights_and_logits(parameters, self.places)
        right = logits.argmax(-1) == self.graphs.T
        favourite = weights.argmax(3)  # (replica, query, graph, head)
        static = (favourite == favourite[:, :1]).all(1)
        given = logits.argmax(-1)[..., None] == torch.arange(model.n_words)
        answers = given.any(1).sum(-1)  # (replica, graph)
        return {
            "nodes": right.double().mean((1, 2)),
            "whole": right.all(1).double().mean(1),
            "static": static.double().mean((1, 2)),
            "answers": answers.double().amax(1),
        }


def leaky(x: Tensor, slope: float) -> Tensor:
    """x above 0, slope x below."""
    return slope * x + (1 - slope) * torch.relu(x)


def split(n_words: int, held_out: float) -> tuple[Tensor, Tensor]:
    """Permutations for training and test, the same in every run."""
    every = torch.tensor(list(permutations(range(n_words))))
    order = torch.from_numpy(np.random.default_rng(2105_14491).permutation(len(every)))
    n_test = max(1, round(held_out * len(every)))
    return every[order[n_test:]], every[order[:n_test]]


@simulation(name="graph_attention.lookup", block=8)
def lookup(setting: LookupSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Train on DictionaryLookup. Along ``steps``, ``(replica, record)``: shares ``train_nodes``, ``train_whole``,
    ``test_nodes``, ``test_whole`` of right answers; ``static``, the share of training graphs and heads with one favourite key
    for all queries; ``answers``: the largest number of different answers that a training graph gets; ``attention (replica,
    query, key)`` of the first head on the first training graph at the end.
    """
    seen, unseen = split(setting.n_words, setting.held_out)
    model = GraphHeads(setting.n_words, setting.score, setting.n_heads, setting.dim, setting.slope)
    task, test = Lookup(seen), Lookup(unseen)
    steps = log_spaced_steps(setting.n_steps, setting.n_records)
    run = train(
        model,
        task,
        Adam(setting.learning_rate),
        seeds,
        Plan(setting.n_steps, loss_steps=steps, label=setting.score),
        [
            Record(lambda m, p: {f"train_{name}": x for name, x in task.observe(m, p).items()}, steps),
            Record(lambda m, p: {f"test_{name}": x for name, x in test.observe(m, p).items()}, steps),
            Record(lambda m, p: {"attention": m.weights_and_logits(p, task.places[:1])[0][:, :, 0, :, 0]}, steps[-1:]),
        ],
    )
    names = ("train_nodes", "train_whole", "test_nodes", "test_whole")
    found = {name: run.records[name] for name in names}
    found |= {"static": run.records["train_static"], "answers": run.records["train_answers"], "loss": run.loss}
    found["attention"] = run.records["attention"][:, 0]
    return found | {"steps": np.tile(steps, (len(seeds), 1)), "diverged_at": run.diverged_at}
