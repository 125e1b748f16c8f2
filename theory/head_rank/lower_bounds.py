r"""How well attention heads of low rank can point at the nearest of two points: explicit lower bounds, and heads needed.

Distribution: (x_1, x_2) uniform among orthonormal pairs of R^d, y uniform on the sphere, target the x_i with the larger
<x_i, y>. With u = (x_1 + x_2)/sqrt 2 and w = (x_1 - x_2)/sqrt 2 the target is (u + sign<w, y> w)/sqrt 2. The error is the
expected squared distance, summed over coordinates: 1 for the answer 0, 1/2 for the answer u/sqrt 2. A head of rank r reads
the points through r directions K_h^T x only.

References: Amsel, Yehudai and Bruna 2024, "On the benefits of rank in attention layers" (arXiv 2407.16153), Theorem 2, whose
constants are not explicit. The bounds here follow its idea (expand in spherical harmonics, count dimensions) with every
constant. Harmonics: Atkinson and Han 2012, sections 2.1 and 2.6.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import gammaln

from attnlab.theory.checks import check_count, check_not_negative, check_one_of

VALUES = ("scalar", "matrix", "generalised")
_MAX_DEGREE = 4001  # odd degrees summed one by one; the energy above is bounded in one piece


def harmonic_dimension(dim: int, degree: int) -> int:
    r"""Dimension N(d, l) of the spherical harmonics of degree l on the sphere of R^d.

    .. math:: N(d, l) = \binom{l + d - 1}{d - 1} - \binom{l + d - 3}{d - 1}.
    """
    check_count(at_least=2, dim=dim)
    return math.comb(degree + dim - 1, dim - 1) - (math.comb(degree + dim - 3, dim - 1) if degree >= 2 else 0)


def invariant_dimension(rank: int, degree: int) -> int:
    r"""Dimension M_r(l) of the harmonics of degree l that depend on r coordinates only (and the norm), r <= d - 1.

    .. math:: M_r(l) = \binom{l + r - 1}{r - 1}, \qquad 0 \text{ for } l < 0.

    Why: polynomials of degree l in r coordinates and the square of the others' norm, minus those of degree l - 2 (the
    Laplacian maps the first onto the second), leave the monomials of degree l in r variables. It does not depend on d.
    """
    check_count(rank=rank)
    return math.comb(degree + rank - 1, rank - 1) if degree >= 0 else 0


def sign_eigenvalue(dim: int, degree: int) -> float:
    r"""Funk-Hecke eigenvalue of the sign: ``E_q sign<q, y> Y(q) = lambda_l Y(y)`` for harmonics Y of degree l.

    .. math:: \lambda_l = (-1)^{(l-1)/2}\, \frac{\Gamma(d/2)\,\Gamma(l/2)}{\pi\,\Gamma((l+d)/2)} \quad (l \text{ odd}),
              \qquad 0 \quad (l \text{ even}).

    lambda_1 is E|t|, the mean absolute coordinate of a point of the sphere.
    """
    check_count(at_least=2, dim=dim)
    return 0.0 if degree % 2 == 0 else (-1.0) ** ((degree - 1) // 2) * math.exp(_log_eigenvalue(dim, degree))


def sign_energy(dim: int, degrees: ArrayLike) -> np.ndarray:
    r"""Share s_l = N(d, l) lambda_l^2 of the energy of ``w -> sign<w, y>`` at the given degrees; the sum over odd l is 1.

    As d grows, s_l tends to ``(2 / pi) ((l-2)!!)^2 / l!``: 0.6366, 0.1061, 0.0477, ... for l = 1, 3, 5, ...
    """
    check_count(at_least=2, dim=dim)
    degrees = np.asarray(degrees, dtype=np.int64)
    odd = degrees % 2 == 1
    safe = np.where(odd, degrees, 1)
    return np.where(odd, np.exp(_log_dimension(dim, safe) + 2 * _log_eigenvalue(dim, safe)), 0.0)


def linear_plateau(dim: int) -> float:
    r"""Error (1 - s_1)/2 of d rank-one heads in the linear regime of softmax and one head with constant scores.

    With q = k = sqrt(g) e_i the head's output moves by (g / sqrt 2) y_i w_i to leading order in g, so equal values of size
    sqrt(2) d lambda_1 / g give the best multiple of <w, y>; the constant head makes the values sum to one. It rises from
    1/8 at d = 3 to (1 - 2/pi)/2 = 0.1817. Fewer than about N(d, 3)/M_r(3) heads of rank r hardly get below it.
    """
    return 0.5 * (1 - float(sign_energy(dim, 1)))


def error_lower_bound(dim: int, rank: int, n_heads: float, values: str = "matrix") -> float:
    r"""Least error of a sum of H heads of rank r <= d - 1, for any query map, score and nonlinearity.

    .. math:: E \ge \tfrac12 \sum_{l \text{ odd}} s_l(D) \Bigl(1 - \frac{H \sum_j M_r(l + j)}{N(D, l)}\Bigr)_+

    ========================  ===  ===================  ====================================================================
    ``values``                D    j                    heads
    ========================  ===  ===================  ====================================================================
    ``"scalar"``              d    0                    values a_h I, weights a function of (K_h^T w, y)
    ``"matrix"``              d    -2, 0, 2             any value matrices V_h, weights a function of (K_h^T w, y)
    ``"generalised"``         d-1  -2, -1, 0, 1, 2      any V_h, any two weights (phi_1, phi_2) of (K_h^T x_1, K_h^T x_2, y)
    ========================  ===  ===================  ====================================================================

    Softmax and hard-max heads are of the first two kinds; score biases, gates and unnormalised weights of the third.

    Why: the error along w is at least E (sign<w, y> - g_y(w))^2 / 2 with g_y(w) the output's component along w (the part along
    u only adds, as u -> -u shows). For every y the degree-l part of g_y lies in one fixed space of dimension at most
    H sum_j M_r(l + j): a head gives functions of K_h^T w times the form w^T V_h w, which moves degrees by 0 or 2 (and, given
    u, times w^T V_h u, by 1). Averaged over y, the degree-l part of the sign has covariance s_l / N(D, l) times the identity,
    so the space holds at most its share of the dimensions. Above degree 4001 the shares only fall (their sum is bounded by
    that many times the largest term), and the energy there is one minus what was summed.

    ``n_heads`` may be any number >= 0. Errors: ValueError for rank > d - 1 (d - 2 if generalised), where nothing is bounded.
    """
    check_not_negative(n_heads=n_heads)
    return _bound(_terms(dim, rank, values), math.log(n_heads) if n_heads else -math.inf)


def heads_needed(dim: int, rank: int, error: float, values: str = "matrix") -> float:
    r"""Fewest heads (a real number) for which :func:`error_lower_bound` does not exceed ``error``: fewer cannot reach it."""
    if not 0 < error < 0.5:
        raise ValueError(f"error={error!r} must lie between 0 and 0.5, the error of one head with constant scores")
    terms = _terms(dim, rank, values)
    low, high = -1.0, 1 - min(float(terms[0].min()), terms[2])
    for _ in range(80):  # the bound falls with the number of heads
        middle = (low + high) / 2
        low, high = (middle, high) if _bound(terms, middle) > error else (low, middle)
    return math.exp(high) if high < 709 else math.inf


def highest_degree_needed(error: float) -> int:
    r"""Highest degree L of which a part must be captured to reach ``error`` as d grows: H grows like (d / r)^L.

    The odd L with ``sum_{l > L} s_l / 2 < error <= sum_{l >= L} s_l / 2`` in the limit of s_l. For small errors
    ``L ~ (2 / pi)^3 / (4 error^2)``.
    """
    if not 0 < error < 0.5:
        raise ValueError(f"error={error!r} must lie between 0 and 0.5")
    left, share, degree = 1.0, 2 / math.pi, 1
    while left - share >= 2 * error:
        left -= share
        share *= degree**2 / ((degree + 1) * (degree + 2))
        degree += 2
    return degree


def _bound(terms: tuple[np.ndarray, np.ndarray, float, float], log_heads: float) -> float:
    log_shares, energy, log_tail_share, tail = terms
    missed = energy @ -np.expm1(np.minimum(log_shares + log_heads, 0))
    return float(0.5 * (missed + tail * -math.expm1(min(log_tail_share + log_heads, 0))))


@functools.lru_cache(maxsize=4096)
def _terms(dim: int, rank: int, values: str) -> tuple[np.ndarray, np.ndarray, float, float]:
    """Log shares of a head at odd degrees, their energies, a bound on the log shares above, and the energy there."""
    check_one_of(VALUES, values=values)
    D, shifts = (
        (dim - 1, (-2, -1, 0, 1, 2)) if values == "generalised" else (dim, (0,) if values == "scalar" else (-2, 0, 2))
    )
    if not 1 <= rank <= D - 1:
        raise ValueError(
            f"rank={rank!r} is out of range for dim={dim!r} and {values} values; use 1 <= rank <= {D - 1}, for a "
            "head of larger rank is not bounded"
        )
    degrees = np.arange(1, _MAX_DEGREE + 1, 2)
    energy = sign_energy(D, degrees)
    log_dimension = _log_dimension(D, degrees)
    log_shares = np.logaddexp.reduce([_log_invariant(rank, degrees + j) for j in shifts], axis=0) - log_dimension
    # M_r grows with the degree, and M_r(l + 2) / N(D, l) falls for rank <= D - 2; at rank D - 1 it stays above one
    log_tail = math.log(len(shifts)) + float(_log_invariant(rank, degrees[-1:] + max(shifts))[0] - log_dimension[-1])
    return log_shares, energy, log_tail, max(0.0, 1 - float(energy.sum()))


def _log_eigenvalue(dim: int, degree: ArrayLike) -> np.ndarray:
    return (
        gammaln(dim / 2) + gammaln(np.asarray(degree) / 2) - math.log(math.pi) - gammaln((np.asarray(degree) + dim) / 2)
    )


def _log_dimension(dim: int, degree: np.ndarray) -> np.ndarray:
    """log N(d, l) for l >= 1, from N = (2 l + d - 2) / l binom(l + d - 3, l - 1)."""
    return np.log((2 * degree + dim - 2) / degree) + gammaln(degree + dim - 2) - gammaln(degree) - gammaln(dim - 1)


def _log_invariant(rank: int, degree: np.ndarray) -> np.ndarray:
    found = gammaln(np.maximum(degree, 0) + rank) - gammaln(np.maximum(degree, 0) + 1.0) - gammaln(rank)
    return np.where(degree < 0, -np.inf, found)
