r"""Several regression tasks in one attention layer: optimal steps, risks, how many heads are needed (He et al. 2025).

Task t reads the coordinates in its support ``S_t`` of ``x ~ N(0, I_d)``: ``y_t = beta_t^T x_{S_t} + noise``, with
signal variance ``signal_std^2`` spread evenly over the support. Head h has one key-query matrix ``KQ_h`` for all
tasks, one readout ``mu_{t,h}`` a task. With small scales the layer is debiased gradient descent with ``M_t = sum_h
mu_{t,h} KQ_h``, provided ``sum_h mu_{t,h} = 0``.
"""

from collections.abc import Sequence

import numpy as np

from attnlab.theory.checks import check_count, check_positive
from attnlab.theory.in_context_regression.effective_loss import check_task


def multi_task_best_step_exact(support_size: int, n_context: int, noise_std: float, signal_std: float = 1.0) -> float:
    r"""Step of a task in ``M_t = step * P_{S_t}``, ``P`` the projector on its support.

    .. math:: \eta_t = \frac{1}{1 + (1 + \sigma^2 / s^2)\, d_t / L}, \qquad d_t = |S_t|,\ s = \text{signal\_std}.

    Coordinates outside the support carry noise only: their best weight is zero, so ``d`` does not enter.
    """
    noise_ratio = _noise_ratio(support_size, n_context, noise_std, signal_std)
    return n_context / (n_context + support_size * (1 + noise_ratio))


def multi_task_best_risk_exact(support_size: int, n_context: int, noise_std: float, signal_std: float = 1.0) -> float:
    """Smallest risk of a task, ``signal_std^2 (1 - ((L - 1) / L) step)``; a noisy query label adds its variance."""
    step = multi_task_best_step_exact(support_size, n_context, noise_std, signal_std)
    return signal_std**2 * (1 - (n_context - 1) / n_context * step)


def multi_task_few_heads_risk_exact(
    n_tasks: int, n_heads: int, support_size: int, n_context: int, noise_std: float, signal_std: float = 1.0
) -> float:
    r"""Smallest mean risk of N tasks on disjoint supports of size k with H heads of small scale.

    .. math:: R = s^2 - \frac{n\, s^4 p^2}{p^2 \bigl( (n + 1) s^2 + k q \bigr) + p (1 - p)\, k q}, \qquad
              p = \min(H - 1, N) / N,

    ``n = L - 1``, ``q = s^2 + sigma^2``; at ``H > N`` it is `multi_task_best_risk_exact`, and one head is null.

    Why: ``sum_h mu_{t,h} = 0`` for every task leaves the targets ``M_t = a sum_s Pi_{ts} P_s`` with ``Pi`` a projector of
    rank ``H - 1`` in the space of tasks. The weight of a task's own support costs most, and that cost is convex, so the
    best projector has the equal diagonal ``p``.
    """
    check_count(n_tasks=n_tasks, n_heads=n_heads)
    part = min(n_heads - 1, n_tasks) / n_tasks
    linear, own, other = _risk_coefficients(support_size, n_context, noise_std, signal_std)
    return signal_std**2 - (part * linear**2 / (part * own + (1 - part) * other) if part else 0.0)


def multi_task_few_heads_distance_exact(n_tasks: int, n_heads: int) -> float:
    r"""Relative distance of the targets of `multi_task_few_heads_risk_exact` from multiples of the tasks' projectors.

    .. math:: \|M_t - a p P_t\| / \|a p P_t\| = \sqrt{(1 - p) / p}, \qquad p = \min(H - 1, N) / N.

    0 for more heads than tasks, ``1 / sqrt(N - 1)`` for as many.
    """
    check_count(n_tasks=n_tasks)
    check_count(at_least=2, n_heads=n_heads)
    part = min(n_heads - 1, n_tasks) / n_tasks
    return ((1 - part) / part) ** 0.5


