"""Chains of Euler blocks: rules for the step, and trained gates."""

import numpy as np
import pytest
import torch

from attnlab.simulators.stiffness.euler_chains import (
    EulerSetting,
    GateChain,
    GateSetting,
    RotationTask,
    euler_rules,
    measured_index,
    train_gates,
)


def test_the_measured_index_of_a_rotation_is_its_speed():
    t = np.linspace(0, 1, 20_001)
    speed = lambda s: 2 + np.sin(5 * s)  # noqa: E731
    index = measured_index(speed, t, 1j)
    np.testing.assert_allclose(index[1:-1], speed(t[1:-1]), rtol=1e-6)  # second order in the step of 5e-5


def test_steps_of_a_constant_speed_have_the_norm_of_the_recursion(seeds):
    setting = EulerSetting(height=0.0, n_steps=(10, 40), n_fine=2000, n_replicas=2)
    runs = euler_rules(setting, seeds(2))
    exact = [n / 2 * np.log1p((2 / n) ** 2) for n in setting.n_steps]
    np.testing.assert_allclose(runs["log_norm"], np.broadcast_to(exact, (2, 5, 2)), rtol=1e-6)


def test_steps_by_the_index_beat_equal_steps(seeds):
    runs = euler_rules(EulerSetting(n_steps=(200,), n_fine=20_000, n_replicas=2), seeds(2))["log_norm"][:, :, 0]
    assert np.all(runs[:, 2] < runs[:, 1]) and np.all(runs[:, 2] < runs[:, 3]) and np.all(runs[:, 0] > 3.5 * runs[:, 2])


def test_the_chain_multiplies_the_norm_block_by_block(seeds):
    chain, task = GateChain(6, 0.3), RotationTask(2.0, 10.0, 0.5, 0.1)
    logits = torch.randn(1, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    gates, clock, x = chain.run({"logits": logits}, task)
    u, t = np.array([1.0, 0.0]), 0.0
    for k in range(6):
        h = float(gates[0, k])
        assert float(clock[0, k]) == pytest.approx(t, abs=1e-12)
        u = u + h * float(task.speed(torch.tensor(t, dtype=torch.float64))) * np.array([-u[1], u[0]])
        t += h
        assert complex(x[0, k + 1]) == pytest.approx(complex(*u), rel=1e-10)
    assert t == pytest.approx(1) and float(task.loss(chain, {"logits": logits}, None)) == pytest.approx(
        np.log(np.linalg.norm(u))
    )


def test_equal_gates_of_a_constant_speed_have_nothing_to_learn(seeds):
    runs = train_gates(GateSetting(height=0.0, init_std=0.0, n_blocks=16, n_steps=20, n_replicas=2), seeds(2))
    np.testing.assert_allclose(runs["gate"], 1 / 16, rtol=1e-12)


def test_training_lowers_the_error_and_turns_gates_against_the_index(seeds):
    runs = train_gates(GateSetting(n_blocks=48, n_steps=600, flow_time=0.5, n_replicas=2), seeds(2))
    assert np.all(runs["error"][:, -1] < 0.7 * runs["error"][:, 0])
    assert np.all(runs["slope"][:, -1] < -0.9) and np.all(np.abs(runs["slope"][:, 0]) < 0.2)
    np.testing.assert_allclose(runs["gate"].sum(1), 1, rtol=1e-12)
