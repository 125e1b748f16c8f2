r"""Exact finite-size risk of softmax heads on in-context regression, and the finite scale at which the drift ends.

The effective loss of `in_context_regression` is a large-size limit. Here the risk of the same reduced model is an
integral evaluated to about ten digits at every ``dim`` and ``n_context``, so that a trained model can be compared with
the model itself and not with its limit.

Derivation. Fix ``x_q`` and let ``a_l`` be the component of ``x_l`` along it, ``r = |x_q|^2``. Head h has scores ``s_h
a_l`` with ``s_h = omega_h sqrt(r)``. With ``w = sum_h mu_h p_h`` and ``v = X^T w`` the risk averaged over ``beta``
and noise is ``1 + sigma^2 - 2 E[x_q . v] / d + E|v|^2 / d + sigma^2 E|w|^2``. The other ``d - 1`` components of
``x_l`` are independent of the scores, so ``E|v|^2 = E (sum_l w_l a_l)^2 + (d - 1) E|w|^2``, and everything follows
from

.. math:: C(s, s') = E \sum_l p_l p'_l, \qquad B(s, s') = E \Bigl( \sum_l p_l a_l \Bigr) \Bigl( \sum_l p'_l a_l \Bigr),
          \qquad E \sum_l p_l a_l = s\, (1 - C(s, s)) \ \text{(Stein)}.

``1 / (Z Z') = int int exp(-t Z - u Z') dt du`` turns both into a two-dimensional integral over ``(t, u)`` of
one-dimensional Gaussian averages to the power ``L - 2``; ``r`` is chi-squared with d degrees.
"""

import numpy as np
from scipy.special import gammaln, ndtri_exp

from attnlab.theory.in_context_regression.effective_loss import RiskForm, check_heads, check_task
from attnlab.theory.in_context_regression.gradient_descent_risks import (
    debiased_gd_best_step_exact,
    debiased_gd_risk_exact,
)

# The trapezoid rule in log t errs by exp(-pi^2 / step) = 5e-15, because exp(-e^x) is analytic for |Im x| < pi / 2.
_LOG_STEP = 0.3
_LARGEST_SPREAD = 60.0  # beyond, the grids grow to gigabytes


def heads_risk_exact(omega, mu, dim: int, n_context: int, noise_std: float) -> np.ndarray:
    """Risk of the reduced model ``y_hat = sum_h mu_h y^T softmax(omega_h X x_q)``, exact at finite sizes.

    ``omega`` and ``mu`` have shape (..., head), the result (...). See `heads_form_exact` for accuracy and cost. A model
    trained at one length is tested at another by changing ``n_context``.
    """
    omega, mu = check_heads(omega, mu)
    return heads_form_exact(omega, dim, n_context, noise_std).risk(mu)


def heads_form_exact(omega, dim: int, n_context: int, noise_std: float) -> RiskForm:
    r"""The exact risk at finite sizes as a quadratic form in ``mu``; ``omega`` has shape (..., head).

    .. math:: a_h = \omega_h\, E_r \frac{r}{d} (1 - C(s_h, s_h)), \qquad
              G_{hk} = E_r \Bigl[ \frac{B + (d - 1)\, C}{d} + \sigma^2 C \Bigr](s_h, s_k),
              \qquad s_h = \omega_h \sqrt r.

    Entries are good to 1e-10. The risk of a pair with ``omega -> 0`` at fixed ``mu omega`` loses digits as
    ``1e-12 / omega^2``. About 40 ms for each pair of heads of different ``|omega|`` at ``omega = 0.1``, 0.3 s at 1.
    """
    check_task(dim, n_context, noise_std)
    omega = np.asarray(omega, dtype=float)
    if omega.ndim == 0 or not np.all(np.isfinite(omega)):
        raise ValueError(
            f"omega must be finite and have a head axis (..., head), got shape {omega.shape}; "
            "leave diverged replicas out first"
        )
    n_heads = omega.shape[-1]
    rows = omega.reshape(-1, n_heads)
    linear, quadratic = np.empty(rows.shape), np.empty((*rows.shape, n_heads))
    known: dict[tuple[float, float], tuple[float, float]] = {}
    for row, scales in enumerate(rows):
        for h in range(n_heads):
            for k in range(h, n_heads):
                key = _canonical(scales[h], scales[k])
                if key not in known:
                    known[key] = _averages_over_query(*key, dim, n_context, noise_std)
                attended, quadratic[row, h, k] = known[key]
                quadratic[row, k, h] = quadratic[row, h, k]
                if h == k:
                    linear[row, h] = scales[h] * attended
    shape = omega.shape
    return RiskForm(linear.reshape(shape), quadratic.reshape(*shape, n_heads), 1.0 + noise_std**2)


