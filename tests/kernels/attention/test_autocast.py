"""Autocast changes no number: values and derivatives are those in full precision, inside it and outside."""

from dataclasses import dataclass

import pytest
import torch

from attnlab.kernels.attention import attention
from attnlab.kernels.attention.scores import SCORE_MAPS, Cosine, ScoreMap, Softmax


@pytest.mark.parametrize("score", ["softmax", "sigmoid", "entmax"])
def test_autocast_changes_no_number(score, make, needs_c):
    for n in (1, 9):
        q, k, v = (x.requires_grad_() for x in make(16, (n, 4, 3), (n, 4, 3), (n, 4, 3), dtype=torch.float32))
        right = attention(q, k, v, score=score)
        first = torch.autograd.grad(right.sin().sum(), (q, k, v))
        with torch.autocast("cpu", torch.bfloat16):
            o = attention(q, k, v, score=score)
            mixed = attention(q, k.bfloat16(), v, score=score)
        assert o.dtype == torch.float32 and torch.equal(o, right)
        grads = torch.autograd.grad(o.sin().sum(), (q, k, v))
        assert all(torch.equal(a, b) for a, b in zip(grads, first, strict=True))
        assert torch.equal(mixed, attention(q, k.bfloat16().float(), v, score=score))
    with pytest.raises(ValueError, match="one floating-point dtype"):
        attention(q, k.bfloat16(), v)


@pytest.mark.parametrize("score", sorted(SCORE_MAPS))
def test_plain_formulas_have_the_same_first_derivatives_under_autocast(score, make):
    """The same operations in the same order: bit for bit. The twin, torch's own products under autocast, is off by 1e-3."""
    q, k, v, bias = (x.requires_grad_() for x in make(33, *[(3, 6, 4)] * 3, (6, 6), dtype=torch.float32))
    for options in ({}, {"mask": "causal"}, {"bias": bias, "statistics": ("entropy", "column_sum", "logit_variance")}):
        leaves = [q, k, v] + [bias] * ("bias" in options)

        def slopes(options=options, leaves=leaves):
            found = attention(q, k, v, score=score, path="reference", **options)
            found = (found[0], *found[1].values()) if "statistics" in options else (found,)
            return torch.autograd.grad(sum(x.sin().sum() for x in found), leaves)

        right = slopes()
        with torch.autocast("cpu", torch.bfloat16):
            assert all(torch.equal(a, b) for a, b in zip(slopes(), right, strict=True))
    with torch.autocast("cpu", torch.bfloat16):
        rounded = torch.autograd.grad((q @ k.mT).softmax(-1) @ v, q, torch.ones_like(q))[0]
    assert not torch.equal(rounded, torch.autograd.grad((q @ k.mT).softmax(-1) @ v, q, torch.ones_like(q))[0])


def test_backward_under_autocast_may_be_mapped(make):
    q, k, v, *cotangents = make(34, *[(3, 6, 4)] * 7, dtype=torch.float32)
    q.requires_grad_()
    cotangents = torch.stack(cotangents)
    with torch.autocast("cpu", torch.bfloat16):
        o = attention(q, k, v, path="reference")
        each = [torch.autograd.grad(o, q, g, retain_graph=True)[0] for g in cotangents]
        one = lambda g: torch.autograd.grad(o, q, g, retain_graph=True)[0]  # noqa: E731
        mapped = torch.func.vmap(one)(cotangents)
        (batched,) = torch.autograd.grad(o, q, cotangents, is_grads_batched=True)
    for found in (mapped, batched):
        assert (found - torch.stack(each)).abs().max() < 32 * torch.finfo(torch.float32).eps


GAIN = torch.ones((), requires_grad=True)


@dataclass(frozen=True)
class Own(ScoreMap):
    """A map of the user's own that holds numbers and names only, and may read a parameter that it does not hold, or draw."""

    power: float = 2.0
    kind: str = "plain"
    bounds: tuple[float, ...] = (-1.0, 1.0)
    inner: ScoreMap = SCORE_MAPS["softmax"]

    def weights(self, s, visible):
        w, log_z = self.inner.weights(s.clamp(*self.bounds) * self.power, visible)
        if self.kind == "draws":
            return w * torch.bernoulli(torch.full_like(w, 0.5)), log_z
        return w * GAIN if self.kind == "reads" else w, log_z


def test_derivatives_of_a_users_map_are_not_rounded_under_autocast(make):
    q, k, v, bias = (x.requires_grad_() for x in make(35, *[(3, 6, 4)] * 3, (6, 6), dtype=torch.float32))

    def slopes(score, **options):
        o = attention(q, k, v, score=score, **options)
        return torch.autograd.grad(o.sin().sum(), (q, k, v) + ((bias,) if options else ()))

    for score in (Own(), Cosine(Own(power=3.0))):
        for options in ({}, {"bias": bias, "mask": "causal"}):
            right = slopes(score, **options)
            with torch.autocast("cpu", torch.bfloat16):
                assert all(torch.equal(a, b) for a, b in zip(slopes(score, **options), right, strict=True))


def test_a_users_map_that_reads_a_parameter_or_draws_keeps_its_derivatives_under_autocast(make):
    """Such a map is computed once, with torch's own derivatives: the parameter's is there, and the drawn zeros are the output's."""
    q, k, v = (x.requires_grad_() for x in make(36, *[(3, 6, 4)] * 3, dtype=torch.float32))
    (right,) = torch.autograd.grad(attention(q, k, v, score=Own(kind="reads")).square().sum(), GAIN)
    with torch.autocast("cpu", torch.bfloat16):
        (found,) = torch.autograd.grad(attention(q, k, v, score=Own(kind="reads")).square().sum(), GAIN)
        torch.manual_seed(0)
        o = attention(q, k, v, score=Own(kind="draws"))
        (slope,) = torch.autograd.grad(o.sum(), v)
    torch.manual_seed(0)
    assert torch.equal(o, attention(q, k, v, score=Own(kind="draws")))
    assert (found - right).abs() < 0.1 * right.abs()  # rounded to 8 bits; the twin is a gradient of 0
    assert ((slope * v).sum() - o.sum()).abs() < 1e-2 * o.abs().sum()


@pytest.mark.parametrize("score", ["softmax", "sigmoid", "softpick", "entmax", "softmax_plus_one"])
@pytest.mark.parametrize("n", [1, 9])
def test_a_backward_pass_under_autocast_is_not_rounded(score, n, make, needs_c):
    """Torch rounds the products of plain operations there; on every path the derivatives are those without autocast."""
    q, k, v, bias = make(32, *[(n, 6, 4)] * 3, (6, 6), dtype=torch.float32)
    number = torch.zeros(n, requires_grad=True)
    chosen = Softmax(sink=number) if score == "softmax_plus_one" else score
    leaves = [x.requires_grad_() for x in (q, k, v, bias)] + [number] * (chosen != score)

    def first_and_second(path):
        found = attention(q, k, v, bias=bias, score=chosen, path=path, statistics=("entropy",))
        loss = found[0].sin().sum() + found[1]["entropy"].sin().sum()
        first = torch.autograd.grad(loss, leaves, create_graph=True)
        return (*first, *torch.autograd.grad(sum(x.square().sum() for x in first), leaves))

    for path in ("auto", "reference"):
        right = first_and_second(path)
        with torch.autocast("cpu", torch.bfloat16):
            found = first_and_second(path)
        for a, b in zip(found, right, strict=True):
            assert (a - b).abs().max() < 1e-4 * (1 + b.abs().max())  # 300 roundings of float32; bfloat16 is off by 1e-2
