"""What the kernels count in their loops against the closed forms of theory/costs/own_kernels.py; they agree to the last unit."""

import os

import numpy as np
import pytest
import torch

from attnlab.kernels.attention import attention, cpu
from attnlab.kernels.attention.masks import Window
from attnlab.kernels.benchmarks import icl_step as bench_training
from attnlab.kernels.compiled import counters
from attnlab.kernels.icl_step import Shape, Stream, draw, loss_and_gradient
from attnlab.theory.costs import own_kernels as theory

PROBLEMS = 32  # whole vectors, of 8 or 16 lanes


def counted(sizes, mask, path, problems=PROBLEMS):
    """Work of forward and backward of one call, after a first call that builds and caches."""
    shapes = ((sizes.n_queries, sizes.dim), (sizes.n_keys, sizes.dim), (sizes.n_keys, sizes.value_dim))
    q, k, v = (torch.ones(problems, *shape).requires_grad_() for shape in shapes)
    g = torch.ones(problems, sizes.n_queries, sizes.value_dim)
    attention(q, k, v, mask=mask, path=path)
    with counters.counting() as forward:
        o = attention(q, k, v, mask=mask, path=path)
    with counters.counting() as backward:
        torch.autograd.grad(o, (q, k, v), g)
    return forward, backward


def agree(counted, predicted):
    return all(
        getattr(counted, name) == getattr(predicted, name)
        for name in ("multiply_adds", "exponentials", "bytes_read", "bytes_written")
    )


CASES = {
    "none": (theory.AttentionSizes(7, 12, 3, 5), None),
    "causal": (theory.AttentionSizes.causal(12, 3, 5), "causal"),
    "window": (theory.AttentionSizes(12, 12, 3, 5, n_pairs=3 * 12 - 3), Window(2, 0)),
    "one query": (theory.AttentionSizes(1, 12, 3, 5), None),
}


@pytest.mark.parametrize("case", CASES)
def test_compiled_attention_does_the_work_of_the_formula(case, needs_c):
    sizes, mask = CASES[case]
    forward, backward = counted(sizes, mask, "c")
    assert agree(forward, theory.attention_forward(sizes).times(PROBLEMS))
    assert agree(backward, theory.attention_backward(sizes).times(PROBLEMS))


def test_the_nearest_rival_count_is_refuted(needs_c):
    """Twins: "causal is half of dense", and a backward that had kept the weights."""
    sizes, mask = CASES["causal"]
    forward, backward = counted(sizes, mask, "c")
    dense = theory.AttentionSizes(12, 12, 3, 5)
    assert 2 * forward.multiply_adds != theory.attention_forward(dense).times(PROBLEMS).multiply_adds
    assert backward.multiply_adds != 2 * forward.multiply_adds


def test_second_order_does_the_work_of_the_formula(needs_c):
    sizes, _ = CASES["none"]
    q, k, v = (torch.ones(PROBLEMS, n, d).requires_grad_() for n, d in ((7, 3), (12, 3), (12, 5)))
    g = torch.ones(PROBLEMS, 7, 5).requires_grad_()
    grads = torch.autograd.grad(attention(q, k, v, path="c"), (q, k, v), g, create_graph=True)
    cotangents = [torch.ones_like(x) for x in grads]
    with counters.counting() as work:
        torch.autograd.grad(grads, (q, k, v, g), cotangents)
    assert agree(work, theory.attention_second(sizes).times(PROBLEMS))


@pytest.mark.parametrize("problems", [1, 8, 13, 16])
def test_idle_lanes_compute_too(problems, needs_c):
    sizes, mask = CASES["none"]
    forward, _ = counted(sizes, mask, "c", problems)
    narrow = cpu.is_narrow(problems, 7, 12, torch.float32, 3, 5)
    lanes = cpu.n_lanes(cpu.library(0, torch.float32, 3, 5, 1, narrow=narrow))
    hidden = "ATEN_CPU_CAPABILITY" in os.environ  # torch does not tell of AVX-512, and half the lanes are not asked for
    assert lanes == 8 if narrow else problems > 8 or lanes == 8 or hidden
    useful = theory.attention_forward(sizes).times(problems).multiply_adds
    assert lanes in (8, 16) and forward.multiply_adds == useful * theory.idle_lanes(problems, lanes)


def test_plain_operations_compute_hidden_pairs_and_move_more_than_the_unfused_minimum():
    sizes, mask = CASES["causal"]
    found = counted(sizes, mask, "reference")
    for got, least in zip(found, (theory.unfused_forward(sizes), theory.unfused_backward(sizes)), strict=True):
        assert got.multiply_adds == least.times(PROBLEMS).multiply_adds and not got.unopened
        assert got.bytes_read + got.bytes_written >= least.times(PROBLEMS).bytes
    assert found[0].exponentials >= theory.unfused_forward(sizes).times(PROBLEMS).exponentials


def test_fused_torch_operators_are_named_not_guessed():
    forward, backward = counted(theory.AttentionSizes(12, 12, 3, 3), None, "sdpa")
    assert forward.unopened == {"_scaled_dot_product_flash_attention_for_cpu"} and forward.multiply_adds == 0
    assert len(backward.unopened) == 1


@pytest.mark.parametrize("causal", [False, True])
def test_training_step_does_the_work_of_the_formula(causal, needs_c):
    shape = Shape(dim=3, n_context=7, n_heads=2, batch=16, width=5, causal=causal)
    state = bench_training.start(shape, 3)
    data = draw(shape, Stream(np.arange(3, dtype=np.uint64), 0.3), 0, 1)
    plain = loss_and_gradient(shape, state, data, path="c")
    with counters.counting() as work:
        again = loss_and_gradient(shape, state, data, path="c")
    assert agree(work, theory.in_context_step(3, 7, 2, width=5, causal=causal, batch=16).times(3))
    assert np.array_equal(plain[0], again[0])  # counting changes nothing else


def test_nothing_is_counted_outside_and_views_and_empty_memory_cost_nothing():
    with counters.counting() as work:
        torch.empty(100).reshape(10, 10).mT.expand(3, 10, 10)
    torch.ones(10) @ torch.ones(10)
    assert work == counters.Work()
    with counters.counting() as work:
        torch.ones(5, 1).expand(5, 4).exp()
    assert work.exponentials == 20 and work.bytes_read == 20 and work.bytes_written == 4 * (5 + 20)
    assert counters.active() is None
