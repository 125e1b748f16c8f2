"""Match3 on three tokens by training: a tensor head and pairwise heads on the same task, and the best that any pairwise head
can do.

The token a is asked about two others, b and c: yes if a + b + c = 0 mod M. A share ``p_match`` of the sequences are matches,
all equally frequent, and so are all mismatches. Training descends the loss over all M^3 sequences, so nothing is sampled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
import torch
from scipy.optimize import Bounds, LinearConstraint, milp
from torch import Tensor
from torch.nn.functional import softplus

from attnlab.simulators.ensemble import random_streams
from attnlab.simulators.ensemble.layout import Parameters
from attnlab.simulators.ensemble.optimisers import Adam
from attnlab.simulators.ensemble.plan import Plan
from attnlab.simulators.ensemble.schedules import cosine
from attnlab.simulators.ensemble.setting import checked, require_at_least, require_one_of, require_positive
from attnlab.simulators.ensemble.simulation import simulation
from attnlab.simulators.ensemble.trainer import train

HEADS = ("tensor", "pairwise")


@dataclass(frozen=True)
class TrainedSetting:
    """``n_heads`` heads of a kind, ``width`` numbers in each table of queries, keys and values; tokens modulo ``modulus``.

    ``p_match``: share of matches. Adam at ``rate``, which falls as a cosine, for ``n_steps`` steps over all sequences.
    """

    head: str = "tensor"
    n_heads: int = 1
    width: int = 8
    modulus: int = 7
    p_match: float = 0.5
    rate: float = 0.02
    n_steps: int = 1000
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_one_of(self, "head", HEADS)
        require_at_least(self, 2, "modulus")
        require_positive(self, "n_heads", "width", "rate", "n_steps", "n_replicas")
        if not 0 < self.p_match < 1:
            raise ValueError(f"p_match={self.p_match!r} is not a share of both kinds; use 0 < p_match < 1")


@dataclass(frozen=True)
class Heads:
    r"""Heads on the tokens b and c, whose outputs are read by a vector of the token a, with a bias of a.

    ``pairwise``: :math:`r_a \cdot (w_{ab} v_b + w_{ac} v_c)`, w the softmax of the two :math:`q_a \cdot k`.
    ``tensor``: the mean over the pairs (b, c) and (c, b) of :math:`r_a \cdot (v_b \circ v'_c)`, weighed by the softmax of
    :math:`\sum q_a k_b k'_c`.
    """

    head: str
    n_heads: int
    width: int
    modulus: int

    def initialise(self, streams: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        """Tables ``(replica, head, token, width)`` of normal numbers, sums over the width of variance 1; biases 0."""
        names = ["query", "key", "value", "read"] + ["key2", "value2"] * (self.head == "tensor")
        start = {}
        for name in names:
            shape, spread = (self.n_heads, self.modulus, self.width), 1.0
            if name in ("query", "read"):
                spread = self.width**-0.5
            start[name] = torch.stack([spread * torch.randn(shape, generator=s, dtype=dtype) for s in streams])
        return start | {"bias": torch.zeros(len(streams), self.modulus, dtype=dtype)}

    def __call__(self, parameters: Parameters) -> Tensor:
        """Logits ``(replica, a, b, c)`` of every sequence."""
        q, k, v, r = (parameters[name] for name in ("query", "key", "value", "read"))
        if self.head == "pairwise":
            score, value = q @ k.mT, r @ v.mT  # (replica, head, a, b)
            score, value = score[..., None], value[..., None]
        else:
            score, value = (
                ((x[..., None, :] * y[:, :, None]) @ z.mT[:, :, None])  # (replica, head, a, b, c)
                for x, y, z in ((q, k, parameters["key2"]), (r, v, parameters["value2"]))
            )
        first = torch.sigmoid(score - score.mT)  # weight of b, or of the pair (b, c)
        out = (first * value + (1 - first) * value.mT).sum(1)
        return out + parameters["bias"][:, :, None, None]


@dataclass(frozen=True)
class EverySequence:
    """The cross-entropy over all sequences. Nothing is random."""

    modulus: int
    p_match: float
    numbers_per_step: int = 0

    @property
    def match(self) -> Tensor:
        """1 where a + b + c = 0 mod M, ``(a, b, c)``."""
        x = torch.arange(self.modulus)
        return ((x[:, None, None] + x[:, None] + x) % self.modulus == 0).double()

    @property
    def weights(self) -> Tensor:
        """Probability of a sequence, ``(a, b, c)``."""
        M, p, match = self.modulus, self.p_match, self.match
        return (match * p + (1 - match) * (1 - p) / (M - 1)) / M**2

    def loss(self, model: Heads, parameters: Parameters, numbers: Tensor | None) -> Tensor:
        """Cross-entropy ``(replica,)``."""
        sign = (1 - 2 * self.match).to(parameters["bias"])
        return (self.weights.to(sign) * softplus(sign * model(parameters))).sum((1, 2, 3))

    def largest_array(self, model: Heads) -> int:
        return model.n_heads * self.modulus**3

    def accuracy(self, logits: Tensor) -> np.ndarray:
        """Share of right answers ``(replica,)`` over all sequences, yes for a positive logit."""
        right = (logits > 0) == (self.match > 0)
        return (right * self.weights).sum((1, 2, 3)).numpy()


@simulation(name="polynomial_attention.trained", block=16)
def trained(setting: TrainedSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``accuracy (replica,)`` over all sequences after training, ``start`` before, and the cross-entropy ``loss`` at the end."""
    model = Heads(setting.head, setting.n_heads, setting.width, setting.modulus)
    task = EverySequence(setting.modulus, setting.p_match)
    start = model.initialise(random_streams.generators(seeds, "parameters"), torch.float32)
    run = train(
        model,
        task,
        Adam(setting.rate, schedule=cosine(setting.n_steps)),
        seeds,
        Plan(setting.n_steps, loss_steps=(setting.n_steps - 1, setting.n_steps), label=setting.head),
    )
    with torch.no_grad():
        return {
            "accuracy": task.accuracy(model({name: x.cpu() for name, x in run.parameters.items()})),
            "start": task.accuracy(model(start)),
            "loss": run.loss[:, -1],
        }


