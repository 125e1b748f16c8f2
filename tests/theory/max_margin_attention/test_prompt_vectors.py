"""Prompt vectors: closed forms against a grid and against direct integration."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.special import expit

from attnlab.theory.max_margin_attention.prompt_vectors import joint_prompt_direction, two_input_offset


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


def test_arguments_are_checked():
    with pytest.raises(ValueError, match="growth_ratio"):
        joint_prompt_direction([1.0], [[1.0, 0.0]], 0.0)
