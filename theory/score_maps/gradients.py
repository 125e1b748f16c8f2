r"""Gradients of rows of weights: :math:`\partial L / \partial s_j` from :math:`P_j = \partial L / \partial W_j`, one rule per
score map.

Shapes (..., key) throughout. :math:`\delta = \sum_j W_j P_j`. Derived by differentiation of the maps; at kinks the slope is that
of the left side.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import special


def softmax_gradient(scores: ArrayLike, upstream: ArrayLike) -> np.ndarray:
    r""":math:`W_j (P_j - \delta)`."""
    s, P = _both(scores, upstream)
    W = special.softmax(s, axis=-1)
    return W * (P - _sum(W * P))


def softplus_gradient(scores: ArrayLike, upstream: ArrayLike) -> np.ndarray:
    r""":math:`\sigma(s_j) (P_j - \delta)/Z`, Z the sum of softplus; a scale c_i of the scores multiplies it."""
    s, P = _both(scores, upstream)
    w = np.logaddexp(0.0, s)
    Z = _sum(w)
    return special.expit(s) * (P - _sum(w * P) / Z) / Z


def softpick_gradient(scores: ArrayLike, upstream: ArrayLike) -> np.ndarray:
    r""":math:`\frac{e^{s_j}}{Z} \left([s_j > 0] P_j - \mathrm{sign}(s_j)\, \delta\right)`, :math:`Z = \sum_l |e^{s_l} - 1|`."""
    s, P = _both(scores, upstream)
    e = np.expm1(s)
    Z = _sum(np.abs(e))
    return np.exp(s) / Z * ((s > 0) * P - np.sign(s) * _sum(np.maximum(e, 0) * P) / Z)


def signed_gradient(scores: ArrayLike, upstream: ArrayLike) -> np.ndarray:
    r""":math:`|W_j| (P_j - \mathrm{sign}(s_j)\, \delta)`."""
    s, P = _both(scores, upstream)
    size, sign = special.softmax(np.abs(s), axis=-1), np.sign(s)
    return size * (P - sign * _sum(sign * size * P))


def clipped_gradient(scores: ArrayLike, upstream: ArrayLike, gamma: float, zeta: float = 1.0) -> np.ndarray:
    r""":math:`p_j (a_j - \sum_l p_l a_l)`, p the softmax, :math:`a = (\zeta - \gamma) [0 < W < 1] P`: nothing reaches clipped
    keys directly."""
    s, P = _both(scores, upstream)
    p = special.softmax(s, axis=-1)
    W = (zeta - gamma) * p + gamma
    a = (zeta - gamma) * ((W > 0) & (W < 1)) * P
    return p * (a - _sum(p * a))


def standardised_gradient(
    scores: ArrayLike, upstream: ArrayLike, gain: float = 1.0, epsilon: float = 1e-3
) -> np.ndarray:
    r""":math:`\frac{g}{\sigma + \epsilon} \left(P_j - \bar P - \frac{c_j\, \overline{P c}}{\sigma (\sigma + \epsilon)}\right)`,
    c the centred scores, sigma their population spread."""
    s, P = _both(scores, upstream)
    c = s - s.mean(-1, keepdims=True)
    spread = np.sqrt(np.square(c).mean(-1, keepdims=True))
    turned = c * (P * c).mean(-1, keepdims=True) / (spread * (spread + epsilon))
    return gain / (spread + epsilon) * (P - P.mean(-1, keepdims=True) - turned)


def _both(scores: ArrayLike, upstream: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    s, P = np.asarray(scores, dtype=np.float64), np.asarray(upstream, dtype=np.float64)
    if s.shape != P.shape:
        raise ValueError(f"scores of shape {s.shape} and upstream of shape {P.shape} must have equal shapes")
    return s, P


def _sum(x: np.ndarray) -> np.ndarray:
    return x.sum(-1, keepdims=True)
