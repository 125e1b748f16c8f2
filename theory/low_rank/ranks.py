r"""Ranks of linear and softmax attention, of the key-value buffer, and of gated outputs; a bound on recall.

Per head: queries and keys ``(N, d_k)``, values ``(N, d_v)``, a positive feature map kappa of width d_k. Linear attention
is ``Y = diag(kappa(Q) z)^-1 kappa(Q) B`` with the buffer ``B = kappa(K)^T diag(alpha) V`` (d_k, d_v) and
``z = kappa(K)^T alpha``, where alpha > 0 weights the keys (alpha = 1: the plain form).

References: Fan, Huang and He 2025, "Breaking the low-rank dilemma of linear attention" (arXiv 2411.07635); the
rank of Hadamard products: Horn and Johnson, Topics in Matrix Analysis, chapter 5.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from attnlab.theory.checks import check_count, check_one_of


def attention_matrix_rank(n_tokens: int, key_dim: int, kind: str) -> int:
    r"""Rank of the attention matrix for generic inputs.

    .. math:: \mathrm{rank} = \min(N, d_k) \text{ (linear)}, \qquad N \text{ (softmax, for every } d_k \ge 1).

    The linear value is also a bound for all inputs, and row normalisation does not change it (a positive diagonal from
    the left). Why N for softmax: already at d_k = 1 the matrix ``exp(q_i k_j)`` with distinct q and distinct k is
    strictly totally positive, so its determinant is positive.
    """
    check_count(n_tokens=n_tokens, key_dim=key_dim)
    return min(n_tokens, key_dim) if _linear(kind) else n_tokens


def buffer_rank(n_tokens: int, key_dim: int, value_dim: int) -> int:
    r"""Rank ``min(N, d_k, d_v)`` of the buffer for generic keys and values and *any* positive weights alpha.

    It bounds the rank for all inputs. Positive weights cannot raise the rank of a buffer that has it already; they can
    raise that of a deficient one: ``K = (1, 1)^T, V = (1, -1)^T`` gives B = 0, and B = 1 with alpha = (1.5, 0.5).
    """
    check_count(n_tokens=n_tokens, key_dim=key_dim, value_dim=value_dim)
    return min(n_tokens, key_dim, value_dim)


def output_rank(n_tokens: int, key_dim: int, value_dim: int, kind: str) -> int:
    r"""Rank of one head's output for generic inputs, a bound for all: ``min(N, d_k, d_v)`` linear, ``min(N, d_v)`` softmax.

    For d_k = d_v both are equal: exact ranks do not tell linear from softmax attention there.
    """
    check_count(n_tokens=n_tokens, key_dim=key_dim, value_dim=value_dim)
    return min(n_tokens, key_dim, value_dim) if _linear(kind) else min(n_tokens, value_dim)


def multi_head_rank(n_tokens: int, head_ranks: ArrayLike) -> int:
    r"""Rank ``min(N, sum_h rank_h)`` of concatenated heads for generic inputs, a bound for all."""
    ranks = np.asarray(head_ranks)
    check_count(n_tokens=n_tokens)
    if ranks.ndim != 1 or ranks.size == 0 or np.any(ranks < 0):
        raise ValueError(f"head_ranks must be a list of ranks >= 0, one per head, got {head_ranks!r}")
    return min(n_tokens, int(ranks.sum()))


def hadamard_rank(rank: int, gate_rank: int, n_rows: int, n_columns: int) -> int:
    r"""Rank of ``A * B`` (entrywise) for generic factors of the given ranks, a bound for all such factors.

    .. math:: \mathrm{rank}(A \odot B) \le \min(\mathrm{rank} A\ \mathrm{rank} B,\ N,\ D).

    Why: A = U V^T and B = W Z^T give A * B = (U . W)(V . Z)^T with the row-wise Kronecker product of
    :func:`face_splitting`, a matrix of rank A times rank B columns.
    """
    check_count(rank=rank, gate_rank=gate_rank, n_rows=n_rows, n_columns=n_columns)
    return min(rank * gate_rank, n_rows, n_columns)


def hadamard_square_rank(rank: int, n_rows: int, n_columns: int) -> int:
    """Rank ``min(r (r + 1) / 2, N, D)`` of ``A * A`` for generic A of rank r: products of columns commute."""
    check_count(rank=rank, n_rows=n_rows, n_columns=n_columns)
    return min(rank * (rank + 1) // 2, n_rows, n_columns)


def face_splitting(u: ArrayLike, w: ArrayLike) -> np.ndarray:
    """Row-wise Kronecker product: row i is ``kron(u_i, w_i)``; shapes (N, r), (N, s) -> (N, r s)."""
    u, w = np.asarray(u), np.asarray(w)
    if u.ndim != 2 or w.ndim != 2 or len(u) != len(w):
        raise ValueError(f"u and w must be matrices with equally many rows, got shapes {u.shape} and {w.shape}")
    return (u[:, :, None] * w[:, None, :]).reshape(len(u), -1)


def recall_error_bound(
    n_tokens: int, key_dim: int, value_dim: int, n_heads: int = 1, target_dim: int | None = None
) -> float:
    r"""Least relative error with which linear attention recalls N values, whatever its weights, gate and projections.

    .. math:: \frac{\mathbb E\|\hat V - V\|^2}{\mathbb E\|V\|^2} \ge 1 - \frac{H d_k d_v}{N m},
              \qquad V \in R^{N \times m} \text{ with entries N(0, 1), independent of queries and keys.}

    Holds for every feature map, weights alpha and output projection that see queries and keys but not the values, and for every
    gate that is affine in the values. Why: given queries and keys, the attention is linear in V and passes through buffers of
    H d_k d_v numbers; a gate adds products of two values, which are even in V and add error only. So the odd part of the map from
    V to the estimate has at most that rank, and a rank-r linear estimate of n standard normals errs by at least n - r.
    ``target_dim`` is m (default d_v). 0 where the buffer has room. Softmax attention is under no such bound: with one
    distinct key a value its error tends to 0 with the temperature.
    """
    m = value_dim if target_dim is None else target_dim
    check_count(n_tokens=n_tokens, key_dim=key_dim, value_dim=value_dim, n_heads=n_heads, target_dim=m)
    return max(0.0, 1 - n_heads * key_dim * min(value_dim, m) / (n_tokens * m))


def _linear(kind: str) -> bool:
    check_one_of(("linear", "softmax"), kind=kind)
    return kind == "linear"
