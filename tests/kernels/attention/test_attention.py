"""Attention against formulas summed by hand, and the paths against each other."""

import math

import pytest
import torch

from attnlab.kernels.attention import attention, cpu
from attnlab.kernels.attention.masks import Causal, KeySubsample, Window
from attnlab.kernels.attention.scores.f_over_g import Cosine, Linear, Power, ReLU, Softmax

EPS = torch.finfo(torch.float64).eps


def softplus(x):
    return math.log1p(math.exp(x))


def sign(x):
    return (x > 0) - (x < 0)


# numerator and denominator of each map, from its definition and nothing else; n is the number of visible keys
BY_HAND = {
    "softmax": (math.exp, lambda row: sum(map(math.exp, row))),
    "softmax_plus_one": (math.exp, lambda row: 1 + sum(map(math.exp, row))),
    "softpick": (lambda x: max(math.exp(x) - 1, 0), lambda row: 1e-6 + sum(abs(math.exp(x) - 1) for x in row)),
    "sigmoid": (lambda x: 1 / (1 + math.exp(-x)), lambda row: 1.0),
    "linear": (lambda x: x, len),
    "relu": (lambda x: max(x, 0.0), len),
    "power": (lambda x: x * x, lambda row: sum(x * x for x in row)),
    "relu_power": (lambda x: max(x, 0.0) ** 2, lambda row: sum(max(x, 0.0) ** 2 for x in row) or 1.0),
    "softplus": (softplus, lambda row: sum(map(softplus, row))),
    "signed": (lambda x: sign(x) * math.exp(abs(x)), lambda row: sum(math.exp(abs(x)) for x in row)),
}


def by_hand(name, q, k, v, scale, seen):
    numerator, normaliser = BY_HAND[name]
    out = torch.zeros(q.shape[0], v.shape[1], dtype=torch.float64)
    for i in range(q.shape[0]):
        keys = [j for j in range(k.shape[0]) if seen[i, j]]
        row = [scale * sum(float(a) * float(b) for a, b in zip(q[i], k[j], strict=True)) for j in keys]
        for j, s in zip(keys, row, strict=True):
            out[i] += numerator(s) / normaliser(row) * v[j]
    return out


@pytest.mark.parametrize("path", ["reference", "c"])
@pytest.mark.parametrize("name", sorted(BY_HAND))
def test_every_score_map_is_its_formula(name, path, make, needs_c):
    q, k, v = make(1, (5, 3), (6, 3), (6, 2))
    seen = Causal().visible(5, 6)
    expected = by_hand(name, q, k, v, 3**-0.5, seen)
    got = attention(q, k, v, score=name, mask="causal", path=path)
    # a logit carries (d + 1) roundings, at most e^|s| of them reach a weight; |s| < 3 here, sums have at most 6 terms
    bound = 40 * EPS * (1 + expected.abs().max())
    assert (got - expected).abs().max() < bound
    twin = by_hand("sigmoid" if name == "softmax" else "softmax", q, k, v, 3**-0.5, seen)
    assert (got - twin).abs().max() > 1e-3  # the neighbouring map is told apart


def test_sdpa_path_equals_reference(make):
    q, k, v = make(2, (2, 3, 7, 5), (2, 3, 7, 5), (2, 3, 7, 5))
    for mask in (None, "causal", KeySubsample((1, 4, 6))):
        a, b = (attention(q, k, v, mask=mask, path=path) for path in ("sdpa", "reference"))
        assert (a - b).abs().max() < 40 * EPS * v.abs().max()


def test_all_paths_agree_with_torch_softmax(make, needs_c):
    q, k, v = make(3, (4, 9, 5), (4, 9, 5), (4, 9, 5))
    expected = torch.nn.functional.scaled_dot_product_attention(q, k, v)
    for path in ("auto", "c", "sdpa", "reference"):
        assert (attention(q, k, v, path=path) - expected).abs().max() < 40 * EPS * v.abs().max()


@pytest.mark.parametrize("path", ["reference", "c"])
def test_leading_axes_broadcast(path, make, needs_c):
    q, k, v = make(4, (3, 1, 2, 4, 3), (2, 5, 3), (4, 2, 5, 2))
    o = attention(q, k, v, path=path)
    assert o.shape == (3, 4, 2, 4, 2)
    one = attention(q[2, 0, 1], k[1], v[3, 1], path="reference")
    assert (o[2, 3, 1] - one).abs().max() < 40 * EPS * v.abs().max()


