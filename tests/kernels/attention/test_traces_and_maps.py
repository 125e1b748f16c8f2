"""Calls whose numbers nobody may look at: mapped masks, traces of torch.jit, tensors without numbers, forked children."""

import os
import signal

import pytest
import torch
from torch.func import grad, vmap

from attnlab.kernels.attention import attention
from attnlab.kernels.attention.biases import ALiBi
from attnlab.kernels.attention.masks import Window
from attnlab.kernels.attention.scores.f_over_g import Softmax
from attnlab.kernels.linear_attention import FORMS, linear_attention

OPTIONS = {
    "plain": {},
    "causal": {"mask": "causal"},
    "window": {"mask": Window(2, 1)},
    "sigmoid": {"score": "sigmoid"},
    "sink": {"score": Softmax(sink=0.5)},
    "entmax": {"score": "entmax"},
    "statistics": {"statistics": ("entropy",)},
    "bias": {"bias": ALiBi(torch.ones(()))},
}


def outputs(q, k, v, **options):
    found = attention(q, k, v, **options)
    return torch.cat([found[0], found[1]["entropy"][..., None]], -1) if isinstance(found, tuple) else found


@pytest.mark.parametrize("n", [1, 9])
@pytest.mark.parametrize("path", ["auto", "c", "reference"])
@pytest.mark.parametrize("shape", [(4, 5), (9, 4, 5)], ids=str)
def test_a_mask_may_be_what_vmap_maps(shape, path, n, make, needs_c):
    q, k, v, x = make(1, (n, 4, 3), (n, 5, 3), (n, 5, 2), (3, *shape[:-2], *shape[-2:]))
    masks = x[:, :n] < 0.4 if len(shape) == 3 else x < 0.4
    masks[0, ..., 1, :] = False  # a row that sees nothing
    run = lambda m: attention(q, k, v, mask=m, path=path)  # noqa: E731
    slope = lambda m: grad(lambda q: attention(q, k, v, mask=m, path=path).sin().sum())(q)  # noqa: E731
    for function in (run, slope):
        one_by_one = torch.stack([function(m) for m in masks])
        assert (vmap(function)(masks) - one_by_one).abs().max() < 1e-12
        assert (vmap(function, in_dims=masks.ndim - 1)(masks.movedim(0, -1)) - one_by_one).abs().max() < 1e-12


@pytest.mark.filterwarnings("ignore")  # torch.jit warns that it is old, and of every shape that is looked at
@pytest.mark.parametrize("n", [1, 9])
@pytest.mark.parametrize("options", OPTIONS)
def test_a_jit_trace_computes_with_the_numbers_that_it_is_given(options, n, make, needs_c):
    first, other = make(2, *[(n, 5, 3)] * 3), make(3, *[(n, 5, 3)] * 3)
    other[1][0, 4, 0] = torch.nan
    traced = torch.jit.trace(lambda q, k, v: outputs(q, k, v, **OPTIONS[options]), first, check_trace=False)
    found, right = traced(*other), outputs(*other, **OPTIONS[options])
    assert torch.equal(found.isnan(), right.isnan()) and right.isnan().any()
    assert (found - right).nan_to_num(0.0).abs().max() < 1e-12


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("form", FORMS)
def test_a_jit_trace_of_linear_attention(form, make):
    first, other = make(4, *[(2, 5, 3)] * 3), make(5, *[(2, 5, 3)] * 3)
    other[1][0, 3, 0] = torch.nan
    traced = torch.jit.trace(lambda *x: linear_attention(*x, form=form, chunk=2)[0], first, check_trace=False)
    found, right = traced(*other), linear_attention(*other, form=form, chunk=2)[0]
    assert torch.equal(found.isnan(), right.isnan()) and (found - right).nan_to_num(0.0).abs().max() < 1e-12


@pytest.mark.parametrize("n", [1, 9])
@pytest.mark.parametrize(
    "options",
    [*OPTIONS.values(), {"scale": torch.ones(1)}, {"mask": torch.ones(4, 5, dtype=torch.bool)}, {"score": "cosine"}],
    ids=str,
)
def test_tensors_without_numbers_have_shapes(options, n):
    q, k, v = (torch.empty(n, *shape, device="meta", requires_grad=True) for shape in ((4, 3), (5, 3), (5, 2)))
    options = {name: x.to("meta") if isinstance(x, torch.Tensor) else x for name, x in options.items()}
    found = attention(q, k, v, **options)
    o = found[0] if isinstance(found, tuple) else found
    assert o.is_meta and o.shape == (n, 4, 2)
    assert [x.shape for x in torch.autograd.grad(o.sum(), (q, k, v))] == [q.shape, k.shape, v.shape]
    assert linear_attention(q, q, q)[0].shape == q.shape


@pytest.mark.parametrize("lead", [(), (9,)])
def test_a_mask_with_numbers_serves_tensors_without(lead):
    q, mask = torch.empty(9, 4, 3, device="meta"), torch.ones(*lead, 4, 4, dtype=torch.bool)
    assert attention(q, q, q, mask=mask).shape == q.shape


@pytest.mark.parametrize("path", ["auto", "c", "sdpa", "reference"])
def test_the_default_device_and_type_are_those_of_others(path, make, needs_c):
    q, k, v = make(7, (9, 5, 3), (9, 5, 3), (9, 5, 3), dtype=torch.float32)
    seen = torch.ones(5, 5, dtype=torch.bool).tril(1)
    for options in ({"mask": seen}, {"mask": Window(2, 1)}, {"mask": "causal"}, {"mask": seen.expand(9, 5, 5)}):
        right = attention(q, k, v, path=path, **options)
        torch.set_default_dtype(torch.float64)
        try:
            with torch.device("meta"):
                found = attention(q, k, v, path=path, **options)
        finally:
            torch.set_default_dtype(torch.float32)
        assert torch.equal(found, right)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("path", ["c", "sdpa", "reference"])
def test_a_forked_child_does_not_wait_for_threads_that_it_has_not(path, make, needs_c):
    x = make(6, (8, 300, 16), dtype=torch.float32)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        attention(x, x, x, path=path)
        child = os.fork()
        if child == 0:
            signal.alarm(30)
            attention(x, x, x, path=path)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        torch.set_num_threads(threads)
