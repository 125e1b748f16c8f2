r"""Rows of weights over independent random scores: limits for many keys, spread of one row, and what the limit drops first.

A row statistic is a function of means over n keys, so its limit is that function of the expectations, its spread over rows
is that of its influence function over :math:`\sqrt n`, and the first term dropped is the second-order term of the delta method.
Expectations are sums over Gauss-Legendre nodes, exact to about 1e-12 relative. Derived; the maps are those of the files beside.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from attnlab.theory.checks import check_count, check_one_of, check_positive
from attnlab.theory.score_maps import clipped, softpick

NODES = 400


@dataclass(frozen=True)
class RowLaw:
    """``limit`` for many keys; ``std`` of one row of n keys; ``dropped``: the term of order 1/n."""

    limit: float
    std: float
    dropped: float


@dataclass(frozen=True)
class Scores:
    """A law of single scores as nodes with ``shares`` that sum to one; ``of(h)`` is the mean of h."""

    nodes: np.ndarray
    shares: np.ndarray

    def of(self, h: Callable[[np.ndarray], np.ndarray]) -> float:
        """Mean of a function of a score."""
        return float(self.shares @ h(self.nodes))


def gaussian_scores(score_std: float) -> Scores:
    """Normal scores of mean zero; the nodes break at 0, where maps have kinks, and reach 24 standard deviations."""
    check_positive(score_std=score_std)
    z, w = _pieces(-24.0, 0.0, 24.0)
    density = np.exp(-(z**2) / 2)
    return Scores(score_std * z, w * density / (w @ density))


def cosine_scores(dim: int, scale: float) -> Scores:
    r"""``scale`` times the cosine of two random directions, density :math:`\propto (1 - c^2)^{(d-3)/2}`, d >= 3."""
    check_count(at_least=3, dim=dim)
    check_positive(scale=scale)
    c, w = _pieces(-1.0, 0.0, 1.0)
    density = (1 - c**2) ** ((dim - 3) / 2)
    return Scores(scale * c, w * density / (w @ density))


def size(name: str) -> Callable[[np.ndarray], np.ndarray]:
    """Unnormalised size of a weight, |f(s)|, by the name of the map; "series p" is the exponential's up to degree p, cut at 0."""
    sizes: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "softmax": np.exp,
        "softplus": lambda s: np.logaddexp(0.0, s),
        "softpick": lambda s: np.maximum(np.expm1(s), 0.0),
        "signed": lambda s: np.exp(np.abs(s)),
        "relu": lambda s: np.maximum(s, 0.0),
    }
    for p in range(1, 9):
        sizes[f"series {p}"] = functools.partial(_series, p)
    check_one_of(tuple(sizes), name=name)
    return sizes[name]


def participation_law(name: str, scores: Scores, n_keys: int) -> RowLaw:
    r""":math:`n \sum_j W_j^2` for weights :math:`f / \sum |f|`, with limit :math:`\mathbb E f^2 / (\mathbb E |f|)^2`.

    With A, B the two expectations the influence is :math:`(f^2 - A)/B^2 - 2 A (|f| - B)/B^3`, and the term dropped
    :math:`(3 A\, \mathrm{Var} f/B^4 - 2\, \mathrm{Cov}(f^2, |f|)/B^3)/n`. Softpick is divided by more and not meant here.
    """
    f = size(name)
    A, B = scores.of(lambda s: f(s) ** 2), scores.of(f)
    std = scores.of(lambda s: ((f(s) ** 2 - A) / B**2 - 2 * A * (f(s) - B) / B**3) ** 2)
    dropped = 3 * A * (A - B**2) / B**4 - 2 * (scores.of(lambda s: f(s) ** 3) - A * B) / B**3
    return RowLaw(A / B**2, math.sqrt(std / n_keys), dropped / n_keys)


def entropy_deficit_law(name: str, scores: Scores, n_keys: int) -> RowLaw:
    r""":math:`\ln n - H` of the normalised sizes, with limit :math:`C/B - \ln B`, :math:`C = \mathbb E f \ln f`, :math:`B =
    \mathbb E f`.

    s^2/2 for softmax of normal scores. As softplus scores grow it tends to that of relu,
    :math:`(\ln 2 - \gamma_E)/2 + \ln(2 \pi)/2 = .977`, so no scale takes more than .977 nats off ln n.
    """
    f = size(name)

    def log_size(s: np.ndarray) -> np.ndarray:
        x = f(s)
        return special.xlogy(x, x)

    B, C = scores.of(f), scores.of(log_size)
    slope = C / B**2 + 1 / B
    std = scores.of(lambda s: ((log_size(s) - C) / B - slope * (f(s) - B)) ** 2)
    variance = scores.of(lambda s: f(s) ** 2) - B**2
    covariance = scores.of(lambda s: log_size(s) * f(s)) - B * C
    dropped = (C / B**3 + 1 / (2 * B**2)) * variance - covariance / B**2
    return RowLaw(C / B - math.log(B), math.sqrt(std / n_keys), dropped / n_keys)


