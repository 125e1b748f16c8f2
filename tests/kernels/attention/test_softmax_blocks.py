"""Backward passes and second derivatives of softmax in blocks: against float64 autograd of three lines of torch."""

import math

import pytest
import torch

from attnlab.kernels.attention import attention, autograd, cpu, formulas, softmax_blocks
from attnlab.kernels.attention.masks import Causal, Window
from attnlab.kernels.attention.problem import Problem, rows_of_mask, rows_of_visible
from attnlab.kernels.attention.scores.f_over_g import Softmax
from attnlab.kernels.attention.statistics import Mass

EPS = torch.finfo(torch.float64).eps
SOME = torch.tensor([[1, 0, 1, 1, 0, 1, 0]] * 2 + [[0, 1, 0, 0, 0, 0, 1]] * 3 + [[1] * 7] * 2, dtype=torch.bool)
MASKS = {"none": None, "causal": Causal(), "window": Window(2, 1), "some": SOME}


def plain(q, k, v, hidden, bias):
    """Three lines of torch."""
    s = q @ k.mT / math.sqrt(q.shape[-1])
    s = s if bias is None else s + bias
    return (s if hidden is None else s.masked_fill(hidden, -torch.inf)).softmax(-1) @ v


def given(make, mask, bias, seed=1, lead=(2, 3), n_q=7, n=7):
    """Tensors of a call, its record, and what it hides."""
    q, k, v = make(seed, (*lead, n_q, 4), (*lead, n, 4), (*lead, n, 3))
    shape = {"none": None, "shared": (n_q, n), "own": (*lead, n_q, n)}[bias]
    bias = None if shape is None else make(seed + 1, shape).expand(*lead, n_q, n)
    rows = rows_of_visible(mask) if isinstance(mask, torch.Tensor) else rows_of_mask(mask, n_q, n)
    return (q, k, v, bias), Problem(0.5, Softmax(), rows, (), Mass()), None if mask is None else ~rows.visible


@pytest.fixture(params=[1 << 20, 200], ids=["one block", "many"])
def blocks(request, monkeypatch):
    monkeypatch.setattr(softmax_blocks, "BLOCK_BYTES", request.param)
    monkeypatch.setattr(softmax_blocks, "FEWEST_QUERIES", 2)


@pytest.mark.parametrize("known", ["nothing", "output", "all"])
@pytest.mark.parametrize("bias", ["none", "shared", "own"])
@pytest.mark.parametrize("mask", MASKS)
def test_blocks_have_the_derivatives_of_plain_torch(mask, bias, known, make, blocks):
    tensors, problem, hidden = given(make, MASKS[mask], bias)
    leaves = [x.clone().requires_grad_() for x in tensors if x is not None]
    along = make(3, *(x.shape for x in leaves), (2, 3, 7, 3))
    g = along.pop().requires_grad_()

    def f(q, k, v, bias=None):
        return plain(q, k, v, hidden, bias)

    o = f(*leaves)
    first = torch.autograd.grad(o, leaves, g, create_graph=True)
    dg, *again = torch.autograd.grad(first, [g, *leaves], along)
    s = tensors[0] @ tensors[1].mT / 2 + (0 if tensors[3] is None else tensors[3])
    lse = (s if hidden is None else s.masked_fill(hidden, -torch.inf)).logsumexp(-1)
    o, g = o.detach(), g.detach()
    kept = {"nothing": (None,) * 4, "output": (o, lse, None, None)}.get(known)
    if kept is None:
        kept = o, lse, *softmax_blocks.Call(problem, *tensors, g, o, lse).prepared()
    want = bias != "none"
    grads = softmax_blocks.Call(problem, *tensors, g, *kept[:2]).backward(*kept[2:], want)
    tangents = (*along, None)[:4]
    found = softmax_blocks.Call(problem, *tensors, g, *kept[:2]).second(tangents, *kept[2:], want)
    (tangent,) = softmax_blocks.Call(problem, *tensors, None, *kept[:2]).second(tangents, *kept[2:], False)
    pairs = (*zip(grads, first, strict=False), *zip(found, (dg, *again), strict=False), (tangent, dg))
    for got, expected in pairs:
        assert (got - expected).abs().max() < 200 * EPS * (1 + expected.abs().max())
    assert (grads[3] is None) == (found[4] is None) == (not want)


