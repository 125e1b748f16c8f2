r"""Which states hold one coordinate far above the rest, the "massive activations" that often go with sinks.

Formula: phi = max_d |x_d| / rms(x) of a residual state of D coordinates, at most sqrt(D); per prompt and layer the largest
over tokens, with
its token and coordinate. It fires above

.. math:: \tau = \max(0.3125 \sqrt D,\; 1.5\, q), \qquad D\, P(\mathrm{Beta}(\tfrac12, \tfrac{D-1}2) > q^2/D) = 10^{-3},

q the 99.9 % quantile of a Gaussian state (4.06, 4.71, 5.15 at D = 64, 512, 4096); .3125 is the published threshold 20 at D =
4096.

Null: Gaussian states never fire: the rule has no level, its alarm is far beyond the quantile.

Limit: a coordinate M among others of unit variance fires from M = tau sqrt((D - 1)/(D - tau^2)) on, phi = M sqrt(D)/sqrt(M^2
+ D - 1).

Twin: the absolute threshold |x| > 100, which depends on the scale of the model; the published tau = 20, out of reach below D
= 400.

Sheet: instruments_sinks 4; See What You Are Told: Visual Attention Sink (VAR), Massive Activations in Large Language Models.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy import special

from attnlab.analysis.figures.caption import describe
from attnlab.analysis.figures.curves import measurement, prediction
from attnlab.analysis.figures.plate import Plate
from attnlab.analysis.instruments.instrument import Instrument, Reading, Rival
from attnlab.analysis.instruments.readings import Readings

AXES = ("prompt", "layer")
SHARE = 0.3125  # of sqrt(D): 20 at D = 4096


def measure(readings: Readings, tau: float | None = None) -> dict[str, Reading]:
    """``phi``, the largest over tokens, ``token`` and ``coordinate`` of it: (prompt, layer), of the states before every layer.

    p is 0 where phi is above ``tau`` (None: :func:`threshold`), else 1.
    """
    layers = readings.layers("pre")
    shape = (readings.n_prompts, len(layers))
    phi, token, place = np.empty(shape), np.empty(shape), np.empty(shape)
    dim = 0
    for column, layer in enumerate(layers):
        for group in readings.groups:
            x = np.abs(readings.array(f"L{layer}.pre", group).astype(np.float64))
            dim = x.shape[-1]
            rms = np.sqrt((x**2).mean(-1, keepdims=True))
            share = np.divide(x, rms, out=np.zeros_like(x), where=rms > 0).reshape(len(x), -1)
            at = share.argmax(-1)
            phi[group.prompts, column] = np.take_along_axis(share, at[:, None], 1)[:, 0]
            token[group.prompts, column], place[group.prompts, column] = np.divmod(at, dim)
    if tau is not None and not 0 < tau < dim**0.5:
        raise ValueError(f"tau={tau!r} is out of reach: phi lies between 1 and sqrt({dim}) = {dim**0.5:.3g}")
    at_least = threshold(dim) if tau is None else tau
    assumed = f"fires above {at_least:.3g}, 1.5 times what a Gaussian state exceeds once in 1000, or more"
    p = np.where(phi > at_least, 0.0, 1.0)
    middle = np.full(shape, _gaussian_quantile(dim, 0.5))
    limit = np.full(shape, at_least)
    no, n = np.full(shape, np.nan), readings.n_prompts
    return {
        "phi": Reading(phi, "rms", AXES, phi, phi, middle, no, p, n, limit, assumed),
        "token": Reading(token, "position", AXES, token, token, no, no, None, n, no, assumed),
        "coordinate": Reading(place, "index", AXES, place, place, no, no, None, n, no, assumed),
    }


def threshold(dim: int) -> float:
    """tau of the formula above for states of ``dim`` coordinates, at least 32: below, a Gaussian state comes near sqrt(dim)."""
    if dim < 32:
        raise ValueError(f"dim={dim!r}: below 32 coordinates no phi tells a massive one from a Gaussian state")
    return max(SHARE * dim**0.5, 1.5 * _gaussian_quantile(dim, 0.999))


def smallest_massive(dim: int) -> float:
    """The coordinate M, among others of unit variance, at which phi reaches :func:`threshold`."""
    tau = threshold(dim)
    return tau * ((dim - 1) / (dim - tau**2)) ** 0.5


def figure(readings: Mapping[str, Reading]) -> Plate:
    """phi against the layer, mean over prompts with its interval, under the threshold."""
    phi = readings["phi"]
    plate, x = Plate(width="single"), np.arange(phi.value.shape[1]).astype(float)
    measurement(plate[0], x, phi.value, "largest over tokens")
    prediction(plate[0], x, phi.limit[0], "threshold")
    prediction(plate[0], x, phi.null_mean[0], "median of a Gaussian state")
    plate[0].labels(x="layer", y="phi, max |x|/rms")
    plate[0].ticks(x=list(x))
    plate.legend("below", columns=1)
    describe(plate, "The largest coordinate of the residual states, layer by layer", seeds="as the prompts given")
    return plate


def _gaussian_quantile(dim: int, level: float) -> float:
    """The quantile of phi for a Gaussian state by the union bound over coordinates, exact where phi^2 > dim/2 and close
    above it."""
    return float(np.sqrt(dim * special.betaincinv(0.5, (dim - 1) / 2, 1 - (1 - level) / dim)))


_DIM = 64


def _states(rng: np.random.Generator, massive: float | None, scale: float = 1.0) -> Readings:
    """Gaussian states; with ``massive``, token 3 holds it in coordinate 5 among others of mean square exactly 1."""
    x = rng.standard_normal((6, 10, _DIM))
    if massive is not None:
        rest = np.delete(x[:, 3], 5, axis=-1)
        x[:, 3] *= (np.sqrt(_DIM - 1) / np.linalg.norm(rest, axis=-1))[:, None]
        x[:, 3, 5] = massive
    return Readings({f"L{layer}.pre": scale * x for layer in range(2)})


def _by_absolute(rng: np.random.Generator) -> np.ndarray:
    """The rival "|x| > 100" on a model whose states are 100 times smaller: whether it fires at M = 60; the truth is 1."""
    return np.atleast_1d(float(np.abs(_states(rng, 60.0, 0.01).sites["L0.pre"]).max() > 100))


INSTRUMENT = Instrument(
    measure=measure,
    main="phi",
    needs=("pre",),
    nulls={"Gaussian states": lambda rng: _states(rng, None)},
    planted=lambda rng, strength: _states(rng, strength),
    truth=lambda strength: strength * _DIM**0.5 / (strength**2 + _DIM - 1) ** 0.5,
    strengths=(8.0, 20.0, 100.0),
    tolerance=1e-12,
    limit=smallest_massive(_DIM),
    rivals=(Rival("|x| > 100", "value", _by_absolute, 1.0),),
    figure=figure,
    sheet="instruments_sinks 4",
    exact=True,
    invariances=("padding",),
)
