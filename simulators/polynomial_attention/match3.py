"""Match3: a tensor head with weights by hand on every short sequence and on random ones, and the search for a pairwise head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy.optimize import linprog

from attnlab.simulators.ensemble import random_streams
from attnlab.simulators.ensemble.setting import checked, require_at_least, require_positive
from attnlab.simulators.ensemble.simulation import simulation


@dataclass(frozen=True)
class MatchSetting:
    """Sequences of ``n_tokens`` tokens modulo ``modulus``: all of them, or ``n_draws`` random ones if that is not 0.

    The head has the features ``query``, ``first`` and ``second``, four numbers per residue, row by row, a null pair of score
    ``null``, and
    the inverse temperatures ``inverse_temperatures``. Pairs (j, k) include j = k and the token itself.
    """

    n_tokens: int = 3
    modulus: int = 5
    query: tuple[float, ...] = ()
    first: tuple[float, ...] = ()
    second: tuple[float, ...] = ()
    null: float = 0.5
    inverse_temperatures: tuple[float, ...] = (1.0,)
    n_draws: int = 0
    n_replicas: int = 1

    def __post_init__(self) -> None:
        checked(self)
        require_at_least(self, 2, "n_tokens", "modulus")
        require_at_least(self, 0, "n_draws")
        require_positive(self, "inverse_temperatures", "n_replicas")
        for name in ("query", "first", "second"):
            if len(getattr(self, name)) != 4 * self.modulus:
                raise ValueError(
                    f"{name} has {len(getattr(self, name))} numbers; give 4 per residue, {4 * self.modulus}"
                )


@simulation(name="polynomial_attention.match3", block=4)
def match3(setting: MatchSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``wrong (replica, inverse temperature)``: answers that differ from the truth, of n per sequence, ``of (replica,)``
    answers in all;
    ``matches (replica,)``: the share of answers that is yes; ``sums (replica, residue, residue, residue)``: the head's scores.

    The head says yes if real pairs have more than half of the weight.
    """
    n, M = setting.n_tokens, setting.modulus
    Q, K1, K2 = (np.reshape(x, (M, 4)) for x in (setting.query, setting.first, setting.second))
    sums = np.einsum("ic,jc,kc->ijk", Q, K1, K2)
    residues = np.arange(M)
    truth = (residues[:, None, None] + residues[:, None] + residues) % M == 0
    found: dict[str, list] = {"wrong": [], "of": [], "matches": [], "sums": []}
    for stream in random_streams.generators(seeds, "data"):
        if setting.n_draws:
            words = np.random.default_rng(stream.initial_seed()).integers(M, size=(setting.n_draws, n))
        else:
            words = np.array(list(product(range(M), repeat=n)))
        places = words[:, :, None, None], words[:, None, :, None], words[:, None, None, :]
        yes = truth[places].any((2, 3))
        above = sums[places].reshape(*words.shape, -1) - setting.null
        said = [np.logaddexp.reduce(beta * above, axis=-1) > 0 for beta in setting.inverse_temperatures]
        found["wrong"].append([(each != yes).sum() for each in said])
        found["of"].append(yes.size)
        found["matches"].append(yes.mean())
        found["sums"].append(sums)
    return {name: np.array(values) for name, values in found.items()}


@dataclass(frozen=True)
class PairwiseSetting:
    """Pairwise heads with a linear read-out on three tokens, for every one of ``moduli``."""

    moduli: tuple[int, ...] = (2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)
    n_replicas: int = 1

    def __post_init__(self) -> None:
        checked(self)
        require_at_least(self, 2, "moduli")
        require_positive(self, "n_replicas")


@simulation(name="polynomial_attention.pairwise", block=1)
def pairwise(setting: PairwiseSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``exists (replica, modulus)``: whether numbers c and phi make c + phi(a) + phi(b) at least 1 for a + b = 0 and at most
    -1 for all
    other a, b, by a linear programme; ``sums``: whether c + phi(a + b) can, a function of the sum."""
    found: dict[str, list[bool]] = {"exists": [], "sums": []}
    for M in setting.moduli:
        for name in found:
            rows = []
            for a, b in product(range(M), repeat=2):
                row = np.zeros(M + 1)
                row[M] = 1
                if name == "exists":
                    row[a] += 1
                    row[b] += 1
                else:
                    row[(a + b) % M] += 1
                rows.append(row if (a + b) % M else -row)
            done = linprog(np.zeros(M + 1), A_ub=np.array(rows), b_ub=-np.ones(M * M), bounds=(None, None))
            found[name].append(done.status == 0)
    return {name: np.tile(values, (len(seeds), 1)) for name, values in found.items()}
