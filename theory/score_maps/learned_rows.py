r"""Learned rows: what Fourier units can fit on a whole period, their rank, and their cost.

Maity et al. 2025 (arXiv 2503.10632) for the idea; the error is Parseval's sum.
"""

from __future__ import annotations

import math
from typing import Any

from attnlab.theory.checks import check_count


def exponential_error(n_frequencies: int) -> float:
    r"""Relative squared error of the best fit of e^x on [-pi, pi] by waves up to frequency G, exact.

    .. math:: \frac{2 \sum_{m > G} \frac{1}{1 + m^2}}{\pi \coth \pi} \approx \frac{.634}{G},

    from the coefficients :math:`|c_m|^2 \propto 1/(1 + m^2)`: e^x jumps where the period closes. On half a period the error falls
    exponentially.
    """
    check_count(n_frequencies=n_frequencies)
    whole = math.pi / math.tanh(math.pi)  # sum over all m of 1 / (1 + m^2)
    kept = 1 + 2 * sum(1 / (1 + m * m) for m in range(1, int(n_frequencies) + 1))
    return (whole - kept) / whole


def exponential_error_limit(n_frequencies: int) -> float:
    r"""Its limit for many frequencies, :math:`\frac{2 \tanh \pi}{\pi G} = .634 / G`."""
    check_count(n_frequencies=n_frequencies)
    return 2 * math.tanh(math.pi) / (math.pi * n_frequencies)


def rank(n_tokens: int, n_units: int) -> int:
    """Greatest rank of the map: the number of units."""
    return min(n_tokens, n_units)


def multiply_adds(sizes: Any, *, causal: bool = False, n_units: int = 4, n_frequencies: int = 2) -> int:
    """Multiply-adds of one call for all heads; per query: scores n d, units 2 G n r, rows r n, output n d_v."""
    per_query = sizes.n * (sizes.d + 2 * n_frequencies * n_units + n_units + sizes.d_v)
    return sizes.n_heads * sizes.queries * per_query
