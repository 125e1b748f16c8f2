r"""Euler steps on a rotation of varying speed: the error of steps that are any power of the index, and the best steps.

The flow :math:`\dot u = \omega(t) J u`, with J the rotation by a right angle, keeps the norm of u, and its index is omega(t).
An Euler step h multiplies the norm by :math:`\sqrt{1 + h^2 \omega^2}`, so the log of the norm is the error of the chain,

.. math:: E = \tfrac12 \sum_i \ln(1 + h_i^2 \omega_i^2) \approx \tfrac12 \sum_i h_i^2 \omega_i^2.

With N steps of density proportional to omega^p (h proportional to omega^-p) on [0, T]

.. math:: E_p = \frac{1}{2N} \int \omega^p dt \int \omega^{2-p} dt \; (1 + O(1/N)), \qquad E_p = E_{2-p}, \qquad E_p \ge E_1,

by Cauchy-Schwarz: steps proportional to 1 / index are the best, equal steps and steps proportional to 1 / index^2 are equally
bad.
"""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.integrate import quad, solve_ivp

from attnlab.theory.checks import increasing_times


@dataclass(frozen=True)
class Speed:
    r"""Speed of rotation :math:`\omega(t) = \omega_0 + A \exp(-((t - c)/\sigma)^2)` on [0, 1]."""

    base: float = 2.0
    height: float = 40.0
    centre: float = 0.5
    width: float = 0.05

    def __post_init__(self) -> None:
        if not (self.base > 0 and self.height >= 0 and self.width > 0):
            raise ValueError(f"base and width must be positive and height at least 0, got {self!r}")

    def __call__(self, t: ArrayLike) -> np.ndarray:
        return self.base + self.height * np.exp(-(((np.asarray(t) - self.centre) / self.width) ** 2))

    def slope(self, t: ArrayLike) -> np.ndarray:
        """The derivative in time."""
        z = (np.asarray(t) - self.centre) / self.width
        return -2 * self.height * z / self.width * np.exp(-(z**2))


@functools.cache
def speed_moment(speed: Speed, power: float) -> float:
    r""":math:`\int_0^1 \omega^p dt`, by adaptive quadrature (absolute error about 1e-10)."""
    peak = [min(max(speed.centre + k * speed.width, 0.0), 1.0) for k in (-6, -2, 0, 2, 6)]
    edges = sorted({0.0, *peak, 1.0})
    return sum(
        quad(lambda t: float(speed(t)) ** power, a, b, epsabs=1e-12, epsrel=1e-12)[0]
        for a, b in itertools.pairwise(edges)
    )


def euler_error_approx(speed: Speed, n_steps: int, power: float) -> float:
    r"""Log of the norm after ``n_steps`` Euler steps h proportional to omega^-power, to leading order in 1 / n_steps."""
    if n_steps < 1:
        raise ValueError(f"n_steps must be at least 1, got {n_steps!r}")
    return speed_moment(speed, power) * speed_moment(speed, 2 - power) / (2 * n_steps)


@functools.cache
def slope_moment(speed: Speed, power: float) -> float:
    r""":math:`\int_0^1 \omega^p \omega'^2 dt`, by adaptive quadrature."""
    peak = [min(max(speed.centre + k * speed.width, 0.0), 1.0) for k in (-6, -2, 0, 2, 6)]
    edges = sorted({0.0, *peak, 1.0})
    return sum(
        quad(lambda t: float(speed(t)) ** power * float(speed.slope(t)) ** 2, a, b, epsabs=1e-12, epsrel=1e-10)[0]
        for a, b in itertools.pairwise(edges)
    )


def second_order_share(speed: Speed, n_steps: int, power: float) -> float:
    r"""What the next order adds to :func:`euler_error_approx`, as a share of it; for a speed that is equal and flat at
    both ends.

    .. math:: \frac{2 I_p^2}{N^2 I_{2-p}} \Big[\frac{p (8 - p)}{24} \int \omega^{-3p} \omega'^2 dt - \frac14 \int
              \omega^{4-3p} dt\Big], \qquad I_q = \int \omega^q dt .

    Why: with steps :math:`h = t(s_{i+1}) - t(s_i)`, :math:`dt/ds = I_p \omega^{-p}`, and omega taken at the left end,
    both are expanded about the middle of the step; terms of odd order are total derivatives, and the logarithm adds
    :math:`-h^4 \omega^4 / 4`.
    """
    if n_steps < 1:
        raise ValueError(f"n_steps must be at least 1, got {n_steps!r}")
    bent = power * (8 - power) / 24 * slope_moment(speed, -3 * power) if power else 0.0
    bracket = bent - speed_moment(speed, 4 - 3 * power) / 4
    return 2 * speed_moment(speed, power) ** 2 / (n_steps**2 * speed_moment(speed, 2 - power)) * bracket


