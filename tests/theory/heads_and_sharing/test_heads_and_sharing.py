"""Laws of shared and mixed heads, each against its operator or a sample, with the nearest rival that must fail."""

import math

import numpy as np
import pytest
import torch

from attnlab.kernels.operators.base_scores.dot_product import DotProduct
from attnlab.kernels.operators.heads_and_sharing.absorbed_projections import AbsorbedProjections
from attnlab.kernels.operators.heads_and_sharing.head_mixture import HeadMixture
from attnlab.kernels.operators.heads_and_sharing.multi_head import MultiHead
from attnlab.kernels.operators.heads_and_sharing.shared_maps import SharedMaps
from attnlab.kernels.operators.heads_and_sharing.super_attention import SuperAttention
from attnlab.kernels.operators.heads_and_sharing.weighted_groups import WeightedGroups
from attnlab.kernels.operators.operator import Heads, Sizes
from attnlab.kernels.operators.score_maps.softpick import Softpick
from attnlab.theory.heads_and_sharing import (
    absorbed_projections,
    head_mixture,
    multi_head,
    shared_maps,
    super_attention,
    weighted_groups,
)

SIZES = Sizes(n=6, d=4, d_v=4, n_heads=2)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0, std=1.0):
    return std * torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def start(operator, sizes=SIZES, seed=0):
    return operator.initialise(sizes, [generator(seed)], torch.float64)


def tokens(n=6, D=8, seed=1, inner=None):
    return Heads(normal(1, 1, n, D, seed=seed), DotProduct() if inner is None else inner)


def test_heads_take_any_inner_operator():
    parameters = start(MultiHead())
    with_softpick = MultiHead().apply(tokens(inner=Softpick()), parameters)
    assert (with_softpick - MultiHead().apply(tokens(), parameters)).abs().max() > 0.01
    assert multi_head.state_numbers(SIZES) == 2 * 6 * 8


@pytest.mark.parametrize("amplitudes", [(1.0, 1, 1, 1), (1.0, 1, 1, -1), (1.0, 0.5, 0.25, 0.125), (2.0, 1, 0, 0)])
def test_a_pool_keeps_of_values_what_the_laws_say(amplitudes):
    """20 000 numbers per head: a sample covariance errs by sqrt(2 / n), four times that; twin: the best pool for the mean."""
    c, e, n = np.array(amplitudes), 0.3, 20_000
    rng = np.random.default_rng(0)
    V = c[:, None] * rng.normal(size=n) + e * rng.normal(size=(4, n))
    whole, mean, error = (V**2).sum(), V.mean(0), 4 * math.sqrt(2 / n)
    lost = ((V - mean) ** 2).sum() / whole
    refitted = ((V @ mean) ** 2).sum() / (mean**2).sum() / whole
    best = np.linalg.svd(V, compute_uv=False)[0] ** 2 / whole
    assert abs(lost - weighted_groups.lost_by_the_mean(c, e)) < error
    assert abs(refitted - weighted_groups.captured_by_the_mean(c, e)) < error
    assert abs(best - weighted_groups.captured_by_the_best_pool(c, e)) < error
    if amplitudes == (1.0, 1, 1, -1):
        assert abs(lost - (1 - weighted_groups.captured_by_the_best_pool(c, e))) > 10 * error
    left = np.linalg.svd(V, full_matrices=False)[0][:, 0]
    assert abs(abs(left @ c) / np.linalg.norm(c) - 1) < error  # the best weights are as the amplitudes


def test_signs_are_what_weights_are_for():
    """Sum of amplitudes 0: the mean keeps noise only, however W_O adapts; the weighted pool keeps the signal."""
    c = [1.0, -1.0, 1.0, -1.0]
    assert (
        weighted_groups.captured_by_the_mean(c, 0.1) < 0.01 < 0.98 < weighted_groups.captured_by_the_best_pool(c, 0.1)
    )
    assert weighted_groups.captured_by_the_mean([1.0, 1, 1, 1], 0.1) == pytest.approx(
        weighted_groups.captured_by_the_best_pool([1.0, 1, 1, 1], 0.1)
    )


