r"""Training dynamics of linear attention in context: one drop with merged key-query, a staircase with separate ones.

Zhang, Singh, Latham, Saxe 2025 (arXiv 2501.16265). Task of `linear_attention` with prior ``I`` and no noise; ``spectrum`` holds
the eigenvalues of the covariance. Time is that of the flow ``dz/dt = -grad L / 2`` of ``L = E (y_hat - y)^2``: a step of gradient
descent with learning rate h takes the time 2 h. All matrices are in the eigenbasis of the covariance.
"""

import itertools

import numpy as np
from scipy.integrate import solve_ivp

from attnlab.theory.checks import increasing_times


def finite_context_factors(spectrum, n_context: int) -> np.ndarray:
    r"""``A_d = 1 + (1 + tr S / lam_d) / N``, what the finite context adds to each eigenvalue, shape (d,)."""
    lam = _spectrum(spectrum)
    if n_context < 1:
        raise ValueError(f"n_context={n_context!r} must be at least 1")
    return 1 + (1 + lam.sum() / lam) / n_context


def merged_scale_exact(times, growing: float, dim: int, n_context: int, variance: float = 1.0) -> np.ndarray:
    r"""Scale ``s(t)`` of the merged model ``y_hat = s beta^T x_q`` for the white covariance ``variance * I``.

    .. math:: s(t) = \frac{e^E}{l A (e^E - 1) + \sqrt d / w_0^2}, \qquad E = 2 l^2 \sqrt d\, t,\quad A = 1 + \frac{1 + d}{N},

    l the variance. ``growing`` (w_0) is the norm over heads of the growing component of the start,
    ``(v_i + tr U_i / sqrt d) / 2``; with the norm of all weights in its place the curve comes too early by the logarithm of
    their ratio over ``l^2 sqrt d``. Error of order ``w_0^2``.

    Why: two-layer linear network with isotropic inputs; ``p = v . U`` obeys ``dp/dt = 2 l^2 sqrt d p (1 - l A p / sqrt d)``.
    """
    t = np.asarray(times, float)
    A = 1 + (1 + dim) / n_context
    decayed = np.exp(-2 * variance**2 * dim**0.5 * t)
    return 1 / (variance * A * (1 - decayed) + dim**0.5 / growing**2 * decayed)


def merged_growth_rate(spectrum) -> float:
    r"""Rate at which the growing component leaves zero, ``||S^2||_F``; the escape time is ``ln(1 / w_0)`` over it."""
    return float(np.linalg.norm(_spectrum(spectrum) ** 2))


def descent_pace(rate: float, step: float = 0.0) -> float:
    r"""Logarithmic growth per unit of time of what grows at ``rate`` in the flow, under descent with steps of the time h.

    .. math:: \frac{\ln(1 + h r)}{h}, \qquad \to r \text{ as } h \to 0,

    since a step multiplies it by ``1 + h r``: descent waits longer than the flow, by h / 2 a unit of the logarithm.
    """
    return float(np.log1p(step * rate) / step) if step > 0 else float(rate)


def merged_half_time_exact(growing, dim: int, n_context: int, variance: float = 1.0, step: float = 0.0) -> np.ndarray:
    r"""Time at which the scale of `merged_scale_exact` reaches half of its limit ``1 / (l A)``.

    .. math:: t_{1/2} = \frac{1}{2 p} \ln\Bigl(\frac{\sqrt d}{l A w_0^2} - 1\Bigr),

    p the pace `descent_pace` at the rate ``l^2 sqrt d``; exact for the flow (``step = 0``), within one step for descent, which
    grows like ``(1 + h r)^2`` a step until it saturates.
    """
    A = 1 + (1 + dim) / n_context
    pace = descent_pace(variance**2 * dim**0.5, step)
    return np.log(dim**0.5 / (variance * A * np.asarray(growing, float) ** 2) - 1) / (2 * pace)


