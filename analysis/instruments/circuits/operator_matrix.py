r"""Is a causal operator causal, does its cache give the same, and from which length on is it cheaper: three tests of one
operator.

Formula: with the inputs from place t + 1 on perturbed by ``size``,

.. math:: \text{leak} = \max_{t, i \le t} \lVert y_i - y_i' \rVert_\infty / \text{size}, \qquad
          \text{cache} = \max_i \lVert y_i - y_i^{step} \rVert_\infty,

exactly 0 for a causal operator, and the size of the leak otherwise. :func:`crossing` fits a N^2 + b N + c to the full
operator's times and d N + e to the other's, with weights 1/time, and gives the length from which the other is faster, with its
standard error.

Null: no leak: rounding only, below 1e-10 in float64.

Limit: a leak above 1e-10 always rings.

Twin: the published test, prefix against full run within 1e-4, which lets a leak of 1e-6 pass; the unweighted fit, whose
crossing spreads 2.3 times wider.

Sheet: instruments_circuits 7; CAB: Comprehensive Attention Benchmarking on Long Sequence Modeling.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from attnlab.analysis.figures.caption import describe
from attnlab.analysis.figures.curves import estimate, prediction
from attnlab.analysis.figures.plate import Plate
from attnlab.analysis.instruments.instrument import Instrument, Reading, Rival

AXES = ("operator",)
BUDGET = 1e-10

Operator = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, eq=False)
class Operators:
    """Operators x (token, dim) -> y (token, dim), by name, and inputs on which they are tried, (prompt, token, dim).

    ``steps``: name -> the same operator computed step by step from a cache, where there is one. ``size`` of the perturbation.
    """

    operators: Mapping[str, Operator]
    inputs: np.ndarray
    steps: Mapping[str, Operator] | None = None
    size: float = 1.0

    def __post_init__(self) -> None:
        if not self.operators:
            raise ValueError("operators is empty; give at least one")
        if self.inputs.ndim != 3 or self.inputs.shape[1] < 2 or not np.isfinite(self.inputs).all():
            raise ValueError(
                f"inputs must be finite, (prompt, token, dim) with 2 tokens at least, got {self.inputs.shape}"
            )
        if not self.size > 0:
            raise ValueError(f"size must be positive, got {self.size!r}")
        if unknown := set(self.steps or {}) - set(self.operators):
            raise ValueError(f"steps of unknown operators: {', '.join(sorted(unknown))}")


def measure(made: Operators) -> dict[str, Reading]:
    """``leak`` (operator,), with p = 0 above the budget and else 1, and ``cache`` for the operators that have ``steps``."""
    leak = np.array([max(_leak(each, x, made.size) for x in made.inputs) for each in made.operators.values()])
    readings = {"leak": _reading(leak, len(made.inputs))}
    if made.steps:
        gap = [
            max(float(np.abs(made.operators[name](x) - step(x)).max()) for x in made.inputs)
            for name, step in made.steps.items()
        ]
        readings["cache"] = _reading(np.array(gap), len(made.inputs))
    return readings


def crossing(n: np.ndarray, full: np.ndarray, other: np.ndarray, weighted: bool = True) -> tuple[float, float]:
    """The length at which ``full`` (a N^2 + b N + c) and ``other`` (d N + e) cost the same, and its standard error.

    Times (length,) at lengths ``n``; relative errors are alike, so weights are 1/time. The error is that of the residuals, by
    the delta method. Errors: ``ValueError`` for fewer than 4 lengths and for curves that do not cross.
    """
    n = np.asarray(n, dtype=np.float64)
    if n.size < 4:
        raise ValueError(f"{n.size} lengths cannot be fitted by a parabola with an error; give 4 at least")
    scale = n.max()
    u = n / scale
    (p, cov_p), (q, cov_q) = (
        _fit(np.vander(u, order), np.asarray(y, dtype=np.float64), weighted) for order, y in ((3, full), (2, other))
    )
    a, b, c = p[0], p[1] - q[0], p[2] - q[1]
    root = (-b + (b**2 - 4 * a * c) ** 0.5) / (2 * a) if a > 0 and b**2 > 4 * a * c else -1.0
    if not root > 0:
        raise ValueError("the curves do not cross at a positive length; measure longer inputs")
    slope = 2 * a * root + b
    into_p, into_q = np.array([root**2, root, 1]) / slope, np.array([root, 1]) / slope
    return float(root * scale), float((into_p @ cov_p @ into_p + into_q @ cov_q @ into_q) ** 0.5 * scale)


def compositional_index(scores: np.ndarray, lower_is_better: np.ndarray) -> np.ndarray:
    """The index of every operator, scores (operator, metric): mean over metrics of z values, signs turned where lower is
    better."""
    z = (scores - scores.mean(0)) / scores.std(0)
    return np.where(lower_is_better, -z, z).mean(-1)


def figure(readings: Mapping[str, Reading]) -> Plate:
    """Leak by operator on a log axis under the budget."""
    leak = readings["leak"]
    plate, x = Plate(width="single"), np.arange(leak.value.size).astype(float)
    y = np.maximum(leak.value, 1e-17)
    estimate(plate[0], x, y, y, y, "leak", interval="none: a causal operator has none")
    prediction(plate[0], np.array([-0.5, x.size - 0.5]), np.full(2, BUDGET), "budget")
    plate[0].scale(y="log")
    plate[0].ticks(x=list(x))
    plate[0].labels(x="operator", y="leak from the future")
    plate.legend("below")
    describe(plate, "How much outputs change when only later inputs do", seeds="")
    return plate


def _leak(operator: Operator, x: np.ndarray, size: float) -> float:
    worst, whole = 0.0, operator(x)
    for t in range(len(x) - 1):
        moved = x.copy()
        moved[t + 1 :] += size
        worst = max(worst, float(np.abs(operator(moved)[: t + 1] - whole[: t + 1]).max()))
    return worst / size


def _reading(value: np.ndarray, n: int) -> Reading:
    none = np.zeros_like(value)
    p = np.where(value > BUDGET, 0.0, 1.0)
    limit = np.full(value.shape, BUDGET)
    return Reading(value, "", AXES, value, value, none, none, p, n, limit, f"exact but for rounding; budget {BUDGET:g}")


def _fit(x: np.ndarray, y: np.ndarray, weighted: bool) -> tuple[np.ndarray, np.ndarray]:
    w = 1 / y if weighted else np.ones_like(y)
    scatter = np.linalg.inv((x * w[:, None] ** 2).T @ x)
    found = scatter @ ((x * w[:, None] ** 2).T @ y)
    residual = (y - x @ found) * w
    spread = float(residual @ residual) / (len(y) - x.shape[1])
    if weighted:
        return found, spread * scatter
    return found, scatter @ (x * (residual**2)[:, None]).T @ x @ scatter  # White's: errors grow with the time


def _attend(x: np.ndarray) -> np.ndarray:
    """Causal softmax attention of x with itself."""
    s = np.where(np.tri(len(x), dtype=bool), x @ x.T, -np.inf)
    e = np.exp(s - s.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True) @ x


def _world(rng: np.random.Generator, leak: float) -> Operators:
    """Causal attention, and the same with ``leak`` times the next place's input added."""

    def leaky(x: np.ndarray) -> np.ndarray:
        y = _attend(x)
        y[:-1] += leak * x[1:]
        return y

    return Operators({"leaky": leaky}, rng.standard_normal((3, 8, 4)))


def _published(rng: np.random.Generator) -> np.ndarray:
    """The rival: whether prefix and full run differ by more than 1e-4 in sum at a leak of 1e-6; the truth is 1."""
    made = _world(rng, 1e-6)
    operator = made.operators["leaky"]
    gaps = [np.abs(operator(x[:-1])[-1] - operator(x)[-2]).sum() for x in made.inputs]
    return np.array([float(gap > 1e-4) for gap in gaps])


INSTRUMENT = Instrument(
    measure=measure,
    main="leak",
    needs=(),
    nulls={"causal attention": lambda rng: _world(rng, 0.0)},
    planted=_world,
    truth=lambda strength: strength,
    strengths=(1e-8, 1e-4, 0.1),
    tolerance=1e-14,  # a few roundings of outputs of size 4
    limit=BUDGET,
    rivals=(Rival("prefix against full run within 1e-4", "value", _published, 1.0),),
    figure=figure,
    sheet="instruments_circuits 7",
    exact=True,
)
