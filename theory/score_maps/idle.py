r"""A head that should do nothing: gradient flow on its scores where one of n keys has no value.

Loss :math:`R^2/2`, R the weight on the n - 1 other keys (all of value 1), all scores equal at the start. With u the gap between
the idle key and the others less :math:`\ln(n-1)`, the rest of softmax is :math:`r = 1/(1 + e^u)` and each of the n scores moves
down its own slope, so that :math:`\dot u = \frac{n}{n-1} r^2 (1 - r)`. Derived.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq

from attnlab.theory.checks import check_count, check_not_negative


def softmax_gap_exact(times: ArrayLike, n_keys: int) -> np.ndarray:
    r"""Gap between the idle key's score and the others' at each time of the flow.

    .. math:: \frac{n}{n-1} t = F(u) - F(u_0), \qquad F(u) = 3 u + 3 e^u + \tfrac12 e^{2u} - e^{-u}, \qquad u_0 = -\ln(n - 1),

    from :math:`\int du / (r^2 (1 - r)) = \int (1 + e^u)^3 e^{-u} du`. The gap grows for ever, like
    :math:`\tfrac12 \ln 2t + \ln(n-1)`.
    """
    check_count(at_least=2, n_keys=n_keys)
    t = np.atleast_1d(np.asarray(times, dtype=np.float64))
    check_not_negative(times=t)
    start, rate = -math.log(n_keys - 1), n_keys / (n_keys - 1)

    def gap(time: float) -> float:
        high = max(start, 0.0) + 1 + math.log1p(2 * rate * time)
        return brentq(lambda u: _clock(u) - _clock(start) - rate * time, start, high, xtol=1e-13)

    return np.array([gap(float(each)) if each > 0 else start for each in t]) + math.log(n_keys - 1)


def softmax_rest_exact(times: ArrayLike, n_keys: int) -> np.ndarray:
    r"""Weight off the idle key, :math:`r = 1/(1 + e^u)`, which falls like :math:`(2t)^{-1/2}`."""
    return 1 / (1 + np.exp(softmax_gap_exact(times, n_keys) - math.log(n_keys - 1)))


def clipped_gap_limit(n_keys: int, gamma: float, zeta: float = 1.0) -> float:
    r"""Gap at which clipped softmax rests: each other key has softmax weight :math:`-\gamma/(\zeta - \gamma)`.

    .. math:: \ln\left(\frac{\zeta - \gamma}{-\gamma} - (n - 1)\right) .

    There R = 0 and with it the gradient; the flow comes near exponentially fast and goes no further. Needs
    :math:`(n-1)(-\gamma) < \zeta - \gamma`, else nothing is left from the start.
    """
    check_count(at_least=2, n_keys=n_keys)
    inverse = (zeta - gamma) / -gamma if gamma < 0 else math.inf
    if not n_keys - 1 < inverse < math.inf:
        raise ValueError(
            f"gamma={gamma!r} must be negative and above -{zeta / max(n_keys - 2, 1):.3g} at n_keys={n_keys!r}"
        )
    return math.log(inverse - (n_keys - 1))


def _clock(u: float) -> float:
    return 3 * u + 3 * math.exp(u) + math.exp(2 * u) / 2 - math.exp(-u)