def merged_flow(times, growing: float, spectrum, n_context: int) -> np.ndarray:
    r"""Reduced flow of the merged model from a small start: diagonal of the effective matrix, shape (time, d).

    .. math:: \dot s = \sum_d r_d (\lambda_d^2 - s\, \lambda_d^3 A_d r_d), \qquad
              \dot r_d = s (\lambda_d^2 - s\, \lambda_d^3 A_d r_d), \qquad G_{dd} = s\, r_d,

    from ``r = w_0 lam^2 / ||lam^2||``, ``s = w_0``: the growing component alone, in which all heads act as one.
    """
    lam, A = _spectrum(spectrum), finite_context_factors(spectrum, n_context)

    def velocity(_, z):
        left = lam**2 - z[0] * lam**3 * A * z[1:]
        return np.concatenate([[z[1:] @ left], z[0] * left])

    start = growing * np.concatenate([[1.0], lam**2 / np.linalg.norm(lam**2)])
    z = _solved(velocity, start, times, growing)
    return z[:, :1] * z[:, 1:]


def loss_of_diagonal_exact(diagonal, spectrum, n_context: int) -> np.ndarray:
    r"""Loss of an effective matrix that is diagonal, ``sum_d lam_d - 2 lam_d^2 g_d + lam_d^3 A_d g_d^2``; (..., d) to (...)."""
    lam, A, g = _spectrum(spectrum), finite_context_factors(spectrum, n_context), np.asarray(diagonal, float)
    return (lam - 2 * lam**2 * g + lam**3 * A * g**2).sum(-1)


def plateau_losses_exact(spectrum, n_context: int) -> np.ndarray:
    r"""Losses ``L(M_m) = tr S - sum_{d <= m} lam_d / A_d``, m = 0 to d, with the m largest eigenvalues learnt."""
    lam = np.sort(_spectrum(spectrum))[::-1]
    return lam.sum() - np.concatenate([[0.0], np.cumsum(lam / finite_context_factors(lam, n_context))])


def plateau_matrix_exact(n_learnt: int, spectrum, n_context: int) -> np.ndarray:
    r"""Effective matrix at plateau m, ``diag(1 / (lam_d A_d))`` over the m largest eigenvalues, in the order of ``spectrum``.

    In-context principal-component regression: only these components of the context are used. For m = d it is the optimum.
    """
    lam = _spectrum(spectrum)
    kept = np.argsort(-lam, kind="stable")[:n_learnt]
    diagonal = np.zeros_like(lam)
    diagonal[kept] = (1 / (lam * finite_context_factors(lam, n_context)))[kept]
    return np.diag(diagonal)


def stationary_losses_exact(spectrum, n_context: int) -> np.ndarray:
    """Losses at all 2^d fixed points of separate rank-one heads, ascending: one for each set of learnt eigenvectors."""
    lam = _spectrum(spectrum)
    gains = lam / finite_context_factors(lam, n_context)
    return np.sort(
        [lam.sum() - sum(chosen) for size in range(lam.size + 1) for chosen in itertools.combinations(gains, size)]
    )


def final_weight_exact(eigenvalue, factor) -> np.ndarray:
    """Weight ``|v| = ||k|| = ||q|| = (lam A)^(-1/3)`` of a rank-one head that has learnt one eigenvector."""
    return (np.asarray(eigenvalue, float) * np.asarray(factor, float)) ** (-1 / 3)


def drop_clock_exact(fraction) -> np.ndarray:
    r"""The clock F(u) of a drop, with ``u = v / v_inf`` in (0, 1):

    .. math:: F(u) = -\frac1u - \tfrac13 \ln(1 - u) + \tfrac16 \ln(1 + u + u^2) - \tfrac1{\sqrt3} \arctan\frac{2 u + 1}{\sqrt3},

    for which ``F(u(t)) - F(u(0)) = lam^2 v_inf t``. Its derivative is ``1 / (u^2 (1 - u^3))``.
    """
    u = np.asarray(fraction, float)
    if not np.all((u > 0) & (u < 1)):
        raise ValueError("fraction is v / v_inf of a head that grows: use values between 0 and 1, without the ends")
    return -1 / u - np.log1p(-u) / 3 + np.log1p(u + u**2) / 6 - np.arctan((2 * u + 1) / 3**0.5) / 3**0.5