def softmax_overlaps_exact(spread: float, other_spread: float, n_context: int) -> tuple[float, float]:
    r"""``C`` and ``B`` of two softmax distributions over the same standard normals, of scores ``s a_l`` and ``s' a_l``.

    .. math:: C = E \sum_l p_l p'_l, \qquad B = E \Bigl( \sum_l p_l a_l \Bigr) \Bigl( \sum_l p'_l a_l \Bigr),
              \qquad p \propto e^{s a}, \quad p' \propto e^{s' a}.

    Absolute accuracy about 1e-12. At equal spreads ``1 / C`` is the participation ratio. Spreads beyond 60 in magnitude
    are refused: softmax is the argmax there.
    """
    check_task(1, n_context, 0.0)
    largest = max(abs(spread), abs(other_spread))
    if not largest <= _LARGEST_SPREAD:
        raise ValueError(
            f"spread={spread!r}, other_spread={other_spread!r}: magnitudes up to {_LARGEST_SPREAD} "
            "are supported; use smaller omega"
        )
    tail = -ndtri_exp(np.log(1e-14 / n_context))  # P(max |a_l| > tail) = 2e-14
    # exp(-t e^{s a}) is analytic for |Im a| < pi / (2 s), hence the trapezoid error exp(-pi^2 / (s step)) = 1e-13.
    step = min(0.5, 0.33 / largest) if largest > 0 else 0.5
    n_side = int(np.ceil((tail + 2) / step))
    a = np.arange(-n_side, n_side + 1) * step
    weight = step * np.exp(-(a**2) / 2) / np.sqrt(2 * np.pi)
    E0, E1 = _laplace_factors(spread, a, tail, n_context)  # (log t, a)
    F0, F1 = _laplace_factors(other_spread, a, tail, n_context)  # (log u, a)
    both_out = (E0 * weight) @ F0.T  # (log t, log u)
    rest = both_out ** (n_context - 2)  # the other L - 2 examples
    area = n_context * _LOG_STEP**2
    overlap = area * np.sum(((E1 * weight) @ F1.T) * both_out * rest)
    same_example = area * np.sum(((E1 * (weight * a**2)) @ F1.T) * both_out * rest)
    one_side, other_side = (E1 * (weight * a)) @ F0.T, (E0 * (weight * a)) @ F1.T
    different_examples = area * (n_context - 1) * np.sum(one_side * other_side * rest)
    return float(overlap), float(same_example + different_examples)


def symmetric_pair_expansion_approx(omega, step, dim: int, n_context: int, noise_std: float) -> np.ndarray:
    r"""Risk of the pair ``(omega, -omega), (mu, -mu)`` with ``step = 2 mu omega`` to order ``omega^2``.

    .. math:: R = R_{DGD}(\eta) + \omega^2\, \frac{2 (d + 2)(L - 1)\, \eta}{L^2}
              \Bigl[ 1 - \eta\, \frac{L + 2 + d (1 + \sigma^2)}{L} \Bigr] + O(\omega^4).

    At the best step of debiased gradient descent the bracket is ``-2 / (L + d (1 + sigma^2))``: negative. So at finite
    length the risk first *decreases* along the valley, and debiased gradient descent (``omega = 0``) is not its floor.

    Why: even orders cancel in the pair, and ``p(omega) - p(-omega) = (2 omega / L) [c + omega^2 (c^3 / 6 - c m_2 / 2 -
    m_3 / 6)]`` with ``c_l = (x_l - x_mean) . x_q`` and its sample moments. The averages are ``E[m_4 / 6 - m_2^2 / 2] =
    -n / L^2`` and ``E[m_2 (m_4 / 6 - m_2^2 / 2)] = -n (n + 4) / L^3`` for unit normals, ``n = L - 1``.
    """
    n = n_context - 1
    base = debiased_gd_risk_exact(step, dim, n_context, noise_std)
    step = np.asarray(step, dtype=float)
    bracket = 1 - step * (n_context + 2 + dim * (1 + noise_std**2)) / n_context
    return base + np.asarray(omega, dtype=float) ** 2 * 2 * (dim + 2) * n * step / n_context**2 * bracket


