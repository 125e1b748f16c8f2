"""One meaning on all paths: what is not a number, what is hidden, where things are aligned, what lies how in memory."""

import math

import pytest
import torch

from attnlab.kernels.attention import attention
from attnlab.kernels.attention.biases import ALiBi, ForgetGate, RelativePosition
from attnlab.kernels.attention.masks import BlockSparse, Causal, Neighbourhood, Window
from attnlab.kernels.attention.scores import SCORE_MAPS, Entmax, Power, Softmax
from attnlab.kernels.attention.statistics import NAMES, Mass
from attnlab.kernels.linear_attention import linear_attention

NAN, INF = torch.nan, torch.inf
EPS = torch.finfo(torch.float64).eps
PATHS = ("auto", "c", "sdpa", "reference")


def able(path, score):
    """Whether a path has this score map."""
    if path == "sdpa":
        return score == "softmax"
    return path != "c" or SCORE_MAPS[score].of_logits().name not in ("entmax", "hardmax", "clipped", "standardised")


def value_and_gradients(tensors, **options):
    leaves = [x.detach().clone().requires_grad_() for x in tensors]
    o = attention(*leaves, **options)
    return o.detach(), torch.autograd.grad(o.nan_to_num(0.0, 0.0, 0.0).sin().sum(), leaves)


@pytest.mark.parametrize("score", sorted(SCORE_MAPS))
@pytest.mark.parametrize("n", [1, 9])
def test_nan_in_a_visible_logit_is_nan_in_its_row_and_nowhere_else(score, n, make, needs_c):
    q, k, v = make(1, (n, 4, 3), (n, 4, 3), (n, 4, 3))
    q[:, 2, 1] = NAN
    for path in PATHS:
        for more in ({}, {"mask": "causal"}, {"bias": torch.zeros(4, 4, dtype=torch.float64)}):
            if able(path, score):
                o = attention(q, k, v, score=score, path=path, **more)
                assert o[:, 2].isnan().all(), (path, more)
                assert o[:, [0, 1, 3]].isfinite().all(), (path, more)


@pytest.mark.parametrize("score", ["softmax", "sigmoid", "softmax_plus_one", "entmax"])
def test_nan_in_a_logit_is_nan_in_every_statistic_of_its_row(score, make, needs_c):
    q, k, v = make(2, (9, 4, 3), (9, 4, 3), (9, 4, 3))
    q[:, 2, 1] = NAN
    for path in ("auto", "c", "reference"):
        if able(path, score):
            _, found = attention(q, k, v, score=score, path=path, statistics=NAMES)
            for name, x in found.items():
                assert x[:, 2].isnan().all() and not x[:, [0, 1, 3]].isnan().any(), (path, name)


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
@pytest.mark.parametrize("score", sorted(set(SCORE_MAPS) - {"hardmax", "average_hard"}))
def test_hidden_keys_never_matter(score, bad, make, needs_c):
    """Value and gradients are those of the call without the hidden key, which itself receives none."""
    q, k, v = make(3, (9, 4, 3), (9, 5, 3), (9, 5, 3))
    seen = torch.ones(4, 5, dtype=torch.bool)
    seen[:, 4] = False
    right = value_and_gradients((q, k[:, :4], v[:, :4]), score=score, path="reference")
    k[:, 4], v[:, 4] = bad, bad
    for path in PATHS:
        for mask in (seen, seen.expand(9, 4, 5).clone()):
            for more in ({"mask": mask}, {"bias": torch.where(mask, 0.0, -INF).double()}):
                if able(path, score):
                    o, grads = value_and_gradients((q, k, v), score=score, path=path, **more)
                    assert (o - right[0]).abs().max() < 1e-9, (path, more)
                    assert (grads[0] - right[1][0]).abs().max() < 1e-9, (path, more)
                    for grad, expected in zip(grads[1:], right[1][1:], strict=True):
                        assert (grad[:, :4] - expected).abs().max() < 1e-9, (path, more)
                        assert bool((grad[:, 4] == 0).all()), (path, more)


def test_a_future_that_is_not_finite_leaves_the_past_alone(make, needs_c):
    q, k, v = make(4, (9, 6, 3), (9, 6, 3), (9, 6, 3))
    right = attention(q, k, v, mask="causal", path="reference")
    k[:, 4:], v[:, 4:], q[:, 5] = NAN, INF, NAN
    for path in PATHS:
        o, grads = value_and_gradients((q, k, v), mask="causal", path=path)
        assert (o[:, :4] - right[:, :4]).abs().max() < 1e-12 and o[:, 4:].isnan().all()
        assert all(grad[:, :4].isfinite().all() for grad in grads[:1])
    for form in ("recurrent", "parallel", "chunked"):
        o, _ = linear_attention(q, k, v, form=form, chunk=4)
        clean, _ = linear_attention(q[:, :4], k[:, :4], v[:, :4])
        assert (o[:, :4] - clean).abs().max() < 1e-12, form


