"""Laws of fixed patterns against the operators themselves, on masks, walks and small random inputs; each with its twin."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from attnlab.kernels.operators.fixed_patterns import combiner as combiner_operator
from attnlab.kernels.operators.fixed_patterns import halo as halo_operator
from attnlab.kernels.operators.fixed_patterns import hilo as hilo_operator
from attnlab.kernels.operators.fixed_patterns import lsg as lsg_operator
from attnlab.kernels.operators.fixed_patterns import neighbourhood as neighbourhood_operator
from attnlab.kernels.operators.fixed_patterns.layout_attention import LayoutAttention
from attnlab.kernels.operators.fixed_patterns.multi_scale_windows import MultiScaleWindows
from attnlab.kernels.operators.fixed_patterns.window_recurrence import WindowRecurrence
from attnlab.kernels.operators.operator import QKV, Grid, Sizes, Tokens
from attnlab.theory.fixed_patterns import (
    combiner,
    dilated_neighbourhood,
    halo,
    hilo,
    layout_attention,
    lsg,
    multi_scale_windows,
    neighbourhood,
    reach,
    retained,
    window_recurrence,
)
from attnlab.theory.fixed_patterns.influence import profile_exact

EPS = np.finfo(float).eps


def generators(n=1):
    return [torch.Generator().manual_seed(seed) for seed in range(n)]


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def composed(mask, n_layers):
    """Paths between tokens through n layers of a boolean mask."""
    return np.linalg.matrix_power(mask.astype(object), n_layers)


@pytest.mark.parametrize(("size", "dilation", "n_layers"), [(3, 1, 3), (3, 4, 2), (5, 2, 2)])
def test_paths_of_a_stack_are_powers_of_its_mask(size, dilation, n_layers):
    n = 61
    seen = neighbourhood_operator.windows((1, n), size, (1, dilation), False)
    middle = composed(seen.numpy().astype(int), n_layers)[n // 2]
    low, counts = reach.paths_exact([reach.comb(size, dilation)] * n_layers)
    assert (middle[n // 2 + low : n // 2 + low + len(counts)] == counts).all() and middle.sum() == counts.sum()
    assert (
        len(counts)
        == reach.receptive_field(size, [dilation] * n_layers)
        == np.flatnonzero(middle)[-1] - np.flatnonzero(middle)[0] + 1
    )


def test_the_rule_for_holes_agrees_with_counted_paths():
    """All schedules of three steps up to 10, windows of 3; the rule of neighbours (step at most the window) is the twin."""
    schedules = [(a, b, c) for a in range(1, 11) for b in range(a, 11) for c in range(b, 11)]
    free = {s: reach.is_gap_free([reach.comb(3, step) for step in s]) for s in schedules}
    assert all(free[s] == reach.combs_are_gap_free(3, s) for s in schedules)
    assert any(free[s] != all(step <= 3 for step in s) for s in schedules)
    assert dilated_neighbourhood.holes(3, [1, 4]) == [-2, 2] and dilated_neighbourhood.holes(7, [1, 7, 1, 7]) == []


@pytest.mark.parametrize(("size", "n_layers"), [(3, 3), (7, 3)])
def test_steps_that_grow_by_the_window_reach_each_offset_by_one_path(size, n_layers):
    steps = dilated_neighbourhood.widest_schedule(size, n_layers)
    _, counts = reach.paths_exact([reach.comb(size, step) for step in steps])
    assert (counts == 1).all() and len(counts) == size**n_layers
    _, fewer = reach.paths_exact([reach.comb(size, step) for step in [1, size - 1, size * size]][:n_layers])
    assert not (fewer == 1).all()


@pytest.mark.parametrize(("size", "n_layers"), [(7, 4), (13, 8)])
def test_influence_of_neighbourhoods_is_narrower_than_their_reach(size, n_layers):
    low, p = profile_exact([[reach.comb(size)]] * n_layers)
    at = low + np.arange(len(p))
    std = math.sqrt(p @ at**2 - (p @ at) ** 2)
    assert p.sum() == pytest.approx(1, abs=len(p) * EPS)
    assert std == pytest.approx(neighbourhood.influence_std(size, n_layers), rel=1e3 * EPS)
    half = (neighbourhood.field(size, n_layers) - 1) // 2
    assert at[-1] == half and abs(std - half / 2) > 0.15 * std  # twin: half the reach


def test_influence_is_the_jacobian_of_a_uniform_stack():
    n, size, n_layers = 41, 5, 3
    seen = neighbourhood_operator.windows((1, n), size, (1, 1), False).double()
    stack = torch.linalg.matrix_power(seen / seen.sum(-1, keepdim=True), n_layers)[n // 2]
    low, p = profile_exact([[reach.comb(size)]] * n_layers)
    assert np.abs(stack.numpy()[n // 2 + low : n // 2 + low + len(p)] - p).max() < 10 * EPS


def test_multi_scale_windows_reach_farther_and_look_nearer():
    window, n_layers = 64, 8
    assert multi_scale_windows.reach(window, n_layers) == 952 and n_layers * (window - 1) == 504
    mean, std = multi_scale_windows.influence_moments(window, n_layers)
    windows = [w for layer in multi_scale_windows.layer_windows(window, n_layers) for w in layer]
    assert np.mean(windows) == multi_scale_windows.mean_window_share() * window
    # independent derivation: a mixture of uniform steps per layer, moments by hand
    layers = np.array(multi_scale_windows.layer_windows(window, n_layers), float)
    first, second = (layers - 1).mean(1) / 2, ((layers - 1) * (2 * layers - 1)).mean(1) / 6
    assert mean == pytest.approx(first.sum(), rel=1e-10)
    assert std == pytest.approx(math.sqrt((second - first**2).sum()), rel=1e-10)
    _, p = profile_exact([[reach.look_back(window)]] * n_layers)
    at = np.arange(len(p))
    equal_mean, equal_std = p @ at, math.sqrt(p @ at**2 - (p @ at) ** 2)
    assert mean < 0.9 * equal_mean and std > 1.8 * equal_std  # twin: larger reach, larger mean
    assert (
        MultiScaleWindows(window, 2.0).windows(4)
        == multi_scale_windows.head_windows(4, window, 2.0)
        == [32, 64, 128, 256]
    )


def test_power_laws_keep_ratios_of_harmonic_sums():
    n, w = 500, 40
    p = (1.0 + np.arange(n)) ** -0.8
    assert retained.window_mass(w, n, 0.8) == pytest.approx(p[:w].sum() / p.sum(), rel=1e-12)
    assert retained.window_mass(w, n, 0.0) == pytest.approx(w / n) != pytest.approx(retained.window_mass(w, n, 0.8))


@pytest.mark.parametrize(("block", "halo_width"), [(8, 3), (4, 4), (3, 1)])
def test_offsets_are_visible_with_the_stated_share(block, halo_width):
    n = block * 5
    seen = halo_operator.Halo(block, halo_width).visible((1, n), False).numpy()
    middle = range(2 * block, 3 * block)
    for offset in range(block + halo_width + 1):
        share = np.mean([seen[i, i + offset] for i in middle])
        assert share == pytest.approx(halo.visible_share(offset, block, halo_width))
    assert halo.visible_share(halo_width + 1, block, halo_width) > 0  # twin: a window of 2h + 1
    keys = seen[2 * block].sum()
    assert keys**2 / block**2 == pytest.approx(halo.overhead(block, halo_width))
    paths = composed(seen.astype(int), 2)
    assert 2 * block - np.flatnonzero(paths[2 * block])[0] == min(halo.left_edge(2, block, halo_width), 2 * block)


def test_the_low_branch_is_blind_at_the_nyquist_frequency():
    sizes = Sizes(n=16, d=4, d_v=4, n_heads=2, shape=(1, 16))
    for low_share, blind in ((1.0, True), (0.0, False)):
        operator = hilo_operator.HiLo(2, low_share)
        parameters = operator.initialise(sizes, generators(), torch.float64)
        x = normal(1, 1, 16, 8)
        wave = torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(8)[:, None] * normal(8, seed=1)
        window = hilo_operator.window_of((1, 16), 2)
        change = hilo_operator.pooled(wave[None, None], window).abs().max()
        assert change < 10 * EPS and hilo.box_filter(math.pi, 2) < EPS
        moved = operator.values(Grid(x + wave, (1, 16)), parameters)  # only values move: queries and keys as before
        M = operator.matrix(Grid(x, (1, 16)), parameters)
        gap = (M @ moved - M @ operator.values(Grid(x, (1, 16)), parameters)).abs().max()
        assert (gap < 1e-13) == blind
    for frequency in (0.3, 1.0, 2.0):
        wave = torch.tensor(np.exp(1j * frequency * np.arange(8)))
        assert abs(wave[:2].mean()) == pytest.approx(hilo.box_filter(frequency, 2), rel=1e-12)


def test_the_high_branch_passes_no_high_frequency_by_itself():
    """Energy off the mean: 4 standard errors of 20 000 windows; with uniform weights it is zero."""
    rng = np.random.default_rng(0)
    for score_std in (0.0, 1.0, 2.0):
        s, v = score_std * rng.normal(size=(20_000, 4)), rng.normal(size=(20_000, 4))
        p = np.exp(s) / np.exp(s).sum(1, keepdims=True)
        square = ((p - 0.25) * v).sum(1) ** 2
        predicted = hilo.energy_off_the_mean(float((p**2).sum(1).mean()), 4)
        assert abs(square.mean() - predicted) <= 4 * square.std() / len(square) ** 0.5 + 1e-15
    assert abs(square.mean() - 1) > 0.5  # twin: the branch passes all


def test_the_cheapest_window_is_where_both_branches_cost_alike():
    for n in (196, 784, 3136):
        s = hilo.cheapest_window(n, 0.5)
        best = min(range(1, 30), key=lambda w: hilo.attention_per_token(n, 0.5, w))
        assert abs(best - s) < 1
        assert hilo.attention_per_token(n, 0.5, s) == pytest.approx(4 * math.sqrt(0.25 * n))


def test_a_far_key_is_seen_by_the_stated_share_of_strides():
    for n_heads, factor in ((1, 4), (2, 4), (8, 4)):
        seen = lsg_operator.LSG(4, factor, "stride").visible(normal(n_heads, 60, 2), normal(n_heads, 60, 2), False)
        far = slice(32, 40)  # two blocks beyond the three local ones of the query at 22
        found = seen[:, 22, far].any(0).double().mean().item()
        assert found == pytest.approx(lsg.seen_by_stride(factor, n_heads))
    assert seen[1, 22].sum() == lsg.keys_per_query(4)  # in head 0 the global token is a stride key, too


def test_norms_tell_little_about_scores():
    """Blocks of 512 keys of width 64; 4 standard errors over 300 queries and 2 % for the finite block and width."""
    rng = np.random.default_rng(1)
    d, block, factor, score_std = 64, 512, 8, 1.0
    kept = []
    for _ in range(300):
        k = rng.normal(size=(block, d))
        p = np.exp(score_std * k[:, 0])
        chosen = np.argsort(-(k**2).sum(1))[: block // factor]
        kept.append(p[chosen].sum() / p.sum())
    predicted, error = lsg.kept_by_norm(factor, score_std, d), np.std(kept) / 300**0.5
    assert abs(np.mean(kept) - predicted) < 4 * error + 0.02 * predicted
    assert abs(np.mean(kept) - 1) > 0.5 and abs(predicted - 1 / factor) > 4 * error  # twins: all of it; nothing told


def test_a_region_of_the_combiner_counts_as_one_token():
    n, span = 64, 8
    q, k = normal(1, 1, 1, n, 4), normal(1, 1, 1, 1, 4).expand(1, 1, 1, n, 4)
    inside = (torch.arange(n) // span == 0).double()[:, None].expand(1, 1, 1, n, 1)
    for summary in combiner_operator.SUMMARIES:
        mass = combiner_operator.Combiner(span, summary).apply(QKV(q, k, inside), {})[0, 0, 0, :span, 0]
        predicted = combiner.own_span_mass(n, span, counted=summary == "counted")
        assert (mass - predicted).abs().max() < 100 * EPS
    assert combiner.own_span_mass(n, span) != pytest.approx(span / n)  # twin: exact for constant regions
    assert min(range(1, 4096), key=lambda s: s + 2 * 4096 / s) == round(combiner.cheapest_span(4096)) == 91


def test_blocks_of_the_combiner_off_its_spans_have_rank_one():
    x = QKV(normal(1, 1, 1, 24, 4), normal(1, 1, 1, 24, 4, seed=1), normal(1, 1, 1, 24, 4, seed=2))
    M = combiner_operator.Combiner(6).matrix(x, {})[0, 0, 0]
    assert torch.linalg.matrix_rank(M[:6, 6:12], rtol=1e-10) == 1 and torch.linalg.matrix_rank(M, rtol=1e-12) == 24


def test_a_shared_map_forgets_at_the_stated_rate():
    """Mean of 8 maps of 128 tokens; the edge of a finite random matrix lies above its circle by about n^{-1/2}."""
    rng, n = np.random.default_rng(2), 128
    found = []
    for _ in range(8):
        A = np.exp(rng.normal(size=(n, n)))
        A /= A.sum(1, keepdims=True)
        found.append(np.sort(np.abs(np.linalg.eigvals(A)))[-2])
    predicted = layout_attention.second_eigenvalue_limit(1.0, n)
    assert abs(np.mean(found) / predicted - 1) < 2 / n**0.5 + 4 * np.std(found) / 8**0.5 / predicted
    assert abs(np.mean(found) / math.sqrt(math.e - 1) - 1) > 0.5  # twin: no factor n^{-1/2}
    assert layout_attention.published_share_of_attention(12, 64, 64) == pytest.approx(0.5 + 1 / 24)


def test_a_layout_map_superposes_texts():
    sizes = Sizes(n=12, d=4, d_v=4, n_heads=2, shape=(3, 4))
    operator = LayoutAttention()
    parameters = operator.initialise(sizes, generators(), torch.float64)
    a, b = normal(1, 1, 12, 8), normal(1, 1, 12, 8, seed=1)
    y = [operator.apply(Grid(x, (3, 4)), parameters) for x in (a, b, a + 2 * b)]
    assert (y[0] + 2 * y[1] - y[2]).abs().max() < 1e-13


@pytest.mark.parametrize("review", [False, True])
def test_a_window_remembers_at_most_two_numbers_less_than_its_cell(review):
    """Two windows of 8 tokens of width 6: the Jacobian across has rank 4, that of the own window more."""
    D, W = 6, 8
    sizes = Sizes(n=2 * W, d=3, d_v=3, n_heads=2)
    operator = WindowRecurrence(W, review)
    parameters = operator.initialise(sizes, generators(), torch.float64)
    x = normal(1, 1, 2 * W, D)

    def later(first):
        return operator.apply(Tokens(torch.cat([first, x[..., W:, :]], -2)), parameters)[0, 0, W:]

    J = torch.autograd.functional.jacobian(later, x[..., :W, :]).reshape(W * D, W * D)
    assert torch.linalg.matrix_rank(J, rtol=1e-9) == window_recurrence.memory_rank_bound(D)
    assert window_recurrence.memory_rank_bound(D) < D  # twin: review lifts the rank to that of the window, W d


def test_published_work_is_that_of_gathered_blocks():
    sizes = SimpleNamespace(n=4096, queries=4096, n_heads=1, d=64, d_v=64)
    assert lsg.published_multiply_adds(sizes, block=128) == 4096 * 641 * 128 < lsg.multiply_adds(sizes)


def test_the_law_of_norms_at_any_width_tends_to_that_of_wide_keys():
    """Gaps to the wide law fall by about 4 where d grows by 4. Twin: no correlation, 1/f."""
    gaps = [abs(lsg.kept_by_norm_limit(8, 1.0, d) - lsg.kept_by_norm(8, 1.0, d)) for d in (32, 128, 512)]
    assert gaps[0] > 3 * gaps[1] > 9 * gaps[2]
    assert lsg.kept_by_norm_limit(8, 1e-4, 16) == pytest.approx(1 / 8, abs=1e-6)
    assert lsg.kept_by_norm_limit(8, 1.0, 16) > 0.15
    k = np.random.default_rng(4).normal(size=(400_000, 2))  # weights by hand: tilted mass beyond the norm's quantile
    p, norm = np.exp(k[:, 0]), (k**2).sum(1)
    found = p[norm > -2 * math.log(1 / 8)].sum() / p.sum()  # chi-squared of 2: quantile 2 ln 8
    assert found == pytest.approx(lsg.kept_by_norm_limit(8, 1.0, 2), abs=0.01)


def test_the_largest_of_normals_has_its_known_moments():
    assert combiner.largest_normal(1) == pytest.approx((0, 1), abs=1e-12)
    assert combiner.largest_normal(2) == pytest.approx((math.pi**-0.5, 1 - 1 / math.pi), rel=1e-12)
    assert combiner.largest_normal(8)[0] == pytest.approx(1.4236, abs=1e-4)
    assert combiner.largest_normal(8)[0] < combiner.largest_normal(9)[0]
