"""Infinities that a query sees count as IEEE arithmetic has it, on every path, whatever hides other keys; what hides is left alone."""

import itertools
import math

import pytest
import torch

from attnlab.kernels.attention import attention
from attnlab.kernels.attention.scores.f_over_g import Softmax

INF, NAN = torch.inf, torch.nan
PATHS = ("auto", "c", "sdpa", "reference")
WEIGHTS = {
    "softmax": lambda s: torch.softmax(s, 0),
    "sigmoid": torch.sigmoid,
    "relu": lambda s: s.relu() / len(s),
    "linear": lambda s: s / len(s),
    "signed": lambda s: s.sign() * torch.softmax(s.abs(), 0),
}


def right(q, k, v, seen, score):
    """Row by row, sums over the keys that are seen and whose logit is not minus infinity."""
    out = torch.zeros(*q.shape[:-1], v.shape[-1], dtype=q.dtype)
    for b, i in itertools.product(range(q.shape[0]), range(q.shape[1])):
        keys = seen[b, i].nonzero()[:, 0]
        s = (k[b, keys] * q[b, i]).sum(-1) / math.sqrt(q.shape[-1])
        keys, s = keys[s != -INF], s[s != -INF]
        out[b, i] = (WEIGHTS[score](s)[:, None] * v[b, keys]).sum(0)
    return out


def agree(a, b):
    special = ~b.isfinite()
    same = torch.equal(a[special].nan_to_num(7.0), b[special].nan_to_num(7.0))
    return same and bool(((a - b)[~special].abs() < 1e-12).all())


@pytest.mark.parametrize("score", WEIGHTS)
@pytest.mark.parametrize("n", [1, 9])
@pytest.mark.parametrize("where", ["value", "two values", "key"])
def test_what_is_infinite_and_seen_counts_with_its_sign(where, n, score, make, needs_c):
    q, k, v = make(1, (n, 4, 3), (n, 5, 3), (n, 5, 2))
    if where == "key":
        q[:, :, 0] = torch.tensor([1.0, -1.0, -2.0, 0.5]).double()
        k[:, 3, 0] = INF
    else:
        v[:, 2, 0], v[:, 1, 1] = INF, -INF
        if where == "two values":
            v[:, 3, 0] = -INF
    whole, lower = torch.ones(n, 4, 5, dtype=torch.bool), torch.ones(n, 4, 5, dtype=torch.bool).tril(1)
    for seen, options in (
        (whole, {}),
        (whole, {"mask": whole[0]}),
        (whole, {"mask": whole}),
        (whole, {"bias": torch.zeros(4, 5).double()}),
        (lower, {"mask": "causal"}),
        (lower, {"bias": torch.zeros(n, 4, 5).double().masked_fill(~lower, -INF)}),
    ):
        if where == "key" and score in ("relu", "linear", "signed"):
            continue  # infinity over infinity, or times a value of either sign
        expected = right(q, k, v, seen, score)
        assert where != "value" or not expected[:, :, 0].isnan().any() or score == "relu"
        for path in PATHS:
            if path == "sdpa" and score != "softmax":
                continue
            assert agree(attention(q, k, v, score=score, path=path, **options), expected), (path, list(options))


def test_the_gradient_of_an_output_at_infinity_is_not_finite_and_no_other_is_touched(make, needs_c):
    q, k, v = (x.requires_grad_() for x in make(2, (9, 4, 3), (9, 4, 3), (9, 4, 2)))
    v.data[:, 3, 0] = INF
    for path in PATHS:
        o = attention(q, k, v, mask="causal", path=path)
        (slope,) = torch.autograd.grad(o[..., 1].sum() + o[:, :3].sum(), q, retain_graph=True)
        assert slope[:, :3].isfinite().all(), path
        (slope,) = torch.autograd.grad(o[:, 3, 0].sum(), q)
        assert not slope[:, 3].isfinite().any() and bool((slope[:, :3] == 0).all()), path


@pytest.mark.parametrize("n", [1, 9])
def test_a_sink_of_any_size_or_its_refusal(n, make, needs_c):
    q, k, v = make(3, (n, 4, 3), (n, 5, 3), (n, 5, 2))
    for size, right_of in ((-INF, attention(q, k, v)), (1e4, torch.zeros(n, 4, 2)), (-1e4, attention(q, k, v))):
        for sink in (size, torch.full((n,), size, dtype=torch.float64)):
            for path, names in itertools.product(("auto", "c", "reference"), ((), ("entropy",))):
                if path == "c" and names and isinstance(sink, torch.Tensor):
                    continue
                o = attention(q, k, v, score=Softmax(sink=sink), path=path, statistics=names)
                assert ((o[0] if names else o) - right_of).abs().max() < 1e-12
    for bad in (INF, NAN, "b", torch.full((n,), INF), torch.zeros(n, dtype=torch.int64)):
        with pytest.raises(ValueError, match="sink"):
            attention(q, k, v, score=Softmax(sink=bad))
