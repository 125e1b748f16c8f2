r"""What instruments of attention maps should read: entropies, distances, templates, trees and contrasts of known maps."""

from __future__ import annotations

import functools
import math

import numpy as np
from scipy import special

from attnlab.theory.checks import check_count, check_not_negative, check_positive, check_share

_STEP = 0.02
_LOG_U = np.arange(-34.0, 26.0, _STEP)
_Z = np.arange(-10.0, 10.0, 0.02)


def entropy_of_causal_uniform(n_tokens: int) -> float:
    r"""Mean over rows of the entropy of a causal uniform head, :math:`\ln(T!)/T`, not ln T."""
    check_count(n_tokens=n_tokens)
    return float(special.gammaln(n_tokens + 1)) / n_tokens


def entropy_of_mixture(weight: float, n_keys: int, n: int) -> float:
    r"""Entropy of mass w evenly on k keys and the rest evenly on the others: :math:`h_2(w) + w\ln k + (1-w)\ln(n-k)`."""
    check_share(weight=weight)
    check_count(n_keys=n_keys)
    check_count(at_least=n_keys + 1, n=n)
    own = special.entr(weight) + special.entr(1 - weight)
    return float(own + weight * math.log(n_keys) + (1 - weight) * math.log(n - n_keys))


def mean_entropy_exact(n: int, score_sd: float) -> float:
    r"""Mean entropy of the softmax of n independent N(0, s^2) scores.

    .. math:: \mathrm{E} H = \int_0^\infty \frac{e^{-u} - \varphi(u)^n}{u}\,du
              - n \int_0^\infty \mathrm{E}\bigl[x e^x e^{-u e^x}\bigr] \varphi(u)^{n-1} du, \qquad
              \varphi(u) = \mathrm{E}\, e^{-u e^x},

    the means of ln S and of sum x e^x/S, S the normaliser. Exact but for the quadrature (1e-8).
    """
    check_count(at_least=2, n=n)
    check_not_negative(score_sd=score_sd)
    u, (phi, slope) = np.exp(_LOG_U), _laplace(score_sd)
    log_sum = ((np.exp(-u) - phi**n) * _STEP).sum()
    return float(log_sum - n * (u * slope * phi ** (n - 1)).sum() * _STEP)


def mean_entropy_approx(n: int, score_sd: float) -> float:
    r"""The same at large n, :math:`\ln n - s^2/2`, for :math:`s < \sqrt{2\ln n}`."""
    check_count(at_least=2, n=n)
    check_not_negative(score_sd=score_sd)
    return math.log(n) - score_sd**2 / 2


def distance_of_uniform(n: int, causal: bool = False) -> float:
    r"""Mean distance of a uniform head: :math:`(n^2-1)/(3n)` without a mask, :math:`(n-1)/4` with a causal one."""
    check_count(n=n)
    return (n - 1) / 4 if causal else (n**2 - 1) / (3 * n)


def distance_on_grid(size: int) -> float:
    r"""Mean Euclidean distance of a uniform head on g x g patches: :math:`g^{-4}\sum_{a,b} (g-|a|)(g-|b|)\sqrt{a^2+b^2}`."""
    check_count(size=size)
    a = np.arange(1 - size, size)
    count = (size - np.abs(a)).astype(float)
    return float((np.hypot(a[:, None], a) * count[:, None] * count).sum()) / size**4


def distance_of_kernel_limit(lam: float) -> float:
    r"""Mean distance of weights :math:`e^{-|r|/\lambda}` on an infinite line: :math:`2q/(1-q^2)`, q = e^(-1/lam)."""
    check_positive(lam=lam)
    q = math.exp(-1 / lam)
    return 2 * q / (1 - q**2)


def distance_of_kernel_exact(n: int, lam: float) -> float:
    r"""The same on n places, by geometric sums of each row: with l places to the left and r to the right,

    .. math:: \frac{D(l) + D(r)}{1 + G(l) + G(r)}, \qquad G(m) = q\frac{1-q^m}{1-q}, \qquad
              D(m) = \frac{q(1 - (m+1)q^m + m q^{m+1})}{(1-q)^2}.
    """
    check_count(n=n)
    check_positive(lam=lam)
    q, m = math.exp(-1 / lam), np.arange(n, dtype=float)
    g = q * (1 - q**m) / (1 - q)
    d = q * (1 - (m + 1) * q**m + m * q ** (m + 1)) / (1 - q) ** 2
    return float(((d + d[::-1]) / (1 + g + g[::-1])).mean())


