"""Small calls on torch's fused operator: its own graph with two hooks, in place of an ``autograd.Function``."""

import gc
import weakref

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from attnlab.kernels import torch_internals
from attnlab.kernels.attention import attention, seen
from attnlab.kernels.attention.masks import Window

pytestmark = pytest.mark.skipif(not torch_internals.has_flash(), reason="this torch has no fused CPU attention")
SIZES = (2, 2, 20, 4)


@pytest.fixture(autouse=True)
def nothing_kept():
    seen._calls.clear()


def cases(make):
    """Options of a call, and whether something may be hidden."""
    bias = make(3, (20, 20))
    holes = bias.masked_fill(torch.ones(20, 20, dtype=torch.bool).triu(3), -torch.inf)
    return [{}, {"mask": "causal"}, {"mask": Window(3, 1)}, {"bias": bias}, {"bias": holes}, {"scale": 0.3}]


def operands(make, seed=0, sizes=SIZES):
    q, k, v, g = make(seed, *[sizes] * 4)
    return *(x.requires_grad_() for x in (q, k, v)), g


def by_hooks(q, k, v, **options):
    """The call that is looked up: the first like it is planned, the second is kept."""
    for _ in range(2):
        attention(q, k, v, path="sdpa", **options)
    o = attention(q, k, v, path="sdpa", **options)
    assert "ScaledDotProductFlash" in type(o.grad_fn).__name__, "the call went another way"
    return o


@pytest.mark.parametrize("n", range(6))
def test_output_and_gradients_have_the_bits_of_the_function(make, n):
    q, k, v, g = operands(make)
    options = cases(make)[n]
    first = attention(q, k, v, path="sdpa", **options)
    again = by_hooks(q, k, v, **options)
    assert torch.equal(first, again)
    for old, new in zip(
        torch.autograd.grad(first, (q, k, v), g), torch.autograd.grad(again, (q, k, v), g), strict=True
    ):
        assert torch.equal(old, new)


