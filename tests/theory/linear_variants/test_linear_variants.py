"""Laws of linear attention's variants, each against its operator or a sample, with the nearest rival that must fail."""

import math

import numpy as np
import pytest
import torch

from attnlab.kernels.operators.linear_variants.additive_global_query import AdditiveGlobalQuery
from attnlab.kernels.operators.linear_variants.cosine_linear import CosineLinear
from attnlab.kernels.operators.linear_variants.efficient import Efficient
from attnlab.kernels.operators.linear_variants.latent_mixture import LatentMixture
from attnlab.kernels.operators.linear_variants.log_normal import LogNormal
from attnlab.kernels.operators.linear_variants.mediator_tokens import MediatorTokens
from attnlab.kernels.operators.linear_variants.orthogonal_memory import OrthogonalMemory
from attnlab.kernels.operators.linear_variants.refined_gate import RefinedGate
from attnlab.kernels.operators.linear_variants.relu_linear import ReluLinear
from attnlab.kernels.operators.linear_variants.short_long_convolution import ShortLongConvolution
from attnlab.kernels.operators.linear_variants.taylor_shift import TaylorShift
from attnlab.kernels.operators.operator import QKV, Grid, Sizes, Tokens
from attnlab.theory.linear_variants import (
    additive_global_query,
    cosine_linear,
    efficient,
    latent_mixture,
    log_normal,
    mediator_tokens,
    orthogonal_memory,
    refined_gate,
    relu_linear,
    short_long_convolution,
    taylor_shift,
)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0, std=1.0):
    return std * torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def start(operator, sizes, seed=0):
    return operator.initialise(sizes, [generator(seed)], torch.float64)


def participation(P):
    """n sum_j P_ij^2 of every row."""
    return P.shape[-1] * P.square().sum(-1)


def test_efficient_attention_is_nearly_uniform():
    """20 000 keys: a sampled mean of e^{2k} errs by e^{2} sqrt(e^4)/sqrt(n d). Twin: softmax's e - 1."""
    q, k = normal(1, 1, 1, 40, 24, seed=1), normal(1, 1, 1, 20_000, 24, seed=2)
    found = participation(Efficient().matrix(QKV(q, k, k), {})).flatten() - 1
    predicted = np.array([efficient.relative_variance(rho.numpy()) for rho in q[0, 0, 0].softmax(-1)])
    assert np.abs(found.numpy() / predicted - 1).max() < 4 * math.exp(4) / math.sqrt(20_000 * 24) + 0.05
    assert found.max() < 0.5 < math.e - 1
    assert efficient.relative_variance([0.0, 1.0]) == pytest.approx(math.e - 1)


def test_the_newest_of_exchangeable_tokens_weighs_one_over_t_for_every_size_of_scores():
    """4000 sequences: four standard errors. Twin: softmax with scores of its own favours nobody either, a recency bias would."""
    for L, std in ((2, 0.5), (6, 3.0)):
        x = QKV(normal(4000, 1, 1, 8, L, seed=1), normal(4000, 1, 1, 8, L, seed=2, std=std), normal(4000, 1, 1, 8, 1))
        W = LatentMixture().matrix(x, {}, causal=True)
        newest = W.diagonal(dim1=-2, dim2=-1).flatten(0, 2)
        for t in (2, 8):
            w = newest[:, t - 1]
            assert abs(w.mean().item() - latent_mixture.newest_weight(t)) < 4 * w.std().item() / math.sqrt(4000)
            assert abs(w.mean().item() - 1 / (t - 1)) > 4 * w.std().item() / math.sqrt(4000)


def test_causal_latents_have_full_rank_and_low_rank_blocks():
    x = QKV(normal(1, 1, 1, 30, 3, seed=1), normal(1, 1, 1, 30, 3, seed=2), normal(1, 1, 1, 30, 1))
    W = LatentMixture().matrix(x, {}, causal=True)[0, 0, 0]
    assert torch.linalg.matrix_rank(W, rtol=1e-12) == 30
    block = W[15:, :15]
    assert torch.linalg.matrix_rank(block, rtol=1e-10) == latent_mixture.block_rank(15, 15, 3) == 3
    w = (x.q.softmax(-1) @ x.k.exp().mT)[0, 0, 0].tril()
    assert (W - w / w.sum(-1, keepdim=True)).abs().max() > 0.01  # twin: normalised per row