@pytest.mark.parametrize("n_q", [1, 2, 5])
@pytest.mark.parametrize(
    "options",
    [
        {"mask": "causal"},
        {"mask": Causal() & Window(2)},
        {"mask": Causal() & Window(6, 0, 2)},
        {"mask": Window(1, 1)},
        {"mask": Neighbourhood((8,), 3)},
        {"mask": Neighbourhood((2, 4), (2, 3))},
        {"mask": BlockSparse(torch.tensor([[1, 0, 0], [1, 1, 0], [0, 1, 1]]).bool(), 3)},
        {"mask": "causal", "bias": ALiBi(torch.tensor([0.3, 0.5]))},
        {"mask": "causal", "bias": RelativePosition(torch.arange(14.0).sin().reshape(2, 7))},
        {"mask": "causal", "bias": ForgetGate(torch.linspace(-2, -0.1, 8))},
        {"mask": "causal", "bias": ForgetGate(torch.tensor([-1.0, -0.1, -INF, -0.3, -0.2, -INF, -0.1, -0.4]))},
    ],
    ids=str,
)
def test_decoding_with_a_cache_equals_the_whole(options, n_q, make, needs_c):
    q, k, v = make(5, (9, 2, 8, 3), (9, 2, 8, 3), (9, 2, 8, 3))
    whole = attention(q, k, v, path="reference", **options)
    for path in ("auto", "c", "reference"):
        last = attention(q[..., 8 - n_q :, :], k, v, path=path, **options)
        assert (last - whole[..., 8 - n_q :, :]).abs().max() < 1e-12


def test_a_layout_of_blocks_that_covers_no_sequence_is_refused():
    with pytest.raises(ValueError, match="does not cover"):
        BlockSparse(torch.ones(2, 3, dtype=torch.bool), 4).visible(3, 12)
    with pytest.raises(ValueError, match="queries for the last tokens"):
        Neighbourhood((4,), 2).visible(5, 4)


@pytest.mark.parametrize("path", ["auto", "c", "reference"])
@pytest.mark.parametrize(
    "shapes",
    [((4, 3), (4, 5, 3), (4, 5, 2)), ((4, 2, 4, 3), (2, 5, 3), (4, 1, 5, 2)), ((4, 3), (5, 3), (4, 2, 5, 2))],
    ids=str,
)
def test_scales_and_sinks_belong_to_the_first_leading_axes_of_the_output(path, shapes, make, needs_c):
    q, k, v = make(6, *shapes)
    number = torch.tensor([0.0, 5.0, -1.0, 2.0], dtype=torch.float64, requires_grad=True)
    whole = attention(q, k, v, path=path, score=Softmax(sink=number), scale=number)
    lead = whole.shape[:-2]
    q, k, v = (x.expand(*lead, *x.shape[-2:]) for x in (q, k, v))
    for i in range(4):
        one = attention(
            q[i], k[i], v[i], path="reference", score=Softmax(sink=number[i].item()), scale=number[i].item()
        )
        assert (whole[i] - one).abs().max() < 1e-12
    assert torch.autograd.grad(whole.sum(), number)[0].abs().min() > 0


def test_numbers_that_fit_no_leading_axis_are_named(make):
    q, k, v = make(7, (2, 3, 3), (2, 4, 3), (2, 4, 2))
    for name, options in (
        ("scale", {"scale": torch.ones(3)}),
        ("sink", {"score": Softmax(sink=torch.ones(3))}),
        ("sink", {"score": Softmax(sink=torch.ones(2, 1))}),
    ):
        for path in ("auto", "reference"):
            with pytest.raises(ValueError, match=f"{name} has shape .*leading axes"):
                attention(q, k, v, path=path, **options)


def test_negative_and_zero_scale(make, needs_c):
    q, k, v = make(8, (9, 5, 3), (9, 5, 3), (9, 5, 3))
    for scale in (0.0, -0.5, torch.full((9,), -0.5, dtype=torch.float64)):
        for mask in (None, "causal", Window(1)):
            right = value_and_gradients((q, k, v), scale=scale, mask=mask, path="reference")
            for path in PATHS:
                o, grads = value_and_gradients((q, k, v), scale=scale, mask=mask, path=path)
                assert (o - right[0]).abs().max() < 1e-12
                assert all((a - b).abs().max() < 1e-11 for a, b in zip(grads, right[1], strict=True))


