r"""Risks of gradient descent on in-context regression: exact, at d / L = xi, and at other lengths (He et al. 2025).

Task and letters as in `in_context_regression`: dimension ``dim`` (d), ``n_context`` (L) examples, noise ``noise_std``
(sigma), signal of variance one. All risks include the noise of the query's label once.
"""

import numpy as np
import sympy
from scipy.optimize import minimize_scalar

from attnlab.theory.in_context_regression.effective_loss import check_task


def debiased_gd_risk_exact(step, dim: int, n_context: int, noise_std: float) -> np.ndarray:
    r"""Risk of one step of gradient descent on centred covariates.

    The predictor is ``y_hat = (step / L) sum_l y_l (x_l - x_mean)^T x_q``; its risk

    .. math:: R = 1 + \sigma^2 - 2\eta \frac{n}{L} + \eta^2 \frac{n (n + 1 + d + \sigma^2 d)}{L^2}, \qquad n = L - 1.

    Exact for all d >= 1 and L >= 2. ``step`` (eta) is any array. Testing a model at another length is this function
    at that ``n_context``.

    Why: the centred scatter is Wishart with n = L - 1 degrees, ``E[W^2] = n (n + 1 + d) I``.
    """
    check_task(dim, n_context, noise_std)
    step = np.asarray(step, dtype=float)
    n = n_context - 1
    return 1 + noise_std**2 - 2 * step * n / n_context + step**2 * n * (n + 1 + dim + noise_std**2 * dim) / n_context**2


def plain_gd_risk_exact(step, dim: int, n_context: int, noise_std: float) -> np.ndarray:
    r"""Risk of one step of gradient descent without centring, ``y_hat = (step / L) sum_l y_l x_l^T x_q``.

    .. math:: R = 1 + \sigma^2 - 2\eta + \eta^2 \frac{L + 1 + d + \sigma^2 d}{L}.
    """
    check_task(dim, n_context, noise_std)
    step = np.asarray(step, dtype=float)
    return 1 + noise_std**2 - 2 * step + step**2 * (n_context + 1 + dim + noise_std**2 * dim) / n_context


def debiased_gd_best_step_exact(dim: int, n_context: int, noise_std: float) -> float:
    r"""Best step of debiased gradient descent, ``eta = L / (L + d (1 + sigma^2))``, exact at every size.

    It equals the limit of ``sum_h mu_h omega_h`` on the valley of the effective loss as ``omega -> 0``.
    """
    check_task(dim, n_context, noise_std)
    return n_context / (n_context + dim * (1 + noise_std**2))


def plain_to_debiased_distance_exact(step, dim: int, n_context: int, noise_std: float) -> np.ndarray:
    r"""Mean squared distance between the predictions of plain and of debiased gradient descent with the same step.

    .. math:: E\,(\hat y_{plain} - \hat y_{debiased})^2 = \eta^2\, \frac{d + 2 + \sigma^2 d}{L^2}

    The two differ by :math:`(\eta / L) (\sum_l y_l)\, \bar x \cdot x_q`, with :math:`\sum_l y_l = L \beta \cdot \bar x +
    \sum_l \epsilon_l`, :math:`\bar x \sim N(0, I / L)` and :math:`E |\bar x|^4 = d (d + 2) / L^2`.
    """
    check_task(dim, n_context, noise_std)
    eta = np.asarray(step, dtype=float)
    return eta**2 * (dim + 2 + noise_std**2 * dim) / n_context**2


def plain_gd_best_step_exact(dim: int, n_context: int, noise_std: float) -> float:
    """Best step of plain gradient descent, ``L / (L + 1 + d + sigma^2 d)``."""
    check_task(dim, n_context, noise_std)
    return n_context / (n_context + 1 + dim + noise_std**2 * dim)


def debiased_gd_best_risk_exact(dim: int, n_context: int, noise_std: float) -> float:
    """Risk of debiased gradient descent at its best step, ``1 + sigma^2 - ((L - 1) / L) eta``."""
    return 1 + noise_std**2 - (n_context - 1) / n_context * debiased_gd_best_step_exact(dim, n_context, noise_std)


def plain_gd_best_risk_exact(dim: int, n_context: int, noise_std: float) -> float:
    """Risk of plain gradient descent at its best step, ``1 + sigma^2 - eta``.

    With ``D = d (1 + sigma^2)`` it is below that of debiased gradient descent by ``(1 + D) / ((L + D) (L + 1 + D))``:
    centring costs one degree of freedom and covariates of known mean zero do not need it.
    """
    return 1 + noise_std**2 - plain_gd_best_step_exact(dim, n_context, noise_std)


