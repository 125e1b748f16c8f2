r"""What the scores of a head are like on one text: the numbers that theories of attention maps speak of.

Queries and keys (head, token, width) of one text, products of which are the scores S (no mask). Per head:

* *spread*: the root of the mean variance of a row's scores, which is all that softmax sees of them; *pooled*: of all scores;
* *entropy*, *mean_log_weight*, *relative_variance*: of softmax rows, means over rows: H, mean ln P, n sum P^2 - 1;
* *kurtosis*: excess, of scores within their row, 0 if they are normal;
* *log_mean*: per row, ln of the mean of e^s over the keys of the bulk that were not fitted; *mean*, *variance*: the moments of
  each row's scores on the fitted half, :math:`q \cdot \hat\mu` and :math:`q^T \hat\Sigma q`; *local*: ln of the local sum;
* *clusters*: the same from the moments of :data:`N_CLUSTERS` clusters of keys (k-means on the fitted half);
* *top_key*: :math:`n \max_j |P e_j|^2`, HyperAttention's alpha; *rank_error*: relative Frobenius error of the best map of rank
  n/8;
* *key_dimensions*: effective number of directions of the centred keys, :math:`(\sum \lambda)^2 / \sum \lambda^2`.

The bulk is what is neither among the first :data:`N_FIRST` tokens, nor the last, nor within :data:`WINDOW` tokens of the query.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special
from scipy.cluster.vq import kmeans2

N_FIRST = 4
WINDOW = 16
N_CLUSTERS = 4
EVERY = 8  # rows that the decision is taken for: every eighth
RANK_SHARE = 8


@dataclass(frozen=True, eq=False)
class HeadScores:
    """Per head (head,), and per head and chosen row (head, row)."""

    spread: np.ndarray
    pooled: np.ndarray
    entropy: np.ndarray
    mean_log_weight: np.ndarray
    relative_variance: np.ndarray
    kurtosis: np.ndarray
    top_key: np.ndarray
    rank_error: np.ndarray
    key_dimensions: np.ndarray
    largest_key: np.ndarray  # the norm of the longest key
    query_std: np.ndarray  # root mean square of a channel
    key_std: np.ndarray
    log_mean: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    clusters: np.ndarray  # (head, row, cluster, 3): share, mean, variance
    local: np.ndarray
    n_bulk: np.ndarray  # (row,): keys that are summed
    n_fit: np.ndarray


def head_scores(q: np.ndarray, k: np.ndarray, seed: int = 0) -> HeadScores:
    """The numbers of one text. q, k (head, token, width) float64; ``seed`` splits the bulk in halves and starts k-means."""
    n = q.shape[1]
    s = q @ k.swapaxes(-1, -2)  # (head, query, key)
    log_p = special.log_softmax(s, -1)
    p = np.exp(log_p)
    centred = s - s.mean(-1, keepdims=True)
    v = np.square(centred).mean(-1)
    keys = k - k.mean(1, keepdims=True)
    spectrum = np.linalg.eigvalsh(keys.swapaxes(-1, -2) @ keys)
    squares = np.linalg.eigvalsh(p @ p.swapaxes(-1, -2))[:, ::-1]  # of singular values; good to 1e-8 of the largest
    kept = squares[:, : n // RANK_SHARE].sum(-1) / squares.sum(-1)
    rows = np.arange(N_FIRST, n - 1, EVERY)
    return HeadScores(
        np.sqrt(v.mean(-1)),
        s.std((-1, -2)),
        -(p * log_p).sum(-1).mean(-1),
        log_p.mean((-1, -2)),
        (n * np.square(p).sum(-1) - 1).mean(-1),
        (np.mean(centred**4, -1) / v**2).mean(-1) - 3,
        n * np.square(p).sum(1).max(-1),
        np.sqrt(np.maximum(1 - kept, 0.0)),
        spectrum.sum(-1) ** 2 / np.square(spectrum).sum(-1),
        np.sqrt(np.square(k).sum(-1).max(-1)),
        np.sqrt(np.square(q).mean((-1, -2))),
        np.sqrt(np.square(k).mean((-1, -2))),
        *_bulk(q, k, s, rows, np.random.default_rng(seed)),
    )


def _bulk(q: np.ndarray, k: np.ndarray, s: np.ndarray, rows: np.ndarray, rng: np.random.Generator) -> tuple:
    """What a decision knows of the bulk, and what the bulk is."""
    n = k.shape[1]
    at = np.arange(n)
    outside = (at >= N_FIRST) & (at < n - 1)
    half = np.zeros(n, dtype=bool)
    half[rng.permutation(np.flatnonzero(outside))[: outside.sum() // 2]] = True
    near = np.abs(at[None, :] - rows[:, None]) <= WINDOW
    bulk = outside & ~near  # (row, key)
    scores = s[:, rows]
    fit, rest = bulk & half, bulk & ~half
    n_fit, n_rest = fit.sum(-1), rest.sum(-1)
    log_mean = special.logsumexp(np.where(rest, scores, -np.inf), -1) - np.log(n_rest)
    local = special.logsumexp(np.where(~bulk, scores, -np.inf), -1)
    mean = np.where(fit, scores, 0.0).sum(-1) / n_fit
    variance = np.where(fit, (scores - mean[..., None]) ** 2, 0.0).sum(-1) / (n_fit - 1)
    clusters = np.zeros((*mean.shape, N_CLUSTERS, 3))
    for head, keys in enumerate(k):
        _, label = kmeans2(keys, N_CLUSTERS, minit="++", rng=rng, missing="warn")
        for c in range(N_CLUSTERS):
            mine = fit & (label == c)
            count = mine.sum(-1)
            m = np.where(mine, scores[head], 0.0).sum(-1) / np.maximum(count, 1)
            v = np.where(mine, (scores[head] - m[:, None]) ** 2, 0.0).sum(-1) / np.maximum(count - 1, 1)
            clusters[head, :, c] = np.stack([count / n_fit, m, v], -1)
    return log_mean, mean, variance, clusters, local, n_rest, n_fit