def test_memory_is_read_as_its_tensor_says(make, needs_c):
    """Negative bits, stride 0, transposed and reversed axes."""
    plain = make(9, (9, 4, 4))
    negative = torch.complex(torch.zeros_like(plain), -plain).conj().imag
    assert negative.is_neg() and torch.equal(negative, plain)
    shared, turned = plain[:1].expand(9, 4, 4), plain.mT
    for odd in (negative, shared, turned, plain[..., :1].expand(9, 4, 4)):
        for path in PATHS:
            for arguments in ((odd, plain, plain), (plain, odd, plain), (plain, plain, odd)):
                right = value_and_gradients(
                    [x.clone(memory_format=torch.contiguous_format) for x in arguments], path="reference"
                )
                o = attention(*arguments, path=path)
                assert (o - right[0]).abs().max() < 1e-12
                leaves = [x.detach().requires_grad_() for x in arguments]
                out = attention(*leaves, path=path)
                back = (
                    torch.complex(torch.zeros_like(out), -out.cos()).detach().conj().imag
                )  # cotangents may lie anyhow too
                grads = torch.autograd.grad(out, leaves, back)
                assert all((a - b).abs().max() < 1e-11 for a, b in zip(grads, right[1], strict=True))


def test_powers_near_zero_and_beside_negative_logits(needs_c):
    def one(score, logits, path):
        k = torch.tensor(logits, dtype=torch.float32).reshape(1, -1, 1).expand(9, -1, 1)
        v = torch.eye(len(logits)).expand(9, -1, -1)
        return attention(torch.ones(9, 1, 1), k, v, scale=1.0, score=score, path=path)[0, 0]

    for path in ("c", "reference"):
        for p in (1, 2, 3, 8, 16):
            assert torch.allclose(one(Power(p, rectified=True), [1e-4, -1.0], path), torch.tensor([1.0, 0.0]))
            assert torch.allclose(one(Power(p), [1e-9, -1e-9], path).abs(), torch.tensor([0.5, 0.5]))
            assert bool((one(Power(p, rectified=True), [-1e-9, -1.0], path) == 0).all())


@pytest.mark.slow
def test_second_derivatives_of_powers_at_zero(needs_c):
    """x^2/(x^2 + 5) has the second derivative 2/5 at 0, |x|^3/(|x|^3 + 9) has 0, and x^4/(x^4 + 17) too."""
    for p, right in ((2, 2 / 5), (3, 0.0), (4, 0.0)):

        def weight(x, path, p=p):
            k = torch.stack([x, x * 0 + 1, x * 0 + 2]).reshape(1, 3, 1).expand(9, 3, 1)
            v = torch.tensor([[1.0], [0.0], [0.0]], dtype=torch.float64).expand(9, 3, 1)
            return attention(torch.ones(9, 1, 1).double(), k, v, scale=1.0, score=Power(p), path=path)[0].sum()

        for path in ("c", "reference"):
            zero = torch.zeros((), dtype=torch.float64, requires_grad=True)
            (slope,) = torch.autograd.grad(weight(zero, path), zero, create_graph=True)
            assert abs(torch.autograd.grad(slope, zero)[0].item() - right) < 1e-12
            assert abs(torch.func.hessian(lambda x, path=path: weight(x, path))(zero.detach()).item() - right) < 1e-12


@pytest.mark.parametrize("alpha", [1.25, 1.5, 2.0, 3.0])
@pytest.mark.parametrize("size", [1.0, 1e4, 2e7, 1e12])
def test_entmax_at_any_size_of_the_logits(alpha, size, make):
    """A row moved by a large number that float32 holds keeps its weights."""
    s = make(10, (1, 3, 6), dtype=torch.float32).mul(4).round() * (
        1 if size < 1e5 else 2.0 ** math.ceil(math.log2(size * 2**-23))
    )
    options = {"scale": 1.0, "score": Entmax(alpha), "path": "reference"}
    eye = torch.eye(6)[None]
    moved = attention(s + size, eye, eye, **options)
    assert torch.allclose(moved.sum(-1), torch.ones(1, 3), atol=1e-5)
    assert torch.allclose(moved, attention((s + size) - size, eye, eye, **options), atol=1e-5)


