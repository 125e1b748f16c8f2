"""Flows of the circuit: conserved descent, refinement, the closed slow phase, the readout's rate, the saddle."""

import numpy as np
import pytest

from attnlab.theory.induction_heads import dynamics
from attnlab.theory.induction_heads import reduced_loss as theory


def test_readout_rate_is_that_of_the_readout_matrix():
    """One step of gradient descent on an L x L readout, the gradient by finite differences over all label choices."""
    L, N, xi, h = 4, 2, 1.2, 1e-6
    M = xi * np.eye(L) + 0.3
    s = np.array([[0.5, 0.2], [0.15, 0.4]])  # weights (m, k) of the labels

    def loss(M):
        total = []
        for first in range(L):
            for second in set(range(L)) - {first}:
                labels = [first, second]
                for m in range(N):
                    logits = M[:, labels] @ s[m]
                    total.append(np.log(np.exp(logits).sum()) - logits[labels[m]])
        return np.mean(total)

    gradient = np.array(
        [
            [
                (
                    loss(M + h * np.outer(np.eye(L)[k], np.eye(L)[j]))
                    - loss(M - h * np.outer(np.eye(L)[k], np.eye(L)[j]))
                )
                / (2 * h)
                for j in range(L)
            ]
            for k in range(L)
        ]
    )
    moved = -np.trace(gradient) / L + (gradient.sum() - np.trace(gradient)) / (L * (L - 1))
    force = -(loss(M + h * np.eye(L)) - loss(M - h * np.eye(L))) / (2 * h)
    assert abs(moved / force - dynamics.readout_rate(L)) < 1e-6
    assert abs(moved / force - 1 / L) > 0.05  # the twin


def test_flow_equals_small_steps_of_descent():
    N, L, rates = 3, 6, np.array([1, 1, 1, 0.2])
    z, h, n = np.array([0.1, 0.2, 0.0, 0.3]), 0.01, 4_000
    start = z.copy()
    for _ in range(n):
        moved = z + 1e-30j * np.eye(4)
        z = z - h * rates * theory.circuit_loss_limit(*moved.T, N, L).imag / 1e-30
    flow = dynamics.circuit_flow(start, np.array([0.0, n * h]), N, L, rates)
    end = np.array([flow.beta1[-1], flow.alpha[-1], flow.beta2[-1], flow.xi[-1]])
    assert np.abs(end - z).max() < 20 * h * np.abs(z).max() * 0.05  # Euler's error is of order h


def test_loss_falls_along_both_flows():
    times = np.linspace(0, 300, 61)
    for flow in (
        dynamics.circuit_flow((0.01,) * 4, times, 8, 32),
        dynamics.nested_logit_flow((0.01,) * 3, times, 8, 32),
    ):
        assert (np.diff(flow.loss) < 0).all() and flow.loss[-1] < 0.3


@pytest.mark.parametrize(("N", "L", "rate"), [(8, 32, 1.0), (4, 16, 1 / 15)])
def test_slow_phase_is_the_flow_with_attention_held_uniform(N, L, rate):
    times = np.array([0.0, 10.0, 100.0, 1e3, 1e4])
    flow = dynamics.circuit_flow((0, 0, 0, 0), times, N, L, (0, 0, 0, rate))
    xi = dynamics.slow_phase_xi(times, N, L, rate)
    assert np.abs(flow.xi - xi).max() < 1e-6 * xi[-1]
    assert np.abs(flow.loss - dynamics.slow_phase_loss(times, N, L, rate)).max() < 1e-6
    mass = theory.circuit_measures_limit(0, 0, 0, flow.xi, N, L).context_mass
    assert np.abs(mass - dynamics.slow_phase_context_mass(times, N, L, rate)).max() < 1e-6
    assert np.abs(flow.xi - dynamics.slow_phase_xi(times, N, L, 1.1 * rate)).max() > 1e-3 * xi[-1]  # the twin


def test_slow_phase_has_its_two_limits():
    N, L = 8, 32
    small = 1e-3
    assert abs(dynamics.slow_phase_xi(small, N, L) / (small * (1 - N / L) / (2 * N + 1)) - 1) < 1e-4
    late = dynamics.slow_phase_xi(np.array([1e200, 1e202]), N, L) / (2 * N + 1)
    assert abs(np.diff(late)[0] - np.log(100)) < 1e-2  # u ~ ln t, up to u / e^u ... ln t / t
    assert dynamics.slow_phase_xi(np.array([5.0]), 4, 4)[0] == 0


def test_published_times_of_transition():
    """Unit rates, starts of 0.01, N = 8: 97.1 and 94.3 at L = 32, 810 and 724 at L = 8."""
    for L, nested, exact in ((32, 97.1, 94.3), (8, 810.2, 724.5)):
        assert abs(dynamics.transition_time(dynamics.nested_logit_flow, (0.01,) * 3, 8, L, (1, 1, 1)) - nested) < 0.1
        assert (
            abs(dynamics.transition_time(dynamics.circuit_flow, (0.01, 0.01, 0, 0.01), 8, L, (1, 1, 0, 1)) - exact)
            < 0.1
        )


def test_the_wait_grows_by_one_over_kappa_a_factor_e_at_the_saddle_only():
    def waits(L):
        return [dynamics.transition_time(dynamics.nested_logit_flow, (s,) * 3, 8, L, (1, 1, 1)) for s in (1e-3, 1e-4)]

    slope = np.diff(waits(8))[0] / np.log(10)
    assert abs(slope * theory.saddle_rate(8, 8) - 1) < 0.01  # corrections of the order of the start
    assert np.diff(waits(32))[0] < 0.2
    assert dynamics.transition_time(dynamics.circuit_flow, (0, 0, 0, 0), 4, 4, (1, 1, 1, 1), longest=1e3) == np.inf


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="must hold 4 numbers"):
        dynamics.circuit_flow((0, 0, 0), [0, 1], 4, 8)
    with pytest.raises(ValueError, match="increase and start at 0"):
        dynamics.circuit_flow((0, 0, 0, 0), [1, 1], 4, 8)
    with pytest.raises(ValueError, match="n_labels=1"):
        dynamics.readout_rate(1)


def test_transition_times_of_many_starts_are_those_of_each():
    starts = [(0.1, 0.05, 0.0, 0.1), (0.0, 0.0, 0.0, 0.0), (1e-3, 2e-3, 0.0, 1e-3)]
    rates = (1, 1, 0, dynamics.readout_rate(5))
    found = dynamics.circuit_transition_times(starts, 3, 5, rates)
    each = [dynamics.transition_time(dynamics.circuit_flow, start, 3, 5, rates) for start in starts]
    np.testing.assert_allclose(found, each, rtol=1e-6)  # both solved to 1e-9 a step
    assert np.isinf(dynamics.circuit_transition_times((0, 0, 0, 0), 3, 3, rates, longest=1e3)).all()
    with pytest.raises(ValueError, match="four numbers"):
        dynamics.circuit_transition_times([(0, 0, 0)], 3, 5, rates)
