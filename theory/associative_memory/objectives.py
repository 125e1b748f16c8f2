r"""Memories that are trained while they are used: losses of one pair, their gradients, and the recurrences they amount to.

A linear memory :math:`W \in \mathbb R^{d_v \times d_k}` answers :math:`W k`; :math:`e = W k - v` is its error on a pair. Losses
are the *attentional bias*, terms that hold W near its past the *retention*. References: Behrouz, Razaviyayn, Zhong and Mirrokni
2025 (arXiv 2504.13173); Yang, Wang, Zhang, Shen and Kim 2024 (arXiv 2406.06484) for the delta rule.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from attnlab.theory.checks import check_positive


def dot_product_gradient(memory: ArrayLike, key: ArrayLike, value: ArrayLike) -> np.ndarray:
    r"""Gradient of :math:`-\langle W k, v\rangle`: :math:`-v k^\top`, whatever W is."""
    return -np.multiply.outer(np.asarray(value, float), np.asarray(key, float))


def power_gradient(memory: ArrayLike, key: ArrayLike, value: ArrayLike, power: float) -> np.ndarray:
    r"""Gradient of :math:`\|W k - v\|_p^p`: :math:`p\, \mathrm{sign}(e) |e|^{p-1} k^\top`, entrywise, for p >= 1 (0 where e is
    0)."""
    if not power >= 1:
        raise ValueError(f"power={power!r} must be at least 1: below it the loss is not convex")
    e = np.asarray(memory, float) @ np.asarray(key, float) - np.asarray(value, float)
    return np.multiply.outer(power * np.sign(e) * np.abs(e) ** (power - 1), np.asarray(key, float))


def huber_gradient(memory: ArrayLike, key: ArrayLike, value: ArrayLike, scale: float) -> np.ndarray:
    r"""Gradient of the entrywise Huber loss, :math:`e^2/2` up to the scale c and :math:`c|e| - c^2/2` beyond: clip(e, -c, c)
    k^T."""
    check_positive(scale=scale)
    e = np.asarray(memory, float) @ np.asarray(key, float) - np.asarray(value, float)
    return np.multiply.outer(np.clip(e, -scale, scale), np.asarray(key, float))


def huber_vector_gradient(memory: ArrayLike, key: ArrayLike, value: ArrayLike, scale: float) -> np.ndarray:
    r"""Gradient of the Huber loss of the norm :math:`|e|`: :math:`e\, \min(1, c/|e|)\, k^\top`: one outlying entry scales all."""
    check_positive(scale=scale)
    e = np.asarray(memory, float) @ np.asarray(key, float) - np.asarray(value, float)
    norm = float(np.linalg.norm(e))
    return np.multiply.outer(e * (min(1.0, scale / norm) if norm else 1.0), np.asarray(key, float))


def gated_hebbian_path(keys: np.ndarray, values: np.ndarray, gates: ArrayLike, rates: ArrayLike) -> np.ndarray:
    r"""Memories ``(step, value_dim, key_dim)`` of :math:`W_t = \alpha_t W_{t-1} + \eta_t v_t k_t^\top` from 0.

    Linear attention at gates of 1, RetNet at a constant gate, Mamba-2 and GLA at gates that the input sets.
    """
    return _path(keys, values, gates, rates, lambda W, k, v, a, h: a * W + h * np.multiply.outer(v, k))


def gated_delta_path(keys: np.ndarray, values: np.ndarray, gates: ArrayLike, rates: ArrayLike) -> np.ndarray:
    r"""Memories of :math:`W_t = \alpha_t W_{t-1} (I - \eta_t k_t k_t^\top) + \eta_t v_t k_t^\top` from 0; the delta rule at
    gates of 1.

    The gradient is taken at the decayed memory :math:`\alpha_t W_{t-1}`; at :math:`W_{t-1}` see :func:`late_gate_path`.
    """

    def step(W, k, v, a, h):
        return a * (W - h * np.multiply.outer(W @ k, k)) + h * np.multiply.outer(v, k)

    return _path(keys, values, gates, rates, step)


def late_gate_path(keys: np.ndarray, values: np.ndarray, gates: ArrayLike, rates: ArrayLike) -> np.ndarray:
    r"""Memories of :math:`W_t = \alpha_t W_{t-1} - \eta_t (W_{t-1} k_t - v_t) k_t^\top`: the gradient at the memory before the
    gate.

    It is another rule than the gated delta rule, by :math:`(1 - \alpha_t) \eta_t W_{t-1} k_t k_t^\top` per step.
    """

    def step(W, k, v, a, h):
        return a * W - h * np.multiply.outer(W @ k - v, k)

    return _path(keys, values, gates, rates, step)


def momentum_weights_exact(n_steps: int, gate: float, momentum: float, rate: float) -> np.ndarray:
    r"""Weights of pairs by age 0, 1, ... in a memory with the dot-product loss and momentum (the update of Titans):

    .. math:: S_t = \theta S_{t-1} + \eta v_t k_t^\top, \quad W_t = \alpha W_{t-1} + S_t \quad\Rightarrow\quad
        \eta\, \frac{\alpha^{m+1} - \theta^{m+1}}{\alpha - \theta} \ \text{ at age } m,

    :math:`\eta (m + 1) \alpha^m` if both are equal: with momentum a pair's weight first grows.
    """
    m = np.arange(n_steps)
    if gate == momentum:
        return rate * (m + 1) * gate**m
    return rate * (gate ** (m + 1.0) - momentum ** (m + 1.0)) / (gate - momentum)


def _path(keys: np.ndarray, values: np.ndarray, gates: ArrayLike, rates: ArrayLike, step) -> np.ndarray:
    T = len(keys)
    a, h = (np.broadcast_to(np.asarray(x, float), (T,)) for x in (gates, rates))
    W, rows = np.zeros((values.shape[1], keys.shape[1])), []
    for t in range(T):
        W = step(W, keys[t], values[t], a[t], h[t])
        rows.append(W)
    return np.stack(rows)
