r"""What it costs one bilinear score to be sharp for one query and flat for another, and how a weight is diluted by length.

Selective self-attention multiplies logits by an inverse temperature
:math:`\tau_q(x) = \tanh f(x) + 1 + \sigma(a) \log n` that depends on the
query. The closed forms are derived here; the paper's own constants could not be looked up.
"""

from __future__ import annotations

import math

from attnlab.theory.checks import check_count, check_positive


def least_norm(gap_a: float, gap_b: float, contrast: float, angle: float) -> float:
    r"""Least Frobenius norm of W with :math:`\Delta^T W q_a = G_a` and :math:`\Delta^T W q_b = G_b`, unit queries at an angle t.

    .. math:: \|W\|_F = \frac{\sqrt{G_a^2 + G_b^2 - 2 G_a G_b \cos t}}{\|\Delta\| \sin t}

    ``contrast`` is the norm of the keys' difference :math:`\Delta`. Why: the least W is :math:`\Delta (a q_a + b q_b)^T`, and its
    norm is that of the least vector with two given inner products.
    """
    check_positive(contrast=contrast, angle=angle)
    if not angle < math.pi:
        raise ValueError(f"angle={angle!r} must lie below pi: opposite queries have opposite gaps")
    return math.sqrt(gap_a**2 + gap_b**2 - 2 * gap_a * gap_b * math.cos(angle)) / (contrast * math.sin(angle))


def least_norm_with_temperature(gap: float, contrast: float, inverse_temperature: float = 1.0) -> float:
    r"""The same for :math:`G_b = 0` if queries have temperatures of their own: :math:`G_a / (\tau_a \|\Delta\|)`, at any angle.

    Query b is made flat by :math:`\tau_b = 0`. The advantage over :func:`least_norm` is a factor :math:`1 / \sin t`.
    """
    check_positive(contrast=contrast, inverse_temperature=inverse_temperature)
    return gap / (inverse_temperature * contrast)


def gap_for_weight(weight: float, n_keys: int) -> float:
    r"""The logit gap to all others at which one key of L has a weight p: :math:`\log\big((L - 1)\, p / (1 - p)\big)`."""
    check_count(at_least=2, n_keys=n_keys)
    if not 0 < weight < 1:
        raise ValueError(f"weight={weight!r} must lie strictly between 0 and 1")
    return math.log((n_keys - 1) * weight / (1 - weight))


def weight_of_gap(gap: float, n_keys: int, inverse_temperature: float = 1.0) -> float:
    r"""The weight of one key whose logit lies g above L - 1 equal others: :math:`e^{\tau g} / (e^{\tau g} + L - 1)`."""
    check_count(at_least=2, n_keys=n_keys)
    return 1 / (1 + (n_keys - 1) * math.exp(-inverse_temperature * gap))


def temperature_for_weight(weight: float, gap: float, n_keys: int) -> float:
    r"""The inverse temperature that keeps a weight as the length grows: :func:`gap_for_weight` over g.

    It is linear in log L with slope 1/g: the positional term :math:`1 + \sigma(a) \log n` follows it with
    :math:`\sigma(a) = 1/g`.
    """
    check_positive(gap=gap)
    return gap_for_weight(weight, n_keys) / gap


def top_weight_of_a_power_law(n_keys: int, inverse_temperature: float) -> float:
    r"""Weight of the first key if the logit of rank r is :math:`-\log r`: :math:`1 / \sum_{r \le L} r^{-\tau}`.

    For long rows :math:`1 / \zeta(\tau)` above tau = 1, :math:`1 / \log L` at it, :math:`(1 - \tau) L^{\tau - 1}`
    below. Cost: O(L).
    """
    check_count(n_keys=n_keys)
    return 1 / math.fsum(r**-inverse_temperature for r in range(1, n_keys + 1))