@dataclass(frozen=True)
class BestSetting:
    """The best additive rule on the two other tokens, for every one of ``moduli`` and a share ``p_match`` of matches.

    ``p_match = 0`` stands for 1/M: all sequences equally frequent.
    """

    moduli: tuple[int, ...] = (2, 3, 4, 5, 6)
    p_match: float = 0.5
    n_replicas: int = 1

    def __post_init__(self) -> None:
        checked(self)
        require_at_least(self, 2, "moduli")
        require_positive(self, "n_replicas")


@simulation(name="polynomial_attention.best_pairwise", block=1)
def best_pairwise(setting: BestSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``accuracy (replica, modulus)``: the largest share of right answers of rules phi_a(b) + phi_a(c) > 0, mean over the
    token a, by mixed-integer linear programmes."""
    found = [np.mean([_best(M, a, setting.p_match or 1 / M) for a in range(M)]) for M in setting.moduli]
    return {"accuracy": np.tile(np.array(found), (len(seeds), 1))}


def _best(M: int, a: int, p: float) -> float:
    """Numbers phi (M of them) and answers (one per unordered pair, 0 or 1), such that an answer is 1 where phi_b + phi_c is at
    least 1 and 0 where it is at most -1."""
    cells = list(combinations_with_replacement(range(M), 2))
    large = 4.0 * M  # enough for M levels two apart
    rows, gains, certain = [], np.zeros(M + len(cells)), 0.0
    for number, (b, c) in enumerate(cells):
        row = np.zeros(M + len(cells))
        row[b] += 1
        row[c] += 1
        row[M + number] = -large
        rows.append(row)
        weight = (1 + (b != c)) * (p / M if (a + b + c) % M == 0 else (1 - p) / (M * (M - 1)))
        gains[M + number] = weight if (a + b + c) % M == 0 else -weight
        certain += 0.0 if (a + b + c) % M == 0 else weight  # right if the answer is no
    high = np.concatenate([np.full(M, large / 2), np.ones(len(cells))])
    low = np.concatenate([np.full(M, -large / 2), np.zeros(len(cells))])
    kinds = np.concatenate([np.zeros(M), np.ones(len(cells))])
    done = milp(
        -gains,
        constraints=LinearConstraint(np.array(rows), 1 - large, -1),
        integrality=kinds,
        bounds=Bounds(low, high),
        options={"mip_rel_gap": 0.0},
    )
    return certain - done.fun
