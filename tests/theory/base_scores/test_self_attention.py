"""Multi-head self-attention: its parameters, its cost, and where projections stop to dominate."""

import pytest
import torch

from attnlab.kernels.operators.base_scores.self_attention import SelfAttention
from attnlab.kernels.operators.operator import Sizes
from attnlab.theory.base_scores import self_attention as theory


def test_parameters_and_state_are_counted():
    sizes = Sizes(n=5, d=4, d_v=4, n_heads=3)
    made = SelfAttention().initialise(sizes, [torch.Generator().manual_seed(0)], torch.float64)
    assert sum(x.numel() for x in made.values()) == theory.n_parameters(sizes) == 4 * 12**2
    assert theory.state_numbers(sizes) == 2 * 5 * 12


def test_projections_cost_as_much_as_the_maps_at_twice_the_width():
    n = theory.projections_dominate_below(12)
    sizes = Sizes(n=int(n), d=4, d_v=4, n_heads=3)
    assert theory.multiply_adds(sizes) == pytest.approx(2 * 4 * n * 12 * 12)
    assert theory.multiply_adds(sizes, causal=True) < theory.multiply_adds(sizes)
