"""Derivatives of random stacks: against finite differences and automatic ones, and the mean over draws."""

import numpy as np
import pytest
import torch
from torch.func import jacrev

from attnlab.simulators.source_attention.stacks import StackSetting, flat_derivative, flat_stacks, last_token, stacks


@pytest.mark.parametrize("branch", [False, True])
def test_a_layer_is_a_norm_a_causal_softmax_and_a_residual(branch):
    n, t, d = 2, 2, 3
    rng = np.random.default_rng(1)
    x, matrices = rng.standard_normal((n + t, d)), rng.standard_normal((2, 4, d, d))
    y = x
    for query, key, value, own in matrices:
        z = y / np.sqrt((y**2).mean(1, keepdims=True))
        rows = []
        for i in range(n + t):
            every = np.exp((z @ key) @ (z[i] @ query) / d**0.5)  # a branch sees all of the source, from every token
            seen, alone = every * (np.arange(n + t) <= i), every[:n]
            rows.append(y[i] + seen / seen.sum() @ z @ value + branch * (alone / alone.sum() @ z[:n] @ own))
        y = np.array(rows)
    found = last_token(torch.from_numpy(x), torch.from_numpy(matrices), n, branch)
    assert found.numpy() == pytest.approx(y[-1])


def test_flat_derivatives_are_those_of_a_product_of_layers():
    n, t, d = 3, 4, 2
    rng = np.random.default_rng(2)
    values = rng.standard_normal((3, d, d))
    A = torch.from_numpy(np.tril(np.ones((n + t, n + t))) / np.arange(1, n + t + 1)[:, None])

    def output(source):
        x = torch.cat([source, torch.zeros(t, d, dtype=torch.float64)])
        for value in torch.from_numpy(values):
            x = x + A @ x @ value
        return x[-1]

    exact = jacrev(output)(torch.zeros(n, d, dtype=torch.float64)).numpy()  # (output, token, input)
    assert flat_derivative(values, n, t).transpose(1, 0, 2) == pytest.approx(exact)


def test_one_layer_feels_the_source_by_the_square_of_its_weights():
    setting = StackSetting(4, (4, 12), depths=(1, 3), dim=6, n_draws=50)
    square = flat_stacks(setting, np.random.SeedSequence(4).spawn(2), "cpu")["square"]
    assert square[:, 0].mean(0) == pytest.approx([6 * 4 / 64, 6 * 4 / 256], rel=0.2)  # 100 draws of std sqrt(2) / 6
    assert (square[:, 1] > square[:, 0]).all()


def test_random_stacks_lose_the_source_and_a_branch_keeps_it():
    setting = StackSetting(8, (1, 64), dim=6, n_draws=3)
    found = stacks(setting, np.random.SeedSequence(5).spawn(3), "cpu")
    lost = {name: np.log(square[:, :, 0] / square[:, :, 1]).mean(0) for name, square in found.items()}
    assert (lost["branch"] < lost["joint"]).all() and lost["joint"][1] < lost["joint"][0]
    with pytest.raises(ValueError, match="depths"):
        StackSetting(depths=(0,))
