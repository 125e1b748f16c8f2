"""What a bottleneck gives back: least squares on the operator's own maps, and the cost's crossover."""

import numpy as np
import pytest
import torch

from attnlab.kernels.operators.low_rank.perceiver import Perceiver
from attnlab.kernels.operators.operator import Sizes, Tokens
from attnlab.theory.low_rank import perceiver as theory


def unexplained(maps, seed=0):
    """Share of white values outside the row space of the stacked maps, from 200 columns of values."""
    V = np.random.default_rng(seed).normal(size=(maps.shape[1], 200))
    inside = np.linalg.svd(maps, full_matrices=False)[2]
    return 1 - ((inside @ V) ** 2).sum() / (V**2).sum()


@pytest.mark.parametrize(("n_latents", "n_reads"), [(8, 1), (16, 1), (16, 2), (16, 4)])
def test_reads_kept_apart_explain_a_latent_each(n_latents, n_reads):
    """200 white columns of 64: the share errs by 4 sqrt(2 / (200 64)). Twin: 1 - M/n whatever the number of reads."""
    n, maps = 64, []
    for read in range(n_reads):
        operator = Perceiver(n_latents, 0)
        parameters = operator.initialise(Sizes(n=n, d=8, d_v=8), [torch.Generator().manual_seed(read)], torch.float64)
        x = torch.randn(1, 1, n, 8, generator=torch.Generator().manual_seed(50 + read), dtype=torch.float64)
        maps.append(operator.matrix(Tokens(x), parameters)[0, 0, 0].numpy())
    found = unexplained(np.concatenate(maps))
    predicted = theory.unexplained_share(n, n_latents, n_reads)
    assert abs(found - predicted) < 4 * np.sqrt(2 / (200 * n))
    assert n_reads == 1 or abs(found - theory.unexplained_share(n, n_latents)) > 0.1


def test_adding_reads_cannot_hold_more_than_the_latents_do():
    assert theory.unexplained_share_of_sums(64, 16, 4, width=8, value_dim=8) == 0.75  # M D = 128 of n d_v = 512
    assert (
        theory.unexplained_share_of_sums(64, 16, 4, width=64, value_dim=8) == theory.unexplained_share(64, 16, 4) == 0
    )
    rng = np.random.default_rng(1)  # sum_r A_r V W_r as one linear map of the n d_v values
    A, W = rng.normal(size=(4, 4, 16)), rng.normal(size=(4, 2, 3))  # reads of M = 4 latents, d_v = 2 into width 3
    whole = sum(np.kron(a, w.T) for a, w in zip(A, W, strict=True))
    share = 1 - np.linalg.matrix_rank(whole) / whole.shape[1]
    assert share == theory.unexplained_share_of_sums(16, 4, 4, width=3, value_dim=2) == 0.625


def test_reading_is_cheaper_than_full_attention_from_its_crossover_on():
    n = theory.cheaper_from(32, 6)
    assert n * 32 + 6 * 32**2 == pytest.approx(n * n)
    with pytest.raises(ValueError, match="must be"):
        theory.unexplained_share(0, 4)
