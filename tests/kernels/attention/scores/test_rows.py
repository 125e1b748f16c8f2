"""Hard maxima, entmax, clipped and standardised rows: closed forms and limits."""

from dataclasses import dataclass

import mpmath
import pytest
import torch

from attnlab.kernels.attention import attention, direct
from attnlab.kernels.attention.scores import (
    Clipped,
    Cosine,
    Entmax,
    Hardmax,
    ScoreMap,
    Softpick,
    Standardised,
    score_map,
)

EPS = torch.finfo(torch.float64).eps
ALL = torch.ones(4, dtype=torch.bool)


def row(*numbers):
    return torch.tensor([numbers], dtype=torch.float64)


def test_hard_maxima_break_ties_as_they_say():
    s = row(1.0, 3.0, 3.0, -2.0)
    assert Hardmax().weights(s, ALL)[0].tolist() == [[0, 1, 0, 0]]
    assert Hardmax(ties="average").weights(s, ALL)[0].tolist() == [[0, 0.5, 0.5, 0]]
    hidden = torch.tensor([True, False, True, True])
    assert Hardmax().weights(s, hidden)[0].tolist() == [[0, 0, 1, 0]]


def test_sparsemax_is_the_projection_on_the_simplex():
    """Closed form: tau = (sum of the k largest - 1)/k for the largest k that keeps all of them positive."""
    generator = torch.Generator().manual_seed(1)
    s = torch.randn(50, 7, generator=generator, dtype=torch.float64)
    w, _ = Entmax(alpha=2.0).weights(s, torch.ones(7, dtype=torch.bool))
    ordered = s.sort(-1, descending=True).values
    taus = (ordered.cumsum(-1) - 1) / torch.arange(1, 8)
    k = (ordered > taus).sum(-1, keepdim=True)
    expected = (s - taus.gather(-1, k - 1)).clamp(min=0)
    assert (w - expected).abs().max() < 50 * EPS * 4


@pytest.mark.parametrize("alpha", [1.01, 1.5, 2.0, 3.0])
def test_entmax_rows_sum_to_one_and_satisfy_their_equation(alpha):
    generator = torch.Generator().manual_seed(2)
    s = 2 * torch.randn(50, 7, generator=generator, dtype=torch.float64)
    w, tau = Entmax(alpha=alpha).weights(s, torch.ones(7, dtype=torch.bool))
    assert (w.sum(-1) - 1).abs().max() < 1e-12 / (alpha - 1)
    assert (w - ((alpha - 1) * s - tau[:, None]).clamp(min=0) ** (1 / (alpha - 1))).abs().max() < 1e-12 / (alpha - 1)
    if alpha == 1.01:  # the limit alpha -> 1, distance O(alpha - 1)
        assert (w - s.softmax(-1)).abs().max() < 0.02


def test_entmax_gradient_is_the_closed_form():
    """ds = u (dp - sum(u dp)/sum(u)), u = p^(2 - alpha) on the support."""
    generator = torch.Generator().manual_seed(3)
    s, dp = torch.randn(2, 20, 7, generator=generator, dtype=torch.float64)
    s.requires_grad_()
    p, _ = Entmax(alpha=1.5).weights(s, torch.ones(7, dtype=torch.bool))
    (ds,) = torch.autograd.grad((p * dp).sum(), s)
    u = torch.where(p > 0, p.detach() ** 0.5, 0.0)
    expected = u * (dp - (u * dp).sum(-1, keepdim=True) / u.sum(-1, keepdim=True))
    assert (ds - expected).abs().max() < 1e-12


def test_clipped_weights_vanish_exactly_below_the_threshold():
    s = row(2.0, 0.0, -1.0, -4.0)
    p = s.softmax(-1)
    w, _ = Clipped(gamma=-0.1, zeta=1.05).weights(s, ALL)
    assert torch.equal(w == 0, p <= 0.1 / 1.15)
    assert (w - (1.15 * p - 0.1).clamp(0, 1)).abs().max() < 10 * EPS


def test_standardised_rows_have_zero_mean_and_are_linear_attention(make):
    """o = q^T (sum (k - kbar) v^T) / (sqrt(q^T C q) + eps), C the covariance of the keys."""
    q, k, v = make(4, (3, 4), (9, 4), (9, 2))
    o = attention(q, k, v, score=Standardised())
    centred = k - k.mean(0)
    spread = ((q @ (centred.T @ centred / 9)) * q).sum(-1).sqrt() + 1e-3
    assert (o - q @ (centred.T @ v) / spread[:, None]).abs().max() < 1000 * EPS


