r"""Effective loss of softmax heads on in-context linear regression: formula, refinement, optima (He et al. 2025).

The task: ``x_l, x_q ~ N(0, I_d)``, ``beta ~ N(0, I_d / d)``, ``y = beta^T x + eps``, ``eps ~ N(0, noise_std^2)``,
with ``n_context`` labelled examples. The reduced model has one key-query scale ``omega_h`` and one output-value scale
``mu_h`` a head: ``y_hat = sum_h mu_h y^T softmax(omega_h X x_q)``. Its risk is a quadratic form in ``mu`` (`RiskForm`),
computed here in two approximations; `in_context_regression_exact` has the same form without approximation.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy
from scipy.optimize import minimize, minimize_scalar

from attnlab.theory.checks import check_count, check_standard_deviation


@dataclass(frozen=True)
class RiskForm:
    """The risk as a function of ``mu`` at fixed ``omega``: ``null_risk - 2 mu . linear + mu^T quadratic mu``.

    ``linear`` has shape (..., head), ``quadratic`` (..., head, head), ``null_risk`` is the risk of predicting zero.
    """

    linear: np.ndarray
    quadratic: np.ndarray
    null_risk: float

    def risk(self, mu) -> np.ndarray:
        """Risk at ``mu`` of shape (..., head), with shape (...)."""
        mu = np.asarray(mu, dtype=float)
        product = (self.quadratic @ mu[..., None])[..., 0]  # (..., head)
        return self.null_risk - 2 * np.sum(mu * self.linear, axis=-1) + np.sum(mu * product, axis=-1)

    def best_mu(self) -> np.ndarray:
        """The minimiser over ``mu``; of smallest norm where heads of equal ``omega`` leave it free."""
        return (np.linalg.pinv(self.quadratic, rcond=1e-12, hermitian=True) @ self.linear[..., None])[..., 0]

    def best_risk(self) -> np.ndarray:
        """The smallest risk over ``mu``."""
        return self.null_risk - np.sum(self.linear * self.best_mu(), axis=-1)


FormMaker = Callable[[np.ndarray, int, int, float], RiskForm]


@dataclass(frozen=True)
class HeadOptimum:
    """Scales of the best heads, each of shape (head,), and the risk they reach."""

    omega: np.ndarray
    mu: np.ndarray
    risk: float


def effective_form_approx(omega, dim: int, n_context: int, noise_std: float) -> RiskForm:
    r"""The effective loss as a quadratic form in ``mu``.

    .. math:: a_h = \omega_h, \qquad
              G_{hk} = \omega_h \omega_k + \frac{1 + \sigma^2}{L} e^{d \omega_h \omega_k}.

    Leading order for ``L >> exp(d omega^2)`` and large ``d``; values are 0.02 to 0.03 too small at d = 5, L = 40.

    Why: the softmax tilts the Gaussian of the keys, so the attended mean is ``omega_h x_q``; two heads overlap by
    ``sum_l p_l p'_l = exp(omega omega' |x_q|^2) / L`` and ``|x_q|^2`` concentrates at ``d``.
    """
    check_task(dim, n_context, noise_std)
    omega = _finite("omega", omega)
    products = omega[..., :, None] * omega[..., None, :]  # (..., head, head)
    with np.errstate(over="ignore"):  # a diverged head has infinite loss
        overlap = np.exp(dim * products)
    null_risk = 1.0 + noise_std**2
    return RiskForm(omega, products + null_risk / n_context * overlap, null_risk)


def refined_form_approx(omega, dim: int, n_context: int, noise_std: float) -> RiskForm:
    r"""The risk to first order in ``1/L`` at finite ``d``, as a quadratic form in ``mu``.

    With ``g(a) = (1 - 2a)^{-d/2}``, ``g_1(a) = (1 - 2a)^{-d/2-1}`` (the averages of ``e^{a r}`` and ``e^{a r} r / d``
    over ``r = |x_q|^2``, chi-squared with d degrees) and ``b_h = g_1(omega_h^2) / L``:

    .. math:: a_h = \omega_h (1 - b_h), \qquad G_{hk} = \omega_h \omega_k (1 - b_h - b_k)
              + \frac{(1 + \sigma^2)\, g(\omega_h \omega_k) + \omega_h \omega_k\, g_1(\omega_h \omega_k)}{L}.

    Accurate for ``d omega^2`` up to about 0.3. Beyond 1 the averages are carried by rare long queries on which the
    expansion in ``1/L`` fails; use `in_context_regression_exact.heads_form_exact`. Needs ``omega^2 < 1/2``.
    """
    check_task(dim, n_context, noise_std)
    omega = _finite("omega", omega)
    if omega.size and np.max(np.abs(omega)) >= 0.5**0.5:
        raise ValueError(
            f"omega: largest magnitude is {np.max(np.abs(omega)):.4g}, but the averages over x_q exist "
            "only below sqrt(1/2); use in_context_regression_exact.heads_form_exact there"
        )
    products = omega[..., :, None] * omega[..., None, :]
    overlap = (1 - 2 * products) ** (-dim / 2)  # g
    tilted_overlap = overlap / (1 - 2 * products)  # g_1
    null_risk = 1.0 + noise_std**2
    b = (1 - 2 * omega**2) ** (-dim / 2 - 1) / n_context  # (..., head)
    shrink = 1 - b[..., :, None] - b[..., None, :]
    quadratic = products * shrink + (null_risk * overlap + products * tilted_overlap) / n_context
    return RiskForm(omega * (1 - b), quadratic, null_risk)


def effective_loss_approx(omega, mu, dim: int, n_context: int, noise_std: float) -> np.ndarray:
    r"""Effective loss of reduced heads, ``omega`` and ``mu`` of shape (..., head), result of shape (...).

    .. math:: \ell = 1 + \sigma^2 - 2 \mu^T \omega
              + \mu^T \Bigl[ \omega \omega^T + \tfrac{1 + \sigma^2}{L} \exp(d\, \omega \omega^T) \Bigr] \mu,

    the exponential taken entry by entry. See `effective_form_approx` for validity; it includes the query noise.
    """
    omega, mu = check_heads(omega, mu)
    return effective_form_approx(omega, dim, n_context, noise_std).risk(mu)


def refined_loss_approx(omega, mu, dim: int, n_context: int, noise_std: float) -> np.ndarray:
    """Risk of reduced heads to first order in ``1 / n_context``; see `refined_form_approx`."""
    omega, mu = check_heads(omega, mu)
    return refined_form_approx(omega, dim, n_context, noise_std).risk(mu)


def effective_loss_gradient_approx(
    omega, mu, dim: int, n_context: int, noise_std: float
) -> tuple[np.ndarray, np.ndarray]:
    r"""Gradient of the effective loss with respect to ``omega`` and to ``mu``, each of shape (..., head).

    With ``E = exp(d omega omega^T)`` and ``c = (1 + sigma^2) / L``:

    .. math:: \partial_\mu \ell = -2\omega + 2 (\mu^T\omega)\,\omega + 2 c E \mu, \qquad
              \partial_\omega \ell = -2\mu + 2 (\mu^T\omega)\,\mu + 2 d c\; \mu \odot E(\mu \odot \omega).
    """
    check_task(dim, n_context, noise_std)
    omega, mu = check_heads(omega, mu)
    c = (1.0 + noise_std**2) / n_context
    with np.errstate(over="ignore"):
        E = np.exp(dim * omega[..., :, None] * omega[..., None, :])
    step = np.sum(mu * omega, axis=-1, keepdims=True)
    d_omega = 2 * (step - 1) * mu + 2 * dim * c * mu * (E @ (mu * omega)[..., None])[..., 0]
    d_mu = 2 * (step - 1) * omega + 2 * c * (E @ mu[..., None])[..., 0]
    return d_omega, d_mu


def effective_loss_symbolic(n_heads: int = 2) -> sympy.Expr:
    """The effective loss for sympy, in the symbols ``omega_1 ... mu_1 ...`` (real) and ``d, L, sigma`` (positive)."""
    check_count(n_heads=n_heads)
    omega = sympy.symbols(f"omega_1:{n_heads + 1}", real=True)
    mu = sympy.symbols(f"mu_1:{n_heads + 1}", real=True)
    d, L, sigma = sympy.symbols("d L sigma", positive=True)
    step = sum(m * w for m, w in zip(mu, omega, strict=True))
    overlap = sum(mu[h] * mu[k] * sympy.exp(d * omega[h] * omega[k]) for h in range(n_heads) for k in range(n_heads))
    return 1 + sigma**2 - 2 * step + step**2 + (1 + sigma**2) / L * overlap


def one_head_optimum_approx(dim: int, n_context: int, noise_std: float) -> HeadOptimum:
    r"""Minimiser of the effective loss of one head, in closed form.

    .. math:: \omega = \frac{1}{\sqrt d}, \quad \mu = \frac{\sqrt d}{1 + e\, d c}, \quad
              \ell = 1 + \sigma^2 - \frac{1}{1 + e\, d c}, \quad c = \frac{1 + \sigma^2}{L}.

    Why: at the best ``mu`` the loss is ``1 + sigma^2 - 1 / (1 + c e^{d omega^2} / omega^2)``, and
    ``e^{d omega^2} / omega^2`` is smallest, at ``e d``, where ``d omega^2 = 1``. The other minimiser has both signs
    flipped. At d = 5, L = 40 the true optimum is 15 % further out: `best_one_head` with the exact form.
    """
    check_task(dim, n_context, noise_std)
    shrink = 1.0 / (1.0 + np.e * dim * (1.0 + noise_std**2) / n_context)
    return HeadOptimum(np.array([dim**-0.5]), np.array([dim**0.5 * shrink]), 1.0 + noise_std**2 - shrink)


def symmetric_pair_loss_approx(omega, mu, dim: int, n_context: int, noise_std: float) -> np.ndarray:
    r"""Effective loss of the pair ``(omega, -omega), (mu, -mu)``; ``omega`` and ``mu`` broadcast.

    .. math:: \ell = 1 + \sigma^2 - 4 \mu\omega + 4 \mu^2 \omega^2
              \Bigl[ 1 + c\, \frac{\sinh(d\omega^2)}{\omega^2} \Bigr], \qquad c = \frac{1 + \sigma^2}{L}.
    """
    check_task(dim, n_context, noise_std)
    omega, mu = _finite("omega", omega), _finite("mu", mu)
    null_risk = 1.0 + noise_std**2
    with np.errstate(over="ignore"):
        return null_risk - 4 * mu * omega + 4 * mu**2 * (omega**2 + null_risk / n_context * np.sinh(dim * omega**2))


def symmetric_pair_valley_mu_approx(omega, dim: int, n_context: int, noise_std: float) -> np.ndarray:
    r"""The valley floor of the symmetric pair: the best ``mu`` at given ``omega`` (elementwise).

    .. math:: 2 \mu \omega = \frac{1}{1 + c \sinh(d \omega^2) / \omega^2}.

    The loss on the floor is ``1 + sigma^2 - 2 mu omega``; it increases in ``|omega|`` and its infimum ``1 + sigma^2 -
    1 / (1 + c d)``, the risk of debiased gradient descent, is approached as ``omega -> 0`` and ``mu -> infinity``.
    """
    check_task(dim, n_context, noise_std)
    omega = _finite("omega", omega)
    if np.any(omega == 0):
        raise ValueError("omega contains 0, where the best mu is infinite; pass |omega| > 0")
    c = (1.0 + noise_std**2) / n_context
    return omega / (2 * (omega**2 + c * np.sinh(dim * omega**2)))


def best_one_head(form: FormMaker, dim: int, n_context: int, noise_std: float) -> HeadOptimum:
    """Numerical minimiser over one head, positive sign, of the risk that ``form`` describes.

    ``form`` is `effective_form_approx`, `refined_form_approx` or `in_context_regression_exact.heads_form_exact`. The
    search is over ``0.3 <= sqrt(dim) omega <= 1.8``; for the refined form only where its correction ``b`` is below
    1/10, beyond which its values mean nothing. A risk that is smallest on the edge of the range is a ValueError.
    """
    check_task(dim, n_context, noise_std)
    high = 1.8 * dim**-0.5
    if form is refined_form_approx:
        high = min(high, (max(1 - (10 / n_context) ** (2 / (dim + 2)), 1e-3) / 2) ** 0.5)
    return _minimise_scale(form, np.array([1.0]), (0.3 * dim**-0.5, high), (dim, n_context, noise_std))


def best_symmetric_pair(form: FormMaker, dim: int, n_context: int, noise_std: float) -> HeadOptimum:
    """Numerical minimiser over pairs ``(w, -w), (m, -m)`` of the risk that ``form`` describes.

    The search is over ``w`` between ``1e-3 / sqrt(dim)`` and ``1 / sqrt(dim)``. The effective loss has no minimiser
    there (its infimum is at ``w -> 0``), which is a ValueError; the exact risk has one, see
    `in_context_regression_exact.symmetric_pair_plateau_approx`.
    """
    check_task(dim, n_context, noise_std)
    return _minimise_scale(form, np.array([1.0, -1.0]), (1e-3 * dim**-0.5, dim**-0.5), (dim, n_context, noise_std))


def best_heads(form: FormMaker, omega_start, dim: int, n_context: int, noise_std: float) -> HeadOptimum:
    """Local minimiser over all ``omega`` from ``omega_start`` (head,), with ``mu`` at its best for each ``omega``."""
    check_task(dim, n_context, noise_std)
    start = _finite("omega_start", omega_start)
    if start.ndim != 1:
        raise ValueError(f"omega_start has shape {start.shape}, expected (head,); pass one start at a time")

    def profile(omega):
        return float(form(omega, dim, n_context, noise_std).best_risk())

    options: Any = {"xatol": 1e-6, "fatol": 1e-12, "maxiter": 400 * start.size, "adaptive": True}
    found = minimize(profile, start, method="Nelder-Mead", options=options)
    solution = form(found.x, dim, n_context, noise_std)
    return HeadOptimum(found.x, solution.best_mu(), float(solution.best_risk()))


def check_task(dim: int, n_context: int, noise_std: float) -> None:
    """Raise a ValueError unless these are the sizes of a regression task: dim >= 1, n_context >= 2, noise_std >= 0."""
    check_count(dim=dim)
    check_count(at_least=2, n_context=n_context)
    check_standard_deviation(noise_std=noise_std)


def check_heads(omega, mu) -> tuple[np.ndarray, np.ndarray]:
    """``omega`` and ``mu`` as float64 arrays of one shape (..., head), or a ValueError that says what does not fit."""
    omega, mu = _finite("omega", omega), _finite("mu", mu)
    if omega.ndim == 0 or mu.ndim == 0 or omega.shape[-1] != mu.shape[-1]:
        raise ValueError(f"omega has shape {omega.shape} and mu {mu.shape}; both need the same last axis (..., head)")
    both = np.broadcast_arrays(omega, mu)
    return both[0], both[1]


def _minimise_scale(form: FormMaker, signs, bounds, sizes) -> HeadOptimum:
    def profile(log_scale):
        return float(form(np.exp(log_scale) * signs, *sizes).best_risk())

    log_bounds = np.log(bounds)
    grid = np.linspace(log_bounds[0], log_bounds[1], 13)  # a bracket first: the profile may be flat
    values = [profile(point) for point in grid]
    best = int(np.argmin(values))
    if best in (0, len(grid) - 1):
        raise ValueError(
            f"the risk is smallest at the edge omega={np.exp(grid[best]):.4g} of the range "
            f"{bounds[0]:.4g} to {bounds[1]:.4g}: no minimiser inside; take another form or other sizes"
        )
    found = minimize_scalar(profile, bounds=(grid[best - 1], grid[best + 1]), method="bounded", options={"xatol": 1e-8})
    omega = np.exp(found.x) * signs
    solution = form(omega, *sizes)
    return HeadOptimum(omega, solution.best_mu(), float(solution.best_risk()))


def _finite(name: str, value) -> np.ndarray:
    array = np.asarray(value, dtype=float)
    if not np.all(np.isfinite(array)):
        raise ValueError(f"{name} contains values that are not finite; leave diverged replicas out first")
    return array
