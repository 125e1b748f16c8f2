r"""Gradient flow of the effective loss of in-context regression: early growth, valley, late drift (He et al. 2025).

Time is that of ``dz/dt = -grad / 2`` of the loss, which makes the growth rate of small heads one. The letter c is
``(1 + sigma^2) / L``. The drift laws belong to the effective loss, a large-size limit. At finite size the drift ends
at the scale of `in_context_regression_exact.symmetric_pair_plateau_approx`.
"""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from scipy.integrate import solve_ivp

from attnlab.theory.checks import increasing_times
from attnlab.theory.in_context_regression.effective_loss import (
    check_heads,
    check_task,
    effective_loss_approx,
    effective_loss_gradient_approx,
    symmetric_pair_valley_mu_approx,
)


@dataclass(frozen=True)
class HeadFlow:
    """A trajectory: ``times`` (time,), ``omega`` and ``mu`` (..., time, head), effective loss ``loss`` (..., time)."""

    times: np.ndarray
    omega: np.ndarray
    mu: np.ndarray
    loss: np.ndarray


def reduced_flow(start, times, dim: int, n_context: int, noise_std: float) -> HeadFlow:
    r"""Gradient flow in ``(omega, mu)`` of the effective loss, from ``start = (omega, mu)`` at time 0.

    .. math:: \dot\omega = -\tfrac12 \partial_\omega \ell, \qquad \dot\mu = -\tfrac12 \partial_\mu \ell.

    ``omega`` and ``mu`` have shape (..., head); ``times`` increases from 0 or later. Solved implicitly (Radau, relative
    tolerance 1e-9 per step), for the valley is stiff: across it rates are of order ``1 / omega^2``, along it ``omega^6``.

    Two heads that grow up with one sign stay there: equal ``omega = 1 / sqrt(d)`` with ``mu_1, mu_2 > 0`` is a line
    of minima (the Hessian has one zero and no negative eigenvalue), a saddle only once one ``mu`` is negative. The
    flow never leaves the one-head loss; a trained network does when noise has carried one ``mu`` along that line
    through zero.
    """
    return _integrate(start, times, (dim, n_context, noise_std), factorised=False)


def factorised_flow(start, times, dim: int, n_context: int, noise_std: float) -> HeadFlow:
    r"""Gradient flow in ``(a, b)`` with ``omega = +-a^2``, ``mu = +-b^2`` from ``start = (omega, mu)``.

    .. math:: \dot\omega = -2 |\omega|\, \partial_\omega \ell, \qquad \dot\mu = -2 |\mu|\, \partial_\mu \ell.

    So moves ``omega`` as a product ``K^T Q`` of balanced factors, and ``mu`` as ``O V``. Signs never change here; in a
    network they do, through imbalance of the factors. No start may be zero. Otherwise as `reduced_flow`.
    """
    return _integrate(start, times, (dim, n_context, noise_std), factorised=True)


def small_start_flow_approx(start, times) -> tuple[np.ndarray, np.ndarray]:
    r"""The reduced flow while all scales are small: ``omega`` and ``mu`` at ``times``, each (..., time, head).

    .. math:: \dot\mu = \omega,\ \dot\omega = \mu: \qquad \mu + \omega \propto e^{t}, \quad \mu - \omega \propto e^{-t}.

    Relative error of order ``n_heads c t + |mu|^2 + |omega|^2``: the effective loss damps ``sum_h mu_h`` at rate
    ``n_heads c``, which is neglected (it vanishes as ``L`` grows; `reduced_flow` has it).
    """
    omega, mu = check_heads(*_pair(start))
    t = increasing_times(times)[:, None]
    omega, mu = omega[..., None, :], mu[..., None, :]  # (..., 1, head)
    return omega * np.cosh(t) + mu * np.sinh(t), mu * np.cosh(t) + omega * np.sinh(t)


def initial_signs_approx(start) -> np.ndarray:
    """Sign of each head after the early growth, ``sign(omega + mu)`` at the start; 0 where they cancel exactly."""
    omega, mu = check_heads(*_pair(start))
    return np.sign(omega + mu)


def late_drift_exponent_limit(factorised: bool) -> Fraction:
    """Exponent of ``omega(t)`` at late times on the valley: -1/6 in ``(omega, mu)``, -1/5 for factorised weights."""
    return Fraction(-1, 5) if factorised else Fraction(-1, 6)