def equal_steps_loss(speed: Speed) -> float:
    r"""Factor by which equal steps lose to the best ones, :math:`\int \omega^2 / (\int \omega)^2 \ge 1`, 1 only if omega is
    constant."""
    return speed_moment(speed, 2.0) / speed_moment(speed, 1.0) ** 2


def real_stability_limit(coefficients: tuple[float, ...] = (1, 1, 1 / 2, 1 / 6, 1 / 24, 1 / 120, 1 / 600)) -> float:
    r"""Largest z for which the step of a Runge-Kutta method with polynomial R is stable on :math:`\dot u = -u`: |R(-z)| <= 1.

    ``coefficients`` of R, ascending; the default is the fifth-order method of Dormand and Prince (3.3066). With
    ``1, 1, 1/2, 1/6, 1/24`` it is the classical method of order four (2.7853).
    """
    descending = np.array(coefficients[::-1], dtype=np.float64)
    ends = []
    for target in (1.0, -1.0):
        shifted = descending.copy()
        shifted[-1] -= target
        roots = np.roots(shifted)
        ends += [-float(root.real) for root in roots if abs(root.imag) < 1e-9 and root.real < -1e-6]
    return min(ends) if ends else math.inf


@dataclass(frozen=True)
class GateFlow:
    """Training of the gates: ``times (time,)``; ``error (time,)``, 2 N times the log of the norm; ``steps (time, place)``, N
    times the step at the places (j + 1/2) / M of the depth; ``clock (time, place)``, the time reached there."""

    times: np.ndarray
    error: np.ndarray
    steps: np.ndarray
    clock: np.ndarray


def gate_flow(speed: Speed, times: ArrayLike, n_places: int = 400, blind: bool = False) -> GateFlow:
    r"""Gradient flow of the gates of an infinitely deep chain of Euler blocks, from equal steps.

    Block s in [0, 1] of the chain has the gate (step) :math:`t_s = e^{\theta(s)} / \int e^\theta` (a softmax over depth), and the
    chain's error is :math:`L = \tfrac12 \int t_s^2 \omega(t)^2 ds`. Its gradient flow is

    .. math:: \dot\theta = -t_s \Big(G - \int t_s G\, ds\Big), \qquad G(s) = t_s \omega^2 + \int_s^1 t_s^2\, \omega\, \omega' ds.

    It rests only where :math:`t_s \propto 1/\omega(t)`: the steps that are proportional to 1 / index. For a chain of N blocks
    trained by gradient descent on the log of the norm, time is learning rate times steps / N^2, up to O(1 / N).

    ``blind`` leaves out the integral in G: each gate then sees the error of its own block, and not that it moves the clock of
    the later ones. That flow rests at :math:`t_s \propto 1/\omega^2`, steps that are as bad as equal ones.
    """
    times = increasing_times(times)

    def steps_of(theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        weights = np.exp(theta - theta.max())
        rate = weights / weights.mean()
        return rate, (np.cumsum(rate) - rate / 2) / n_places

    def descent(_: float, theta: np.ndarray) -> np.ndarray:
        rate, clock = steps_of(theta)
        omega = speed(clock)
        source = rate**2 * omega * speed.slope(clock) / n_places
        later = 0.0 if blind else source.sum() - np.cumsum(source) + source / 2
        G = rate * omega**2 + later
        return -rate * (G - (rate * G).mean())

    found = solve_ivp(descent, (0.0, float(times[-1])), np.zeros(n_places), "RK45", times, rtol=1e-6, atol=1e-8)
    pairs = [steps_of(theta) for theta in found.y.T]
    rates, clocks = (np.array(each) for each in zip(*pairs, strict=True))
    return GateFlow(times, (rates**2 * speed(clocks) ** 2).mean(-1), rates, clocks)
