r"""Marginals of edges when every query chooses its parents by itself: one, none or one, any, exactly r.

A structure phi is a set of edges (i, j), "query i attends to key j". Its posterior is proportional to its prior times
:math:`\prod_{(i,j) \in \phi} e^{S_{ij}}`. Singh and Buckley 2023 (arXiv 2304.04556) for one parent; the others are standard.
Arrays of scores are (query, key), with any axes in front.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, special

from attnlab.theory.checks import check_count, check_positive


def one_parent_marginals(scores: ArrayLike, log_prior: ArrayLike = 0.0) -> np.ndarray:
    r"""Exactly one parent of prior probability :math:`\pi_{ij}`: :math:`\pi_{ij} e^{S_{ij}} / \sum_l \pi_{il} e^{S_{il}}`.

    Softmax attention, with the log prior as its bias; -inf is a mask.
    """
    return special.softmax(np.asarray(scores, dtype=np.float64) + np.asarray(log_prior, dtype=np.float64), axis=-1)


def null_parent_marginals(scores: ArrayLike, null_logit: float) -> np.ndarray:
    r"""At most one parent, none with logit b: :math:`e^{S_{ij}} / (e^b + \sum_l e^{S_{il}})`, softmax with a sink."""
    S = np.asarray(scores, dtype=np.float64)
    sink = np.full((*S.shape[:-1], 1), float(null_logit))
    return special.softmax(np.concatenate([S, sink], axis=-1), axis=-1)[..., :-1]


def independent_edge_marginals(scores: ArrayLike, prior_odds: float = 1.0) -> np.ndarray:
    r"""Every edge by itself with prior odds o: :math:`1 / (1 + e^{-S_{ij}} / o)`, sigmoid attention."""
    check_positive(prior_odds=prior_odds)
    return special.expit(np.asarray(scores, dtype=np.float64) + np.log(prior_odds))


def subset_marginals(scores: ArrayLike, n_parents: int) -> np.ndarray:
    r"""Exactly r parents: :math:`e^{S_j} e_{r-1}(w_{-j}) / e_r(w)`, :math:`w_j = e^{S_j}`, rows sum to r.

    e_r is the elementary symmetric polynomial, and :math:`w_{-j}` are the weights without key j.
    """
    S = _rows(scores, n_parents)
    n = S.shape[-1]
    w = np.exp(S - S.max(-1, keepdims=True))
    without = np.where(np.eye(n, dtype=bool), 0.0, w[..., None, :])  # (..., j, key): weights with that of j left out
    return w * _symmetric(without, n_parents - 1) / _symmetric(w, n_parents)[..., None]


def subset_pair_marginals(scores: ArrayLike, n_parents: int) -> np.ndarray:
    r"""Both j and k among r parents: :math:`w_j w_k e_{r-2}(w_{-jk}) / e_r(w)`; the diagonal holds the marginals.

    Shape (..., query, key, key).
    """
    S = _rows(scores, n_parents)
    n = S.shape[-1]
    pairs = np.zeros((*S.shape, n))
    if n_parents >= 2:
        w = np.exp(S - S.max(-1, keepdims=True))
        out = np.eye(n, dtype=bool)
        without = np.where(out[:, None, :] | out[None, :, :], 0.0, w[..., None, None, :])
        pairs = w[..., :, None] * w[..., None, :] * _symmetric(without, n_parents - 2)
        pairs = pairs / _symmetric(w, n_parents)[..., None, None]
    pairs[..., np.arange(n), np.arange(n)] = subset_marginals(S, n_parents)
    return pairs


def threshold_marginals(scores: ArrayLike, n_parents: float) -> np.ndarray:
    r"""Sigmoid attention whose threshold makes a row sum to r: :math:`p_j = \sigma(S_j - \mu)`, :math:`\sum_j p_j = r`; one
    row."""
    S = np.asarray(scores, dtype=np.float64)
    if not 0 < n_parents < S.size:
        raise ValueError(f"n_parents={n_parents!r} must lie between 0 and the number of keys, {S.size}")
    reach = 40.0 + np.log(S.size)
    mu = optimize.brentq(lambda x: special.expit(S - x).sum() - n_parents, S.min() - reach, S.max() + reach, xtol=1e-14)
    return special.expit(S - mu)


def subset_marginals_approx(scores: ArrayLike, n_parents: int) -> np.ndarray:
    r"""Exactly r parents of one row to first order in 1 / V.

    .. math:: P_j \approx p_j + p_j (1 - p_j) \Big( \frac{2 p_j - 1}{2 V} + \frac{\kappa_3}{2 V^2} \Big), \qquad
              V = \sum p (1 - p), \quad \kappa_3 = \sum p (1 - p)(1 - 2 p)

    with p the :func:`threshold_marginals`. The corrections sum to 0.

    Why: :math:`P_j = p_j \Pr(N_{-j} = r - 1) / \Pr(N = r)` for the number N of independent parents, and Edgeworth's
    expansion of the two probabilities around the mean r.
    """
    p = threshold_marginals(scores, n_parents)
    variance = np.sum(p * (1 - p))
    third = np.sum(p * (1 - p) * (1 - 2 * p))
    return p + p * (1 - p) * ((2 * p - 1) / (2 * variance) + third / (2 * variance**2))


def variance_of_a_draw(marginals: ArrayLike, values: ArrayLike) -> np.ndarray:
    r"""Mean squared distance of one sampled parent's value from attention: :math:`\sum_j P_j |v_j|^2 - |\sum_j P_j v_j|^2`.

    ``marginals`` (..., query, key) with rows that sum to one, ``values`` (..., key, value); one number per query.
    """
    P, v = np.asarray(marginals, dtype=np.float64), np.asarray(values, dtype=np.float64)
    return (P @ np.square(v).sum(-1, keepdims=True))[..., 0] - np.square(P @ v).sum(-1)


def _symmetric(w: np.ndarray, order: int) -> np.ndarray:
    """Elementary symmetric polynomial of the last axis."""
    e = [np.ones(w.shape[:-1])] + [np.zeros(w.shape[:-1]) for _ in range(order)]
    for k in range(w.shape[-1]):
        for r in range(order, 0, -1):
            e[r] = e[r] + w[..., k] * e[r - 1]
    return e[order]


def _rows(scores: ArrayLike, n_parents: int) -> np.ndarray:
    S = np.asarray(scores, dtype=np.float64)
    check_count(n_parents=n_parents)
    if S.ndim < 1 or n_parents > S.shape[-1]:
        raise ValueError(f"n_parents={n_parents!r} must be at most the number of keys, scores have shape {S.shape}")
    return S
