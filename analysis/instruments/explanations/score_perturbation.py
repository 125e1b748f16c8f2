r"""How much a loss rises when attention scores are perturbed before the softmax, and whether an attack does better than
chance.

Formula: with g = dL/ds, per prompt and head, the worst direction is g/||g|| and gains xi ||g|| to first order. ``gain`` of a
direction r is its part of that,

.. math:: \frac{L(s + \xi r/\lVert r\rVert) - L(s - \xi r/\lVert r\rVert)}{2 \xi \lVert g\rVert} = \cos(r, g) + O(\xi^2),

1 for the attack of attention AT, and ``sensitivity`` is ||g||. One pooled attention has g_j = a_j (v_j - o) . dL/do, so sum_j
g_j = 0 exactly: the worst perturbation never moves all scores.

Null: a random direction: gain 0, sd 1/sqrt(n). The test is Student's over prompts, one-sided. Refused where xi ||g|| is below
the rounding of the loss, 8 eps |L|: a saturated row is robust to score noise by construction, not by merit.

Limit: a gain of (z_a + z_b)/sqrt(n N).

Twin: the second step of a public iAT layer as coded, along -g: gain -1, benign. For two classes VAT's direction is AT's, up to
sign (:func:`vat_direction`).

Sheet: instruments_explanations 2; Attention Meets Perturbations (AT, iAT), Making Attention Mechanisms More Robust (VAT,
iVAT).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from attnlab.analysis.figures.plate import Plate
from attnlab.analysis.instruments.figure_of_entries import figure_of_entries
from attnlab.analysis.instruments.instrument import Instrument, Reading, Rival, reading_of
from attnlab.analysis.instruments.over_prompts import detectable

AXES = ("head",)


@dataclass(frozen=True, eq=False)
class Scored:
    """``loss(scores) -> (prompt, head)`` and its ``gradient(scores)``, scores (prompt, head, key), and directions of the same
    shape.

    ``directions`` None: the worst ones. ``size`` is xi, in nats.
    """

    loss: Callable[[np.ndarray], np.ndarray]
    gradient: Callable[[np.ndarray], np.ndarray]
    scores: np.ndarray
    directions: np.ndarray | None = None
    size: float = 1e-3

    def __post_init__(self) -> None:
        if self.scores.ndim != 3 or not np.isfinite(self.scores).all():
            raise ValueError(f"scores must be finite, (prompt, head, key), got shape {self.scores.shape}")
        if self.directions is not None and self.directions.shape != self.scores.shape:
            raise ValueError(f"directions have shape {self.directions.shape}, the scores {self.scores.shape}")
        if not self.size > 0:
            raise ValueError(f"size must be positive, got {self.size!r}")


def measure(scored: Scored) -> dict[str, Reading]:
    """``gain`` of the directions, tested against a random one's 0, and ``sensitivity`` ||g||: (head,), t intervals over
    prompts."""
    g = scored.gradient(scored.scores)
    norm = np.linalg.norm(g, axis=-1)
    worst = g if scored.directions is None else scored.directions
    length = np.linalg.norm(worst, axis=-1, keepdims=True)
    if not (length > 0).all():
        raise ValueError("a direction is 0; leave its prompt out")
    step = scored.size * worst / length
    up, down = scored.loss(scored.scores + step), scored.loss(scored.scores - step)
    rounding = 8 * np.finfo(np.float64).eps * np.maximum(np.abs(up), np.abs(down))
    if (low := scored.size * norm <= rounding).any():
        prompt, head = (int(i) for i in np.argwhere(low)[0])
        raise ValueError(
            f"size * ||g|| = {scored.size * norm[prompt, head]:.3g} of prompt {prompt}, head {head} is below the rounding of the "
            "loss: a saturated row; leave it out, or take a larger size"
        )
    gain = (up - down) / (2 * scored.size * norm)
    assumed = "directions random without the effect; prompts independent"
    return {
        "gain": reading_of(gain, "of the worst", AXES, assumed, null=0.0, tested=True),
        "sensitivity": reading_of(norm, "per nat", AXES, assumed),
    }


def vat_direction(jacobian: np.ndarray, p: np.ndarray) -> np.ndarray:
    r"""The unit direction in which KL(p(s) || p(s + r)) grows most, (key,): top eigenvector of :math:`J^\top(\mathrm{diag}\,p
    - pp^\top)J`.

    ``jacobian`` (class, key) of the logits. Two classes make this matrix of rank one, and the direction is +- the gradient's.
    """
    curvature = jacobian.T @ (np.diag(p) - np.outer(p, p)) @ jacobian
    return np.linalg.eigh(curvature)[1][:, -1]


def iat_direction(gradient: np.ndarray, scores: np.ndarray, others: np.ndarray) -> np.ndarray:
    r"""The direction of iAT: along differences to other sentences' scores, r = unit(sum_k w_k d_k), w_k = g . d_k, d_k =
    unit(s_k - s).

    ``gradient`` and ``scores`` (key,), ``others`` (sentence, key). To first order it gains at most :math:`\xi \lVert
    P_{span\,d}\, g \rVert`.
    """
    d = others - scores
    length = np.linalg.norm(d, axis=-1, keepdims=True)
    d = d / np.where(length > 0, length, 1.0)
    r = (d @ gradient) @ d
    return r / np.linalg.norm(r)


def pooled_gradient(scores: np.ndarray, values: np.ndarray, dl_do: np.ndarray) -> np.ndarray:
    """dL/ds of one pooled attention, (..., key): a_j (v_j - o) . dL/do, for values (..., key, dim) and dL/do (..., dim)."""
    a = _softmax(scores)
    read = (values @ dl_do[..., None])[..., 0]
    return a * (read - (a * read).sum(-1, keepdims=True))


def figure(readings: Mapping[str, Reading]) -> Plate:
    """Gain by head with its interval, that of a random direction and the limit."""
    return figure_of_entries(
        readings["gain"], "gain", "head", "Rise of the loss along the directions, in parts of the worst one's"
    )


def _softmax(s: np.ndarray) -> np.ndarray:
    e = np.exp(s - s.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


_SHAPE = (10, 40, 16)


def _pooled(rng: np.random.Generator) -> Scored:
    """Pooled attention over values of one number each, with the logistic loss of label 1."""
    s, v = rng.standard_normal(_SHAPE), rng.standard_normal(_SHAPE)

    def out(scores: np.ndarray) -> np.ndarray:
        return (_softmax(scores) * v).sum(-1)

    def gradient(scores: np.ndarray) -> np.ndarray:
        dl_do = -1 / (1 + np.exp(out(scores)))
        return pooled_gradient(scores, v[..., None], dl_do[..., None])

    return Scored(lambda scores: np.log1p(np.exp(-out(scores))), gradient, s)


def _world(rng: np.random.Generator, strength: float) -> Scored:
    """Directions whose cosine with the gradient is ``strength`` on average and spreads like a random direction's."""
    made = _pooled(rng)
    g = made.gradient(made.scores)
    g /= np.linalg.norm(g, axis=-1, keepdims=True)
    r = rng.standard_normal(_SHAPE)
    r /= np.linalg.norm(r, axis=-1, keepdims=True)
    cosine = strength + (1 - strength) * (r * g).sum(-1, keepdims=True)  # stays within (-1, 1)
    across = r - (r * g).sum(-1, keepdims=True) * g
    across /= np.linalg.norm(across, axis=-1, keepdims=True)
    return Scored(made.loss, made.gradient, made.scores, cosine * g + np.sqrt(1 - cosine**2) * across)


def _as_coded(rng: np.random.Generator) -> np.ndarray:
    """The rival: the second step of the public layer, along -g."""
    made = _pooled(rng)
    return measure(Scored(made.loss, made.gradient, made.scores, -made.gradient(made.scores)))["gain"].value


_WHOLE = float(detectable(_SHAPE[-1] ** -0.5, _SHAPE[0]))  # the spread shrinks with the strength: s = _WHOLE (1 - s)


INSTRUMENT = Instrument(
    measure=measure,
    main="gain",
    needs=(),
    nulls={"random directions": lambda rng: _world(rng, 0.0)},
    planted=_world,
    truth=lambda strength: strength,
    strengths=(0.1, 0.5, 0.9),
    tolerance=1e-5,  # xi^2/6 times third derivatives over ||g||, at most some 10
    limit=_WHOLE / (1 + _WHOLE),
    rivals=(Rival("the second step as coded", "value", _as_coded, 1.0),),
    figure=figure,
    sheet="instruments_explanations 2",
)
