r"""Group attention: how far weights at group centres are from the true ones.

Liang et al. 2023 (arXiv 2306.01926). Keys within r of their centre and queries up to R give
:math:`e^{-2 R r/\sqrt d} \le \tilde A/A \le e^{2 R r/\sqrt d}`. For Gaussian groups of standard deviation r per
coordinate the logarithm of the ratio has root mean square :math:`r |q|/\sqrt d`, and the *group's* mass is too small
by :math:`e^{-r^2 |q|^2/(2 d)}`: a term :math:`q^\top S_g q/(2 d)` in the logit mends it.
"""

from __future__ import annotations

import math
from typing import Any

from attnlab.theory.checks import check_count, check_not_negative


def log_ratio_rms(radius: float, query_norm: float, dim: int) -> float:
    r"""Root mean square of ln(A~/A) over keys of Gaussian groups, up to the common normaliser: :math:`r |q|/\sqrt d`."""
    check_not_negative(radius=radius, query_norm=query_norm)
    check_count(dim=dim)
    return radius * query_norm / math.sqrt(dim)


def ratio_bound(radius: float, query_norm: float, dim: int) -> float:
    r"""Largest A~/A, :math:`e^{2 R r/\sqrt d}`; 1 over it bounds from below. ``radius`` is the largest distance to a centre."""
    return math.exp(2 * query_norm * radius / math.sqrt(dim))


def mass_deficit(radius: float, query_norm: float, dim: int) -> float:
    r"""Mass of a Gaussian group at its centre over its true mass, many keys: :math:`e^{-r^2 |q|^2/(2 d)}`."""
    return math.exp(-(log_ratio_rms(radius, query_norm, dim) ** 2) / 2)


def multiply_adds(sizes: Any, *, causal: bool = False, groups: int = 2, rounds: int = 2) -> int:
    """Multiply-adds of one call: k-means (n N d per assignment and per mean), group means, attention to N centres."""
    N = min(groups, sizes.n)
    means = rounds * sizes.n * N * sizes.d + (rounds - 1) * sizes.n * N * sizes.d
    centres = N * sizes.n * (sizes.d + sizes.d_v)
    return sizes.n_heads * (means + centres + sizes.queries * N * (sizes.d + sizes.d_v))


def state_numbers(sizes: Any, *, groups: int = 2, rounds: int = 2) -> int:
    """Numbers per head of a finished context: centres, mean values and counts."""
    return min(groups, sizes.n) * (sizes.d + sizes.d_v + 1)
