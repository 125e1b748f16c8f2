r"""Two keys seen through Gaussian noise: attention as their posterior, and what a wrong temperature or bias does to it.

:math:`y = k_J + s \varepsilon` with J = 1 of probability pi, else 2. The true log-odds of key 1 are
:math:`\ell = D u + \ln (\pi / (1 - \pi))` with u normal of variance 1 and mean :math:`\pm D / 2`, where
:math:`D = |k_1 - k_2| / s`. Attention states the logit :math:`c\, \ell + b`. With inverse temperature beta it is
:math:`c = \beta s^2`; leaving out :math:`-|k_j|^2 / 2 s^2` adds :math:`b = (|k_1|^2 - |k_2|^2) / 2 s^2`.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import special

from attnlab.theory.checks import check_positive, check_share

_Z, _W = np.polynomial.hermite_e.hermegauss(160)
_W = _W / _W.sum()


def share_in_bin_exact(
    separation: float, low: float, high: float, sharpness: float = 1.0, shift: float = 0.0
) -> tuple[float, float]:
    r"""How often the stated probability of key 1 lies in [low, high], and how often key 1 is right there; keys equally likely.

    .. math:: \frac{a_1}{a_1 + a_2}, \qquad a_{1,2} = \tfrac12\, \Phi\Big|_{(\ell_- \mp D^2/2) / D}^{(\ell_+ \mp D^2/2) / D},
              \qquad \ell_\pm = \frac{\mathrm{logit}(\text{high, low}) - b}{c}

    For c = 1, b = 0 the second number lies in the bin. In a narrow bin around p it is :math:`\sigma((\mathrm{logit}\, p - b)
    / c)`.
    """
    check_positive(separation=separation, sharpness=sharpness)
    check_share(low=low, high=high)
    if not low < high:
        raise ValueError(f"low={low!r} must be below high={high!r}")
    edges = (special.logit(np.array([low, high])) - shift) / sharpness
    first, second = (
        0.5 * float(np.diff(special.ndtr((edges - sign * separation**2 / 2) / separation))[0]) for sign in (1, -1)
    )
    return first + second, first / (first + second)


def log_loss_exact(separation: float, sharpness: float = 1.0, shift: float = 0.0) -> float:
    r"""Mean of -ln of the stated probability of the right key, nats; least, and the mean posterior entropy, at c = 1, b = 0.

    .. math:: \tfrac12\, E \ln (1 + e^{-c \ell - b}) + \tfrac12\, E \ln (1 + e^{-c \ell + b}), \qquad
              \ell = D^2 / 2 + D z
    """
    check_positive(separation=separation, sharpness=sharpness)
    logit = sharpness * (separation**2 / 2 + separation * _Z)
    return float(_W @ (np.logaddexp(0, -logit - shift) + np.logaddexp(0, -logit + shift)) / 2)


def log_loss_std(separation: float, sharpness: float = 1.0, shift: float = 0.0) -> float:
    """Standard deviation of one draw's log loss."""
    logit = sharpness * (separation**2 / 2 + separation * _Z)
    square = float(_W @ (np.logaddexp(0, -logit - shift) ** 2 + np.logaddexp(0, -logit + shift) ** 2) / 2)
    return math.sqrt(square - log_loss_exact(separation, sharpness, shift) ** 2)


def denoising_error_exact(separation: float, sharpness: float = 1.0) -> float:
    r"""Mean squared error of attention as an estimate of the key, in units of :math:`|k_1 - k_2|^2 / 4`.

    .. math:: E\, (1 - \tanh (c\, \ell / 2))^2, \qquad \ell = D^2 / 2 + D z

    Least at c = 1, where it is :math:`1 - E \tanh (\ell / 2)`: attention with :math:`\beta = 1 / s^2` is the posterior mean.
    """
    check_positive(separation=separation, sharpness=sharpness)
    return float(_W @ _miss(separation, sharpness))


def denoising_error_std(separation: float, sharpness: float = 1.0) -> float:
    """Standard deviation of one draw's squared error, in the same unit."""
    check_positive(separation=separation, sharpness=sharpness)
    return math.sqrt(float(_W @ _miss(separation, sharpness) ** 2) - denoising_error_exact(separation, sharpness) ** 2)


def _miss(separation: float, sharpness: float) -> np.ndarray:
    return (1 - np.tanh(sharpness * (separation**2 / 2 + separation * _Z) / 2)) ** 2
