r"""How much one multi-head attention layer can memorise: ranks of its features, exact counts, laws for frozen attention.

Example t has a query e_t in R^d, a context E_t in R^{n x d} and a label. Head h gives ``z_h = E_t^T softmax(E_t M_h e_t)``
with ``M_h = W_K W_Q^T`` of rank at most d_h; the rows ``[z_1, ..., z_H]`` of T examples are the features Z (T, H d). The
layer is linear in Z, so Z of rank R memorises R generic real labels and no more.

References: Mahdavi, Liao and Thrampoulidis 2024, "Memorization capacity of multi-head attention in transformers" (arXiv
2306.02010); Cover 1965, "Geometrical and statistical properties of systems of linear inequalities", for dichotomies.
"""

from __future__ import annotations

from fractions import Fraction
from math import comb

from attnlab.theory.checks import check_count


def shared_context_rank(
    n_examples: int, n_heads: int, n_context: int, context_rank: int | None = None, ones: bool | None = None
) -> int:
    r"""Rank of Z if all examples share one context of rank rho, for generic weights and different queries; a bound for all.

    .. math:: R = \min(T,\, H(\rho - 1) + 1) \text{ if } 1 \in \mathrm{col}(E), \qquad \min(T,\, H\rho) \text{ otherwise.}

    A context of rank n has the vector of ones in its column space. The width d_h >= 1 does not enter. Why: ``Z_h = A_h E``
    with row-stochastic A_h; if E x = 1 then Z_h x = 1 for every head, which is H - 1 relations between the heads. Generic
    weights have no others: along a line of queries s -> s e the entries of A_h are rational in exponentials of s, with
    poles that differ from head to head.

    ``context_rank`` is rho (default n); ``ones``: whether the vector of ones is in the column space (default rho == n).
    """
    rank = n_context if context_rank is None else context_rank
    check_count(n_examples=n_examples, n_heads=n_heads, n_context=n_context, context_rank=rank)
    if rank > n_context:
        raise ValueError(f"context_rank={rank!r} exceeds n_context={n_context!r}, the number of tokens")
    if rank == n_context and ones is False:
        raise ValueError(f"ones=False contradicts context_rank={rank!r}: a context of full row rank spans every vector")
    inside = rank == n_context if ones is None else ones
    return min(n_examples, n_heads * (rank - 1) + 1 if inside else n_heads * rank)


def distinct_contexts_rank(n_examples: int, n_heads: int, n_context: int, dim: int) -> int:
    r"""Rank of Z for generic contexts, one per example: ``min(T, H d)``, or ``min(T, d)`` if n = 1 (softmax is constant).

    ``dim`` is the dimension of the space that all tokens span.
    """
    check_count(n_examples=n_examples, n_heads=n_heads, n_context=n_context, dim=dim)
    return min(n_examples, dim if n_context == 1 else n_heads * dim)


def constructive_count(n_heads: int, n_context: int, head_dim: int) -> int:
    r"""Examples that the published construction memorises: ``H (r - 1) + 1``, r = min(n, d_h) (Theorem 1).

    A lower bound on the rank for all data whose queries have Kruskal rank at least n and whose contexts have rank n.
    """
    check_count(n_heads=n_heads, n_context=n_context, head_dim=head_dim)
    return n_heads * (min(n_context, head_dim) - 1) + 1


def linear_attention_rank(n_examples: int, n_heads: int, n_context: int, head_dim: int, dim: int) -> int:
    r"""Rank of Z without softmax, ``z_h = E^T E M_h e``, one shared generic context: ``min(T, d, H min(n, d_h, d))``.

    All heads are linear in the query, so they share d dimensions.
    """
    check_count(n_examples=n_examples, n_heads=n_heads, n_context=n_context, head_dim=head_dim, dim=dim)
    return min(n_examples, dim, n_heads * min(n_context, head_dim, dim))


def normalised_linear_rank(n_examples: int, n_heads: int, n_context: int, head_dim: int) -> int:
    r"""Rank of Z for linear weights divided by their sum, one shared context of rank n: ``min(T, H (r - 1) + 1)``.

    Here r = min(n, d_h). Why: the features of head h are ``(c . e) / (b_h . e)`` with c in a space of dimension r that
    contains b_h; different heads have different poles, and c = b_h gives the constant in each.
    """
    check_count(n_examples=n_examples)
    return min(n_examples, constructive_count(n_heads, n_context, head_dim))


