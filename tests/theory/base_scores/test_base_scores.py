"""The laws of the first scores, each against its operator or a sample, with the nearest rival that must fail."""

import math

import numpy as np
import pytest
import torch

from attnlab.kernels.operators.base_scores.dynamic_convolution import DynamicConvolution
from attnlab.kernels.operators.base_scores.dynamic_routing import DynamicRouting
from attnlab.kernels.operators.base_scores.location_relative import LocationRelative
from attnlab.kernels.operators.base_scores.luong import Luong, additive_scores
from attnlab.kernels.operators.base_scores.multi_source import MultiSource
from attnlab.kernels.operators.base_scores.pointer import Pointer
from attnlab.kernels.operators.base_scores.predicted_window import PredictedWindow
from attnlab.kernels.operators.operator import QKV, Sizes, Tokens
from attnlab.theory.base_scores import (
    dynamic_convolution,
    dynamic_routing,
    location_relative,
    luong,
    multi_source,
    pointer,
    predicted_window,
)


def normal(*shape, seed=0, std=1.0):
    return std * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_an_additive_score_with_small_weights_ranks_keys_alike_for_every_query():
    """The limit is reached to eps^2 (the next term of tanh); the quadrature to its own halving."""
    for scale in (0.01, 0.03):
        assert luong.pair_share(scale) == pytest.approx(luong.static_share_limit(scale), rel=20 * scale**2)
        assert luong.pair_share(scale) != pytest.approx(
            2 * scale**2, rel=0.1
        )  # twin: main and pair terms of equal variance
    few, more, most = (luong.pair_share(1.0, nodes) for nodes in (40, 80, 160))
    assert abs(more - most) < 0.1 * abs(few - more) < 1e-6  # the quadrature converges
    q, k = normal(1, 1, 1, 40, 16, seed=1), normal(1, 1, 1, 40, 16, seed=2)
    into = [normal(1, 16, 32, seed=s, std=0.25) for s in (3, 4)]
    read = normal(1, 32, seed=5)
    first = [
        additive_scores(q, k, eps * into[0], eps * into[1], read).argmax(-1).unique().numel() for eps in (0.01, 3.0)
    ]
    assert first[0] == 1 and first[1] > 3


def test_the_pair_share_of_sampled_pre_activations():
    """60 x 60 grids of a and b: the two-way table's interaction is exact up to 1 / sqrt(60) per effect; averaged over 200 grids."""
    rng, shares = np.random.default_rng(0), []
    for _ in range(200):
        a, b = rng.normal(size=60), rng.normal(size=60)
        f = np.tanh(0.5 * (a[:, None] + b[None, :]))
        rows, columns = f.mean(1, keepdims=True) - f.mean(), f.mean(0, keepdims=True) - f.mean()
        pair = f - f.mean() - rows - columns
        shares.append([(pair**2).sum() / 59**2, (rows**2).sum() / 59 + (columns**2).sum() / 59])
    pair, main = np.array(shares).mean(0)
    error = 4 * np.array(shares).std(0) / math.sqrt(200) / (pair, main)
    correction = pair / 60 * 2 / main  # what the interaction adds to the variance of a mean of 60
    assert abs(math.sqrt(pair / main) / luong.pair_share(0.5) - 1) < error.sum() / 2 + correction


def test_flat_local_rows_sum_to_the_gaussian_sum_and_not_to_one():
    operator = PredictedWindow(half_width=10.0)
    n = 101
    parameters = {
        "into_hidden": torch.zeros(1, 4, 8).double(),
        "readout": torch.ones(1, 8).double(),
    }  # centre n / 2: a key
    inputs = QKV(normal(1, 1, 1, 3, 4), torch.zeros(1, 1, 1, n, 4).double(), normal(1, 1, 1, n, 2))
    M = operator.matrix(inputs, parameters)
    assert (M.sum(-1) - predicted_window.flat_row_sum(10)).abs().max() < 1e-12
    assert ((M > 0).sum(-1) == 21).all()
    assert predicted_window.flat_row_sum_limit() == pytest.approx(0.5981, abs=5e-5)
    assert predicted_window.flat_row_sum(100_000) == pytest.approx(predicted_window.flat_row_sum_limit(), abs=1e-5)
    assert predicted_window.flat_row_sum(2) == pytest.approx(0.4967, abs=5e-5)


def test_a_window_costs_less_as_published_from_few_keys_on():
    sizes = Sizes(n=1000, d=8, d_v=8)
    assert predicted_window.published_multiply_adds(sizes) == 1000 * (9 * 8 + 21 * 16)
    assert predicted_window.multiply_adds(sizes) == 1000 * (9 * 8 + 1000 * 16)


