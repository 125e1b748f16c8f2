"""A network in place of uniform attention: the widths that are exact, the error below them, and the numbers trained."""

import numpy as np
import pytest
import torch

from attnlab.kernels.operators.mixers_and_channels.sequence_ffn import SequenceFFN
from attnlab.kernels.operators.operator import Sizes, Tokens
from attnlab.theory.mixers_and_channels import sequence_ffn as theory

N, D = 5, 3


def fitted(hidden, biased, seed=0):
    """Best relative error found of a network of ``hidden`` units for the mean token, over random starts."""
    rng = np.random.default_rng(seed)
    x = torch.from_numpy(rng.uniform(-1, 1, (400, D)))  # mean tokens: the other directions of the input do not help
    g = torch.Generator().manual_seed(seed)
    best = 1.0
    for _ in range(2):
        W = torch.randn(D, hidden, generator=g, dtype=torch.float64).requires_grad_()
        b = (3.0 * torch.ones(hidden, dtype=torch.float64)).requires_grad_(biased)
        optimiser = torch.optim.LBFGS([W, b] if biased else [W], max_iter=60, line_search_fn="strong_wolfe")

        def loss(W=W, b=b):
            features = (x @ W + (b if biased else 0)).relu()
            if biased:
                features = torch.cat([features, torch.ones(len(x), 1).double()], 1)
            out = torch.linalg.lstsq(features.detach(), x).solution
            return (features @ out - x).square().mean() / x.square().mean()

        def closure(optimiser=optimiser, loss=loss):
            optimiser.zero_grad()
            value = loss()
            value.backward()
            return value

        optimiser.step(closure)
        best = min(best, loss().item())
    return best


@pytest.mark.parametrize("biased", [True, False])
def test_the_exact_width_is_exact_and_one_less_is_not(biased):
    """Twin: the other count. A width below leaves more than a tenth of a direction of the share of rank."""
    width = theory.exact_width(D, biased)
    rows = np.random.default_rng(1).uniform(-1, 1, (50, D))
    W = np.eye(D) if biased else np.concatenate([np.eye(D), -np.eye(D)], 1)
    assert W.shape[1] == width
    hidden = np.maximum(rows @ W + (1 if biased else 0), 0)
    back = hidden - 1 if biased else hidden[:, :D] - hidden[:, D:]
    assert np.abs(back - rows).max() < 1e-15
    assert fitted(width - 1, biased) > 0.1 / D
    assert theory.exact_width(D, True) != theory.exact_width(D, False)


def test_too_few_units_leave_the_directions_they_cannot_carry():
    """Units kept linear by a bias catch the stated share exactly; free ones do better only by bending."""
    for hidden in (1, 2):
        x = np.random.default_rng(2).normal(size=(2000, D))
        x = x @ np.linalg.inv(np.linalg.cholesky(x.T @ x / len(x)).T)  # whitened, so every direction counts alike
        projected = x[:, :hidden] @ np.eye(hidden, D)
        error = ((x - projected) ** 2).mean() / (x**2).mean()
        assert error == pytest.approx(theory.least_error_share(D, hidden), rel=1e-12)
    assert theory.least_error_share(D, D) == 0 == theory.least_error_share(D, 2 * D, False)


def test_numbers_trained_are_those_of_the_operator():
    made = SequenceFFN(hidden=7, n_max=N).initialise(
        Sizes(n=N, d=D, d_v=D), [torch.Generator().manual_seed(0)], torch.float64
    )
    assert sum(x.numel() for x in made.values()) == theory.parameters(N, D, 7)
    with pytest.raises(ValueError, match="at most n_max=5"):
        SequenceFFN(hidden=7, n_max=N).apply(Tokens(torch.zeros(1, 1, N + 1, D).double()), made)
    with pytest.raises(ValueError, match="hidden=0"):
        SequenceFFN(hidden=0)