def linear_attention_length_risk_exact(
    step, dim: int, n_context: int, noise_std: float, n_context_train: int
) -> np.ndarray:
    r"""Risk at length ``n_context`` (L') of a linear attention layer whose step was tuned at ``n_context_train`` (L).

    The layer is ``y_hat = (step / L) sum_{l <= L'} y_l x_l^T x_q``, without normalisation by the length it sees:

    .. math:: R = 1 + \sigma^2 - 2 \eta r + \eta^2 r^2 \Bigl(1 + \frac{1 + d (1 + \sigma^2)}{L'}\Bigr),
              \qquad r = L' / L.

    It grows as ``r^2``: without normalisation the step grows with the length. Softmax heads keep the step.
    """
    check_task(dim, n_context_train, noise_std)
    return plain_gd_risk_exact(np.asarray(step, dtype=float) * (n_context / n_context_train), dim, n_context, noise_std)


def bayes_risk_limit(aspect_ratio, noise_std: float) -> np.ndarray:
    r"""Risk of the Bayes estimator (ridge with penalty ``sigma^2 d``) as ``d, L -> infinity`` with ``d / L -> xi``.

    .. math:: R_B = \tfrac12 \Bigl[ \sigma^2 + \tfrac{\xi - 1}{\xi}
              + \sqrt{4 \sigma^2 + \bigl(\sigma^2 + \tfrac{1 - \xi}{\xi}\bigr)^2} \Bigr],
              \qquad \xi = \text{aspect\_ratio}.

    Why: ``R_B = sigma^2 + sigma^2 tr (X^T X + sigma^2 d)^{-1}`` and the trace follows from the Marchenko-Pastur law.
    Small ratios are computed without cancellation. Without noise it is ``max(0, 1 - 1 / xi)``.
    """
    xi = _check_ratio(aspect_ratio, noise_std)
    s2 = noise_std**2
    gap = (1 - xi) / xi - s2  # R_B = (sqrt(gap^2 + 4 s2 / xi) - gap) / 2
    root = np.sqrt(gap**2 + 4 * s2 / xi)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(gap > 0, 2 * s2 / xi / (root + np.abs(gap)), (root - gap) / 2)


def debiased_gd_risk_limit(aspect_ratio, noise_std: float) -> np.ndarray:
    r"""Risk of two or more heads, of debiased and of plain gradient descent as ``d / L -> xi``.

    .. math:: R = 1 + \sigma^2 - \frac{1}{1 + \xi (1 + \sigma^2)}.
    """
    xi = _check_ratio(aspect_ratio, noise_std)
    return 1 + noise_std**2 - 1 / (1 + xi * (1 + noise_std**2))


def one_head_risk_limit(aspect_ratio, noise_std: float) -> np.ndarray:
    """Risk of the best single head as ``d / L -> xi``: `debiased_gd_risk_limit` at the ratio ``e xi``."""
    xi = _check_ratio(aspect_ratio, noise_std)
    return debiased_gd_risk_limit(np.e * xi, noise_std)


def equivalent_sample_factor_limit() -> sympy.Expr:
    """How many times more examples one head needs for the risk of several heads, as ``d / L -> xi``: Euler's number."""
    return sympy.E


def debiased_gd_over_bayes_supremum_limit(noise_std: float) -> tuple[float, float]:
    """Largest ratio of `debiased_gd_risk_limit` to `bayes_risk_limit` over ``xi > 0``, and its ``xi``.

    Finite for every positive noise: the ratio tends to 1 as ``xi -> 0`` and as ``xi -> infinity``. Without noise the
    supremum is infinite (``xi < 1`` has Bayes risk zero), a ValueError here.
    """
    if not (np.isfinite(noise_std) and noise_std > 0):
        raise ValueError(
            f"noise_std must be positive and finite, got {noise_std!r}; without noise the ratio is unbounded"
        )

    def negative_ratio(log_xi):
        xi = np.exp(log_xi)
        return -float(debiased_gd_risk_limit(xi, noise_std) / bayes_risk_limit(xi, noise_std))

    grid = np.linspace(-30.0, 30.0, 1201)
    best = int(np.argmin([negative_ratio(point) for point in grid]))
    found = minimize_scalar(
        negative_ratio, bounds=(grid[best - 1], grid[best + 1]), method="bounded", options={"xatol": 1e-10}
    )
    return -float(found.fun), float(np.exp(found.x))


def _check_ratio(aspect_ratio, noise_std: float) -> np.ndarray:
    check_task(1, 2, noise_std)
    xi = np.asarray(aspect_ratio, dtype=float)
    if not np.all(np.isfinite(xi) & (xi > 0)):
        raise ValueError(f"aspect_ratio is d / L and must be positive and finite, got {aspect_ratio!r}")
    return xi
