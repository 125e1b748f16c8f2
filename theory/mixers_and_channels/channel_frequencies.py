r"""Frequency channel attention: patterns that a mean cannot see.

Qin et al. 2021 (arXiv 2012.11879). A pattern of amplitude A at the frequencies (u, v), both positive, has mean exactly
0 and the coefficient :math:`A \sqrt{HW}/2` in its own filter; with noise of standard deviation s per cell presence is
told with :math:`\mathrm{AUC} = \Phi(A \sqrt{HW}/(2 \sqrt 2 s))`. The sign depends on the phase: the response is not
invariant to shifts.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

from attnlab.theory.checks import check_count, check_positive


def response(amplitude: float, rows: int, columns: int, zeros: int = 0) -> float:
    """Coefficient of A cos cos in its own filter; ``zeros`` of the two frequencies are 0, each of which gives sqrt 2 more."""
    check_count(rows=rows, columns=columns)
    return amplitude * math.sqrt(rows * columns) / 2 * 2 ** (zeros / 2)


def presence_auc(amplitude: float, noise_std: float, rows: int, columns: int) -> float:
    """Area under the curve for presence against absence, from the coefficient of one noisy grid, u, v > 0."""
    check_positive(noise_std=noise_std)
    return NormalDist().cdf(response(amplitude, rows, columns) / (math.sqrt(2) * noise_std))


def multiply_adds(
    sizes: Any, *, causal: bool = False, frequencies: tuple = ((0, 0), (0, 1), (1, 0), (1, 1)), reduction: int = 2
) -> int:
    """Multiply-adds of one call: two layers over channels; coefficients and the gate are sums of products of numbers."""
    return 2 * sizes.d_model * max(1, sizes.d_model // reduction)
