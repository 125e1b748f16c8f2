r"""Retention in closed form: what holds a memory near its past, and what the maps do that bring accumulated gradients back.

Conventions of :mod:`attnlab.theory.associative_memory.objectives`. g is the gradient of a pair's loss at the memory before, eta
the rate, lam the strength of the pull to 0. References: Behrouz et al. 2025 (arXiv 2504.13173), sections 3 to 5.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from attnlab.theory.checks import check_positive, check_share


def weight_decay_step(memory: ArrayLike, gradient: ArrayLike, rate: float, pull: float) -> np.ndarray:
    r"""The minimiser of :math:`\langle W, g\rangle + |W - W_0|^2/(2\eta) + |W|^2/(2\lambda)`: a forget gate.

    .. math:: a\, (W_0 - \eta g), \qquad a = 1 / (1 + \eta/\lambda).

    The gate also scales what is written: with the gradient of :math:`|W k - v|^2/2` this is the gated delta rule for values a v.
    """
    check_positive(rate=rate, pull=pull)
    return (np.asarray(memory, float) - rate * np.asarray(gradient, float)) / (1 + rate / pull)


def implicit_delta_step(memory: ArrayLike, key: ArrayLike, value: ArrayLike, rate: float) -> np.ndarray:
    r"""The minimiser of :math:`|W k - v|^2/2 + |W - W_0|^2/(2\eta)`, the loss not linearised.

    .. math:: W_0 - \frac{\eta}{1 + \eta |k|^2} (W_0 k - v) k^\top,

    the delta rule at a rate that stays below :math:`1/|k|^2`: stable for every eta.
    """
    check_positive(rate=rate)
    W, k, v = (np.asarray(x, float) for x in (memory, key, value))
    return W - rate / (1 + rate * (k @ k)) * np.multiply.outer(W @ k - v, k)


def entropic_step(memory: ArrayLike, gradient: ArrayLike, rate: float, pull: float) -> np.ndarray:
    r"""The minimiser of :math:`\langle W, g\rangle + \mathrm{KL}(W\|W_0)/\eta + \lambda \sum W \ln W` over W >= 0 of the same
    sum c.

    .. math:: c\, \mathrm{softmax}(a \ln W_0 - \eta' g), \qquad a = \frac{1/\eta}{1/\eta + \lambda}, \quad \eta' =
        \frac{1}{1/\eta + \lambda}

    over all entries. The pull shrinks the rate, too: :math:`\eta' = a \eta`.
    """
    check_positive(rate=rate, memory=np.asarray(memory, float))
    W = np.asarray(memory, float)
    shrunk = 1 / (1 / rate + pull)
    x = shrunk / rate * np.log(W) - shrunk * np.asarray(gradient, float)
    x = np.exp(x - x.max())
    return W.sum() * x / x.sum()


def entropic_memory_exact(gradients: ArrayLike, gate: float, rate: float, total: float) -> np.ndarray:
    r"""The memory after T steps :math:`W_t = c\,\mathrm{softmax}(\alpha \ln W_{t-1} - \eta g_t)` from the uniform one (Memora).

    .. math:: c\, \mathrm{softmax}\Big(-\eta \sum_t \alpha^{T-t} g_t\Big)

    ``gradients (step, value_dim, key_dim)``. Why: constants drop out of a softmax, also that of the start.
    """
    check_share(gate=gate)
    check_positive(rate=rate, total=total)
    g = np.asarray(gradients, float)
    ages = np.arange(len(g) - 1, -1, -1)
    x = -rate * np.tensordot(gate**ages, g, axes=1)
    x = np.exp(x - x.max())
    return total * x / x.sum()


def nearest_on_simplex(target: ArrayLike, total: float) -> np.ndarray:
    r"""The W >= 0 with sum c that is nearest to a target, all entries together: :math:`\max(0, W^* - \tau)` (Euclidean
    projection)."""
    check_positive(total=total)
    W = np.asarray(target, float)
    falling = np.sort(W.ravel())[::-1]
    levels = (np.cumsum(falling) - total) / np.arange(1, W.size + 1)
    tau = levels[np.flatnonzero(falling > levels)[-1]]
    return np.maximum(W - tau, 0.0)


def entropic_regret_bound(n_entries: int, rate: float, n_steps: int, total: float) -> float:
    r"""How far the loss of the last memory may be above the least one, for descent by the entropic step on one convex loss.

    .. math:: f(W_T) - f(W^\circ) \le \frac{c \ln n}{\eta T}, \qquad f(W) = \tfrac12 |W - W^*|^2, \quad \eta c \le 1,

    from the uniform start. Why: the entropy of memories of sum c is 1/c-strongly convex in the 1-norm, in which f is 1-smooth,
    so f is c-smooth relative to it; and KL(W||W_0) <= c ln n. Lu, Freund and Nesterov 2018, theorem 3.1. Errors: ``ValueError``
    if eta c > 1.
    """
    check_positive(n_entries=n_entries, rate=rate, n_steps=n_steps, total=total)
    if rate * total > 1:
        raise ValueError(f"rate={rate!r} times total={total!r} is above 1, where the loss may rise; use a smaller rate")
    return total * math.log(n_entries) / (rate * n_steps)


def mirror_map(accumulated: ArrayLike, order: float) -> np.ndarray:
    r"""The minimiser of :math:`\tfrac12 |W|_p^2 - \langle W, A\rangle`, 1/p + 1/q = 1: the inverse of the gradient of half a
    squared norm.

    .. math:: W = \mathrm{sign}(A)\, |A|^{q-1} / |A|_q^{q-2}

    entrywise; of degree 1 in A, so that twice the gradients are twice the memory; the identity at q = 2. ``order`` is q > 1.
    """
    _order(order)
    A = np.asarray(accumulated, float)
    norm = float((np.abs(A) ** order).sum() ** (1 / order))
    return np.sign(A) * np.abs(A) ** (order - 1) / norm ** (order - 2) if norm else np.zeros_like(A)


def printed_map(accumulated: ArrayLike, order: float) -> np.ndarray:
    r"""The map printed for Moneta, :math:`W = A / |A|_q^{q-2}`: of degree 3 - q in A, so above q = 3 larger A is smaller W.

    Errors: ``ValueError`` for A = 0 above q = 2, where it is infinite.
    """
    _order(order)
    A = np.asarray(accumulated, float)
    norm = float((np.abs(A) ** order).sum() ** (1 / order))
    if norm == 0 and order > 2:
        raise ValueError("accumulated is 0 in every entry, where the printed map is infinite; start it off 0")
    return A / norm ** (order - 2)


def printed_map_norm(norm: ArrayLike, order: float) -> np.ndarray:
    r""":math:`|W|_q = |A|_q^{3-q}` under the printed map: 1/|A| at q = 4."""
    _order(order)
    return np.asarray(norm, float) ** (3 - order)


def printed_map_factor(order: float, size: float, rate: float) -> float:
    r"""Factor by which a step multiplies a small error in the *size* of a memory under the printed map: above q = 3 it exceeds 1.

    .. math:: 1 - \eta (3 - q) a^{2-q}, \qquad a^{3-q} = |W^*|_q

    for the loss :math:`|W - W^*|^2/2` of a chunk of orthonormal keys, ``size`` = |W*|_q, and no forget gate: descent on A climbs
    the loss along W*, and the target is not held. Why: along A the map has slope :math:`(3 - q) |A|^{2-q}`; transversely it has
    :math:`|A|^{2-q} > 0`.
    """
    _order(order)
    check_positive(size=size, rate=rate)
    if order == 3:
        raise ValueError("order=3 leaves every memory of size 1 whatever A is; use another")
    a = size ** (1 / (3 - order))
    return 1 - rate * (3 - order) * a ** (2 - order)


def quartic_size_exact(size: float, gate: float, rate: float) -> float:
    r"""Size |W|_4 at which the printed map at q = 4 comes to rest with a forget gate below 1, above which the same loss holds it.

    .. math:: |W|_4 = \frac1a, \qquad (1 - \alpha)\, a = \eta (w - 1/a) \ \text{(the larger root)}, \quad w = |W^*|_4

    It is below the target: the smaller root, near the target, repels. Errors: ``ValueError`` where there is no root,
    :math:`\eta w^2 < 4 (1 - \alpha)`: the memory then fades away.
    """
    check_positive(size=size, rate=rate)
    forget = 1 - gate
    if not 0 < forget < 1:
        raise ValueError(f"gate={gate!r} must lie between 0 and 1")
    disc = (rate * size) ** 2 - 4 * forget * rate
    if disc < 0:
        raise ValueError(
            f"rate={rate!r} holds no memory of size {size!r} against gate={gate!r}; use a larger rate or gate"
        )
    return 2 * forget / (rate * size + math.sqrt(disc))


def _order(order: float) -> None:
    if not order > 1:
        raise ValueError(f"order={order!r} must be above 1: its conjugate is infinite otherwise")
