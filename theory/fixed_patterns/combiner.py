r"""Combiner with fixed spans: a region counts as one token.

Ren et al. 2021 (arXiv 2107.05768). With equal keys every score is equal, and the own span of s tokens competes with n/s - 1
summaries of one token each: its mass is :math:`s/(s + n/s - 1)`, not s/n. Adding ln|R| to the region's logit makes it exact.
The published count of pairs per query, s + 2 n/s, charges every region twice, for its logit and its summary, and is least at
:math:`s = \sqrt{2 n}`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from attnlab.theory.checks import check_count


def own_span_mass(n_tokens: int, span: int, counted: bool = False) -> float:
    """Mass on the own span when all keys are equal, spans of one length; ``counted``: with ln|R| in the region's logit."""
    check_count(n_tokens=n_tokens, span=span)
    return span / n_tokens if counted else span / (span + n_tokens / span - 1)


def cheapest_span(n_tokens: int) -> float:
    r"""Span with the fewest pairs, :math:`\sqrt{2 n}`, of n (s + 2 n/s)."""
    check_count(n_tokens=n_tokens)
    return math.sqrt(2 * n_tokens)


def largest_normal(count: int) -> tuple[float, float]:
    """Mean and variance of the largest of ``count`` standard normal numbers, by quadrature."""
    check_count(count=count)
    from scipy.special import ndtr

    node, weight = np.polynomial.legendre.leggauss(240)
    x = 10 * node
    density = 10 * weight * count * np.exp(-x * x / 2) / math.sqrt(2 * math.pi) * ndtr(x) ** (count - 1)
    mean = float(density @ x)
    return mean, float(density @ (x - mean) ** 2)


def region_shift_std(largest_of_span: float, query_std: float) -> float:
    r"""Spread over queries of the shift that max-pooling adds to all region logits, :math:`m_s` times that of q's sum/sqrt d.

    Keys are standard Gaussian; ``largest_of_span`` is m_s, the mean of the largest of s of them: the maximum per channel
    adds m_s (1, ..., 1) to the mean key.
    """
    return largest_of_span * query_std


def multiply_adds(sizes: Any, *, causal: bool = False, span: int = 2, summary: str = "max") -> int:
    """Multiply-adds of one call: own spans, summaries of values, and queries against visible summaries."""
    lengths = [min(span, sizes.n - start) for start in range(0, sizes.n, span)]
    own = sum(length * (length + 1) // 2 if causal else length**2 for length in lengths)
    if causal:
        far = sum(length * place for place, length in enumerate(lengths))
    else:
        far = sizes.n * (len(lengths) - 1)
    return sizes.n_heads * (own + far + sizes.n) * (sizes.d + sizes.d_v)


def state_numbers(sizes: Any, *, span: int = 2, summary: str = "max") -> int:
    """Numbers per head that a decoder keeps: the own span's keys and values, summaries of key and value of the earlier."""
    return (span + -(-sizes.n // span)) * (sizes.d + sizes.d_v)