@pytest.mark.parametrize(("m", "r"), [(2, 0.0), (4, 0.5), (8, 0.0)])
def test_pooled_keys_give_scores_of_the_stated_correlation(m, r):
    """4000 keys of width 16 in m heads of correlation r, 20 queries: four standard errors of a mean correlation."""
    rng = np.random.default_rng(1)
    K = math.sqrt(r) * rng.normal(size=(4000, 1, 16)) + math.sqrt(1 - r) * rng.normal(size=(4000, m, 16))
    q = rng.normal(size=(20, 16))
    own, pooled = K[:, 0] @ q.T, K.mean(1) @ q.T
    found = np.mean([np.corrcoef(own[:, i], pooled[:, i])[0, 1] for i in range(20)])
    assert abs(found - weighted_groups.pooled_score_correlation(m, r)) < 4 / math.sqrt(4000)
    assert r == 0 or abs(found - math.sqrt(1 / m)) > 0.1


def test_one_hot_weights_keep_one_head_and_groups_save_cache():
    operator, parameters = WeightedGroups(1), start(WeightedGroups(1))
    for name in ("key_weight", "value_weight"):
        parameters[name] = torch.tensor([[0.0, 1.0]], dtype=torch.float64)
    kept = {name: x for name, x in parameters.items() if not name.endswith("weight")}
    for name in ("key", "value"):
        kept[name] = parameters[name][:, 1:].expand(1, 2, 8, 4)
    assert torch.allclose(operator.apply(tokens(), parameters), MultiHead().apply(tokens(), kept), rtol=1e-13)
    assert weighted_groups.state_numbers(SIZES, n_groups=1) * 2 == multi_head.state_numbers(SIZES)
    with pytest.raises(ValueError, match="n_groups=3 must divide the 2 heads"):
        start(WeightedGroups(3))


@pytest.mark.parametrize("correlation", [0.5, 0.9])
def test_a_borrowed_map_errs_as_stated(correlation):
    """n = 4096, 200 rows at s = 1: moments of e^s err by e^{2} / sqrt(n rows); twin: 2 (1 - r)."""
    rng, n, s = np.random.default_rng(2), 4096, 1.0
    a, b = rng.normal(size=(2, 200, n))
    other = correlation * a + math.sqrt(1 - correlation**2) * b
    P, Q = (np.exp(s * x) / np.exp(s * x).sum(1, keepdims=True) for x in (a, other))
    found = ((P - Q) ** 2).sum(1).mean() / (P**2).sum(1).mean()
    predicted = shared_maps.output_error(correlation, s)
    assert abs(found / predicted - 1) < 4 * math.exp(2) / math.sqrt(200 * n) * 3 + 3 * math.e / n
    assert abs(found / (2 * (1 - correlation)) - 1) > 0.02
    assert shared_maps.output_error(correlation, s, 2) == pytest.approx(shared_maps.output_error(correlation**2, s))
    m = shared_maps.longest_span(correlation, s, 0.9)
    assert m == 1 or shared_maps.output_error(correlation, s, m - 1) <= 0.9
    assert shared_maps.output_error(correlation, s, m) > 0.9


def test_a_span_uses_the_first_map_and_saves_keys_only():
    operator = SharedMaps(2)
    parameters, x = start(operator), tokens()
    first = {name: p[:, 0] if name in ("value", "out") else p for name, p in parameters.items()}
    y = x.x + MultiHead().apply(x, first)
    A = MultiHead().matrix(x, first)
    second = (A @ (y[:, :, None] @ parameters["value"][:, 1][:, None]) @ parameters["out"][:, 1][:, None]).sum(2)
    assert torch.allclose(operator.apply(x, parameters), y + second - x.x, rtol=1e-12, atol=1e-13)
    own = y + MultiHead().apply(Heads(y, DotProduct()), {"query": first["query"], "key": first["key"],
                                                         "value": parameters["value"][:, 1], "out": parameters["out"][:, 1]})  # fmt: skip
    assert (operator.apply(x, parameters) - (own - x.x)).abs().max() > 1e-3  # twin: a map of its own per layer
    assert shared_maps.cache_saved(32, 4) == pytest.approx(0.047, abs=1e-3) and shared_maps.cache_saved(32, 32) < 0.5
    assert shared_maps.published_multiply_adds(SIZES) < shared_maps.multiply_adds(SIZES)


