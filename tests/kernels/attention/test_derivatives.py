"""First and second derivatives and forward mode of every path, by finite differences and between transforms."""

import math

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.func import grad, hessian, jacfwd, jacrev, jvp, vmap

from attnlab.kernels.attention import attention, formulas
from attnlab.kernels.attention.problem import Problem, rows_of_mask
from attnlab.kernels.attention.scores import SCORE_MAPS
from attnlab.kernels.attention.scores.f_over_g import FOverG, Softmax
from attnlab.kernels.attention.statistics import NAMES, Mass

FAMILY = sorted(name for name, score in SCORE_MAPS.items() if isinstance(score, FOverG))
OTHERS = sorted(name for name, score in SCORE_MAPS.items() if not isinstance(score, FOverG))
EPS = torch.finfo(torch.float64).eps


@pytest.mark.sampled(8)
@pytest.mark.parametrize("path", ["reference", "c"])
@pytest.mark.parametrize("name", FAMILY)
def test_second_derivatives_of_the_family_match_finite_differences(name, path, make, needs_c):
    q, k, v, bias = (x.requires_grad_() for x in make(1, (2, 2, 3), (2, 3, 3), (2, 3, 2), (2, 3)))

    def f(q, k, v, bias):
        return attention(q, k, v, score=name, bias=bias, path=path)

    fast = name != "softmax"  # softmax entry by entry, the others by projections
    assert gradcheck(f, (q, k, v, bias), check_forward_ad=True, fast_mode=fast)
    assert gradgradcheck(f, (q, k, v, bias), check_fwd_over_rev=True, fast_mode=fast)


@pytest.mark.parametrize("name", [name for name in OTHERS if "hard" not in name])
def test_second_derivatives_of_the_other_maps_match_finite_differences(name, make):
    q, k, v = (x.requires_grad_() for x in make(2, (2, 2, 3), (2, 4, 3), (2, 4, 2)))

    def f(q, k, v):
        return attention(q, k, v, score=name)

    assert gradcheck(f, (q, k, v), check_forward_ad=True, fast_mode=True)
    assert gradgradcheck(f, (q, k, v), fast_mode=True)


def test_fused_path_has_second_derivatives_and_forward_mode(make):
    q, k, v = (x.requires_grad_() for x in make(3, (2, 4, 3), (2, 4, 3), (2, 4, 3)))

    def f(q, k, v):
        return attention(q, k, v, mask="causal", path="sdpa")

    assert gradcheck(f, (q, k, v), check_forward_ad=True, fast_mode=True)
    assert gradgradcheck(f, (q, k, v), check_fwd_over_rev=True, fast_mode=True)


@pytest.mark.sampled(8)
@pytest.mark.parametrize("path", ["reference", "c"])
@pytest.mark.parametrize("name", [name for name in NAMES if name != "row_sum"])
def test_statistics_are_twice_differentiable(name, path, make, needs_c):
    q, k, v = make(4, (2, 2, 3), (2, 4, 3), (2, 4, 2))
    q.requires_grad_(), k.requires_grad_()

    def f(q, k):
        o, found = attention(q, k, v, path=path, statistics=(Mass((0, 2)) if name == "mass" else name,))
        return o + found[name][..., None]

    assert gradcheck(f, (q, k), check_forward_ad=True, fast_mode=True)
    assert gradgradcheck(f, (q, k), check_fwd_over_rev=True, fast_mode=True)


@pytest.mark.parametrize("path", ["c", "sdpa"])
def test_all_ways_to_a_hessian_agree(path, make, needs_c):
    q, k, v = make(5, (2, 3, 3), (2, 3, 3), (2, 3, 3))

    def loss(path):
        return lambda q: attention(q, k, v, path=path, mask="causal").sin().sum()

    expected = hessian(loss("reference"))(q)
    assert expected.abs().max() > 1e-2
    for way in (hessian, lambda f: jacfwd(jacfwd(f)), lambda f: jacrev(jacfwd(f)), lambda f: jacrev(jacrev(f))):
        assert (way(loss(path))(q) - expected).abs().max() < 100 * EPS  # about 40 roundings of numbers below 1


def test_third_derivative_goes_through_the_formulas(make, needs_c):
    q, k, v = make(6, (1, 2, 2), (1, 3, 2), (1, 3, 2))
    third = [jacrev(jacrev(grad(lambda q, p=p: attention(q, k, v, path=p).sin().sum())))(q) for p in ("c", "reference")]
    assert third[1].abs().max() > 1e-3
    assert (third[0] - third[1]).abs().max() < 1000 * EPS


def test_vmap_adds_an_axis(make, needs_c):
    q, k, v = make(7, (4, 2, 3, 3), (2, 5, 3), (2, 5, 4, 2))
    mapped = vmap(lambda q, v: attention(q, k, v, path="c"), in_dims=(0, 2))(q, v)
    for i in range(4):
        assert (mapped[i] - attention(q[i], k, v[:, :, i], path="reference")).abs().max() < 40 * EPS * v.abs().max()
    slopes = vmap(grad(lambda q, v: attention(q, k, v, path="c").square().sum()), in_dims=(0, 2))(q, v)
    one = grad(lambda q: attention(q, k, v[:, :, 3], path="reference").square().sum())(q[3])
    assert (slopes[3] - one).abs().max() < 100 * EPS * (1 + one.abs().max())


