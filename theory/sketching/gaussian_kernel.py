r"""The Gaussian kernel of tied queries and keys: its bias against softmax, how its norm grows, the gradient of an inverse.

:math:`S_{ij} = e^{-|q_i - q_j|^2 / (2 \sqrt d)}`. Lu et al. 2021 (arXiv 2110.11945) for the operator.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from attnlab.theory.checks import check_count, check_positive


def equivalent_scores(queries: ArrayLike, keys: ArrayLike) -> np.ndarray:
    r"""Scores whose softmax is the row-normalised kernel: :math:`q \cdot k/\sqrt d - |k|^2/(2 \sqrt d)`, shape (n_q, n).

    The query's own length cancels in the row sum; the key's does not: long keys are seen less than by softmax.
    """
    q, k = np.asarray(queries, dtype=np.float64), np.asarray(keys, dtype=np.float64)
    root = math.sqrt(q.shape[-1])
    return np.asarray((q @ k.T - (k**2).sum(-1) / 2) / root)


def norm_share_limit(dim: int, token_std: float) -> float:
    r"""Limit of :math:`\|S\|_2 / n` for Gaussian tokens of standard deviation sigma in every coordinate, n -> infinity.

    .. math:: \Bigl(\frac{2 a}{a + b + c}\Bigr)^{d/2}, \qquad
              a = \frac1{4 \sigma^2},\ b = \frac1{2 \sqrt d},\ c = \sqrt{a^2 + 2 a b}

    The largest eigenvalue of the kernel as an operator on functions under the law of the tokens, a product over coordinates
    (Rasmussen and Williams 2006, equation 4.41). So the norm grows linearly with n, and most for concentrated tokens.
    """
    check_count(dim=dim)
    check_positive(token_std=token_std)
    a, b = 1 / (4 * token_std**2), 1 / (2 * math.sqrt(dim))
    return (2 * a / (a + b + math.sqrt(a * a + 2 * a * b))) ** (dim / 2)


def inverse_gradient_exact(inverse: ArrayLike, gradient: ArrayLike) -> np.ndarray:
    r"""Gradient with respect to A of a loss whose gradient with respect to Y = A^{-1} is G: :math:`-Y^\top G\, Y^\top`."""
    Y, G = np.asarray(inverse, dtype=np.float64), np.asarray(gradient, dtype=np.float64)
    return np.asarray(-Y.T @ G @ Y.T)


def nystrom_trace_bound(kernel: ArrayLike, n_landmarks: int) -> float:
    r"""Least trace that any approximation of rank m leaves: the sum of the eigenvalues of S after the m-th (Eckart and Young)."""
    check_count(n_landmarks=n_landmarks)
    values = np.sort(np.linalg.eigvalsh(np.asarray(kernel, dtype=np.float64)))[::-1]
    return float(values[n_landmarks:].sum())