def test_fully_masked_rows_are_zero_for_every_map(make):
    q, k, v = make(5, (2, 3), (4, 3), (4, 2))
    hidden = torch.zeros(2, 4, dtype=torch.bool)
    for name in ("hardmax", "average_hard", "entmax", "sparsemax", "clipped", "standardised", "cosine"):
        x = q.clone().requires_grad_()
        o = attention(x, k, v, score=name, mask=hidden)
        assert bool((o == 0).all()), name
        assert not o.requires_grad or bool(torch.isfinite(torch.autograd.grad(o.sum(), x, allow_unused=True)[0]).all())


@pytest.mark.parametrize(
    "build",
    [lambda: Hardmax(ties="last"), lambda: Entmax(alpha=1.0), lambda: Clipped(gamma=0.1), lambda: score_map("soft")],
)
def test_bad_parameters_are_errors(build):
    with pytest.raises(ValueError):
        build()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("alpha", [1.5, 1.1, 1.001, 1.00001, 1.0000001])
def test_entmax_keeps_its_digits_as_alpha_tends_to_one(alpha, dtype):
    """Against bisection in 40 digits; a twin that computes 1 + y first is off by eps / (alpha - 1)."""
    s = torch.tensor([[0.3, -1.0, 2.0, 1.2, 0.0]], dtype=dtype)
    with mpmath.workdps(40):
        a = mpmath.mpf(alpha) - 1
        x = [a * mpmath.mpf(y) for y in s[0].tolist()]
        low, high = max(x) - 1, max(x)
        for _ in range(150):
            tau = (low + high) / 2
            heavy = sum(max(y - tau, 0) ** (1 / a) for y in x) >= 1
            low, high = (tau, high) if heavy else (low, tau)
        right = torch.tensor([float(max(y - low, 0) ** (1 / a)) for y in x], dtype=torch.float64)
    w, _ = Entmax(alpha).weights(s, torch.ones_like(s, dtype=torch.bool))
    eps = torch.finfo(dtype).eps
    assert (w[0].double() - right).abs().max() < 50 * eps
    leaf = s.clone().requires_grad_()
    w, _ = Entmax(alpha).weights(leaf, torch.ones_like(s, dtype=torch.bool))
    (slope,) = torch.autograd.grad(w[0, 2], leaf)  # W_i' (delta_ij - W_j' / sum W'), W' = W^(2 - alpha)
    p = torch.where(right > 0, right ** (2 - alpha), 0.0)
    assert (slope[0].double() - p[2] * (torch.eye(5)[2] - p / p.sum())).abs().max() < 200 * eps


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("size", [1e-30, 1e-3, 1.0, 1e9, 1e18, 1e20, 1e37])
def test_standardised_rows_of_any_size(size, dtype):
    s = torch.tensor([[0.3, -1.0, 2.0, 1.2, 0.0]], dtype=dtype) * size
    w, log_z = Standardised().weights(s, torch.ones_like(s, dtype=torch.bool))
    x = s[0].double()
    spread = (x - x.mean()).square().mean().sqrt() + 1e-3
    eps = torch.finfo(dtype).eps
    assert (w[0] - (x - x.mean()) / spread).abs().max() < 50 * eps
    assert (log_z - spread.log()).abs().max() < 50 * eps * (1 + spread.log().abs())


@pytest.mark.parametrize(
    ("name", "build"),
    [
        ("eps", lambda: Softpick(eps=-1.0)),
        ("eps", lambda: Softpick(eps="a")),
        ("eps", lambda: Standardised(eps=0.0)),
        ("eps", lambda: Cosine(eps=-1.0)),
        ("inner", lambda: Cosine(inner="sigmoid")),
        ("alpha", lambda: Entmax(alpha="a")),
        ("alpha", lambda: Entmax(alpha=torch.nan)),
        ("gamma", lambda: Clipped(gamma="a")),
    ],
)
def test_parameters_of_maps_are_named_where_they_are_given(name, build):
    with pytest.raises(ValueError, match=name):
        build()


def test_a_map_of_the_users_own_with_a_number_per_replica_is_not_cut(make, monkeypatch):
    """Long contexts are computed in pieces of the first axis, where a map holds nothing that belongs to that axis."""

    @dataclass(frozen=True, eq=False)
    class Gain(ScoreMap):
        gain: torch.Tensor

        def weights(self, s, visible):
            return torch.where(visible, torch.sigmoid(s * self.gain), 0.0), s.sum(-1)

    q, k, v, gain = make(6, (4, 8, 3), (4, 8, 3), (4, 8, 3), (4, 1, 1))
    whole = attention(q, k, v, score=Gain(gain))
    monkeypatch.setattr(direct, "CHUNK_BYTES", 600)
    assert torch.equal(attention(q, k, v, score=Gain(gain)), whole)
