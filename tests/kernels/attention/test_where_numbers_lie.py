"""Tensors whose numbers do not lie at their address, or that later calls may not use: right, never read as memory."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.testing._internal.two_tensor import TwoTensor

from attnlab.kernels.attention import attention, cpu
from attnlab.kernels.attention.masks import Causal, KeySubsample, Window
from attnlab.kernels.linear_attention import linear_attention

PATHS = ("auto", "c", "sdpa", "reference")


@pytest.mark.parametrize("path", PATHS)
def test_fake_tensors_have_shapes_after_their_mode_has_ended(path):
    with FakeTensorMode():
        x = torch.randn(9, 6, 4)
    for options in ({}, {"mask": "causal"}, {"mask": Window(2)}):
        assert attention(x, x, x, path=path, **options).shape == (9, 6, 4)
    assert linear_attention(x, x, x)[0].shape == x.shape


@pytest.mark.parametrize("path", PATHS)
def test_a_subclass_that_answers_operations_itself_is_computed_by_operations(path, make, needs_c):
    a, b = make(1, (9, 6, 4), (9, 6, 4))
    pair = TwoTensor(a, b)
    o = attention(pair, pair, pair, mask="causal", path=path)
    for half, x in ((o.a, a), (o.b, b)):
        assert (half - attention(x, x, x, mask="causal")).abs().max() < 1e-12


@pytest.mark.parametrize("path", PATHS)
def test_a_zero_that_stands_for_many_is_read_as_zeros(path, make, needs_c):
    """torch makes them for tangents and cotangents of what does not move; they have no memory."""
    q, k, v = make(2, *[(9, 6, 4)] * 3)
    zero = torch._efficientzerotensor((9, 6, 4), dtype=torch.float64)
    assert (attention(zero, k, v, path=path) - v.mean(1, keepdim=True)).abs().max() < 1e-12
    assert bool((attention(q, k, zero, path=path) == 0).all())
    q.requires_grad_()
    (slope,) = torch.autograd.grad(attention(q, k, v, path=path), q, zero)
    assert slope.shape == q.shape and bool((slope == 0).all())


def test_the_compiled_path_says_what_it_cannot_read(make, needs_c):
    x = torch._to_functional_tensor(make(3, (9, 6, 4)))
    with pytest.raises(ValueError, match="tensor without memory"):
        attention(x, x, x, path="c")


@pytest.mark.parametrize("path", ["auto", "sdpa", "reference"])
@pytest.mark.parametrize("mask", [Causal(1), Window(3, 1), KeySubsample((0, 3))], ids=str)
@pytest.mark.parametrize("score", ["softmax", "relu"])
def test_what_a_call_in_inference_mode_keeps_serves_training(score, mask, path, make):
    """Masks are worked out once; a tensor made in inference mode could not be saved for a backward pass."""
    if path == "sdpa" and score != "softmax":
        return
    n = (
        11 + len(path) + 7 * len(score) + 70 * (type(mask) is Window) + 140 * (type(mask) is Causal)
    )  # a mask of no other test
    q, k, v = make(4, *[(1, n, 3)] * 3)
    with torch.inference_mode():
        first = attention(q, k, v, mask=mask, path=path, score=score)
    q.requires_grad_()
    o = attention(q, k, v, mask=mask, path=path, score=score)
    (slope,) = torch.autograd.grad(o.sin().sum(), q)
    bare = mask.visible(n, n)
    right = attention(q, k, v, mask=bare, path="reference", score=score)
    assert (o - first).abs().max() < 1e-12
    assert (slope - torch.autograd.grad(right.sin().sum(), q)[0]).abs().max() < 1e-12


def test_what_is_kept_of_calls_with_many_problems_stays_small(make, needs_c):
    """One offset per problem and tensor: a cache that grows by a key at each call must not keep all of them."""
    q, k, v = make(5, (5000, 1, 3), (5000, 40, 3), (5000, 40, 2))
    before = cpu._many_offsets.cache_info().currsize
    for n in range(1, 40):
        assert attention(q, k[:, :n].contiguous(), v[:, :n].contiguous(), path="c").shape == (5000, 1, 2)
    kept = cpu._many_offsets.cache_info()
    assert kept.currsize <= kept.maxsize <= 16 and before <= 16
    assert 8 * cpu.MANY * cpu._few_offsets.cache_info().maxsize <= 1 << 24  # bytes
