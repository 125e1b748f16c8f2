r"""Layers without positions between windowed rotary ones: what the cache holds, and how long a needle stands.

Yang et al. 2025 (arXiv 2501.18795). One full layer in p and windows of w else keep :math:`1/p + (1 - 1/p)\, w/n` of
the full cache (n >= w). A needle with logit gap D holds :math:`e^D/(e^D + n - 1)` of a layer without positions, half
at :math:`1 + e^D`; unit queries and keys with gain g have gap at most 2 g, hence half length at most
:math:`1 + e^{2 g}`.
"""

from __future__ import annotations

import math
from typing import Any

from attnlab.theory.checks import check_count
from attnlab.theory.costs.visible import plain_attention


def cache_share(n_tokens: int, window: int, period: int = 4) -> float:
    """Keys and values kept by a stack over those of full layers."""
    check_count(n_tokens=n_tokens, window=window, period=period)
    return 1 / period + (1 - 1 / period) * min(window, n_tokens) / n_tokens


def needle_mass(gap: float, n_tokens: int) -> float:
    """Weight of one key with a logit above n - 1 equal others by the gap."""
    check_count(n_tokens=n_tokens)
    return 1 / (1 + (n_tokens - 1) * math.exp(-gap))


def half_length(gap: float) -> float:
    """Number of tokens at which the needle holds half, 1 + e^gap."""
    return 1 + math.exp(gap)


def half_length_bound(gain: float) -> float:
    """The same for unit queries and keys with a gain: the gap is at most 2 g."""
    return half_length(2 * gain)


def multiply_adds(
    sizes: Any, *, causal: bool = False, layer: int = 0, window: int = 3, period: int = 4, base: float = 10000.0
) -> int:
    """Multiply-adds of one call of this layer."""
    if layer % period == 0:
        return plain_attention(sizes, causal)
    last = sizes.n - 1
    pairs = sum(min(i, window - 1) + 1 + (0 if causal else min(last - i, window - 1)) for i in range(sizes.n))
    return sizes.n_heads * pairs * (sizes.d + sizes.d_v)


def state_numbers(sizes: Any, *, layer: int = 0, window: int = 3, period: int = 4, base: float = 10000.0) -> int:
    """Numbers per head that a decoder keeps for this layer."""
    return (sizes.n if layer % period == 0 else min(window, sizes.n)) * (sizes.d + sizes.d_v)
