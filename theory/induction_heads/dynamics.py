r"""Gradient flow of the minimal induction head: slow phase, transition, and the saddle at L = N (Reddy 2024).

Time t is that of ``dz/dt = -rate grad``, with a rate for each of the numbers. Gradient descent with learning rate h on
beta1, alpha, beta2 and on a linear readout follows, at time h times the steps, the flow with rates
(1, 1, 1, :func:`readout_rate`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.integrate import solve_ivp
from scipy.special import wrightomega

from attnlab.theory.checks import increasing_times
from attnlab.theory.induction_heads.reduced_loss import (
    circuit_loss_limit,
    nested_logit_gradient,
    nested_logit_loss_approx,
)

_STEP = 1e-30  # complex step: no cancellation, so it can be as small as one likes


@dataclass(frozen=True)
class CircuitFlow:
    """A trajectory at ``times``: beta1, alpha, beta2, xi and the loss, each of shape (time,)."""

    times: np.ndarray
    beta1: np.ndarray
    alpha: np.ndarray
    beta2: np.ndarray
    xi: np.ndarray
    loss: np.ndarray


def readout_rate(n_labels: int) -> float:
    r"""Rate of the readout overlap xi when the readout matrix is trained by gradient descent: 1 / (L - 1).

    With orthonormal labels the loss depends on the readout through :math:`M_{kl} = w_k \cdot \ell_l`, on which gradient
    descent acts with rate one. By symmetry M stays a multiple of the identity plus a constant. If g is minus the
    derivative in xi, one of the L diagonal entries has force g / L and one of the L (L - 1) others -g / (L (L - 1)), since
    a constant added to M changes nothing. So xi, their difference, has :math:`\dot\xi = g/L + g/(L(L-1)) = g/(L-1)`.
    """
    if n_labels < 2:
        raise ValueError(f"n_labels={n_labels!r} leaves nothing to predict; use 2 or more")
    return 1 / (n_labels - 1)


def circuit_flow(
    start: ArrayLike, times: ArrayLike, n_context: int, n_labels: int, rates: ArrayLike = (1.0, 1.0, 1.0, 1.0)
) -> CircuitFlow:
    r"""Gradient flow of the exact loss from ``start = (beta1, alpha, beta2, xi)`` at time 0.

    .. math:: \dot z_i = -\rho_i\, \partial_i \ell(z)

    A rate of zero holds a number where it starts: rates ``(1, 1, 0, rho)`` are the two-parameter model. Derivatives are
    taken by complex steps (exact to rounding), the flow is solved by LSODA with relative tolerance 1e-9 per step.
    """

    def slope(_: float, z: np.ndarray) -> np.ndarray:
        moved = z + 1j * _STEP * np.eye(4)  # (derivative, number)
        return circuit_loss_limit(moved[:, 0], moved[:, 1], moved[:, 2], moved[:, 3], n_context, n_labels).imag / _STEP

    times, z = _solved(slope, start, times, rates, 4)
    beta1, alpha, beta2, xi = z
    return CircuitFlow(times, beta1, alpha, beta2, xi, circuit_loss_limit(beta1, alpha, beta2, xi, n_context, n_labels))


def nested_logit_flow(
    start: ArrayLike, times: ArrayLike, n_context: int, n_labels: int, rates: ArrayLike = (1.0, 1.0, 1.0)
) -> CircuitFlow:
    """Gradient flow of the nested-logit loss from ``start = (beta1, alpha, xi)``; beta2 is zero throughout."""

    def slope(_: float, z: np.ndarray) -> np.ndarray:
        return nested_logit_gradient(z[0], z[1], z[2], n_context, n_labels)

    times, (beta1, alpha, xi) = _solved(slope, start, times, rates, 3)
    return CircuitFlow(
        times, beta1, alpha, np.zeros_like(xi), xi, nested_logit_loss_approx(beta1, alpha, xi, n_context, n_labels)
    )


def slow_phase_xi(times: ArrayLike, n_context: int, n_labels: int, rate: float = 1.0) -> np.ndarray:
    r"""Readout overlap while attention is uniform, from xi = 0, exact; u = s0 xi solves

    .. math:: N e^u + (L - N) u = N + \rho\, s_0^2 (L - N)\, t, \qquad s_0 = 1/(2N+1)

    so that u grows first like t, then like ln t. With r = N / (L - N) and the Wright function omega,
    u = ln(omega(r + ln r + rho s0^2 t) / r). At L = N the readout stays at zero.
    """
    t, N, L = np.asarray(times, float), n_context, n_labels
    if L == N:
        return np.zeros_like(t)
    s0 = 1 / (2 * N + 1)
    ratio = N / (L - N)
    return np.log(wrightomega(ratio + rate * s0**2 * t + np.log(ratio)).real / ratio) / s0


def slow_phase_context_mass(times: ArrayLike, n_context: int, n_labels: int, rate: float = 1.0) -> np.ndarray:
    r"""Predicted probability of the labels in the context, :math:`N / (N + (L - N) e^{-u})`: from N/L towards 1."""
    u = slow_phase_xi(times, n_context, n_labels, rate) / (2 * n_context + 1)
    return n_context / (n_context + (n_labels - n_context) * np.exp(-u))


def slow_phase_loss(times: ArrayLike, n_context: int, n_labels: int, rate: float = 1.0) -> np.ndarray:
    r"""Loss while attention is uniform, :math:`\ln(N + (L - N) e^{-u})`: from ln L towards ln N."""
    u = slow_phase_xi(times, n_context, n_labels, rate) / (2 * n_context + 1)
    return np.log(n_context + (n_labels - n_context) * np.exp(-u))


def transition_time(
    flow: Callable[..., CircuitFlow],
    start: ArrayLike,
    n_context: int,
    n_labels: int,
    rates: ArrayLike,
    level: float = 0.5,
    longest: float = 1e6,
) -> float:
    """First time at which the loss of ``flow`` is ``level`` times ln N, by linear interpolation on 2 000 log-spaced times;
    infinite if that is not before ``longest``."""
    for end in np.geomspace(100, longest, 1 + int(np.ceil(np.log10(longest / 100)))):
        times = np.concatenate([[0.0], np.geomspace(end * 1e-4, end, 2_000)])
        loss = flow(start, times, n_context, n_labels, rates).loss
        below = np.flatnonzero(loss < level * np.log(n_context))
        if below.size:
            i = max(int(below[0]), 1)
            share = (loss[i - 1] - level * np.log(n_context)) / (loss[i - 1] - loss[i])
            return float(times[i - 1] + share * (times[i] - times[i - 1]))
    return np.inf


def circuit_transition_times(
    starts: ArrayLike, n_context: int, n_labels: int, rates: ArrayLike, level: float = 0.5, longest: float = 1e6
) -> np.ndarray:
    """:func:`transition_time` of :func:`circuit_flow` from many starts ``(start, 4)`` at once, shape (start,).

    The trajectories are solved as one system, which costs little more than one of them.
    """
    z, rho, N = np.atleast_2d(np.asarray(starts, float)), np.asarray(rates, float), n_context
    if z.shape[-1] != 4 or rho.shape != (4,):
        raise ValueError(f"starts={starts!r} and rates={rates!r} must hold four numbers each")

    def slope(_: float, flat: np.ndarray) -> np.ndarray:
        moved = flat.reshape(-1, 1, 4) + 1j * _STEP * np.eye(4)  # (start, derivative, number)
        beta1, alpha, beta2, xi = np.moveaxis(moved, -1, 0)
        return -(rho * circuit_loss_limit(beta1, alpha, beta2, xi, N, n_labels).imag / _STEP).ravel()

    found = np.full(len(z), np.inf)
    for end in np.geomspace(100, longest, 1 + int(np.ceil(np.log10(longest / 100)))):
        times = np.concatenate([[0.0], np.geomspace(end * 1e-4, end, 2_000)])
        solved = solve_ivp(slope, (0.0, end), z.ravel(), method="LSODA", t_eval=times, rtol=1e-9, atol=1e-12)
        if not solved.success:
            raise RuntimeError(f"the flow stopped at time {solved.t[-1]:.6g}: {solved.message}")
        numbers = np.moveaxis(solved.y.reshape(len(z), 4, len(times)), 1, 0)
        beta1, alpha, beta2, xi = numbers
        loss = circuit_loss_limit(beta1, alpha, beta2, xi, N, n_labels)  # (start, time)
        target = level * np.log(N)
        for row in np.flatnonzero(np.isinf(found) & (loss < target).any(-1)):
            i = max(int(np.argmax(loss[row] < target)), 1)
            share = (loss[row, i - 1] - target) / (loss[row, i - 1] - loss[row, i])
            found[row] = times[i - 1] + share * (times[i] - times[i - 1])
        if np.isfinite(found).all():
            break
    return found


def _solved(
    slope: Callable[[float, np.ndarray], np.ndarray], start: ArrayLike, times: ArrayLike, rates: ArrayLike, size: int
) -> tuple[np.ndarray, np.ndarray]:
    z, t, rho = np.asarray(start, float), increasing_times(times), np.asarray(rates, float)
    if z.shape != (size,) or rho.shape != (size,):
        raise ValueError(f"start={start!r} and rates={rates!r} must hold {size} numbers each")
    if t[-1] == 0:
        return t, z[:, None]
    found = solve_ivp(lambda s, y: -rho * slope(s, y), (0.0, t[-1]), z, method="LSODA", t_eval=t, rtol=1e-9, atol=1e-12)
    if not found.success:
        raise RuntimeError(f"the flow stopped at time {found.t[-1]:.6g}: {found.message}")
    return t, found.y
