r"""Associative memories that sum their pairs: exact errors of Hebbian, kernel and decaying read-outs at every finite size.

n pairs (k_i, v_i) of keys in R^d and values with independent entries of mean 0 and variance 1, independent of the keys.
Reading out with query q gives ``sum_i g(k_i . q) v_i``; linear attention without normalisation is g(t) = t,
the Hebbian rule. Errors are mean squared errors per value entry. t is the overlap of two independent keys uniform on
the unit sphere ("spherical").

References: Qiao 2025, "Understanding Transformers through the Lens of Pavlovian Conditioning" (arXiv 2508.08289),
for the reading of attention as Hebbian memory; the formulas are elementary second moments.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import betainc, gammaln, hyp0f1, ive, jv

from attnlab.theory.checks import check_count, check_one_of, check_positive

KEYS = ("spherical", "binary", "gaussian")


def overlap_moment(dim: int, power: float) -> float:
    r"""``E |t|^power`` of spherical keys: ``Gamma(d/2) Gamma((power + 1)/2) / (sqrt(pi) Gamma((d + power)/2))``; E t^2 = 1/d."""
    check_count(dim=dim)
    return float(np.exp(gammaln(dim / 2) + gammaln((power + 1) / 2) - gammaln((dim + power) / 2)) / np.sqrt(np.pi))


def overlap_exponential(dim: int, inverse_temperature: float) -> float:
    r"""``E e^{b t} = Gamma(d/2) (2/b)^{d/2 - 1} I_{d/2 - 1}(b)``, evaluated in logarithms."""
    check_count(dim=dim)
    b, order = float(inverse_temperature), dim / 2 - 1
    check_positive(inverse_temperature=b)
    scaled = ive(order, b)
    if scaled == 0:  # far below the order, where the series is short
        return float(hyp0f1(dim / 2, b * b / 4))
    return float(np.exp(gammaln(dim / 2) + order * np.log(2 / b) + np.log(scaled) + b))


def overlap_characteristic(dim: int, s: ArrayLike) -> np.ndarray:
    r"""``E e^{i s t} = Gamma(d/2) (2/s)^{d/2 - 1} J_{d/2 - 1}(s)``; 1 at s = 0."""
    check_count(dim=dim)
    s, order = np.abs(np.asarray(s, dtype=np.float64)), dim / 2 - 1
    safe = np.where(s > 0, s, 1.0)
    return np.where(s > 0, np.exp(gammaln(dim / 2) + order * np.log(2 / safe)) * jv(order, safe), 1.0)


def overlap_distribution(dim: int, t: ArrayLike) -> np.ndarray:
    r"""``P(overlap <= t) = 1/2 + sign(t) I_{t^2}(1/2, (d - 1)/2) / 2``."""
    check_count(dim=dim)
    t = np.asarray(t, dtype=np.float64)
    return 0.5 + 0.5 * np.sign(t) * betainc(0.5, (dim - 1) / 2, np.minimum(t * t, 1.0))


def hebbian_error(n_pairs: ArrayLike, dim: int, keys: str = "spherical", cue_noise: float = 0.0) -> np.ndarray:
    r"""Error of the Hebbian memory, exact.

    Stored cue: ``(n - 1)/d`` for spherical and binary keys, ``(n + 1)/d`` for Gaussian ones, whose norms fluctuate. Cue
    ``k_j + sigma g`` with g ~ N(0, I/d), spherical or binary keys: ``(n - 1)(1 + sigma^2)/d + sigma^2/d``.
    """
    check_count(dim=dim)
    n = np.asarray(n_pairs, dtype=np.float64)
    check_one_of(KEYS, keys=keys)
    if keys == "gaussian":
        if cue_noise:
            raise ValueError(
                "cue_noise is known for spherical and binary keys only; use cue_noise=0 with Gaussian keys"
            )
        return (n + 1) / dim
    return (n - 1) * (1 + cue_noise**2) / dim + cue_noise**2 / dim


def hebbian_factor(n_pairs: ArrayLike, dim: int) -> np.ndarray:
    r"""Best common factor on the Hebbian read-out, :math:`E[out \cdot v] / E[out^2] = d / (d + n - 1)`; spherical keys."""
    check_count(dim=dim)
    return dim / (dim + np.asarray(n_pairs, dtype=np.float64) - 1)


def scaled_hebbian_error(n_pairs: ArrayLike, dim: int) -> np.ndarray:
    r"""Error at the best common factor :func:`hebbian_factor`: ``(n - 1)/(d + n - 1)``; spherical keys, stored cue."""
    check_count(dim=dim)
    n = np.asarray(n_pairs, dtype=np.float64)
    return (n - 1) / (dim + n - 1)


def polynomial_error(n_pairs: ArrayLike, dim: int, degree: int) -> np.ndarray:
    r"""Error ``(n - 1) E t^{2 p}`` of g(t) = t^p, spherical keys, stored cue: capacity grows like d^p / (2 p - 1)!!."""
    return (np.asarray(n_pairs, dtype=np.float64) - 1) * overlap_moment(dim, 2 * degree)


def exponential_error(n_pairs: ArrayLike, dim: int, inverse_temperature: float) -> np.ndarray:
    r"""Error ``(n - 1) e^{-2 b} m_d(2 b)`` of g(t) = e^{b (t - 1)}, m_d the exponential moment; spherical keys, stored cue."""
    factor = np.exp(-2 * inverse_temperature) * overlap_exponential(dim, 2 * inverse_temperature)
    return (np.asarray(n_pairs, dtype=np.float64) - 1) * factor


def decaying_hebbian_error(ages: ArrayLike, n_pairs: int, dim: int, decay: float) -> np.ndarray:
    r"""Error of the pair of age a (0 is the newest) under ``M_t = gamma M_{t-1} + v_t k_t^T``.

    .. math:: (1 - \gamma^a)^2 + \frac1d \sum_{b \ne a,\ b < n} \gamma^{2 b}.
    """
    check_count(dim=dim, n_pairs=n_pairs)
    ages = np.asarray(ages, dtype=np.float64)
    powers = decay ** (2.0 * np.arange(n_pairs))
    return (1 - decay**ages) ** 2 + (powers.sum() - decay ** (2 * ages)) / dim
