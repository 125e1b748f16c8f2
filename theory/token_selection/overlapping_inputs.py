r"""The decoder on overlapping inputs: the gradient sent back, for plain descent and for the decorrelated one of the proof.

Tian, Wang, Chen and Du 2023 (arXiv 2305.16380), section 4: F = [f_1 .. f_K] holds unit inputs as columns, F^T F = I + E. The
proof replaces the decoder's gradient by ``F (F^T F)^{-1} e_n (e_n - alpha_n)^T``, under which each class learns as if inputs were
orthonormal; plain descent is solved here for equal overlaps.
"""

import numpy as np
from scipy.integrate import solve_ivp

from attnlab.theory.checks import increasing_times
from attnlab.theory.token_selection.decoder import backward_speed_exact, decoder_growth_exact


def decorrelated_coefficients_exact(gram, visits: float, vocabulary: int, rate: float) -> np.ndarray:
    r"""Coefficients ``(class n, class n')`` of f_{n'} in g_n = Y (e_n - alpha_n) after decorrelated flow.

    Each class has logits (M - 1) h, -h, so Y = F (F^T F)^{-1} L with L = h (M [e_1 .. e_K]^T - 1), and with
    u = M h, p = 1 - alpha_n, the vector L (e_n - alpha_n) is :math:`u\,[p\, e_n - \tfrac{p}{M-1} (1 - e_n)]` on the K classes:

    .. math:: g_n = F (F^T F)^{-1} \, \text{speed}\, \left[ e_n - \tfrac{1}{M-1} (1 - e_n) \right].

    To leading order in 1/M the coefficient of f_n is speed (1 - E'_nn) and that of f_{n'} is -speed E'_{nn'}, with
    E' = I - (F^T F)^{-1}: the paper's theorem on the backpropagated gradient.
    """
    G = _gram(gram)
    speed = backward_speed_exact(visits, vocabulary, rate)
    n = len(G)
    own = np.eye(n) - (1 - np.eye(n)) / (vocabulary - 1)
    return speed * np.linalg.solve(G, own).T


def decorrelated_coefficients_approx(gram, visits: float, vocabulary: int, rate: float) -> np.ndarray:
    """The paper's leading order, speed (F^T F)^{-1}; relative error of order K / M."""
    return backward_speed_exact(visits, vocabulary, rate) * np.linalg.inv(_gram(gram))


def equal_overlap_flow(times, overlap: float, n_classes: int, vocabulary: int, rate: float) -> dict[str, np.ndarray]:
    r"""Plain gradient flow of the decoder, for inputs with all overlaps equal, uniform classes, and time t in steps.

    Row a_n of A in Y = F A is x at the own id, -y at the other classes', -w at the M - K ids that are never next:

    .. math:: \dot x = \eta (1 - p) / K, \quad \dot y = \eta q / K, \quad \dot w = \eta s / K,

    p, q, s the softmax of the logits x - rho (K-1) y, -y + rho (x - (K-2) y), -w - rho (K-1) w. Returns ``residual`` 1 - p, and
    the coefficients ``own`` of f_n and ``other`` of f_{n'} in g_n = Y (e_n - alpha_n), each ``(time,)``. Solved with relative
    tolerance 1e-10. Exact for unit inputs with f_n^T f_{n'} = overlap.
    """
    times = increasing_times(times)
    velocity, observed = _equal_overlaps(overlap, n_classes, vocabulary, rate)
    found = solve_ivp(
        lambda t, state: velocity(state), (0.0, float(times[-1])), np.zeros(3), "LSODA", times, rtol=1e-10, atol=1e-12
    )
    return observed(found.y)


def equal_overlap_descent(
    n_steps: int, overlap: float, n_classes: int, vocabulary: int, rate: float
) -> dict[str, np.ndarray]:
    """Plain gradient descent itself, after 0, 1, ..., n_steps steps: Euler steps of size one of `equal_overlap_flow`.

    Exact up to rounding: equal overlaps and a start at zero leave the three numbers x, y, w at every step.
    """
    velocity, observed = _equal_overlaps(overlap, n_classes, vocabulary, rate)
    state = np.zeros((3, n_steps + 1))
    for step in range(n_steps):
        state[:, step + 1] = state[:, step] + velocity(state[:, step])
    return observed(state)


def _equal_overlaps(overlap: float, n_classes: int, vocabulary: int, rate: float):
    """Velocity of the state (x, y, w), ``(3, ...)``, and what is observed of it."""
    if not 0 <= overlap < 1:
        raise ValueError(f"overlap={overlap!r} is out of range; use 0 <= overlap < 1 for distinct inputs")
    K, M = n_classes, vocabulary

    def chances(state):
        x, y, w = state
        logits = np.array([x - overlap * (K - 1) * y, -y + overlap * (x - (K - 2) * y), -w - overlap * (K - 1) * w])
        weights = np.exp(logits - logits.max(0))
        return weights / (weights[0] + (K - 1) * weights[1] + (M - K) * weights[2])

    def velocity(state):
        p, q, s = chances(state)
        return rate / K * np.array([1 - p, q, s])

    def observed(state):
        (x, y, w), (p, q, s) = state, chances(state)
        own = x * (1 - p) + (K - 1) * y * q + (M - K) * w * s
        return {"residual": 1 - p, "own": own, "other": -((x + y) * q + (y - w) * (M - K) * s)}

    return velocity, observed


def rescaled_residual_published(times, overlap: float, n_classes: int, vocabulary: int, rate: float) -> np.ndarray:
    """The remark that equal overlaps only slow the decoder by 1 - overlap; true for K = M, not for fewer classes."""
    h = decoder_growth_exact(np.asarray(times, np.float64) / n_classes, vocabulary, rate * (1 - overlap))
    decay = np.exp(-vocabulary * h)
    return (vocabulary - 1) * decay / ((vocabulary - 1) * decay + 1)


def _gram(gram) -> np.ndarray:
    G = np.asarray(gram, np.float64)
    if G.ndim != 2 or G.shape[0] != G.shape[1] or not np.allclose(np.diag(G), 1):
        raise ValueError(
            f"gram must be the square matrix of inner products of unit inputs, got shape {G.shape} with diagonal "
            f"{np.diag(G)!r}"
        )
    return G