@pytest.mark.parametrize("path", ["reference", "c"])
def test_strided_tensors_are_read_where_they_lie(path, make, needs_c):
    packed = make(5, (3, 6, 4, 9))  # (batch, position, head, q and k and v)
    q, k, v = (x.transpose(1, 2) for x in packed.split(3, -1))
    assert not q.is_contiguous()
    o = attention(q, k, v, path=path)
    expected = attention(q.contiguous(), k.contiguous(), v.contiguous(), path="reference")
    assert (o - expected).abs().max() < 40 * EPS * v.abs().max()
    columns = make(5, (4, 3, 6)).mT  # a stride along the width
    o = attention(columns, columns, columns, path=path)
    expected = attention(columns.contiguous(), columns.contiguous(), columns.contiguous(), path="reference")
    assert (o - expected).abs().max() < 40 * EPS * columns.abs().max()


@pytest.mark.parametrize("path", ["reference", "c"])
@pytest.mark.parametrize("name", sorted(BY_HAND))
def test_rows_without_a_visible_key_are_zero_and_pass_no_gradient(name, path, make, needs_c):
    q, k, v = (x.requires_grad_() for x in make(6, (2, 3, 3), (2, 4, 3), (2, 4, 2)))
    seen = torch.tensor([[1, 0, 1, 1], [0, 0, 0, 0], [1, 1, 1, 1]], dtype=torch.bool)
    o = attention(q, k, v, score=name, mask=seen, path=path)
    assert bool((o[:, 1] == 0).all())
    (dq,) = torch.autograd.grad(o.sum(), q)
    assert bool((dq[:, 1] == 0).all()) and bool(torch.isfinite(dq).all())


def test_minus_infinity_in_the_bias_is_a_mask(make, needs_c):
    q, k, v = make(7, (2, 3, 3), (2, 4, 3), (2, 4, 2))
    seen = torch.tensor([[1, 0, 1, 1], [0, 0, 0, 0], [1, 1, 1, 0]], dtype=torch.bool)
    bias = torch.where(seen, 0.0, -torch.inf).double()
    for name in BY_HAND:
        masked = attention(q, k, v, score=name, mask=seen, path="reference")
        for path in ("reference", "c"):
            assert torch.allclose(attention(q, k, v, score=name, bias=bias, path=path), masked, rtol=0, atol=100 * EPS)


def test_masks_that_differ_between_problems(make, needs_c):
    q, k, v = make(8, (5, 3, 3), (5, 4, 3), (5, 4, 2))
    seen = make(9, (5, 3, 4)) > 0
    o = attention(q, k, v, mask=seen, path="c")
    for i in range(5):
        one = attention(q[i], k[i], v[i], mask=seen[i], path="reference")
        assert (o[i] - one).abs().max() < 40 * EPS * v.abs().max()


def test_huge_logits_neither_overflow_nor_lose_the_winner(make, needs_c):
    q, k, v = make(10, (2, 3, 3), (2, 5, 3), (2, 5, 2))
    for path in ("reference", "c"):
        o = attention(1e200 * q, 1e100 * k, v, path=path)
        assert (o - attention(q, k, v, score="hardmax")).abs().max() == 0
        for name in ("softpick", "signed", "power", "relu_power", "softplus", "sigmoid"):
            assert bool(torch.isfinite(attention(1e150 * q, 1e100 * k, v, score=name, path=path)).all())


def test_very_negative_logits_keep_the_softmax_limit_of_softplus(make, needs_c):
    q, k, v = make(11, (2, 3, 3), (2, 5, 3), (2, 5, 2))
    low = torch.full((3, 5), -300.0, dtype=torch.float64)  # softplus(-300) = e^-300, softplus ~ exp
    for path in ("reference", "c"):
        near = attention(q, k, v, score="softplus", bias=low, path=path)
        # s - 300 loses log2(300) = 9 bits of s
        assert (near - attention(q, k, v, path="reference")).abs().max() < 1000 * EPS * v.abs().max()
        assert bool((attention(q, k, v, score="softpick", bias=low, path=path) == 0).all())


