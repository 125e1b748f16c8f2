r"""Do weights fall with distance like a screened power, r^-p e^{-r/lam}: exponent and screening, with their errors.

Formula: least squares of ln A_j on ln r_j and r_j, centred per row (the row's normaliser is a constant of the fit):

.. math:: \ln A_{ij} = -p \ln r_{ij} - r_{ij}/\lambda + \text{const}_i, \qquad
          \operatorname{Var}(\hat p, 1/\hat\lambda) = \sigma^2 (X^\top X)^{-1}.

Null: no law of distance: p = 0. The test is Student's over prompts, a fit per prompt.

Limit: p = (z_a + z_b) sd/sqrt(N) with the sd of the formula: .0187 for 40 rows of 12 keys with sigma = .1 and r from 1 to 5.

Twin: the fit of a pure power, which takes the screening into the exponent; a narrow range of r, which tells p from 1/lam
four times worse.

Sheet: instruments_explanations 5; CoulGAT.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from attnlab.analysis.instruments.figure_of_heads import figure_of_heads
from attnlab.analysis.instruments.instrument import Instrument, Reading, Rival, reading_of
from attnlab.analysis.instruments.over_prompts import detectable

AXES = ("head",)


@dataclass(frozen=True, eq=False)
class Rows:
    """Attention rows (prompt, head, row, key), positive, and the distances of their keys, (row, key), positive."""

    weights: np.ndarray
    distances: np.ndarray

    def __post_init__(self) -> None:
        if self.weights.ndim != 4 or self.weights.shape[2:] != self.distances.shape:
            raise ValueError(
                "weights must be (prompt, head, row, key) and distances (row, key), "
                f"got {self.weights.shape}, {self.distances.shape}"
            )
        if not (np.isfinite(self.weights).all() and (self.weights > 0).all()):
            raise ValueError("weights must be positive and finite: the logarithm is fitted; leave hidden keys out")
        if not (np.isfinite(self.distances).all() and (self.distances > 0).all()):
            raise ValueError("distances must be positive and finite; leave the query's own key out")


def measure(rows: Rows) -> dict[str, Reading]:
    """``power`` p (tested against 0 from above) and ``screening`` 1/lam per unit of distance, (head,).

    Errors: ``ValueError`` where the distances cannot tell a power from a screening (all rows hold at most two distances).
    """
    x = _design(rows.distances)
    scatter = x @ x.T
    if np.linalg.cond(scatter) > 1e12:
        raise ValueError("distances take at most two values per row: a power and a screening are the same there")
    y = np.log(rows.weights)
    y = (y - y.mean(-1, keepdims=True)).reshape(*y.shape[:2], -1)
    found = -np.linalg.solve(scatter, x @ np.swapaxes(y, -1, -2))  # (prompt, 2, head) after the product
    assumed = "errors of ln A independent of r; prompts independent"
    return {
        "power": reading_of(found[:, 0], "", AXES, assumed, null=0.0, tested=True),
        "screening": reading_of(found[:, 1], "per distance", AXES, assumed, null=0.0, tested=True),
    }


def fit_sd(distances: np.ndarray, sigma: float) -> tuple[float, float]:
    """Standard deviations of p and 1/lam from one prompt whose ln A have independent errors of sd ``sigma``, before centring."""
    x = _design(distances)
    cov = sigma**2 * np.linalg.inv(x @ x.T)
    return float(cov[0, 0] ** 0.5), float(cov[1, 1] ** 0.5)


def figure(readings: Mapping[str, Reading]) -> object:
    """Every head's exponent with interval, 0 and the limit."""
    power = readings["power"]
    cut = {name: getattr(power, name)[None] for name in ("value", "low", "high", "null_mean", "null_sd", "p", "limit")}
    one = Reading(**{**power.__dict__, **cut, "axes": ("layer", "head"), "values": power.values[:, None]})
    return figure_of_heads(one, "exponent p", "Fall of the weights with distance, by head")


def _design(distances: np.ndarray) -> np.ndarray:
    """ln r and r, centred per row, (2, rows x keys)."""
    columns = np.stack([np.log(distances), distances])
    return (columns - columns.mean(-1, keepdims=True)).reshape(2, -1)


_SHAPE, _SIGMA, _SCREENING = (8, 80, 10, 12), 0.3, 0.5
_R = 1 + 4 * np.random.default_rng(21).random(_SHAPE[2:])


def _world(rng: np.random.Generator, power: float, screening: float = _SCREENING) -> Rows:
    log = -power * np.log(_R) - screening * _R + _SIGMA * rng.standard_normal(_SHAPE)
    weights = np.exp(log)
    return Rows(weights / weights.sum(-1, keepdims=True), _R)


def _pure_power(rng: np.random.Generator) -> np.ndarray:
    """The rival's exponent of heads of power 1: least squares on ln r alone."""
    y = np.log(_world(rng, 1.0).weights)
    y = (y - y.mean(-1, keepdims=True)).reshape(*y.shape[:2], -1)
    x = _design(_R)[0]
    return -(y @ x / (x @ x)).mean(0)


INSTRUMENT = Instrument(
    measure=measure,
    main="power",
    needs=(),
    nulls={"screening alone": lambda rng: _world(rng, 0.0), "no law of distance": lambda rng: _world(rng, 0.0, 0.0)},
    planted=_world,
    truth=lambda strength: strength,
    strengths=(0.25, 1.0, 2.0),
    limit=float(detectable(fit_sd(_R, _SIGMA)[0], _SHAPE[0])),
    rivals=(Rival("a pure power", "value", _pure_power, 1.0),),
    figure=figure,
    sheet="instruments_explanations 5",
)
