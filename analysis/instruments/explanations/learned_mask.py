r"""Which inputs must stay for the model to say the same: a mask learnt by gradient, and when an input is kept.

Formula: mask a = sigmoid(c) in (0, 1) per input, minimising

.. math:: L(a) + \lambda \operatorname{mean}_j (a_j + 5 \cdot 10^{-4})^{0.3} + \kappa\, \mathrm{TV2}(a),

L the loss of the masked input (1.5 cross-entropy in the paper), from a = 1/2 by Adam on c. ``mask`` is a at the end, ``area``
its mean.

Null: a loss that does not depend on an input: the area term takes it out.

Limit: without the smoothness term an input is kept if and only if its part of -dL/da stays above the area term's slope,

.. math:: g > \frac{0.3 \lambda}{n} (1/2 + 5 \cdot 10^{-4})^{-0.7},

for the slope falls as a grows, so that an input that rises from 1/2 goes to 1 and one that falls to 0.

Twin: a mask of ones, which keeps everything and has the smallest loss; one linear area term, whose threshold is lambda/n.

Sheet: instruments_explanations 4; T-TAME: Trainable Attention Mechanism for Explaining Convolutional Networks and Vision
Transformers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from attnlab.analysis.figures.caption import describe
from attnlab.analysis.figures.curves import estimate, prediction
from attnlab.analysis.figures.plate import Plate
from attnlab.analysis.instruments.instrument import Instrument, Reading, Rival

AXES = ("prompt", "input")
POWER_OF_AREA, SHIFT = 0.3, 5e-4


@dataclass(frozen=True, eq=False)
class Masking:
    """``slope(mask (prompt, input)) -> dL/da`` of the same shape, and the size of the mask.

    ``area`` lambda and ``smooth`` kappa of the formula; ``side``: inputs form rows of this length for the smoothness term.
    """

    slope: Callable[[np.ndarray], np.ndarray]
    n_prompts: int
    n_inputs: int
    area: float = 2.0
    smooth: float = 0.0
    side: int = 0
    steps: int = 400
    rate: float = 0.2

    def __post_init__(self) -> None:
        if not (
            self.area > 0 and self.smooth >= 0 and self.rate > 0 and min(self.n_prompts, self.n_inputs, self.steps) > 0
        ):
            raise ValueError("area, rate, steps and sizes must be positive, smooth at least 0")
        if self.smooth and (self.side < 1 or self.n_inputs % self.side):
            raise ValueError(f"side={self.side!r} must divide n_inputs={self.n_inputs} where smooth is used")


def measure(masking: Masking) -> dict[str, Reading]:
    """``mask`` (prompt, input), p = 0 where it is above 1/2 at the end and else 1, and ``area`` (prompt,).

    Errors: ``ValueError`` where the slope is not finite.
    """
    mask = learn(masking)
    n, no = masking.n_prompts, np.full(mask.shape, np.nan)
    half, area = np.full(mask.shape, 0.5), mask.mean(-1)
    assumed = f"gradient descent from 1/2, {masking.steps} steps"
    kept = np.where(mask > 0.5, 0.0, 1.0)
    none = np.full(area.shape, np.nan)
    return {
        "mask": Reading(mask, "", AXES, mask, mask, np.zeros_like(mask), no, kept, n, half, assumed),
        "area": Reading(area, "", AXES[:1], area, area, none, none, None, n, none, assumed),
    }


def learn(masking: Masking) -> np.ndarray:
    """The mask (prompt, input) after Adam's steps on its logits, moments .9 and .999."""
    c = np.zeros((masking.n_prompts, masking.n_inputs))
    first, second = np.zeros_like(c), np.zeros_like(c)
    for step in range(1, masking.steps + 1):
        a = 1 / (1 + np.exp(-c))
        into_loss = masking.slope(a)
        if not np.isfinite(into_loss).all():
            raise ValueError(f"the slope of the loss is not finite in step {step}")
        g = (into_loss + _penalty_slope(masking, a)) * a * (1 - a)
        first, second = 0.9 * first + 0.1 * g, 0.999 * second + 0.001 * g**2
        c -= masking.rate * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-12)
        c = np.clip(c, -30, 30)
    return 1 / (1 + np.exp(-c))


def kept_from(area: float, n_inputs: int) -> float:
    """The slope -dL/da of one input above which it is kept."""
    return POWER_OF_AREA * area / n_inputs * (0.5 + SHIFT) ** (POWER_OF_AREA - 1)


def figure(readings: Mapping[str, Reading]) -> Plate:
    """Mask of the first prompt by input, and the middle that decides."""
    mask = readings["mask"].value[0]
    plate, x = Plate(width="single"), np.arange(mask.size).astype(float)
    estimate(plate[0], x, mask, mask, mask, "mask of the first prompt", interval="none: one optimum per prompt")
    prediction(plate[0], np.array([0, mask.size - 1.0]), np.full(2, 0.5), "kept above")
    plate[0].labels(x="input", y="mask")
    plate.legend("below")
    describe(plate, "Inputs that the learnt mask keeps", seeds="")
    return plate


def _penalty_slope(masking: Masking, a: np.ndarray) -> np.ndarray:
    made = POWER_OF_AREA * masking.area / masking.n_inputs * (a + SHIFT) ** (POWER_OF_AREA - 1)
    if not masking.smooth:
        return made
    grid = a.reshape(len(a), -1, masking.side)
    into = np.zeros_like(grid)
    for axis in (1, 2):
        step = np.diff(grid, axis=axis)
        low, high = [slice(None)] * 3, [slice(None)] * 3
        low[axis], high[axis] = slice(None, -1), slice(1, None)
        into[tuple(low)] -= 2 * step
        into[tuple(high)] += 2 * step
    return made + masking.smooth / len(a) * into.reshape(a.shape)


_N, _INPUTS, _AREA = 2, 24, 2.0


def _world(rng: np.random.Generator, slope: float) -> Masking:
    """A loss that falls by ``slope`` per unit of the mask in every input."""
    return Masking(lambda a: np.full(a.shape, -slope), _N, _INPUTS, _AREA)


def _linear_area(rng: np.random.Generator) -> np.ndarray:
    """The rival's threshold, lambda/n, beside the true one (3.7 times of which is 1)."""
    return np.atleast_1d(_AREA / _INPUTS / kept_from(_AREA, _INPUTS))


def _ones(rng: np.random.Generator) -> np.ndarray:
    """The rival: the mask of ones on inputs that do not matter; the truth there is 0."""
    return np.ones(_INPUTS)


INSTRUMENT = Instrument(
    measure=measure,
    main="mask",
    needs=(),
    nulls={"inputs that do not matter": lambda rng: _world(rng, 0.0)},
    planted=_world,
    truth=lambda strength: float(strength > kept_from(_AREA, _INPUTS)),
    strengths=(0.5 * kept_from(_AREA, _INPUTS), 0.9 * kept_from(_AREA, _INPUTS), 2 * kept_from(_AREA, _INPUTS)),
    tolerance=1e-3,  # the logit runs on by up to the rate per step: e^-7 is reached long before the last one
    limit=kept_from(_AREA, _INPUTS),
    rivals=(
        Rival("the threshold of a linear area term", "value", _linear_area, 1.0),
        Rival("a mask of ones", "value", _ones, 0.0),
    ),
    figure=figure,
    sheet="instruments_explanations 4",
    exact=True,
)
