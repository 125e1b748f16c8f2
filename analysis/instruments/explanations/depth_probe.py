r"""At which depth a label can be read off: a linear probe on the states of every layer, judged on states that it has not seen.

Formula: the probe is w = mean of class 1 - mean of class 0 on the first half of the states, its threshold midway; ``accuracy``
is that on the second half, with the exact binomial interval. ``control`` is the same with labels shuffled within the halves.
:func:`emergence`: the first layer whose lower bound is above the middle of chance and the last layer.

Null: labels that have nothing to do with the states: accuracy 1/2; exact binomial test.

Limit: the distance D of two Gaussian classes at which the law of the probe reaches the accuracy that the binomial test finds
with 80 %. For n training states in d dimensions, with noise c^2 = 4/n per coordinate of w,

.. math:: \mathrm{acc} = E\,\Phi\Bigl(\frac{D\, w_1}{2 \lVert w\rVert \sqrt{1 + 1/n}}\Bigr), \quad w_1 \sim N(D, c^2), \quad
          \lVert w\rVert^2 = w_1^2 + c^2 \chi^2_{d-1}; \qquad
          \mathrm{acc} \approx \Phi\Bigl(\frac{D^2/2}{\sqrt{D^2 + 4d/n}}\Bigr).

A gain of later layers that this law explains by D and d is no deeper concept.

Twin: the training accuracy (1 for n < 2d, whatever the labels). A probe that is not linear reads XOR at layer 0: name the
class.

Sheet: instruments_explanations 7; Exploring Concept Depth.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import special

from attnlab.analysis.figures.plate import Plate
from attnlab.analysis.instruments.figure_of_entries import figure_of_entries
from attnlab.analysis.instruments.instrument import Instrument, Reading, Rival
from attnlab.analysis.instruments.over_trials import detectable_share, share_of

AXES = ("layer",)


@dataclass(frozen=True, eq=False)
class States:
    """States of one token per prompt, (layer, prompt, dim), and labels 0 or 1, (prompt,); the first half trains, the other
    judges."""

    states: np.ndarray
    labels: np.ndarray

    def __post_init__(self) -> None:
        if self.states.ndim != 3 or self.labels.shape != self.states.shape[1:2]:
            raise ValueError(
                f"states must be (layer, prompt, dim) and labels (prompt,), got {self.states.shape}, {self.labels.shape}"
            )
        if not np.isfinite(self.states).all():
            raise ValueError("states are not finite; a model that diverged?")
        half = len(self.labels) // 2
        if not np.isin(self.labels, (0, 1)).all() or any(
            np.unique(part).size < 2 for part in (self.labels[:half], self.labels[half:])
        ):
            raise ValueError("labels must be 0 and 1, both of them in each half of the prompts")


def measure(made: States) -> dict[str, Reading]:
    """``accuracy`` on the second half and ``control``, with labels shuffled within the halves: (layer,), against 1/2."""
    half = len(made.labels) // 2
    rng = np.random.default_rng(half)
    shuffled = np.concatenate([rng.permutation(part) for part in (made.labels[:half], made.labels[half:])])
    assumed = "prompts independent; classes equally frequent, linear probe"
    return {
        name: share_of(right(made.states, labels, half)[half:], AXES, assumed, 0.5)
        for name, labels in (("accuracy", made.labels), ("control", shuffled))
    }


def right(states: np.ndarray, labels: np.ndarray, half: int) -> np.ndarray:
    """Whether the probe taught on the first ``half`` prompts says the labels, of all prompts: (prompt, layer)."""
    one, zero = (states[:, :half][:, labels[:half] == each].mean(1) for each in (1, 0))
    w = one - zero
    side = ((states - (one + zero)[:, None] / 2) @ w[..., None])[..., 0]
    return ((side > 0) == labels).T


@functools.lru_cache(maxsize=4096)
def accuracy_law(distance: float, dim: int, n_train: int) -> float:
    """The law of the formula, by quadrature: two Gaussian classes of unit covariance, n_train/2 training states of each."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    weights = weights / weights.sum()
    c2 = 4 / n_train
    w_1 = distance + c2**0.5 * nodes[:, None]
    levels = (np.arange(200) + 0.5) / 200
    chi2 = 2 * special.gammaincinv((dim - 1) / 2, levels) if dim > 1 else np.zeros(200)
    size = np.sqrt(w_1**2 + c2 * chi2)
    x = distance * w_1 / (2 * size * (1 + 1 / n_train) ** 0.5)
    return float(weights @ special.ndtr(x).mean(-1))


def distance_of(accuracy: float, dim: int, n_train: int) -> float:
    """The distance of the classes at which :func:`accuracy_law` gives this accuracy, by bisection."""
    low, high = 0.0, 40.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if accuracy_law(middle, dim, n_train) < accuracy else (low, middle)
    return low


def emergence(accuracy: Reading, chance: float = 0.5) -> int | None:
    """The first layer whose lower bound is above the middle of chance and the last layer's accuracy, or None."""
    above = np.flatnonzero(accuracy.low > (chance + accuracy.value[-1]) / 2)
    return int(above[0]) if above.size else None


def figure(readings: Mapping[str, Reading]) -> Plate:
    """Accuracy by layer with its exact interval, chance and the limit."""
    return figure_of_entries(
        readings["accuracy"], "accuracy", "layer", "How well a linear probe reads the label", "95 % exact"
    )


_N, _DIM, _LAYERS = 200, 20, 40


def _world(rng: np.random.Generator, distance: float, stretched: bool = False) -> States:
    """Gaussian classes at a distance in every layer; ``stretched``: coordinates of very different spread, no distance."""
    labels = np.concatenate([rng.permutation(_N // 2) % 2 for _ in range(2)])
    x = rng.standard_normal((_LAYERS, _N, _DIM)) * (np.geomspace(0.1, 10, _DIM) if stretched else 1.0)
    x[..., 3] += distance * labels
    return States(x, labels)


def _training(rng: np.random.Generator) -> np.ndarray:
    """The rival: p values of the training accuracy, where there is no distance."""
    made = _world(rng, 0.0)
    half = _N // 2
    return share_of(right(made.states, made.labels, half)[:half], AXES, "", 0.5).p


INSTRUMENT = Instrument(
    measure=measure,
    main="accuracy",
    needs=(),
    nulls={
        "labels at random": lambda rng: _world(rng, 0.0),
        "stretched states": lambda rng: _world(rng, 0.0, stretched=True),
    },
    planted=_world,
    truth=lambda strength: accuracy_law(strength, _DIM, _N // 2),
    strengths=(1.0, 2.0, 4.0),
    limit=distance_of(detectable_share(_N // 2, 0.5), _DIM, _N // 2),
    rivals=(Rival("the training accuracy", "level", _training),),
    figure=figure,
    sheet="instruments_explanations 7",
)
