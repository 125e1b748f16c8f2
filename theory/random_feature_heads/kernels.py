r"""Kernels of attention with infinitely many random ReLU heads, and of a random-feature perceptron on the same tokens.

Head m maps a query x_0 and keys x_1 .. x_N to phi_m = (1/N) sum_i ReLU(x~_0^T W_m x~_i) x~_i, with x~ = [x; 1] and entries of
W_m independent N(0, 1/4), so that unit tokens give pre-activations of variance one. A value vector v_m per head is trained;
the model is linear in it, and with infinitely many heads it is kernel regression with K(x, x') = E_W <phi(x), phi(x')>.
Fu, Guo, Bai and Mei 2023 (arXiv 2307.11353), Sections 2 and 3.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.polynomial.legendre import leggauss
from numpy.typing import ArrayLike
from scipy.special import ndtr

from attnlab.theory.checks import check_count, check_positive

_NODES = 32
_SMALLEST_SINE = 1e-8


def arc_cosine(rho: ArrayLike) -> np.ndarray:
    r"""E[ReLU(a) ReLU(b)] of two standard normals of correlation ``rho``.

    .. math:: \kappa(\rho) = \frac{\sqrt{1 - \rho^2} + \rho (\pi - \arccos \rho)}{2 \pi}, \qquad \kappa(1) = 1/2 .

    Values of ``rho`` outside [-1, 1] by rounding are clipped. Reference: Cho and Saul 2009, the kernel of degree one.
    """
    rho = np.clip(np.asarray(rho, dtype=np.float64), -1, 1)
    return (np.sqrt(1 - rho**2) + rho * (np.pi - np.arccos(rho))) / (2 * np.pi)


def arc_cosine_coefficients(n_terms: int) -> np.ndarray:
    r"""The first ``n_terms`` coefficients of kappa(rho) = sum_k c_k rho^k; all are non-negative.

    .. math:: c_0 = \frac{1}{2\pi}, \quad c_1 = \frac14, \quad c_k = \frac{((k-3)!!)^2}{2 \pi k!} \text{ (k even)},
              \quad c_k = 0 \text{ (k odd, k >= 3)} .
    """
    check_count(at_least=2, n_terms=n_terms)
    c = np.zeros(n_terms)
    c[0], c[1] = 1 / (2 * np.pi), 0.25
    for k in range(0, n_terms - 2, 2):
        c[k + 2] = c[k] * (k - 1) ** 2 / ((k + 1) * (k + 2))
    return c


def shifted_arc_cosine(mean_a: ArrayLike, mean_b: ArrayLike, rho: ArrayLike) -> np.ndarray:
    r"""E[ReLU(a) ReLU(b)] of two normals of variance one, means m, m' and correlation rho.

    .. math:: \kappa_b = (m m' + \rho) \Phi_2(m, m'; \rho) + m \varphi(m') \Phi(\tfrac{m - \rho m'}{q})
              + m' \varphi(m) \Phi(\tfrac{m' - \rho m}{q}) + q\, \varphi(m)\, \varphi(\tfrac{m' - \rho m}{q}), \quad
              q = \sqrt{1 - \rho^2} .

    Why: integrate by parts in both variables. ``Phi_2`` is :func:`bivariate_normal_cdf`.
    """
    m, n, rho = (np.asarray(x, dtype=np.float64) for x in (mean_a, mean_b, rho))
    rho = np.clip(rho, -1, 1)
    q = np.maximum(np.sqrt(1 - rho**2), _SMALLEST_SINE)
    first, second = (m - rho * n) / q, (n - rho * m) / q
    return (
        (m * n + rho) * bivariate_normal_cdf(m, n, rho)
        + m * _density(n) * ndtr(first)
        + n * _density(m) * ndtr(second)
        + q * _density(m) * _density(second)
    )


def bivariate_normal_cdf(h: ArrayLike, k: ArrayLike, rho: ArrayLike) -> np.ndarray:
    r"""P(a <= h, b <= k) of two standard normals of correlation ``rho``, by Gauss-Legendre quadrature.

    .. math:: \Phi_2 = \Phi(h) \Phi(k) + \frac{1}{2\pi} \int_0^{\arcsin \rho}
              \exp\Big({-\frac{h^2 + k^2 - 2 h k \sin\theta}{2 \cos^2\theta}}\Big) d\theta .

    32 nodes: about ten digits for |rho| <= 0.9, and for rho near 1 where h = k. Reference: Plackett 1954.
    """
    h, k, rho = np.broadcast_arrays(*(np.asarray(x, dtype=np.float64) for x in (h, k, rho)))
    nodes, weights = leggauss(_NODES)
    end = np.arcsin(np.clip(rho, -1, 1))
    total = np.zeros(h.shape)
    for node, weight in zip(nodes, weights, strict=True):
        theta = end * (node + 1) / 2
        total += weight * np.exp(-(h**2 + k**2 - 2 * h * k * np.sin(theta)) / (2 * np.cos(theta) ** 2))
    return ndtr(h) * ndtr(k) + total * end / (4 * np.pi)


def attention_kernel(
    query: ArrayLike,
    keys: ArrayLike,
    other_query: ArrayLike,
    other_keys: ArrayLike,
    *,
    bias: float = 0.0,
    augmented: bool = True,
    dual: Callable[[np.ndarray], np.ndarray] = arc_cosine,
) -> np.ndarray:
    r"""E_W <phi(x), phi(x')> for tokens on the unit sphere: queries ``(n, d)``, keys ``(n, N, d)``; shape ``(n, n')``.

    .. math:: K = \frac{1}{N^2} \sum_{ij} \kappa(\rho_{ij}) (1 + t_{ij}), \quad \rho_{ij} = \frac{(1 + u)(1 + t_{ij})}{4},
              \quad u = \langle x_0, x_0' \rangle, \quad t_{ij} = \langle x_i, x_j' \rangle .

    ``bias`` = mu adds mu I to the mean of W on the token block; then kappa becomes kappa_b with means mu <x_0, x_i> and
    mu <x_0', x_j'>. ``augmented=False`` leaves the constant out of the tokens and gives W entries N(0, 1):
    rho = u t and K = (1/N^2) sum kappa(u t_ij) t_ij. ``dual`` replaces kappa, for comparison with rival activations.
    """
    q, k, q2, k2 = (np.asarray(x, dtype=np.float64) for x in (query, keys, other_query, other_keys))
    if q.ndim != 2 or k.ndim != 3 or (k.shape[0], k.shape[2]) != q.shape or k.shape[1:] != k2.shape[1:]:
        raise ValueError(
            f"queries must have shape (n, d) and keys (n, N, d) with the same N and d on both sides; got "
            f"{q.shape}, {k.shape} and {q2.shape}, {k2.shape}"
        )
    if bias and not augmented:
        raise ValueError(f"bias={bias!r} is defined for augmented tokens; use augmented=True")
    u, t = (q @ q2.T)[:, :, None, None], np.einsum("aid,bjd->abij", k, k2)
    if not augmented:
        return (dual(u * t) * t).mean((2, 3))
    rho = (1 + u) * (1 + t) / 4
    if bias:
        m, m2 = bias * np.einsum("ad,aid->ai", q, k), bias * np.einsum("bd,bjd->bj", q2, k2)
        return (shifted_arc_cosine(m[:, None, :, None], m2[None, :, None, :], rho) * (1 + t)).mean((2, 3))
    return (dual(rho) * (1 + t)).mean((2, 3))


def perceptron_kernel(
    query: ArrayLike,
    keys: ArrayLike,
    other_query: ArrayLike,
    other_keys: ArrayLike,
    *,
    dual: Callable[[np.ndarray], np.ndarray] = arc_cosine,
) -> np.ndarray:
    r"""Kernel of random ReLU neurons on the concatenated tokens: kappa(<v, v'>), ``(n, n')``.

    v = [vec(x_0 .. x_N) / sqrt(N + 1); 1] / sqrt(2), a unit vector, and weights N(0, I): <v, v'> = (1 + mean_i <x_i, x_i'>) / 2.
    """
    tokens = [
        np.concatenate([np.asarray(q)[:, None], np.asarray(k)], axis=1).reshape(len(np.asarray(q)), -1)
        for q, k in ((query, keys), (other_query, other_keys))
    ]
    n_tokens = np.asarray(keys).shape[1] + 1
    return dual((1 + tokens[0] @ tokens[1].T / n_tokens) / 2)


def explicit_weights_error(dim: int, n_keys: int, n_heads: int) -> float:
    r"""Mean squared error of M heads with values v_m = (sqrt(2 pi) / M) beta, as an estimate of (1/N) sum_i <beta, x_i>.

    .. math:: \frac1M \Big[ \frac{\pi}{N d} + \frac{N-1}{N} \frac{\pi}{2 d^2} - \frac{1}{N d} \Big]

    for tokens without the constant and W entries N(0, 1); exact, over tokens and W. Why: E ReLU = 1 / sqrt(2 pi), the second
    moment is 2 pi E[kappa(t_ij) <beta, x_i> <beta, x_j>], and only the term c_1 t of kappa is odd in t.
    """
    check_positive(dim=dim, n_keys=n_keys, n_heads=n_heads)
    return (np.pi / (n_keys * dim) + (n_keys - 1) / n_keys * np.pi / (2 * dim**2) - 1 / (n_keys * dim)) / n_heads


def _density(x: np.ndarray) -> np.ndarray:
    return np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
