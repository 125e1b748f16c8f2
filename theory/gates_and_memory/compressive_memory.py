r"""The linear memory of earlier segments: how much a needle weighs in it, what fits, what repetition does; state and cost.

Keys Gaussian of standard deviation s per coordinate, the query equal to a stored key, phi = ELU + 1. Munkhdalai, Faruqui
and Gopal 2024 (arXiv 2404.07143) for the operator; the laws are derived.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from attnlab.theory.checks import check_count, check_positive


def gain(key_std: float, n_points: int = 20_001) -> float:
    r"""Weight of a stored key over that of another, :math:`g = \mathbb E \phi^2 / (\mathbb E \phi)^2`, for wide keys.

    1.460 at s = 1. By the trapezoidal rule on [-12, 12] standard deviations.
    """
    check_positive(key_std=key_std)
    check_count(n_points=n_points, at_least=2)
    z = np.linspace(-12.0, 12.0, n_points)
    w, x = np.exp(-(z**2) / 2), key_std * z
    phi = np.where(x > 0, x + 1, np.exp(np.minimum(x, 0)))
    return float((w * phi**2).sum() * w.sum() / (w * phi).sum() ** 2)


def gain_bound() -> float:
    r"""Supremum of the gain, :math:`\pi`: keys of large spread make phi a relu, :math:`\tfrac12 / (1/\sqrt{2\pi})^2`."""
    return math.pi


def needle_weight(n_stored: int, key_std: float) -> float:
    """Weight of one stored pair among N, g / N; it cannot be sharpened by scaling, and dilutes like 1/N."""
    check_count(n_stored=n_stored)
    return gain(key_std) / n_stored


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
