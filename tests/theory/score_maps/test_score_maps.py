"""Laws of the second group of score maps, each against its operator or a sample, with the nearest rival that must fail."""

import math

import numpy as np
import pytest
import torch

from attnlab.kernels.operators.base_scores.self_attention import SelfAttention
from attnlab.kernels.operators.operator import QKV, Sizes, Tokens
from attnlab.kernels.operators.score_maps.difference import Difference
from attnlab.kernels.operators.score_maps.gated import GatedAttention
from attnlab.kernels.operators.score_maps.gaussian_gate import GaussianGate
from attnlab.kernels.operators.score_maps.learned_rows import LearnedRows
from attnlab.kernels.operators.score_maps.length_scaled_softplus import LengthScaledSoftplus
from attnlab.kernels.operators.score_maps.reversed import Reversed
from attnlab.kernels.operators.score_maps.selective_temperature import SelectiveTemperature
from attnlab.kernels.operators.score_maps.sinkhorn import Sinkhorn
from attnlab.theory.score_maps import (
    difference,
    gated,
    gaussian_gate,
    learned_rows,
    length_scaled_softplus,
    reversed,
    selective_temperature,
    sinkhorn,
)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0, std=1.0):
    return std * torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


@pytest.mark.parametrize("score_std", [0.25, 0.5, 1.0, 2.0])
def test_softplus_rows_are_flatter_than_softmax(score_std):
    """4096 keys, 400 rows: the ratio of moments is biased by at most 3 participation / n. Twin: softmax's e^{s^2}."""
    f = np.logaddexp(0, score_std * np.random.default_rng(0).normal(size=(400, 4096)))
    found = 4096 * (f**2).sum(1) / f.sum(1) ** 2
    predicted = length_scaled_softplus.participation(score_std)
    error = 4 * found.std() / 20 + 3 * predicted / 4096
    assert abs(found.mean() - predicted) < error < abs(found.mean() - math.exp(score_std**2))


def test_wide_softplus_rows_are_those_of_rectified_scores():
    """The mean of softplus is larger than relu's by pi^2 / (6 s^2), relative; the square by 2.4 sqrt(2/pi) / s^3."""
    for s in (20.0, 40.0):
        found = length_scaled_softplus.participation(s)
        assert abs(found - math.pi * (1 - math.pi**2 / (3 * s**2))) < 10 / s**3 < abs(found - math.pi)
        assert found == pytest.approx(length_scaled_softplus.participation(s, 8001), rel=1e-10)
    assert length_scaled_softplus.wide_limit() == math.pi


def test_reweighting_keeps_only_what_is_above_the_offset():
    inputs = QKV(normal(1, 1, 1, 5, 16, seed=1), normal(1, 1, 1, 40, 16, seed=2), normal(1, 1, 1, 40, 3, seed=3))
    A = LengthScaledSoftplus().matrix(inputs, {})
    W = LengthScaledSoftplus(power=3, offset=1.0).matrix(inputs, {})
    assert ((W > 0) == (40 * A > 1)).all()  # above average, and nothing else
    assert (LengthScaledSoftplus(power=3, offset=40.0).matrix(inputs, {}) == A).all()  # nothing is above: the row stays
    c = math.log(16) * math.log(40)
    cosine = torch.nn.functional.cosine_similarity(inputs.q[..., :, None, :], inputs.k[..., None, :, :], dim=-1)
    w = torch.nn.functional.softplus(c * cosine)
    assert torch.allclose(A, w / w.sum(-1, keepdim=True), rtol=1e-12)
    assert not torch.allclose(
        A, (c / 4 * cosine).exp().log1p() / (c / 4 * cosine).exp().log1p().sum(-1, keepdim=True), rtol=1e-2
    )


