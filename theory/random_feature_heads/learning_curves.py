r"""Errors of kernel regression with random-feature kernels: the learning curve, and a lower bound for every sample size.

Learning curve: the deterministic limit of ridge regression with eigenvalues lambda_a and energies v_a (Simon, Dickens, Karkada
and DeWeese 2023; Canatar, Bordelon and Pehlevan 2021). Lower bound: what n samples or p parameters can hold of a mode with
D dimensions that a symmetry of the problem mixes.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq

from attnlab.theory.checks import check_not_negative, check_positive
from attnlab.theory.random_feature_heads.spectrum import Spectrum, multiplicity, target_energies, variance


def effective_ridge(spectrum: Spectrum, n_samples: float, ridge: float) -> float:
    r"""The solution kappa of n = sum_a m_a lambda_a / (lambda_a + kappa) + (ridge + tail) / kappa.

    ``ridge`` is what is added to the diagonal of the n x n Gram matrix. kappa lies between (ridge + tail) / n and
    (ridge + E K(x, x)) / n; a mode is learned once kappa falls below its eigenvalue.
    """
    if not (n_samples > 0 and ridge >= 0 and ridge + spectrum.tail > 0):
        raise ValueError(f"n_samples={n_samples!r} must be positive, and ridge={ridge!r} too where no mode is left out")
    values, counts = _arrays(spectrum)
    rest = ridge + spectrum.tail

    def excess(log_kappa: float) -> float:
        kappa = math.exp(log_kappa)
        return float((counts * values / (values + kappa)).sum() + rest / kappa - n_samples)

    low, high = math.log(rest / n_samples), math.log((rest + float(counts @ values)) / n_samples)
    return math.exp(brentq(excess, low - 1e-9, high + 1e-9, xtol=1e-13))


def inflation(spectrum: Spectrum, n_samples: float, kappa: float) -> float:
    """The factor E_0 = n / (n - sum_a m_a L_a^2), L_a = lambda_a / (lambda_a + kappa): what fitting finite data adds."""
    values, counts = _arrays(spectrum)
    return n_samples / (n_samples - float(counts @ (values / (values + kappa)) ** 2))


def learning_curve(
    spectrum: Spectrum, target: str, dim: int, n_keys: int, n_samples: ArrayLike, *, ridge: float, inflated: bool = True
) -> np.ndarray:
    r"""Predicted test error over the target's variance at each number of samples, labels without noise.

    .. math:: \text{error} = E_0 \sum_a v_a (1 - L_a)^2 / \mathrm{Var} f, \qquad L_a = \lambda_a / (\lambda_a + \kappa_n) .

    ``inflated=False`` leaves out E_0: the bias alone, a rival without the variance of the sample.
    """
    energies = target_energies(target, dim, n_keys)
    curve = []
    for n in np.atleast_1d(n_samples):
        kappa = effective_ridge(spectrum, n, ridge)
        left = sum(
            energy * (kappa / (spectrum.eigenvalues[spectrum.mode(*mode)] + kappa)) ** 2
            for mode, energy in energies.items()
        )
        curve.append(left * (inflation(spectrum, n, kappa) if inflated else 1.0))
    return np.array(curve) / variance(target, dim, n_keys)


def noise_error(spectrum: Spectrum, n_samples: ArrayLike, *, ridge: float, inflated: bool = True) -> np.ndarray:
    r"""Predicted error that noise in the labels adds, over the variance of the noise, at each number of samples: E_0 - 1.

    In the learning curve noise of variance sigma^2 is a mode that is never learned, so a noisy label is predicted with error
    E_0 (sum_a v_a (1 - L_a)^2 + sigma^2), its mean with sigma^2 less. ``inflated=False``: sum_a m_a L_a^2 / n = 1 - 1 / E_0,
    the variance of a fixed filter L_a, a rival in which fitting does not inflate its own noise.
    """
    found = np.array([inflation(spectrum, n, effective_ridge(spectrum, n, ridge)) for n in np.atleast_1d(n_samples)])
    return found - 1 if inflated else 1 - 1 / found


def norm_of_fit(
    spectrum: Spectrum, target: str, dim: int, n_keys: int, n_samples: ArrayLike, *, ridge: float
) -> np.ndarray:
    """Predicted y^T (K + ridge I)^{-1} y without noise: sum_a v_a / (lambda_a + kappa_n), which rises to ||f||^2 with n."""
    energies = target_energies(target, dim, n_keys)
    return np.array(
        [
            sum(
                energy / (spectrum.eigenvalues[spectrum.mode(*mode)] + effective_ridge(spectrum, n, ridge))
                for mode, energy in energies.items()
                if energy
            )
            for n in np.atleast_1d(n_samples)
        ]
    )


def norm_error_bound(spectrum: Spectrum, squared_norm: float, n_samples: ArrayLike, *, ridge: float) -> np.ndarray:
    r"""The largest error that the learning curve gives to any function of this squared norm: E_0 ||f||^2 kappa_n / 4.

    At most E_0 ||f||^2 (E K(x, x) + ridge) / (4 n): the number of samples enters as 1/n and the dimension only through the
    norm. Why: v (kappa / (lambda + kappa))^2 = (v / lambda) kappa x / (1 + x)^2 with x = kappa / lambda; sharp at x = 1.
    """
    kappas = [effective_ridge(spectrum, n, ridge) for n in np.atleast_1d(n_samples)]
    return np.array(
        [
            inflation(spectrum, n, kappa) * squared_norm * kappa / 4
            for n, kappa in zip(np.atleast_1d(n_samples), kappas, strict=True)
        ]
    )


def published_risk_bound(complexity: float, dim: int, n_heads: ArrayLike, n_samples: float) -> np.ndarray:
    r"""The published form of the excess-risk bound with every constant one.

    .. math:: B\, \Big(\sqrt{\log(d M) / n} + \sqrt{(d^2 + \log M) / M}\Big)

    An upper bound on the excess risk (not relative to the variance) of the norm-constrained minimiser with M heads and
    n samples, for a target of complexity B; the paper states it up to constants, Fu, Guo, Bai and Mei 2023 (arXiv
    2307.11353). Not a rate.
    """
    check_positive(complexity=complexity, dim=dim, n_samples=n_samples)
    m = np.asarray(n_heads, dtype=np.float64)
    return complexity * (np.sqrt(np.log(dim * m) / n_samples) + np.sqrt((dim**2 + np.log(m)) / m))


def half_samples(spectrum: Spectrum, target: str, dim: int, n_keys: int, *, ridge: float) -> float:
    """The number of samples at which the predicted error is half of the target's variance (the last crossing)."""

    def excess(log_n: float) -> float:
        return math.log(2 * float(learning_curve(spectrum, target, dim, n_keys, math.exp(log_n), ridge=ridge)[0]))

    grid = np.linspace(0, math.log(1e16), 161)
    above = [index for index, value in enumerate(map(excess, grid)) if value > 0]
    if not above or above[-1] == grid.size - 1:
        raise ValueError(f"target={target!r} never crosses half of its variance in up to 1e16 samples")
    return math.exp(brentq(excess, grid[above[-1]], grid[above[-1] + 1], xtol=1e-10))


