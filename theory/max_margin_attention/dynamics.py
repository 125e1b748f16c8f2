r"""How fast attention turns to its max-margin direction, what stays finite, and how fast the loss falls.

Derived here for the model of Tarzanagh, Li, Thrampoulidis and Oymak 2023 (arXiv 2308.16898). With W = R W_alpha + W_perp,
W_perp orthogonal to W_alpha, descent and the regularisation path end at stationary directions of the gradient

.. math:: -\nabla L \propto \sum_{it} |\ell'(\gamma_{i\alpha_i})| (\gamma_{i\alpha_i} - \gamma_{it})\,
          e^{-\langle A_{it}, W\rangle} A_{it},

so W_perp tends to a constant, :math:`1 - \mathrm{corr}(W, W_\alpha) = \|W_\perp\|^2 / (2 \|W\|^2)` to leading order, and the loss
gap falls like :math:`e^{-R}`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.integrate import solve_ivp
from scipy.special import expit, log_expit, logsumexp

from attnlab.theory.checks import check_one_of
from attnlab.theory.max_margin_attention.frobenius import MaxMargin, margin_matrices


def finite_component(
    keys: ArrayLike,
    queries: ArrayLike,
    scores: ArrayLike,
    selected: ArrayLike,
    solution: MaxMargin,
    loss: str = "logistic",
) -> np.ndarray:
    r"""The part of W that stays finite, within the span of the support constraints.

    On the support, where :math:`\lambda_{it} > 0`, the gradient must be parallel to :math:`W_\alpha = \sum \lambda A`:

    .. math:: \langle A_{it}, W_\perp \rangle = \log |\ell'(\gamma_{i\alpha_i})| + \log (\gamma_{i\alpha_i} - \gamma_{it})
              - \log \lambda_{it} + c, \qquad \langle W_\alpha, W_\perp \rangle = 0.

    Returns the shortest such matrix: that of the regularisation path; descent adds what its start and its first steps left
    orthogonal to the support. Errors: ``ValueError`` where a support token does not score below the selected one.
    """
    A = margin_matrices(keys, queries, selected)
    support = solution.multipliers > 1e-9 * solution.multipliers.max()
    scores = np.asarray(scores, dtype=np.float64)
    best = np.broadcast_to(scores[np.arange(len(scores)), np.asarray(selected)][:, None], scores.shape)
    if np.any(scores[support] >= best[support]):
        raise ValueError(f"selected={selected!r} is not locally optimal: a support token scores at least as high")
    gaps, multipliers = (np.where(support, array, 1.0) for array in (best - scores, solution.multipliers))
    wanted = log_slope(best, loss) + np.log(gaps) - np.log(multipliers)
    rows, values, weights = A[support].reshape(support.sum(), -1), wanted[support], solution.multipliers[support]
    values = values - weights @ values / weights.sum()  # orthogonal to sum lambda A
    return np.linalg.lstsq(rows, values, rcond=None)[0].reshape(A.shape[2:])


def angle_law(finite: ArrayLike, norms: ArrayLike) -> np.ndarray:
    """One minus the correlation at weights of the given norms, ``1 - corr ~ |W_perp|^2 / (2 |W|^2)``, up to its fourth power."""
    return 1 - np.sqrt(np.maximum(1 - (np.linalg.norm(finite) / np.asarray(norms, dtype=np.float64)) ** 2, 0.0))


def log_slope(u: ArrayLike, loss: str) -> np.ndarray:
    """log |ell'(u)| of the loss -u (``"linear"``), log(1 + exp(-u)) (``"logistic"``) or exp(-u) (``"exponential"``)."""
    u = np.asarray(u, dtype=np.float64)
    forms = {"linear": lambda: np.zeros_like(u), "logistic": lambda: log_expit(-u), "exponential": lambda: -u}
    check_one_of(forms, loss=loss)
    return forms[loss]()


def two_token_logit(time: ArrayLike) -> np.ndarray:
    r"""The logit difference a of one input with two tokens and the loss -u, trained by gradient flow from W = 0.

    .. math:: 2 a + 2 \sinh a = \tau, \qquad \tau = \Delta\gamma\, \|A\|_F^2\, t

    ``time``: tau >= 0. Exact; a = tau / 4 at first and log tau at the end. Why: a' = |A|^2 dgamma s (1 - s), and
    1 / (s (1 - s)) = 2 + 2 cosh a. Solved by Newton steps from above, where the convex function makes them monotone.
    """
    tau = np.asarray(time, dtype=np.float64)
    if np.any(tau < 0):
        raise ValueError(f"time={time!r} must not be negative")
    a = np.minimum(np.arcsinh(tau / 2), tau / 2)
    for _ in range(60):
        a = a - (2 * a + 2 * np.sinh(a) - tau) / (2 + 2 * np.cosh(a))
    return a


