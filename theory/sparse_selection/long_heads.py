r"""LongHeads: how much of the context H heads cover together.

Lu et al. 2024 (arXiv 2402.10685). Each of H heads takes the k of m chunks with the largest score; scores of two heads correlate
at rho. The expected union is :math:`m (1 - \mathbb E_z\, \Phi(\tfrac{t - \sqrt\rho z}{\sqrt{1 - \rho}})^H)`,
:math:`t = \Phi^{-1}(1 - k/m)`, for many chunks.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import stats

from attnlab.theory.checks import check_count
from attnlab.theory.costs.visible import all_pairs

_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(120)


def union_of_heads_limit(n_chunks: int, keep: int, n_heads: int, correlation: float) -> float:
    """Expected number of chunks that some head takes, 0 <= rho < 1."""
    check_count(n_chunks=n_chunks, keep=keep, n_heads=n_heads)
    if not 0 <= correlation < 1:
        raise ValueError(f"correlation={correlation!r} must be at least 0 and below 1")
    t = stats.norm.isf(keep / n_chunks)
    missed = stats.norm.cdf((t - math.sqrt(correlation) * _NODES) / math.sqrt(1 - correlation)) ** n_heads
    return float(n_chunks * (1 - _WEIGHTS @ missed / math.sqrt(2 * math.pi)))


def multiply_adds(
    sizes: Any, *, causal: bool = False, chunk: int = 2, total: int = 2, sinks: int = 0, recent: int = 1
) -> int:
    """Multiply-adds of this file: attention inside chunks, chunk keys, scores of chunks, a mask on the dense product."""
    lengths = [min(chunk, sizes.n - start) for start in range(0, sizes.n, chunk)]
    inside = sum(length * (length + 1) // 2 for length in lengths) * 2 * sizes.d
    keys = sizes.n * 2 * sizes.d
    return sizes.n_heads * (inside + keys + sizes.queries * len(lengths) * sizes.d) + all_pairs(sizes)


def published_multiply_adds(sizes: Any, *, chunk: int = 2, total: int = 2, sinks: int = 0, recent: int = 1) -> int:
    """Multiply-adds with chunks gathered."""
    kept = sizes.queries * min(sizes.n, total * chunk) * (sizes.d + sizes.d_v)
    return multiply_adds(sizes, chunk=chunk, total=total) - all_pairs(sizes) + sizes.n_heads * kept


def state_numbers(sizes: Any, *, chunk: int = 2, total: int = 2, sinks: int = 0, recent: int = 1) -> int:
    """Numbers per head that a decoder keeps: keys, values, one key per chunk."""
    return sizes.n * (sizes.d + sizes.d_v) + -(-sizes.n // chunk) * sizes.d