def test_no_pointer_is_surer_than_the_bound_and_a_planted_one_nearly_reaches_it():
    """Twin: the bound with |v| in place of 2 |v| is broken by the planted pointer."""
    operator, v = Pointer(n_glimpses=0, hidden=4), torch.tensor([1.0, 0.7, 0.5, 0.3], dtype=torch.float64)
    for n in (10, 100):
        bound = pointer.largest_weight_bound(n, v.abs().sum().item())
        k = -torch.ones(1, 1, 1, n, 1, dtype=torch.float64)
        k[..., 3, 0] = 1.0
        weights = {
            "point_into_query": torch.zeros(1, 1, 4).double(), "point_into_key": 12 * torch.ones(1, 1, 4).double(),
            "point_readout": v[None],
        }  # fmt: skip
        p = operator.matrix(QKV(torch.zeros(1, 1, 1, 1, 1).double(), k, k), weights)[..., 3].item()
        assert bound * (1 - 1e-8) < p < bound
        assert p > 1 / (1 + (n - 1) * math.exp(-v.sum().item())) * 1.2
        for seed in range(20):
            weights["point_into_key"], weights["point_into_query"] = (
                normal(1, 1, 4, seed=seed + s, std=5) for s in (0, 90)
            )
            q, k = normal(1, 1, 1, 7, 1, seed=seed), normal(1, 1, 1, n, 1, seed=seed + 40)
            assert operator.matrix(QKV(q, k, k), weights).max() < bound
    assert pointer.largest_weight_bound(int(pointer.longest_list_with_confidence_half(2.5)), 2.5) >= 0.5
    assert pointer.smallest_loss_bound(1000, 2.5) == pytest.approx(math.log(1 + 999 * math.exp(-5)))


def test_the_hierarchy_is_off_by_the_weight_it_misplaces():
    operator = MultiSource()
    sizes = Sizes(n=9, d=4, d_v=3)
    parameters = operator.initialise(sizes, [torch.Generator().manual_seed(3)], torch.float64)
    inputs = QKV(normal(1, 1, 1, 1, 4, seed=1), normal(1, 1, 1, 9, 4, seed=2), normal(1, 1, 1, 9, 3, seed=3))
    y, flat = operator.apply(inputs, parameters), MultiSource(outer="log_sum_exp").apply(inputs, {})
    c, beta = operator._parts(inputs, parameters)
    s = (inputs.q @ inputs.k.mT / 2).flatten()
    log_masses = [s[:5].logsumexp(0).item(), s[5:].logsumexp(0).item()]
    predicted = multi_source.distance_to_flat(beta.flatten()[0].item(), log_masses, c.reshape(2, 3))
    assert (y - flat).norm().item() == pytest.approx(predicted, rel=1e-10) and predicted > 0.01
    assert (y - flat).norm().item() != pytest.approx(abs(beta.flatten()[0].item() - 0.5) * (c[0, 0, 0, 0] - c[0, 0, 0, 1]).norm().item(), rel=1e-2)  # fmt: skip
    assert multi_source.needle_mass(3.0, 5, 500, 0.5) > 10 * multi_source.needle_mass(3.0, 5, 500)
    assert multi_source.needle_mass(3.0, 5, 7) == pytest.approx(math.exp(3) / (math.exp(3) + 11))


@pytest.mark.parametrize("width", [0.2, 0.3, 0.5, 1.0])
def test_bells_summed_over_keys_depend_on_their_phase(width):
    """The operator's own mixture at its worst phase (mu whole) far from both ends; the twin is one harmonic at width .2."""
    operator = LocationRelative("V2", n_mixtures=1, width=width)
    parameters = operator.initialise(Sizes(n=61, d=2, d_v=1), [torch.Generator().manual_seed(0)], torch.float64)
    parameters["into_mixture"] *= 0
    q = torch.zeros(1, 1, 1, 30, 2, dtype=torch.float64)
    k = torch.zeros(1, 1, 1, 61, 2, dtype=torch.float64)
    row = operator.matrix(QKV(q, k, k), parameters)[0, 0, 0, -1]
    assert row.argmax() == 30  # steps of one
    assert abs(row.sum().item() - 1 - location_relative.row_sum_error(width)) < 1e-12
    if width == 0.2:
        assert abs(row.sum().item() - 1 - location_relative.row_sum_error(width, 1)) > 0.05