@dataclass(frozen=True)
class LogitFlow:
    """Normalised gradient flow at the given arc lengths: ``weights (length, key_dim, query_dim)``, ``logits (length, input,
    token)``."""

    lengths: np.ndarray
    weights: np.ndarray
    logits: np.ndarray


def logit_flow(
    keys: ArrayLike,
    queries: ArrayLike,
    scores: ArrayLike,
    lengths: ArrayLike,
    *,
    start: ArrayLike | None = None,
    loss: str = "logistic",
    tolerance: float = 1e-8,
) -> LogitFlow:
    r"""The flow of normalised descent, reduced to one number per token.

    All gradients lie in the span of the :math:`x_{it} z_i^T`, so :math:`W = W_0 + \sum u_{it} x_{it} z_i^T`, and with the Gram
    matrix :math:`k_{it,js} = (x_{it}^T x_{js})(z_i^T z_j)` the logits are :math:`l = l_0 + k u`. By arc length,

    .. math:: \dot u = -c / \sqrt{c^T k c}, \qquad c_{it} = \ell'(\bar\gamma_i)\, s_{it} (\gamma_{it} - \bar\gamma_i) .

    Exact for the flow whatever the dimension; descent with step h follows it to order h. ``lengths``: ascending from at least 0.
    """
    X, Z, scores = (np.asarray(array, dtype=np.float64) for array in (keys, queries, scores))
    lengths = np.asarray(lengths, dtype=np.float64)
    W0 = np.zeros((X.shape[2], Z.shape[1])) if start is None else np.asarray(start, dtype=np.float64)
    outer = X[..., :, None] * Z[:, None, None, :]  # (input, token, key_dim, query_dim)
    flat = outer.reshape(scores.size, -1)
    gram, first = flat @ flat.T, flat @ W0.ravel()

    def velocity(_: float, u: np.ndarray) -> np.ndarray:
        c = slopes((first + gram @ u).reshape(scores.shape), scores, loss).ravel()
        return -c / np.sqrt(c @ gram @ c)

    found = solve_ivp(
        velocity,
        (0.0, float(lengths[-1])),
        np.zeros(scores.size),
        method="LSODA",
        t_eval=lengths,
        rtol=tolerance,
        atol=tolerance,
    )
    if not found.success:
        raise RuntimeError(
            f"the flow stopped before length {lengths[-1]:g}: {found.message}; loosen tolerance={tolerance:g}"
        )
    u = found.y.T
    return LogitFlow(
        lengths,
        W0 + np.tensordot(u.reshape(len(u), *scores.shape), outer, 2),
        (first + u @ gram).reshape(-1, *scores.shape),
    )


def slopes(logits: np.ndarray, scores: np.ndarray, loss: str) -> np.ndarray:
    """The derivative of the loss by the logits up to one positive factor: the largest entry apart from selected tokens is of
    order 1."""
    chosen = np.arange(len(scores)), logits.argmax(1)
    log_s = logits - logsumexp(logits, axis=1, keepdims=True)
    mean = (np.exp(log_s) * scores).sum(1, keepdims=True)
    log_weight = log_s + log_slope(mean, loss)
    log_weight[chosen] = -np.inf
    c = -np.exp(log_weight - log_weight.max()) * (scores - mean)
    c[chosen] = -c.sum(1)
    return c


def log_loss_gap(logits: ArrayLike, scores: ArrayLike, loss: str = "logistic") -> float:
    """log (L - L*), with L* the loss of the best tokens, without cancellation. ``logits``, ``scores``: (input, token)."""
    logits, scores = np.asarray(logits, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    best = scores.max(1)
    log_s = logits - logsumexp(logits, axis=1, keepdims=True)
    missing = np.exp(logsumexp(log_s, axis=1, b=best[:, None] - scores))  # gamma* - sum s gamma
    if loss == "linear":
        gaps = missing
    elif loss == "exponential":
        gaps = np.exp(-best) * np.expm1(missing)
    else:
        gaps = np.log1p(expit(-best) * np.expm1(missing))
    return float(np.log(gaps.mean()))
