r"""Reading a mean among noise tokens: what uniform weights, a gate on values and the Bayes estimator reach.

L tokens; each is signal with probability r, :math:`x = \mu + \sigma \varepsilon`, or noise, :math:`x = \varepsilon'`,
with a visible
marker; mu and the noises are standard normal in each coordinate. Risks are mean squared errors of mu per coordinate, k is
the number of signal tokens. The task is that of selective self-attention for its gate on values.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import special

from attnlab.theory.checks import check_count, check_one_of, check_share, check_standard_deviation


def risk_of_uniform_weights_exact(n_tokens: int, share: float, noise_std: float) -> float:
    r"""The mean of all tokens: :math:`(1 - r)^2 + r (1 - r) / L + (r \sigma^2 + 1 - r) / L`."""
    _check(n_tokens, share, noise_std)
    r = share
    return (1 - r) ** 2 + r * (1 - r) / n_tokens + (r * noise_std**2 + 1 - r) / n_tokens


def risk_of_a_value_gate_exact(n_tokens: int, share: float, noise_std: float) -> float:
    r"""The mean of the signal tokens, 0 if there is none: :math:`\sigma^2\, E[1/k;\, k \ge 1] + P(k = 0)`."""
    return _moments("gated", n_tokens, share, noise_std)[0]


def risk_of_a_gate_without_renormalisation_exact(n_tokens: int, share: float, noise_std: float) -> float:
    r"""The sum of the signal tokens over r L: :math:`\big(1 - r + \sigma^2\big) / (r L)`.

    Why: the estimate is :math:`(k / r L)\, \mu + \sigma \sqrt{k} / (r L)\, \varepsilon` with k binomial.
    """
    _check(n_tokens, share, noise_std)
    if share == 0:
        raise ValueError("share=0: without signal tokens there is nothing to divide by")
    return (1 - share + noise_std**2) / (share * n_tokens)


def risk_of_bayes_exact(n_tokens: int, share: float, noise_std: float) -> float:
    r"""The posterior mean :math:`\sum_{signal} x / (k + \sigma^2)`: :math:`E[\sigma^2 / (k + \sigma^2)]`, 1 where k = 0."""
    return _moments("bayes", n_tokens, share, noise_std)[0]


def std_of_one_task_exact(estimator: str, n_tokens: int, share: float, noise_std: float, dim: int) -> float:
    r"""Standard deviation of one task's squared error, a mean over ``dim`` coordinates.

    .. math:: \sqrt{2\, E[v_k^2] / d + \mathrm{Var}[v_k]}

    Why: given k the errors of the coordinates are independent normal numbers of variance :math:`v_k`, the risk given k.
    ``estimator``: "uniform", "gated", "unnormalised" or "bayes".
    """
    check_one_of(("uniform", "gated", "unnormalised", "bayes"), estimator=estimator)
    check_count(dim=dim)
    mean, square = _moments(estimator, n_tokens, share, noise_std)
    return math.sqrt(2 * square / dim + square - mean**2)


def _moments(estimator: str, n_tokens: int, share: float, noise_std: float) -> tuple[float, float]:
    """Mean and mean square over k of the risk given k."""
    _check(n_tokens, share, noise_std)
    L, s2, k = n_tokens, noise_std**2, np.arange(n_tokens + 1.0)
    log = special.gammaln(L + 1) - special.gammaln(k + 1) - special.gammaln(L - k + 1)
    weight = np.exp(log + special.xlogy(k, share) + special.xlog1py(L - k, -share))
    given = {
        "uniform": lambda: (1 - k / L) ** 2 + (k * s2 + L - k) / L**2,
        "gated": lambda: np.where(k > 0, s2 / np.maximum(k, 1), 1.0),
        "unnormalised": lambda: (k / (share * L) - 1) ** 2 + s2 * k / (share * L) ** 2,
        "bayes": lambda: np.where(k > 0, s2 / np.maximum(k + s2, s2 + 1), 1.0),
    }[estimator]()
    return float(weight @ given), float(weight @ given**2)


def _check(n_tokens: int, share: float, noise_std: float) -> None:
    check_count(n_tokens=n_tokens)
    check_share(share=share)
    check_standard_deviation(noise_std=noise_std)
