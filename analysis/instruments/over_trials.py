r"""Shares of right answers: exact tests against chance, exact intervals, and the share that would have been found.

Where a prompt gives one right or wrong answer, Student's law is a poor guide near 0 and 1, and exact ones cost nothing. Axis 0
of ``right`` is the prompt.
"""

from __future__ import annotations

import functools

import numpy as np
from scipy import special

from attnlab.analysis.instruments.instrument import Reading
from attnlab.analysis.instruments.over_prompts import POWER


def share_of(right: np.ndarray, axes: tuple[str, ...], assumptions: str, chance: float, unit: str = "") -> Reading:
    r"""The share of right answers, ``right`` (prompt, ...) bool, tested against ``chance`` from above.

    p is :math:`P(B(n, \text{chance}) \ge k)`, exact and conservative; the interval is Clopper and Pearson's, 95 %. Errors:
    ``ValueError`` for no prompt and for a chance outside (0, 1).
    """
    n = len(right)
    if n < 1 or not 0 < chance < 1:
        raise ValueError(f"a share needs at least one prompt and a chance inside (0, 1), got {n} and {chance!r}")
    k = np.asarray(right.sum(0), dtype=np.float64)
    p = np.where(k > 0, special.bdtrc(np.maximum(k, 1) - 1, n, chance), 1.0)
    low = np.where(k > 0, special.betaincinv(np.maximum(k, 1), n - k + 1, 0.025), 0.0)
    high = np.where(k < n, special.betaincinv(k + 1, np.maximum(n - k, 1), 0.975), 1.0)
    null, sd = np.full(k.shape, chance), np.full(k.shape, (chance * (1 - chance) / n) ** 0.5)
    limit = np.full(k.shape, detectable_share(n, chance))
    return Reading(k / n, unit, axes, low, high, null, sd, p, n, limit, assumptions, right.astype(np.float64))


@functools.lru_cache(maxsize=256)
def detectable_share(n: int, chance: float, alpha: float = 0.05, power: float = POWER) -> float:
    r"""The share that :func:`share_of` finds with probability ``power``: :math:`P(B(n, q) \ge k_\alpha) = \text{power}`.

    :math:`k_\alpha` is the smallest count with :math:`P(B(n, \text{chance}) \ge k_\alpha) \le \alpha`; 1 where there is none.
    """
    counts = np.arange(1, n + 1)
    falls = special.bdtrc(counts - 1, n, chance) <= alpha
    if not falls.any():
        return 1.0
    k = int(counts[falls.argmax()])
    return float(special.betaincinv(k, n - k + 1, power))