def test_a_constant_peak_needs_a_temperature_linear_in_the_logarithm_of_the_length():
    """The operator with a planted gap; twin: the square-root law, right for Gaussian scores only."""
    gap, weight = 4.0, 0.9
    found = []
    for n in (64, 4096):
        tau = selective_temperature.constant_peak_temperature(weight, gap, n)
        assert selective_temperature.peak(tau, gap, n) == pytest.approx(weight, abs=1e-12)
        found.append(tau)
    assert found[1] - found[0] == pytest.approx(math.log(4095 / 63) / gap)
    twin = selective_temperature.constant_entropy_temperature(1.0, 1.0, 4096) / selective_temperature.constant_entropy_temperature(1.0, 1.0, 64)  # fmt: skip
    assert abs(found[1] / found[0] - twin) > 0.1
    n = 256
    x = torch.zeros(1, 1, n, 1, dtype=torch.float64)
    x[:, :, 0] = gap  # the needle's key; the last query is 1
    x[:, :, -1] = 1.0
    one = torch.ones(1, 1, 1, 1, dtype=torch.float64)
    slope = 0.5
    own = {"query": one, "key": one, "value": one, "out": one, "query_temperature": 0 * one, "value_temperature": 0 * one,
           "slope": torch.full((1, 1), math.log(slope / (1 - slope)), dtype=torch.float64)}  # fmt: skip
    row = SelectiveTemperature().matrix(Tokens(x), own)[0, 0, 0, -1]
    tau = 1 + slope * math.log(n)
    others = n - 2 + math.exp(tau)
    assert row[0].item() == pytest.approx(math.exp(tau * gap) / (math.exp(tau * gap) + others), rel=1e-9)


@pytest.mark.parametrize("angle", [0.1, 0.7, 1.5])
def test_without_temperatures_similar_queries_need_large_weights(angle):
    """Least squares finds the least norm; the twin, without the sine, is the norm with a temperature per query."""
    qa, qb = np.array([1.0, 0.0]), np.array([math.cos(angle), math.sin(angle)])
    contrast = np.array([0.6, 0.8, 1.0])
    rows = np.stack([np.outer(contrast, q).ravel() for q in (qa, qb)])
    W = np.linalg.lstsq(rows, np.array([3.0, 0.0]), rcond=None)[0]
    predicted = selective_temperature.smallest_norm(3.0, float(np.linalg.norm(contrast)), angle)
    assert np.linalg.norm(W) == pytest.approx(predicted, rel=1e-10)
    assert angle > 1 or np.linalg.norm(W) > 1.3 * 3.0 / np.linalg.norm(contrast)


@pytest.mark.parametrize("ratio", [0.5, 2.0, 10.0])
@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9])
def test_amplifying_a_difference_helps_where_the_noise_is_shared(ratio, correlation):
    """400 000 pairs of noisy weights: a ratio of variances has relative error sqrt(4/N); twin: gain (K + 1/2)^2 at any rho."""
    rng, n = np.random.default_rng(3), 400_000
    a, b = rng.normal(size=(2, n))
    plus, minus = a, correlation * a + math.sqrt(1 - correlation**2) * b
    noise = (ratio + 0.5) * plus - (ratio - 0.5) * minus
    found = (ratio + 0.5) ** 2 * plus.var() / noise.var()
    predicted = difference.noise_gain(ratio, correlation)
    assert abs(found / predicted - 1) < 4 * math.sqrt(4 / n)
    assert ratio == 0.5 or abs(found / (ratio + 0.5) ** 2 - 1) > 0.1
    best = difference.best_ratio(correlation)
    assert difference.noise_gain(best, correlation) == pytest.approx(difference.best_gain(correlation))
    assert predicted <= difference.best_gain(correlation) + 1e-12


def test_the_difference_is_differential_attention_with_a_fixed_lambda():
    sizes, operator = Sizes(n=7, d=4, d_v=3), Difference(gain=2.0)
    inputs = QKV(normal(1, 1, 1, 7, 4, seed=1), normal(1, 1, 1, 7, 4, seed=2), normal(1, 1, 1, 7, 3, seed=3))
    parameters = operator.initialise(sizes, [generator(4)], torch.float64)
    parameters["up"] += normal(1, 4, 4, 4, seed=5)
    M = operator.matrix(inputs, parameters)
    plus = Difference(gain=0.5).matrix(inputs, parameters)
    minus = (2.5 * plus - M) / 1.5
    assert (minus >= 0).all() and torch.allclose(minus.sum(-1), torch.ones(7).double(), rtol=1e-12)
    assert torch.allclose(M, 2.5 * (plus - 0.6 * minus), atol=1e-13) and (M < 0).any()
    assert difference.best_ratio(0.905) == pytest.approx(10.0, abs=0.06)


