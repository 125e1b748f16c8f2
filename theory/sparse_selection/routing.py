r"""Routing by random centroids: how likely a true neighbour ends in the same cluster.

Roy et al. 2021 (arXiv 2003.05997). C random centroids give a query and a key of cosine rho pairs of standard normal scores with
correlation rho; both go to the largest: :math:`P = C \iint \phi_2(x, y; \rho)\, \Phi_2(x, y; \rho)^{C-1}\, dx\, dy`,
1/C at rho = 0. The power law :math:`C^{-(1-\rho)/(1+\rho)}` is its exponent; its prefactor is far from 1.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import stats

from attnlab.theory.checks import check_count


def same_cluster_exact(n_clusters: int, cosine: float, order: int = 160) -> float:
    r"""Probability that query and key have the same nearest of C random centroids, 0 <= cosine < 1, by quadrature.

    .. math:: \Phi_2(x, y; \rho) = \int \phi(z)\, \Phi\Bigl(\tfrac{x - \sqrt\rho z}{\sqrt{1-\rho}}\Bigr)
              \Phi\Bigl(\tfrac{y - \sqrt\rho z}{\sqrt{1-\rho}}\Bigr)\, dz .
    """
    check_count(n_clusters=n_clusters)
    if not 0 <= cosine < 1:
        raise ValueError(f"cosine={cosine!r} must be at least 0 and below 1")
    node, weight = np.polynomial.legendre.leggauss(order)
    x, w = 8 * node, 8 * weight
    below = stats.norm.cdf((x[:, None] - math.sqrt(cosine) * x[None]) / math.sqrt(1 - cosine))
    both = (below * (w * stats.norm.pdf(x))) @ below.T
    square = (x[:, None] ** 2 - 2 * cosine * x[:, None] * x[None] + x[None] ** 2) / (1 - cosine**2)
    density = np.exp(-square / 2) / (2 * math.pi * math.sqrt(1 - cosine**2))
    return float(n_clusters * w @ (density * both ** (n_clusters - 1)) @ w)


def power_law(n_clusters: int, cosine: float) -> float:
    r"""The exponent of the decay in C with prefactor 1, :math:`C^{-(1-\rho)/(1+\rho)}`; not a probability."""
    return n_clusters ** (-(1 - cosine) / (1 + cosine))


def cheapest_clusters(n_tokens: int) -> float:
    """Number of clusters with the fewest multiply-adds of 2 n C d + 2 n^2 d/C: sqrt n."""
    check_count(n_tokens=n_tokens)
    return math.sqrt(n_tokens)


def multiply_adds(sizes: Any, *, causal: bool = False, clusters: int = 2) -> int:
    """Multiply-adds of one call: routing of queries and keys, full attention in clusters of w = ceil(n/C) tokens."""
    route = clusters * (sizes.queries + sizes.n) * sizes.d
    own = clusters * -(-sizes.queries // clusters) * -(-sizes.n // clusters) * (sizes.d + sizes.d_v)
    return sizes.n_heads * (route + own)


def state_numbers(sizes: Any, *, clusters: int = 2) -> int:
    """Numbers per head that a decoder with a given membership keeps: keys, values, centroids."""
    return sizes.n * (sizes.d + sizes.d_v) + clusters * sizes.d
