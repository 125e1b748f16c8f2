r"""Sign retrieval from a Hebbian memory, guaranteed retrieval, and the error of redundant heads and deep chains.

Values ±1, decision by the sign of the read-out, cue = stored key. Conventions of :mod:`attnlab.theory.associative_memory.sums`.

References: Qiao 2025 (arXiv 2508.08289) for capacity in the sense of guaranteed and of average retrieval, redundancy and depth.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import ArrayLike
from scipy.integrate import quad
from scipy.special import gammaln, ndtr, ndtri
from scipy.stats import binom, norm

from attnlab.theory.associative_memory.sums import overlap_characteristic, overlap_moment


def sign_error(n_pairs: int, dim: int, keys: str = "spherical") -> float:
    r"""Probability of a wrong sign, exact.

    ``"binary"``: ``P(B < (m - d)/2) + P(B = (m - d)/2)/2``, B ~ Bin(m, 1/2), m = (n - 1) d. ``"spherical"``:
    ``1/2 - (1/pi) int_0^inf sin(s) phi(s)^{n-1} ds / s`` with the characteristic function phi of an overlap (inversion of the
    law of the sum of n - 1 overlaps, which has signs of its own).
    """
    if n_pairs < 2:
        return 0.0
    if keys == "binary":
        m = (n_pairs - 1) * dim
        middle = (m - dim) / 2
        below = binom.cdf(np.ceil(middle) - 1, m, 0.5)
        tie = binom.pmf(middle, m, 0.5) if middle == int(middle) and middle >= 0 else 0.0
        return float(below + tie / 2)
    if keys != "spherical":
        raise ValueError(f"keys={keys!r}: the exact law is known for 'spherical' and 'binary'")

    def integrand(s: float) -> float:
        return float(np.sinc(s / np.pi) * overlap_characteristic(dim, s) ** (n_pairs - 1))

    # |phi(s)| <= Gamma(d/2) (2/s)^{(d-1)/2} / sqrt(pi): stop where its power is below 1e-11, or at 10^4
    log_end = (
        (gammaln(dim / 2) - 0.5 * np.log(np.pi) + np.log(1e11) / (n_pairs - 1)) * 2 / (dim - 1) if dim > 1 else np.inf
    )
    end = max(12 * np.sqrt(dim), min(2 * np.exp(min(log_end, 9)), 1e4))
    pieces = np.linspace(0, end, int(end) + 100)
    value = sum(quad(integrand, low, high, epsabs=1e-13)[0] for low, high in itertools.pairwise(pieces))
    return float(0.5 - value / np.pi)


def sign_error_approx(n_pairs: ArrayLike, dim: int) -> np.ndarray:
    """Gaussian approximation ``Phi(-sqrt(d / (n - 1)))``."""
    return ndtr(-np.sqrt(dim / (np.asarray(n_pairs, dtype=np.float64) - 1)))


def average_capacity_approx(dim: ArrayLike, error: float) -> np.ndarray:
    """Pairs stored at a given probability of a wrong sign, ``1 + d / z^2``, ``z = Phi^{-1}(1 - error)``: linear in d."""
    if not 0 < error < 0.5:
        raise ValueError(f"error={error!r} must lie in (0, 1/2)")
    return 1 + np.asarray(dim, dtype=np.float64) / ndtri(1 - error) ** 2


def guaranteed_capacity(dim: int) -> float:
    r"""``1 / E|t|``, about ``sqrt(pi d / 2)``: other pairs after which a mean row of overlaps reaches 1.

    Retrieval of signs is guaranteed for *every* assignment of values if and only if ``sum_{i != j} |k_i . k_j| < 1`` for all j;
    the mean of that sum is (n - 1) E|t|. The worst case costs the square root of the dimension, the average case only d.
    """
    return 1 / overlap_moment(dim, 1.0)


def guaranteed_reach(dim: int) -> float:
    r"""Mean number of other pairs at which the row sum of overlaps of one key reaches 1: a renewal process,

    .. math:: \frac1{E|t|} + \frac{E t^2}{2 (E|t|)^2} \approx \sqrt{\pi d / 2} + \frac\pi4,

    steps to a level of 1 and the mean overshoot; what is left out falls exponentially with the number of steps.
    """
    mean = overlap_moment(dim, 1.0)
    return 1 / mean + overlap_moment(dim, 2.0) / (2 * mean**2)


def label_accuracy_approx(n_pairs: int, dim: int, n_classes: int) -> float:
    r"""Probability that the largest entry of the read-out of one-hot values is the right class, labels uniform.

    .. math:: \int \varphi(z - a)\, \Phi(z)^{C-1} dz, \qquad a = \sqrt{d C / (n - 1)}

    Every class is taken to interfere with n - 1 keys shared evenly; see :func:`label_accuracy` for uneven ones.
    """
    a = np.sqrt(dim * n_classes / (n_pairs - 1))
    return quad(lambda z: norm.pdf(z - a) * ndtr(z) ** (n_classes - 1), a - 9, a + 9, epsabs=1e-11, limit=200)[0]


def label_accuracy(n_pairs: int, dim: int, n_classes: int) -> float:
    r"""The same with the number of keys of each class binomial: m keys interfere as a normal of variance m / d.

    .. math:: \sum_m P(m) \int \frac{\varphi((z - 1)/s_m)}{s_m} \Bigl[\sum_{m'} P(m')\, \Phi(z / s_{m'})\Bigr]^{C-1} dz,
        \qquad m, m' \sim Bin(n - 1, 1/C), \quad s_m = \sqrt{m / d}

    A class without other keys reads 0 (or 1, its own) exactly; among such classes ties are resolved at random. Counts of
    different classes are taken as independent, and overlaps as normal: both err by terms of order 1/n and 1/d.

    Counts of probability below 1e-20 are left out, so that time grows like n / C, and memory not with n beyond its root.
    """
    counts = np.arange(n_pairs)
    mass = binom.pmf(counts, n_pairs - 1, 1 / n_classes)
    counts, mass = counts[(kept := (mass > 1e-20) | (counts == 0))], mass[kept]
    s = np.sqrt(counts[1:] / dim)

    def below(z: np.ndarray) -> np.ndarray:
        return mass[0] * (z > 0) + (mass[1:] * ndtr(z[:, None] / s)).sum(-1)

    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    z = 1 + s[:, None] * nodes  # (count, node)
    inner = np.stack([below(row) for row in z]) ** (n_classes - 1)
    alone = float(below(np.array([1.0]))[0] ** (n_classes - 1))
    return float(mass[0] * alone + (mass[1:] * (inner @ weights)).sum() / np.sqrt(2 * np.pi))


def chained_error(n_layers: ArrayLike, n_pairs: int, dim: int, n_heads: int = 1) -> np.ndarray:
    r"""Error per value entry after L linear memories of which each reads with what the one before read out, exact.

    .. math:: \left(1 + \frac{n-1}{H d}\right)^L - 1

    The keys of a layer are the values of the one before; H heads with keys of their own are averaged; spherical keys, a
    stored cue at first. Why: the read-out of layer l is ``sum_i c_i v_i`` with ``c = G c'``, G the mean of the heads' Gram
    matrices, 1 on the diagonal and of variance 1/(H d) beside it, independent of c'. So E c_j = 1 and E |c|^2 grows by the
    factor 1 + (n - 1)/(H d) per layer, and the error is E |c|^2 - 2 E c_j + 1. Errors multiply: a chain of depth L keeps an
    error below 1 only with H d of about L (n - 1) / ln 2.
    """
    L = np.asarray(n_layers, dtype=np.float64)
    return np.expm1(L * np.log1p((n_pairs - 1) / (n_heads * dim)))


def chained_sign_error_approx(n_layers: ArrayLike, n_pairs: int, dim: int, n_heads: int = 1) -> np.ndarray:
    """Probability of a wrong sign after L such layers if the error were normal: ``Phi(-1 / sqrt(chained_error))``."""
    return ndtr(-1 / np.sqrt(chained_error(n_layers, n_pairs, dim, n_heads)))


def majority_error(n_heads: int, error: float) -> float:
    """Probability that a majority of H independent heads, each wrong with ``error``, is wrong; H odd."""
    if n_heads < 1 or n_heads % 2 == 0:
        raise ValueError(f"n_heads={n_heads!r} must be odd: an even number of heads can tie")
    return float(binom.sf(n_heads // 2, n_heads, error))


def majority_error_bound(n_heads: int, error: float) -> float:
    """Hoeffding: ``exp(-2 H (1/2 - error)^2)`` for error < 1/2."""
    return float(np.exp(-2 * n_heads * (0.5 - error) ** 2))


def chain_success(n_layers: ArrayLike, n_heads: int, error: float) -> np.ndarray:
    """Probability ``(1 - p_H)^L`` that L layers of H voting heads are all right."""
    return (1 - majority_error(n_heads, error)) ** np.asarray(n_layers, dtype=np.float64)


def heads_needed_bound(n_layers: int, failure: float, error: float) -> float:
    """Heads that suffice for a total failure of at most ``failure``: ``ln(L / failure) / (2 (1/2 - error)^2)``."""
    return float(np.log(n_layers / failure) / (2 * (0.5 - error) ** 2))


def propagated_variance(n_layers: ArrayLike, gain: float, variance: float) -> np.ndarray:
    """Variance after L layers ``x <- gain (x + noise)``: ``variance sum_{k=1}^{L} gain^{2 k}``."""
    L, g2 = np.asarray(n_layers, dtype=np.float64), gain**2
    return variance * (L if g2 == 1 else g2 * (g2**L - 1) / (g2 - 1))
