r"""Statistics over prompts, for all heads at once: intervals, tests, the strength that would have been found.

The prompt is the unit of replication: rows of one map share its columns, so they are no replicas (permuting rows of one map finds
a sink in 22 % of maps without one, at a level of 5 %). Axis 0 of every argument ``values`` is the prompt.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from scipy import special

ROUNDING = 16 * 2.0**-23
"""What a mean of float32 numbers may be off by, relative to them: 16 eps, the square root of 256 terms."""

POWER = 0.8
"""The chance with which a strength "would have been found"."""


def needs_prompts(n: int) -> None:
    """``ValueError`` for fewer than two prompts: one prompt has no interval."""
    if n < 2:
        raise ValueError(
            f"{n} prompt has no interval: the unit of replication is the prompt; give at least 2, better 8"
        )


def interval(values: np.ndarray, confidence: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    r"""Student's interval of the mean over prompts, :math:`\bar x \pm t_{N-1}\, s/\sqrt N`, for every entry; exact if normal."""
    needs_prompts(len(values))
    centre, error = values.mean(0), _error_of_mean(values)
    half = -float(special.stdtrit(len(values) - 1, (1 - confidence) / 2)) * error
    return centre - half, centre + half


def p_above(values: np.ndarray, null: float | np.ndarray = 0.0) -> np.ndarray:
    """One-sided p of Student's test that the mean over prompts is at most ``null``.

    Without spread over prompts the answer is 1 at or below the null and 0 above it by more than rounding: :data:`ROUNDING` of
    the numbers, since models compute in float32 whatever the readings are kept in.
    """
    needs_prompts(len(values))
    gap, error = values.mean(0) - null, _error_of_mean(values)
    rounding = ROUNDING * (np.abs(values).max(0) + np.abs(null))
    sharp = error <= rounding
    tested = special.stdtr(len(values) - 1, -gap / np.where(sharp, 1.0, error))
    return np.where(sharp, np.where(gap > rounding, 0.0, 1.0), tested)


def detectable(sd: float | np.ndarray, n: int, alpha: float = 0.05, power: float = POWER) -> np.ndarray:
    r"""How far above its null a mean must lie to be found with probability ``power`` by :func:`p_above` at level ``alpha``.

    .. math:: \delta\, \mathrm{sd}/\sqrt n, \qquad P(t_{n-1}(\delta) > t_{n-1, 1-\alpha}) = \text{power},

    the noncentral t law; for large n it is :math:`(z_\alpha + z_\beta)\,\mathrm{sd}/\sqrt n`.
    """
    needs_prompts(n)
    critical = -special.stdtrit(n - 1, alpha)
    return np.asarray(special.nctdtrinc(n - 1, 1 - power, critical) * np.asarray(sd) / math.sqrt(n))


def needed(sd: float, difference: float, alpha: float = 0.05, power: float = POWER) -> int:
    """The smallest number of prompts at which :func:`detectable` is at most ``difference``."""
    if not difference > 0:
        raise ValueError(f"difference must be positive, got {difference!r}")
    if not sd > 0:
        return 2
    n = 2
    while detectable(sd, n, alpha, power) > difference:
        n = n + 1 if n < 64 else int(1.05 * n)
        if n > 1_000_000:
            break
    return n


def rank_p(ranks: np.ndarray, counts: np.ndarray) -> np.ndarray:
    r"""Exact one-sided p of a sum over prompts of ranks that are uniform under the null.

    ``ranks`` (prompt, ...): how many of the other columns lie below, ties counting half, 0 to ``counts[prompt] - 1``.

    .. math:: P\Bigl(\sum_p U_p \ge \sum_p r_p\Bigr), \qquad U_p \text{ uniform on } 0, \dots, m_p - 1,

    by convolution: nothing is assumed but that columns are exchangeable within a prompt. Ties make it conservative.
    """
    tail = _tail(tuple(int(count) for count in counts))
    floor = np.floor(ranks.sum(0) + 1e-9).astype(int)  # a half is counted downwards: P(U >= floor) is the larger
    return tail[np.clip(floor, 0, len(tail) - 1)]


@functools.lru_cache(maxsize=256)
def _tail(counts: tuple[int, ...]) -> np.ndarray:
    law = np.ones(1)
    for count in counts:
        law = np.convolve(law, np.full(count, 1 / count))
    return np.minimum(np.cumsum(law[::-1])[::-1], 1.0)


def holm(p: np.ndarray) -> np.ndarray:
    r"""Holm's adjusted p values, of the same shape: at most ``alpha`` where a hypothesis falls at family-wise error alpha.

    .. math:: \tilde p_{(i)} = \max_{j \le i} \min\bigl(1, (m - j + 1)\, p_{(j)}\bigr).

    Valid however the tests depend on each other.
    """
    flat = np.asarray(p, dtype=np.float64).ravel()
    order = np.argsort(flat, kind="stable")
    adjusted = np.maximum.accumulate(np.minimum(1.0, flat[order] * (flat.size - np.arange(flat.size))))
    found = np.empty_like(flat)
    found[order] = adjusted
    return found.reshape(np.shape(p))


def ratio_interval(
    numerator: np.ndarray, denominator: np.ndarray, confidence: float = 0.95
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    r"""Ratio of means over pairs and Fieller's interval: the rho for which the mean of ``numerator - rho denominator`` may be 0.

    .. math:: (\bar y - \rho \bar x)^2 \le t^2\, (s_y^2 - 2\rho s_{xy} + \rho^2 s_x^2) / n.

    Axis 0 is the pair; ``denominator`` (pair,) is shared by all entries. Refused (``ValueError``) where the denominator's own
    interval contains 0: then any ratio is possible. A mean of ratios has no such guard (sd 127 where this one has .029).
    """
    n = len(numerator)
    needs_prompts(n)
    low, high = interval(denominator, confidence)
    if low <= 0 <= high:
        raise ValueError(
            f"the mean denominator may be 0 ([{low:.3g}, {high:.3g}] over {n} pairs): the corruption must change the metric; "
            "corrupt more, or give more pairs"
        )
    t2 = float(special.stdtrit(n - 1, (1 - confidence) / 2)) ** 2
    y, x = numerator.mean(0), float(denominator.mean())
    centred = denominator - x
    v_x = float(centred @ centred) / (n - 1) / n
    off = numerator - y
    v_y = (off**2).sum(0) / (n - 1) / n
    v_xy = np.tensordot(centred, off, 1) / (n - 1) / n
    a, b, c = x**2 - t2 * v_x, x * y - t2 * v_xy, y**2 - t2 * v_y
    half = np.sqrt(np.maximum(b**2 - a * c, 0.0))
    return y / x, (b - half) / a, (b + half) / a


def _error_of_mean(values: np.ndarray) -> np.ndarray:
    return values.std(0, ddof=1) / math.sqrt(len(values))