def test_one_query_needs_no_product_of_matrices(make, blocks):
    tensors, problem, _ = given(make, None, "none", n_q=1)
    along, g = make(4, *(x.shape for x in tensors[:3])), make(5, (2, 3, 1, 3))
    expected = formulas.second(problem, *tensors, (*along, None), g)
    found = softmax_blocks.Call(problem, *tensors, g, None, None).second((*along, None), None, None, True)
    for got, wanted in zip(found, expected, strict=True):
        assert (got - wanted).abs().max() < 100 * EPS * (1 + wanted.abs().max())


@pytest.mark.parametrize("name", ["k", "v"])
def test_a_hidden_number_that_is_not_finite_is_left_to_the_formulas(name, make, monkeypatch):
    (q, k, v, _), problem, _ = given(make, SOME & (torch.arange(7) < 6), "none")
    along, g = make(6, q.shape, k.shape, v.shape), make(7, (2, 3, 7, 3))

    def second():
        return autograd.Second.forward("sdpa", problem, False, q, k, v, None, *along, None, g, *(None,) * 4)

    monkeypatch.setattr(autograd, "_compiled_is_faster", lambda *_: False)
    expected = second()
    {"k": k, "v": v}[name][..., -1, 0] = torch.nan
    assert softmax_blocks.Call(problem, q, k, v, None, g, None, None).second((*along, None), None, None, False) is None
    for got, wanted in zip(second(), expected, strict=True):
        assert (got - wanted).abs().max() < 100 * EPS * (1 + wanted.abs().max())


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("kept", [True, False])
def test_third_derivatives_and_repeated_passes_do_not_see_what_was_kept(kept, compiled, make, monkeypatch, needs_c):
    monkeypatch.setattr(softmax_blocks, "worth_keeping", lambda *_: kept)
    monkeypatch.setattr(autograd, "_compiled_is_faster", lambda *_: compiled)
    q, k, v = (x.requires_grad_() for x in make(8, (2, 5, 3), (2, 5, 3), (2, 5, 3)))
    hidden = torch.ones(5, 5, dtype=torch.bool).triu(1)

    def passes(o):
        first = torch.autograd.grad(o.sin().sum(), (q, k, v), create_graph=True)
        second = torch.autograd.grad(sum(x.sin().sum() for x in first), (q, k, v), create_graph=True)
        third = torch.autograd.grad(sum(x.square().sum() for x in second), (q, k, v), retain_graph=True)
        other = torch.autograd.grad(o.square().sum(), (q, k, v), create_graph=True)
        return *first, *second, *third, *other, *torch.autograd.grad(sum(x.sum() for x in other), (q, k, v))

    found = passes(attention(q, k, v, mask="causal", path="sdpa"))
    expected = passes(plain(q, k, v, hidden, None))
    assert max(x.abs().max() for x in expected) > 1e-2
    for got, wanted in zip(found, expected, strict=True):
        assert (got - wanted).abs().max() < 2000 * EPS * (1 + wanted.abs().max())


def test_the_default_device_and_type_are_those_of_others(make, monkeypatch):
    """What hides keys lies where the tensors are, in their type."""
    monkeypatch.setattr(autograd, "_compiled_is_faster", lambda *_: False)
    q, k, v = (x.float().requires_grad_() for x in make(9, *[(2, 7, 4)] * 3))

    def product():
        o = attention(q, k, v, mask=Window(2, 1), path="sdpa")
        first = torch.autograd.grad(o.square().sum(), (q, k, v), create_graph=True)
        return torch.autograd.grad(sum(x.square().sum() for x in first), (q, k, v))

    right = product()
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"):
            found = product()
    finally:
        torch.set_default_dtype(torch.float32)
    assert all(torch.equal(a, b) for a, b in zip(found, right, strict=True))


def test_the_compiled_second_derivative_is_for_many_narrow_problems():
    def faster(lead, n, d):
        q = torch.zeros(*lead, n, d)
        problem = Problem(0.5, Softmax(), rows_of_mask(None, n, n), (), Mass())
        return autograd._compiled_is_faster(problem, q, q, q)

    assert not faster((2, 1), 518, 90) and not faster((3, 1), 1035, 27) and not faster((1,), 1381, 1)
    if cpu.library(0, torch.float32, 4, 4, 2) is not None:
        assert faster((64, 8), 32, 4) and faster((1,), 43, 4)
