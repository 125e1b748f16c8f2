"""Attention with eight-bit queries and keys: the error of a logit and the bound on the throughput.

Reference: SageAttention (arXiv 2410.02367).
"""

from __future__ import annotations


def quantised_logit_variance(
    query_step: float, key_step: float, dim: int, *, scale: float, query_square: float = 1.0, key_square: float = 1.0
) -> float:
    r"""Variance of a logit's error: :math:`s^2 d (E[k^2]\delta_Q^2 + E[q^2]\delta_K^2)/12` (SageAttention)."""
    return scale**2 * dim * (key_square * query_step**2 + query_square * key_step**2) / 12


def mixed_precision_speedup(share_qk: float, share_pv: float, rate_qk: float, rate_pv: float) -> float:
    """Throughput bound 1/(a_QK/r_QK + a_PV/r_PV + a_rest) with time shares that sum to one."""
    rest = 1 - share_qk - share_pv
    if rest < -1e-12 or min(share_qk, share_pv) < 0:
        raise ValueError(f"shares {share_qk!r} and {share_pv!r} must be non-negative and sum to at most 1")
    return 1 / (share_qk / rate_qk + share_pv / rate_pv + rest)
