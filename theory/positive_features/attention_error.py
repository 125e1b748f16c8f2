r"""Error of a whole attention output with independent rows, to first order, and the chance of a negative row sum.

.. math:: \hat o - o \approx \sum_j p_j (\hat A_j / A_j - 1) (v_j - o), \qquad
          \operatorname{Cov}(\hat A_{ij} / A_{ij}, \hat A_{kl} / A_{kl}) = \frac{c_{ij,kl}}{m}

with p softmax's weights; :math:`c = e^{a_{ij} \cdot a_{kl}} - 1` for positive features, :math:`a_{ij} = x_i + y_j`, and
:math:`\cosh(b_{ij} \cdot b_{kl}) - 1` for trigonometric ones, :math:`b_{ij} = x_i - y_j`
(from :math:`E e^{w \cdot a} = e^{|a|^2/2}`).

Choromanski et al. 2021 (arXiv 2009.14794) plot the error in figure 4; q and k are unscaled here, of shape (n, d).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr

from attnlab.theory.checks import check_count, check_one_of

KINDS = ("positive", "trigonometric")


def pair_covariance_exact(queries: ArrayLike, keys: ArrayLike, kind: str) -> np.ndarray:
    """Relative covariance c of one projection, shape (n_q, n, n_q, n)."""
    check_one_of(KINDS, kind=kind)
    a = _arguments(queries, keys, kind)
    inner = np.einsum("ijd,kld->ijkl", a, a)
    return np.expm1(inner) if kind == "positive" else 2 * np.sinh(inner / 2) ** 2


def output_covariance_approx(
    queries: ArrayLike, keys: ArrayLike, values: ArrayLike, kind: str, n_features: int
) -> np.ndarray:
    r"""Covariance of all outputs' errors, first order in 1/m, shape (n_q d_v, n_q d_v); its trace is the mean square error.

    The next order is about three times :func:`normaliser_variance`, relatively.
    """
    check_count(n_features=n_features)
    p, V = _weights(queries, keys), np.asarray(values, dtype=np.float64)
    pull = p[..., None] * (V - (p @ V)[:, None])  # (query, key, d_v)
    c = pair_covariance_exact(queries, keys, kind)
    found = np.einsum("ijc,ijkl,kle->icke", pull, c, pull, optimize=True) / n_features
    return np.asarray(found.reshape(2 * (pull.shape[0] * pull.shape[2],)))


def normaliser_variance(queries: ArrayLike, keys: ArrayLike, kind: str, n_features: int) -> np.ndarray:
    r"""Relative variance of each estimated row sum, exact: :math:`\frac1m \sum_{jl} p_j p_l c_{ij,il}`, shape (n_q,)."""
    check_count(n_features=n_features)
    p = _weights(queries, keys)
    return np.asarray(np.einsum("ij,ijil,il->i", p, pair_covariance_exact(queries, keys, kind), p) / n_features)


def negative_row_sums_approx(queries: ArrayLike, keys: ArrayLike, n_features: int) -> np.ndarray:
    r"""Chance that a row sum of trigonometric features is negative, per query, with the first term of Edgeworth's series.

    .. math:: \Phi(-t) - \frac{\gamma}{6 \sqrt m} (t^2 - 1) \varphi(t), \qquad t = 1/\sqrt{\text{relative variance}},

    gamma the skewness of one projection, from the exact third moment
    :math:`\sum p_j p_k p_l \frac14 \sum_{s, s' = \pm} e^{-s\, b_j \cdot b_k - s'\, b_j \cdot b_l - s s'\, b_k \cdot b_l}`.
    With positive features the chance is 0.
    """
    check_count(n_features=n_features)
    p, b = _weights(queries, keys), _arguments(queries, keys, "trigonometric")
    chances = []
    for weights, arguments in zip(p, b, strict=True):
        G = np.exp(arguments @ arguments.T)
        triple = [np.einsum("jk,jl,kl,j,k,l->", G**-s, G**-t, G ** (-s * t), *3 * [weights], optimize=True)
                  for s in (1, -1) for t in (1, -1)]  # fmt: skip
        second = float(weights @ ((G + 1 / G) / 2) @ weights)
        variance = second - 1
        skewness = (sum(triple) / 4 - 3 * second + 2) / variance**1.5
        t = np.sqrt(n_features / variance)
        density = np.exp(-(t**2) / 2) / np.sqrt(2 * np.pi)
        chances.append(ndtr(-t) - skewness / (6 * np.sqrt(n_features)) * (t**2 - 1) * density)
    return np.array(chances)


def output_error_of_independent_keys(
    queries: ArrayLike, keys: ArrayLike, values: ArrayLike, kind: str, n_features: int
) -> float:
    r"""The rival: mean square error of all outputs if keys erred independently.

    .. math:: \frac1m \sum_j p_j^2 c_{jj} |v_j - o|^2
    """
    check_count(n_features=n_features)
    p, V = _weights(queries, keys), np.asarray(values, dtype=np.float64)
    away2 = ((V - (p @ V)[:, None]) ** 2).sum(-1)
    return float((p**2 * _own(queries, keys, kind) * away2).sum() / n_features)


def _own(queries: ArrayLike, keys: ArrayLike, kind: str) -> np.ndarray:
    """Relative variance of each weight of one projection, (n_q, n)."""
    return np.asarray(np.einsum("ijij->ij", pair_covariance_exact(queries, keys, kind)))


def _arguments(queries: ArrayLike, keys: ArrayLike, kind: str) -> np.ndarray:
    """a or b, shape (n_q, n, d)."""
    x, y = (np.asarray(each, dtype=np.float64) / np.shape(each)[-1] ** 0.25 for each in (queries, keys))
    return np.asarray(x[:, None] + y if kind == "positive" else x[:, None] - y)


def _weights(queries: ArrayLike, keys: ArrayLike) -> np.ndarray:
    q, k = np.asarray(queries, dtype=np.float64), np.asarray(keys, dtype=np.float64)
    S = q @ k.T / q.shape[-1] ** 0.5
    p = np.exp(S - S.max(1, keepdims=True))
    return np.asarray(p / p.sum(1, keepdims=True))
