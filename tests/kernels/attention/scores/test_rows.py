"""Hard maxima, entmax, clipped and standardised rows: closed forms and limits."""

import pytest
import torch

from attnlab.kernels.attention import attention
from attnlab.kernels.attention.scores import Clipped, Entmax, Hardmax, Standardised, score_map

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