def distance_law(name: str, other: str, scores: Scores, n_keys: int) -> RowLaw:
    r""":math:`\sum_j |W_j - W'_j|` of two maps f and g of the same scores, with limit :math:`D = \mathbb E|a - b|`, a = f/E
    f, b =
    g/E g.

    Influence, with :math:`\sigma = \mathrm{sign}(a - b)`: :math:`|a - b| - D - (a - 1)\,\mathbb E \sigma a + (b - 1)\,\mathbb E
    \sigma b`. The term dropped has the squares and covariances of the normalisers, and the curvature
    :math:`\sum \varphi\, a^2\, \mathrm{Var}(a - b)/|a' - b'|` over the scores where a = b.
    """
    f, g = size(name), size(other)
    F, G = scores.of(f), scores.of(g)
    s, shares = scores.nodes, scores.shares
    a, b = f(s) / F, g(s) / G
    sign = np.sign(a - b)
    D, slope_a, slope_b = float(shares @ np.abs(a - b)), float(shares @ (sign * a)), float(shares @ (sign * b))
    influence = np.abs(a - b) - D - (a - 1) * slope_a + (b - 1) * slope_b
    spread_a, spread_b, gap = (float(shares @ x**2) for x in (a - 1, b - 1, a - b))
    moved = float(shares @ (sign * (b**2 - b - a**2 + a)))
    at = np.flatnonzero(sign[1:] * sign[:-1] < 0)
    width = (shares[at] + shares[at + 1]) / 2
    steep = np.abs(np.diff(a - b)[at])  # density over slope is the share of a node over the change between nodes
    curved = gap * float((width * a[at] ** 2 / steep).sum())
    dropped = slope_a * spread_a - slope_b * spread_b + moved + curved
    return RowLaw(D, math.sqrt(float(shares @ influence**2) / n_keys), dropped / n_keys)


def softpick_row_sum_law(score_std: float, n_keys: int) -> RowLaw:
    r"""Row sum of softpick: :func:`softpick.row_sum` R with influence :math:`(a - R b)/\mathbb E b`, :math:`b = |e^s - 1|`, a =
    b where s > 0."""
    R, scores = softpick.row_sum(score_std), gaussian_scores(score_std)
    a, b = size("softpick"), lambda s: np.abs(np.expm1(s))
    B = scores.of(b)
    std = scores.of(lambda s: (a(s) - R * b(s)) ** 2) / B**2
    dropped = scores.of(lambda s: (R * b(s) - a(s)) * b(s)) / B**2
    return RowLaw(R, math.sqrt(std / n_keys), dropped / n_keys)


def clipped_zero_share_law(score_std: float, n_keys: int, gamma: float, zeta: float = 1.0) -> RowLaw:
    r"""Share of exact zeros of clipped softmax: its limit p, and the spread with that of the normaliser.

    A key is cut below the score s c, :math:`c = (\ln a + s^2/2)/s` plus :math:`\ln(1 + \epsilon)/s` for a relative error
    epsilon of the normaliser, so the influence is :math:`1[z < c] - p + \varphi(c)(w - 1)/s`, :math:`w = e^{s z - s^2/2}`:

    .. math:: n\, \mathrm{Var} = p (1 - p) + \varphi^2 (e^{s^2} - 1)/s^2 + 2 \varphi\,(\Phi(c - s) - p)/s .
    """
    p, s = clipped.zero_share(score_std, n_keys, gamma, zeta), score_std
    a = clipped.threshold(n_keys, gamma, zeta)
    c = (math.log(a) + s**2 / 2) / s
    dense = math.exp(-(c**2) / 2) / math.sqrt(2 * math.pi)
    below = float(special.ndtr(c - s))
    variance = p * (1 - p) + dense**2 * math.expm1(s**2) / s**2 + 2 * dense / s * (below - p)
    own = dense * (a - 1) / s  # a key at the threshold moves the normaliser by a - 1
    curved = -dense * math.expm1(s**2) * (1 + c / s) / (2 * s)
    return RowLaw(p, math.sqrt(variance / n_keys), (own + curved) / n_keys)