def test_scale_per_replica_and_its_gradient(make, needs_c):
    q, k, v = make(12, (3, 2, 4, 3), (3, 2, 5, 3), (3, 2, 5, 2))
    scale = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64, requires_grad=True)
    for path in ("reference", "c"):
        o = attention(q, k, v, scale=scale, path=path)
        for r in range(3):
            one = attention(q[r], k[r], v[r], scale=scale[r].item(), path="reference")
            assert (o[r] - one).abs().max() < 40 * EPS * v.abs().max()
        (slope,) = torch.autograd.grad(o.square().sum(), scale)
        step = 1e-6
        up, down = (
            attention(q, k, v, scale=scale.detach() + h, path=path).square().sum((1, 2, 3)) for h in (step, -step)
        )
        assert torch.allclose(slope, (up - down) / (2 * step), atol=1e-7)  # central differences: O(step^2) + eps/step


def test_sink_is_a_key_without_a_value(make, needs_c):
    q, k, v = make(13, (2, 4, 3), (2, 5, 3), (2, 5, 2))
    one_more = torch.cat([k, torch.zeros(2, 1, 3, dtype=torch.float64)], 1)
    no_value = torch.cat([v, torch.zeros(2, 1, 2, dtype=torch.float64)], 1)
    bias = torch.zeros(4, 6, dtype=torch.float64)
    bias[:, 5] = 0.7
    expected = attention(q, one_more, no_value, bias=bias, path="reference")
    for path in ("reference", "c"):
        o = attention(q, k, v, score=Softmax(sink=0.7), path=path)
        assert (o - expected).abs().max() < 40 * EPS * v.abs().max()
    learnt = torch.tensor([0.7, 0.7], dtype=torch.float64, requires_grad=True)
    o = attention(q, k, v, score=Softmax(sink=learnt))
    assert (o - expected).abs().max() < 40 * EPS * v.abs().max()
    assert bool((torch.autograd.grad(o.sum(), learnt)[0] != 0).all())


def test_cosine_does_not_see_the_length_of_keys(make, needs_c):
    q, k, v = make(14, (2, 4, 3), (2, 5, 3), (2, 5, 2))
    for path in ("reference", "c"):
        a = attention(q, k, v, score=Cosine(), scale=3.0, path=path)
        b = attention(7 * q, 0.01 * k, v, score=Cosine(), scale=3.0, path=path)
        assert (a - b).abs().max() < 100 * EPS * v.abs().max()
    zero = attention(q, torch.zeros_like(k), v, score=Cosine())
    assert (zero - v.mean(-2, keepdim=True)).abs().max() < 40 * EPS * v.abs().max()


def test_parameters_of_the_maps(make, needs_c):
    q, k, v = make(15, (2, 4, 3), (2, 5, 3), (2, 5, 2))
    s = q @ k.mT / 3**0.5
    cases = {
        Linear(divide="one"): s,
        ReLU(divide="one"): s.relu(),
        Power(power=3): s**3 / (s.abs() ** 3).sum(-1, keepdim=True),
        Power(power=1, rectified=True): s.relu() / s.relu().sum(-1, keepdim=True).clamp(min=1e-300),
    }
    for score, w in cases.items():
        for path in ("reference", "c"):
            assert (attention(q, k, v, score=score, path=path) - w @ v).abs().max() < 100 * EPS * v.abs().max()


def test_wide_heads_and_many_keys(make, needs_c):
    q, k, v = make(16, (9, 3, 128), (9, 70, 128), (9, 70, 17))
    a, b = (attention(q, k, v, path=path) for path in ("c", "reference"))
    assert (a - b).abs().max() < (128 + 70) * EPS * v.abs().max()
    q, k, v = make(17, (2, 300, 1), (2, 300, 1), (2, 300, 1))
    a, b = (attention(q, k, v, mask="causal", path=path) for path in ("c", "reference"))
    assert (a - b).abs().max() < 600 * EPS * v.abs().max()


def test_no_key_at_all_gives_zero(make):
    q, k, v = make(18, (9, 3, 3), (9, 0, 3), (9, 0, 2))
    for path in ("auto", "reference"):
        assert bool((attention(q, k, v, path=path) == 0).all())


def test_results_do_not_depend_on_threads_or_on_the_neighbours_in_a_vector(make, needs_c):
    q, k, v = make(19, (1001, 40, 3), (1001, 40, 3), (1001, 40, 2))
    one = attention(q, k, v, path="c")
    torch.set_num_threads(2)
    assert torch.equal(attention(q, k, v, path="c"), one)
    assert torch.equal(attention(q[5:18], k[5:18], v[5:18], path="c"), one[5:18])