@pytest.mark.parametrize("n", [64, 1024])
def test_cosine_outputs_grow_as_stated(n):
    """Rows share keys: 8 independent problems of 32 queries, so the error of a mean square is about 4 sqrt(2 / (8 d_v))."""
    d, operator = 64, CosineLinear()
    x = QKV(normal(8, 1, 1, 32, d, seed=1), normal(8, 1, 1, n, d, seed=2), normal(8, 1, 1, n, 32, seed=3))
    parameters = {"power": torch.full((8, 1), 0.5).double()}
    found = operator.apply(x, parameters).square().mean().sqrt().item()
    predicted = cosine_linear.output_size(n, d, 0.5)
    error = 4 * math.sqrt(2 / (8 * 32)) / 2
    assert abs(found / predicted - 1) < error < abs(found / cosine_linear.output_size(n, d) - 1)
    whole = QKV(normal(8, 1, 1, n, d, seed=4), x.k, x.v)
    last = operator.apply(whole, parameters, causal=True)[..., -1, :].square().mean().sqrt().item()
    causal = cosine_linear.causal_output_size(n, d, 0.5)
    assert abs(last / causal - 1) < 4 * math.sqrt(2 / (8 * 32)) < abs(last / predicted - 1)  # twin: the row's own count


def test_a_parabola_is_never_sharper_than_its_bound_and_retrieves_at_the_stated_temperature():
    s = np.linspace(1e-3, 30, 20_001)
    ratio = (1 + s + s**2 / 2) / (1 - s + s**2 / 2)
    assert ratio.max() <= taylor_shift.largest_ratio_bound() * (1 + 1e-12) and ratio.max() > 5.8284
    assert s[ratio.argmax()] == pytest.approx(math.sqrt(2), abs=2e-3)
    for n in (64, 1024):
        k = torch.zeros(1, 1, 1, n, 2, dtype=torch.float64)
        k[..., 1] = 1.0
        k[..., 5, :] = torch.tensor([1.0, 0.0])
        q = torch.tensor([1.0, 0.0]).double().expand(1, 1, 1, 1, 2)
        tau = taylor_shift.half_mass_temperature(n)
        M = TaylorShift().matrix(QKV(q, k, k), {"temperature": torch.full((1, 1), tau, dtype=torch.float64)})
        assert M[..., 5].item() == pytest.approx(0.5, abs=1e-12)
        cold = TaylorShift().matrix(
            QKV(q, k, k), {"temperature": torch.full((1, 1), math.log(n - 1), dtype=torch.float64)}
        )
        assert cold[..., 5].item() < 0.35  # twin: softmax's temperature


@pytest.mark.parametrize("dim", [2, 4])
def test_unit_keys_cost_one_feature(dim):
    n, operator = 60, TaylorShift()
    q, k = normal(1, 1, 1, n, dim, seed=1), normal(1, 1, 1, n, dim, seed=2)
    M = operator.matrix(QKV(q, k, k), {"temperature": torch.ones(1, 1).double()})
    assert torch.linalg.matrix_rank(M, rtol=1e-10).item() == taylor_shift.rank(dim, n)
    s = q @ k.mT
    free = 1 + s + s.square() / 2
    assert torch.linalg.matrix_rank(free, rtol=1e-10).item() == taylor_shift.rank(dim, n, unit_keys=False)
    sizes = Sizes(n=n, d=dim, d_v=3)
    assert taylor_shift.multiply_adds(sizes) < taylor_shift.published_multiply_adds(sizes)


def test_log_normal_rows_spread_as_stated_and_match_softmax_at_the_matching_scale():
    """n = 20 000 keys: e^{2bk} has relative variance e^{4s}, over n keys and about d e^{-s} channels. Twin: one channel."""
    d, n = 64, 20_000
    q, k = normal(100, d, seed=1), normal(n, d, seed=2)
    s = log_normal.matching_scale(0.5, d)
    root = math.sqrt(s)
    P = (root * q).exp() @ (root * k).exp().T
    P = P / P.sum(-1, keepdim=True)
    found = participation(P).mean().item() - 1
    predicted = np.array([log_normal.relative_variance(x.numpy(), root, root) for x in q])
    assert abs(found / predicted.mean() - 1) < 4 * math.sqrt(math.exp(5 * s) / (n * d)) < 0.2
    assert found < 0.2 * math.expm1(s)
    assert log_normal.relative_variance_approx(s, d) == pytest.approx(math.expm1(0.25), rel=1e-12)
    fenton = log_normal.log_variance_of_one_log_normal(found)
    assert P.log().var(-1).mean() < 0.95 * fenton  # the sum of d log-normals is not log-normal
    x = QKV(q[None, None, None, :7], k[None, None, None, :9], k[None, None, None, :9])
    few = P[:7, :9] / P[:7, :9].sum(-1, keepdim=True)
    assert torch.allclose(LogNormal(root, root).matrix(x, {})[0, 0, 0], few, rtol=1e-10)


