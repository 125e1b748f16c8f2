r"""A mixer in frequency: equivariant to circular shifts, and how much a threshold prunes.

Fein-Ashley 2025 (arXiv 2502.18394). White tokens of variance s^2 have unnormalised Fourier coefficients with |F_k|^2
exponential of mean n s^2 (real ones, k = 0 and n/2, apart): the share zeroed by modReLU with b < 0 is
:math:`1 - e^{-b^2/(n s^2)}`, so a fixed b prunes a share that falls with the length. In the orthonormal transform of
the operator n is gone.
"""

from __future__ import annotations

import math
from typing import Any

from attnlab.theory.checks import check_count, check_positive


def pruned_share_limit(threshold: float, n_tokens: int, token_std: float, orthonormal: bool = True) -> float:
    """Share of the frequencies that the threshold b <= 0 zeroes, white tokens, filter 1, many frequencies."""
    check_count(n_tokens=n_tokens)
    check_positive(token_std=token_std)
    size = token_std**2 * (1 if orthonormal else n_tokens)
    return -math.expm1(-(min(threshold, 0.0) ** 2) / size)


def multiply_adds(
    sizes: Any, *, causal: bool = False, width: int = 4, threshold: float = -0.1, epsilon: float = 0.0
) -> int:
    """Multiply-adds of one call: the filter's network, and two transforms of about 2 n log2 n per channel (radix 2)."""
    network = sizes.d_model * width + width * sizes.n
    return network + 2 * sizes.d_model * math.ceil(2 * sizes.n * math.log2(max(sizes.n, 2)))