def test_large_reference_problems_are_cut_without_changing_the_result(make):
    q, k, v = make(20, (6, 2, 400, 3), (6, 2, 400, 3), (6, 2, 400, 2))
    names = ("entropy", "log_sum_exp")
    o, stats = attention(q, k, v, path="reference", mask="causal", statistics=names)
    whole, single = attention(q[4], k[4], v[4], path="reference", mask="causal", statistics=names)
    assert (o[4] - whole).abs().max() < 40 * EPS
    assert all((stats[name][4] - single[name]).abs().max() < 40 * EPS * 10 for name in names)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(score="sofmax"), "did you mean 'softmax'"),
        (dict(statistics=("entropie",)), "did you mean 'entropy'"),
        (dict(scale=float("nan")), "must be finite"),
        (dict(scale=torch.tensor([1.0, float("inf")])), "not finite"),
        (dict(scale=torch.ones(1, 1, 1, 1)), "leading axes"),
        (dict(path="fast"), "use one of auto"),
        (dict(mask="cause"), "use 'causal'"),
        (dict(mask=torch.ones(3, 4)), "must be boolean"),
        (dict(mask=torch.ones(2, 4, dtype=torch.bool)), "expected (..., 3 queries, 4 keys)"),
        (dict(bias=torch.ones(3, 3)), "expected (..., 3 queries, 4 keys)"),
        (dict(bias=torch.ones(3, 4, dtype=torch.int64)), "floating-point"),
        (dict(score="entmax", path="c"), "cannot do score"),
        (dict(path="sdpa", statistics="entropy"), "without statistics"),
        (dict(mask=KeySubsample((7,))), "use 0 to 3"),
    ],
)
def test_bad_arguments_are_named(change, message, make):
    q, k, v = make(21, (2, 3, 3), (2, 4, 3), (2, 4, 2))
    with pytest.raises(ValueError) as error:
        attention(q, k, v, **change)
    assert message in str(error.value)


def test_bad_tensors_are_named(make):
    q, k, v = make(22, (2, 3, 3), (2, 4, 3), (2, 4, 2))
    for args, message in [
        ((q, k[..., :2], v), "equally wide"),
        ((q, k, v[:, :3]), "every key needs one value"),
        ((q.float(), k, v), "one floating-point dtype"),
        ((q[0, 0], k, v), "expected (..., position"),
        ((q, k[:, None, :, :].expand(2, 3, 4, 3), v.expand(5, 2, 4, 2)), "do not broadcast"),
    ]:
        with pytest.raises(ValueError) as error:
            attention(*args)
        assert message in str(error.value)
    with pytest.raises(TypeError, match="q must be a tensor"):
        attention([1.0], k, v)


@pytest.mark.parametrize("mask", [None, "causal", Window(1, 0)], ids=str)
@pytest.mark.parametrize("shape", [(), (3,), (3, 1, 2)], ids=str)
def test_learnt_sink_runs_compiled_with_the_gradients_of_the_reference(make, shape, mask, needs_c):
    """One sink for all, one per replica, one per replica and head; with and without a bias; also by second derivatives."""
    q, k, v = (x.requires_grad_() for x in make(9, (3, 4, 2, 7, 3), (3, 4, 2, 7, 3), (3, 4, 2, 7, 2)))
    sink, bias = make(10, shape).reshape(shape).requires_grad_(), make(11, (7, 7)).requires_grad_()
    for extra in ((), (bias,)):
        found = []
        for path in ("c", "reference"):
            o = attention(q, k, v, score=Softmax(sink=sink), mask=mask, bias=extra[0] if extra else None, path=path)
            first = torch.autograd.grad(o.sin().sum(), (q, k, v, sink, *extra), create_graph=True)
            second = torch.autograd.grad(sum(x.square().sum() for x in first), (q, sink))
            found.append([o, *first, *second])
        for got, want in zip(*found, strict=True):
            assert (got - want).abs().max() < 1000 * torch.finfo(torch.float64).eps * (1 + want.abs().max())


def test_learnt_sink_takes_the_compiled_path_by_itself(make, needs_c, monkeypatch):
    calls = []
    plain = cpu.forward
    monkeypatch.setattr(cpu, "forward", lambda *args, **more: calls.append(1) or plain(*args, **more))
    q = make(12, (32, 8, 3))
    attention(q, q, q, score=Softmax(sink=torch.zeros(32, dtype=torch.float64)))
    assert calls