def test_reversed_attention_keeps_totals_and_parents_receive_by_their_children():
    """Twin: as a receiver (rows) every token has mass 1."""
    n, D = 30, 4.0
    parent = np.random.default_rng(1).integers(0, 10, size=n)
    S = np.zeros((n, n))
    S[np.arange(n), parent] = D
    A = np.exp(S) / np.exp(S).sum(1, keepdims=True)
    for j in (0, 3, 25):
        children = int((parent == j).sum())
        assert A[:, j].sum() == pytest.approx(reversed.received_mass(children, n, D), rel=1e-12)
    assert reversed.received_mass(0, n, D) < 0.5 and abs(A[:, 25].sum() - 1) > 0.5
    operator, sizes = Reversed(), Sizes(n=9, d=3, d_v=3, n_heads=2)
    parameters = operator.initialise(sizes, [generator(2)], torch.float64)
    x = Tokens(normal(1, 1, 9, 6, seed=3))
    sent = operator.values(x, parameters)
    assert torch.allclose((operator.matrix(x, parameters) @ sent).sum(-2), sent.sum(-2), atol=1e-13)


@pytest.mark.parametrize("score_std", [0.5, 1.0])
def test_received_mass_spreads_as_stated(score_std):
    """300 tokens, 200 maps; the normaliser of each row adds a relative e^{s^2}/n. Twin: s^2/n."""
    s = score_std * np.random.default_rng(5).normal(size=(200, 300, 300))
    A = np.exp(s)
    A /= A.sum(2, keepdims=True)
    found = A.sum(1).var(1)
    predicted = reversed.received_variance(score_std, 300)
    error = 4 * found.std() / math.sqrt(200) + 12 * math.exp(score_std**2) / 300 * predicted
    assert abs(found.mean() - predicted) < error < abs(found.mean() - score_std**2 / 300)


@pytest.mark.parametrize("epsilon", [0.3, 0.1])
def test_sinkhorn_contracts_by_the_second_singular_value_squared(epsilon):
    """Ratio of late steps of the column potential; the twin is Hilbert's bound, which it never exceeds."""
    q, k = normal(1, 1, 1, 8, 16, seed=1), normal(1, 1, 1, 30, 16, seed=2)
    inputs = QKV(q, k, k)
    maps = [Sinkhorn(epsilon, t).matrix(inputs, {}) for t in (600, 601)]
    S = torch.nn.functional.normalize(q, dim=-1) @ torch.nn.functional.normalize(k, dim=-1).mT
    rate = sinkhorn.contraction(maps[0][0, 0, 0].numpy() / 8)
    rounds = max(3, round(math.log(1e-5) / math.log(rate)))
    near = [Sinkhorn(epsilon, t).matrix(inputs, {}) - maps[1] for t in (rounds, rounds + 1)]
    found = (near[1].norm() / near[0].norm()).item()
    assert found == pytest.approx(rate, rel=1e-2)
    bound = sinkhorn.contraction_bound(S[0, 0, 0].numpy(), epsilon)
    assert rate < bound and bound > 1.5 * found
    assert (maps[0].sum(-2) - 8 / 30).abs().max() < 1e-9  # columns, too


def test_the_product_of_bells_is_one_bell_and_its_gate_nearly_flat():
    """20 000 tokens: a sampled mean of bells is good to 4 / sqrt(n) relative to their spread. Twin: a mixture of two bells."""
    operator = GaussianGate(3)
    parameters = {"centre": normal(1, 3, seed=1, std=0.3), "log_width": normal(1, 3, seed=2)}
    x = Tokens(normal(1, 1, 500, 2, seed=3))
    delta, C = gaussian_gate.one_bell(parameters["centre"][0].numpy(), parameters["log_width"][0].exp().numpy())
    one = {"centre": torch.tensor([[delta]]).double(), "log_width": torch.tensor([[math.log(C)]]).double()}
    assert torch.allclose(operator.apply(x, parameters), GaussianGate(1).apply(x, one), rtol=1e-11)
    z = normal(20_000, seed=4).numpy()
    for width in (0.5, 1.0, 2.0):
        g = np.exp(-(z**2) / (2 * width**2))
        found = 20_000 * (g**2).sum() / g.sum() ** 2
        predicted = gaussian_gate.participation(width)
        assert abs(found / predicted - 1) < 4 * (g**2 / (g**2).mean() - 2 * g / g.mean()).std() / math.sqrt(20_000)
    assert gaussian_gate.participation(1.0) == pytest.approx(1.1547, abs=5e-5)


