r"""Training of attention and decoder together, reduced by symmetry to 3 numbers a distinct token and 2 for the common ones.

Tian, Wang, Chen and Du 2023 (arXiv 2305.16380), section 3, population gradient flow with uniform classes:

.. math:: \dot Y = \frac{\eta_Y}{K} \sum_n f_n (e_n - \alpha_n)^T, \qquad
    \dot z_m = \frac{\eta_Z}{K} \sum_{n : \psi(n) = m} \mathrm{diag}(f_n) (I - f_n f_n^T) Y (e_n - \alpha_n).

If all classes have one frequency profile up to relabelling of their own tokens, and Y = Z = 0 at the start, the flow keeps that
symmetry: (2 K D + C) (M + 1) numbers become 4 D + 2 (D distinct tokens per class, C common ones).
"""

from dataclasses import dataclass

import numpy as np
from scipy.integrate import solve_ivp

from attnlab.theory.checks import increasing_times


@dataclass(frozen=True)
class SymmetricClasses:
    """Classes that differ only in the names of their tokens.

    ``common`` (C,) and ``distinct`` (D,): frequencies P(l | n) of one class, summing to one; common ones are all equal.
    ``vocabulary`` M counts all output ids, K = ``n_classes`` of them next tokens; each query has ``classes_per_query`` classes.
    """

    common: np.ndarray
    distinct: np.ndarray
    n_classes: int
    vocabulary: int
    classes_per_query: int = 1

    def __post_init__(self) -> None:
        P = np.concatenate([self.common, self.distinct])
        if np.any(P <= 0) or abs(P.sum() - 1) > 1e-9 or (len(self.common) and np.ptp(self.common) > 1e-12):
            raise ValueError(
                f"common={self.common!r} and distinct={self.distinct!r} must be positive, sum to one, and the "
                "common ones be equal"
            )
        if self.vocabulary <= self.n_classes or self.n_classes % self.classes_per_query:
            raise ValueError(
                f"vocabulary={self.vocabulary!r} must exceed n_classes={self.n_classes!r}, a multiple of "
                f"classes_per_query={self.classes_per_query!r}"
            )


@dataclass(frozen=True)
class TokenFlow:
    """A trajectory: attention logits ``z_common`` (time,) and ``z_distinct`` (time, D), attention ``c_common`` of one common
    token and ``c_distinct`` of the same shapes, ``residual`` 1 - alpha_n and their speed ``z_rate`` (time, D), ``loss``
    (time,)."""

    times: np.ndarray
    z_common: np.ndarray
    z_distinct: np.ndarray
    c_common: np.ndarray
    c_distinct: np.ndarray
    residual: np.ndarray
    z_rate: np.ndarray
    loss: np.ndarray


def token_flow(
    classes: SymmetricClasses, decoder_rate: float, attention_rate: float, times, tolerance: float = 1e-9
) -> TokenFlow:
    r"""Joint gradient flow of attention and decoder from zero; ``times`` (steps of gradient descent) increase from 0 or later.

    State: z of a common and of D distinct tokens; a, the entry of a common row of Y at a next token (it is -K a / (M - K)
    at the others); X, Q, S: entries X, -Q, -S of a distinct token's row at its own next token, at the other K - 1, at the rest.
    With p, q, s the probabilities of these three kinds of ids in a sequence of the class,

    .. math:: \dot X = \tfrac{\eta_Y}{K} f (1 - p), \quad \dot Q = \tfrac{\eta_Y}{K} f q, \quad \dot S = \tfrac{\eta_Y}{K} f s,
        \quad \dot a = \tfrac{\eta_Y}{K} f_c (M - K) s,

    and the signals Y (e_n - alpha_n) are M a s at common tokens and X (1 - p) + (K - 1) Q q + (M - K) S s at distinct ones.
    """
    times = increasing_times(times)
    D = len(classes.distinct)
    found = solve_ivp(
        lambda t, state: _velocity(state[:, None], classes, decoder_rate, attention_rate)[:, 0],
        (0.0, float(times[-1])),
        np.zeros(4 * D + 2),
        "LSODA",
        times,
        rtol=tolerance,
        atol=tolerance * 1e-3,
    )
    if not found.success:
        raise RuntimeError(f"the flow was not solved to t={times[-1]!r}: {found.message}")
    return _observed(times, found.y, classes, decoder_rate, attention_rate)