def rank_error_bound(target: str, dim: int, n_keys: int, rank: float, *, exchangeable: bool = True) -> float:
    r"""Least mean error, over the target's variance, of any predictor in a random space of ``rank`` dimensions.

    .. math:: E\,\mathrm{error} \ge \sum_a v_a (1 - r_a / D_a) / \mathrm{Var} f, \qquad \sum_a r_a \le \text{rank}
              \text{ chosen best}, \quad D_{l_0 l} = N(d, l_0) N(d, l) .

    Kernel regression on n samples predicts in the span of n functions, M heads in one of M (d + 1) dimensions, whatever the
    labels and the ridge. The bound holds if rotating the query and, by another rotation, all keys leaves the law of that
    space unchanged: zero-mean Gaussian W, but not a mean proportional to the identity. ``exchangeable=False``: kernels that
    are invariant under rotating each token by itself and do not know that keys may be exchanged, such as the perceptron's;
    then D is N times as large where l >= 1. Why: averaged over the group, a projection captures tr(P P_a) / D_a of mode a.
    """
    check_not_negative(rank=rank)
    energies, copies = target_energies(target, dim, n_keys), 1 if exchangeable else n_keys
    parts = [
        (energy, multiplicity(dim, a) * multiplicity(dim, b) * (copies if b else 1))
        for (a, b), energy in energies.items()
    ]
    left, room = 0.0, rank
    for energy, size in sorted(parts, key=lambda part: part[0] / part[1], reverse=True):
        left += energy * (1 - min(room, size) / size)
        room = max(0, room - size)
    return left / variance(target, dim, n_keys)


def _arrays(spectrum: Spectrum) -> tuple[np.ndarray, np.ndarray]:
    return (
        np.array(list(spectrum.eigenvalues.values())),
        np.array([spectrum.multiplicities[mode] for mode in spectrum.eigenvalues]),
    )