@pytest.mark.parametrize("dim", [32, 128])
def test_rectified_rows_flatten_as_heads_widen(dim):
    """Corrections of relative size 5/d from sum (q+)^2 over (sum q+)^2. Twin: softmax's e - 1, and the law with pi^2."""
    q, k = normal(200, dim, seed=1).relu(), normal(4000, dim, seed=2).relu()
    w = q @ k.T
    P = w / w.sum(-1, keepdim=True)
    found = participation(P).mean().item() - 1
    predicted = relu_linear.excess_participation(dim)
    assert abs(found / predicted - 1) < 5 / dim + 0.02 < abs(found / (math.pi**2 / dim) - 1)
    n, groups = 10, k.reshape(400, 10, dim).sum(1)
    sums = (q @ groups.T).mean().item()
    error = 4 * math.sqrt((math.pi - 1) / dim * (1 / 200 + 1 / 4000))
    assert abs(sums / 100 / relu_linear.clamped_row_sum(n, dim) - 1) < error
    assert relu_linear.clamp_acts_below(dim) == pytest.approx(200 * math.pi / dim)


def test_the_module_reaches_its_receptive_field_and_no_further():
    """Exponentials of the gradient of the middle cell's output with the attention part silent (values 0, residual 0)."""
    operator, shape = ReluLinear(kernel=3), (9, 9)
    sizes = Sizes(n=81, d=2, d_v=2, n_heads=1, shape=shape)
    parameters = start(operator, sizes)
    z = normal(1, 1, 1, 81, 2, seed=2).requires_grad_()
    parameters["out"] = torch.eye(2).double()[None, None]
    y = operator.post(z, Grid(normal(1, 1, 81, 2), shape), parameters)
    (g,) = torch.autograd.grad(y[0, 0, 40].sum(), z)
    assert (g[0, 0, 0].abs().sum(-1) > 0).sum().item() == relu_linear.receptive_field(3) == 25


def test_mediators_are_far_from_the_identity_and_no_sharper_than_what_they_collect():
    operator, shape = MediatorTokens((2, 2)), (4, 6)
    sizes = Sizes(n=24, d=4, d_v=4, n_heads=1, shape=shape)
    parameters, x = start(operator, sizes), Grid(normal(1, 1, 24, 4, seed=1, std=3.0), shape)
    collect, give = (M[0, 0, 0] for M in operator.maps(x, parameters))
    P = (give @ collect).numpy()
    assert np.linalg.norm(np.eye(24) - P) ** 2 >= mediator_tokens.distance_from_identity_bound(24, 4) == 20
    assert P.max() <= mediator_tokens.largest_weight_bound(collect) < give.max()  # twin: bounded by what is given
    assert mediator_tokens.dobrushin(P) <= mediator_tokens.dobrushin(give) * mediator_tokens.dobrushin(collect) + 1e-15


def test_the_global_query_is_a_step_of_power_iteration_and_grows_with_the_root_of_the_length():
    """The exact form to rounding; the isotropic limit to sqrt(D/n) relative. Twin: a length that stays."""
    q, w = normal(4096, 32, seed=1), normal(32, seed=2)
    unit = q / q.norm(dim=1, keepdim=True)
    a = unit @ w / (unit @ w).norm()
    assert np.abs((a @ unit).numpy() - additive_global_query.global_query(q, w)).max() < 1e-12
    for n in (1024, 4096):
        size = np.linalg.norm(additive_global_query.global_query(q[:n], w))
        assert abs(size / additive_global_query.isotropic_size_limit(n, 32) - 1) < 2 * math.sqrt(32 / n)
    operator, sizes = AdditiveGlobalQuery(), Sizes(n=8, d=4, d_v=4, n_heads=1)
    parameters, x = start(operator, sizes), normal(1, 1, 8, 4, seed=3)
    doubled = operator.apply(Tokens(torch.cat([x, x], 2)), parameters)
    assert (
        doubled[:, :, :8] - operator.apply(Tokens(x), parameters)
    ).abs().max() > 0.01  # every token twice: G is sqrt 2 larger