def misfit(half, n_frequencies):
    """Relative squared error of the least-squares fit of e^x by waves on [-half, half], on a midpoint grid."""
    x = (np.arange(20_000) + 0.5) / 20_000 * 2 * half - half
    m = np.arange(1, n_frequencies + 1)[:, None]
    waves = np.concatenate([np.ones((1, x.size)), np.cos(m * x), np.sin(m * x)]).T
    fitted = waves @ np.linalg.lstsq(waves, np.exp(x), rcond=1e-13)[0]
    return np.square(fitted - np.exp(x)).sum() / np.exp(2 * x).sum()


@pytest.mark.parametrize("n_frequencies", [4, 16])
def test_waves_fit_the_exponential_slowly_on_a_whole_period(n_frequencies):
    """The grid errs by (pi / 20 000)^2; on half a period the same waves are at least ten thousand times better."""
    predicted = learned_rows.exponential_error(n_frequencies)
    assert misfit(math.pi, n_frequencies) == pytest.approx(predicted, rel=2e-3)
    assert misfit(math.pi / 2, n_frequencies) < predicted / 1e4
    assert learned_rows.exponential_error_limit(10_000) == pytest.approx(
        learned_rows.exponential_error(10_000), rel=1e-3
    )


def test_learned_rows_have_the_rank_of_their_units():
    sizes, operator = Sizes(n=20, d=4, d_v=3), LearnedRows(n_units=5)
    inputs = QKV(normal(1, 1, 1, 20, 4, seed=1), normal(1, 1, 1, 20, 4, seed=2), normal(1, 1, 1, 20, 3, seed=3))
    M = operator.matrix(inputs, operator.initialise(sizes, [generator(0)], torch.float64))
    assert torch.linalg.matrix_rank(M, rtol=1e-10).item() == learned_rows.rank(20, 5) == 5


def test_a_gate_does_nothing_at_a_finite_logit_that_does_not_grow():
    gaps = [gated.softmax_gap_to_rest(0.01, n) for n in (16, 4096)]
    for gap, n in zip(gaps, (16, 4096), strict=True):
        W = torch.tensor([gap] + [0.0] * (n - 1), dtype=torch.float64).softmax(0)
        assert 1 - W[0].item() == pytest.approx(0.01, rel=1e-10)
    logit = gated.gate_logit_to_rest(0.01)
    assert gaps[1] > gaps[0] > logit == pytest.approx(math.log(99))
    sizes, operator = Sizes(n=4, d=2, d_v=2, n_heads=2), GatedAttention()
    parameters = operator.initialise(sizes, [generator(0)], torch.float64)
    plain = SelfAttention().apply(Tokens(normal(1, 1, 4, 4)), {k: x for k, x in parameters.items() if "gate" not in k})
    parameters |= {"gate": 0 * parameters["gate"], "gate_bias": 0 * parameters["gate_bias"] - logit}
    assert torch.allclose(operator.apply(Tokens(normal(1, 1, 4, 4)), parameters), 0.01 * plain, rtol=1e-10)


def test_states_of_decoders():
    sizes = Sizes(n=10, d=4, d_v=3)
    assert difference.state_numbers(sizes) == 110 and length_scaled_softplus.state_numbers(sizes) == 70


@pytest.mark.parametrize(
    "call",
    [
        lambda: LengthScaledSoftplus(power=0),
        lambda: Sinkhorn(epsilon=0.0),
        lambda: LearnedRows().apply(QKV(normal(1, 1, 1, 5, 2), normal(1, 1, 1, 5, 2), normal(1, 1, 1, 5, 2)), LearnedRows().initialise(Sizes(n=4, d=2, d_v=2), [generator()], torch.float64)),
        lambda: length_scaled_softplus.participation(0.0),
        lambda: selective_temperature.constant_peak_temperature(1.0, 1.0, 10),
        lambda: difference.noise_gain(1.0, 2.0),
        lambda: difference.best_ratio(1.0),
        lambda: reversed.received_mass(0, 0, 1.0),
        lambda: sinkhorn.contraction(np.zeros((2, 2))),
        lambda: gaussian_gate.participation(0.0),
        lambda: learned_rows.exponential_error(0),
        lambda: gated.gate_logit_to_rest(0.0),
    ],
)  # fmt: skip
def test_arguments_out_of_range_are_named(call):
    with pytest.raises(ValueError, match=r"must be|need|learned for|no best ratio"):
        call()