def test_optimised_attention_is_multi_head_in_another_basis():
    """x -> x W^V with invertible W^V, queries and keys counter-rotated; rounding grows with its condition. Twin: no change of basis."""
    parameters, x = start(MultiHead()), tokens()
    W = parameters["value"][0].transpose(0, 1).reshape(8, 8)  # slices of x W are the values of the heads
    back = torch.linalg.inv(W)
    own = {name: back @ parameters[name] for name in ("query", "key")} | {"out": parameters["out"]}
    turned = Heads(x.x @ W, DotProduct())
    y = MultiHead().apply(x, parameters)
    found = AbsorbedProjections().apply(turned, own)
    assert (found - y).abs().max() < 1e-13 * torch.linalg.cond(W).item() ** 2
    assert (AbsorbedProjections().apply(x, {k: p for k, p in parameters.items() if k != "value"}) - y).abs().max() > 0.1
    counts = [absorbed_projections.n_parameters(form, 8) for form in ("multi-head", "optimised", "efficient")]
    made = [
        sum(p.numel() for p in start(each).values())
        for each in (MultiHead(), AbsorbedProjections(), AbsorbedProjections("efficient"))
    ]
    assert counts == made == [256, 192, 128]
    assert absorbed_projections.state_numbers(SIZES) == 2 * absorbed_projections.state_numbers(SIZES, form="efficient")


def test_one_efficient_head_loses_nothing():
    one = Sizes(n=6, d=5, d_v=5)
    parameters, x = start(MultiHead(), one), tokens(D=5)
    own = {
        "query": parameters["query"] @ parameters["key"].mT, "out": parameters["value"] @ parameters["out"],
    }  # fmt: skip
    found = AbsorbedProjections("efficient").apply(x, own)
    assert torch.allclose(found, MultiHead().apply(x, parameters), rtol=1e-11, atol=1e-12)


def test_a_matrix_over_positions_shows_the_future_unless_it_is_triangular():
    operator, parameters, x = SuperAttention(), start(SuperAttention()), tokens()
    parameters["positions"] += normal(1, 6, 6, seed=3)
    later = x.x.clone()
    later[..., 5, :] += 1
    y, z = (operator.apply(Heads(each, DotProduct()), parameters, causal=True) for each in (x.x, later))
    assert torch.equal(y[..., 0, :], z[..., 0, :])
    A = DotProduct().matrix(operator_heads(operator, x, parameters), {}, causal=True)
    leaking = A @ parameters["positions"][:, None, None]
    assert leaking[..., 0, 5].abs().min() > 1e-3  # twin: the full matrix behind a causal map
    rows = operator.matrix(x, parameters).sum(-1)
    r = parameters["positions"].sum(-1)
    plain = DotProduct().matrix(operator_heads(operator, x, parameters), {})
    assert torch.allclose(rows, (plain @ r[:, None, None, :, None]).squeeze(-1), rtol=1e-12)
    assert super_attention.n_parameters(6, 8) == sum(p.numel() for p in parameters.values()) == 164
    limit = super_attention.fewer_parameters_below(512)
    assert (
        super_attention.n_parameters(math.floor(limit), 512)
        < 4 * 512**2
        < super_attention.n_parameters(math.ceil(limit), 512)
    )
    with pytest.raises(ValueError, match="initialise with n=7"):
        operator.apply(tokens(n=7), parameters)


def operator_heads(operator, x, parameters):
    from attnlab.kernels.operators.operator import QKV

    v = operator.values(x, parameters)
    return QKV(x.x[:, :, None] @ parameters["query"][:, None], v, v)