def test_a_closed_gate_hides_the_past_and_receives_no_gradient(make, needs_c):
    q, k, v = make(11, (9, 6, 3), (9, 6, 3), (9, 6, 2))
    gates = torch.tensor([-0.1, -0.4, -INF, -0.2, -INF, -0.3], dtype=torch.float64, requires_grad=True)
    cut = torch.ones(6, 6, dtype=torch.bool).tril()
    cut[2:, :2], cut[4:, :4] = False, False
    open_gates = gates.detach().clamp(min=-1.0)
    for path in ("c", "reference"):
        o = attention(q, k, v, mask="causal", bias=ForgetGate(gates), path=path)
        right = attention(q, k, v, mask=cut, bias=ForgetGate(open_gates), path="reference")
        assert (o - right).abs().max() < 1e-12
        (slope,) = torch.autograd.grad(o.sin().sum(), gates)
        assert bool((slope[[2, 4]] == 0).all()) and slope.isfinite().all() and slope[[1, 3, 5]].abs().min() > 0


def test_closed_decays_of_linear_attention(make):
    q, k, v, first = make(12, (2, 7, 3), (2, 7, 3), (2, 7, 2), (2, 3, 2))
    decay = torch.tensor([-0.1, -INF, -0.2, -0.3, -INF, -INF, -0.1], dtype=torch.float64, requires_grad=True)
    found = []
    for form, chunk in (("recurrent", 1), ("parallel", 1), ("chunked", 2), ("chunked", 3), ("chunked", 64)):
        o, last = linear_attention(q, k, v, log_decay=decay, state=first, form=form, chunk=chunk)
        (slope,) = torch.autograd.grad(o.sin().sum() + last.sum(), decay)
        found.append((o.detach(), last.detach(), torch.where(decay == -INF, 0.0, slope)))
    for other in found[1:]:
        assert all((a - b).abs().max() < 1e-12 for a, b in zip(other, found[0], strict=True))
    o, _ = linear_attention(q, k, v, log_decay=-INF)
    assert (o - (q * k).sum(-1, keepdim=True) * v).abs().max() < 1e-12  # every token sees itself alone


@pytest.mark.parametrize("score", sorted(SCORE_MAPS))
def test_no_key_at_all(score, make, needs_c):
    q, k, v = (x.requires_grad_() for x in make(13, (9, 3, 3), (9, 0, 3), (9, 0, 2)))
    for path in ("auto", "c", "reference"):
        if able(path, score):
            o, found = attention(q, k, v, score=score, path=path, statistics=NAMES)
            assert o.shape == (9, 3, 2) and bool((o == 0).all())
            hidden = torch.zeros(3, 3, dtype=torch.bool)  # nothing to see is what rows have whose keys are all hidden
            _, right = attention(q, q, q, score=score, mask=hidden, path="reference", statistics=NAMES)
            assert all(torch.equal(x, right[name]) for name, x in found.items())
            assert all(bool((x == 0).all()) for name, x in found.items() if name != "log_sum_exp")
            grads = torch.autograd.grad(o.sum(), (q, k, v))
            assert [x.shape for x in grads] == [q.shape, k.shape, v.shape] and bool((grads[0] == 0).all())


def test_repeated_statistics(make, needs_c):
    q, k, v = make(14, (9, 4, 3), (9, 5, 3), (9, 5, 2))
    for path in ("c", "reference"):
        _, found = attention(q, k, v, path=path, statistics=("entropy", Mass((1, 1, 2)), "entropy", Mass((2, 1))))
        _, once = attention(q, k, v, path="reference", statistics=("entropy", Mass((1, 2))))
        assert sorted(found) == ["entropy", "mass"]
        assert all((found[name] - once[name]).abs().max() < 1e-12 for name in once)
    with pytest.raises(ValueError, match=r"mass on \(0,\) and on \(1,\)"):
        attention(q, k, v, statistics=("mass", Mass((1,))))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("n", [1, 9])
def test_short_types_are_computed_in_single_precision(dtype, n, make, needs_c):
    q, k, v = (x.requires_grad_() for x in make(15, (n, 40, 3), (n, 40, 3), (n, 40, 3), dtype=dtype))
    for path in PATHS:
        o = attention(q, k, v, path=path)
        exact = attention(*(x.detach().double() for x in (q, k, v)), path="reference")
        assert o.dtype == dtype  # one rounding to the type, beside those of single precision
        assert (o.double() - exact).abs().max() < 1.01 * torch.finfo(dtype).eps / 2 * exact.abs().max() + 1e-5
        assert all(x.dtype == dtype for x in torch.autograd.grad(o.float().sum(), (q, k, v)))
    o, found = attention(q, k, v, statistics="entropy")
    assert o.dtype == dtype and found["entropy"].dtype == torch.float32
    o, _ = linear_attention(q, k, v)
    right, _ = linear_attention(*(x.detach().double() for x in (q, k, v)))
    assert o.dtype == dtype and (o.double() - right).abs().max() < torch.finfo(dtype).eps * right.abs().max()


