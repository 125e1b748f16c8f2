r"""Learning curves of linear attention pretrained on finite data: double descent and task diversity, in the joint limit.

Lu, Letey, Zavatone-Veth, Maiti, Pehlevan 2025 (arXiv 2405.11751). Covariates ``x ~ N(0, I / d)``, labels ``y = w^T x`` plus noise
of variance rho. Each of n pretraining sequences has ``l`` labelled examples and uses one of k task vectors drawn from the sphere
of radius sqrt(d). The weights ``Gamma`` of shape (d, d + 1) minimise the squared error on these sequences plus
``(n / d) ridge ||Gamma||_F^2``. As d grows with ``l = alpha d``, ``k = kappa d``, ``n = tau d^2``, the errors tend to the
functions below, up to terms of order 1 / d. ICL error: a new task ``w ~ N(0, I)``. IDG error: one of the k tasks.
"""

import numpy as np
from scipy.optimize import brentq

from attnlab.theory.checks import check_not_negative, check_positive


def resolvent_of_tasks(x, kappa: float):
    r"""``M_kappa(x)``, the limit of ``tr (W^T W / k + x)^{-1} / d`` over k = kappa d tasks; infinite kappa: ``1 / (1 + x)``.

    .. math:: M_\kappa(x) = \frac{2}{x + 1 - 1/\kappa + \sqrt{(x + 1 - 1/\kappa)^2 + 4 x / \kappa}} .
    """
    b = x + 1 - 1 / kappa
    root = np.sqrt(b**2 + 4 * x / kappa)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(b >= 0, 2 / (b + root), (root - b) / (2 * np.asarray(x) / kappa))[()]


def icl_error_limit(alpha: float, kappa: float, tau: float, noise_variance: float, ridge: float = 0.0) -> float:
    r"""ICL error, the error on a task never seen, in the joint limit; infinite at ``tau = 1`` without ridge.

    With ``x = (1 + rho) / alpha``, ``m = M_kappa(x)``, ``m' = M_kappa'(x)`` and no ridge, for ``tau > 1``

    .. math:: e = (1 + x)\Bigl[1 - 2 x m - x^2 m' + \tfrac{m}{\tau - 1} (\rho + x - x^2 m)\Bigr] - 2 (1 - x m) + 1 + \rho,

    and for ``tau < 1``, with ``mu = x M_{kappa / tau}(x)``,

    .. math:: e = \tfrac{\tau (1 + x)}{1 - \tau}\bigl[1 - \tau (1 - \mu)^2 + \mu (\rho / x - 1)\bigr]
              - 2 \tau (1 - \mu) + 1 + \rho .
    """
    x, rho = _checked(alpha, kappa, tau, noise_variance, ridge), noise_variance
    if ridge > 0:
        return _with_ridge(x, kappa, tau, rho, ridge)
    if tau == 1:
        return float("inf")
    if tau < 1:
        mu = x * resolvent_of_tasks(x, kappa / tau)
        bracket = 1 - tau * (1 - mu) ** 2 + mu * (rho / x - 1)
        return float(tau * (1 + x) / (1 - tau) * bracket - 2 * tau * (1 - mu) + 1 + rho)
    m, slope = resolvent_of_tasks(x, kappa), _slope(x, kappa)
    spread = 0.0 if np.isinf(tau) else m / (tau - 1) * (rho + x - x**2 * m)
    return float((1 + x) * (1 - 2 * x * m - x**2 * slope + spread) - 2 * (1 - x * m) + 1 + rho)


def idg_error_limit(alpha: float, kappa: float, tau: float, noise_variance: float) -> float:
    r"""IDG error, the error on the tasks of the pretraining, in the joint limit without ridge; infinite at ``tau = 1``.

    .. math:: \tau > 1:\quad e = \frac{\tau}{\tau - 1} \bigl( \rho + x (1 - x M_\kappa(x)) \bigr).

    For ``tau < 1`` with ``eps = (1 - tau) / (tau M_{kappa / tau}(x))``, ``c = 1 / (1 - kappa / (1 + kappa eps / (1 - tau))^2)``,
    ``e = tau [(x + eps)^2 / eps + (rho + x - 2 x (1 - tau) (x / eps + 1)) / (1 - tau - c (1 - tau)^2)]``.
    """
    x, rho = _checked(alpha, kappa, tau, noise_variance, 0.0), noise_variance
    if tau == 1:
        return float("inf")
    if tau > 1:
        growth = 1.0 if np.isinf(tau) else tau / (tau - 1)
        return float(growth * (rho + x * (1 - x * resolvent_of_tasks(x, kappa))))
    rest = 1 - tau
    eps = rest / (tau * resolvent_of_tasks(x, kappa / tau))
    # c rest^2 with c = 1 / (1 - kappa / (1 + kappa eps / rest)^2); for infinite kappa c = 1
    c = 1.0 if np.isinf(kappa) else 1 / (1 - kappa / (1 + kappa * eps / rest) ** 2)
    return float(tau * ((x + eps) ** 2 / eps + (rho + x - 2 * x * rest * (x / eps + 1)) / (rest - c * rest**2)))


def memorisation_error_limit(kappa) -> np.ndarray:
    """Excess ICL error with unlimited sequences and context, ``max(0, 1 - kappa)``: what no seen task spans of a new one."""
    return np.maximum(0.0, 1 - np.asarray(kappa, float))


def interpolation_threshold_exact(dim: int) -> int:
    """Number of sequences from which on the ridgeless fit is determined, its number of weights ``d (d + 1)``."""
    return dim * (dim + 1)


def _with_ridge(x: float, kappa: float, tau: float, rho: float, ridge: float) -> float:
    def balance(eps):
        return 1 - tau + tau * ridge / eps - eps * resolvent_of_tasks(eps + x, kappa)

    eps = brentq(balance, 1e-14, 1e6, xtol=1e-15, rtol=1e-14)
    nu = x + eps
    m, slope = resolvent_of_tasks(nu, kappa), _slope(nu, kappa)
    c = (rho + nu - nu**2 * m - eps * (1 - 2 * nu * m - nu**2 * slope)) / (1 - 2 * eps * m - eps**2 * slope - tau)
    return float((x + 1) * (1 - 2 * nu * m - nu**2 * slope - c * (m + eps * slope)) - 2 * (1 - nu * m) + 1 + rho)


def _slope(x: float, kappa: float) -> float:
    """M_kappa'(x): from ``x M^2 / kappa + (x + 1 - 1 / kappa) M = 1``, differentiated."""
    m = resolvent_of_tasks(x, kappa)
    root = np.sqrt((x + 1 - 1 / kappa) ** 2 + 4 * x / kappa)
    return -(m**2 / kappa + m) / root


def _checked(alpha, kappa, tau, noise_variance, ridge) -> float:
    check_positive(finite=False, alpha=alpha, kappa=kappa, tau=tau)
    check_not_negative(noise_variance=noise_variance, ridge=ridge)
    return (1 + noise_variance) / alpha
