r"""Preconditioned gradient descent on in-context regression, any covariance and prior: exact risk (He et al. 2025).

Covariates ``x ~ N(0, covariance)``, task vector ``beta ~ N(0, prior)`` (``I / d`` if not given), label noise
``noise_std``. Heads of small scale compute ``y_hat = (1 / L) sum_l y_l (x_l - x_mean)^T M x_q``, ``M = sum_h mu_h
KQ_h`` restricted to the covariates: debiased gradient descent preconditioned by ``M``. All risks include the noise of
the query's label.
"""

import numpy as np

from attnlab.theory.checks import check_count, check_standard_deviation


def autoregressive_covariance(dim: int, correlation: float) -> np.ndarray:
    """Covariance ``correlation ** |i - j|`` of shape (dim, dim), the anisotropic test case of the paper's code."""
    if dim < 1 or not abs(correlation) < 1:
        raise ValueError(f"need dim >= 1 and |correlation| < 1, got dim={dim!r}, correlation={correlation!r}")
    index = np.arange(dim)
    return float(correlation) ** np.abs(index[:, None] - index)


def debiased_preconditioned_risk_exact(
    preconditioner, covariance, n_context: int, noise_std: float, prior=None
) -> float:
    r"""Risk of debiased gradient descent preconditioned by any matrix ``M`` of shape (d, d), exact at finite sizes.

    With ``n = L - 1``, covariance ``S`` and prior ``W``:

    .. math:: R = \mathrm{tr}(W S) + \sigma^2 - \frac{2 n}{L} \mathrm{tr}(W S M^T S)
              + \frac{n}{L^2} \mathrm{tr}\bigl( S M^T [ (n + 1)\, S W S + (\mathrm{tr}(W S) + \sigma^2)\, S ] M \bigr).

    Why: the centred scatter is Wishart, ``E[A W A] = n (n + 1) S W S + n tr(W S) S`` for n degrees of freedom.
    """
    return _risk(preconditioner, covariance, n_context, noise_std, prior, degrees=n_context - 1)


def plain_preconditioned_risk_exact(preconditioner, covariance, n_context: int, noise_std: float, prior=None) -> float:
    """Risk of ``y_hat = (1 / L) sum_l y_l x_l^T M x_q``, without centring: the same formula with ``n = L``."""
    return _risk(preconditioner, covariance, n_context, noise_std, prior, degrees=n_context)


def best_debiased_preconditioner_exact(covariance, n_context: int, noise_std: float, prior=None) -> np.ndarray:
    r"""The preconditioner of smallest risk for debiased gradient descent, shape (d, d), exact at finite sizes.

    .. math:: M_* = \Bigl( S W S + \frac{\mathrm{tr}(W S) + \sigma^2}{L} S \Bigr)^{-1} S W, \qquad
              W = I / d:\quad M_* = \Bigl( S + \frac{\mathrm{tr} S + d \sigma^2}{L} I \Bigr)^{-1}.

    It is the inverse covariance with a ridge set by the length of the context. ``S`` must be invertible.
    """
    S, W = _matrices(covariance, n_context, noise_std, prior)
    ridge = (np.trace(W @ S) + noise_std**2) / n_context
    return np.linalg.solve(S @ W @ S + ridge * S, S @ W)


def best_plain_preconditioner_exact(covariance, n_context: int, noise_std: float, prior=None) -> np.ndarray:
    """As `best_debiased_preconditioner_exact` without centring: ``S W S`` is multiplied by ``(L + 1) / L``."""
    S, W = _matrices(covariance, n_context, noise_std, prior)
    ridge = (np.trace(W @ S) + noise_std**2) / n_context
    return np.linalg.solve((n_context + 1) / n_context * S @ W @ S + ridge * S, S @ W)


def best_debiased_preconditioned_risk_exact(covariance, n_context: int, noise_std: float, prior=None) -> float:
    r"""Smallest risk, ``tr(W S) + sigma^2 - ((L - 1) / L) tr(W S M_*^T S)``."""
    S, W = _matrices(covariance, n_context, noise_std, prior)
    M = best_debiased_preconditioner_exact(S, n_context, noise_std, W)
    return float(np.trace(W @ S) + noise_std**2 - (n_context - 1) / n_context * np.trace(W @ S @ M.T @ S))


def _risk(preconditioner, covariance, n_context, noise_std, prior, degrees: int) -> float:
    S, W = _matrices(covariance, n_context, noise_std, prior)
    M = np.asarray(preconditioner, dtype=float)
    if M.shape != S.shape:
        raise ValueError(
            f"preconditioner has shape {M.shape}, expected {S.shape} as the covariance; a scalar step is step * eye"
        )
    signal = np.trace(W @ S)
    second = (degrees + 1) * S @ W @ S + (signal + noise_std**2) * S
    cross = np.trace(W @ S @ M.T @ S) * degrees / n_context
    return float(signal + noise_std**2 - 2 * cross + degrees / n_context**2 * np.trace(S @ M.T @ second @ M))


def _matrices(covariance, n_context, noise_std, prior) -> tuple[np.ndarray, np.ndarray]:
    S = _symmetric("covariance", covariance)
    check_count(at_least=2, n_context=n_context)
    check_standard_deviation(noise_std=noise_std)
    if prior is None:
        return S, np.eye(len(S)) / len(S)
    W = _symmetric("prior", prior)
    if W.shape != S.shape:
        raise ValueError(f"prior has shape {W.shape}, expected {S.shape} as the covariance")
    return S, W


def _symmetric(name: str, value) -> np.ndarray:
    matrix = np.asarray(value, dtype=float)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not np.all(np.isfinite(matrix)):
        raise ValueError(f"{name} must be a finite square matrix (d, d), got shape {matrix.shape}")
    eigenvalues = np.linalg.eigvalsh(matrix)
    if not np.allclose(matrix, matrix.T) or eigenvalues[0] < -1e-10 * max(eigenvalues[-1], 1e-300):
        raise ValueError(f"{name} must be symmetric with no negative eigenvalue, smallest is {eigenvalues[0]:.3g}")
    return matrix