def test_a_copy_drifts_with_the_root_of_the_step_and_forgets_the_length():
    """20 000 walks: four standard errors of a share; twin: noise that adds up coherently, erf(1 / (2 sqrt 2 s t))."""
    s, rng = 0.02, np.random.default_rng(1)
    walks = np.cumsum(1 + s * rng.normal(size=(20_000, 700)), axis=1)
    for t in (100, 625):
        share = (np.rint(walks[:, t - 1]) == t).mean()
        predicted = location_relative.copy_accuracy(s, t)
        error = 4 * math.sqrt(predicted * (1 - predicted) / 20_000)
        assert abs(share - predicted) < error
        assert abs(share - math.erf(1 / (2 * math.sqrt(2) * s * t))) > error
    assert location_relative.copy_accuracy(s, round(0.55 / s**2)) == pytest.approx(0.5, abs=2e-3)
    assert location_relative.content_mass(5.0, 10_000) < location_relative.content_mass(5.0, 100) / 10


def test_silent_filters_leave_the_prior_which_moves_one_key_per_query():
    operator = DynamicConvolution(floor=1e-300)
    n = 160
    parameters = operator.initialise(Sizes(n=n, d=2, d_v=1), [torch.Generator().manual_seed(0)], torch.float64)
    parameters["readout"] *= 0
    k = torch.zeros(1, 1, 1, n, 2, dtype=torch.float64)
    W = operator.matrix(QKV(torch.zeros(1, 1, 1, 12, 2, dtype=torch.float64), k, k), parameters)[0, 0, 0].numpy()
    assert np.abs(W - dynamic_convolution.weights_of_the_prior(np.array(operator.prior), n, 12)).max() < 1e-12
    at = np.arange(n)
    mean, square = W @ at, W @ at**2
    assert np.abs(mean - dynamic_convolution.prior_mean() * np.arange(1, 13)).max() < 1e-9
    assert np.abs(square - mean**2 - dynamic_convolution.prior_variance() * np.arange(1, 13)).max() < 1e-8
    assert dynamic_convolution.prior_variance() == pytest.approx(4.95)
    assert sum(operator.prior) == pytest.approx(1, abs=1e-12)


def test_routing_turns_one_hot_at_the_stated_rate():
    """The slope over late rounds; before z settles it is larger by what is left of 1 - a_max. Twin: a soft fixed point (slope 0)."""
    x = normal(1, 1, 12, 6, seed=2, std=0.5)
    votes = torch.eye(6, dtype=torch.float64)[None, None]
    found = []
    for r in (28, 29):
        W = DynamicRouting(n_rounds=r, n_outputs=1).matrix(Tokens(x), {"votes": votes})[0, 0, 0, 0]
        found.append((W, math.log((1 - W.max()).item())))
    winner = int(found[1][0].argmax())
    delta = dynamic_routing.sharpening_rate(x[0, 0].numpy(), winner)
    gap = (1 - found[0][0].max()).item()
    assert delta > 0.1
    assert abs(found[1][1] - found[0][1] + delta) < 30 * gap + 0.1 * delta and gap < 0.05
    first = DynamicRouting(n_rounds=1, n_outputs=1).apply(Tokens(x), {"votes": votes})
    assert torch.allclose(first[0, 0, 0], x[0, 0].mean(0).tanh(), rtol=0, atol=1e-15)


def test_general_scores_have_a_state_and_a_cost():
    sizes = Sizes(n=5, d=3, d_v=2, n_heads=2)
    assert luong.multiply_adds(sizes) == 2 * (5 * 9 + 25 * 5)
    assert luong.state_numbers(sizes) == 25 and luong.state_numbers(sizes, score="concat", hidden=8) == 50
    assert location_relative.state_numbers(sizes) == 2


@pytest.mark.parametrize(
    "call",
    [
        lambda: Luong("dot"),
        lambda: MultiSource(outer="mean"),
        lambda: LocationRelative("V3"),
        lambda: DynamicRouting(0),
        lambda: DynamicConvolution(taps=8),
        lambda: luong.pair_share(0.0),
        lambda: pointer.largest_weight_bound(0, 1.0),
        lambda: predicted_window.flat_row_sum(0),
        lambda: location_relative.row_sum_error(0.0),
        lambda: dynamic_convolution.prior_mean(10, -1.0),
        lambda: multi_source.needle_mass(1.0, 0, 1),
    ],
)
def test_arguments_out_of_range_are_named(call):
    with pytest.raises(ValueError, match=r"must be|use "):
        call()
