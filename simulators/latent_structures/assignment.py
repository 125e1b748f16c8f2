"""One-to-one structures: permutations summed one by one, Sinkhorn's plan, belief propagation; independent draws of rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from scipy.special import expit, xlogy

from attnlab.simulators.ensemble.setting import checked, require_at_least, require_positive
from attnlab.simulators.ensemble.simulation import simulation

ROUNDS = 300  # of messages, where freezing is watched


@dataclass(frozen=True)
class AssignmentSetting:
    """``n_tokens`` queries and keys with standard normal scores, multiplied by each of ``inverse_temperatures``.

    ``tolerance``: where the iterations stop, in the logarithm of a weight; ``n_draws``: structures whose rows are drawn
    independently from the exact marginals at the first inverse temperature.
    """

    n_tokens: int = 4
    inverse_temperatures: tuple[float, ...] = (1.0,)
    tolerance: float = 1e-13
    n_draws: int = 0
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "inverse_temperatures", "tolerance", "n_replicas")
        require_at_least(self, 3, "n_tokens")
        if self.n_tokens > 8:
            raise ValueError(f"n_tokens={self.n_tokens}: all permutations are summed; use at most 8")


@dataclass(frozen=True)
class RingSetting:
    """Query i may use key i, or with a score lower by each of ``gaps`` the next key on a ring of each of ``sizes``."""

    sizes: tuple[int, ...] = (2, 3, 5, 7)
    gaps: tuple[float, ...] = (0.1, 0.3, 1.0, 3.0)
    n_replicas: int = 1

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "gaps", "n_replicas")
        require_at_least(self, 2, "sizes")
        if max(self.sizes) > 8:
            raise ValueError(f"sizes={self.sizes}: all permutations are summed; use at most 8")


@simulation(
    name="latent_structures.assignments", block=8, reads=("n_tokens", "inverse_temperatures", "tolerance", "n_draws")
)
def assignments(
    setting: AssignmentSetting, seeds: Sequence[np.random.SeedSequence], device: str
) -> dict[str, np.ndarray]:
    """``exact``, ``sinkhorn``, ``bethe (replica, inverse temperature, query, key)``.

    Beside them ``scores (replica, query, key)``; ``log_permanent``, ``sinkhorn_value`` sum P (S - ln P) and ``bethe_value``,
    which has sum (1 - P) ln (1 - P) more, (replica, inverse temperature); ``one_to_one (replica,)``, the share of draws.
    """
    n = setting.n_tokens
    maps = np.array(list(permutations(range(n))))
    found: dict[str, list] = {}
    for seed in seeds:
        rng = np.random.default_rng(seed)
        scores = rng.standard_normal((n, n))
        row: dict[str, list] = {}
        for beta in setting.inverse_temperatures:
            S = beta * scores
            exact, log_permanent = summed(S, maps)
            plan, beliefs = sinkhorn(S, setting.tolerance), belief_propagation(S, setting.tolerance)
            value = np.sum(plan * S) - np.sum(xlogy(plan, plan))
            bethe = np.sum(beliefs * S) - np.sum(xlogy(beliefs, beliefs)) + np.sum(xlogy(1 - beliefs, 1 - beliefs))
            for name, x in {
                "exact": exact,
                "sinkhorn": plan,
                "bethe": beliefs,
                "log_permanent": log_permanent,
                "sinkhorn_value": value,
                "bethe_value": bethe,
            }.items():
                row.setdefault(name, []).append(x)
        chosen = (rng.random((setting.n_draws, n, 1)) > np.cumsum(row["exact"][0], axis=1)).sum(-1)
        one_to_one = np.mean([len(set(each)) == n for each in chosen.tolist()]) if setting.n_draws else np.nan
        for name, x in {**row, "scores": scores, "one_to_one": one_to_one}.items():
            found.setdefault(name, []).append(x)
    return {name: np.array(values) for name, values in found.items()}


@simulation(name="latent_structures.freezing", block=8, reads=("n_tokens", "inverse_temperatures"))
def freezing(setting: AssignmentSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Belief propagation beside the best permutation: what its beliefs leave to other edges, round by round.

    ``left (replica, inverse temperature)``: largest belief in an edge off the best permutation after ``ROUNDS`` rounds, and
    ``factor``: by how much it shrinks per round, over the last ``ROUNDS`` / 4. ``scores`` have the best permutation on the
    diagonal.
    """
    n = setting.n_tokens
    maps = np.array(list(permutations(range(n))))
    found: dict[str, list] = {"left": [], "factor": [], "scores": []}
    for seed in seeds:
        scores = np.random.default_rng(seed).standard_normal((n, n))
        best = maps[np.argmax(scores[np.arange(n), maps].sum(1))]
        scores = scores[:, best]
        left, factor = [], []
        for beta in setting.inverse_temperatures:
            to_rows, off = np.zeros((n, n)), []
            for _ in range(ROUNDS):
                to_rows, logit = messages(beta * scores, to_rows)
                off.append(np.max(logit[~np.eye(n, dtype=bool)]))
            left.append(expit(off[-1]))
            factor.append(np.exp((np.logaddexp(0, -off[-1 - ROUNDS // 4]) - np.logaddexp(0, -off[-1])) * 4 / ROUNDS))
        for name, x in {"left": left, "factor": factor, "scores": scores}.items():
            found[name].append(x)
    return {name: np.array(values) for name, values in found.items()}


@simulation(name="latent_structures.rings", block=1, reads=("sizes", "gaps"))
def rings(setting: RingSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Weight of the own key of the first query: ``exact`` and ``sinkhorn (replica, size, gap)``. Nothing is random."""
    table: dict[str, list] = {"exact": [], "sinkhorn": []}
    for n in setting.sizes:
        maps = np.array(list(permutations(range(n))))
        for gap in setting.gaps:
            S = np.full((n, n), -np.inf)
            S[np.arange(n), np.arange(n)] = 0.0
            S[np.arange(n), (np.arange(n) + 1) % n] = -gap
            table["exact"].append(summed(S, maps)[0][0, 0])
            table["sinkhorn"].append(sinkhorn(S, 1e-14)[0, 0])
    shape = 1, len(setting.sizes), len(setting.gaps)
    return {name: np.tile(np.reshape(x, shape), (len(seeds), 1, 1)) for name, x in table.items()}


def summed(S: np.ndarray, maps: np.ndarray) -> tuple[np.ndarray, float]:
    """Marginals of all permutations in a list by their weights, and the log of the sum of weights."""
    n = len(S)
    log = S[np.arange(n), maps].sum(1)
    top = log.max()
    total = top + np.log(np.exp(log - top).sum())
    weights = np.exp(log - total)
    P = np.stack([np.bincount(maps[:, i], weights, minlength=n) for i in range(n)])
    return P, float(total)


def sinkhorn(S: np.ndarray, tolerance: float, most: int = 200_000) -> np.ndarray:
    """The doubly stochastic matrix a_i b_j e^(S_ij), by dividing by sums of columns and rows in turn; rows sum to 1."""
    log = S - log_sum(S, 1)
    for _ in range(most):
        columns = log_sum(log, 0)
        log = log - columns
        log = log - log_sum(log, 1)
        if np.abs(columns).max() < tolerance:
            return np.exp(log)
    raise RuntimeError(f"columns are {np.abs(columns).max():.2g} off after {most} iterations; raise the tolerance")


def belief_propagation(S: np.ndarray, tolerance: float, most: int = 200_000) -> np.ndarray:
    """Beliefs that edge (i, j) is used, from messages between "one key per query" and "one query per key", until they rest."""
    to_rows, beliefs = np.zeros_like(S), np.zeros_like(S)
    for _ in range(most):
        to_rows, logit = messages(S, to_rows)
        before, beliefs = beliefs, expit(logit)
        if np.abs(beliefs - before).max() < tolerance:
            return beliefs
    raise RuntimeError(f"beliefs still move by {np.abs(beliefs - before).max():.2g} after {most} iterations")


def messages(S: np.ndarray, to_rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One round: what columns then say to rows, and the log-odds of every edge."""
    left_out = np.where(np.eye(len(S), dtype=bool), -np.inf, 0.0)
    from_rows = -log_sum((S + to_rows)[:, None, :] + left_out, 2)[..., 0]  # (query, key left out)
    new = -log_sum((S + from_rows).T[:, None, :] + left_out, 2)[..., 0].T
    return new, S + from_rows + new


def log_sum(x: np.ndarray, axis: int) -> np.ndarray:
    """Log of the sum of exponentials, the axis kept; of finite numbers and -inf, not all of them -inf."""
    top = x.max(axis, keepdims=True)
    return top + np.log(np.exp(x - top).sum(axis, keepdims=True))
