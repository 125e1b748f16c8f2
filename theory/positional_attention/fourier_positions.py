r"""Fourier positions: which frequencies were never trained, and what a fit to short distances says beyond them.

Hua et al. 2024 (arXiv 2412.17739). Rotary frequencies :math:`\theta^{-2 m/d}` below 2 pi/L do not complete a period on L tokens:
:math:`d/2 - \lceil (d/2) \ln(L/2\pi)/\ln\theta \rceil` of them. A score profile fitted by ridge regression on cosines
and sines of distances below L, from values with noise sigma, has outside the range the noise
:math:`\sigma \sqrt{\mathrm{tr}(B G G^\top B^\top)/n}`, :math:`G = (A^\top A + \lambda)^{-1} A^\top`. Removing
frequencies below one period leaves an amplification; from four periods on there is none.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from attnlab.theory.checks import check_count, check_positive
from attnlab.theory.costs.visible import plain_attention


def undertrained_frequencies(dim: int, trained_length: float, base: float = 10000.0) -> int:
    """Number of the d/2 rotary frequencies below 2 pi/L."""
    check_count(at_least=2, dim=dim)
    check_positive(trained_length=trained_length)
    trained = math.ceil(dim / 2 * math.log(trained_length / (2 * math.pi)) / math.log(base))
    return dim // 2 - min(max(trained, 0), dim // 2)


def waves(frequencies: np.ndarray, distances: np.ndarray) -> np.ndarray:
    """Cosines and sines (distance, 2 F) of the frequencies."""
    angle = np.outer(distances, frequencies)
    return np.concatenate([np.cos(angle), np.sin(angle)], 1)


def noise_beyond_exact(frequencies: np.ndarray, trained_length: int, tested_length: int, ridge: float) -> float:
    """Root mean square of the fitted noise at distances from L to ``tested_length``, over the noise of the values."""
    inside, outside = (
        waves(frequencies, np.arange(a, b)) for a, b in ((0, trained_length), (trained_length, tested_length))
    )
    G = np.linalg.solve(inside.T @ inside + ridge * np.eye(inside.shape[1]), inside.T)
    return float(np.sqrt(((outside @ G) ** 2).sum() / len(outside)))


def multiply_adds(
    sizes: Any, *, causal: bool = False, gain: float = 0.3, trained_length: float = 64.0, carrying: float = 0.5,
    base: float = 10000.0,
) -> int:  # fmt: skip
    """Multiply-adds of one call: plain attention; the tables, n F^2 per head and replica, are sums of products of numbers."""
    return plain_attention(sizes, causal)


def state_numbers(
    sizes: Any, *, gain: float = 0.3, trained_length: float = 64.0, carrying: float = 0.5, base: float = 10000.0
) -> int:
    """Numbers per head that a decoder keeps: keys and values."""
    return sizes.n * (sizes.d + sizes.d_v)
