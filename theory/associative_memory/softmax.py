r"""Softmax memory (modern Hopfield network): weight on the target, capacity, and its exponential growth with the dimension.

Weights ``a_i`` proportional to ``e^{b k_i . q}``, spherical keys. Conventions of :mod:`attnlab.theory.associative_memory.sums`.

References: Qiao 2025 (arXiv 2508.08289); Ramsauer et al. 2021, "Hopfield Networks is All You Need" (arXiv 2008.02217),
        storage theorem.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.integrate import quad
from scipy.special import lambertw
from scipy.stats import chi2, norm

from attnlab.theory.associative_memory.sums import overlap_distribution, overlap_exponential


def target_weight_bound(n_pairs: ArrayLike, dim: int, inverse_temperature: float) -> np.ndarray:
    r"""Lower bound on the mean weight of the target at a stored cue (Jensen).

    .. math:: E\,a_j \ge \frac{1}{1 + (n - 1) e^{-b} m_d(b)}.
    """
    b = inverse_temperature
    return 1 / (1 + (np.asarray(n_pairs, dtype=np.float64) - 1) * np.exp(-b) * overlap_exponential(dim, b))


def target_weight_approx(n_pairs: int, dim: int, inverse_temperature: float) -> tuple[float, float]:
    r"""Mean weight of the target to second order in the fluctuations of the others, and the size of the third order.

    .. math:: \frac1{1+x} + \frac{\kappa_2}{(1+x)^3}, \qquad \frac{\kappa_3}{(1+x)^4}

    with x the mean, kappa_2 and kappa_3 the cumulants of ``sum_i e^{b (t_i - 1)}`` over the other pairs.
    """
    first, second, third = (
        np.exp(-k * inverse_temperature) * overlap_exponential(dim, k * inverse_temperature) for k in (1, 2, 3)
    )
    others = n_pairs - 1
    x = others * first
    two = others * (second - first**2)
    three = others * (third - 3 * second * first + 2 * first**3)
    return float(1 / (1 + x) + two / (1 + x) ** 3), float(three / (1 + x) ** 4)


def half_weight_pairs(dim: int, inverse_temperature: float) -> float:
    r"""Pairs at which the bound is 1/2: ``1 + e^b / m_d(b)``."""
    return 1 + np.exp(inverse_temperature) / overlap_exponential(dim, inverse_temperature)


def capacity_exponent_limit(temperature_ratio: float) -> float:
    r"""``lim (1/d) ln half_weight_pairs(d, b d)``, exponential growth of the capacity.

    .. math:: b - \left[ b t_* + \tfrac12 \ln(1 - t_*^2) \right], \qquad t_* = \frac{-1 + \sqrt{1 + 4 b^2}}{2 b}.
    """
    b = temperature_ratio
    t = (-1 + np.sqrt(1 + 4 * b * b)) / (2 * b)
    return float(b - (b * t + 0.5 * np.log(1 - t * t)))


def nearest_key_error(n_pairs: int, dim: int, cue_noise: float) -> float:
    r"""Probability that the nearest key to ``k_j + sigma g``, g ~ N(0, I/d), is another one: the limit b to infinity, exact.

    .. math:: 1 - E_s\left[F_d(s)^{n-1}\right], \quad s = \frac{a}{\sqrt{a^2 + \sigma^2 c / d}}, \quad
              a = 1 + \sigma g_1 / \sqrt d, \quad c \sim \chi^2_{d-1}.
    """
    if cue_noise == 0:
        return 0.0
    scale = cue_noise / np.sqrt(dim)

    def given(c: float) -> float:
        def inner(g: float) -> float:
            a = 1 + scale * g
            return float(norm.pdf(g) * overlap_distribution(dim, a / np.sqrt(a * a + scale**2 * c)) ** (n_pairs - 1))

        return quad(inner, -9, 9, epsabs=1e-10, limit=200)[0]

    law = chi2(dim - 1)
    nodes, masses = np.polynomial.legendre.leggauss(60)
    u = (nodes + 1) / 2
    return float(1 - sum(m / 2 * given(law.ppf(x)) for x, m in zip(u, masses, strict=True)))


def stored_patterns_bound(dim: int, radius: float, inverse_temperature: float, failure: float) -> tuple[float, float]:
    r"""Published lower bound on the number of patterns a modern Hopfield network stores, and its base c.

    .. math:: N \ge \sqrt p\, c^{(d-1)/4}, \quad c = \frac{b}{W_0(e^{a + \ln b})}, \quad
              a = \tfrac{2}{d-1}\left(1 + \ln(2 \beta K^2 p (d-1))\right), \quad b = \tfrac{2 K^2 \beta}{5},

    on a sphere of radius K sqrt(d - 1), failure probability p. Ramsauer et al. 2021, Theorem 3.
    """
    a = 2 / (dim - 1) * (1 + np.log(2 * inverse_temperature * radius**2 * failure * (dim - 1)))
    b = 2 * radius**2 * inverse_temperature / 5
    c = float(b / lambertw(np.exp(a + np.log(b))).real)
    return float(np.sqrt(failure) * c ** ((dim - 1) / 4)), c
