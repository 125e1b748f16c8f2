"""Every structure of a small set of tokens, with its posterior weight: marginals and expectations by summing over the list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, permutations, product

import numpy as np
import torch

from attnlab.kernels.attention import attention
from attnlab.simulators.ensemble.setting import checked, require_at_least, require_positive
from attnlab.simulators.ensemble.simulation import simulation


@dataclass(frozen=True)
class EnumerationSetting:
    """``n_tokens`` self-attending tokens of width ``dim``; scores have spread about ``spread``.

    ``structures``: "one parent", "null parent" (at most one), "independent edges", "fixed number" (exactly ``n_parents`` each),
    "permutation", "tree" (one parent or root, no cycles; the diagonal is the score of a root), or "two heads" (two parents of
    different score matrices, the second of its own values). ``weighted``: one parent has random prior probabilities, a quarter 0.
    """

    structures: str = "one parent"
    n_tokens: int = 4
    dim: int = 3
    spread: float = 2.0
    n_parents: int = 2
    null_logit: float = 0.7
    prior_odds: float = 0.4
    weighted: bool = False
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "dim", "spread", "n_parents", "prior_odds", "n_replicas")
        require_at_least(self, 2, "n_tokens")
        if self.structures not in STRUCTURES:
            raise ValueError(
                f"structures={self.structures!r} is unknown; use one of {', '.join(map(repr, STRUCTURES))}"
            )
        if self.n_tokens > 4 and self.structures in ("independent edges", "two heads"):
            raise ValueError(f"n_tokens={self.n_tokens}: the list of {self.structures} is long; use at most 4")


def _parents(n: int, maps: Sequence[Sequence[int]]) -> np.ndarray:
    """Edges of parent maps; parent n is nobody."""
    return np.eye(n + 1, dtype=bool)[np.array(maps)][..., :n]


def _subsets(n: int, r: int) -> np.ndarray:
    rows = np.zeros((len(list(combinations(range(n), r))), n), dtype=bool)
    for row, chosen in zip(rows, combinations(range(n), r), strict=True):
        row[list(chosen)] = True
    return np.stack([np.stack(each) for each in product(rows, repeat=n)])


def _trees(n: int) -> np.ndarray:
    """Maps in which a token is its own parent if it is a root, and whoever follows parents comes to a root."""
    found = []
    for parents in product(range(n), repeat=n):
        at = list(range(n))
        for _ in range(n):
            at = [parents[i] for i in at]
        if all(parents[i] == i for i in at):
            found.append(parents)
    return _parents(n, found)


STRUCTURES = {
    "one parent": lambda n, r: _parents(n, list(product(range(n), repeat=n))),
    "null parent": lambda n, r: _parents(n, list(product(range(n + 1), repeat=n))),
    "independent edges": lambda n, r: np.array(list(product((False, True), repeat=n * n))).reshape(-1, n, n),
    "fixed number": _subsets,
    "permutation": lambda n, r: _parents(n, list(permutations(range(n)))),
    "tree": lambda n, r: _trees(n),
    "two heads": lambda n, r: _parents(n, list(product(range(n), repeat=n))),
}


@simulation(
    name="latent_structures.enumerate_structures",
    block=4,
    reads=("structures", "n_tokens", "dim", "spread", "n_parents", "null_logit", "prior_odds", "weighted"),
)
def enumerate_structures(
    setting: EnumerationSetting, seeds: Sequence[np.random.SeedSequence], device: str
) -> dict[str, np.ndarray]:
    """``marginals (replica, query, key)``; ``mean`` and ``mean_square (replica, query, value)`` of the sum of all parents'
    values.

    With them ``scores``, ``log_prior``, ``values``, the number of structures ``n_structures``, and the output ``attention``
    of the
    repository's softmax attention with the log prior as its bias, on the same tokens. "two heads" returns scores and values of
    both heads (replica, head, ...), the marginals of the first and the mean over all pairs of maps, one list in the other.
    """
    found: dict[str, list] = {}
    for seed in seeds:
        rng = np.random.default_rng(seed)
        n, d = setting.n_tokens, setting.dim
        x = rng.standard_normal((n, d))
        made = [_head(rng, x, setting) for _ in range(2 if setting.structures == "two heads" else 1)]
        edges = STRUCTURES[setting.structures](n, setting.n_parents)
        log_prior = np.zeros((n, n))
        if setting.weighted:
            masked = np.argsort(rng.random((n, n)) + 2 * np.eye(n), axis=1) < n // 4  # never a whole row
            log_prior = np.where(masked, -np.inf, np.log(rng.exponential(size=(n, n))))
        one = [_summed(edges, q, k, v, log_prior, setting) for q, k, v in made]
        if len(one) == 2:  # independent latents: the joint list is the product of the lists
            joint = _two_heads(edges, one, [v for _, _, v in made])
            one = [{**one[0], "mean": joint[0], "mean_square": joint[1]}]
            row = {**one[0], "scores": np.stack([_scores(q, k) for q, k, _ in made])}
            row["values"] = np.stack([v for _, _, v in made])
            row["attention"] = np.sum([_attention(q, k, v, log_prior) for q, k, v in made], axis=0)
            row["n_structures"] = np.array(len(edges) ** 2)
        else:
            (q, k, v), row = made[0], dict(one[0])
            row |= {"scores": _scores(q, k), "values": v, "attention": _attention(q, k, v, log_prior)}
            row["n_structures"] = np.array(len(edges))
        row["log_prior"] = log_prior
        row.pop("weights")
        for name, value in row.items():
            found.setdefault(name, []).append(value)
    return {name: np.array(values) for name, values in found.items()}


SHOWN = ("one parent", "null parent", "independent edges", "fixed number", "permutation", "tree")


@simulation(
    name="latent_structures.same_scores",
    block=4,
    reads=("n_tokens", "dim", "spread", "n_parents", "null_logit", "prior_odds"),
)
def same_scores(
    setting: EnumerationSetting, seeds: Sequence[np.random.SeedSequence], device: str
) -> dict[str, np.ndarray]:
    """``marginals (replica, structure, query, key)`` of one score matrix under every structure of ``SHOWN``, and ``scores``."""
    found: dict[str, list] = {"marginals": [], "scores": []}
    n = setting.n_tokens
    for seed in seeds:
        rng = np.random.default_rng(seed)
        q, k, v = _head(rng, rng.standard_normal((n, setting.dim)), setting)
        each = [
            _summed(STRUCTURES[name](n, setting.n_parents), q, k, v, np.zeros((n, n)), setting, name)["marginals"]
            for name in SHOWN
        ]
        found["marginals"].append(each)
        found["scores"].append(_scores(q, k))
    return {name: np.array(values) for name, values in found.items()}


def _head(rng: np.random.Generator, x: np.ndarray, setting: EnumerationSetting) -> tuple[np.ndarray, ...]:
    d = setting.dim
    W = rng.standard_normal((3, d, d)) / d**0.5
    return setting.spread * x @ W[0], x @ W[1], x @ W[2]


def _scores(q: np.ndarray, k: np.ndarray) -> np.ndarray:
    return q @ k.T / q.shape[-1] ** 0.5


def _attention(q: np.ndarray, k: np.ndarray, v: np.ndarray, log_prior: np.ndarray) -> np.ndarray:
    Q, K, V, bias = (torch.from_numpy(np.ascontiguousarray(each))[None, None] for each in (q, k, v, log_prior))
    return attention(Q, K, V, bias=bias)[0, 0].numpy()


def _summed(
    edges: np.ndarray,
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    log_prior: np.ndarray,
    setting: EnumerationSetting,
    structures: str = "",
) -> dict[str, np.ndarray]:
    extra = {"null parent": -setting.null_logit, "independent edges": np.log(setting.prior_odds)}
    each = _scores(q, k) + log_prior + extra.get(structures or setting.structures, 0.0)
    log = np.where(edges, each, 0.0).reshape(len(edges), -1).sum(1)
    weights = np.exp(log - log.max())
    weights /= weights.sum()
    sums = edges @ v  # (structure, query, value)
    return {
        "weights": weights,
        "marginals": np.tensordot(weights, edges.astype(float), 1),
        "mean": np.tensordot(weights, sums, 1),
        "mean_square": np.tensordot(weights, sums**2, 1),
    }


def _two_heads(
    edges: np.ndarray, one: list[dict[str, np.ndarray]], values: list[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Over all pairs of structures: mean and mean square of the sum of the two parents' values."""
    first, second = (edges @ v for v in values)
    mean, square = np.zeros_like(first[0]), np.zeros_like(first[0])
    for weight, value in zip(one[0]["weights"], first, strict=True):
        both = value + second
        mean += weight * np.tensordot(one[1]["weights"], both, 1)
        square += weight * np.tensordot(one[1]["weights"], both**2, 1)
    return mean, square
