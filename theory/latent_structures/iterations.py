r"""Attention that is iterated: modern Hopfield retrieval and slots, as steps that climb a bound.

:math:`F(q) = |q|^2 / 2 - \tfrac1\beta \ln \sum_j e^{\beta k_j \cdot q}`, and a step is :math:`q' = K^\top
\mathrm{softmax}(\beta K q)`.
Slots: :math:`r_{ij} = \mathrm{softmax}_j(x_i \cdot s_j / \sigma^2)` over slots, then :math:`s_j = \sum_i r_{ij} x_i / \sum_i
r_{ij}`.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import optimize, special

from attnlab.theory.checks import check_count, check_positive


def descent_per_squared_step_bound() -> float:
    r"""A retrieval step lowers F by at least this times :math:`|q' - q|^2`: one half.

    Why: the second term of F is concave; below its tangent at q, F is at most a parabola of curvature 1 whose minimum is q'.
    Approached where the softmax is saturated, so no larger constant is true.
    """
    return 0.5


def likelihood_per_squared_step_bound(noise_std: float) -> float:
    r"""An EM step raises the log likelihood by at least this times :math:`\sum_j n_j |s_j' - s_j|^2`: :math:`1 / 2 \sigma^2`.

    :math:`n_j = \sum_i r_{ij}`, and responsibilities carry the norms, :math:`\mathrm{softmax}_j((x_i \cdot s_j - |s_j|^2 /
    2) / \sigma^2)`.
    Why: the bound that the M step maximises is a parabola in every slot, and it touches the likelihood at the old slots.
    """
    check_positive(noise_std=noise_std)
    return 0.5 / noise_std**2


def antipodal_fixed_point(gain: float) -> float:
    r"""Overlap m > 0 with :math:`m = \tanh(b m)`, 0 for b <= 1: retrieval between two keys k and -k, :math:`b = \beta |k|^2`."""
    check_positive(gain=gain)
    if gain <= 1:
        return 0.0
    return float(optimize.brentq(lambda m: math.tanh(gain * m) - m, math.sqrt(1 - 1 / gain) * 0.5, 1.0, xtol=1e-16))


def antipodal_rate(gain: float) -> float:
    r"""Factor per step by which the distance to the fixed point shrinks: :math:`b (1 - m^2)`, b below 1, 1 at b = 1."""
    return gain * (1 - antipodal_fixed_point(gain) ** 2)


def critical_overlap_approx(n_steps: int, start: float) -> float:
    r"""Overlap after t steps at b = 1: :math:`m_t^{-2} = m_0^{-2} + 2 t / 3`, so :math:`m_t \approx \sqrt{3 / 2 t}`.

    The next term of :math:`m_t^{-2}` is :math:`\tfrac1{10} \ln (1 + 2 t m_0^2 / 3)`. Why:
    :math:`\tanh(m)^{-2} = m^{-2} + 2/3 + m^2/15 + \dots`
    """
    check_count(n_steps=n_steps)
    check_positive(start=start)
    return (start**-2 + 2 * n_steps / 3) ** -0.5


def two_cluster_slots(low: float, high: float, noise_std: float, norms: bool) -> tuple[float, float]:
    r"""One step of slots that start at the two places of the data, half at ``low``, half at ``high`` (one coordinate).

    Without norms (``norms=False``) responsibilities are softmax over slots of :math:`x s / \sigma^2`, and the slot of the
    larger norm
    takes the other's data too; with them, :math:`-s^2 / 2 \sigma^2` is added and slots stay where clusters are apart.
    """
    check_positive(noise_std=noise_std)
    apart = (high - low) / noise_std**2
    half = (high + low) / 2 if norms else 0.0
    at_low, at_high = (
        float(special.expit(apart * (x - half))) for x in (low, high)
    )  # the share that the slot at high takes
    lower = ((1 - at_low) * low + (1 - at_high) * high) / (2 - at_low - at_high)
    return lower, (at_low * low + at_high * high) / (at_low + at_high)


def two_slot_log_likelihood(slots: tuple[float, float], low: float, high: float, noise_std: float) -> float:
    r"""Mean log likelihood per point of those data under :math:`\tfrac12 N(s_1, \sigma^2) + \tfrac12 N(s_2, \sigma^2)`."""
    check_positive(noise_std=noise_std)
    logits = -np.square(np.subtract.outer([low, high], slots)) / (2 * noise_std**2)  # (point, slot)
    log = np.logaddexp(logits[:, 0], logits[:, 1])
    return float(np.mean(log)) - math.log(2) - math.log(noise_std * math.sqrt(2 * math.pi))
