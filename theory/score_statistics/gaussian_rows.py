r"""Softmax rows over L independent Gaussian scores of standard deviation s, with the first correction in 1/L.

Every statistic of the row is a function of the averages A, B and C of :math:`e^{z}`, :math:`e^{2 z}` and :math:`z e^{z}` over the
keys, and the delta method gives its mean to order 1/L from

.. math:: \frac{\mathrm{Var}\,A}{A^2} = \frac{e^{s^2} - 1}{L}, \quad
          \frac{\mathrm{Cov}(A, B)}{A B} = \frac{e^{2 s^2} - 1}{L}, \quad
          \frac{\mathrm{Var}\,B}{B^2} = \frac{e^{4 s^2} - 1}{L}, \quad
          \frac{\mathrm{Cov}(A, C)}{A^2} = \frac{2 s^2 e^{s^2} - s^2}{L}.

An inverse temperature tau multiplies s. Valid while these ratios are small (:func:`expansion_error`); from
:math:`s = \sqrt{2 \log L}` on
one score carries the row, and no average describes it. The leading orders go with selective self-attention (its measure of
spikiness, temperatures that grow like log L); the corrections are derived here.
"""

from __future__ import annotations

import math

from attnlab.theory.checks import check_count, check_positive


def entropy_approx(n_keys: int, spread: float) -> float:
    r"""Mean entropy of a row, in nats.

    .. math:: H = \log L - \frac{s^2}{2} + \frac{1}{L} \Big( s^2 e^{s^2} - \frac{e^{s^2} - 1}{2} \Big) + O(L^{-2})

    Why: :math:`H = \log(L A) - C / A`, both terms to first order in 1/L.
    """
    _check(n_keys, spread)
    e = math.exp(spread**2)
    return math.log(n_keys) - spread**2 / 2 + (spread**2 * e - (e - 1) / 2) / n_keys


def entropy_std(n_keys: int, spread: float) -> float:
    r"""Standard deviation of the entropy of one row, to leading order.

    The row's entropy varies by :math:`dH = (1 + s^2)\, dA / A - dC / A`, with
    :math:`\mathrm{Var}\,C / A^2 = (s^2 + 4 s^4) e^{s^2} - s^4` over L.
    """
    _check(n_keys, spread)
    s2, e = spread**2, math.exp(spread**2)
    variance = (1 + s2) ** 2 * (e - 1) - 2 * (1 + s2) * (2 * s2 * e - s2) + (s2 + 4 * s2**2) * e - s2**2
    return math.sqrt(max(variance, 0.0) / n_keys)


def spikiness_approx(n_keys: int, spread: float) -> float:
    r"""Mean of :math:`\|p\|_1 / (L \|p\|_2^2)`, the share of keys that a row uses; 1 for equal weights, 1/L for one.

    .. math:: e^{-s^2} \Big( 1 + \frac{(e^{s^2} - 1) - 2 (e^{2 s^2} - 1) + (e^{4 s^2} - 1)}{L} \Big) + O(L^{-2})

    Why: it is :math:`A^2 / B`.
    """
    _check(n_keys, spread)
    a, ab, b = (math.exp(k * spread**2) - 1 for k in (1, 2, 4))
    return math.exp(-(spread**2)) * (1 + (a - 2 * ab + b) / n_keys)


def spikiness_std(n_keys: int, spread: float) -> float:
    r"""Standard deviation of the spikiness of one row, to leading order: that of :math:`2\, dA / A - dB / B`, times
    :math:`e^{-s^2}`."""
    _check(n_keys, spread)
    a, ab, b = (math.exp(k * spread**2) - 1 for k in (1, 2, 4))
    return math.exp(-(spread**2)) * math.sqrt((4 * a - 4 * ab + b) / n_keys)


