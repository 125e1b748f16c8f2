r"""The loss of a minimal induction head in closed form, and of three nested logits (Reddy 2024, arXiv 2312.03002).

A sequence holds N items, each followed by its label, and a target that equals one of the items; L labels exist. Tokens
are 1 to T = 2N + 1, item m at 2m - 1, its label at 2m, the target at T. In the limit of infinite dimension all contents
are orthonormal. Three numbers make the attention and one the readout:

- beta1: score of the token before, in layer 1; what is attended to there is written into a buffer;
- alpha: score, in layer 2, of the overlap of a token's buffer with the target's content;
- beta2: score of being a label, in layer 2 (the two-parameter model has beta2 = 0);
- xi: logit of a label that is attended to with weight one, relative to the labels that are not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from attnlab.theory.checks import check_count


@dataclass(frozen=True)
class Measures:
    """Progress of an induction head.

    ``item_attention`` (ILA1): layer-1 attention of a label to its own item, mean over labels. ``match_attention`` (TILA2):
    layer-2 attention of the target to the label of the matching item; ``label_attention`` (TLA2) to all labels.
    ``context_mass`` (CLA): predicted probability of all labels in the context; ``correct_mass`` of the right one.
    """

    item_attention: np.ndarray | np.floating
    match_attention: np.ndarray | np.floating
    label_attention: np.ndarray | np.floating
    context_mass: np.ndarray | np.floating
    correct_mass: np.ndarray | np.floating


def uniform_measures(n_context: int, n_labels: int) -> Measures:
    r"""The measures of attention and prediction that prefer nothing.

    .. math:: \frac1N \sum_{m=1}^N \frac1{2m}, \qquad \frac1{2N+1}, \qquad \frac N{2N+1}, \qquad \frac NL, \qquad \frac1L
    """
    N, L = _sizes(n_context, n_labels)
    return Measures(
        np.mean(0.5 / np.arange(1, N + 1)),
        np.float64(1 / (2 * N + 1)),
        np.float64(N / (2 * N + 1)),
        np.float64(N / L),
        np.float64(1 / L),
    )


def circuit_attention_limit(
    beta1: ArrayLike, alpha: ArrayLike, beta2: ArrayLike, n_context: int
) -> tuple[np.ndarray, np.ndarray]:
    r"""Attention of layer 1, ``(..., i, j)``, and of the target in layer 2 if it matches item m, ``(..., m, i)``.

    .. math:: q_{ij} \propto e^{\beta_1 [j = i-1]} \ (j \le i), \qquad
        p_{mi} \propto \exp\bigl(\alpha (q_{i,2m-1} + [i = T] q_{TT}) + \beta_2 [i \text{ is a label}]\bigr)

    The parameters broadcast against each other and may be complex (both are analytic).
    """
    N, _ = _sizes(n_context, n_context)
    T = 2 * N + 1
    beta1, alpha, beta2 = (np.asarray(x)[..., None, None] for x in np.broadcast_arrays(beta1, alpha, beta2))
    before = np.eye(T, k=-1)
    first = np.exp(beta1 * before) * np.tri(T)
    first = first / first.sum(-1, keepdims=True)  # (..., i, j)
    overlap = np.swapaxes(first[..., 0 : 2 * N : 2], -1, -2) + 0  # (..., m, i)
    overlap[..., T - 1] += first[..., T - 1, T - 1][..., None]
    scores = alpha * overlap + beta2 * (np.arange(T) % 2)
    second = np.exp(scores - scores.real.max(-1, keepdims=True))
    return first, second / second.sum(-1, keepdims=True)


def circuit_loss_limit(
    beta1: ArrayLike, alpha: ArrayLike, beta2: ArrayLike, xi: ArrayLike, n_context: int, n_labels: int
) -> np.ndarray:
    r"""Cross-entropy of the minimal circuit with a linear readout, for D to infinity, exact, item noise zero, B = 1.

    .. math:: \frac1N \sum_m \Bigl\{ -\xi s_{mm} + \ln\Bigl[\sum_k e^{\xi s_{mk}} + L - N\Bigr] \Bigr\},
        \qquad s_{mk} = p_{m,2k}

    Parameters broadcast and may be complex, so that derivatives can be taken by a complex step.
    """
    N, L = _sizes(n_context, n_labels)
    attended = _on_labels(beta1, alpha, beta2, N)[1]  # (..., m, k)
    logits = np.asarray(xi)[..., None, None] * attended
    right = np.diagonal(logits, axis1=-2, axis2=-1)
    top = np.maximum(logits.real.max(-1), 0)
    total = np.exp(logits - top[..., None]).sum(-1) + (L - N) * np.exp(-top)
    return (top + np.log(total) - right).mean(-1)


def circuit_measures_limit(
    beta1: ArrayLike, alpha: ArrayLike, beta2: ArrayLike, xi: ArrayLike, n_context: int, n_labels: int
) -> Measures:
    """Progress of the minimal circuit in the limit of :func:`circuit_loss_limit`."""
    N, L = _sizes(n_context, n_labels)
    first, attended = _on_labels(beta1, alpha, beta2, N)
    own = first[..., np.arange(1, 2 * N, 2), np.arange(0, 2 * N, 2)].mean(-1)
    logits = np.asarray(xi)[..., None, None] * attended
    top = np.maximum(logits.max(-1, keepdims=True), 0)
    weights = np.exp(logits - top)
    shares = weights / (weights.sum(-1, keepdims=True) + (L - N) * np.exp(-top))
    match, right = (np.diagonal(each, axis1=-2, axis2=-1).mean(-1) for each in (attended, shares))
    return Measures(*np.broadcast_arrays(own, match, attended.sum(-1).mean(-1), shares.sum(-1).mean(-1), right))


def nested_logit_loss_approx(
    beta1: ArrayLike, alpha: ArrayLike, xi: ArrayLike, n_context: int, n_labels: int
) -> np.ndarray:
    r"""The phenomenological loss of three nested logits, in which every label is a typical one.

    .. math:: p = \frac{e^{\beta_1}}{e^{\beta_1} + N}, \quad q = \frac{e^{\alpha p}}{e^{\alpha p} + 2N}, \quad
        r = \frac{1}{e^{\alpha p} + 2N}, \quad
        -\ln \frac{e^{\xi q}}{e^{\xi q} + (N-1) e^{\xi r} + L - N}

    The exact loss (:func:`circuit_loss_limit` at beta2 = 0) sums over the places of the labels; here a label sees N + 1
    tokens, the number an average label sees.
    """
    N, L = _sizes(n_context, n_labels)
    _, q, r = _nested(beta1, alpha, N)
    own, other = np.asarray(xi) * q, np.asarray(xi) * r
    return (
        np.logaddexp(
            np.logaddexp(own, other + np.log(N - 1) if N > 1 else -np.inf), np.log(L - N) if L > N else -np.inf
        )
        - own
    )


def nested_logit_gradient(
    beta1: ArrayLike, alpha: ArrayLike, xi: ArrayLike, n_context: int, n_labels: int
) -> np.ndarray:
    r"""Gradient of :func:`nested_logit_loss_approx` in the order (beta1, alpha, xi), shape ``(..., 3)``.

    With P_c and P_o the probabilities of the right and of each other label in the context, and a = alpha p:

    .. math:: \partial_a = -\xi\,[\, q(1-q)(1-P_c) + (N-1) P_o r q \,], \quad
        \partial_{\beta_1} = \alpha p (1-p)\, \partial_a, \quad \partial_\alpha = p\, \partial_a, \quad
        \partial_\xi = -[\, q(1-P_c) - (N-1) r P_o \,]

    Each logit's gradient carries the logits outside it as factors: alpha moves only once xi > 0, beta1 only once both do.
    """
    N, L = _sizes(n_context, n_labels)
    beta1, alpha, xi = np.broadcast_arrays(np.asarray(beta1, float), np.asarray(alpha, float), np.asarray(xi, float))
    p, q, r = _nested(beta1, alpha, N)
    top = np.maximum(np.maximum(xi * q, xi * r), 0)
    own, other = np.exp(xi * q - top), np.exp(xi * r - top)
    total = own + (N - 1) * other + (L - N) * np.exp(-top)
    P_c, P_o = own / total, other / total
    by_a = -xi * (q * (1 - q) * (1 - P_c) + (N - 1) * P_o * r * q)
    by_xi = -(q * (1 - P_c) - (N - 1) * r * P_o)
    return np.stack([alpha * p * (1 - p) * by_a, p * by_a, by_xi], axis=-1)


def saddle_rate(n_context: int, n_labels: int) -> float:
    r"""Size of the mixed derivative of the nested-logit loss in (alpha, xi) at the origin.

    .. math:: \kappa = \Bigl|\frac{\partial^2}{\partial\alpha\,\partial\xi}\Bigr|_0
        = \frac{2N - (N+1)/L}{(N+1)(2N+1)^2}

    If L = N the origin is a saddle and kappa is the rate at which the gradient flow (of unit rate in all three numbers)
    leaves it: :math:`\alpha + \xi \propto e^{\kappa t}`. If L > N it is no critical point:
    :math:`\partial_\xi = -(1 - N/L)/(2N+1)` there.
    """
    N, L = _sizes(n_context, n_labels)
    return (2 * N - (N + 1) / L) / ((N + 1) * (2 * N + 1) ** 2)


def circuit_saddle_rate_exact(n_context: int, n_labels: int) -> float:
    r"""The same mixed derivative of the exact loss of the circuit; for L = N

    .. math:: \kappa = \frac{H_N - 1}{2N(2N+1)}, \qquad H_N = \sum_{m=1}^N \frac1m

    Why: at the origin the loss is linear in xi with slope minus the mean over m of :math:`s_{mm} - \sum_k s_{mk}/L`, and
    alpha moves each weight by 1/T times its overlap minus the mean overlap. A token i behind item m has overlap 1/i with it,
    so the label of m has 1/(2m) and the later labels 1/(2k). The exact rate is below that of :func:`saddle_rate` by a tenth
    (N = 4), above it by a tenth for N = 8: the average over places does not commute with the saddle.
    """
    N, L = _sizes(n_context, n_labels)
    T = 2 * N + 1
    i = np.arange(1, T + 1)
    behind = np.minimum((i + 1) // 2, N)  # items at or before token i, each with overlap 1/i
    mean_overlap = ((behind / i).sum() + N / T) / T  # sum over m of the mean over tokens; the target sees itself
    own = (0.5 / np.arange(1, N + 1)).sum()
    return float((own - N / (2 * L) - (1 - N / L) * mean_overlap) / (N * T))


def _nested(beta1: ArrayLike, alpha: ArrayLike, N: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    p = 1 / (1 + N * np.exp(-np.asarray(beta1)))
    a = np.asarray(alpha) * p
    top = np.maximum(a, 0)
    total = np.exp(a - top) + 2 * N * np.exp(-top)
    return p, np.exp(a - top) / total, np.exp(-top) / total


def _on_labels(beta1: ArrayLike, alpha: ArrayLike, beta2: ArrayLike, N: int) -> tuple[np.ndarray, np.ndarray]:
    """Attention of layer 1, and of the target to the labels, ``(..., m, k)``."""
    first, second = circuit_attention_limit(beta1, alpha, beta2, N)
    return first, second[..., 1 : 2 * N : 2]


def _sizes(n_context: int, n_labels: int) -> tuple[int, int]:
    check_count(n_context=n_context, n_labels=n_labels)
    if n_labels < n_context:
        raise ValueError(
            f"n_labels={n_labels!r} is below n_context={n_context!r}, whose labels differ; use more labels"
        )
    return int(n_context), int(n_labels)
