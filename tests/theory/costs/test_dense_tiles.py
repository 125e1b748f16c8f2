"""Cost models against direct counts on explicit masks, simulated schedules and Monte Carlo, and the published tables."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnlab.theory.costs import dense_tiles as cost


def causal_mask(n, window=None):
    i, j = np.arange(n)[:, None], np.arange(n)[None, :]
    return (j <= i) & (True if window is None else j > i - window)


def touched(mask, query_tile, key_tile, offset=0):
    """Key tiles with at least one visible pair, for each query tile of an explicit mask."""
    n = mask.shape[0]
    return [
        sum(mask[a : a + query_tile, b : b + key_tile].any() for b in range(offset, mask.shape[1], key_tile))
        for a in range(0, n, query_tile)
    ]


@given(st.integers(1, 40), st.integers(1, 12), st.integers(1, 12))
def test_causal_tiles_and_pairs_are_those_of_the_mask(n, query_tile, key_tile):
    assert cost.causal_tiles(n, query_tile, key_tile) == sum(touched(causal_mask(n), query_tile, key_tile))
    assert cost.causal_pairs(n) == causal_mask(n).sum()
    assert cost.causal_pairs(n, query_tile) == causal_mask(n, query_tile).sum()


def test_tile_efficiencies_are_the_published_ones_and_half_is_wrong():
    for (n, tile), value in {(40, 16): 0.534, (40, 32): 0.267, (1024, 64): 0.942}.items():
        assert abs(cost.causal_tile_efficiency(n, tile, tile) - value) < 5e-4
    assert cost.causal_tiles(40, 16, 16) != 3 * 3 / 2  # "causal = half" forgets the diagonal


def test_dense_flops_count_the_products():
    f = cost.dense_flops(7, 9, 4, 4)
    unit = 2 * 7 * 9 * 4
    assert (f.forward, f.backward_stored, f.backward_recomputing, f.backward_two_kernels) == tuple(
        k * unit for k in (2, 4, 5, 7)
    )
    assert cost.dense_flops(7, 9, 4, 2).backward_two_kernels == 2 * 7 * 9 * (4 + 2) * 2 + 2 * 7 * 9 * (4 + 4 + 2)


def test_fusing_saves_exactly_the_score_traffic_when_keys_are_read_once():
    n, d = 64, 8
    saved = cost.unfused_bytes(n, d, d) - cost.flash_bytes(n, d, d, 1, n)
    assert saved == 4 * 4 * n * n - 4 * n
    assert cost.roofline_seconds(8.0, 2.0, 3.0, peak_flops=1.0, bandwidth=1.0, exp_rate=1.0) == 8.0


@given(st.data())
def test_neighbourhood_counts_are_those_of_the_mask(data):
    length = data.draw(st.integers(2, 30))
    window = data.draw(st.integers(1, length))
    stride = data.draw(st.integers(1, window))
    t_q, t_k = data.draw(st.integers(1, 8)), data.draw(st.integers(1, 8))
    seen = cost.neighbourhood_axis(length, window, stride)
    mask = (np.arange(length) >= seen[:, :1]) & (np.arange(length) <= seen[:, 1:])
    assert (mask.sum(1) == window).all()
    static = cost.neighbourhood_tiles(length, window, stride, t_q, t_k, dynamic=False)
    dynamic = cost.neighbourhood_tiles(length, window, stride, t_q, t_k)
    for a, tiles, fewest in zip(range(0, length, t_q), static, dynamic, strict=True):
        union = np.flatnonzero(mask[a : a + t_q].any(0))
        span = range(union[0], union[-1] + 1)  # kernels visit a run of tiles, gaps included
        assert tiles == len({j // t_k for j in span}) and fewest == -(-len(span) // t_k)
    whole = all(
        mask[a : a + t_q, b : b + t_k].all() or not mask[a : a + t_q, b : b + t_k].any()
        for a in range(0, length, t_q)
        for b in range(0, length, t_k)
    )
    if cost.is_fully_block_sparse(length, window, stride, t_q, t_k, dynamic=False):
        assert whole


def test_causal_neighbourhood_ends_at_the_token():
    assert cost.neighbourhood_axis(7, 3, 1, causal=True).tolist() == [[max(i - 2, 0), i] for i in range(7)]
    assert cost.neighbourhood_axis(6, 4, 2, causal=True)[:, 0].tolist() == [0, 0, 0, 0, 2, 2]


@pytest.mark.parametrize(
    ("stride", "worst", "gain"),
    [
        ((1, 1, 1), 3.27, 1.73),
        ((2, 1, 1), 3.60, 1.78),
        ((1, 1, 8), 5.45, 1.99),
        ((2, 1, 8), 6.00, 2.02),
        ((1, 8, 8), 9.09, 2.17),
        ((2, 8, 8), 10.0, 2.20),
        ((16, 8, 8), 11.11, 2.23),
        ((18, 24, 24), 6.67, 2.06),
    ],
)
def test_video_table_of_generalized_neighbourhood_attention(stride, worst, gain):
    found = cost.neighbourhood_speedup((30, 48, 80), (18, 24, 24), stride, (4, 8, 8), (2, 8, 8), dynamic=False)
    assert abs(found.worst_tile - worst) < 6e-3 and abs(found.flops - 11.11) < 2e-3
    assert abs(cost.amdahl(0.607, found.worst_tile) - gain) < 1e-2  # one unit of the table's last digit
    assert found.worst_tile <= found.mean_tile * (1 + 1e-12) and found.mean_tile <= found.flops * (1 + 1e-12)


@pytest.mark.parametrize(("stride", "worst"), [((1, 1), 6.10), ((16, 1), 8.53), ((16, 16), 10.24)])
def test_image_table_of_generalized_neighbourhood_attention(stride, worst):
    found = cost.neighbourhood_speedup((256, 256), (80, 80), stride, (16, 16), (16, 8), dynamic=False)
    assert abs(found.worst_tile - worst) < 6e-3


def test_smallest_block_sparse_stride_of_a_long_line():
    ok = [s for s in range(1, 2049) if cost.is_fully_block_sparse(32768, 2048, s, 256, 128, dynamic=True)]
    assert ok[0] == 256
    for query_tile, value in ((128, 15.06), (256, 14.22)):
        found = cost.neighbourhood_speedup((32768,), (2048,), (1,), (query_tile,), (128,))
        assert abs(found.worst_tile - value) < 6e-3


def test_aligned_tiles_need_dynamic_tiling_in_two_dimensions():
    static, dynamic = (
        cost.neighbourhood_speedup((64, 64), (16, 16), (8, 8), (8, 8), (8, 8), dynamic=x) for x in (False, True)
    )
    assert abs(static.worst_tile - 7.11) < 6e-3 and abs(dynamic.worst_tile - 16) < 1e-12
    assert (
        abs(cost.neighbourhood_speedup((64, 64), (16, 16), (1, 1), (8, 8), (8, 8), dynamic=False).mean_tile - 8.46)
        < 6e-3
    )


def test_halo_efficiency_counts_the_pairs_of_an_interior_tile():
    tile, window = 6, 5
    seen = cost.neighbourhood_axis(60, window)[24:30]
    assert abs(cost.halo_efficiency((tile,), (window,)) - window / (seen[:, 1].max() - seen[:, 0].min() + 1)) < 1e-15
    for w, value in ((7, 0.10), (64, 0.504), (255, 0.80)):
        assert abs(cost.halo_efficiency((64,), (w,)) - value) < 5e-3


def test_lightning_flops_are_those_of_its_products():
    n, d, block = 48, 5, 8
    per_block = [2 * block * block * d] * 2 + [2 * block * d * d] * 2  # Q K^T, scores V, Q S, K^T V
    forward, backward = cost.lightning_flops(n, d, block)
    assert forward == n // block * sum(per_block)
    # dQ: dO V^T, its product with K, dO S^T, state K^T V; dK, dV: Q K^T, dO V^T, two products, and with the state
    assert backward == n // block * (6 * 2 * block * block * d + 5 * 2 * block * d * d)
    assert 2.5 < backward / forward < 3
    assert (
        abs(cost.lightning_speedup(4096, 64, 64) - 32) < 1e-12
        and abs(cost.lightning_speedup(4096, 64, 256) - 12.8) < 1e-12
    )


@given(st.integers(1, 12), st.integers(1, 20), st.integers(1, 15))
def test_equal_shares_are_those_of_a_simulated_schedule(outputs, tiles, processors):
    work = list(itertools.product(range(outputs), range(tiles)))
    share, extra = divmod(len(work), processors)
    parts, at = [], 0
    for g in range(processors):
        parts.append(work[at : at + share + (g < extra)])
        at += len(parts[-1])
    found = cost.decode_makespan(outputs, tiles, processors)
    assert at == len(work) and found.equal_share == max(map(len, parts))
    assert found.partials == sum(len({output for output, _ in part}) for part in parts)
    assert found.efficiency >= 1 - (processors - 1) / len(work) - 1e-12


def test_makespans_are_the_checked_ones():
    a = cost.decode_makespan(32, 256, 108)
    assert (a.equal_share, a.per_output) == (76, 256) and abs(a.efficiency - 0.998) < 5e-4
    b, c = cost.decode_makespan(64, 32, 132), cost.decode_makespan(5, 10, 8)
    assert (b.equal_share, b.per_output, c.equal_share, c.per_output) == (16, 32, 7, 10)
    assert cost.decode_makespan(1, 64, 16, splits=16).fixed_split == 4


def test_window_kernels_fit_as_published():
    forward, backward, efficiency = cost.window_on_chip_bytes(49, element=2)
    assert (forward, backward) == (20480, 38912) and abs(efficiency - 0.586) < 5e-4
    forward, backward, _ = cost.window_on_chip_bytes(121, element=2)
    assert forward == 73728 and backward == 143360
    assert cost.window_on_chip_bytes(64)[2] == 1.0


def test_native_sparse_tokens_are_those_of_the_paper():
    sparse = cost.NativeSparse()
    for s, tokens, gain in ((8192, 2048, 4.0), (16384, 2560, 6.4), (32768, 3584, 9.1), (65536, 5632, 11.6)):
        assert sparse.tokens(s) == tokens - 1  # the table rounds (s - 32)/16 + 1 up to s/16
        assert abs(sparse.decode_speedup(s) - gain) < 0.06
    assert sparse.tokens(10) == 20
    assert abs(sparse.training_ratio(8192) - 2.39) < 5e-3 and abs(sparse.training_ratio(32768) - 6.45) < 5e-3
    assert 15.9 < sparse.decode_speedup(10**9) < 16


@given(st.integers(1, 6), st.integers(1, 8), st.integers(1, 5))
def test_routed_pairs_are_those_of_an_explicit_mask(blocks, block, top_k):
    n, total = blocks * block, 0
    for i in range(n):
        own = i // block
        total += i % block + 1 + block * min(top_k - 1, own)
    assert cost.moba_pairs(n, block, top_k) == total


def test_routing_numbers_are_the_checked_ones():
    assert cost.moba_pairs(4096, 256, 3) == 2_426_880
    assert abs(cost.causal_pairs(4096) / cost.moba_pairs(4096, 256, 3) - 3.46) < 5e-3
    assert abs(cost.moba_best_blocks(8192, 3) - 222) < 0.5 and abs(cost.moba_best_blocks(2**20, 3) - 2508) < 0.5
    best = cost.moba_best_blocks(8192, 3)
    flops = [2 * 8192 * n * 64 + 4 * 3 * 8192**2 * 64 / n for n in (0.9 * best, best, 1.1 * best)]
    assert flops[1] < min(flops[0], flops[2])


@pytest.mark.parametrize(
    ("dim", "block", "blocks", "top_k", "snr", "value"),
    [(64, 128, 64, 3, 0.75, 0.198), (64, 512, 16, 3, 0.5, 0.310), (128, 64, 128, 8, 1.0, 0.417)],
)
def test_retrieval_probability_is_that_of_a_simulation(dim, block, blocks, top_k, snr, value):
    predicted = cost.retrieval_probability(snr, blocks, top_k)
    assert abs(predicted - value) < 1e-3
    rng, n = np.random.default_rng(1), 40_000
    noise = rng.standard_normal((n, blocks - 1))
    signal = math.sqrt(2) * snr + rng.standard_normal(n)  # in units of one centroid's noise
    hits = ((noise > signal[:, None]).sum(1) <= top_k - 2).mean()
    assert abs(hits - predicted) < 4 * math.sqrt(predicted * (1 - predicted) / n)
    twin = cost.retrieval_probability(snr, blocks, top_k + 1)  # the current block not counted in k
    assert abs(hits - twin) > 8 * math.sqrt(predicted * (1 - predicted) / n)
    assert abs(cost.retrieval_snr(snr / math.sqrt(dim / (2 * block)), dim, block) - snr) < 1e-12


def test_rounding_of_logits_has_the_predicted_variance():
    rng, n, d = np.random.default_rng(2), 2000, 64
    q, k = rng.standard_normal((2, n, d))
    steps = [np.abs(x).max() / 127 for x in (q, k)]
    rounded = [np.round(x / step) * step for x, step in zip((q, k), steps, strict=True)]
    error = (rounded[0] * rounded[1] - q * k).sum(1) / math.sqrt(d)
    predicted = cost.quantised_logit_variance(*steps, d, scale=d**-0.5)
    assert abs(error.var() / predicted - 1) < 5 * math.sqrt(2 / n)
    assert abs(cost.quantised_logit_variance(steps[0], 0.0, d, scale=d**-0.5) / error.var() - 1) > 0.3


def test_mixed_precision_bounds_are_the_checked_ones():
    for rates, value in (((2, 1), 4 / 3), ((4, 2), 8 / 3), ((2, 2), 2.0)):
        assert abs(cost.mixed_precision_speedup(0.5, 0.5, *rates) - value) < 1e-12


@pytest.mark.parametrize(
    "build",
    [
        lambda: cost.dense_flops(0, 1, 1, 1),
        lambda: cost.neighbourhood_axis(5, 6),
        lambda: cost.moba_pairs(10, 3, 2),
        lambda: cost.retrieval_probability(1.0, 4, 5),
        lambda: cost.mixed_precision_speedup(0.7, 0.7, 2, 2),
    ],
)
def test_bad_sizes_are_errors(build):
    with pytest.raises(ValueError):
        build()