@pytest.mark.parametrize("spread", [0.0, 0.5, 1.0])
def test_the_best_heads_keep_the_stated_energy(spread):
    """400 tokens with 2048 heads of log-normal norms: a share of heads chosen errs by 1/2048; twin: K/H whatever the spread."""
    rng, H, share = np.random.default_rng(4), 2048, 0.375
    energy = np.exp(2 * spread * rng.normal(size=(400, H)))
    kept = np.sort(energy, 1)[:, -round(share * H) :].sum(1) / energy.sum(1)
    predicted = head_mixture.kept_energy(share, spread)
    assert abs(kept.mean() - predicted) < 4 * kept.std() / 20 + 3 * math.exp(4 * spread**2) / H + 1e-12
    assert spread == 0 or predicted > share + 0.3
    assert head_mixture.kept_energy(1.0, spread) == 1


def test_gates_average_to_one_and_the_balance_loss_has_its_ends():
    operator, sizes = HeadMixture(2), Sizes(n=50, d=2, d_v=2, n_heads=8)
    parameters = start(operator, sizes)
    g = operator.gates(normal(1, 1, 50, 16, seed=2), parameters)[0, 0]
    assert ((g[:, 4:] > 0).sum(1) == 2).all()  # K routed heads per token, all shared ones
    total = g[:, :4].sum(1) / 4 + g[:, 4:].sum(1) / 2
    assert torch.allclose(total, torch.full((50,), 2.0, dtype=torch.float64), rtol=1e-12)
    uniform, used = np.full((8, 8), 1 / 8), (np.arange(8)[:, None] - np.arange(8)[None]) % 8 < 3
    assert head_mixture.balance_loss(uniform, used) == pytest.approx(3)
    one = np.tile([1 / 3] * 3 + [0.0] * 5, (8, 1))
    assert head_mixture.balance_loss(one, one > 0) == pytest.approx(8)
    assert (
        head_mixture.cache_needed(0.25, 4) == pytest.approx(1 - 0.75**4)
        and head_mixture.published_share(4, 2, 8) == 0.75
    )
    with pytest.raises(ValueError, match="one shared and one routed"):
        start(HeadMixture(), Sizes(n=3, d=2, d_v=2, n_heads=1))


@pytest.mark.parametrize(
    "call",
    [
        lambda: AbsorbedProjections("super"),
        lambda: start(SharedMaps(0)),
        lambda: weighted_groups.lost_by_the_mean([0.0, 0.0], 0.1),
        lambda: weighted_groups.pooled_score_correlation(0, 0.5),
        lambda: shared_maps.map_cosine(1.5, 1.0),
        lambda: shared_maps.longest_span(0.5, 1.0, 2.0),
        lambda: shared_maps.longest_span(0.9, 0.1, 1.0),
        lambda: absorbed_projections.n_parameters("super", 8),
        lambda: super_attention.n_parameters(0, 8),
        lambda: head_mixture.kept_energy(1.5, 1.0),
    ],
)
def test_arguments_out_of_range_are_named(call):
    with pytest.raises(ValueError, match=r"must be|use |every span"):
        call()


def test_a_router_of_fixed_size_reads_more_of_the_cache_than_independent_heads():
    """All sets of 3 of 6 heads, pairs that share a key, listed; the limit of many heads is the independent law, from above."""
    from itertools import combinations

    needed = np.mean([len({h // 2 for h in used}) / 3 for used in combinations(range(6), 3)])
    assert head_mixture.cache_needed_exact(3, 6, 2) == pytest.approx(needed, rel=1e-14)
    gaps = [head_mixture.cache_needed_exact(n // 4, n, 4) - head_mixture.cache_needed(0.25, 4) for n in (16, 64, 4096)]
    assert gaps == sorted(gaps, reverse=True) and 0 < gaps[-1] < 1e-3
    with pytest.raises(ValueError, match="n_routed=4"):
        head_mixture.cache_needed_exact(5, 4, 1)