def test_other_types_are_refused():
    x = torch.ones(2, 3, 3)
    for dtype in (torch.int64, torch.complex64, torch.float8_e5m2):
        with pytest.raises(ValueError, match="float32, float64, bfloat16 and float16"):
            attention(*(x.to(dtype) for _ in range(3)))


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("which", ["q", "k", "v", "shared mask", "mask", "bias"])
def test_changes_between_the_passes_are_refused_or_do_not_count(path, which, make, needs_c):
    q, k, v = (x.requires_grad_() for x in make(17, (9, 4, 3), (9, 4, 3), (9, 4, 3)))
    shared, own = torch.ones(4, 4, dtype=torch.bool).tril(1), torch.ones(9, 4, 4, dtype=torch.bool).tril(1)
    bias = make(18, (4, 4))
    options = {"shared mask": {"mask": shared}, "mask": {"mask": own}, "bias": {"bias": bias}}.get(which, {})
    o = attention(q, k, v, path=path, **options)
    right = torch.autograd.grad(o.sum(), (q, k, v), retain_graph=True)
    changed = {"q": q, "k": k, "v": v, "shared mask": shared, "mask": own, "bias": bias}[which].detach()
    changed.fill_(False) if changed.dtype == torch.bool else changed.mul_(3)
    try:
        found = torch.autograd.grad(o.sum(), (q, k, v))
    except RuntimeError as error:
        assert "modified by an inplace operation" in str(error)
    else:
        assert all(torch.equal(a, b) for a, b in zip(found, right, strict=True))


def test_minus_infinity_of_a_bias_hides_whatever_the_product_is(make, needs_c):
    q, k, v = make(19, (9, 4, 3), (9, 5, 3), (9, 5, 3))
    bias = torch.zeros(4, 5, dtype=torch.float64)
    bias[:, 3] = -INF
    right = attention(q, k[:, [0, 1, 2, 4]], v[:, [0, 1, 2, 4]])
    k[:, 3] = INF
    for path in PATHS:
        assert (attention(q, k, v, bias=bias, path=path) - right).abs().max() < 1e-12


@pytest.mark.sampled(4)
@pytest.mark.parametrize("score", ["softmax", "sigmoid", "relu", "softpick", "entmax"])
@pytest.mark.parametrize("n", [1, 9])
def test_a_hidden_logit_that_is_no_number_has_no_derivative(score, n, make, needs_c):
    """Keys and queries are finite: the bias is NaN there, or the product is infinity minus infinity."""
    q, k, v = make(30, (n, 4, 3), (n, 4, 3), (n, 4, 3))
    q = q.abs()
    seen = torch.ones(4, 4, dtype=torch.bool)
    seen[:, 3] = False
    right = value_and_gradients((q, k, v), score=score, mask=seen, scale=0.7, path="reference")
    far = k.clone()
    far[:, 3] = torch.tensor([1e308, -1e308, 0.0], dtype=torch.float64)
    nan = torch.where(seen, 0.0, NAN).double()
    for path in ("auto", "c", "reference"):
        for keys, unit, bias in ((k, 1.0, nan), (far, 1e10, None)):
            if able(path, score):
                options = {"mask": seen, "scale": 0.7 / unit, "bias": bias, "score": score, "path": path}
                o, grads = value_and_gradients((q * unit, keys, v), **options)
                assert (o - right[0]).abs().max() < 1e-9, path
                assert (grads[0] * unit - right[1][0]).abs().max() < 1e-8, path
                assert (grads[2] - right[1][2]).abs().max() < 1e-9 and bool((grads[1][:, 3] == 0).all()), path


@pytest.mark.parametrize("names", [(), ("entropy", "log_sum_exp")])
@pytest.mark.parametrize("path", ["auto", "c", "reference"])
def test_without_a_key_everything_that_was_given_has_a_gradient_of_zero(path, names, make, needs_c):
    q, k, v = (x.requires_grad_() for x in make(31, (2, 3, 4), (2, 0, 4), (2, 0, 5)))
    number = torch.ones(2, dtype=torch.float64, requires_grad=True)
    for options in ({"bias": ALiBi(number)}, {"scale": number}, {"score": Softmax(sink=number)}):
        found = attention(q, k, v, path=path, statistics=names, **options)
        total = found[0].sum() + found[1]["entropy"].sum() if names else found.sum()
        grads = torch.autograd.grad(total, (q, k, v, number))
        assert [x.shape for x in grads] == [x.shape for x in (q, k, v, number)]
        assert all(bool((x == 0).all()) for x in grads)