def sufficient_head_dim(n_context: int, dim: int) -> int:
    r"""Width from which wider heads add no function, for a shared context of rank n <= d: ``max(1, n - 1)``.

    Why: the head depends on its weights through the logits ``E M e`` only, up to a constant per query. Taking the last
    token's logit away leaves a map of rank at most n - 1, and E of rank n can realise every such map.
    """
    check_count(n_context=n_context, dim=dim)
    if n_context > dim:
        raise ValueError(f"n_context={n_context!r} exceeds dim={dim!r}: such a context cannot have rank n")
    return max(1, n_context - 1)


def frozen_residual(n_examples: int, rank: int, variance: float = 1 / 12) -> float:
    r"""Mean training error of the best readout of frozen features of the given rank, labels iid with this variance.

    .. math:: \mathbb E\,\mathrm{MSE} = \sigma^2 (1 - R / T),

    exact for every T >= R. The labels' mean must be zero, or the vector of ones in the span of the features. Default:
    uniform labels on [0, 1).
    """
    check_count(n_examples=n_examples, rank=rank)
    return variance * max(0.0, 1 - rank / n_examples)


def separable_dichotomies(n_examples: int, rank: int) -> int:
    r"""Number of the 2^T labellings with +-1 that a hyperplane through 0 in R^R separates: ``2 sum_{k<R} C(T - 1, k)``.

    For features in general position (any R of the T independent), whatever they are (Cover 1965).
    """
    check_count(n_examples=n_examples, rank=rank)
    return 2 * sum(comb(n_examples - 1, k) for k in range(min(rank, n_examples)))


def separable_probability(n_examples: int, rank: int) -> Fraction:
    """Share of the labellings that are separable, exact; 1/2 at T = 2 R."""
    return Fraction(separable_dichotomies(n_examples, rank), 2**n_examples)


def equal_queries_residual(first: float, second: float) -> float:
    """Least sum of squares for two examples with the same query and context: ``(y_1 - y_2)^2 / 2``."""
    return (first - second) ** 2 / 2


def pair_seen_probability(n_vectors: int, subset: int, n_subsets: int) -> float:
    r"""Probability that one given pair lies in at least one of k random subsets: ``1 - (1 - s(s-1) / (T(T-1)))^k``.

    It is the chance that testing subsets for independence notices a single collinear pair among T vectors.
    """
    check_count(n_vectors=n_vectors, subset=subset, n_subsets=n_subsets)
    if subset > n_vectors:
        raise ValueError(f"subset={subset!r} exceeds n_vectors={n_vectors!r}")
    return 1 - (1 - subset * (subset - 1) / (n_vectors * (n_vectors - 1))) ** n_subsets


def layer_parameters(dim: int, n_heads: int, head_dim: int, n_out: int, value_dim: int = 1) -> int:
    r"""Parameters of the published experiment's network: embedding, heads, output map, readout.

    .. math:: d^2 + d + 2 H d d_h + 2 H d d_v + d C + C.
    """
    check_count(dim=dim, n_heads=n_heads, head_dim=head_dim, n_out=n_out, value_dim=value_dim)
    return dim**2 + dim + 2 * n_heads * dim * (head_dim + value_dim) + dim * n_out + n_out


def function_dimension(dim: int, n_heads: int, n_context: int, head_dim: int) -> int:
    r"""Dimension of the functions that the published network with one real output computes on a shared context of rank n <= d.

    .. math:: D = H (n - 1)(d + 1) + \min(d, H (n - 1)) + 1, \qquad d_h \ge n - 1.

    Generic real labels of more than D examples cannot be fitted exactly (Sard); D is below the number of parameters. Why: per
    head only the map from the query to differences of logits counts, d (n - 1) numbers, and n - 1 differences of values; the
    embedding's bias adds one vector of R^d that all heads read through the same maps; one constant. A network with n = 1
    computes constants.
    """
    if head_dim < sufficient_head_dim(n_context, dim):
        raise ValueError(
            f"head_dim={head_dim!r} is below n - 1 = {n_context - 1}, for which the dimension is not known here"
        )
    check_count(dim=dim, n_heads=n_heads, n_context=n_context, head_dim=head_dim)
    return n_heads * (n_context - 1) * (dim + 1) + min(dim, n_heads * (n_context - 1)) + 1


def numbers_per_parameter(dim: int, n_heads: int) -> Fraction:
    r"""Real numbers memorised per parameter of the heads at n = d_h = d_v = d_out = d, exact; tends to 1/4.

    .. math:: \frac{d\,(H (d - 1) + 1)}{4 H d^2}.
    """
    return Fraction(dim * constructive_count(n_heads, dim, dim), 4 * n_heads * dim**2)
