r"""What instruments of explanations should read: deletion areas, fits of weights to distances, probes, pools and readers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import special

from attnlab.theory.checks import check_count, check_not_negative, check_positive


def value_gain(mass: float, eps: float) -> float:
    r"""By how much values of tokens must grow so that their attention mass falls from a to eps and nothing else changes:
    a/eps."""
    check_positive(mass=mass, eps=eps)
    return mass / eps


def random_gain_sd(n: int) -> float:
    r"""Spread of the part of the worst gain that a random direction of n scores has: the cosine with a fixed one,
    :math:`1/\sqrt n`."""
    check_count(n=n)
    return n**-0.5


def deletion_area(contributions: Sequence[float]) -> float:
    r"""Area under f while contributions of an additive f are deleted in this order:
    :math:`\sum_j c_j (j - \frac12)/(n \sum_j c_j)`."""
    c = np.asarray(contributions, dtype=np.float64)
    check_positive(total=float(c.sum()))
    return float(c @ (np.arange(c.size) + 0.5)) / c.size / float(c.sum())


def random_deletion_sd(contributions: Sequence[float]) -> float:
    r"""Spread of that area over random orders, :math:`\sqrt{(n+1)/(12n)}\,\lVert c - \bar c\rVert/\sum c`; its mean is 1/2."""
    c = np.asarray(contributions, dtype=np.float64)
    check_positive(total=float(c.sum()))
    return math.sqrt((c.size + 1) / (12 * c.size)) * float(np.linalg.norm(c - c.mean())) / float(c.sum())


def screened_power_sd(distances: np.ndarray, noise_sd: float) -> np.ndarray:
    r"""Spreads of the least-squares p and 1/lambda of :math:`-p\ln r - r/\lambda + \mathrm{const}_i + \epsilon`, distances (row,
    key).

    .. math:: \sigma^2 (X^\top X)^{-1}, \qquad X = (\ln r, r) \text{ centred per row}.
    """
    check_not_negative(noise_sd=noise_sd)
    r = np.asarray(distances, dtype=np.float64)
    x = np.stack([each - each.mean(-1, keepdims=True) for each in (np.log(r), r)]).reshape(2, -1)
    return noise_sd * np.sqrt(np.diag(np.linalg.inv(x @ x.T)))


def probe_accuracy_approx(distance: float, dim: int, n_train: int) -> float:
    r"""Accuracy of a mean-difference probe, :math:`\Phi\bigl(\frac{\Delta^2/2}{\sqrt{\Delta^2 + 4d/n}}\bigr)`: noise at its
    mean."""
    check_count(dim=dim, n_train=n_train)
    return float(special.ndtr(distance**2 / 2 / math.sqrt(distance**2 + 4 * dim / n_train)))


def probe_accuracy_exact(distance: float, dim: int, n_train: int) -> float:
    r"""The same with the noise integrated: n/2 states of each of two unit Gaussian classes, threshold midway.

    .. math:: \mathrm{E}\,\Phi\Bigl(\frac{\Delta w_1}{2 \lVert w\rVert\sqrt{1 + 1/n}}\Bigr), \quad
              w_1 \sim N(\Delta, 4/n), \quad \lVert w \rVert^2 = w_1^2 + \tfrac4n \chi^2_{d-1},

    the threshold's noise N(0, |w|^2/n) being averaged over both classes.
    """
    check_count(at_least=2, dim=dim, n_train=n_train)
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    levels = (np.arange(400) + 0.5) / 400
    chi2 = 2 * special.gammaincinv((dim - 1) / 2, levels)
    w = distance + nodes[:, None] * 2 / math.sqrt(n_train)
    x = distance * w / (2 * np.sqrt((w**2 + 4 / n_train * chi2) * (1 + 1 / n_train)))
    return float(weights @ special.ndtr(x).mean(-1) / weights.sum())


def mean_pool_distance(distance: float, n_tokens: int) -> float:
    r"""Distance of the classes in the mean of N tokens one of which carries the label: :math:`\Delta/\sqrt N`."""
    check_count(n_tokens=n_tokens)
    return distance / math.sqrt(n_tokens)


def hebbian_accuracy(variances: Sequence[float], axis: int, n_examples: int, own_noise: bool = True) -> float:
    r"""How often a reader that adds y_i h_i over n examples knows the sign of coordinate k of another state, states N(0, Lambda).

    .. math:: \frac12 + \frac1\pi \int_0^\infty \frac{2}{\sqrt{\pi a}} D\Bigl(\frac{t\mu}{\sqrt{2a}}\Bigr)
              \prod_{j \ne k} \Bigl(1 + \frac{t^2\lambda_j^2}{n}\Bigr)^{-1/2} \frac{dt}{t}, \qquad
              \mu = \lambda_k\sqrt{2/\pi}, \quad a = 1 + \frac{t^2\lambda_k^2(1 - 2/\pi)}{n},

    D Dawson's integral. Why: the sum is u_k x_k + sum_j u_j x_j with x the query's coordinates over their spreads, u_j exactly
    normal for j not k; products of normals have the factors under the root, and x_k > 0 gives Dawson's. u_k is a mean of n
    half-normal numbers, taken as normal; ``own_noise=False`` takes its mean.
    """
    lam = np.asarray(variances, dtype=np.float64)
    check_positive(variances=lam)
    check_count(n_examples=n_examples)
    mu, own = lam[axis] * math.sqrt(2 / math.pi), lam[axis] ** 2 * (1 - 2 / math.pi) / n_examples * own_noise
    y = np.arange(-30.0, 40.0, 0.01)
    t = np.exp(y) / mu
    a = 1 + t**2 * own
    rest = np.delete(lam, axis)
    log = -0.5 * np.log1p(t[:, None] ** 2 * rest**2 / n_examples).sum(-1)
    return float(
        0.5 + (2 / np.sqrt(math.pi * a) * special.dawsn(t * mu / np.sqrt(2 * a)) * np.exp(log)).sum() * 0.01 / math.pi
    )