def token_descent(classes: SymmetricClasses, decoder_rate: float, attention_rate: float, n_steps: int) -> TokenFlow:
    """Gradient descent itself, after 0, 1, ..., n_steps steps: Euler steps of size one along the flow of `token_flow`."""
    state = np.zeros((4 * len(classes.distinct) + 2, n_steps + 1))
    for step in range(n_steps):
        here = state[:, step : step + 1]
        state[:, step + 1] = (here + _velocity(here, classes, decoder_rate, attention_rate))[:, 0]
    return _observed(np.arange(n_steps + 1.0), state, classes, decoder_rate, attention_rate)


def snap_time_exact(classes: SymmetricClasses, decoder_rate: float, attention_rate: float) -> float:
    """When the logit of the most frequent distinct token grows fastest, in steps; relative accuracy 1e-4."""
    end = 40 * classes.n_classes * np.log(classes.vocabulary) / decoder_rate
    times = np.geomspace(end / 4000, end, 4000)
    rates = token_flow(classes, decoder_rate, attention_rate, times).z_rate[:, int(np.argmax(classes.distinct))]
    i = int(np.clip(np.argmax(rates), 1, len(times) - 2))
    bend = np.polyfit(np.log(times[i - 1 : i + 2] / times[i]), rates[i - 1 : i + 2] / rates[i], 2)
    return float(times[i] * np.exp(-bend[1] / (2 * bend[0])))


def _observed(
    times: np.ndarray, state: np.ndarray, classes: SymmetricClasses, decoder_rate: float, attention_rate: float
) -> TokenFlow:
    D = len(classes.distinct)
    c_common, c, _, chances, _ = _forward(state, classes)
    rate = _velocity(state, classes, decoder_rate, attention_rate)[1 : D + 1]
    return TokenFlow(times, state[0], state[1 : D + 1].T, c_common, c.T, 1 - chances[0], rate.T, -np.log(chances[0]))


def _forward(state: np.ndarray, classes: SymmetricClasses):
    """Attention, its direction, and the probabilities of the three kinds of ids; the last axis of ``state`` is time."""
    C, D, K, M = len(classes.common), len(classes.distinct), classes.n_classes, classes.vocabulary
    z_c, z, a = state[0], state[1 : D + 1], state[D + 1]
    X, Q, S = state[D + 2 : 2 * D + 2], state[2 * D + 2 : 3 * D + 2], state[3 * D + 2 :]
    top = np.maximum(z_c, z.max(0))
    common = (classes.common[0] if C else 0.0) * np.exp(z_c - top)
    distinct = classes.distinct[:, None] * np.exp(z - top)
    total = C * common + distinct.sum(0)
    length = np.sqrt(C * common**2 + (distinct**2).sum(0))
    f_c, f = common / length, distinct / length
    logits = np.stack(
        [C * f_c * a + (f * X).sum(0), C * f_c * a - (f * Q).sum(0), -C * f_c * a * K / (M - K) - (f * S).sum(0)]
    )
    weights = np.exp(logits - logits.max(0))
    chances = weights / (weights[0] + (K - 1) * weights[1] + (M - K) * weights[2])
    return common / total, distinct / total, (f_c, f), chances, (a, X, Q, S)


def _velocity(state: np.ndarray, classes: SymmetricClasses, decoder_rate: float, attention_rate: float) -> np.ndarray:
    C, K, M = len(classes.common), classes.n_classes, classes.vocabulary
    _, _, (f_c, f), (_, q, s), (a, X, Q, S) = _forward(state, classes)
    wrong = (K - 1) * q + (M - K) * s  # 1 - p without cancellation
    g_c, g = M * a * s, X * wrong + (K - 1) * Q * q + (M - K) * S * s
    mean = C * f_c * g_c + (f * g).sum(0)
    eta_z, eta_y = attention_rate / K, decoder_rate / K
    return np.concatenate(
        [
            (eta_z * classes.classes_per_query * f_c * (g_c - f_c * mean))[None],
            eta_z * f * (g - f * mean),
            (eta_y * f_c * (M - K) * s)[None],
            eta_y * f * wrong,
            eta_y * f * q,
            eta_y * f * s,
        ]
    )