@pytest.mark.parametrize("n", range(6))
def test_second_derivatives_and_batches_of_gradients_are_those_of_the_specification(make, n):
    q, k, v, g = operands(make)
    options = cases(make)[n]
    g.requires_grad_()
    directions = make(5, *[SIZES] * 3)

    def second(o):
        grads = torch.autograd.grad(o, (q, k, v), g, create_graph=True)
        along = sum((x * y).sum() for x, y in zip(grads, directions, strict=True))
        return torch.autograd.grad(along, (q, k, v, g))

    right = second(attention(q, k, v, path="reference", **options))
    for old, new in zip(right, second(by_hooks(q, k, v, **options)), strict=True):
        assert torch.allclose(old, new, rtol=1e-9, atol=1e-11)
    several = torch.stack([g.detach(), 2 * g.detach(), g.detach().flip(0)])
    batch = torch.autograd.grad(by_hooks(q, k, v, **options), (q, k, v), several, is_grads_batched=True)
    for i, each in enumerate(several):
        one = torch.autograd.grad(attention(q, k, v, path="reference", **options), (q, k, v), each)
        for old, new in zip(one, batch, strict=True):
            assert torch.allclose(old, new[i], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_cotangents_may_lie_in_any_way(make, dtype):
    q, k, v = (x.to(dtype).requires_grad_() for x in make(4, *[(2, 2, 40, 8)] * 3))
    ways = {
        "one number": torch.ones(1).expand(2, 2, 40, 8),
        "transposed": make(5, (2, 2, 8, 40)).mT,
        "every second": make(6, (2, 2, 40, 16))[..., ::2],
        "heads inside": make(7, (2, 40, 2, 8)).transpose(1, 2),
        "negative bit": torch.view_as_complex(make(8, (2, 2, 40, 8, 2))).conj().imag,
    }
    for name, g in ways.items():
        g = g.to(dtype) if name != "negative bit" or dtype is torch.float64 else g.to(dtype).clone()
        right = torch.autograd.grad(attention(q, k, v, path="reference", mask="causal"), (q, k, v), g)
        for old, new in zip(right, torch.autograd.grad(by_hooks(q, k, v, mask="causal"), (q, k, v), g), strict=True):
            assert torch.allclose(old, new, rtol=1e-4 if dtype is torch.float32 else 1e-10, atol=1e-5), name


@pytest.mark.parametrize("n", range(6))
def test_a_cotangent_may_be_dual(make, n):
    """Forward mode over a graph that was made outside it: the tangent of the gradients is the pass of the tangent."""
    q, k, v, g = operands(make)
    options, t = cases(make)[n], make(9, SIZES)
    right = torch.autograd.grad(attention(q, k, v, path="reference", **options), (q, k, v), t)
    o = by_hooks(q, k, v, **options)
    with torch.autograd.forward_ad.dual_level():
        found = torch.autograd.grad(o, (q, k, v), torch.autograd.forward_ad.make_dual(g, t))
        tangents = [torch.autograd.forward_ad.unpack_dual(x).tangent for x in found]
    for old, new in zip(right, tangents, strict=True):
        assert torch.allclose(old, new, rtol=1e-9, atol=1e-11)


def test_passes_of_both_kinds_may_follow_each_other_through_one_graph(make):
    q, k, v, g = operands(make)
    o = by_hooks(q, k, v, mask="causal")
    first = torch.autograd.grad(o, (q, k, v), g, retain_graph=True)
    with_graph = torch.autograd.grad(o, (q, k, v), g, create_graph=True)
    assert all(x.requires_grad for x in with_graph) and not any(x.requires_grad for x in first)
    last = torch.autograd.grad(o, (q, k, v), g)
    for a, b, c in zip(first, with_graph, last, strict=True):
        assert torch.allclose(a, b, rtol=1e-12, atol=1e-14) and torch.equal(a, c)


@pytest.mark.parametrize("which", [(0,), (1,), (2,), (0, 2)])
def test_only_what_asks_gets_a_gradient(make, which):
    tensors = make(1, *[SIZES] * 3)
    for i in which:
        tensors[i].requires_grad_()
    wanted, g = [tensors[i] for i in which], make(2, SIZES)
    right = torch.autograd.grad(attention(*tensors, path="reference"), wanted, g)
    for create in (False, True):
        found = torch.autograd.grad(by_hooks(*tensors), wanted, g, create_graph=create)
        assert all(torch.allclose(a, b, rtol=1e-10, atol=1e-12) for a, b in zip(right, found, strict=True))


@pytest.mark.parametrize("create", [False, True])
def test_what_is_hidden_does_not_matter_to_gradients_nor_does_a_cotangent_that_is_not_finite(make, create):
    q, k, v, g = operands(make, sizes=(1, 2, 20, 4))
    hidden = make(3, (20, 20)).masked_fill(torch.ones(20, 20, dtype=torch.bool).triu(1), -torch.inf)
    g[..., 7, 0] = torch.inf
    for options in ({"mask": "causal"}, {"bias": hidden}):
        right = torch.autograd.grad(attention(q, k, v, path="sdpa", **options), (q, k, v), g)
        found = torch.autograd.grad(by_hooks(q, k, v, **options), (q, k, v), g, create_graph=create)
        assert torch.isfinite(found[1][..., 8:, :]).all(), "keys that row 7 does not see"
        for old, new in zip(right, found, strict=True):
            finite = torch.isfinite(old)
            assert torch.equal(finite, torch.isfinite(new)) and not finite.all()
            assert torch.allclose(old[finite], new[finite], rtol=1e-9, atol=1e-11)
    with torch.no_grad():  # the last key is seen by the last query alone
        k[..., -1, :] = torch.nan
    for options in ({"mask": "causal"}, {"bias": hidden}):
        o = attention(q, k, v, path="sdpa", **options)
        assert torch.isfinite(o[..., :-1, :]).all() and torch.isnan(o[..., -1, :]).all()


def test_a_row_that_sees_no_key_is_zero_and_passes_no_gradient(make):
    q, k, v, g = operands(make)
    bias = make(3, (20, 20))
    bias[4] = -torch.inf
    for _ in range(3):
        o = attention(q, k, v, path="sdpa", bias=bias)
        assert (o[..., 4, :] == 0).all()
        dq, *others = torch.autograd.grad(o, (q, k, v), g)
        assert (dq[..., 4, :] == 0).all() and all(torch.isfinite(x).all() for x in others)


def test_checkpoints_store_what_they_want_and_changed_inputs_are_refused(make):
    q, k, v, g = operands(make)
    by_hooks(q, k, v)
    o = checkpoint(lambda *xs: attention(*xs, path="sdpa"), q, k, v, use_reentrant=False)
    right = torch.autograd.grad(by_hooks(q, k, v), (q, k, v), g)
    assert all(torch.equal(a, b) for a, b in zip(right, torch.autograd.grad(o, (q, k, v), g), strict=True))
    inner = q * 1.0
    there = weakref.ref(inner)
    with torch.autograd.graph.saved_tensors_hooks(lambda x: x.detach().clone(), lambda x: x):
        elsewhere = attention(inner, k, v, path="sdpa")  # its inputs are stored as copies: the graph itself keeps none
    del inner
    assert there() is None and elsewhere.requires_grad
    o = by_hooks(q, k, v)
    with torch.no_grad():
        k += 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        torch.autograd.grad(o, (q, k, v), g)


def test_a_graph_that_is_dropped_keeps_nothing(make):
    q, k, v, g = operands(make)
    by_hooks(q, k, v)
    gc.disable()
    try:
        inner = q * 1.0
        there = weakref.ref(inner)
        o = attention(inner, k, v, path="sdpa")
        torch.autograd.grad(o, (q, k, v), g, create_graph=True)
        del inner, o
        assert there() is None
    finally:
        gc.enable()