def drop_weight_exact(times, start, eigenvalue: float, factor: float) -> np.ndarray:
    r"""Weight v(t) of the head that learns an eigenvector, from ``v(0) = start``: ``dv/dt = lam^2 v^2 - lam^3 A v^5``.

    Exact for the reduced equation, which assumes ``k = q = v e``. ``times`` may be negative. A small start waits for a time
    ``1 / (lam^2 v(0))``: growth is hyperbolic, not exponential. Solved by bisection of the clock to full precision.
    """
    limit = float(final_weight_exact(eigenvalue, factor))
    goal = drop_clock_exact(np.asarray(start, float) / limit) + eigenvalue**2 * limit * np.asarray(times, float)
    low, high = np.full(goal.shape, -60.0), np.full(goal.shape, 36.0)  # logits of u
    for _ in range(70):
        middle = (low + high) / 2
        below = drop_clock_exact(1 / (1 + np.exp(-middle))) < goal
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return limit / (1 + np.exp(-(low + high) / 2))


def separate_flow(times, start, spectrum, n_context: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    r"""Flow of separate rank-one heads ``y_hat = sum_i v_i (beta^T k_i) (q_i^T x_q)`` from ``start = (v, k, q)``.

    .. math:: \dot v_i = k_i^T R q_i,\quad \dot k_i = v_i R q_i,\quad \dot q_i = v_i R^T k_i,\qquad
              R = S^2 - \bigl(S^2 + \tfrac{S + \mathrm{tr} S}{N} S\bigr) G S,\quad G = \sum_j v_j k_j q_j^T .

    Shapes (head,), (head, d), (head, d); returns the same with a leading time axis. Conserved: ``v^2 - ||k||^2`` and
    ``v^2 - ||q||^2``.
    """
    v, k, q = (np.asarray(part, float) for part in start)
    lam, (H, d) = _spectrum(spectrum), k.shape
    second = lam**2 + (lam + lam.sum()) * lam / n_context

    def parts(z):
        return z[:H], z[H : H + H * d].reshape(H, d), z[H + H * d :].reshape(H, d)

    def velocity(_, z):
        v, k, q = parts(z)
        R = np.diag(lam**2) - second[:, None] * ((v[:, None] * k).T @ q) * lam
        return np.concatenate([((k @ R) * q).sum(-1), (v[:, None] * (q @ R.T)).ravel(), (v[:, None] * (k @ R)).ravel()])

    z = _solved(velocity, np.concatenate([v, k.ravel(), q.ravel()]), times, float(np.abs(v).min()))
    return z[:, :H], z[:, H : H + H * d].reshape(-1, H, d), z[:, H + H * d :].reshape(-1, H, d)


def _solved(velocity, start, times, smallest: float) -> np.ndarray:
    """The solution at ``times``, shape (time, variable); absolute errors stay far below the cube of the start."""
    t = increasing_times(times)
    found = solve_ivp(
        velocity,
        (0.0, t[-1]),
        start,
        method="LSODA",
        t_eval=t,
        rtol=1e-9,
        atol=float(np.clip(1e-3 * smallest**3, 1e-24, 1e-12)),
    )
    if not found.success:
        raise RuntimeError(f"the flow was not solved up to time {t[-1]}: {found.message}")
    return found.y.T


def _spectrum(spectrum) -> np.ndarray:
    lam = np.asarray(spectrum, float)
    if lam.ndim != 1 or lam.size == 0 or not np.all(np.isfinite(lam) & (lam > 0)):
        raise ValueError(f"spectrum={spectrum!r} must be the positive eigenvalues of the covariance, shape (d,)")
    return lam