def multi_task_common_preconditioner_risk_exact(
    supports: Sequence[Sequence[int]], dim: int, n_context: int, noise_std: float, signal_std: float = 1.0
) -> float:
    r"""Smallest mean risk over tasks when one diagonal preconditioner serves them all: the saddle before heads part.

    .. math:: m_i = \frac{\sum_t l_{ti}}{\sum_t q_{ti}}, \qquad
              \bar R = s^2 - \frac{1}{N} \sum_i \frac{(\sum_t l_{ti})^2}{\sum_t q_{ti}},

    where ``R_t = s^2 - 2 sum_i l_{ti} m_i + sum_i q_{ti} m_i^2`` is the risk of debiased gradient descent.
    """
    linear, square = np.zeros(dim), np.zeros(dim)
    for indicator in _indicators(supports, dim):
        size = int(indicator.sum())
        along, own, other = _risk_coefficients(size, n_context, noise_std, signal_std)
        linear += along / size * indicator
        square += np.where(indicator > 0, own, other) / size
    return float(signal_std**2 - np.sum(linear**2 / square) / len(supports))


def multi_task_minimum_heads_exact(supports: Sequence[Sequence[int]], dim: int) -> int:
    r"""Fewest heads with which the tasks all reach debiased gradient descent: ``rank + 1``.

    ``rank`` is the number of linearly independent projectors ``P_{S_t}``: the number of tasks N if the supports are
    independent, so ``N + 1`` then, and fewer when one support is a combination of others (for {0}, {1} and {0, 1}
    three heads serve three tasks).

    Why: the targets ``mu KQ`` have at most the rank of ``mu`` (task, head), and ``mu 1 = 0`` keeps that below the
    number of heads. `multi_task_heads` reaches it. This is about the risk of debiased gradient descent: fewer heads
    reach a larger one at finite scales, as one head does for one task.
    """
    return int(np.linalg.matrix_rank(_indicators(supports, dim))) + 1


def multi_task_heads(
    supports: Sequence[Sequence[int]], dim: int, steps: Sequence[float], scale: float
) -> tuple[np.ndarray, np.ndarray]:
    """Heads that serve all tasks with the fewest heads: ``mu`` (task, head) and diagonals of ``KQ`` (head, dim).

    ``sum_h mu[t, h] kq[h] = steps[t]`` on the support of t and 0 elsewhere, and ``sum_h mu[t, h] = 0``, both exactly up
    to rounding. ``scale`` is the root mean square of the key-query entries; the error of the small-scale limit vanishes
    with it.
    """
    check_positive(scale=scale)
    indicators = _indicators(supports, dim)
    if np.shape(steps) != (len(indicators),):
        raise ValueError(f"steps has shape {np.shape(steps)}, expected one for each of the {len(indicators)} tasks")
    targets = np.asarray(steps, dtype=float)[:, None] * indicators  # (task, dim): diagonals of M_t
    rank = np.linalg.matrix_rank(indicators)
    left, values, right = np.linalg.svd(targets, full_matrices=False)
    zero_sum = np.linalg.svd(np.ones((1, rank + 1)))[2][1:]  # (rank, head), orthogonal to ones
    kq = zero_sum.T @ right[:rank]  # (head, dim)
    size = scale / np.sqrt(np.mean(kq**2))
    return (left[:, :rank] * values[:rank]) @ zero_sum / size, size * kq


def _noise_ratio(support_size, n_context, noise_std, signal_std) -> float:
    check_task(support_size, n_context, noise_std)
    check_positive(signal_std=signal_std)
    return (noise_std / signal_std) ** 2


def _risk_coefficients(support_size, n_context, noise_std, signal_std) -> tuple[float, float, float]:
    """Risk of ``M = m P_own + o P_other`` (supports of equal size): ``s^2 - 2 m linear + m^2 own + o^2 other``."""
    _noise_ratio(support_size, n_context, noise_std, signal_std)
    n, signal2 = n_context - 1, signal_std**2
    total = signal2 + noise_std**2
    scale = n / n_context**2
    return (n / n_context * signal2, scale * ((n + 1) * signal2 + support_size * total), scale * support_size * total)


def _indicators(supports, dim: int) -> np.ndarray:
    check_task(dim, 2, 0.0)
    if len(supports) == 0:
        raise ValueError("supports is empty; give one sequence of coordinates for each task")
    indicators = np.zeros((len(supports), dim))
    for task, support in enumerate(supports):
        if len(support) == 0 or len(set(support)) != len(support) or not all(0 <= i < dim for i in support):
            raise ValueError(f"supports[{task}]={support!r} must be distinct coordinates in 0..{dim - 1}")
        indicators[task, list(support)] = 1.0
    return indicators
