r"""The linear memory of earlier segments: how much a needle weighs in it, what fits, what repetition does; state and cost.

Keys Gaussian of standard deviation s per coordinate, the query equal to a stored key, phi = ELU + 1. Munkhdalai, Faruqui
and Gopal 2024 (arXiv 2404.07143) for the operator; the laws are derived.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import special

from attnlab.theory.checks import check_count, check_positive


def gain(key_std: float, n_points: int = 20_001) -> float:
    r"""Weight of a stored key over that of another, :math:`g = \mathbb E \phi^2 / (\mathbb E \phi)^2`, for wide keys.

    1.460 at s = 1. By the trapezoidal rule on [-12, 12] standard deviations.
    """
    w, phi = _features(key_std, n_points)
    return float((w @ phi**2) / (w @ phi) ** 2)


def gain_bound() -> float:
    r"""Supremum of the gain, :math:`\pi`: keys of large spread make phi a relu, :math:`\tfrac12 / (1/\sqrt{2\pi})^2`."""
    return math.pi


def needle_weight(n_stored: int, key_std: float) -> float:
    r"""Weight of one stored pair among N, :math:`g / (N - 1 + g)` for wide keys: about g/N, and no scaling sharpens it."""
    check_count(n_stored=n_stored)
    return diluted(gain(key_std), n_stored)


def diluted(gain: float, n_stored: int) -> float:
    """Share of one pair of weight ``gain`` among N - 1 of weight 1."""
    check_count(n_stored=n_stored)
    check_positive(gain=gain)
    return gain / (n_stored - 1 + gain)


def recall_limit(n_stored: int, key_std: float, key_width: int, value_width: int) -> float:
    r"""Share of stored pairs whose read-out is nearest to their own value, for wide keys and random values of unit length.

    The read-out scores value i by :math:`\sum_j A_j\, v_j \cdot v_i`, with :math:`A_j` the weight of pair j over the mean weight
    of the others: G for the pair asked for, of mean :math:`\bar g` and variance V, and 1 + eps of variance g (g - 1) / d for
    the N - 1 others. Products of different values have variance 1/d_v. The lead over all rivals is
    :math:`\bar g - 1 + u + w_i` with a common u and independent w_i:

    .. math:: p = \mathbb E_u\, \Phi\bigl((\bar g - 1 + u)/\sigma_w\bigr)^{N-1}, \quad
              \sigma_u^2 = \frac{N - 2g}{d_v} + V, \quad \sigma_w^2 = \frac{N - 3 + g^2}{d_v} + \frac{g (g - 1)}{d},

    :math:`\bar g, V` from ``own_weight``. Gaussian: for N of at least 4, and up to ``feature_skewness`` over sqrt(d). For
    many pairs it falls where :math:`N \ln N = (g - 1)^2 d_v / 2`.
    """
    check_count(n_stored=n_stored, at_least=4)
    check_count(key_width=key_width, value_width=value_width)
    g = gain(key_std)
    mean, own = own_weight(key_std, key_width)
    common = math.sqrt(max((n_stored - 2 * g) / value_width + own, 0.0))
    single = math.sqrt((n_stored - 3 + g * g) / value_width + g * (g - 1) / key_width)
    z = np.linspace(-9.0, 9.0, 3601)
    density = np.exp(-z * z / 2)
    return float(density @ special.ndtr((mean - 1 + common * z) / single) ** (n_stored - 1) / density.sum())


def own_weight(key_std: float, key_width: int) -> tuple[float, float]:
    r"""Mean and variance of :math:`G = \sum_c \phi_c^2 / (m_1 \sum_c \phi_c)`, the weight of the pair asked for over the others'.

    .. math:: \bar g = g \Bigl(1 + \frac{g - m_3/(m_1 m_2)}{d}\Bigr), \qquad
              V = \frac{g^2}{d}\, \mathrm{var}\Bigl(\frac{\phi^2}{m_2} - \frac{\phi}{m_1}\Bigr),

    m_k the moments of phi, d channels; both to first order in 1/d, by expanding the ratio.
    """
    check_count(key_width=key_width)
    w, phi = _features(key_std)
    m1, m2, m3 = (float(w @ phi**k) for k in (1, 2, 3))
    g = m2 / m1**2
    mean = g * (1 + (g - m3 / (m1 * m2)) / key_width)
    return mean, g * g * float(w @ (phi**2 / m2 - phi / m1) ** 2) / key_width


def feature_skewness(key_std: float) -> float:
    r"""Skewness of :math:`\phi^2/m_2 - \phi/m_1`, the part of one channel in a stored pair's own weight; 3.67 at s = 1."""
    w, phi = _features(key_std)
    part = phi**2 / (w @ phi**2) - phi / (w @ phi)
    return float(w @ part**3 / (w @ part**2) ** 1.5)


def _features(key_std: float, n_points: int = 20_001) -> tuple[np.ndarray, np.ndarray]:
    """Weights of the trapezoidal rule on 12 standard deviations to each side, summing to 1, and phi there."""
    check_positive(key_std=key_std)
    check_count(n_points=n_points, at_least=2)
    z = np.linspace(-12.0, 12.0, n_points)
    w, x = np.exp(-(z**2) / 2), key_std * z
    return w / w.sum(), np.where(x > 0, x + 1, np.exp(np.minimum(x, 0)))


def softmax_needle_weight(n_stored: int, margin: float) -> float:
    r"""Softmax's, :math:`e^\Delta / (e^\Delta + N - 1)`."""
    check_count(n_stored=n_stored)
    return 1 / (1 + (n_stored - 1) * math.exp(-margin))


def repeated_read(n_writes: int, delta: bool) -> float:
    r"""What is read of a value written once in each of r segments and nothing else: 1, and for the delta rule 1, 1/2, 1/2, ...

    Delta: :math:`M \leftarrow M + \phi^\top (v - \text{read})`, :math:`z \leftarrow z + \phi`, so
    :math:`\rho_{r+1} = (r \rho_r + 1 - \rho_r) / (r + 1)` with :math:`\rho_1 = 1`: z counts the repetition, M does not.
    """
    check_count(n_writes=n_writes)
    read = 1.0
    for r in range(1, n_writes):
        read = (r * read + 1 - read) / (r + 1) if delta else 1.0
    return read


def multiply_adds(sizes: Any, *, causal: bool = False, segment: int = 2) -> int:
    """Multiply-adds of one call for all heads: pairs within segments, reads (d d_v + d) and writes (d d_v) of the memory."""
    return sizes.n_heads * (_within(sizes, segment) + _read(sizes, segment) + _written(sizes, segment))


def state_numbers(sizes: Any, *, segment: int = 2) -> int:
    """Numbers per head: the memory d (d_v + 1), one segment of keys and values, the count."""
    return sizes.d * (sizes.d_v + 1) + segment * (sizes.d + sizes.d_v) + 1


def _segments(sizes: Any, segment: int) -> list[int]:
    whole, rest = divmod(sizes.n, segment)
    return [segment] * whole + [rest] * (rest > 0)


def _within(sizes: Any, segment: int) -> int:
    return sum(m * (m + 1) // 2 for m in _segments(sizes, segment)) * (sizes.d + sizes.d_v)


def _read(sizes: Any, segment: int) -> int:
    return sum(_segments(sizes, segment)[1:]) * sizes.d * (sizes.d_v + 1)


def _written(sizes: Any, segment: int) -> int:
    return sum(_segments(sizes, segment)[:-1]) * sizes.d * sizes.d_v
