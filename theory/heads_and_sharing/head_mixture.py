r"""Mixtures of heads: energy kept by the best heads, the balance loss, and what is and is not saved.

Jin et al. 2024 (arXiv 2410.11842) for the operator; the laws are derived.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from attnlab.theory.checks import check_count, check_share, check_standard_deviation
from attnlab.theory.costs.token_projections import head_projections
from attnlab.theory.costs.visible import token_attention


def kept_energy(share: float, log_norm_std: float) -> float:
    r"""Limit of the energy in the share ``share`` of heads of largest norm, norms log-normal: :math:`\Phi(2 s_g - t)`.

    :math:`t = \Phi^{-1}(1 - K/H_r)`. Weighting by the squared norm moves the mean of the log-norm by 2 s_g^2. Equal norms keep
    just their share; "half of the heads suffice" needs s_g of about .5 or more.
    """
    check_share(share=share)
    check_standard_deviation(log_norm_std=log_norm_std)
    if share in (0.0, 1.0):
        return share
    normal = NormalDist()
    return normal.cdf(2 * log_norm_std - normal.inv_cdf(1 - share))


def balance_loss(shares: ArrayLike, used: ArrayLike) -> float:
    r"""The loss :math:`H_r^2\, \overline{\bar u_h \cdot \bar 1_h}`, shares u and use 1[kept], both (token, head).

    The average over heads of products of averages over tokens. It is K for uniform use and H_r when all tokens use the same K
    heads with shares 1/K: report loss minus K.
    """
    u, kept = (np.asarray(x, dtype=np.float64) for x in (shares, used))
    H = u.shape[-1]
    return float(H**2 * (u.mean(0) * kept.mean(0)).mean())


def cache_needed(share: float, queries_per_key: int) -> float:
    r"""Share of the cached heads that a step reads, m heads sharing keys and used independently: :math:`1 - (1 - K/H_r)^m`."""
    check_share(share=share)
    check_count(queries_per_key=queries_per_key)
    return 1 - (1 - share) ** queries_per_key


def cache_needed_exact(n_active: int, n_routed: int, queries_per_key: int) -> float:
    r"""The same for a router that uses exactly K of H_r heads, every set as likely.

    .. math:: 1 - \binom{H_r - m}{K} \Big/ \binom{H_r}{K} .

    Above ``cache_needed``, its limit of many heads: an unused head leaves more uses for the others.
    """
    check_count(n_active=n_active, n_routed=n_routed, queries_per_key=queries_per_key)
    if max(n_active, queries_per_key) > n_routed:
        raise ValueError(
            f"n_active={n_active!r} and queries_per_key={queries_per_key!r} must be at most n_routed={n_routed!r}"
        )
    return 1 - math.comb(n_routed - queries_per_key, n_active) / math.comb(n_routed, n_active)


def published_share(n_shared: int, n_active: int, n_heads: int) -> float:
    """Share of scores and outputs that a gathered implementation computes, (H_s + K)/H; projections and cache are not reduced."""
    check_count(n_heads=n_heads)
    return (n_shared + n_active) / n_heads


def multiply_adds(sizes: Any, *, causal: bool = False, n_active: int = 2) -> int:
    """Multiply-adds of one call: projections, three routers n D (H + 2), attention of all heads on visible pairs."""
    routers = sizes.n * sizes.d_model * (sizes.n_heads + 2)
    return head_projections(sizes) + routers + token_attention(sizes, causal)
