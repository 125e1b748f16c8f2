r"""Orthogonal memory: what its slots keep of a context, what they cannot tell apart, and the cost.

The reading of ``kernels/operators/linear_variants/orthogonal_memory.py``; after Zhang, Jiang and others 2023 (arXiv 2312.11135).
"""

from __future__ import annotations

from typing import Any

from attnlab.theory.checks import check_count, check_positive
from attnlab.theory.costs.token_projections import head_projections
from attnlab.theory.costs.visible import visible_pairs


def lost_energy(n_slots: int, dim: int) -> float:
    r"""Share of the energy of an isotropic mean that r orthonormal rows lose on average, 1 - r/d."""
    check_count(n_slots=n_slots, dim=dim)
    return 1 - min(n_slots, dim) / dim


def detectable_until(marker: float, noise_std: float) -> float:
    r"""Tokens t until which a marked token is seen in a running mean of noise of size s: :math:`t < (b \cdot x / s)^2`.

    It enters with weight 1/t, the noise of the mean has standard deviation :math:`s / \sqrt t`: signal over noise
    :math:`b \cdot x / (s \sqrt t)`.
    """
    check_positive(marker=marker, noise_std=noise_std)
    return (marker / noise_std) ** 2


def window_pairs(n_tokens: int, window: int, causal: bool) -> int:
    """Pairs within distance w on a line of n tokens."""
    check_count(n_tokens=n_tokens)
    check_count(window=window, at_least=0)
    w = min(window, n_tokens - 1)
    past = visible_pairs(n_tokens, n_tokens, True) - (n_tokens - 1 - w) * (n_tokens - w) // 2
    return past if causal else 2 * past - n_tokens


def multiply_adds(sizes: Any, *, causal: bool = False, n_slots: int = 2, window: int = 1) -> int:
    """Multiply-adds of one call: projections, the window, and r slots: strengths (of one mean, or of n), choices and reads."""
    r = min(n_slots, sizes.d)
    slots = sizes.n_heads * r * sizes.d * (2 * sizes.n + (sizes.n if causal else 1))
    return head_projections(sizes) + sizes.n_heads * 2 * sizes.d * window_pairs(sizes.n, window, causal) + slots
