r"""Linear attention on in-context linear regression: best weights and exact risks at any length and covariance.

Task: covariates ``x ~ N(0, S)``, task vector ``w ~ N(0, W)`` (``prior``, the identity if not given), labels ``y = w^T x +
noise`` of variance ``noise_std ** 2``. One layer of linear attention predicts ``y_hat = beta^T G x_q`` from the context only
through ``beta = (1 / N) sum_i y_i x_i``; ``G`` of shape (d, d) is its effective matrix. Risks include the noise of the query's
label once. Sources: Zhang, Frei, Bartlett 2024 (arXiv 2306.09927); Ahn et al. 2023 (arXiv 2306.00297).
"""

import numpy as np

from attnlab.theory.checks import check_not_negative, check_positive
from attnlab.theory.preconditioned_regression.risks import (
    best_plain_preconditioner_exact,
    plain_preconditioned_risk_exact,
)


def risk_exact(matrix, covariance, n_context: int, noise_std: float = 0.0, prior=None) -> float:
    r"""Risk of ``y_hat = beta^T G x_q``, exact at every size, for any effective matrix ``G`` of shape (d, d).

    .. math:: R = \sigma^2 + \mathrm{tr}(S W) - 2\,\mathrm{tr}(G^T S W S) + \mathrm{tr}(B_N G S G^T), \qquad
              B_N = (1 + \tfrac1N) S W S + \tfrac{\mathrm{tr}(W S) + \sigma^2}{N} S .

    A model trained at one length or covariance and tested at another has the risk of its own ``G`` at the test values.

    Why: ``B_N`` is the second moment of ``beta``, from the fourth moments of a normal vector; query and context are independent.
    """
    return plain_preconditioned_risk_exact(matrix, covariance, n_context, noise_std, _prior(prior, covariance))


def best_matrix_exact(covariance, n_context: int, noise_std: float = 0.0, prior=None) -> np.ndarray:
    r"""The effective matrix of least risk, ``G = B_N^{-1} S W``; for ``W = I`` without noise it is ``Gamma^{-1}``.

    .. math:: \Gamma = (1 + \tfrac1N) S + \tfrac{\mathrm{tr} S}{N} I .

    One step of gradient descent from zero, preconditioned by ``Gamma^{-1}`` (Zhang et al. 2024, theorem 4.1; Ahn et al. 2023,
    theorem 1).
    """
    return best_plain_preconditioner_exact(covariance, n_context, noise_std, _prior(prior, covariance))


def best_risk_exact(covariance, n_context: int, noise_std: float = 0.0, prior=None) -> float:
    """Least risk of one layer of linear attention, ``noise_std^2 + tr(S W) - tr(G^T S W S)`` at the best ``G``."""
    return risk_exact(
        best_matrix_exact(covariance, n_context, noise_std, prior), covariance, n_context, noise_std, prior
    )


def balanced_limit_weights_exact(covariance, n_context: int) -> tuple[float, np.ndarray]:
    r"""Limit of gradient flow from a balanced start: value weight and key-query block (d, d), for ``W = I``, no noise.

    .. math:: v = (\mathrm{tr}\,\Gamma^{-2})^{1/4}, \qquad U = \Gamma^{-1} / v .

    Balanced means ``v(0) = ||U(0)||_F``; the flow conserves ``v^2 - ||U||_F^2``. Zhang et al. 2024, theorem 4.1.
    """
    matrix = best_matrix_exact(covariance, n_context)
    value = float(np.linalg.norm(matrix) ** 0.5)
    return value, matrix / value


def small_start_bound(covariance, n_context: int) -> float:
    r"""Largest scale sigma of the start for which convergence is proved, :math:`\sigma^2 \|\Gamma\|_{op} \sqrt d < 2`."""
    gamma = np.linalg.inv(best_matrix_exact(covariance, n_context))
    return float((2 / (np.linalg.norm(gamma, 2) * len(gamma) ** 0.5)) ** 0.5)


def long_context_risk_limit(matrix, covariance, noise_std: float = 0.0, prior=None) -> float:
    r"""Risk of a fixed effective matrix as the test context grows without end: the bias that no context removes.

    .. math:: R_\infty = \sigma^2 + \mathrm{tr}\bigl( W (I - S G) S (I - S G)^T \bigr).

    Zero (without noise) only for ``G = S^{-1}`` with the covariance of the test. The risk at length M approaches it like 1 / M.
    """
    S, G = np.asarray(covariance, float), np.asarray(matrix, float)
    left = np.eye(len(S)) - S @ G
    return float(noise_std**2 + np.trace(_prior(prior, S) @ left @ S @ left.T))


def ridge_risk_limit(aspect_ratio, noise_std: float, ridge: float) -> np.ndarray:
    r"""Risk of ridge regression in context as ``d, N -> infinity`` with ``d / N -> xi``, for ``S = I``, ``W = I / d``.

    .. math:: R = \sigma^2 + r^2 m_2 + \sigma^2 \xi (m - r m_2), \quad
              m(z) = \frac{-(1 - \xi + z) + \sqrt{(1 - \xi + z)^2 + 4 \xi z}}{2 \xi z}, \quad m_2 = -m'(r),

    with the estimator ``(X^T X / N + r)^{-1} beta``. It is least at ``r = xi noise_std^2``, the Bayes estimator. m is the
    Marchenko-Pastur transform ``tr (X^T X / N + z)^{-1} / d``.
    """
    xi, z = np.asarray(aspect_ratio, float), float(ridge)
    check_positive(aspect_ratio=xi, ridge=ridge)
    check_not_negative(noise_std=noise_std)
    b = 1 - xi + z
    root = np.sqrt(b**2 + 4 * xi * z)
    m = np.where(b > 0, 2 / (root + np.abs(b)), (root - b) / (2 * xi * z))
    # xi z m^2 + b m = 1, differentiated by z: m' (2 xi z m + b) = -(xi m^2 + m), and 2 xi z m + b = root
    m2 = (xi * m**2 + m) / root
    return noise_std**2 + z**2 * m2 + noise_std**2 * xi * (m - z * m2)


def _prior(prior, covariance) -> np.ndarray:
    return np.eye(len(covariance)) if prior is None else np.asarray(prior, float)
