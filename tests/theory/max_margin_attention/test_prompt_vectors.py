"""Prompt vectors: closed forms against a grid and against direct integration."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.special import expit

from attnlab.theory.max_margin_attention.prompt_vectors import joint_prompt_direction, separating_gap, two_input_offset


def test_offsets_of_the_three_losses_in_closed_form():
    C = np.array([1.0, 2.0, 10.0])
    assert np.allclose(two_input_offset(C, "linear"), np.log(C) / 2)
    assert np.allclose(two_input_offset(C, "exponential"), (np.log(C) - C + 1) / 2)
    assert np.allclose(two_input_offset(C, "logistic"), np.log(C * (1 + np.e) / (1 + np.exp(C))) / 2)
    with pytest.raises(ValueError, match="positive"):
        two_input_offset(0.0, "linear")


def test_the_gradient_flow_of_the_two_inputs_settles_at_the_offset():
    C = 3.0

    def velocity(_, p):
        s = expit([p[0] + p[1], p[0] - p[1]])
        push = expit(-np.array([C, 1.0]) * s) * np.array([C, 1.0]) * s * (1 - s)
        return [push.sum(), push[0] - push[1]]

    end = solve_ivp(velocity, (0, 1e6), [0.0, 0.0], method="LSODA", rtol=1e-10, atol=1e-12).y[:, -1]
    assert end[1] == pytest.approx(two_input_offset(C, "logistic"), abs=1e-3)
    assert abs(end[1] - two_input_offset(C, "linear")) > 0.3


@pytest.mark.parametrize("ratio", [0.3, 1.0, 2.0, 5.0])
def test_the_joint_direction_is_the_best_of_a_grid_and_certified(ratio):
    margins, gaps = np.array([1.0, 1.0, 1.5]), np.array([[1.0, 1.0], [1.0, -1.0], [0.5, 1.5]])
    p, gap = joint_prompt_direction(margins, gaps, ratio)
    grid = np.linspace(-np.pi, np.pi, 200_001)
    values = (margins[:, None] + ratio * gaps @ np.stack([np.cos(grid), np.sin(grid)])).min(0)
    assert np.arctan2(p[1], p[0]) == pytest.approx(grid[values.argmax()], abs=1e-4) and gap < 1e-9


def test_small_ratios_relax_and_large_ones_restore_the_plain_machine():
    margins, gaps = np.array([1.0, 1.0, 1.5]), np.array([[1.0, 1.0], [1.0, -1.0], [0.5, 1.5]])
    assert np.allclose(joint_prompt_direction(margins, gaps, 0.5)[0], [1, 0], atol=1e-8)
    assert np.allclose(joint_prompt_direction(margins, gaps, 2.0)[0], [0.99508573, 0.09901715], atol=1e-6)
    plain = np.array([4.0, 2.0]) / np.sqrt(20)  # both (0.5, 1.5) and (1, -1) active
    far = joint_prompt_direction(margins, gaps, 1e6)[0]
    assert (
        np.allclose(gaps[1:] @ far / (gaps[1] @ far), 1, atol=1e-4)
        and np.linalg.norm(far) == pytest.approx(1)
        and plain[0] > 0
    )


KEYS = np.array([[-0.1, 1.0], [1.0, 0.0], [0.0, 0.0]])


@pytest.mark.parametrize(
    "keys, scores",
    [(KEYS, (1.0, 0.9, 0.0)), (KEYS, (1.0, 0.5, 0.3)), (KEYS - [[0.3, 0], [0, 0], [0, 0]], (1.0, 0.9, 0.0))],
)
def test_the_flow_of_a_saturated_prompt_turns_at_the_gap(keys, scores):
    """The flow dp/dt = sum_t s_t (gamma_t - mean) k_t of plain softmax, from starts that the second token leads by far."""
    boundary, scores = separating_gap(keys, scores, 1), np.array(scores)
    across, along = keys[0] - keys[2], keys[1] - keys[2]

    def kept(gap):
        start = np.linalg.solve(np.array([across, along]), [gap, 60.0])

        def velocity(_, p):
            logits = keys @ p
            s = np.exp(logits - logits.max())
            s /= s.sum()
            # sum_t s_t (gamma_t - mean) k_t without cancellation in the leading weight
            others = np.array([0, 2])
            v = (s[others] * (scores[others] - scores[1])) @ (keys[others] - keys[1])
            return v / np.linalg.norm(v)

        end = solve_ivp(velocity, (0, 25.0), start, method="RK45", rtol=1e-8, atol=1e-8).y[:, -1]
        return across @ end < boundary

    assert kept(boundary - 0.02) and not kept(boundary + 0.02)


def test_the_gap_of_the_default_tokens_in_numbers():
    assert separating_gap(KEYS, (1.0, 0.9, 0.0), 1) == pytest.approx(np.log(0.9 * 0.1 / (0.1 * 1.11)))
    right = np.array([[0.5, 1.0], [1.0, 0.0], [0.0, 0.0]])  # the worse rival drives the better one up, too
    assert separating_gap(right, (1.0, 0.9, 0.0), 1) == -np.inf
    for keys, scores, message in ((KEYS, (1.0, 0.9, 0.9), "below"), (KEYS[:2], (1.0, 0.9), "keys must be")):
        with pytest.raises(ValueError, match=message):
            separating_gap(keys, scores, 1)
    with pytest.raises(ValueError, match="lowers its lead"):
        separating_gap([[0.4, 0.0], [1.0, 0.0], [0.0, 0.0]], (1.0, 0.9, 0.0), 1)


def test_arguments_are_checked():
    with pytest.raises(ValueError, match="growth_ratio"):
        joint_prompt_direction([1.0], [[1.0, 0.0]], 0.0)