def test_forward_mode_equals_a_difference_quotient_and_not_its_twin(make, needs_c):
    q, k, v, qt = make(8, (2, 3, 3), (2, 4, 3), (2, 4, 2), (2, 3, 3))
    step = 1e-5
    up, down = (attention(q + h * qt, k, v, path="reference") for h in (step, -step))
    slope = (up - down) / (2 * step)  # error step^2 + eps/step < 1e-9
    for path in ("reference", "c"):
        tangent = jvp(lambda q, path=path: attention(q, k, v, path=path), (q,), (qt,))[1]
        assert (tangent - slope).abs().max() < 1e-8
        twin = jvp(lambda q, path=path: attention(q, k, v, path=path, scale=1.0), (q,), (qt,))[1]
        assert (twin - slope).abs().max() > 1e-3


@pytest.mark.parametrize("name", FAMILY)
def test_written_out_derivatives_of_each_map_match_autograd(name, make):
    score = SCORE_MAPS[name]
    s = make(9, (3, 7)).requires_grad_()
    m = score.level(s.detach(), torch.ones(3, 7, dtype=torch.bool))
    f1, f2, g1, g2 = score.derivatives(s.detach(), m)
    for function, first, second in ((score.f, f1, f2), (score.g, g1, g2)):
        value = function(s, m).sum()
        if not value.requires_grad:  # g = 0
            assert bool((first == 0).all())
            continue
        (got,) = torch.autograd.grad(value, s, create_graph=True)
        assert torch.allclose(got, first, rtol=1e-12, atol=1e-14)
        if got.requires_grad:
            (again,) = torch.autograd.grad(got.sum(), s, allow_unused=True)
            again = torch.zeros_like(s) if again is None else again
            assert torch.allclose(again, second, rtol=1e-12, atol=1e-14)
        else:
            assert bool((second == 0).all())


def test_double_backward_formula_is_symmetric(make):
    """<cotangents, second derivative of tangents> does not change when the two are swapped."""
    q, k, v = make(10, (3, 2), (4, 2), (4, 2))
    problem = Problem(0.7, Softmax(), rows_of_mask(None, 3, 4), (), Mass())
    g = make(11, (3, 2))
    a, b = (make(seed, (3, 2), (4, 2), (4, 2)) for seed in (12, 13))

    def form(x, y):
        grads = formulas.second(problem, q, k, v, None, (*x, None), g)[1:4]
        return sum((i * j).sum() for i, j in zip(grads, y, strict=True))

    assert abs(form(a, b) - form(b, a)) < 200 * EPS * abs(form(a, a))


@pytest.mark.parametrize("path", ["auto", "c", "reference"])
@pytest.mark.parametrize("lead", [(3,), (0,)])
def test_keys_that_no_query_reads_have_gradients_of_zero(path, lead, needs_c):
    """Without queries every gradient is zero, first and second, whatever lay in the memory that holds it."""
    q = torch.zeros(*lead, 0, 3, dtype=torch.float64, requires_grad=True)
    k, v = (torch.ones(*lead, 5, 3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    bias = torch.zeros(0, 5, dtype=torch.float64, requires_grad=True)
    for mask in (None, "causal"):
        for moved in (None, bias):
            for _ in range(20):
                for n in (5, 15, 45):
                    torch.full((n,), torch.nan, dtype=torch.float64)  # what the next allocation may find
                o = attention(q, k, v, mask=mask, bias=moved, path=path)
                first = torch.autograd.grad(o.square().sum(), (k, v), create_graph=True)
                second = torch.autograd.grad(sum(x.square().sum() for x in first), (k, v), allow_unused=True)
                assert all((x == 0).all() for x in (*first, *second) if x is not None)


@pytest.mark.parametrize("path", ["c", "reference"])
@pytest.mark.parametrize("hides", [False, True])
def test_sigmoid_weights_have_derivatives_of_all_orders_at_a_logit_of_zero(hides, path, needs_c):
    """1/2 + s/4 - s^3/48 + s^5/480: what is written by |s| loses those of odd order."""
    s, one = torch.zeros(1, 1, dtype=torch.float64, requires_grad=True), torch.ones(1, 1, dtype=torch.float64)
    mask = one > 0 if hides else None
    found = [attention(s, one, one, score="sigmoid", scale=1.0, mask=mask, path=path)]
    for _ in range(5):
        found += torch.autograd.grad(found[-1].sum(), s, create_graph=True)
    assert torch.allclose(
        torch.cat(found).flatten().detach(), torch.tensor([1 / 2, 1 / 4, 0, -1 / 8, 0, 1 / 4]).double()
    )


@pytest.mark.parametrize("path", ["c", "reference"])
@pytest.mark.parametrize("logit", [-30.0, 0.0, 12.0, 30.0])
def test_slope_of_a_saturated_sigmoid_keeps_its_digits(path, logit, needs_c):
    """p (1 - p) where 1 - p rounds to 0 in float32: 1 / (2 + exp s + exp(-s)), first and second derivative."""
    q = torch.tensor([[logit]], requires_grad=True)
    one = torch.ones(1, 1)
    o = attention(q, one, one, score="sigmoid", scale=1.0, path=path)
    (slope,) = torch.autograd.grad(o, q, create_graph=True)
    (curve,) = torch.autograd.grad(slope, q)
    right = 1 / (2 + math.exp(logit) + math.exp(-logit))
    assert slope.item() == pytest.approx(right, rel=1e-5, abs=0)
    assert curve.item() == pytest.approx(-right * math.tanh(logit / 2), rel=1e-5, abs=1e-7 * right)
