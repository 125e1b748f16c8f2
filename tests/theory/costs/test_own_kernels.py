"""Work of the kernels against a loop that does it one multiply-add at a time, special cases, and tiled kernels' counts."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnlab.theory.costs import dense_tiles as kernel_cost
from attnlab.theory.costs import own_kernels as kernel_work
from attnlab.theory.costs.own_kernels import AttentionSizes


def loops(visible, dim, value_dim):
    """Multiply-adds of forward and recomputing backward, counted pair by pair and coordinate by coordinate."""
    forward = backward = 0
    for i, j in itertools.product(*map(range, visible.shape)):
        if visible[i, j]:
            forward += sum(1 for _ in range(dim)) + sum(1 for _ in range(value_dim))  # q.k, w v
            backward += sum(1 for _ in range(dim)) + sum(1 for _ in range(value_dim))  # q.k again, G.v
            backward += sum(1 for _ in range(value_dim)) + 2 * sum(1 for _ in range(dim))  # dV, dK and dQ
    return forward, backward


@given(st.integers(1, 7), st.integers(1, 7), st.integers(1, 5), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_work_is_that_of_the_loops(n_q, n_k, dim, value_dim, seed):
    visible = np.random.default_rng(seed).random((n_q, n_k)) < 0.6
    sizes = AttentionSizes(n_q, n_k, dim, value_dim, int(visible.sum()))
    assert (
        kernel_work.attention_forward(sizes).multiply_adds,
        kernel_work.attention_backward(sizes).multiply_adds,
    ) == loops(visible, dim, value_dim)


def test_without_a_mask_it_is_the_dense_count():
    sizes, dense = AttentionSizes(7, 9, 4, 6), kernel_cost.dense_flops(7, 9, 4, 6)
    assert kernel_work.attention_forward(sizes).flops == dense.forward
    assert kernel_work.attention_backward(sizes).flops == dense.backward_recomputing
    assert kernel_work.unfused_forward(sizes).flops == dense.forward
    assert kernel_work.unfused_backward(sizes).flops == dense.backward_stored
    square = AttentionSizes(9, 9, 4, 6)
    assert kernel_work.unfused_forward(square).bytes == kernel_cost.unfused_bytes(9, 4, 6)


def test_causal_is_more_than_half_of_dense():
    """The diagonal: (n + 1)/2n, which the usual "half" forgets."""
    causal, dense = AttentionSizes.causal(40, 6, 6), AttentionSizes(40, 40, 6, 6)
    share = kernel_work.attention_forward(causal).flops / kernel_work.attention_forward(dense).flops
    assert share == 41 / 80 != 0.5


def test_bytes_are_those_of_the_tensors():
    sizes = AttentionSizes(3, 5, 2, 4, element=8)
    forward, backward = kernel_work.attention_forward(sizes), kernel_work.attention_backward(sizes)
    q, k, v, o = (8 * rows * width for rows, width in ((3, 2), (5, 2), (5, 4), (3, 4)))
    assert (forward.bytes_read, forward.bytes_written) == (q + k + v, o)
    assert (backward.bytes_read, backward.bytes_written) == (q + k + v + o, q + k + v)
    assert forward.bytes == q + k + v + o


def test_folding_beats_projecting_each_token_once_the_context_is_long():
    """Folded step against the attention of head width d + 1 with its projections, 4 L N^2 per head and sequence at least."""
    for n in (40, 200):
        folded = kernel_work.in_context_step(5, n, 4, width=6, causal=True, batch=64).multiply_adds
        sizes = AttentionSizes.causal(n, 6, 6)
        attention = sum(f(sizes).multiply_adds for f in (kernel_work.attention_forward, kernel_work.attention_backward))
        assert folded < 64 * 4 * (attention + 4 * n * 36) / 2


def test_a_step_of_one_token_can_be_counted_by_hand():
    """d = 1, L = 1, H = 1, width 1, one sequence: values 2 + 2, query 2 + 2, one pair 2 + 2 + 1; folds 3 * 2 * 2."""
    assert kernel_work.in_context_step(1, 1, 1, width=1, causal=False, batch=1).multiply_adds == 13 + 12


def test_idle_lanes():
    assert [kernel_work.idle_lanes(n, 8) for n in (1, 8, 12, 16)] == [8, 1, 16 / 12, 1]


def test_lower_bound_is_the_slowest_resource():
    work = kernel_work.KernelWork(50, 30, 100, 20)
    rates = {"peak_flops": 10.0, "bandwidth": 10.0, "exp_rate": 10.0}
    assert kernel_work.lower_bound_seconds(work, **rates) == 12.0
    assert kernel_work.lower_bound_seconds(work, **{**rates, "exp_rate": 1.0}) == 30.0


@pytest.mark.parametrize("bad", [{"n_queries": 0}, {"dim": -1}, {"n_pairs": 64}])
def test_impossible_sizes_are_named(bad):
    sizes = {"n_queries": 7, "n_keys": 9, "dim": 2, "value_dim": 2, **bad}
    with pytest.raises(ValueError, match=next(iter(bad))):
        AttentionSizes(**sizes)
    with pytest.raises(ValueError, match="lanes"):
        kernel_work.idle_lanes(3, 0)
