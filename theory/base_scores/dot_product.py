r"""Scaled dot-product attention: how concentrated its rows are, and what it costs.

Rows of random attention: scores :math:`s_j` independent, Gaussian, of standard deviation s, n keys, :math:`W_j \propto e^{s_j}`.
This is the random energy model at inverse temperature s: below :math:`s_c = \sqrt{2 \ln n}` sums over keys are as many
terms as they look, above it the largest few score carry the row.

References: Derrida 1981 (Physical Review B 24, 2613) for the freezing transition; Vaswani et al. 2017 for the operator.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.special import roots_genlaguerre

from attnlab.theory.costs.visible import plain_attention


def participation(score_std: float) -> float:
    r"""Limit of :math:`n\, \mathbb E \sum_j W_j^2` for many keys below half the freezing point.

    .. math:: n \sum_j W_j^2 = \frac{\tfrac1n \sum_j e^{2 s_j}}{(\tfrac1n \sum_j e^{s_j})^2} \to
              \frac{e^{2 s^2}}{(e^{s^2/2})^2} = e^{s^2} .

    The second moment needs :math:`2 s < \sqrt{2 \ln n}`; :func:`largest_score_std` says where that ends.
    """
    if not score_std >= 0:
        raise ValueError(f"score_std={score_std!r} must be at least 0")
    return math.exp(score_std**2)


def entropy(score_std: float, n_keys: int) -> float:
    r"""Limit of the entropy of a row in nats, :math:`\ln n - s^2 / 2`, below the freezing point.

    H = ln Z - E_W s with Z = n e^{s^2/2}, and under W the scores are Gaussian with mean s^2.
    """
    if not n_keys >= 1:
        raise ValueError(f"n_keys={n_keys!r} must be at least 1")
    return math.log(n_keys) - score_std**2 / 2


def freezing_std(n_keys: int) -> float:
    r"""Score spread :math:`s_c = \sqrt{2 \ln n}` above which a row freezes on its few largest scores."""
    if not n_keys >= 1:
        raise ValueError(f"n_keys={n_keys!r} must be at least 1")
    return math.sqrt(2 * math.log(n_keys))


def largest_score_std(n_keys: int) -> float:
    """Score spread up to which :func:`participation` speaks: half the freezing point."""
    return freezing_std(n_keys) / 2


def frozen_participation(score_std: float, n_keys: int) -> float:
    r"""Limit of :math:`\mathbb E \sum_j W_j^2` above freezing, :math:`1 - s_c / s`; at finite n it lies above."""
    critical = freezing_std(n_keys)
    if not score_std > critical:
        raise ValueError(f"score_std={score_std!r} is not above the freezing point {critical:.4g} of {n_keys} keys")
    return 1 - critical / score_std


def participation_exact(score_std: float, n_keys: int) -> float:
    r""":math:`\mathbb E \sum_j W_j^2` at every number of keys and every spread, below, at and above freezing.

    With :math:`Z^{-2} = \int_0^\infty t\, e^{-tZ} dt`, t = e^u, and independent scores

    .. math:: n \int_{-\infty}^{\infty} \mathbb E[x^2 e^{-x}]\; (\mathbb E e^{-x})^{n-1}\, du, \qquad x = e^{u + s z} .

    Both expectations and the integral by the trapezoidal rule, exponentially accurate here (12 digits up to s = 16).
    """
    u, weight, x, n = _laplace(score_std, n_keys)
    gone = np.exp(-x)
    return float(n * (u[1] - u[0]) * ((x**2 * gone) @ weight * ((gone @ weight) ** (n - 1))).sum())


def entropy_exact(score_std: float, n_keys: int) -> float:
    r"""Mean entropy of a row in nats at every number of keys, :math:`\mathbb E \ln Z - \mathbb E \sum_j W_j s_j`.

    .. math:: \mathbb E \ln Z = \int (e^{-e^u} - (\mathbb E e^{-x})^n)\, du, \qquad
              \mathbb E \sum_j W_j s_j = n \int \mathbb E[s z\, x e^{-x}]\, (\mathbb E e^{-x})^{n-1}\, du .
    """
    u, weight, x, n = _laplace(score_std, n_keys)
    gone = np.exp(-x)
    z = np.linspace(-10, 10, weight.size)
    kept = gone @ weight
    log_z = np.exp(-np.exp(np.minimum(u, 50.0))) - kept**n
    mean = n * ((score_std * z * x * gone) @ weight) * kept ** (n - 1)
    return float((u[1] - u[0]) * (log_z - mean).sum())


def participation_of_products(dim: int, n_keys: int, scale: float) -> float:
    r""":math:`\mathbb E \sum_j W_j^2` for scores ``scale`` q . k of unit Gaussian queries and keys of width d.

    Given q the scores are Gaussian of spread scale \|q\|; the square of \|q\| is chi-squared with d degrees of freedom, here by
    a Gauss-Laguerre rule of 6 nodes. scale = 1 is attention without its 1/sqrt(d), which is frozen for d > 2 ln n.
    """
    if not 1 <= dim <= 300:
        raise ValueError(f"dim={dim!r} must be at least 1 and at most 300 (the rule's weights overflow)")
    half, weight = roots_genlaguerre(6, dim / 2 - 1)
    rows = [participation_exact(scale * math.sqrt(2 * x), n_keys) for x in half]
    return float(weight @ rows / weight.sum())


def _laplace(score_std: float, n_keys: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Grid u, weights of z, the numbers x = e^{u + s z} (u, z), and n."""
    if not (score_std > 0 and n_keys >= 1):
        raise ValueError(
            f"score_std must be at least 0 (and not 0), n_keys must be at least 1, got {score_std!r}, {n_keys!r}"
        )
    z = np.linspace(-10, 10, 1201)
    weight = np.exp(-(z**2) / 2)
    u = np.arange(-10 * score_std - 45, 10 * score_std + 6, 0.1)
    x = np.exp(np.minimum(u[:, None] + score_std * z, 50.0))
    return u, weight / weight.sum(), x, int(n_keys)


def multiply_adds(sizes: Any, *, causal: bool = False, scale: float | None = None) -> int:
    r"""Multiply-adds of one call for all heads: :math:`H P (d + d_v)`, P the visible pairs.

    ``sizes``: a record with n, queries, d, d_v, n_heads.
    """
    return plain_attention(sizes, causal)


def state_numbers(sizes: Any, *, scale: float | None = None) -> int:
    """Numbers per head that a decoder keeps: all keys and values, n (d + d_v)."""
    return sizes.n * (sizes.d + sizes.d_v)
