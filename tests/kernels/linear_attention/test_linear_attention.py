"""The three forms of causal linear attention with decay are one map."""

import math

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from attnlab.kernels.attention import attention
from attnlab.kernels.attention.biases import ForgetGate
from attnlab.kernels.attention.scores.f_over_g import Linear
from attnlab.kernels.linear_attention import FORMS, linear_attention

EPS = torch.finfo(torch.float64).eps


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_the_double_sum(form, make):
    q, k, v, x, state = make(1, (2, 11, 3), (2, 11, 3), (2, 11, 4), (2, 11), (2, 3, 4))
    log_f = torch.nn.functional.logsigmoid(x)
    expected = torch.zeros(2, 11, 4, dtype=torch.float64)
    for b in range(2):
        for i in range(11):
            expected[b, i] = log_f[b, : i + 1].sum().exp() * (q[b, i] @ state[b])
            for j in range(i + 1):
                expected[b, i] += log_f[b, j + 1 : i + 1].sum().exp() * (q[b, i] @ k[b, j]) * v[b, j]
    o, _ = linear_attention(q, k, v, log_decay=log_f, state=state, form=form, chunk=4)
    assert (o - expected).abs().max() < 11 * 20 * EPS * expected.abs().max()
    twin, _ = linear_attention(q, k, v, log_decay=log_f.roll(1, -1), state=state, form=form, chunk=4)
    assert (twin - expected).abs().max() > 1e-3  # decaying before instead of after is told apart


@pytest.mark.parametrize("chunk", [1, 3, 8, 24, 100])
def test_chunk_size_does_not_change_the_result(chunk, make):
    q, k, v = make(2, (3, 24, 3), (3, 24, 3), (3, 24, 2))
    whole, last = linear_attention(q, k, v, log_decay=math.log(0.9), form="parallel")
    o, state = linear_attention(q, k, v, log_decay=math.log(0.9), chunk=chunk)
    assert (o - whole).abs().max() < 24 * 20 * EPS * whole.abs().max()
    assert (state - last).abs().max() < 24 * 20 * EPS * last.abs().max()


@pytest.mark.parametrize("form", FORMS)
def test_a_sequence_can_be_continued_from_its_state(form, make):
    q, k, v, x = make(3, (2, 10, 3), (2, 10, 3), (2, 10, 2), (2, 10))
    log_f = torch.nn.functional.logsigmoid(x)
    whole, last = linear_attention(q, k, v, log_decay=log_f, form=form, chunk=4)
    first, state = linear_attention(q[:, :6], k[:, :6], v[:, :6], log_decay=log_f[:, :6], form=form, chunk=4)
    second, end = linear_attention(
        q[:, 6:], k[:, 6:], v[:, 6:], log_decay=log_f[:, 6:], state=state, form=form, chunk=4
    )
    assert (torch.cat([first, second], 1) - whole).abs().max() < 200 * EPS * whole.abs().max()
    assert (end - last).abs().max() < 200 * EPS * last.abs().max()


def test_without_decay_it_is_linear_attention_with_a_causal_mask(make):
    q, k, v = make(4, (2, 9, 3), (2, 9, 3), (2, 9, 2))
    o, state = linear_attention(q, k, v, chunk=4)
    expected = attention(q, k, v, score=Linear(divide="one"), scale=1.0, mask="causal", path="reference")
    assert (o - expected).abs().max() < 200 * EPS * expected.abs().max()
    assert (state - k.mT @ v).abs().max() < 200 * EPS * state.abs().max()


def test_a_column_of_ones_normalises_to_attention_with_a_forget_gate(make):
    """With the feature map exp of a one-dimensional product this is softmax attention with the gate as a bias."""
    a, v, x = make(5, (2, 9, 1), (2, 9, 2), (2, 9))
    log_f = torch.nn.functional.logsigmoid(x)
    ones = torch.ones_like(a)
    extended = torch.cat([v, torch.ones(2, 9, 1).double()], -1)
    weighted, _ = linear_attention(ones, a.exp(), extended, log_decay=log_f, chunk=4)
    o = weighted[..., :2] / weighted[..., 2:]
    expected = attention(ones, a, v, scale=1.0, mask="causal", bias=ForgetGate(log_f), path="reference")
    assert (o - expected).abs().max() < 500 * EPS * v.abs().max()


@pytest.mark.parametrize("form", FORMS)
def test_forms_are_twice_differentiable_in_everything(form, make):
    q, k, v, state = (x.requires_grad_() for x in make(6, (5, 2), (5, 2), (5, 2), (2, 2)))
    log_f = torch.nn.functional.logsigmoid(make(7, (5,))).detach().requires_grad_()

    def f(q, k, v, log_f, state):
        return linear_attention(q, k, v, log_decay=log_f, state=state, form=form, chunk=2)

    assert gradcheck(f, (q, k, v, log_f, state), check_forward_ad=True, fast_mode=True)
    assert gradgradcheck(f, (q, k, v, log_f, state), fast_mode=True)


@pytest.mark.parametrize("form", FORMS)
def test_strong_decay_over_many_tokens_neither_overflows_nor_loses_the_last_token(form, make):
    q, k, v = make(8, (2, 300, 3), (2, 300, 3), (2, 300, 2))
    q = q.requires_grad_()
    o, _ = linear_attention(q, k, v, log_decay=-60.0, form=form)  # sums of ln f reach -18000
    own = (q * k).sum(-1, keepdim=True) * v
    assert (o - own).abs().max() < 200 * EPS * own.abs().max()
    assert bool(torch.isfinite(torch.autograd.grad(o.sum(), q)[0]).all())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(log_decay=0.1), "at most 0"),
        (dict(form="scan"), "use one of chunked"),
        (dict(chunk=0), "positive integer"),
        (dict(log_decay=torch.zeros(3, 7)), "must broadcast"),
        (dict(state=torch.zeros(2, 2)), "state has shape"),
    ],
)
def test_bad_arguments_are_named(change, message, make):
    q, k, v = make(9, (2, 4, 3), (2, 4, 3), (2, 4, 2))
    with pytest.raises(ValueError) as error:
        linear_attention(q, k, v, **change)
    assert message in str(error.value)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("where", ["k", "v", "q", "state"])