def expansion_error(n_keys: int, spread: float, power: int = 1) -> float:
    r"""Size of what the expansions drop, relative: :math:`e^{3 k^2 s^2} / L^2`, the third moment of :math:`e^{k z}`
    over :math:`L^2`.

    ``power`` k: 1 for entropy, log-odds and tilted mean, 2 for the spikiness, which averages :math:`e^{2 z}`.
    """
    _check(n_keys, spread)
    check_count(power=power)
    return math.exp(3 * power**2 * spread**2) / n_keys**2


def log_odds_approx(gap: float, n_rivals: int, spread: float, inverse_temperature: float) -> float:
    r"""Mean log-odds of a key with logit g among N rivals with logits N(0, s^2), at inverse temperature tau.

    .. math:: \tau g - \frac{\tau^2 s^2}{2} - \log N + \frac{e^{\tau^2 s^2} - 1}{2 N}

    The largest value, at :math:`\tau = g / s^2`, is :math:`g^2 / 2 s^2 - \log N`: below 0, whatever the temperature, if
    :math:`g < s \sqrt{2 \log N}`.
    """
    check_count(n_rivals=n_rivals)
    check_positive(spread=spread, inverse_temperature=inverse_temperature)
    x = (inverse_temperature * spread) ** 2
    return inverse_temperature * gap - x / 2 - math.log(n_rivals) + math.expm1(x) / (2 * n_rivals)


def log_odds_std(n_rivals: int, spread: float, inverse_temperature: float) -> float:
    r"""Standard deviation of these log-odds in one row, to leading order: :math:`\sqrt{(e^{\tau^2 s^2} - 1) / N}`."""
    check_count(n_rivals=n_rivals)
    return math.sqrt(math.expm1((inverse_temperature * spread) ** 2) / n_rivals)


def best_inverse_temperature(gap: float, spread: float) -> float:
    r"""The inverse temperature of the largest log-odds, :math:`\tau^\star = g / s^2`: there the mean score under the
    row's weights is g."""
    check_positive(gap=gap, spread=spread)
    return gap / spread**2


def tilted_mean_approx(n_rivals: int, spread: float, inverse_temperature: float) -> float:
    r"""Mean score of N Gaussian rivals under the weights softmax(tau z): :math:`\tau s^2 (1 - e^{\tau^2 s^2} / N)` to order 1/N.

    Why: C / A with averages of :math:`z e^{\tau z}` and :math:`e^{\tau z}`; the covariance term is larger than that
    of the variance.
    """
    check_count(n_rivals=n_rivals)
    check_positive(spread=spread, inverse_temperature=inverse_temperature)
    x = (inverse_temperature * spread) ** 2
    return inverse_temperature * spread**2 * (1 - math.exp(x) / n_rivals)


def tilted_mean_std(n_rivals: int, spread: float, inverse_temperature: float) -> float:
    r"""Its standard deviation in one row, to leading order: :math:`s \sqrt{e^{x} (1 + x) / N}` with :math:`x = \tau^2 s^2`.

    Why: the variance of :math:`(z - \tau s^2) e^{\tau z} / A` is :math:`e^{x} E(z - \tau s^2)^2` under a Gaussian of mean
    :math:`2 \tau s^2`, that is :math:`e^{x} (s^2 + \tau^2 s^4)`.
    """
    check_count(n_rivals=n_rivals)
    x = (inverse_temperature * spread) ** 2
    return spread * math.sqrt(math.exp(x) * (1 + x) / n_rivals)


def spread_for_entropy(n_keys: int, entropy: float) -> float:
    r"""The spread at which rows of L Gaussian scores keep an entropy: :math:`s = \sqrt{2 (\log L - H)}`, to leading order.

    A law in the square root of log L. As L grows s nears :math:`\sqrt{2 \log L}`, where rows freeze, so the entropy
    kept is not H.
    """
    check_count(n_keys=n_keys)
    if not 0 <= entropy <= math.log(n_keys):
        raise ValueError(f"entropy={entropy!r} must lie between 0 and log(n_keys)={math.log(n_keys):.4g}")
    return math.sqrt(2 * (math.log(n_keys) - entropy))


def _check(n_keys: int, spread: float) -> None:
    check_count(n_keys=n_keys)
    check_positive(spread=spread)