def clipped_kept_mass_law(score_std: float, n_keys: int, gamma: float, zeta: float = 1.0) -> RowLaw:
    r"""Row sum of clipped softmax, :math:`(\zeta - \gamma) K`, with influence :math:`(w - a)_+ - K - \Phi(d) (w - 1)`.

    The term dropped is bounded by :math:`(e^{s^2} - 1)(\Phi(d) + a \varphi(d - s)/s)` over n, from the second derivative of
    :math:`\mathbb E (w/(1+\epsilon) - a)_+` and the covariance of its slope with the normaliser.
    """
    kept, s = clipped.kept_mass(score_std, n_keys, gamma, zeta), score_std
    a = clipped.threshold(n_keys, gamma, zeta)
    d = (s**2 / 2 - math.log(a)) / s
    high, near, far = (float(special.ndtr(x)) for x in (d + s, d, d - s))
    K = near - a * far
    second = math.exp(s**2) * high - 2 * a * near + a**2 * far - K**2
    covariance = math.exp(s**2) * high - a * near - K
    variance = second + near**2 * math.expm1(s**2) - 2 * near * covariance
    dense = math.exp(-((d - s) ** 2) / 2) / math.sqrt(2 * math.pi)
    dropped = math.expm1(s**2) * (near + a * dense / s)
    return RowLaw(kept, (zeta - gamma) * math.sqrt(variance / n_keys), (zeta - gamma) * dropped / n_keys)


def signed_row_sum_std_limit(score_std: float, n_keys: int) -> float:
    r"""Standard deviation of the row sum of signed attention for many keys, :math:`(\mathbb E n \sum_j W_j^2 / n)^{1/2}`: signs
    are independent."""
    return math.sqrt(participation_law("signed", gaussian_scores(score_std), n_keys).limit / n_keys)


def largest_weight_median_limit(name: str, scores: Scores, n_keys: int, score_std: float) -> float:
    """Median of the largest weight for many keys: the size at the median of the largest of n normal scores, over n times the
    mean.

    Of the sizes of scores, as for signed attention, the largest is that of 2 n.
    """
    f = size(name)
    top = score_std * float(special.ndtri(0.5 ** (1 / (2 * n_keys if name == "signed" else n_keys))))
    return float(f(np.array(top))) / (n_keys * scores.of(f))


def reweighted_participation_limit(scores: Scores, power: int, offset: float) -> float:
    r"""Limit of :math:`n \sum_j W_j^2` for softplus weights re-weighted by :math:`\mathrm{relu}(n A - o)^p`."""
    f = size("softplus")
    B = scores.of(f)

    def raised(s: np.ndarray) -> np.ndarray:
        return np.maximum(f(s) / B - offset, 0.0) ** power

    return scores.of(lambda s: raised(s) ** 2) / scores.of(raised) ** 2


def outside_hull_given_values_exact(
    highest: ArrayLike, lowest: ArrayLike, mean_square: ArrayLike, n_keys: int
) -> np.ndarray:
    r"""Chance that a standardised row mixes scalar values to a number outside their range, for normal scores.

    The row is :math:`\sqrt n` times a random direction orthogonal to the ones, so :math:`O = n\, \sigma_v\, t` with sigma_v the
    population standard deviation of the values and t one coordinate of a random direction in n - 1 dimensions,
    :math:`t^2 \sim \mathrm{Beta}(\tfrac12, \tfrac{n-2}2)`: the same whatever the spread of the scores.
    ``mean_square`` is :math:`\sigma_v^2`.
    """
    check_count(at_least=3, n_keys=n_keys)
    size_of = n_keys * np.sqrt(np.asarray(mean_square, dtype=np.float64))

    def above(x: np.ndarray) -> np.ndarray:
        inside = np.clip(np.abs(x) / size_of, 0.0, 1.0)
        tail = special.betainc(0.5, (n_keys - 2) / 2, inside**2)
        return np.where(x > 0, (1 - tail) / 2, (1 + tail) / 2)

    return above(np.asarray(highest, dtype=np.float64)) + above(-np.asarray(lowest, dtype=np.float64))


def _series(degree: int, s: np.ndarray) -> np.ndarray:
    """The exponential series up to a degree, cut at 0."""
    return np.maximum(sum(s**k / math.factorial(k) for k in range(degree + 1)), 0.0)


@functools.lru_cache(maxsize=1)
def _rule() -> tuple[np.ndarray, np.ndarray]:
    return np.polynomial.legendre.leggauss(NODES)


def _pieces(*ends: float) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of Gauss-Legendre rules on neighbouring intervals."""
    x, w = _rule()
    parts = [((b - a) / 2 * x + (a + b) / 2, (b - a) / 2 * w) for a, b in itertools.pairwise(ends)]
    return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])
