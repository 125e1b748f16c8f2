"""What gates learn: closed forms against finite differences, brute-force minima and plain gradient descent."""

import numpy as np
import pytest
from scipy.optimize import minimize

from attnlab.theory.positional_attention import gates

rng = np.random.default_rng(4)
P, C, T = (rng.dirichlet(np.ones(9), 9) for _ in range(3))


def loss(logit):
    g = 1 / (1 + np.exp(-logit))
    return ((g * P + (1 - g) * C - T) ** 2).sum() / 9


def test_gradient_is_that_of_finite_differences():
    g = 1 / (1 + np.exp(-0.7))
    outer = 2 * (g * P + (1 - g) * C - T) / 9
    slope = (loss(0.7 + 1e-6) - loss(0.7 - 1e-6)) / 2e-6
    assert gates.gate_gradient_exact(0.7, outer, P, C) == pytest.approx(slope, rel=1e-7)
    assert abs(gates.gate_gradient_exact(0.7, outer, P, 0 * C) - slope) > 1e-3


def test_best_gate_is_the_minimum_of_a_scan():
    g = np.linspace(-2, 3, 500_001)
    away, start = P - C, C - T
    scan = (away**2).sum() * g**2 + 2 * (away * start).sum() * g
    assert gates.best_gate_exact(P, C, T) == pytest.approx(g[scan.argmin()], abs=1e-5)
    assert gates.best_gate_exact(P, C, 0.3 * P + 0.7 * C) == pytest.approx(0.3)


def test_descent_is_that_of_the_maps():
    logit, found = 1.2, []
    for step in range(31):
        if step in (0, 3, 30):
            found.append(1 / (1 + np.exp(-logit)))
        g = 1 / (1 + np.exp(-logit))
        logit -= 0.5 * gates.gate_gradient_exact(logit, 2 * (g * P + (1 - g) * C - T) / 9, P, C)
    size, best = ((P - C) ** 2).sum() / 9, gates.best_gate_exact(P, C, T)
    told = gates.gate_descent_exact(found[0], best, size, 0.5, np.array([0, 3, 30]))
    assert told == pytest.approx(np.array(found), abs=1e-13)
    assert abs(gates.gate_descent_exact(found[0], best, 1.05 * size, 0.5, np.array([30]))[0] - found[-1]) > 1e-4


@pytest.mark.parametrize(("s", "w", "own"), [(0.3, 0.9, 0.05), (0.7, 0.97, 0.002), (0.5, 1.0, 0.0)])
def test_matching_gate_is_the_minimum_over_orders(s, w, own):
    """The loss averaged over random orders by means on and off the diagonal, minimised numerically over u and v."""
    n = 16
    blur = np.exp(-np.abs(np.subtract.outer(np.arange(n), np.arange(n))))
    blur /= blur.sum(1, keepdims=True)
    E = np.eye(n)[np.arange(n) ^ 1]
    content = w * E + own * np.eye(n) + (1 - w - own) / (n - 2) * (1 - E - np.eye(n))
    on = np.trace(blur) / n
    mean = np.where(np.eye(n) > 0, on, (1 - on) / (n - 1))

    def risk(x):
        u, v = x
        far = v * content - (1 - s) * E
        return ((u - s) ** 2 * (blur**2).sum() + (far**2).sum() + 2 * (u - s) * (mean * far).sum()) / n

    u, v = minimize(risk, [s, 1 - s], tol=1e-14).x
    assert gates.matching_gate_exact(s, w, own, blur) == pytest.approx(u / (u + v), abs=1e-6)
    if w == 1:
        assert gates.matching_gate_exact(s, w, own, blur) == pytest.approx(gates.matching_gate_limit(s), abs=1e-12)
    else:
        assert gates.matching_gate_exact(s, w, own, blur) < s


def test_distance_is_a_mixture():
    assert gates.matching_distance_limit(0.25, 1.0, 3.0) == 2.5
    with pytest.raises(ValueError, match="local_share"):
        gates.matching_distance_limit(1.5, 1.0, 3.0)
