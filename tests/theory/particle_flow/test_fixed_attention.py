"""Commutator terms of the linear system against matrix exponentials."""

import numpy as np
from scipy.linalg import expm

from attnlab.theory.particle_flow.fixed_attention import lie_trotter_term, strang_term

RNG = np.random.default_rng(0)
N, D = 4, 3
P = RNG.dirichlet(np.ones(N), size=N)
V, C, X = RNG.normal(size=(D, D)), RNG.normal(size=(D, D)), RNG.normal(size=(N, D))


def defect(step, C, order):
    """Exact minus scheme after one step, on X flattened row by row."""
    A, B = np.kron(P, V.T), np.kron(np.eye(N), C.T)
    half = expm(step * B / 2)
    scheme = expm(step * B) @ expm(step * A) if order == "lie" else half @ expm(step * A) @ half
    return ((expm(step * (A + B)) - scheme) @ X.ravel()).reshape(X.shape)


def gaps(order, power, term):
    sizes = [np.linalg.norm(defect(h, C, order) / h**power - term) / np.linalg.norm(term) for h in (0.04, 0.02, 0.01)]
    return np.array(sizes)


def test_lie_trotter_term_leads_the_error():
    found = gaps("lie", 2, lie_trotter_term(P, V, C, X))
    assert np.all(np.abs(found[:-1] / found[1:] - 2) < 0.2) and found[-1] < 0.1  # halves with the step
    assert gaps("lie", 2, lie_trotter_term(P, C, V, X))[-1] > 1  # the order confused


def test_strang_term_leads_the_error():
    found = gaps("strang", 3, strang_term(P, V, C, X))
    assert np.all(np.abs(found[:-1] / found[1:] - 2) < 0.2) and found[-1] < 0.1
    K = V @ C - C @ V
    exchanged = P @ X @ (K @ C - C @ K) / 12 + P @ P @ X @ (K @ V - V @ K) / 24
    assert gaps("strang", 3, exchanged)[-1] > 0.1


def test_commuting_maps_leave_no_error():
    assert np.abs(lie_trotter_term(P, V, V @ V, X)).max() < 1e-13
    assert np.abs(strang_term(P, V, V @ V, X)).max() < 1e-12
    assert np.abs(defect(0.5, V @ V, "lie")).max() < 1e-13 < np.abs(defect(0.5, C, "lie")).max()