def symmetric_pair_plateau_approx(dim: int, n_context: int, noise_std: float) -> float:
    r"""The scale ``omega`` at which the exact risk of the symmetric pair is smallest, to leading order in ``1 / L``.

    .. math:: \omega_*^2 = \frac{12}{L\,(d + 4)\,((1 + \sigma^2)\, d + 3)}.

    The effective loss has its infimum at ``omega -> 0`` and predicts a drift without end. The exact risk has a minimum
    at this finite scale, very shallow (3e-5 below debiased gradient descent at d = 5, L = 40), so the drift ends there.
    Relative error of order ``d / L``: 0.062 against 0.0712 at d = 5, L = 40 (`best_symmetric_pair` with
    `heads_form_exact`).

    Why: to leading order, at the best step, the ``omega^2`` term of `symmetric_pair_expansion_approx` is
    ``-4 (d + 2) eta^2 / L^2``, and the ``omega^4`` term of the refined loss is
    ``eta^2 (d + 2)(d + 4) [(1 + sigma^2) d / 6 + 1 / 2] / L``.
    """
    eta = debiased_gd_best_step_exact(dim, n_context, noise_std)
    gain = 4 * (dim + 2) * eta**2 / n_context**2
    cost = eta**2 * (dim + 2) * (dim + 4) * ((1 + noise_std**2) * dim / 6 + 0.5) / n_context
    return float(np.sqrt(gain / (2 * cost)))


def _canonical(scale: float, other: float) -> tuple[float, float]:
    """B and C are symmetric in their arguments and unchanged when both flip sign."""
    first, second = (scale, other) if abs(scale) >= abs(other) else (other, scale)
    return (float(first), float(second)) if first >= 0 else (float(-first), float(-second))


def _averages_over_query(scale: float, other: float, dim: int, n_context: int, noise_std: float) -> tuple[float, float]:
    """E_r (r / d) (1 - C) and the entry of the quadratic form."""
    attended = entry = 0.0
    for r, weight in zip(*_squared_radius_nodes(dim), strict=True):
        C, B = softmax_overlaps_exact(scale * r**0.5, other * r**0.5, n_context)
        attended += weight * r / dim * (1 - C)
        entry += weight * ((B + (dim - 1) * C) / dim + noise_std**2 * C)
    return attended, entry


def _squared_radius_nodes(dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Trapezoid nodes in log r, r chi-squared; a scale omega is only a shift there, so large scales cost no digits."""
    step = min(0.3, 1.1 * dim**-0.5)  # 0.8 standard deviations of log r
    log_low = 2 / dim * (np.log(1e-13) + gammaln(dim / 2 + 1)) + np.log(2)  # P(r < low) < 1e-13
    high = dim + 2 * np.sqrt(32.0 * dim) + 64.0  # P(r > high) < e^-32 (Laurent, Massart)
    log_r = np.arange(log_low, np.log(high) + step, step)
    weights = np.exp(dim / 2 * (log_r - np.log(2)) - np.exp(log_r) / 2 - gammaln(dim / 2))
    kept = weights > 1e-16
    return np.exp(log_r[kept]), weights[kept] / np.sum(weights[kept])


def _laplace_factors(spread: float, a, tail: float, n_context: int) -> tuple[np.ndarray, np.ndarray]:
    """``exp(-t e^{s a})`` and ``t e^{s a} exp(-t e^{s a})`` on a grid of log t (rows) that covers all likely Z."""
    low = max(ndtri_exp(-32.0 / n_context), -tail)  # P(max a_l < low) = e^-32
    log_z_max = np.log(n_context) + abs(spread) * tail
    log_z_min = max(abs(spread) * low, np.log(n_context) - abs(spread) * tail)
    log_t = np.arange(-32.0 - log_z_max, np.log(40.0) - log_z_min + _LOG_STEP, _LOG_STEP)
    y = log_t[:, None] + spread * a
    with np.errstate(over="ignore"):  # e^y = inf means a factor of exactly zero
        decay = np.exp(y)
        return np.exp(-decay), np.exp(y - decay)