@pytest.mark.parametrize("timescale", [10.0, 100.0, 1000.0])
def test_a_refined_gate_saturates_at_half_the_logit_and_at_most_twice_the_gradient(timescale):
    g, h = 1 - 1 / timescale, 1e-6
    f = 1 / (1 + math.exp(-refined_gate.refined_logit(timescale)))
    assert refined_gate.refined(f, 1.0) == pytest.approx(g, abs=1e-12)
    assert refined_gate.refined(f, 0.5) == pytest.approx(f) and refined_gate.refined(f, 0.3) == pytest.approx(
        0.7 * f**2 + 0.3 * (1 - (1 - f) ** 2)
    )

    def slope(logit, r):
        up, down = (refined_gate.refined(1 / (1 + math.exp(-x)), r) for x in (logit + h, logit - h))
        return (up - down) / (2 * h)

    ratio = slope(refined_gate.refined_logit(timescale), 1.0) / slope(refined_gate.plain_logit(timescale), 0.5)
    assert ratio == pytest.approx(refined_gate.gradient_ratio(1 / timescale), rel=1e-6) and ratio < 2
    assert abs(ratio / (2 * (1 - timescale**-0.5)) - 1) > 1e-4  # twin: 2 (1 - sqrt eps)


def test_the_gate_of_the_operator_is_the_refined_one_and_its_state_grows_as_stated():
    operator, sizes = RefinedGate(), Sizes(n=400, d=4, d_v=4, n_heads=1)
    parameters, x = start(operator, sizes), normal(1, 1, 5, 4, seed=1)
    f, r = (torch.sigmoid(x[0, 0] @ parameters[n][0, 0] + parameters[f"{n}_bias"][0, 0]) for n in ("gate", "refine"))
    g = operator.log_gate(x, parameters)[0, 0, 0].exp()
    wanted = [
        [refined_gate.refined(a.item(), b.item()) for a, b in zip(*rows, strict=True)]
        for rows in zip(f, r, strict=True)
    ]
    assert np.abs(g.numpy() - np.array(wanted)).max() < 1e-12
    gate = 0.98
    weights = gate ** (2 * np.arange(400))
    assert weights.sum() == pytest.approx(refined_gate.state_variance(gate, 400))
    assert (
        refined_gate.state_variance(gate, 10**6) == pytest.approx(25.25, abs=0.01)
        and refined_gate.state_variance(1.0, 7) == 7
    )
    assert refined_gate.published_multiply_adds(Sizes(n=4096, d=8, d_v=8)) < refined_gate.multiply_adds(
        Sizes(n=4096, d=8, d_v=8)
    )


def test_slots_keep_their_share_of_a_mean_and_forget_its_order():
    operator, sizes = OrthogonalMemory(n_slots=2), Sizes(n=12, d=6, d_v=6, n_heads=1)
    parameters = start(operator, sizes)
    B = parameters["basis"][0, 0]
    assert (B @ B.T - torch.eye(2)).abs().max() < 1e-13
    x = normal(4000, 6, seed=1)
    lost = 1 - ((x @ B.T).square().sum(1) / x.square().sum(1))
    assert abs(lost.mean().item() - orthogonal_memory.lost_energy(2, 6)) < 4 * lost.std().item() / math.sqrt(4000)
    q, v = normal(1, 1, 1, 12, 6, seed=2), normal(1, 1, 1, 12, 6, seed=3)
    same = v + (u := normal(1, 1, 1, 12, 6, seed=4)) - u.mean(-2, keepdim=True)  # another context of the same mean
    a, b = (operator.global_part(q, each, parameters, False) for each in (v, same))
    assert (a - b).abs().max() < 1e-13 < 0.1 < (v - same).abs().max()
    assert (operator.global_part(q, v + 1, parameters, False) - a).abs().max() > 0.01  # twin: another mean is seen
    t = round(orthogonal_memory.detectable_until(5.0, 1.0))
    means = (np.random.default_rng(0).normal(size=(4000, t)).sum(1) + 5.0) / t
    assert abs(means.mean() / means.std() - 1) < 4 * math.sqrt(1.5 / 4000) and t == 25  # signal as large as its noise


@pytest.mark.parametrize(("n", "window"), [(7, 0), (7, 2), (7, 9), (1, 3)])
def test_pairs_of_a_window_are_counted(n, window):
    away = np.arange(n)[:, None] - np.arange(n)[None]
    assert orthogonal_memory.window_pairs(n, window, False) == (np.abs(away) <= window).sum()
    assert orthogonal_memory.window_pairs(n, window, True) == ((away >= 0) & (away <= window)).sum()


