"""Collisions of hyperplanes: means and the exact variance of a hashed output against many hashes of the operator."""

import math

import numpy as np
import pytest
import torch

from attnlab.kernels.operators.hashing.yoso import Yoso
from attnlab.kernels.operators.operator import QKV, Sizes
from attnlab.theory.hashing import yoso as theory


@pytest.mark.parametrize("n_bits", [1, 3])
def test_a_hashed_output_has_the_stated_mean_and_variance(n_bits):
    """30 000 single hashes; a variance errs by sqrt((kurtosis - 1) / N), here taken from the draws. Twin: independent entries."""
    n, d, N = 10, 5, 30_000
    g = torch.Generator().manual_seed(1)
    q, k = (
        torch.randn(1, 1, 1, 1, d, generator=g, dtype=torch.float64),
        torch.randn(1, 1, 1, n, d, generator=g, dtype=torch.float64),
    )
    v = torch.linspace(0.5, 1.5, n, dtype=torch.float64)
    operator = Yoso(n_hashes=N, n_bits=n_bits)
    planes = operator.initialise(Sizes(n=n, d=d, d_v=1), [g], torch.float64)
    bits_q, bits_k = (operator._bits(x, planes)[0, 0, 0] for x in (q, k))
    B = (bits_q == bits_k).all(-1).double()  # (key, hash)
    outputs = (v @ B).numpy()
    unit = [x[0, 0, 0] / x[0, 0, 0].norm(dim=1, keepdim=True) for x in (q, k)]
    angle = torch.arccos((unit[0] @ unit[1].T)[0]).numpy()
    W = theory.collision(angle, n_bits)
    assert np.abs(B.mean(1).numpy() - W).max() < 4 * 0.5 / math.sqrt(N)
    predicted = theory.output_variance(q[0, 0, 0, 0], k[0, 0, 0], v, n_bits, 1)
    away = (outputs - outputs.mean()) ** 2
    error = 4 * away.std() / math.sqrt(N)
    assert abs(away.mean() - predicted) < error
    assert abs(away.mean() - (v.numpy() ** 2 * W * (1 - W)).sum()) > error
    assert torch.allclose(operator.matrix(QKV(q, k, k), planes)[0, 0, 0, 0], B.mean(1))


def test_joint_collisions_meet_their_limits():
    assert theory.joint_collision(0.3, 0.3, 0.0, 2) == pytest.approx(theory.collision(0.3, 2))
    assert theory.joint_collision(math.pi / 2, math.pi / 2, math.pi, 1) == 0
    assert theory.published_multiply_adds(Sizes(n=64, d=4, d_v=4)) < 64 * 64 * 4
    with pytest.raises(ValueError, match="must be a whole number"):
        theory.collision(0.1, 0)
