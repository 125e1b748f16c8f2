r"""Values computed from cached keys, :math:`V = K W_K^{-1} W_V` (slim attention): what is saved, and what rounding costs.

Graef and Wasielewski 2025 (arXiv 2503.05840) for the method; the error laws are derived. Tokens are white, :math:`K = X W_K` with
columns :math:`w_j`, and keys are stored with a significand of b bits.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from attnlab.theory.checks import check_count, check_positive


def cache_factor(d_model: int, n_heads: int, head_dim: int, stored: int | None = None) -> float:
    """Numbers of keys and values per token, 2 H d, over the ``stored`` ones (the keys, H d, or the token itself, d_model)."""
    check_count(d_model=d_model, n_heads=n_heads, head_dim=head_dim)
    return 2 * n_heads * head_dim / (n_heads * head_dim if stored is None else stored)


def rounding_share(std: ArrayLike, bits: int) -> np.ndarray:
    r"""Mean squared error of storing a normal number of standard deviation s with b bits, over :math:`s^2`.

    A number in :math:`[2^e, 2^{e+1})` is off by a uniform error of width :math:`2^{e+1-b}`: the mean of its square over 12.
    Depends a little on where s lies between powers of two: 2.7e-6 to 2.9e-6 at b = 8, bfloat16.
    """
    check_positive(std=float(np.min(std)))
    s = np.asarray(std, dtype=np.float64)[..., None]
    low = 2.0 ** (np.floor(np.log2(s)) + np.arange(-40, 6))
    share = 2 * (special.ndtr(2 * low / s) - special.ndtr(low / s))
    return (share * (low * 2.0 ** (1 - bits)) ** 2 / 12).sum(-1) / s[..., 0] ** 2


def reconstruction_error_approx(key_matrix: ArrayLike, value_matrix: ArrayLike, bits: int) -> float:
    r"""Relative error :math:`|\delta K\, W_K^{-1} W_V|_F / |V|_F` of values from rounded keys, many white tokens.

    .. math:: \Big( \sum_j u_j^2 |w_j|^2\, |(W_K^{-1} W_V)_{j \cdot}|^2 \Big)^{1/2} / |W_V|_F

    with :math:`u_j^2` the :func:`rounding_share` of column j. For random W_V about :math:`u\, |W_K|_F |W_K^{-1}|_F / d`: the
    condition number of Frobenius norms over d, not :math:`\epsilon\, \mathrm{cond}_2`, which bounds it.
    """
    W, V = (np.asarray(x, dtype=np.float64) for x in (key_matrix, value_matrix))
    lengths = np.linalg.norm(W, axis=0)
    rows = np.linalg.norm(np.linalg.solve(W, V), axis=1)
    return float(math.sqrt((rounding_share(lengths, bits) * lengths**2 * rows**2).sum()) / np.linalg.norm(V))


def published_error_bound(key_matrix: ArrayLike, bits: int) -> float:
    r"""The rule :math:`\epsilon\, \mathrm{cond}_2(W_K)`, :math:`\epsilon = 2^{1-b}`."""
    return float(2.0 ** (1 - bits) * np.linalg.cond(np.asarray(key_matrix, dtype=np.float64)))