def test_branches_merge_and_a_token_costs_the_same_however_long_the_text():
    operator, sizes = ShortLongConvolution(short=3), Sizes(n=20, d=4, d_v=4, n_heads=1)
    parameters = start(operator, sizes)
    merged = operator.merged(parameters)[0].numpy()
    x = normal(20, 4, seed=1).numpy()
    for c in range(4):
        parts = [np.convolve(x[:, c], parameters[name][0, c].numpy())[:20] for name in ("short", "long")]
        assert np.abs(np.convolve(x[:, c], merged[c])[:20] - sum(parts)).max() < 1e-13
        apart = np.maximum(parts[0], 0) + np.maximum(parts[1], 0)
        assert np.abs(np.maximum(sum(parts), 0) - apart).max() > 1e-2  # twin: merging with a nonlinearity inside
    d, C = 16, short_long_convolution.balanced_chunk(16)
    assert short_long_convolution.cost_per_token(C, d, d) == 2 * (2 * d * d) == 2 * C * d
    from attnlab.theory.costs.linear_form import in_chunks

    inner = in_chunks(10 * C, d, d, C) / (10 * C) - 2 * d * d  # with hidden pairs: twice the part within
    assert inner == 2 * (short_long_convolution.cost_per_token(C, d, d) - 2 * d * d)


@pytest.mark.parametrize(
    "call",
    [
        lambda: TaylorShift(square=0.0),
        lambda: TaylorShift(constant=0.1),
        lambda: efficient.relative_variance([0.5, 0.6]),
        lambda: latent_mixture.newest_weight(0),
        lambda: cosine_linear.output_size(0, 4),
        lambda: taylor_shift.half_mass_temperature(1),
        lambda: log_normal.matching_scale(-1.0, 4),
        lambda: ReluLinear(kernel=8),
        lambda: relu_linear.excess_participation(0),
        lambda: mediator_tokens.distance_from_identity_bound(0, 1),
        lambda: additive_global_query.isotropic_size_limit(0, 1),
        lambda: refined_gate.gradient_ratio(1.0),
        lambda: refined_gate.plain_logit(1.0),
        lambda: orthogonal_memory.detectable_until(0.0, 1.0),
        lambda: short_long_convolution.cost_per_token(0, 1, 1),
    ],
)
def test_arguments_out_of_range_are_named(call):
    with pytest.raises(ValueError, match=r"must be|need"):
        call()


def test_excess_of_efficient_rows_at_few_keys():
    """20 000 draws of 12 keys: the mean is exact at any number of keys, its spread to leading order of many. Twin: the limit of many
    keys."""
    rho, s, n, draws = np.array([0.5, 0.3, 0.2]), 0.5, 12, 20_000
    k = np.exp(s * np.random.default_rng(0).standard_normal((draws, n, 3)))
    w = k / k.sum(1, keepdims=True)
    found = n * ((w * rho).sum(-1) ** 2).sum(1) - 1
    one = (n * (w**2).sum(1) - 1).mean()  # of one softmax
    error = 4 * found.std() / draws**0.5
    assert abs(found.mean() - efficient.row_excess_exact(rho, one)) < error
    assert abs(found.mean() - efficient.relative_variance(rho, s)) > error
    many = 4000
    k = np.exp(s * np.random.default_rng(1).standard_normal((1000, many, 3)))
    w = k / k.sum(1, keepdims=True)
    spread = (many * ((w * rho).sum(-1) ** 2).sum(1)).std()
    assert abs(spread / efficient.row_excess_std(rho, s, many) - 1) < 4 / (2 * 1000) ** 0.5


def test_spread_of_a_cosine_output():
    """50 000 draws of three keys with counts 1, 2, 3; a standard deviation errs by its kurtosis, below 4 here."""
    rng, d, d_v, mu = np.random.default_rng(0), 5, 3, 0.5
    cosine = rng.standard_normal((50_000, 3, d))
    cosine = cosine[..., 0] / np.linalg.norm(cosine, axis=-1)  # of a fixed direction
    weights = cosine * np.arange(1, 4) ** -(1 / (1 + math.exp(-mu)))
    y = np.einsum("rj,rjc->rc", weights, rng.standard_normal((50_000, 3, d_v)))
    square = (y**2).mean(1)
    law = cosine_linear.square_std_exact([1, 2, 3], d, d_v, mu)
    assert abs(square.std() / law - 1) < 4 * 4 / 50_000**0.5
    assert square.mean() == pytest.approx(cosine_linear.causal_output_size(3, d, mu) ** 2, abs=4 * law / 50_000**0.5)
