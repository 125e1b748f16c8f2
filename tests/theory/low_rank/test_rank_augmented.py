"""Ranks of the rank-augmented operator: weights of keys never raise it, the gate does; parameters of the public module."""

import pytest
import torch

from attnlab.kernels.operators.low_rank.rank_augmented import RankAugmented
from attnlab.kernels.operators.operator import Sizes, Tokens
from attnlab.theory.low_rank import rank_augmented as theory
from attnlab.theory.low_rank import ranks


def test_the_gate_lifts_the_rank_and_the_weights_do_not():
    n, d, operator = 40, 6, RankAugmented()
    parameters = operator.initialise(Sizes(n=n, d=d, d_v=d), [torch.Generator().manual_seed(0)], torch.float64)
    x = torch.randn(1, 1, n, d, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    M = operator.matrix(Tokens(x), parameters)[0, 0, 0]
    assert torch.linalg.matrix_rank(M, rtol=1e-10) == ranks.attention_matrix_rank(n, d, "linear") == d
    v = operator.values(Tokens(x), parameters)[0, 0, 0]
    v = v[:, :2] @ torch.randn(2, 12, generator=torch.Generator().manual_seed(2), dtype=torch.float64)  # rank 2, wide
    gate = torch.randn(n, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    gate = gate @ torch.randn(3, 12, generator=torch.Generator().manual_seed(4), dtype=torch.float64)  # rank 3
    lifted = torch.linalg.matrix_rank(gate * (M @ v), rtol=1e-10)
    assert lifted == ranks.hadamard_rank(2, 3, n, 12) == 6 > torch.linalg.matrix_rank(M @ v, rtol=1e-10)


@pytest.mark.parametrize(("width", "numbers"), [(64, 22_464), (128, 85_888), (256, 335_616)])
def test_parameters_of_the_public_module(width, numbers):
    assert theory.module_parameters(width) == numbers == 5 * width**2 + 31 * width
