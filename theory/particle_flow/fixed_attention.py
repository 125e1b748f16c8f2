r"""Splitting errors where attention is fixed: a linear system whose commutators are written out.

With a row-stochastic P (n x n) in place of the softmax, F(X) = P X V and G(X) = X C are linear maps of X; the error terms
of Lu et al. (arXiv 1906.02762, appendix) are then commutators of d x d matrices. Shapes: P (..., n, n), V and C (..., d, d),
X (..., n, d).
"""

import numpy as np


def lie_trotter_term(P: np.ndarray, V: np.ndarray, C: np.ndarray, X: np.ndarray) -> np.ndarray:
    r"""Leading local error of "F first, then G" with exact sub-flows, divided by gamma^2, shape of X.

    .. math:: \tfrac12 (F'G - G'F) = \tfrac12 P X [C, V], \qquad [C, V] = C V - V C

    Zero if V and C commute; then the scheme is exact.
    """
    return P @ X @ _commutator(C, V) / 2


def strang_term(P: np.ndarray, V: np.ndarray, C: np.ndarray, X: np.ndarray) -> np.ndarray:
    r"""Leading local error of G/2, F, G/2 with exact sub-flows, divided by gamma^3, shape of X.

    .. math:: \Bigl(\tfrac1{24} [B, [B, A]] + \tfrac1{12} [A, [B, A]]\Bigr) X
              = \tfrac1{24} P X [K, C] + \tfrac1{12} P^2 X [K, V], \qquad K = [V, C],

    A and B the maps F and G of X. Why: B A X - A B X = P X V C - P X C V = P X K, and once more with B or A.
    """
    K = _commutator(V, C)
    return P @ X @ _commutator(K, C) / 24 + P @ P @ X @ _commutator(K, V) / 12


def _commutator(A: np.ndarray, B: np.ndarray) -> np.ndarray:
    return A @ B - B @ A
