r"""Structures without cycles: every token has one parent or is a root, and following parents ends at a root.

The diagonal of the scores is the score of being a root; with a virtual root these are the spanning trees of n + 1 nodes.
Koo, Globerson, Carreras and Collins 2007 (EMNLP) for the marginals.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def tree_marginals(scores: ArrayLike) -> np.ndarray:
    r"""Probability that j is the parent of i, and on the diagonal that i is a root.

    .. math:: P_{ij} = w_{ij} (L^{-1}_{ii} - L^{-1}_{ji}), \quad P_{ii} = w_{ii} L^{-1}_{ii}, \qquad
              L_{ii} = \sum_j w_{ij}, \quad L_{ij} = -w_{ij}

    with :math:`w = e^S`; :math:`\det L` is the sum over all structures (matrix-tree theorem), and
    :math:`P = \partial \ln \det L / \partial S`. Rows sum to 1.
    """
    S = np.asarray(scores, dtype=np.float64)
    if S.ndim != 2 or S.shape[0] != S.shape[1]:
        raise ValueError(f"scores of shape {S.shape} must be a square matrix, its diagonal the scores of roots")
    w = np.exp(S - S.max(1, keepdims=True))  # a factor on a row changes no marginal
    laplacian = np.diag(w.sum(1)) - w + np.diag(np.diag(w))
    inverse = np.linalg.inv(laplacian)
    return w * (np.diag(inverse)[:, None] - inverse.T * (1 - np.eye(len(w))))
