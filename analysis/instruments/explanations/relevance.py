r"""Does relevance add up: what layer-wise relevance propagation gives the inputs, what leaks into biases, and the gap that
remains.

Formula: for the output f, relevances R_i of the inputs and named leaks,

.. math:: \text{gap} = \frac{|\sum_i R_i + \sum \text{leaks} - f|}{|f|}, \qquad
          R_i = x_i \sum_j w_{ij} \frac{R_j}{z_j} \text{ (rule 0)}, \qquad
          R_i = x_i \sum_j w^+_{ij} \frac{R_j}{\sum_{i'} x_{i'} w^+_{i'j}} \text{ (z+)}.

Without biases rule 0 is gradient x input and conserves f; a bias takes the share b_j/z_j of R_j, the eps rule absorbs eps
sign(z_j)/(z_j + eps sign(z_j)) besides, and z+, whose denominator has no bias, leaks only where a unit has no positive input.
For transformers: detach attention weights and norm factors and the rest is linear; what is routed through queries and keys is
then invisible, so a previous-token head gets 0.

Null: exact up to rounding; the alarm rings beyond the budget.

Limit: a missing part above 1e-10 of f (float64) always rings.

Twin: plain gradient x input through a norm, which sums to 0 whatever f is; rule 0 in a network with biases, called conserving.

Sheet: instruments_explanations 3; Beyond saliency: understanding convolutional networks by layer-wise relevance propagation
(SR map).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from attnlab.analysis.figures.caption import describe
from attnlab.analysis.figures.curves import estimate, prediction
from attnlab.analysis.figures.plate import Plate
from attnlab.analysis.instruments.instrument import Instrument, Reading, Rival

AXES = ("prompt",)
BUDGET = 1e-10
RULES = ("0", "z+", "eps")


@dataclass(frozen=True, eq=False)
class Relevance:
    """Relevance of every input (prompt, input), the output it explains (prompt,), and what leaked where: name -> (prompt,)."""

    relevance: np.ndarray
    output: np.ndarray
    leaks: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.relevance.ndim != 2 or self.output.shape != self.relevance.shape[:1]:
            raise ValueError(
                f"relevance must be (prompt, input) and output (prompt,), got {self.relevance.shape}, {self.output.shape}"
            )
        for name, leak in {"relevance": self.relevance, "output": self.output, **self.leaks}.items():
            if len(leak) != len(self.output) or not np.isfinite(leak).all():
                raise ValueError(f"{name} must be finite with one row per prompt, got shape {np.shape(leak)}")
        if not (self.output != 0).all():
            raise ValueError("an output is 0: nothing is to be explained there; leave the prompt out")


@dataclass(frozen=True, eq=False)
class Layer:
    """An affine layer, weights (input, output) and bias (output,), with ReLU after it unless it is the last."""

    weights: np.ndarray
    bias: np.ndarray


def measure(made: Relevance, budget: float = BUDGET) -> dict[str, Reading]:
    """``gap`` (prompt,), with p = 0 beyond the budget and else 1, and ``leaked``, the share of f in the named leaks."""
    leaked = np.sum([np.zeros(len(made.output)), *made.leaks.values()], 0)
    gap = np.abs(made.relevance.sum(-1) + leaked - made.output) / np.abs(made.output)
    n, none, no = len(gap), np.zeros_like(gap), np.full(gap.shape, np.nan)
    p = np.where(gap > budget, 0.0, 1.0)
    assumed = f"exact but for rounding; budget {budget:g} of |f|"
    share = leaked / made.output
    return {
        "gap": Reading(gap, "of |f|", AXES, gap, gap, none, none, p, n, np.full(gap.shape, budget), assumed),
        "leaked": Reading(share, "of f", AXES, share, share, no, no, None, n, no, assumed),
    }


def propagate(layers: Sequence[Layer], x: np.ndarray, rule: str = "0", eps: float = 1e-9) -> Relevance:
    """Relevance of the inputs x (prompt, input) for the one output of a ReLU network, with the leak of every layer by name.

    ``rule``: ``"0"``, ``"z+"`` (positive weights, no bias; inputs must not be negative; a unit without positive input leaks
    its relevance), ``"eps"`` (of the size ``eps``). Errors: ``ValueError`` for another rule and for more than one output.
    """
    if rule not in RULES:
        raise ValueError(f"rule={rule!r}; use one of {', '.join(RULES)}")
    if layers[-1].weights.shape[1] != 1:
        raise ValueError(f"the last layer has {layers[-1].weights.shape[1]} outputs; relevance explains one")
    if rule == "z+" and (x < 0).any():
        raise ValueError("rule z+ needs inputs that are at least 0")
    states, z = [x], []
    for number, layer in enumerate(layers):
        z.append(states[-1] @ layer.weights + layer.bias)
        states.append(z[-1] if number == len(layers) - 1 else np.maximum(z[-1], 0.0))
    r = states[-1].copy()
    leaks: dict[str, np.ndarray] = {}
    for number in reversed(range(len(layers))):
        layer, below = layers[number], states[number]
        w = np.maximum(layer.weights, 0.0) if rule == "z+" else layer.weights
        beside = np.zeros_like(z[number]) if rule == "z+" else np.broadcast_to(layer.bias, z[number].shape)
        if rule == "eps":
            beside = beside + eps * np.where(z[number] < 0, -1.0, 1.0)
        total = below @ w + beside
        share = np.divide(r, total, out=np.zeros_like(r), where=total != 0)
        leaks[f"layer {number}"] = (share * beside).sum(-1) + (r * (total == 0)).sum(-1)
        r = below * (share @ w.T)
    return Relevance(r, states[-1][:, 0], leaks)


def figure(readings: Mapping[str, Reading]) -> Plate:
    """Gap per prompt on a log axis under the budget."""
    gap = readings["gap"]
    plate, x = Plate(width="single"), np.arange(gap.value.size).astype(float)
    y = np.maximum(gap.value, 1e-17)
    estimate(plate[0], x, y, y, y, "gap", interval="none: conservation is exact")
    prediction(plate[0], x, gap.limit, "budget")
    plate[0].scale(y="log")
    plate[0].labels(x="prompt", y="|sum R + leaks - f|/|f|")
    plate.legend("below")
    describe(plate, "How well relevances add up to what they explain", seeds="")
    return plate


def _network(rng: np.random.Generator, bias: float = 0.5) -> list[Layer]:
    widths = (8, 16, 16, 1)
    layers = [Layer(rng.standard_normal((a, b)), bias * rng.random(b)) for a, b in itertools.pairwise(widths)]
    return [*layers[:-1], Layer(np.abs(layers[-1].weights), layers[-1].bias)]  # so that f is positive


def _world(rng: np.random.Generator, missing: float, rule: str = "0") -> Relevance:
    """A ReLU network with biases explained by rule 0 with every leak named, but for the part ``missing`` of f."""
    made = propagate(_network(rng), rng.random((4, 8)) + 0.1, rule)
    short = made.relevance * 1.0
    short[:, 0] -= missing * made.output
    return Relevance(short, made.output, made.leaks)


def _through_a_norm(rng: np.random.Generator) -> np.ndarray:
    """The rival: gradient x input of w . x/rms(x), over f: 0, for it does not change with the size of x; the truth is 1."""
    x, w = rng.standard_normal((8, 12)), rng.standard_normal(12)
    rms = np.sqrt((x**2).mean(-1, keepdims=True))
    f = (x / rms) @ w
    gradient = w / rms - x * (x @ w)[:, None] / (rms**3 * x.shape[1])
    return (gradient * x).sum(-1) / f


def _called_conserving(rng: np.random.Generator) -> np.ndarray:
    """The rival: rule 0 in a network with biases, its leaks not named; the truth is a gap of 0."""
    made = propagate(_network(rng), rng.random((8, 8)) + 0.1)
    return measure(Relevance(made.relevance, made.output))["gap"].value


INSTRUMENT = Instrument(
    measure=measure,
    main="gap",
    needs=(),
    nulls={"rule 0": lambda rng: _world(rng, 0.0), "z+": lambda rng: _world(rng, 0.0, "z+")},
    planted=_world,
    truth=lambda strength: strength,
    strengths=(1e-9, 1e-3, 0.3),
    tolerance=1e-12,  # 500 roundings of terms up to the size of f, few of which cancel
    limit=BUDGET,
    rivals=(
        Rival("gradient x input through a norm", "value", _through_a_norm, 1.0),
        Rival("leaks that are not named", "value", _called_conserving, 0.0),
    ),
    figure=figure,
    sheet="instruments_explanations 3",
    exact=True,
)
