"""Run by test_gpu.py in a process of its own with TRITON_INTERPRET=1: values and derivatives of the Triton kernels.

The interpreter runs no GPU: it does not model races, tf32 or limits. Those are for gpu_compiled.py and for hardware.
"""

import os

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

assert os.environ.get("TRITON_INTERPRET") == "1"
pytest.importorskip("triton")

from attnlab.kernels.attention import attention  # noqa: E402
from attnlab.kernels.attention.masks import Window  # noqa: E402
from attnlab.kernels.attention.other_scores import SCORE_MAPS  # noqa: E402
from attnlab.kernels.attention.scores import Power  # noqa: E402

MAPS = ["softmax", "softmax_plus_one", "softpick", "sigmoid", "linear", "relu", "power", "relu_power", "softplus", "signed"]


def tensors(dtype, *shapes):
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype).requires_grad_() for shape in shapes]


def both(q, k, v, **options):
    """Output and gradients of the Triton path, and of the float64 reference on the same numbers."""
    results = []
    for path, wide in (("gpu", False), ("reference", True)):
        leaves = [(x.double() if wide else x).detach().requires_grad_() for x in (q, k, v)]
        o = attention(*leaves, path=path, **options)
        results.append([o, *torch.autograd.grad(o.double().sin().sum(), leaves)])
    return zip(*results, strict=True)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("score", MAPS)
def test_values_and_gradients_over_several_ragged_tiles(score, dtype):
    """n = 40 is 2.5 tiles of 16; roundings of sums of 40 terms and two derivatives: 4 (n + d + 8) eps per unit of size."""
    q, k, v = tensors(dtype, (2, 40, 3), (2, 40, 3), (2, 40, 5))
    for got, want in both(q, k, v, score=score, mask="causal"):
        assert (got - want).abs().max() < 4 * 51 * torch.finfo(dtype).eps * (1 + want.abs().max())


@pytest.mark.parametrize("width", [1, 2, 5, 16, 33])
def test_any_head_width(width):
    q, k, v = tensors(torch.float32, (3, 9, width), (3, 7, width), (3, 7, 2))
    for got, want in both(q, k, v):
        assert (got - want).abs().max() < 4 * (15 + width) * torch.finfo(torch.float32).eps * (1 + want.abs().max())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_sixteen_bit_types_are_as_good_as_the_unfused_ones(dtype):
    """At most twice the error of the same formulas in plain tensor operations of that type, plus 2 ulp."""
    q, k, v = tensors(dtype, (2, 40, 16), (2, 40, 16), (2, 40, 16))
    plain = attention(*(x.detach() for x in (q, k, v)), path="reference")
    (got, want), *_ = both(q, k, v)
    allowed = 2 * (plain.double() - want).abs().max() + 2 * torch.finfo(dtype).eps * want.abs().max()
    assert (got - want).abs().max() < allowed


@pytest.mark.parametrize("mask", [Window(2, 1), torch.eye(12, dtype=torch.bool).roll(1, 0) & (torch.arange(12) > 3)[:, None],
                                  None], ids=["window", "empty rows", "none"])
def test_masks_and_empty_rows(mask):
    q, k, v = tensors(torch.float64, (2, 12, 3), (2, 12, 3), (2, 12, 2))
    for score in ("softmax", "relu", "softpick"):
        for got, want in both(q, k, v, score=score, mask=mask):
            assert (got - want).abs().max() < 1e-13


def test_a_problem_that_is_not_finite_leaves_the_others_alone():
    """Why small problems do not share a tile: a product over one would carry 0 * nan from a diverged replica to the next."""
    q, k, v = tensors(torch.float64, (4, 3, 2), (4, 3, 2), (4, 3, 2))
    broken = v.detach().clone()
    broken[1] = torch.nan
    o, want = (attention(q, k, x, path="gpu") for x in (broken, v))
    good = [0, 2, 3]
    assert torch.equal(o[good], want[good]) and bool(o[1].isnan().all())


def test_one_query_and_rectangular_causal():
    for n_q in (1, 5):
        q, k, v = tensors(torch.float64, (2, n_q, 3), (2, 9, 3), (2, 9, 2))
        for got, want in both(q, k, v):
            assert (got - want).abs().max() < 1e-13


def test_huge_logits():
    q, k, v = tensors(torch.float64, (2, 6, 3), (2, 6, 3), (2, 6, 2))
    for score in ("softmax", "signed", "softpick"):
        o = attention(1e100 * q, 1e100 * k, v, score=score, path="gpu")
        assert bool(torch.isfinite(o).all())


def test_all_derivatives_by_finite_differences():
    q, k, v = tensors(torch.float64, (1, 3, 2), (1, 4, 2), (1, 4, 2))

    def f(q, k, v):
        return attention(q, k, v, path="gpu")

    assert gradcheck(f, (q, k, v), check_forward_ad=True, fast_mode=True)
    assert gradgradcheck(f, (q, k, v), check_fwd_over_rev=True, fast_mode=True)


@pytest.mark.parametrize("score", ["softmax", "softmax_plus_one", "linear", "power", "softplus"])
def test_bias_with_hidden_keys_and_its_gradient(score):
    """One bias for both problems (its gradient is a sum over them), minus infinity in places, an empty row; 2.5 tiles."""
    q, k, v, b = tensors(torch.float64, (2, 40, 3), (2, 40, 3), (2, 40, 2), (40, 40))
    hide = torch.rand(40, 40, generator=torch.Generator().manual_seed(2)) < 0.3
    hide[7] = True
    b = b.detach().masked_fill(hide, -torch.inf).requires_grad_()
    found = []
    for path in ("gpu", "reference"):
        o = attention(q, k, v, bias=b, mask="causal", score=score, path=path)
        found.append([o, *torch.autograd.grad(o.sin().sum(), (q, k, v, b))])
    for got, want in zip(*found, strict=True):
        assert (got - want).abs().max() < 4 * 51 * torch.finfo(torch.float64).eps * (1 + want.abs().max())


@pytest.mark.parametrize("power", [1, 3, 4])
def test_powers(power):
    for rectified in (False, True):
        q, k, v = tensors(torch.float64, (2, 20, 3), (2, 20, 3), (2, 20, 2))
        for got, want in both(q, k, v, score=Power(power, rectified)):
            assert (got - want).abs().max() < 4 * 31 * torch.finfo(torch.float64).eps * (1 + want.abs().max())


@pytest.mark.parametrize("shift", [-300.0, -20.0, 0.0, 300.0])
def test_softplus_keeps_its_limits(shift):
    """Far below zero it is softmax, far above the logits themselves; the level goes from one to the other."""
    q, k, v = tensors(torch.float64, (2, 20, 3), (2, 20, 3), (2, 20, 2))
    bias = torch.full((20, 20), shift, dtype=torch.float64)
    for got, want in both(q, k, v, score="softplus", bias=bias):
        assert (got - want).abs().max() < 4 * 31 * torch.finfo(torch.float64).eps * (300 + want.abs().max())


def test_maps_without_a_kernel_are_a_clear_error():
    q, = tensors(torch.float64, (1, 3, 2))
    for score in sorted(set(SCORE_MAPS) - set(MAPS) - {"cosine"}):
        with pytest.raises(ValueError, match="path='gpu' cannot do"):
            attention(q, q, q, score=score, path="gpu")
