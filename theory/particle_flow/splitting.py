r"""Truncation errors of splitting schemes for dX/dt = F(X) + G(X), with exact, midpoint or Euler sub-steps.

A scheme is a list of stages ``(a, b)``: stage k follows the field a_k F + b_k G for the time gamma (step size). Lie-Trotter
(a Transformer layer) is F, then G; Strang-Marchuk (a Macaron layer) is G/2, F, G/2. Lu et al. (arXiv 1906.02762),
theorem 1 and appendix, state the errors for exact sub-flows; a network makes Euler sub-steps, ``X <- X + gamma F(X)``.
"""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from attnlab.theory.checks import check_one_of
from attnlab.theory.particle_flow.fields import ParticleSystem, integrate

Stages = Sequence[tuple[Fraction, Fraction]]

_0, _HALF, _1 = Fraction(0), Fraction(1, 2), Fraction(1)
SCHEMES: dict[str, Stages] = {
    "transformer": ((_1, _0), (_0, _1)),
    "reversed": ((_0, _1), (_1, _0)),
    "macaron": ((_0, _HALF), (_1, _0), (_0, _HALF)),
    "macaron_swapped": ((_HALF, _0), (_0, _1), (_HALF, _0)),
    "parallel": ((_1, _1),),
}
"""Lie-Trotter in both orders, Strang-Marchuk with G or F outside, and the unsplit (parallel) layer."""

SUB_FLOWS = ("exact", "midpoint", "euler")


def error_terms(stages: Stages, sub_flow: str) -> dict[str, Fraction]:
    r"""Coefficients of F'F, F'G, G'F, G'G in the local truncation error, divided by gamma^2; exact fractions.

    .. math:: \tau = X(t + \gamma) - A(X(t)) = \gamma^2 \sum_{P, Q} c_{PQ}\, P'Q + O(\gamma^3), \qquad
        c_{PQ} = \tfrac12 - \sum_{j < k} w_k^P w_j^Q - s \sum_k w_k^P w_k^Q,

    w_k^F = a_k and w_k^G = b_k, s = 0 for Euler sub-steps and 1/2 for exact or midpoint ones (they agree to this order).

    Why: the exact flow has 1/2 for every pair; a later stage sees the displacement by an earlier one, gamma w_j^Q Q, through
    its derivative; and a stage of its own has its second-order term only if the sub-step is better than Euler.

    With Euler sub-steps :math:`c_{FF} = \tfrac12 \sum_k a_k^2`, positive for any real a_k that sum to one: no arrangement
    of Euler sub-layers is second order.

    Errors: ``ValueError`` for stages that do not sum to F + G.
    """
    check_one_of(SUB_FLOWS, sub_flow=sub_flow)
    if any(sum(stage[i] for stage in stages) != 1 for i in (0, 1)):
        raise ValueError(f"stages={stages!r} do not add up to F + G; the weights of each field must sum to 1")
    own = _0 if sub_flow == "euler" else _HALF
    return {
        P + Q: _HALF
        - sum((late[i] * early[j] for k, late in enumerate(stages) for early in stages[:k]), _0)
        - own * sum((stage[i] * stage[j] for stage in stages), _0)
        for i, P in enumerate("FG")
        for j, Q in enumerate("FG")
    }


def orders(stages: Stages, sub_flow: str) -> tuple[int, int]:
    """Powers of gamma of the local and the global error of smooth generic fields: (2, 1), or (3, 2) if all terms vanish.

    Schemes of one stage with exact sub-flow have no error; a symmetric composition is of order 2 and generically no more.
    """
    if sub_flow == "exact" and len(stages) == 1:
        raise ValueError("one stage with its exact sub-flow is the solution itself: it has no order")
    second = not any(error_terms(stages, sub_flow).values())
    return (3, 2) if second else (2, 1)


def error_coefficient(system: ParticleSystem, X: np.ndarray, terms: dict[str, Fraction]) -> np.ndarray:
    r"""The vector :math:`c(X) = c_{FF} F'F + c_{FG} F'G + c_{GF} G'F + c_{GG} G'G`, shape of X."""
    return _weighted(system, X, terms, 0.0)


def error_constant(
    system: ParticleSystem,
    X: np.ndarray,
    horizon: float,
    terms: dict[str, Fraction],
    *,
    n_steps: int = 128,
    transported: bool = True,
) -> np.ndarray:
    r"""Leading global error of a first-order scheme: X(T) - X_L = gamma E(T) + O(gamma^2), shape of X.

    .. math:: \frac{dE}{dt} = (F' + G') E + c(X(t)), \qquad E(0) = 0

    (solved together with X by Runge-Kutta steps of order 4). ``transported=False`` leaves the first term out: local errors
    that only add up.
    """

    def joint(state: np.ndarray) -> np.ndarray:
        X, E = state
        carried = E if transported else 0.0 * E
        return np.stack([system.field(X), _weighted(system, X, terms, carried)])

    start = np.stack([X, np.zeros_like(X)])
    return integrate(joint, start, horizon, n_steps)[-1, 1]


def _weighted(
    system: ParticleSystem, X: np.ndarray, terms: dict[str, Fraction], more: np.ndarray | float
) -> np.ndarray:
    """F'(c_FF F + c_FG G + more) + G'(c_GF F + c_GG G + more)."""
    F, G = system.interaction(X), system.convection(X)
    c = {name: float(value) for name, value in terms.items()}
    return system.interaction_derivative(X, c["FF"] * F + c["FG"] * G + more) + system.convection_derivative(
        X, c["GF"] * F + c["GG"] * G + more
    )


def euler_layer(system: ParticleSystem, X: np.ndarray, step: float, stages: Stages) -> np.ndarray:
    """One layer of a network: the stages in turn as Euler sub-steps of size ``step``."""
    for a, b in stages:
        change = np.zeros_like(X)
        if a:
            change = change + float(a) * system.interaction(X)
        if b:
            change = change + float(b) * system.convection(X)
        X = X + step * change
    return X
