r"""Parameters and multiply-accumulates of linear, rank-augmented, pooling and softmax attention, as exact counts.

A multiply-accumulate (MAC) is one product that is added to a sum; counters of floating-point operations report two.

References: Fan, Huang and He 2025 (arXiv 2411.07635) for rank-augmented linear attention; Mehta, Rangwala and
Ramakrishnan 2019 (arXiv 1912.00835) for compact multi-head pooling.
"""

from __future__ import annotations

from fractions import Fraction

from attnlab.theory.checks import check_one_of


def linear_attention_macs(n_tokens: int, key_dim: int, value_dim: int) -> int:
    """One head of linear attention: buffer N d_k d_v, read-out N d_k d_v, normaliser N d_k."""
    return 2 * n_tokens * key_dim * value_dim + n_tokens * key_dim


def augmentation_macs(n_tokens: int, key_dim: int, value_dim: int, model_dim: int) -> int:
    """What rank augmentation adds to a head: scores of the global query N d_k, the gate's map N model_dim d_v."""
    return n_tokens * key_dim + n_tokens * model_dim * value_dim


def softmax_attention_macs(n_tokens: int, key_dim: int, value_dim: int) -> int:
    """One head of softmax attention: N^2 d_k for the scores and N^2 d_v for the weighted sums."""
    return n_tokens**2 * (key_dim + value_dim)


def crossover_length(key_dim: int, value_dim: int) -> Fraction:
    r"""Length from which linear attention takes fewer MACs than softmax attention, exact.

    .. math:: N^2 (d_k + d_v) = 2 N d_k d_v + N d_k \iff N = \frac{d_k (2 d_v + 1)}{d_k + d_v},

    which is d + 1/2 for d_k = d_v = d.
    """
    return Fraction(key_dim * (2 * value_dim + 1), key_dim + value_dim)


def augmented_crossover_length(key_dim: int, value_dim: int, model_dim: int) -> Fraction:
    r"""The same for rank-augmented linear attention, whose global query and gate over ``model_dim`` inputs count, too.

    .. math:: N = \frac{2 d_k d_v + 2 d_k + m d_v}{d_k + d_v},

    which is 3 d / 2 + 1 for d_k = d_v = m = d.
    """
    return Fraction(2 * key_dim * value_dim + 2 * key_dim + model_dim * value_dim, key_dim + value_dim)


def augmented_module_macs(n_tokens: int, channels: int, head_dim: int) -> int:
    """The published module on N tokens: maps 4 C^2 N (q, k, v, gate) and C^2 N (projection), 5 x 5 depthwise 25 C N, and per head
    of width d linear attention and the scores of the global query, 2 N d^2 + 2 N d, C / d times."""
    attention = linear_attention_macs(n_tokens, head_dim, head_dim) + n_tokens * head_dim
    return n_tokens * channels * (5 * channels + 25) + channels // head_dim * attention


def augmented_module_parameters(channels: int) -> int:
    """The published module at C channels: 4 C^2 + 4 C (q, k, v, gate), 26 C (5 x 5 depthwise), C^2 + C (projection)."""
    return 5 * channels**2 + 31 * channels


def pooling_parameters(kind: str, dim: int, n_heads: int, rank: int = 1, hidden: int = 0) -> int:
    r"""Parameters of a pooling layer of m heads over states of width d.

    ``"compact"``: 2 d m rank. ``"bilinear"``: m d^2. ``"additive"`` (hidden width a): a d + m a. ``"shared"``, factors
    shared by all heads, W_i = P diag(a_i) Q^T of rank k: 2 d k + k m. ``"transformer"``: 4 d^2 + 4 d, for any m.
    """
    counts = {
        "compact": 2 * dim * n_heads * rank,
        "bilinear": n_heads * dim**2,
        "additive": hidden * dim + n_heads * hidden,
        "shared": 2 * dim * rank + rank * n_heads,
        "transformer": 4 * dim**2 + 4 * dim,
    }
    return _chosen(counts, kind)


def pooling_macs(kind: str, n_tokens: int, dim: int, n_heads: int, hidden: int = 0) -> int:
    r"""MACs of one sequence of T states, matrix products only.

    ``"compact"``: context d m, scores T d m, sums T m d. ``"additive"``: T a d + T a m + T m d. ``"transformer"``:
    4 T d^2 + 2 T^2 d.
    """
    T, d, m, a = n_tokens, dim, n_heads, hidden
    counts = {
        "compact": d * m + 2 * T * d * m,
        "additive": T * a * d + T * a * m + T * m * d,
        "transformer": 4 * T * d**2 + 2 * T**2 * d,
    }
    return _chosen(counts, kind)


def _chosen(counts: dict[str, int], kind: str) -> int:
    check_one_of(counts, kind=kind)
    return counts[kind]