@pytest.mark.parametrize("form", FORMS)
def test_what_a_closed_gate_forgets_leaves_the_future_alone(form, where, bad, make):
    q, k, v, state = (x.requires_grad_() for x in make(20, (2, 7, 3), (2, 7, 3), (2, 7, 2), (2, 3, 2)))
    gates = torch.tensor([-0.1, -0.4, -0.2, -torch.inf, -0.3, -0.2, -0.1], dtype=torch.float64)
    {"q": q, "k": k, "v": v, "state": state}[where].data[:, 1, 0] = bad
    alone, last = linear_attention(q[:, 3:], k[:, 3:], v[:, 3:], log_decay=gates[3:].clamp(min=-1))
    for chunk in (1, 2, 3, 64):
        o, end = linear_attention(q, k, v, log_decay=gates, state=state, form=form, chunk=chunk)
        assert not o[:, :3].isfinite().all()
        assert (o[:, 3:] - alone).abs().max() < 1e-12 and (end - last).abs().max() < 1e-12
        slopes = torch.autograd.grad(o[:, 3:].sin().sum() + end.sum(), (q, k, v))
        right = torch.autograd.grad(alone.sin().sum() + last.sum(), (q, k, v), retain_graph=True)
        assert all((a - b)[:, 3:].abs().max() < 1e-12 for a, b in zip(slopes, right, strict=True))


@pytest.mark.parametrize("form", FORMS)
def test_no_token_and_no_sequence_have_gradients(form, make):
    for n, tokens in ((2, 0), (0, 3)):
        q, k, v, state = (
            x.requires_grad_() for x in make(21, (n, tokens, 3), (n, tokens, 3), (n, tokens, 2), (n, 3, 2))
        )
        gates = torch.zeros(tokens, dtype=torch.float64, requires_grad=True)
        o, last = linear_attention(q, k, v, log_decay=gates, state=state, form=form)
        assert o.shape == v.shape and last.shape == state.shape
        grads = torch.autograd.grad(o.sum() + last.sum(), (q, k, v, state, gates))
        assert grads[4].shape == gates.shape and bool((grads[4] == 0).all())
        assert bool((grads[3] == 1).all()) and [x.shape for x in grads[:3]] == [q.shape, k.shape, v.shape]


def test_arguments_that_do_not_fit_are_named(make):
    q, k, v = make(22, (2, 7, 3), (2, 7, 3), (2, 7, 2))
    whole = torch.ones(2, 7, 3, dtype=torch.int64)
    for message, call in (
        ("log_decay has entries above 0", lambda: linear_attention(q, k, v, log_decay=torch.full((7,), 0.5))),
        ("log_decay has dtype", lambda: linear_attention(q, k, v, log_decay=torch.full((7,), -1))),
        ("log_decay='a'", lambda: linear_attention(q, k, v, log_decay="a")),
        (r"log_decay=\[-0.1\]", lambda: linear_attention(q, k, v, log_decay=[-0.1])),
        ("one floating-point dtype", lambda: linear_attention(whole, whole, whole, log_decay=-0.5)),
        ("one floating-point dtype", lambda: linear_attention(q, k.float(), v)),
        ("one floating-point dtype", lambda: linear_attention(q.bfloat16(), k, v)),
        ("state has dtype", lambda: linear_attention(q, k, v, state=torch.zeros(2, 3, 2))),
        ("give a dense one", lambda: linear_attention(q.to_sparse(), k, v)),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    for bad in ((None, k, v), (q, [1.0], v)):
        with pytest.raises(TypeError, match="must be a tensor"):
            linear_attention(*bad)
    with pytest.raises(TypeError, match="state must be a tensor"):
        linear_attention(q, k, v, state=1.0)


def test_autocast_takes_the_widest_type(make):
    q, k, v = make(23, (2, 7, 3), (2, 7, 3), (2, 7, 2), dtype=torch.float32)
    right = linear_attention(q, k.bfloat16().float(), v)[0]
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(linear_attention(q, k.bfloat16(), v)[0], right)


@pytest.mark.parametrize("form", FORMS)
def test_a_backward_pass_under_autocast_is_not_rounded(form, make):
    tensors = [x.requires_grad_() for x in make(24, (2, 7, 3), (2, 7, 3), (2, 7, 2), (2, 3, 2), dtype=torch.float32)]
    gate = torch.full((7,), -0.3, requires_grad=True)
    leaves = [*tensors, gate]

    def first_and_second():
        *qkv, state = tensors
        o, last = linear_attention(*qkv, log_decay=gate, state=state, form=form, chunk=3)
        first = torch.autograd.grad(o.sin().sum() + last.sin().sum(), leaves, create_graph=True)
        return (*first, *torch.autograd.grad(sum(x.square().sum() for x in first), leaves))

    right = first_and_second()
    with torch.autocast("cpu", torch.bfloat16):
        found = first_and_second()
    for a, b in zip(found, right, strict=True):
        assert (a - b).abs().max() < 1e-4 * (1 + b.abs().max())
