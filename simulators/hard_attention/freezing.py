r"""How few letters of a word must be fixed before a random unique-hard-attention encoder no longer reads the others.

An encoder of one or two layers with random whole-number weights: ``x_j`` of width ``width`` is a random vector for each pair
of position and letter (an arbitrary encoding); a layer gives position i the vector ``ReLU(C x_i + D x_j)`` of the j that
maximises ``x_i^T M x_j``, the leftmost on ties; the word is accepted by the sign of a random functional at position 0.
Every word of {0, 1}^n is run once; every choice of fixed positions and letters is then read off that table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from attnlab.simulators.ensemble.setting import checked, require_at_least, require_positive
from attnlab.simulators.ensemble.simulation import simulation
from attnlab.simulators.hard_attention.encoders import all_words


@dataclass(frozen=True)
class FreezingSetting:
    """``n_letters``: length n of the words over two letters; ``n_layers``; ``width``: coordinates; ``largest``: of the random
    whole numbers."""

    n_letters: int = 9
    n_layers: int = 1
    width: int = 6
    largest: int = 9
    n_replicas: int = 64

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "width", "largest", "n_replicas")
        require_at_least(self, 1, "n_letters", "n_layers")
        if self.n_letters > 14:
            raise ValueError(f"n_letters={self.n_letters!r} means 3^n choices; use at most 14")


@simulation(name="hard_attention_freezing.freeze", block=8, reads=("n_letters", "n_layers", "width", "largest"))
def freeze(setting: FreezingSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``fixed (replica,)``: the least number of letters that, fixed in some way, leave the output constant over all others.

    ``parity (replica,)``: the same number of the parity function, from its table.
    """
    rows = [_accepted(setting, np.random.default_rng(seed)) for seed in seeds]
    words = all_words(2, setting.n_letters)
    parity = least_fixed(words.sum(1) % 2 == 1, setting.n_letters)
    return {
        "fixed": np.array([least_fixed(row, setting.n_letters) for row in rows]),
        "parity": np.full(len(seeds), parity),
    }


def least_fixed(accepted: np.ndarray, n: int) -> int:
    """The least number of fixed letters that makes a function of {0, 1}^n constant; ``accepted`` in lexicographic order."""
    cube = np.asarray(accepted).reshape((2,) * n)
    for k in range(n + 1):
        for places in combinations(range(n), k):
            free = tuple(place for place in range(n) if place not in places)
            if np.any(cube.all(axis=free) | ~cube.any(axis=free)):
                return k
    raise AssertionError("a function of fixed letters only is constant")


def _accepted(setting: FreezingSetting, rng: np.random.Generator) -> np.ndarray:
    n, d = setting.n_letters, setting.width

    def draw(*shape: int) -> np.ndarray:
        return rng.integers(-setting.largest, setting.largest + 1, size=shape)

    x = draw(n, 2, d)[np.arange(n), all_words(2, n)]  # (word, position, width)
    for _ in range(setting.n_layers):
        scores = np.einsum("wid,de,wje->wij", x, draw(d, d), x)
        there = np.take_along_axis(x, scores.argmax(-1)[..., None], axis=1)
        x = np.maximum(x @ draw(d, d) + there @ draw(d, d), 0)
    return x[:, 0] @ draw(d) > 0
