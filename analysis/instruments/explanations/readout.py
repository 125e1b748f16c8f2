r"""Does a model report on its own states better than plain in-context averaging: reports, against the Hebbian reader's law.

Formula: a prompt shows n states h_i ~ N(0, Lambda) with labels y_i = sign(h_i . e_k) and asks for the label of another. A
reader that sums y_i h_i is right with probability

.. math:: 1 - \frac{E\,\theta}{\pi}, \qquad \cos\theta = \frac{u_k}{\lVert u\rVert}, \qquad
          u_k \sim N\Bigl(\lambda_k \sqrt{2/\pi}, \frac{\lambda_k^2 (1 - 2/\pi)}{n}\Bigr), \quad
          u_j \sim N\Bigl(0, \frac{\lambda_j^2}{n}\Bigr),

with u = Lambda^{1/2} w of the read-out w and j all other coordinates. ``excess`` is the share of right reports minus this law,
by axis.

Null: the Hebbian reader: axes are read better the larger their variance and the more examples there are, with no semantics at
all. Student's test over prompts, one-sided.

Limit: an excess of (z_a + z_b) sqrt(p(1 - p)/N).

Twin: reports against chance: every axis of large variance looks like a known one; the plug-in law, which puts the noise's mean
into cos(theta) and is low by up to .03.

Sheet: instruments_explanations 8; Language Models Are Capable of Metacognitive Monitoring and Control of Their Internal
Activations.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from attnlab.analysis.figures.plate import Plate
from attnlab.analysis.instruments.figure_of_entries import figure_of_entries
from attnlab.analysis.instruments.instrument import Instrument, Reading, Rival, reading_of
from attnlab.analysis.instruments.over_prompts import detectable, p_above

AXES = ("axis",)


@dataclass(frozen=True, eq=False)
class Reports:
    """Whether each report was right, (prompt, axis) bool, the number of examples, and the variances of the states, (dim,).

    ``axes`` (axis,): the coordinate that each axis is, in the basis in which the states are uncorrelated.
    """

    right: np.ndarray
    n_examples: int
    variances: np.ndarray
    axes: np.ndarray

    def __post_init__(self) -> None:
        if self.right.dtype != bool or self.right.ndim != 2 or self.axes.shape != self.right.shape[1:]:
            raise ValueError(
                f"right must be bool (prompt, axis) and axes (axis,), got {self.right.dtype} {self.right.shape}, "
                f"{self.axes.shape}"
            )
        if self.n_examples < 1 or self.variances.ndim != 1 or not (self.variances > 0).all():
            raise ValueError("n_examples must be at least 1 and variances positive, (dim,)")
        if not ((self.axes >= 0) & (self.axes < self.variances.size)).all():
            raise ValueError(f"axes must be coordinates 0 to {self.variances.size - 1}")


def measure(reports: Reports) -> dict[str, Reading]:
    """``excess`` over the Hebbian law (tested) and ``accuracy``, with the law as its null value: (axis,)."""
    variances = tuple(float(x) for x in reports.variances)
    law = np.array([hebbian_law(variances, int(axis), reports.n_examples) for axis in reports.axes])
    assumed = "states normal, examples and queries independent; prompts independent"
    excess = reports.right - law
    right = reports.right.astype(np.float64)
    return {
        "excess": reading_of(excess, "accuracy", AXES, assumed, null=0.0, tested=True),
        "accuracy": reading_of(right, "", AXES, assumed, null=law, p=p_above(right, law)),
    }


@functools.lru_cache(maxsize=512)
def hebbian_law(variances: tuple[float, ...], axis: int, n_examples: int, draws: int = 20_000) -> float:
    """The law of the formula, its normal laws integrated over ``draws`` (seed 0): right to some .001."""
    lam = np.asarray(variances)
    g = np.random.default_rng(0).standard_normal((draws, lam.size))
    u = lam * g / n_examples**0.5
    own = lam[axis] * ((2 / np.pi) ** 0.5 + (1 - 2 / np.pi) ** 0.5 * g[:, axis] / n_examples**0.5)
    u[:, axis] = own
    return float(1 - np.arccos(own / np.linalg.norm(u, axis=-1)).mean() / np.pi)


def hebb(h: np.ndarray, y: np.ndarray, query: np.ndarray) -> np.ndarray:
    """The sign that the Hebbian reader says: h (..., example, dim), y (..., example) of +-1, query (..., dim)."""
    return np.sign(((y[..., None] * h).sum(-2) * query).sum(-1))


def ridge(h: np.ndarray, y: np.ndarray, query: np.ndarray, strength: float = 1.0) -> np.ndarray:
    """The sign that a ridge regression says, which whitens the states and so removes the order of axes by variance."""
    scatter = np.swapaxes(h, -1, -2) @ h + strength * np.eye(h.shape[-1])
    w = np.linalg.solve(scatter, (y[..., None] * h).sum(-2)[..., None])[..., 0]
    return np.sign((w * query).sum(-1))


def figure(readings: Mapping[str, Reading]) -> Plate:
    """Excess by axis with its interval, that of the Hebbian reader and the limit."""
    return figure_of_entries(readings["excess"], "excess", "axis", "Reports that are right beyond the Hebbian reader's")


_N, _AXES, _DIM, _EXAMPLES = 120, 8, 10, 16
_LAM = 1 / np.arange(1, _DIM + 1)
_READ = 2 + np.arange(_AXES)  # the first two are read so well that little can be added
_LAWS = np.array([hebbian_law(tuple(_LAM.tolist()), int(axis), _EXAMPLES) for axis in _READ])


def _world(rng: np.random.Generator, more: float) -> Reports:
    """Reports of the Hebbian reader, wrong ones mended so often that the accuracy is ``more`` above its law."""
    h = _LAM**0.5 * rng.standard_normal((_N, _AXES, _EXAMPLES + 1, _DIM))
    y = np.sign(np.take_along_axis(h, _READ[None, :, None, None], -1)[..., 0])
    right = hebb(h[:, :, :-1], y[:, :, :-1], h[:, :, -1]) == y[:, :, -1]
    mended = rng.random(right.shape) < more / (1 - _LAWS)
    return Reports(right | mended, _EXAMPLES, _LAM, _READ)


def _against_chance(rng: np.random.Generator) -> np.ndarray:
    """The rival: p values of the Hebbian reader's reports against 1/2."""
    return p_above(_world(rng, 0.0).right.astype(float), 0.5)


def _mean_limit() -> float:
    """Detectable at the mean of p(1 - p) over the axes, p the accuracy with the effect, by iteration."""
    more = 0.1
    for _ in range(50):
        p = _LAWS + more
        more = float(detectable(float((p * (1 - p)).mean()) ** 0.5, _N))
    return more


INSTRUMENT = Instrument(
    measure=measure,
    main="excess",
    needs=(),
    nulls={"the Hebbian reader": lambda rng: _world(rng, 0.0)},
    planted=_world,
    truth=lambda strength: strength,
    strengths=(0.05, 0.1, 0.15),
    tolerance=2e-3,  # the law: its integration, .001, and w taken as normal at 16 examples, below .001
    limit=_mean_limit(),
    rivals=(Rival("reports against chance", "level", _against_chance),),
    figure=figure,
    sheet="instruments_explanations 8",
)