def template_distance_exact(weight: float, n: int) -> float:
    r"""||A - I||/sqrt(||A||^2 + n) for A = w I + (1 - w) U: :math:`(1-w)\sqrt{(n-1)/((n-1)w^2 + n + 1)}`."""
    check_share(weight=weight)
    check_count(n=n)
    return (1 - weight) * math.sqrt((n - 1) / ((n - 1) * weight**2 + n + 1))


def previous_mass_null(n: int) -> float:
    r"""Mean weight on the previous token over the rows of a causal map that have one, exchangeable keys:
    :math:`(H_n-1)/(n-1)`."""
    check_count(at_least=2, n=n)
    return float((1 / np.arange(2, n + 1)).mean())


def divergence_of_random_heads(n: int, score_sd: float) -> float:
    r"""Jensen-Shannon divergence of the softmax of two sets of n scores N(0, s^2), small s: :math:`\frac{s^2}{4}(1 - \frac1n)`.

    Why: :math:`\frac18\sum (a-b)^2/m` with :math:`a - b = (x - \bar x - y + \bar y)/n` to first order. Next order: s^2 times it.
    """
    check_count(at_least=2, n=n)
    check_not_negative(score_sd=score_sd)
    return score_sd**2 / 4 * (1 - 1 / n)


def bars_of_blocks(n_blocks: int, size: int) -> float:
    r"""Sum of the bars of dimension 0 of k blocks of m tokens, uniform inside: :math:`k - 1 + k(m-1)(1 - 1/m)`.

    k = 1 is a uniform head, (n - 1)(1 - 1/n); m = 1 one that looks at itself, n - 1.
    """
    check_count(n_blocks=n_blocks, size=size)
    return n_blocks - 1 + n_blocks * (size - 1) * (1 - 1 / size)


def area_of_contrast(gain: float, map_sd: float) -> float:
    r"""Chance that a marked token's quotient of maps exceeds another's, maps with independent log noise:
    :math:`\Phi(\ln g/(2\sigma))`."""
    check_positive(gain=gain, map_sd=map_sd)
    return float(special.ndtr(math.log(gain) / (2 * map_sd)))


def area_of_raw_map(gain: float, map_sd: float, image_sd: float = 1.0) -> float:
    r"""The same of one map, image noise and map noise both in it: :math:`\Phi(\ln g/\sqrt{2\sigma_0^2 + 2\sigma^2})`."""
    check_positive(gain=gain)
    check_not_negative(map_sd=map_sd, image_sd=image_sd)
    return float(special.ndtr(math.log(gain) / math.sqrt(2 * image_sd**2 + 2 * map_sd**2)))


def majority_exact(chance: float, n_heads: int) -> float:
    """P(more than half of an odd number of heads prefer the target), each with this chance: summed binomially."""
    check_share(chance=chance)
    if n_heads % 2 == 0:
        raise ValueError(f"n_heads={n_heads!r} must be odd: an even number can be split")
    k = np.arange(n_heads // 2 + 1, n_heads + 1)
    log = special.gammaln(n_heads + 1) - special.gammaln(k + 1) - special.gammaln(n_heads - k + 1)
    return float(np.exp(log + special.xlogy(k, chance) + special.xlogy(n_heads - k, 1 - chance)).sum())


def majority_limit(chance: float, n_heads: int) -> float:
    r"""The same for many heads: :math:`\Phi(\sqrt n(2p-1)/(2\sqrt{p(1-p)}))`."""
    check_share(chance=chance)
    check_count(n_heads=n_heads)
    return float(special.ndtr(n_heads**0.5 * (2 * chance - 1) / (2 * (chance * (1 - chance)) ** 0.5)))


@functools.lru_cache(maxsize=16)
def _laplace(score_sd: float) -> tuple[np.ndarray, np.ndarray]:
    """phi and E x e^x e^(-u e^x) on the grid of u."""
    density = np.exp(-(_Z**2) / 2) * 0.02 / np.sqrt(2 * np.pi)
    x = score_sd * _Z
    phi, slope = np.empty(_LOG_U.size), np.empty(_LOG_U.size)
    for k, y in enumerate(_LOG_U):
        fall = np.exp(-np.exp(np.minimum(y + x, 700.0))) * density
        phi[k], slope[k] = fall.sum(), (x * np.exp(x) * fall).sum()
    return phi, slope
