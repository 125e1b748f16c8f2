r"""Attention to several sources: how far the hierarchical combination is from one softmax over all, and the cost.

Libovicky and Helcl 2017 (arXiv 1704.06567) for the operator; the laws are derived.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from attnlab.theory.checks import check_count
from attnlab.theory.costs.visible import plain_attention


def distance_to_flat(outer_weight: float, log_masses: Sequence[float], contexts: ArrayLike) -> float:
    r"""Distance of the hierarchical output of two sources from the flat one, exact.

    .. math:: |y_{\rm hier} - y_{\rm flat}| = |\beta_1 - \pi_1|\; |c_1 - c_2|, \qquad \pi_1 = Z_1 / (Z_1 + Z_2) .

    ``outer_weight`` beta_1, ``log_masses`` (ln Z_1, ln Z_2), ``contexts`` (2, d_v). Zero exactly where the outer logits are the
    log-normalisers of the sources.
    """
    first, second = np.asarray(contexts, dtype=np.float64)
    share = 1 / (1 + math.exp(log_masses[1] - log_masses[0]))
    return abs(outer_weight - share) * float(np.linalg.norm(first - second))


def needle_mass(margin: float, n_own: int, n_other: int, outer_weight: float | None = None) -> float:
    r"""Weight of a needle of logit ``margin`` among keys of logit 0, in a source of ``n_own`` keys beside ``n_other`` keys.

    Flat (``outer_weight=None``): :math:`e^m / (e^m + n_1 + n_2 - 1)`. Hierarchical: :math:`\beta\, e^m / (e^m + n_1 - 1)`,
    whatever the length of the other source.
    """
    check_count(n_own=n_own, n_other=n_other)
    if outer_weight is None:
        return 1 / (1 + (n_own + n_other - 1) * math.exp(-margin))
    return outer_weight / (1 + (n_own - 1) * math.exp(-margin))


def multiply_adds(
    sizes: Any, *, causal: bool = False, n_sources: int = 2, outer: str = "learned", hidden: int = 8
) -> int:
    """Multiply-adds of one call for all heads: plain attention, and K n_q h (d + d_v + 1) for learned outer logits."""
    learned = sizes.n_heads * n_sources * sizes.queries * hidden * (sizes.d + sizes.d_v + 1)
    return plain_attention(sizes, False) + (learned if outer == "learned" else 0)