def late_drift_omega_limit(times, dim: int, n_context: int, noise_std: float, factorised: bool) -> np.ndarray:
    r"""Scale ``omega(t)`` of a symmetric pair late on the valley of the effective loss.

    .. math:: \omega = \Bigl( \frac{6 K t}{4 m^2} \Bigr)^{-1/6} \ \text{(plain)}, \qquad
              \omega = \Bigl( \frac{5 K t}{m} \Bigr)^{-1/5} \ \text{(factorised)}, \qquad
              K = \frac{2 c d^3}{3 (1 + c d)^2},\ m = \frac{1}{2 (1 + c d)}.

    ``mu = m / omega``. The first correction is of relative order ``d^2 omega^4``.

    Why: on the valley ``mu = m / omega`` and the loss is ``const + K omega^4 / 4``; the flow descends it in the metric
    of ``(omega, m / omega)``, mostly that of ``mu``, with speed ``-K omega^7 / (4 m^2)`` or ``-K omega^6 / m``.
    """
    check_task(dim, n_context, noise_std)
    t = np.asarray(times, dtype=float)
    if not np.all(t > 0):
        raise ValueError("times must be positive; the law holds as t grows")
    c = (1 + noise_std**2) / n_context
    K, m = 2 * c * dim**3 / (3 * (1 + c * dim) ** 2), 1 / (2 * (1 + c * dim))
    return (5 * K * t / m) ** -0.2 if factorised else (6 * K * t / (4 * m**2)) ** (-1 / 6)


def valley_speed_approx(omega, dim: int, n_context: int, noise_std: float, factorised: bool) -> np.ndarray:
    r"""``d omega / dt`` of a symmetric pair that stays on the valley floor of the effective loss, at any ``omega > 0``.

    .. math:: \dot\omega = -\frac{\ell_v'}{4 (1 + \mu_v'^2)} \ \text{(plain)}, \qquad
              \dot\omega = -\frac{\ell_v'}{1 / \omega + \mu_v'^2 / \mu_v} \ \text{(factorised)},

    with ``mu_v(omega)`` the floor and ``l_v`` the loss on it. Always negative. True for small ``omega``, where it
    becomes the law of `late_drift_omega_limit`: the flow runs beside the floor by a relative ``K omega^4 / (4 m^2)``
    with the letters of that law (0.1 % at ``omega`` = 0.16, d = 5, L = 40).
    """
    mu = symmetric_pair_valley_mu_approx(omega, dim, n_context, noise_std)
    w = np.asarray(omega, dtype=float)
    if not np.all(w > 0):
        raise ValueError("omega must be positive; it is the scale of the positive head of the pair")
    c = (1 + noise_std**2) / n_context
    x = dim * w**2
    D = w / (2 * mu)  # omega^2 + c sinh(d omega^2)
    # x cosh x - sinh x cancels for small x, where its series takes over: next term x^9 / 45360.
    rise = np.where(x < 0.05, x**3 / 3 + x**5 / 30 + x**7 / 840, x * np.cosh(x) - np.sinh(x))
    slope = 2 * c * w * rise / D**2  # l_v'
    mu_slope = (D - 2 * w**2 * (1 + c * dim * np.cosh(x))) / (2 * D**2)  # mu_v'
    return -slope / (1 / w + mu_slope**2 / mu) if factorised else -slope / (4 * (1 + mu_slope**2))


def _integrate(start, times, sizes, factorised: bool) -> HeadFlow:
    check_task(*sizes)
    omega, mu = check_heads(*_pair(start))
    times = increasing_times(times)
    n_heads = omega.shape[-1]
    rows = np.concatenate([omega.reshape(-1, n_heads), mu.reshape(-1, n_heads)], axis=1)  # (row, omega then mu)
    if factorised and np.any(rows == 0):
        raise ValueError(
            "start contains a zero omega or mu, which the factorised flow never leaves; use a small nonzero one"
        )
    paths = np.stack([_one_path(row, times, sizes, factorised) for row in rows])  # (row, time, 2 head)
    paths = paths.reshape(*omega.shape[:-1], len(times), 2 * n_heads)
    omega, mu = paths[..., :n_heads], paths[..., n_heads:]
    return HeadFlow(times, omega, mu, effective_loss_approx(omega, mu, *sizes))


def _one_path(row, times, sizes, factorised: bool) -> np.ndarray:
    """Scales at ``times``, shape (time, omega then mu). Factorised weights move in log |scale|."""
    signs = np.sign(row)

    def scales(z):
        return signs * np.exp(z) if factorised else z

    def velocity(_, z):
        omega, mu = np.split(scales(z), 2)
        gradient = np.concatenate(effective_loss_gradient_approx(omega, mu, *sizes))
        return -2 * signs * gradient if factorised else -gradient / 2

    begin = np.log(np.abs(row)) if factorised else row
    if times[-1] == 0:
        return scales(begin)[None, :]
    solution = solve_ivp(velocity, (0.0, times[-1]), begin, method="Radau", t_eval=times, rtol=1e-9, atol=1e-12)
    if not solution.success:
        raise RuntimeError(
            f"the flow from {row.tolist()} was not solved up to time {times[-1]}: {solution.message}; "
            "start from smaller scales"
        )
    return scales(solution.y.T)


def _pair(start):
    if len(start) != 2:
        raise ValueError(f"start must be the two arrays (omega, mu), got {len(start)} of them")
    return start
