"""What encoders say of every word up to a length, and how sharp softmax must be to say the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from attnlab.simulators.ensemble.setting import checked, require_positive
from attnlab.simulators.ensemble.simulation import simulation
from attnlab.simulators.hard_attention.encoders import all_words, read_encoder, run_exactly, run_in_floats


@dataclass(frozen=True)
class RecognitionSetting:
    """``encoders``: texts (:mod:`attnlab.simulators.hard_attention.encoders`); ``longest``: every word up to it is tried."""

    encoders: tuple[str, ...] = ()
    longest: int = 7
    n_replicas: int = 1

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "longest", "n_replicas")
        for text in self.encoders:
            read_encoder(text)


@dataclass(frozen=True)
class SoftmaxSetting:
    """``encoder``: one text; ``lengths``: for each the least inverse temperature is sought below ``largest``, by
    bisection to a relative ``tolerance``."""

    encoder: str = ""
    lengths: tuple[int, ...] = (3, 4, 5, 6, 7, 8)
    largest: float = 1e12
    tolerance: float = 1e-9
    n_replicas: int = 1

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "lengths", "largest", "tolerance", "n_replicas")


@simulation(name="hard_attention_recognition.recognise", block=1, reads=("encoders", "longest"))
def recognise(
    setting: RecognitionSetting, seeds: Sequence[np.random.SeedSequence], device: str
) -> dict[str, np.ndarray]:
    """``said (replica, encoder, word, position)``, int8: the output at every letter.

    It is 0 or 1, 2 if it is another number, and -1 where the word has ended. Words are ordered by length, then by the alphabet.
    ``in_floats``: the same by float64, told by the side of 1/2. ``layers`` and ``width (replica, encoder)``: attention
    layers, and coordinates of a position after the last layer.
    """
    rows = [_said(read_encoder(text), setting.longest) for text in setting.encoders]
    n_words = max((len(row[0]) for row in rows), default=0)
    made = np.full((2, len(rows), n_words, setting.longest), -1, dtype=np.int8)
    for k, row in enumerate(rows):
        for which, values in enumerate(row):
            made[which, k, : len(values)] = values
    sizes = np.array([_size(read_encoder(text)) for text in setting.encoders], dtype=np.int64).reshape(-1, 2)
    found = {"said": made[0], "in_floats": made[1], "layers": sizes[:, 0], "width": sizes[:, 1]}
    return {name: np.repeat(values[None], len(seeds), 0) for name, values in found.items()}


@simulation(name="hard_attention_recognition.sharpness", block=1, reads=("encoder", "lengths", "largest", "tolerance"))
def sharpness(setting: SoftmaxSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``least (replica, length)``: the inverse temperature from which on softmax accepts the words that hard attention does.

    All words of that length are tried; NaN if softmax does not do so at ``largest``. ``wrong (replica, length)``: share of the
    words that softmax at inverse temperature 1 gets wrong.
    """
    encoder = read_encoder(setting.encoder)
    least, wrong = [], []
    for length in setting.lengths:
        words = all_words(len(encoder["alphabet"]), length)
        truth = run_exactly(encoder, words)[:, 0] == 1

        def mistakes(beta: float, words: np.ndarray = words, truth: np.ndarray = truth) -> float:
            return float(np.mean((run_in_floats(encoder, words, beta)[:, 0] > 0.5) != truth))

        wrong.append(mistakes(1.0))
        low, high = 0.0, setting.largest
        if mistakes(high):
            least.append(np.nan)
            continue
        if not mistakes(low):
            least.append(0.0)
            continue
        low = high
        while mistakes(low / 2) == 0:
            low /= 2
        high, low = low, low / 2
        while high - low > setting.tolerance * high:
            middle = (low + high) / 2
            low, high = (middle, high) if mistakes(middle) else (low, middle)
        least.append(high)
    return {name: np.tile(values, (len(seeds), 1)) for name, values in (("least", least), ("wrong", wrong))}


def _size(encoder: dict) -> tuple[int, int]:
    """Attention layers, and coordinates after the last layer."""
    copies = [len(layer["copies"]) for layer in encoder["layers"] if "copies" in layer]
    encodings = len(next(iter(encoder["encodings"].values()))[0])
    return len(copies), len(encoder["alphabet"]) + encodings + sum(copies) + len(encoder["layers"]) - len(copies)


def _said(encoder: dict, longest: int) -> tuple[np.ndarray, np.ndarray]:
    exact, floats = [], []
    for length in range(1, longest + 1):
        words = all_words(len(encoder["alphabet"]), length)
        blank = np.full((2, len(words), longest), -1, dtype=np.int8)
        blank[0, :, :length] = run_exactly(encoder, words)
        blank[1, :, :length] = run_in_floats(encoder, words) > 0.5
        exact.append(blank[0])
        floats.append(blank[1])
    return np.concatenate(exact), np.concatenate(floats)
