r"""How well a memory trained online recalls: correlated keys, outliers, chunks, drift and forgetting, at finite sizes.

Conventions of :mod:`attnlab.theory.associative_memory.objectives`; keys are uniform on the unit sphere of :math:`\mathbb R^d`
but where said. Rows of W - W* evolve alike, so a law of one row is that of all. Derived here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.optimize import brentq
from scipy.special import roots_gegenbauer

from attnlab.theory.checks import check_count, check_positive, check_share


def hebbian_equicorrelated_error(n_pairs: int, overlap: float) -> float:
    r"""Error per value entry of the sum of n pairs whose keys all overlap by rho: :math:`(n - 1) \rho^2`; values of variance
    1."""
    check_count(n_pairs=n_pairs)
    check_share(overlap=overlap)
    return (n_pairs - 1) * overlap**2


def delta_equicorrelated_errors(n_pairs: int, overlap: float) -> np.ndarray:
    r"""Errors ``(n_pairs,)`` in the order written after one pass of the delta rule at rate 1, keys overlapping by rho, exact.

    .. math:: W_n k_i - v_i = \rho (S_n - S_i), \qquad S_t = (1 - \rho) S_{t-1} + v_t,

    whose mean square is :math:`\rho^2 [(1 - r^m)^2 a_i + a_m]`, :math:`r = 1 - \rho`, m = n - i pairs written later and
    :math:`a_t = (1 - r^{2t}) / (1 - r^2)`. Never above :math:`\rho^2 (n - i)(1 + \rho^2 (n - i)\, i)`; 0 for the last pair.
    Why: writing pair t adds :math:`(v_t - \rho S_{t-1}) k_t^\top`.
    """
    check_count(n_pairs=n_pairs)
    check_share(overlap=overlap)
    if overlap == 0:
        return np.zeros(n_pairs)
    r, i = 1 - overlap, np.arange(1, n_pairs + 1)
    later = n_pairs - i

    def spread(t):
        return (1 - r ** (2.0 * t)) / (1 - r**2)

    return overlap**2 * ((1 - r ** later.astype(float)) ** 2 * spread(i) + spread(later))


def sequential_factor_exact(n_keys: int, dim: int, rate: float) -> float:
    r"""Factor of :math:`E |W - W^*|^2` after n steps of the delta rule: :math:`(1 - \eta(2 - \eta)/d)^n`; below 1 for rates to
    2."""
    check_count(n_keys=n_keys, dim=dim)
    return (1 - rate * (2 - rate) / dim) ** n_keys


def chunk_factor_exact(n_keys: int, dim: int, rate: float) -> float:
    r"""The same where all gradients of a chunk of b pairs are taken at its first memory.

    .. math:: 1 - \frac{2 \eta b}{d} + \frac{\eta^2 b}{d} \Big(1 + \frac{b - 1}{d}\Big)

    Why: :math:`E\,\mathrm{tr}(S^2) = b + b(b-1)/d` for :math:`S = \sum k_i k_i^\top`.
    """
    check_count(n_keys=n_keys, dim=dim)
    return 1 - 2 * rate * n_keys / dim + rate**2 * n_keys / dim * (1 + (n_keys - 1) / dim)


def chunk_rate_limit(n_keys: int, dim: int) -> float:
    r"""The rate from which chunks of b pairs make a memory worse: :math:`2d / (d + b - 1)`; 2 for single pairs."""
    check_count(n_keys=n_keys, dim=dim)
    return 2 * dim / (dim + n_keys - 1)


def chunk_difference_exact(n_keys: int, dim: int, rate: float) -> float:
    r"""Mean of :math:`\mathrm{tr}(P)/d`, P the product of the delta rule's steps less that of a chunk, of the same keys.

    .. math:: (1 - \eta/d)^b - 1 + \eta b/d \approx \frac{\eta^2 b (b - 1)}{2 d^2}

    per chunk: of order :math:`\eta^2 b^2`, and so :math:`\eta^2 b` per pair.
    """
    check_count(n_keys=n_keys, dim=dim)
    return (1 - rate / dim) ** n_keys - 1 + rate * n_keys / dim


def tracking_error_exact(dim: int, rate: float, noise_std: float, drift_std: float) -> float:
    r"""Stationary :math:`E |\delta|^2` of a row of the delta rule on values with noise s, the target of which walks by steps
    N(0, q^2/d).

    .. math:: \frac{q^2 (1 - c) + \eta^2 s^2}{c}, \qquad c = \frac{\eta (2 - \eta)}{d},

    delta being taken after a write. Outliers of variance s_0^2 at a rate eps count as noise :math:`s^2 = \epsilon s_0^2`: nothing
    diverges, at any size of outliers.
    """
    check_count(dim=dim)
    check_positive(rate=rate)
    if not rate < 2:
        raise ValueError(f"rate={rate!r} must be below 2: the delta rule diverges there")
    c = rate * (2 - rate) / dim
    return (drift_std**2 * (1 - c) + rate**2 * noise_std**2) / c


def best_tracking_rate(dim: int, noise_std: float, drift_std: float) -> float:
    r"""The rate of least :func:`tracking_error_exact`: with :math:`x = q^2/s^2`, :math:`\eta = \tfrac12(-x + \sqrt{x^2 + 4x})`,
    at most 1.

    Why: the derivative of :math:`(q^2 d + \eta^2 s^2 d)/(\eta (2 - \eta))` vanishes where :math:`\eta^2 + x \eta - x = 0`.
    """
    check_count(dim=dim)
    check_positive(noise_std=noise_std, drift_std=drift_std)
    x = (drift_std / noise_std) ** 2
    return float((-x + np.sqrt(x * x + 4 * x)) / 2)


def forgetting_gain_exact(dim: int, rate: float, gate: float, late: bool = False) -> float:
    r"""Share of the target that the mean memory of the gated delta rule holds: :math:`\frac{\eta/d}{1 - \alpha (1 - \eta/d)}`.

    ``late``: with the gradient at the memory before the gate, :math:`\frac{\eta/d}{1 - \alpha + \eta/d}`. A gate that forgets
    faster than
    :math:`1 - \alpha \approx \eta/d` loses most of it.
    """
    check_count(dim=dim)
    check_positive(rate=rate)
    check_share(gate=gate)
    return rate / dim / (1 - gate + (1 if late else gate) * rate / dim)


def power_step_limit(power: float, rate: float) -> float:
    r"""The error of a pair with a unit key that one step on :math:`|e|^p` only turns around: :math:`(2 / (\eta p))^{1/(p-2)}`.

    Above p = 2 larger errors grow and smaller ones shrink: without a normaliser a single larger outlier ends in overflow, by
    repetition of its own key. Below p = 2 it is the other way round: errors shrink to this floor, and are thrown back from below
    it. Why: a step is :math:`e \leftarrow e (1 - \eta p |e|^{p-2})`.
    """
    check_positive(rate=rate)
    if power == 2 or not power >= 1:
        raise ValueError(f"power={power!r} must be at least 1 and not 2, where the limit is one of the rate")
    return (2 / (rate * power)) ** (1 / (power - 2))


@dataclass(frozen=True)
class OutlierLaw:
    r"""Stationary error of a memory whose values are hit by outliers N(0, s^2), s = ``outlier_std``, all entries of a pair
    together.

    ``loss``: "l1", gradient sign(e), or "huber", gradient clip(e, -c, c) with c = ``scale``. With :math:`x = |\delta|^2` of a
    row, z = sqrt(x) t, t the first coordinate of a point of the sphere and xi the outlier or 0,

    .. math:: x \leftarrow x - 2 \eta z \psi(z - \xi) + \eta^2 \psi(z - \xi)^2,

    a chain in x alone. :meth:`leading` is the x at which its mean change vanishes; :meth:`mean` is its stationary mean, from the
    chain on a grid of steps of x/100, quadratures included good to 1e-4.
    """

    dim: int
    rate: float
    loss: str = "huber"
    scale: float = 1.0
    outlier_rate: float = 0.0
    outlier_std: float = 10.0

    def __post_init__(self) -> None:
        check_count(at_least=3, dim=self.dim)
        check_positive(rate=self.rate, scale=self.scale, outlier_std=self.outlier_std)
        check_share(outlier_rate=self.outlier_rate)
        if self.loss not in ("l1", "huber"):
            raise ValueError(f"loss={self.loss!r} is unknown; use 'l1' or 'huber'")

    def leading(self) -> float:
        """Where the mean change vanishes."""
        if self.loss == "huber" and self.outlier_rate == 0:
            return 0.0
        return float(np.exp(brentq(lambda log_x: self._drift(np.exp(log_x)), -25.0, 16.0, xtol=1e-10)))

    def mean(self) -> float:
        """The stationary mean of x, with its fluctuations. 0 where nothing disturbs (no outliers, Huber)."""
        centre = self.leading()
        if centre == 0:
            return 0.0
        n = 800
        x = centre * np.linspace(0, 8, n)
        moves = np.zeros((n, n))
        rows = np.arange(n)[:, None]
        t, w = _overlaps(self.dim)
        for share, xi in self._outliers():
            at = np.clip(x[:, None] + self._change(np.sqrt(x)[:, None] * t, xi), 0, x[-1]) / x[1]
            low = np.minimum(at.astype(int), n - 2)
            for where, part in ((low, 1 - (at - low)), (low + 1, at - low)):  # keeps the mean of a move
                cells = np.bincount((rows * n + where).ravel(), (share * w * part).ravel(), minlength=n * n)
                moves += cells.reshape(n, n)
        balance = moves.T - np.eye(n)
        balance[0] = 1.0
        law = np.linalg.solve(balance, np.eye(n)[0])
        return float(law @ x)

    def _drift(self, x: float) -> float:
        """Mean change of x in one step."""
        t, w = _overlaps(self.dim)
        return sum(share * float(w @ self._change(np.sqrt(x) * t, xi)) for share, xi in self._outliers())

    def _outliers(self) -> list[tuple[float, float]]:
        """Outliers with their probabilities."""
        if not self.outlier_rate:
            return [(1.0, 0.0)]
        even = np.linspace(-5, 5, 120)
        u = 5 * np.sinh(even) / np.sinh(5)  # dense at 0, where signs are decided
        p = np.exp(-(u**2) / 2) * np.cosh(even)
        hit = zip(self.outlier_rate * p / p.sum(), self.outlier_std * u, strict=True)
        return [(1 - self.outlier_rate, 0.0), *((float(share), float(xi)) for share, xi in hit)]

    def _change(self, z: np.ndarray, xi: float) -> np.ndarray:
        e = z - xi
        psi = np.where(e < 0, -1.0, 1.0) if self.loss == "l1" else np.clip(e, -self.scale, self.scale)
        return -2 * self.rate * z * psi + self.rate**2 * psi**2


@cache
def _overlaps(dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Quadrature of |t|, t the first coordinate of a point of the sphere; the change is even in t once xi is averaged."""
    t, w = roots_gegenbauer(240, dim / 2 - 1)
    return t[t > 0], w[t > 0] / w[t > 0].sum()
